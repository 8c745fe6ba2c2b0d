"""What the status document says of the recording, from the reports of recorders that follow each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from decoder.recording import messages
from decoder.recording.keeper import Keeper, KeepSettings
from decoder.recording.messages import Kind, Moment
from decoder.recording.ring import Message
from nervehand.config import RecordingConfig
from nervehand.recording_status import RecordingWatch
from tests.decoder.recording.rig import BLOCK, HEADER, RATE_HZ, block

FIRST = 1000


def reports(folder: Path) -> Callable[[int, int], Mapping[str, object]]:
    """What a recorder that begins now says once it was given the blocks from..before."""
    keeper = Keeper(KeepSettings(str(folder), reserve_bytes=0), lambda path: None)
    numbers = itertools.count(1)

    def given(begin: int, end: int) -> Mapping[str, object]:
        if end > begin:
            moment = messages.encode_moment(Moment(HEADER))
            keeper.take(Message(next(numbers), Kind.MOMENT, b"".join(moment)))
        for number in range(begin, end):
            keeper.take(
                Message(next(numbers), Kind.BLOCK, b"".join(messages.encode_block(block(number, FIRST))))
            )
        plain: Mapping[str, object] = json.loads(json.dumps(asdict(keeper.report())))
        return plain

    return given


def newest_of(n_blocks: int) -> int:
    """The last sample of so many blocks."""
    return FIRST + n_blocks * BLOCK - 1


def test_what_was_handed_over_and_has_not_come_is_the_backlog(tmp_path: Path) -> None:
    watch, report = RecordingWatch(RecordingConfig()), reports(tmp_path)
    assert watch.status({}, newest_of(5), RATE_HZ).ring_backlog_s is None
    assert watch.status(report(0, 0), newest_of(5), RATE_HZ).ring_backlog_s is None
    assert watch.status(report(0, 5), newest_of(5), RATE_HZ).ring_backlog_s == 0.0
    status = watch.status(report(5, 10), newest_of(30), RATE_HZ)
    assert status.ring_backlog_s == pytest.approx(20 * BLOCK / RATE_HZ)
    assert (status.state, status.samples, status.folder) == ("recording", 10 * BLOCK, "")


def test_a_recorder_in_anothers_place_goes_on_from_where_that_one_was(tmp_path: Path) -> None:
    watch = RecordingWatch(RecordingConfig())
    watch.status(reports(tmp_path)(0, 10), newest_of(10), RATE_HZ)
    another = reports(tmp_path)
    waiting = watch.status(another(0, 0), newest_of(15), RATE_HZ)
    assert waiting.ring_backlog_s == pytest.approx(5 * BLOCK / RATE_HZ)
    behind = watch.status(
        another(5, 8), newest_of(15), RATE_HZ
    )  # it begins with a moment before what was written
    assert behind.ring_backlog_s == pytest.approx(5 * BLOCK / RATE_HZ)
    assert watch.status(another(8, 15), newest_of(15), RATE_HZ).ring_backlog_s == 0.0


def test_samples_that_were_lost_on_the_way_do_not_wait(tmp_path: Path) -> None:
    watch, report = RecordingWatch(RecordingConfig()), reports(tmp_path)
    watch.status(report(0, 5), newest_of(5), RATE_HZ)
    assert watch.status(report(20, 25), newest_of(25), RATE_HZ).ring_backlog_s == 0.0


def test_while_nothing_can_be_recorded_nothing_waits_either_and_why_is_said(tmp_path: Path) -> None:
    watch = RecordingWatch(RecordingConfig(folder=str(tmp_path / "none"), budget_mib=7, reserve_mib=3))
    status = watch.status(reports(tmp_path / "none")(0, 5), newest_of(5), RATE_HZ, problem="it died once")
    assert (status.state, status.samples, status.ring_backlog_s) == ("stopped", 0, 0.0)
    assert str(tmp_path / "none") in status.why
    assert status.why.endswith("; it died once")
    assert (status.budget_mib, status.reserve_mib) == (7.0, 3.0)


def test_a_run_that_hands_nothing_over_any_more_does_not_record(tmp_path: Path) -> None:
    watch = RecordingWatch(RecordingConfig())
    status = watch.status(reports(tmp_path)(0, 5), newest_of(5), RATE_HZ, given_up="no room in memory")
    assert (status.state, status.why) == ("stopped", "no room in memory")


def test_the_pace_is_the_recorders_own_and_unknown_before_it_says_one(tmp_path: Path) -> None:
    watch, report = RecordingWatch(RecordingConfig()), reports(tmp_path)(0, 5)
    assert watch.status(report, newest_of(5), RATE_HZ).written_mib_per_s is None
    assert watch.status({**report, "mib_per_s": 0.31}, newest_of(5), RATE_HZ).written_mib_per_s == 0.31
