"""The recorder's rules: files follow each other without a gap, a budget and a reserve hold, what is pinned stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from decoder.recording import keeper as keeper_module
from decoder.recording import messages
from decoder.recording.files import MIB, Kept, kept_in, outside, pin_of, too_many
from decoder.recording.keeper import Keeper, KeepSettings
from decoder.recording.messages import Kind, Pin
from decoder.session import read_session
from decoder.session import recorder as recorder_module
from decoder.session.layout import Header
from decoder.session.recorded import EventKind, Note
from decoder.session.settle import settle
from decoder.session.skeleton import create
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.decoder.recording.rig import BLOCK, HEADER, RATE_HZ, Told, samples


def settings(tmp_path: Path, **more: object) -> KeepSettings:
    made = KeepSettings(str(tmp_path), reserve_bytes=0)
    return replace(made, **more)  # type: ignore[arg-type]


def kept(tmp_path: Path, make: Callable[..., None] = create, **more: object) -> tuple[Told, list[Path]]:
    settled: list[Path] = []

    def now(path: Path) -> None:
        settled.append(path)
        settle(path)

    when = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
    return Told(Keeper(settings(tmp_path, **more), now, make=make, utc=lambda: when)), settled


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir())


def test_files_follow_each_other_without_a_gap_and_each_begins_with_what_was_carried(tmp_path: Path) -> None:
    told, settled = kept(tmp_path, rotate_s=1.0)
    told.blocks(0, 130, moments_each=10)
    told.keeper.close()
    assert names(tmp_path) == [f"nervehand-{n:06d}-20261123T180000Z.nwb" for n in (1, 2, 3)]
    assert [path.name for path in settled] == names(tmp_path)
    sessions = [read_session(path) for path in settled]
    assert [s.first_sample for s in sessions] == [1000, 2000, 3000]
    assert [s.n_samples for s in sessions] == [1000, 1000, 600]
    joined = np.concatenate([s.signal[0 : s.n_samples] for s in sessions])
    assert np.array_equal(joined, samples(1000, 2600))
    assert [s.recorded.state for s in sessions] == [
        b"state before 0",
        b"state before 50",
        b"state before 100",
    ]
    for s in sessions:
        assert [(e.sample_index, e.kind) for e in s.recorded.events] == [(s.first_sample, EventKind.SNAPSHOT)]
    assert sessions[0].meta.subject == "p07"
    assert sessions[0].meta.start_time == "2026-11-23T18:00:00+00:00"
    assert sessions[1].meta.identifier == settled[1].stem
    assert "goes on in another file: 1 s are full" in sessions[0].recorded.notes[-1].text


def test_a_file_ends_by_its_size_too(tmp_path: Path) -> None:
    told, settled = kept(tmp_path, rotate_bytes=200_000)
    told.blocks(0, 3000, moments_each=100)
    told.keeper.close()
    assert len(settled) > 1
    for path in settled[:-1]:
        assert 200_000 <= path.stat().st_size < 400_000


def test_another_decoder_begins_another_file_with_its_own_names(tmp_path: Path) -> None:
    told, settled = kept(tmp_path)
    told.moment()
    told.blocks(0, 10)
    other = replace(
        HEADER, gesture_names=("rest", "fist", "point"), bundle="c" * 64, decision={"hysteresis": 0.2}
    )
    told.moment(b"its own state", "another decoder took over", other)
    told.blocks(10, 20)
    told.keeper.close()
    first, second = map(read_session, settled)
    assert (first.gesture_names, first.recorded.bundle) == (("rest", "fist"), "b" * 64)
    assert (second.gesture_names, second.recorded.bundle) == (("rest", "fist", "point"), "c" * 64)
    assert (second.recorded.decision, second.recorded.state) == ({"hysteresis": 0.2}, b"its own state")
    assert second.first_sample == first.first_sample + first.n_samples
    assert "another decoder took over" in first.recorded.notes[-1].text


def test_what_is_said_between_a_moment_and_the_first_block_is_in_the_new_file(tmp_path: Path) -> None:
    told, settled = kept(tmp_path)
    told.moment()
    told.put(Kind.HEALTH, messages.encode_health(999, np.array([False, True, False])))
    told.put(Kind.NOTE, messages.encode_note(Note(1000, "before the first sample")))
    told.blocks(0, 2)
    told.keeper.close()
    recorded = read_session(settled[0]).recorded
    assert [note.text for note in recorded.notes] == ["before the first sample"]
    assert recorded.health is not None
    assert recorded.health.mask.tolist() == [[False, True, False]]


def test_a_gap_stays_one(tmp_path: Path) -> None:
    told, settled = kept(tmp_path)
    told.moment()
    told.blocks(0, 5)
    told.blocks(8, 10)
    told.keeper.close()
    (gap,) = read_session(settled[0]).gaps
    assert (gap.start, gap.stop) == (1000 + 5 * BLOCK, 1000 + 8 * BLOCK)


def test_without_a_moment_nothing_can_begin_and_that_is_counted(tmp_path: Path) -> None:
    told, settled = kept(tmp_path)
    told.blocks(0, 3)
    assert told.keeper.report().missed == 3 * BLOCK
    assert not settled
    assert names(tmp_path) == []


def test_one_file_of_a_run_is_never_cut_but_where_the_decoder_changes(tmp_path: Path) -> None:
    told, settled = kept(tmp_path, path=str(tmp_path / "mine.nwb"), rotate_s=1.0)
    told.blocks(0, 130, moments_each=10)
    told.moment(begins_anew="another decoder took over")
    told.blocks(130, 140)
    told.keeper.close()
    assert names(tmp_path) == ["mine.2.nwb", "mine.nwb"]
    assert read_session(tmp_path / "mine.nwb").n_samples == 2600
    assert len(settled) == 2


def test_the_oldest_that_nobody_pinned_goes_first(tmp_path: Path) -> None:
    told, _ = kept(tmp_path, rotate_s=0.5, budget_bytes=5 * 350_000)
    told.blocks(0, 26, moments_each=25)
    told.put(Kind.PIN, messages.encode_pin(Pin("Ann", "it fell", 0.02)))
    told.blocks(26, 300, moments_each=25)
    told.keeper.close()
    left = names(tmp_path)
    assert left[:2] == ["nervehand-000002-20261123T180000Z.nwb", "nervehand-000002-20261123T180000Z.nwb.pin"]
    numbers = [int(name.split("-")[1]) for name in left[2:]]
    assert numbers == list(range(numbers[0], 13))
    assert sum((tmp_path / name).stat().st_size for name in left) < 6 * 350_000
    pin = json.loads((tmp_path / left[1]).read_text())
    assert (pin["who"], pin["why"]) == ("Ann", "it fell")
    notes = [note.text for note in read_session(tmp_path / left[0]).recorded.notes]
    assert "the last 0.02 s are kept: it fell (Ann)" in notes


def test_a_pin_reaches_back_over_files(tmp_path: Path) -> None:
    told, _ = kept(tmp_path, rotate_s=0.5)
    told.blocks(0, 130, moments_each=25)
    told.put(Kind.PIN, messages.encode_pin(Pin("Ann", "", 1.0)))
    assert [one.number for one in kept_in(tmp_path, "nervehand") if one.is_pinned] == [4, 5, 6]
    spans = [
        json.loads(pin_of(one.path).read_text()) for one in kept_in(tmp_path, "nervehand") if one.is_pinned
    ]
    assert spans[0]["from_sample"] == 1000 + 130 * BLOCK - RATE_HZ
    assert spans[-1]["to_sample"] == 1000 + 130 * BLOCK
    told.keeper.close()


def test_as_a_ring_only_the_last_seconds_and_what_was_pinned_are_kept(tmp_path: Path) -> None:
    told, _ = kept(tmp_path, ring_s=20.0)
    told.blocks(0, 510, moments_each=25)
    told.put(Kind.PIN, messages.encode_pin(Pin("Ann", "", 0.1)))
    told.blocks(510, 4000, moments_each=25)
    told.keeper.close()
    numbers = [int(name.split("-")[1]) for name in names(tmp_path) if name.endswith(".nwb")]
    assert numbers == [2, 6, 7, 8]
    last = [read_session(one.path) for one in kept_in(tmp_path, "nervehand")][-3:]
    assert last[-1].first_sample + last[-1].n_samples - last[0].first_sample >= 20 * RATE_HZ


def full_at(monkeypatch: pytest.MonkeyPatch, free: list[int]) -> None:
    for module in (recorder_module, keeper_module):
        monkeypatch.setattr(module, "free_bytes", lambda path: free[0])


def test_at_the_reserve_it_stops_says_so_and_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1000 * MIB]
    full_at(monkeypatch, free)
    told, settled = kept(tmp_path, reserve_bytes=100 * MIB)
    told.blocks(0, 50, moments_each=50)
    free[0] = 90 * MIB
    told.blocks(50, 60)
    report = told.keeper.report()
    assert report.state == "stopped"
    assert "90 MiB free (reserve 100 MiB)" in report.why
    told.blocks(60, 100)
    free[0] = 120 * MIB  # above the reserve, but not by much: no files that last for a moment
    told.blocks(100, 150, moments_each=50)
    assert told.keeper.report().state == "stopped"
    free[0] = 1000 * MIB
    told.blocks(150, 200, moments_each=50)
    assert told.keeper.report().state == "recording"
    assert told.keeper.report().why == ""
    told.keeper.close()
    first, second = map(read_session, settled)
    assert first.recorded.events[-1].kind == EventKind.DISK_RESERVE
    assert (second.first_sample, second.n_samples) == (1000 + 150 * BLOCK, 50 * BLOCK)
    assert told.keeper.report().missed == (150 - 55) * BLOCK


def test_for_the_reserve_nothing_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, _ = kept(tmp_path, rotate_s=1.0)
    told.blocks(0, 120, moments_each=50)
    told.keeper.close()
    before = names(tmp_path)
    full_at(monkeypatch, [0])
    again, _ = kept(tmp_path, reserve_bytes=100 * MIB)
    again.blocks(0, 3, moments_each=1)
    assert names(tmp_path) == before
    assert again.keeper.report().state == "stopped"


def test_a_folder_that_cannot_be_written_stops_the_recording_only(tmp_path: Path) -> None:
    def refuse(path: Path, header: Header, lanes: tuple[str, ...], *, state: bytes = b"") -> None:
        raise NervehandError(f"{path}: cannot be created (Read-only file system): choose another name")

    told, _ = kept(tmp_path, make=refuse)
    told.blocks(0, 30, moments_each=10)
    report = told.keeper.report()
    assert (report.state, report.missed) == ("stopped", 30 * BLOCK)
    assert "Read-only file system" in report.why
    assert names(tmp_path) == []


def test_a_block_of_another_form_ends_the_file_and_the_next_moment_begins_another(tmp_path: Path) -> None:
    told, settled = kept(tmp_path)
    told.moment()
    told.blocks(0, 5)
    strange = messages.encode_block(
        messages.decode_block(b"".join(messages.encode_block(replace_scale(5, 0.5))))
    )
    told.put(Kind.BLOCK, strange)
    assert told.keeper.report().state == "stopped"
    told.moment()
    told.put(Kind.BLOCK, messages.encode_block(replace_scale(6, 0.5)))
    told.keeper.close()
    assert [read_session(path).scale_uv for path in settled] == [0.195, 0.5]


def replace_scale(number: int, scale_uv: float) -> messages.SignalBlock:
    from tests.decoder.recording.rig import block

    return replace(block(number), scale_uv=scale_uv)


def test_what_is_done_is_only_what_is_written(tmp_path: Path) -> None:
    told, _ = kept(tmp_path)
    told.moment()
    told.blocks(0, 5)  # 100 samples are written at a time
    done = told.keeper.flushed
    assert done == 6
    told.blocks(5, 7)
    assert told.keeper.flushed == done
    told.keeper.flush(8)
    assert told.keeper.flushed == 8
    told.keeper.close()


def test_messages_that_were_lost_are_said_in_the_file(tmp_path: Path) -> None:
    told, settled = kept(tmp_path)
    told.moment()
    told.blocks(0, 2)
    told.keeper.lose(17)
    told.keeper.close()
    assert "17 messages are lost" in read_session(settled[0]).recorded.notes[0].text
    assert told.keeper.report().lost == 17


def test_names_ascend_though_the_clock_goes_back(tmp_path: Path) -> None:
    times = [datetime(2026, 11, 23, 18, tzinfo=UTC), datetime(2026, 11, 23, 17, tzinfo=UTC)]
    for when in times:
        told = Told(Keeper(settings(tmp_path), lambda path: None, utc=lambda when=when: when))
        told.moment()
        told.blocks(0, 2)
        told.keeper.close()
    assert [one.number for one in kept_in(tmp_path, "nervehand")] == [1, 2]
    assert [one.path.name[17:33] for one in kept_in(tmp_path, "nervehand")] == [
        "20261123T180000Z",
        "20261123T170000Z",
    ]


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "nervehand-notes.nwb").write_bytes(b"x" * 5_000_000)
    (tmp_path / "other-000001-20261123T180000Z.nwb").write_bytes(b"x" * 5_000_000)
    told, _ = kept(tmp_path, budget_bytes=1, rotate_s=1.0)
    told.blocks(0, 120, moments_each=10)
    told.keeper.close()
    assert {"nervehand-notes.nwb", "other-000001-20261123T180000Z.nwb"} <= set(names(tmp_path))


def test_what_goes_is_never_pinned_nor_open_and_no_more_than_needed() -> None:
    def one(number: int, n_bytes: int, *, pinned: bool = False, is_open: bool = False) -> Kept:
        return Kept(Path(str(number)), number, n_bytes, pinned, is_open)

    files = [one(1, 10, pinned=True), one(2, 10), one(3, 10), one(4, 10), one(5, 10, is_open=True)]
    assert [f.number for f in too_many(files, 50)] == []
    assert [f.number for f in too_many(files, 49)] == [2]
    assert [f.number for f in too_many(files, 21)] == [2, 3, 4]
    assert [f.number for f in too_many(files, 0)] == [2, 3, 4]
    long = {f.path: 60.0 for f in files}
    assert [f.number for f in outside(files, long, 100.0)] == [2, 3]
    assert [f.number for f in outside(files, {}, 100.0)] == []


def test_a_folder_that_vanishes_stops_the_recording_only(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    told, _ = kept(folder)
    shutil.rmtree(folder)
    told.blocks(0, 3, moments_each=1)
    assert told.keeper.report().state == "stopped"


def test_it_tells_how_fast_its_file_grows_once_that_can_be_told(tmp_path: Path) -> None:
    wide = replace(HEADER, info=StreamInfo(10_000.0, tuple(f"c{n}" for n in range(32)), "nerve"))
    told, _ = kept(tmp_path)
    told.moment(header=wide)
    rows = np.random.default_rng(0).integers(-2000, 2000, (1000, 32)).astype(np.int16)

    def second(number: int) -> None:
        for part in range(10):
            block = SignalBlock(rows, number * 10_000 + part * 1000, scale_uv=0.195)
            told.keeper.flush(told.put(Kind.BLOCK, messages.encode_block(block)))

    told.put(Kind.BLOCK, messages.encode_block(SignalBlock(rows, 0, scale_uv=0.195)))
    assert told.keeper.report().mib_per_s is None
    told.keeper.close()
    told, _ = kept(tmp_path)
    told.moment(header=wide)
    for number in range(8):
        second(number)
    pace = told.keeper.report().mib_per_s
    assert pace == pytest.approx(10_000 * 32 * 2 / MIB, rel=0.05)
    told.moment(header=wide, begins_anew="another decoder took over")
    told.put(Kind.BLOCK, messages.encode_block(SignalBlock(rows, 80_000, scale_uv=0.195)))
    assert told.keeper.report().mib_per_s == pace  # of the one before, while this one is small
    told.keeper.close()


def test_samples_that_came_while_no_file_was_open_did_come(tmp_path: Path) -> None:
    told, _ = kept(tmp_path)
    assert told.keeper.report().end == 0
    told.blocks(0, 5)
    report = told.keeper.report()
    assert (report.samples, report.missed, report.end) == (0, 5 * BLOCK, 1000 + 5 * BLOCK)
    told.keeper.close()


def test_what_another_left_behind_is_named_and_what_is_open_is_not(tmp_path: Path) -> None:
    cut_off = Told(Keeper(settings(tmp_path), lambda path: None))
    cut_off.blocks(0, 10, moments_each=10)
    cut_off.keeper.flush(11)
    (left,) = (one.path for one in kept_in(tmp_path, "nervehand"))
    told = Told(Keeper(settings(tmp_path), lambda path: None))
    told.blocks(10, 20, moments_each=10)
    assert told.keeper.report().to_settle == (left.name,)
    assert told.keeper.left == (left,)
    told.keeper.close()
    cut_off.keeper.close()
