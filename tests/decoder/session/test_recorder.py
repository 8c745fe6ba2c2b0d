"""The recorder: what it is given is what a reader finds, and a kill loses only what was not flushed."""

from __future__ import annotations

import errno
import gc
import mmap
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest

from decoder.intent import Intents
from decoder.session import (
    Gap,
    RecordingStoppedError,
    SessionMeta,
    SessionWriter,
    read_session,
    recover,
    trials,
)
from decoder.session import recorder as recorder_module
from decoder.session.layout import SIGNAL_PATH, Header
from decoder.session.recorded import Event, EventKind, Note
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateState
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand, HandState, Quality
from firmware_bridge.stream import SignalBlock, StreamInfo

BLOCK = 20


@pytest.fixture
def header(info: StreamInfo) -> Header:
    return Header(
        info=info,
        meta=SessionMeta("live", "p07", "left", "2026-01-31T12:00:00+01:00"),
        dtype="int16",
        scale_uv=0.195,
        first_sample=1000,
        gesture_names=("rest", "fist"),
        output_names=("u", "v"),
        sensor_names=("index mcp",),
        sensor_units=("rad",),
    )


def block(number: int, *, at: int | None = None) -> SignalBlock:
    """Block `number` of a signal in which every value tells its place."""
    first = 1000 + number * BLOCK if at is None else at
    rows = np.arange(first, first + BLOCK)
    samples = np.stack([rows % 30011, rows % 7, -rows % 101], axis=1).astype(np.int16)
    return SignalBlock(samples, first, scale_uv=0.195)


def sent_after(number: int) -> list[Sent]:
    """What the gate sends after block `number`: the command, and a step of its own."""
    here = np.full(6, number, np.float32) / 1000
    return [
        Sent(10 * number, 1000 + number * BLOCK + BLOCK - 1, here, GateState.ARMED),
        Sent(10 * number + 5, -1, here / 2, GateState.HOLDING),
    ]


def record(writer: SessionWriter, number: int, intents: Intents) -> None:
    """One block and all that goes with it."""
    taken = block(number)
    writer.append(taken)
    k = slice(number % len(intents), number % len(intents) + 1)
    last = taken.first_sample + BLOCK - 1
    one = Intents(
        np.array([last]),
        intents.outputs[k],
        intents.positions[k],
        intents.gesture[k],
        intents.probability[k],
        intents.warming[k],
        intents.healthy_fraction[k],
    )
    writer.intents(one)
    writer.command(HandCommand(one.positions[0], last, number, number + 9, "fist", Quality(False, 0.5, 1.0)))
    writer.sent(sent_after(number))
    if number % 10 == 0:
        writer.mark(taken.first_sample, label=number // 10 % 2, trial=number // 20 + 1, repetition=1)
        writer.note(Note(taken.first_sample, f"block {number}"))
        writer.event(Event(taken.first_sample, EventKind.NOTE, number))
        writer.health(taken.first_sample, np.array([number % 20 == 0, False, True]))


def test_what_was_recorded_is_read(header: Header, intents: Intents, tmp_path: Path) -> None:
    path = tmp_path / "live.nwb"
    with SessionWriter(path, header) as writer:
        for number in range(100):
            record(writer, number, intents)
        writer.state(HandState(np.zeros(6, np.float32), 5, watchdog_tripped=True, fault="jammed"))
        writer.sensors(np.array([0.5, 0.75]), np.array([7, 8]), np.array([[1], [np.nan]], np.float32))
    assert os.listdir(tmp_path) == ["live.nwb"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    session = read_session(path)
    expected = np.concatenate([block(i).samples for i in range(100)])
    assert np.array_equal(session.signal[0:2000], expected)
    assert session.meta == header.meta
    assert session.first_sample == 1000
    assert session.labels is not None
    assert np.array_equal(session.labels, np.arange(2000) // 200 % 2)
    assert [t.id for t in trials(session)] == [1, 2, 3, 4, 5]
    recorded = session.recorded
    assert recorded.intents is not None
    assert np.array_equal(recorded.intents.sample_index, 1019 + 20 * np.arange(100))
    assert np.array_equal(recorded.intents.outputs, intents.outputs[np.arange(100) % 40])
    assert recorded.commands is not None
    assert np.array_equal(recorded.commands.times_ns[:, 1], np.arange(100) + 9)
    assert np.array_equal(recorded.commands.quality[7], np.array([1, 0, 0.5, 1], np.float32))
    assert recorded.sent is not None
    assert len(recorded.sent.sent_ns) == 200
    for row, one in enumerate(one for number in range(100) for one in sent_after(number)):
        assert recorded.sent.sample_index[row] == one.sample_index
        assert recorded.sent.sent_ns[row] == one.sent_ns
        assert np.array_equal(recorded.sent.positions[row], one.positions)
        assert recorded.sent.state_names[recorded.sent.state[row]] == one.state.value
    assert recorded.states is not None
    assert recorded.states.times_ns.tolist() == [[5, 1]]
    assert recorded.sensors is not None
    assert (recorded.sensors.names, recorded.sensors.units) == (("index mcp",), ("rad",))
    assert recorded.sensors.sample_index.tolist() == [2999, 2999]
    assert recorded.sensors.device_s.tolist() == [0.5, 0.75]
    assert recorded.sensors.arrival_ns.tolist() == [7, 8]
    np.testing.assert_array_equal(recorded.sensors.values, [[1], [np.nan]])
    assert recorded.notes[-1] == Note(2999, "hand fault: jammed")
    assert len(recorded.notes) == 11
    assert [e.first for e in recorded.events] == list(range(0, 100, 10))
    assert recorded.health is not None
    assert recorded.health.mask.tolist() == [[i % 2 == 0, False, True] for i in range(10)]


def test_the_cut_of_blocks_does_not_matter(header: Header, tmp_path: Path) -> None:
    whole = np.concatenate([block(i).samples for i in range(30)])
    for name, sizes in {"ones": [1] * 600, "odd": [7, 0, 93, 500], "all": [600]}.items():
        with SessionWriter(tmp_path / name, header) as writer:
            at = 0
            for size in sizes:
                writer.append(SignalBlock(whole[at : at + size], 1000 + at, scale_uv=0.195))
                at += size
        assert np.array_equal(read_session(tmp_path / name).signal[0:600], whole)


def test_a_jump_in_the_index_is_a_gap(header: Header, tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "s.nwb", header) as writer:
        for at in (1050, 1070, 1200, 1220):
            writer.append(block(0, at=at))
    session = read_session(tmp_path / "s.nwb")
    assert session.gaps == (Gap(1000, 1050), Gap(1090, 1200))
    assert np.array_equal(
        session.signal[200:240], np.concatenate([block(0, at=a).samples for a in (1200, 1220)])
    )


def test_the_writer_keeps_no_reference_to_a_block(header: Header, tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "s.nwb", header) as writer:
        reused = block(0)
        kept = reused.samples.copy()
        writer.append(reused)
        reused.samples[:] = 0
    assert np.array_equal(read_session(tmp_path / "s.nwb").signal[0:20], kept)


def test_counts_are_converted_for_a_recording_in_microvolts(header: Header, tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "s.nwb", replace(header, dtype="float32", scale_uv=1.0)) as writer:
        writer.append(block(0))
    read = read_session(tmp_path / "s.nwb")
    assert np.array_equal(read.signal[0:20], block(0).samples.astype(np.float32) * np.float32(0.195))


def test_truth_is_recorded_with_the_signal(header: Header, tmp_path: Path) -> None:
    named = replace(header, truth_names=("index",), truth_units=("deg",))
    truth = np.arange(40, dtype=np.float32)[:, None]
    with SessionWriter(tmp_path / "s.nwb", named) as writer:
        writer.append(block(0), truth[:20])
        writer.append(block(1), truth[20:])
        with pytest.raises(NervehandError, match="truth is None for 20 samples of 1 truth columns"):
            writer.append(block(2))
    read = read_session(tmp_path / "s.nwb")
    assert read.truth is not None
    assert np.array_equal(read.truth, truth)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (block(0, at=999), "block starts at sample 999, 1 before the end of the last"),
        (SignalBlock(np.zeros((5, 2), np.int16), 1000, scale_uv=0.195), r"block has shape \(5, 2\)"),
        (SignalBlock(np.zeros((5, 3), np.int16), 1000, scale_uv=0.2), "0.2 microvolts per count"),
        (SignalBlock(np.zeros((5, 3), np.float32), 1000), "block is float32"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_and_the_rest_kept(
    header: Header, tmp_path: Path, bad: SignalBlock, message: str
) -> None:
    with SessionWriter(tmp_path / "s.nwb", header) as writer:
        with pytest.raises(NervehandError, match=message):
            writer.append(bad)
        writer.append(block(0))
    assert read_session(tmp_path / "s.nwb").n_samples == 20


def test_a_recording_never_takes_the_place_of_a_file(header: Header, tmp_path: Path) -> None:
    for name in ("s.nwb", "s.nwb.tail", "s.nwb.journal"):
        (tmp_path / name).touch()
        with pytest.raises(NervehandError, match=f"{name}: is there already"):
            SessionWriter(tmp_path / "s.nwb", header)
        (tmp_path / name).unlink()
    assert os.listdir(tmp_path) == []


@contextmanager
def failing(place: object, name: str, when: Callable[..., bool] = lambda *a, **k: True) -> Iterator[None]:
    """Calls of `place.name` for which `when` holds find the disk full."""
    real = getattr(place, name)

    def call(*args: object, **more: object) -> object:
        if when(*args, **more):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, property(lambda file: False, call) if isinstance(real, property) else call)
        yield


STAGES = {
    "the tail's name": lambda: failing(os, "open", lambda path, *_: str(path).endswith(".tail")),
    "the tail's space": lambda: failing(os, "posix_fallocate"),
    "the tail's mapping": lambda: failing(mmap, "mmap"),
    "the journal": lambda: failing(os, "open", lambda path, *_: str(path).endswith(".journal")),
    "the file's name": lambda: failing(os, "open", lambda path, *_: str(path).endswith(".nwb")),
    "the file": lambda: failing(h5py, "File", lambda path, mode, **_: mode == "w"),
    "the file's contents": lambda: failing(pynwb.NWBHDF5IO, "write"),
    "opening it": lambda: failing(h5py, "File", lambda path, mode, **_: mode == "r+"),
    "letting others read": lambda: failing(h5py.File, "swmr_mode"),
    "following it": lambda: failing(os, "open", lambda path, flags, *_: flags == os.O_RDONLY),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_recording_that_cannot_be_made_leaves_nothing(header: Header, tmp_path: Path, stage: str) -> None:
    path = tmp_path / "s.nwb"
    gc.collect()  # what earlier tests left to be collected is not closed in between
    opened = len(os.listdir("/proc/self/fd"))
    with STAGES[stage](), pytest.raises(NervehandError, match=r"s\.nwb.*No space left"):
        SessionWriter(path, header)
    assert os.listdir(tmp_path) == []
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == opened
    with SessionWriter(path, header) as writer:
        writer.append(block(0))
    assert read_session(path).n_samples == 20


def test_a_description_that_cannot_be_written_leaves_nothing(header: Header, tmp_path: Path) -> None:
    bad = replace(header, meta=replace(header.meta, start_time="yesterday"))
    with pytest.raises(NervehandError, match="start time is 'yesterday'"):
        SessionWriter(tmp_path / "s.nwb", bad)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_while_a_recording_is_made_leaves_nothing(
    header: Header, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pynwb.NWBHDF5IO, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        SessionWriter(tmp_path / "s.nwb", header)
    assert os.listdir(tmp_path) == []


def test_a_recording_without_samples_leaves_nothing(header: Header, tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s.nwb", header)
    with pytest.raises(NervehandError, match="no sample was received"):
        writer.close()
    writer.close()
    assert os.listdir(tmp_path) == []


def test_an_error_before_the_first_sample_is_the_one_that_is_seen(header: Header, tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="the source is gone"), SessionWriter(tmp_path / "s.nwb", header):
        raise NervehandError("the source is gone")
    assert os.listdir(tmp_path) == []


def test_recording_stops_at_the_reserve_and_keeps_all_it_had(
    header: Header, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SessionWriter(tmp_path / "s.nwb", header, reserve_bytes=1 << 20)
    for number in range(4):
        writer.append(block(number))
    monkeypatch.setattr(recorder_module, "free_bytes", lambda path: 1 << 20)
    with pytest.raises(
        RecordingStoppedError, match=r"stopped at sample 1099 with 1 MiB free \(reserve 1 MiB\)"
    ):
        writer.append(block(4))
    with pytest.raises(RecordingStoppedError):
        writer.append(block(5))
    writer.close()
    session = read_session(tmp_path / "s.nwb")
    assert session.n_samples == 100
    assert session.recorded.events == (Event(1099, EventKind.DISK_RESERVE, 1 << 20, 1 << 20),)
    assert os.listdir(tmp_path) == ["s.nwb"]


def test_a_reader_may_follow_a_running_recording(header: Header, tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s.nwb", header)
    for number in range(12):
        writer.append(block(number))
    with h5py.File(tmp_path / "s.nwb", "r", swmr=True) as file:
        rows = file[f"{SIGNAL_PATH}/data"][:]
    assert np.array_equal(rows, np.concatenate([block(i).samples for i in range(10)]))
    assert (writer.received, writer.flushed) == (240, 200)
    writer.close()


def _record_for_ever(path: Path, header: Header, intents: Intents, told: Connection) -> None:
    writer = SessionWriter(path, header)
    number = 0
    while True:
        record(writer, number, intents)
        number += 1
        told.send(number)


def kill_while(target: Callable[..., None], path: Path, header: Header, intents: Intents, blocks: int) -> int:
    """Run `target` in a process of its own, kill -9 it at once after `blocks` blocks; how many it reported."""
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(path, header, intents, tell))
    process.start()
    tell.close()
    done = 0
    while done < blocks:
        done = told.recv()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while told.poll():
        try:
            done = told.recv()
        except EOFError:
            break
    assert process.exitcode == -signal.SIGKILL
    return done


@pytest.mark.parametrize("blocks", [5, 6, 23, 117, 244, 391])
def test_a_kill_loses_only_what_was_not_flushed(
    header: Header, intents: Intents, tmp_path: Path, blocks: int
) -> None:
    path = tmp_path / "s.nwb"
    done = kill_while(_record_for_ever, path, header, intents, blocks)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    with pytest.raises(NervehandError, match="still running or was cut off"):
        read_session(path)

    recovery = recover(path)

    assert done * BLOCK <= recovery.received <= (done + 1) * BLOCK
    assert 0 <= recovery.lost < header.info.rate_hz * 0.1 + BLOCK
    assert recovery.damaged == ()
    assert recovery.damaged_notes == 0
    session = read_session(recovery.path)
    n = session.n_samples
    assert n == recovery.verified == recovery.received - recovery.lost
    expected = np.concatenate([block(i).samples for i in range(done + 2)])
    assert np.array_equal(session.signal[0:n], expected[:n])
    assert session.recorded.intents is not None
    k = len(session.recorded.intents)
    assert n // BLOCK - 1 <= k <= n // BLOCK
    assert np.array_equal(session.recorded.intents.outputs, intents.outputs[np.arange(k) % 40])
    assert session.recorded.sent is not None
    told = [one for number in range(done + 1) for one in sent_after(number)]
    assert len(session.recorded.sent.sent_ns) == 2 * k
    assert session.recorded.sent.sent_ns.tolist() == [one.sent_ns for one in told][: 2 * k]
    assert np.array_equal(session.recorded.sent.positions, np.array([one.positions for one in told])[: 2 * k])
    assert len(session.recorded.notes) >= (n - BLOCK) // 200
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_rows_that_fail_their_checksum_are_never_shown(
    header: Header, intents: Intents, tmp_path: Path
) -> None:
    path = tmp_path / "s.nwb"
    done = kill_while(_record_for_ever, path, header, intents, 100)
    content = path.read_bytes()
    place = content.index(block(40).samples.tobytes())
    path.write_bytes(content[:place] + b"\x55" * 7 + content[place + 7 :])

    recovery = recover(path)

    (gap,) = recovery.damaged
    assert f"{recovery.lost} lost; samples {gap.start}..{gap.stop - 1} fail their checksum" in str(recovery)
    assert gap.start <= 1800 < 1820 <= gap.stop <= gap.start + 100 + BLOCK
    session = read_session(recovery.path)
    assert session.gaps == recovery.damaged
    assert recovery.verified == session.n_samples - (gap.stop - gap.start)
    expected = np.concatenate([block(i).samples for i in range(done + 2)])[: session.n_samples]
    expected[gap.start - 1000 : gap.stop - 1000] = 0
    assert np.array_equal(session.signal[0 : session.n_samples], expected)
    assert session.recorded.intents is not None
    index = session.recorded.intents.sample_index
    assert (
        len(set(range(1019, int(index[-1]), BLOCK)) - set(index.tolist())) == (gap.stop - gap.start) // BLOCK
    )


def test_a_note_cut_short_is_counted_and_the_others_kept(
    header: Header, intents: Intents, tmp_path: Path
) -> None:
    path = tmp_path / "s.nwb"
    kill_while(_record_for_ever, path, header, intents, 45)
    journal = tmp_path / "s.nwb.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert lines[0][8:20] == b' {"layout": '
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:-9])
    recovery = recover(path, tmp_path / "out.nwb")
    assert recovery.damaged_notes == 1
    assert [n.text for n in read_session(recovery.path).recorded.notes] == ["block 0", "block 10"]


def test_a_kill_before_the_first_flush_is_said(header: Header, intents: Intents, tmp_path: Path) -> None:
    path = tmp_path / "s.nwb"
    writer = SessionWriter(path, header)
    writer.append(block(0))
    with pytest.raises(NervehandError, match="none of 20 samples received can be verified"):
        recover(path)
    writer.close()


def test_recover_refuses_what_it_cannot_judge(header: Header, intents: Intents, tmp_path: Path) -> None:
    path = tmp_path / "s.nwb"
    kill_while(_record_for_ever, path, header, intents, 20)
    tail = tmp_path / "s.nwb.tail"
    content = tail.read_bytes()
    tail.write_bytes(b"X" + content[1:])
    with pytest.raises(NervehandError, match="is not the tail of this recording"):
        recover(path)
    tail.unlink()
    with pytest.raises(NervehandError, match=r"s\.nwb\.tail: is missing"):
        recover(path)
    tail.write_bytes(content)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(NervehandError, match=r"s\.nwb: "):
        recover(path)
    (tmp_path / "s.recovered.nwb").touch()
    with pytest.raises(NervehandError, match=r"s\.recovered\.nwb: is there already"):
        recover(path)


def _close_for_ever(path: Path, header: Header, intents: Intents, told: Connection) -> None:
    writer = SessionWriter(path, header)
    for number in range(60):
        record(writer, number, intents)
    told.send(60)
    writer.close()
    told.send(61)
    signal.pause()


@pytest.mark.parametrize("moment", [60, 61])
def test_a_kill_while_closing_leaves_the_recording_or_the_session(
    header: Header, intents: Intents, tmp_path: Path, moment: int
) -> None:
    path = tmp_path / "s.nwb"
    kill_while(_close_for_ever, path, header, intents, moment)
    if (tmp_path / "s.nwb.tail").exists():
        path = recover(path).path
    session = read_session(path)
    assert np.array_equal(
        session.signal[0 : session.n_samples],
        np.concatenate([block(i).samples for i in range(60)])[: session.n_samples],
    )
    assert session.n_samples >= 1100
