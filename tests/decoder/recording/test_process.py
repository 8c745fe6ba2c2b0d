"""The recorder as a process: killed, stopped or left alone, nothing is lost that is still in memory."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decoder.carried import packed
from decoder.recording.files import kept_in
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import recorder_process
from decoder.recording.messages import Pin
from decoder.recording.sender import Sender
from decoder.session import Session, read_session, recover
from decoder.session.reader import tail_of
from decoder.session.recorded import Event, EventKind, Note
from decoder.session.settle import settle
from tests.decoder.recording.rig import BLOCK, HEADER, RATE_HZ, block, samples
from tests.scarce import scarce


def until(is_so: Callable[[], object], within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end_s, "it did not come to pass"
        time.sleep(0.01)


def told(sender: Sender, begin: int, end: int, each: int = 10) -> None:
    for number in range(begin, end):
        if number % each == 0:
            sender.moment(packed({"place": np.arange(3.0)}, next=1000 + number * BLOCK))
        sender.append(block(number))


def sessions(folder: Path) -> list[Session]:
    return [read_session(one.path) for one in kept_in(folder, "nervehand")]


def is_whole(found: list[Session], first: int, end: int) -> bool:
    """Whether every sample from first to before end is in one of them, with its own value."""
    seen = np.zeros(end - first, np.bool_)
    for session in found:
        n = session.n_samples
        assert np.array_equal(session.signal[0:n], samples(session.first_sample, n))
        seen[max(session.first_sample - first, 0) : session.first_sample + n - first] = True
    return bool(seen.all())


def all_settled(folder: Path) -> bool:
    return bool(list(folder.glob("*.nwb"))) and not list(folder.glob("*.tail"))


def test_what_a_run_tells_is_in_sessions_when_it_ends(tmp_path: Path) -> None:
    with recorder_process(KeepSettings(str(tmp_path), rotate_s=1.0, reserve_bytes=0), HEADER) as (
        sender,
        process,
    ):
        number = 0
        while (
            int(str(sender.report.get("files_begun", 0))) < 3
        ):  # a file that is full goes on until the next is made
            assert number < 10_000
            told(sender, number, number + 10)
            number += 10
            time.sleep(0.05)
            sender.look()
        sender.note(Note(sender.present_sample, "the end"))
        assert not process.problem
    until(lambda: all_settled(tmp_path))
    found = sessions(tmp_path)
    assert is_whole(found, 1000, 1000 + number * BLOCK)
    assert found[-1].recorded.notes[-1].text == "the end"
    assert all((one.path.stat().st_mode & 0o777) == 0o600 for one in kept_in(tmp_path, "nervehand"))


def test_one_file_is_whole_when_the_run_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "mine.nwb"
    settings = KeepSettings(str(tmp_path), path=str(path), reserve_bytes=0)
    with recorder_process(settings, HEADER) as (sender, _):
        told(sender, 0, 50)
    assert os.listdir(tmp_path) == ["mine.nwb"]
    assert read_session(path).n_samples == 1000


def test_a_recorder_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    with recorder_process(KeepSettings(str(tmp_path), reserve_bytes=0), HEADER) as (sender, process):
        for begin in (0, 40, 80):
            told(sender, begin, begin + 40)
            until(lambda: sender.taken > 20)
            pid = process.pid
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: process.pid != pid)
        told(sender, 120, 130)
        assert "started again: 3 times" in process.problem
    until(lambda: all_settled(tmp_path))
    assert is_whole(sessions(tmp_path), 1000, 3600)


def test_a_recorder_that_cannot_be_started_again_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("decoder.recording.link.FIRST_WAIT_S", 0.01)
    with recorder_process(KeepSettings(str(tmp_path), reserve_bytes=0), HEADER) as (sender, process):
        told(sender, 0, 20)
        until(lambda: not sender.backlog)
        pid, failed = process.pid, scarce(monkeypatch, 2)
        os.kill(pid, signal.SIGKILL)
        told(sender, 20, 40)
        until(lambda: process.pid != pid)
        until(lambda: process.deaths == 1)
        assert failed() == 2
        assert "(signal 9), and was started again: 1 times" in process.problem
        said = [record.message for record in caplog.records]
        assert sum("cannot be started now: Resource temporarily unavailable" in text for text in said) == 1
    until(lambda: all_settled(tmp_path))
    assert is_whole(sessions(tmp_path), 1000, 1800)


def test_while_no_recorder_can_be_started_that_is_said_and_nobody_is_killed_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("decoder.recording.link.FIRST_WAIT_S", 0.01)
    with recorder_process(KeepSettings(str(tmp_path), reserve_bytes=0), HEADER) as (sender, process):
        with monkeypatch.context() as short:
            failed, pid = scarce(short, 1_000_000), process.pid
            os.kill(pid, signal.SIGKILL)
            until(failed)
            until(lambda: "cannot be started now" in process.problem)
            told(sender, 0, 20)
            now_s = time.monotonic()
            process.look(sender, now_s)
            process.look(sender, now_s + 25.0)
            assert process.pid == pid
            assert not [one for one in caplog.records if "has not moved" in one.message]
        until(lambda: process.deaths == 1)
    until(lambda: all_settled(tmp_path))
    assert is_whole(sessions(tmp_path), 1000, 1400)


def test_a_recorder_that_stands_still_loses_nothing_and_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorder_process(KeepSettings(str(tmp_path), reserve_bytes=0), HEADER) as (sender, process):
        told(sender, 0, 20)
        until(lambda: not sender.backlog)
        pid = process.pid
        os.kill(pid, signal.SIGSTOP)
        told(sender, 20, 60)
        now_s = time.monotonic()
        process.look(sender, now_s)
        process.look(sender, now_s + 19.0)
        assert process.pid == pid
        process.look(sender, now_s + 25.0)
        until(lambda: process.pid != pid)
    until(lambda: all_settled(tmp_path))
    assert is_whole(sessions(tmp_path), 1000, 2200)


RUN = """
import os, sys, time
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import recorder_process
from tests.decoder.recording.rig import HEADER
from tests.decoder.recording.test_process import told
with recorder_process(KeepSettings(sys.argv[1], reserve_bytes=0), HEADER) as (sender, process):
    told(sender, 0, 5)
    while not sender.report.get("tail"):
        sender.look()
        time.sleep(0.01)
    for number in range(5, 73):
        time.sleep(0.02)
        told(sender, number, number + 1)
    print(process.pid, flush=True)
    time.sleep(60)
"""


def run_of(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A run that has handed over 73 blocks, and its recorder's process."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert run.stdout is not None
    return run, int(run.stdout.readline())


def kill_all(run: subprocess.Popen[str], recorder: int) -> None:
    """A run that stands still starts no other recorder meanwhile, nor does its recorder hear of its end."""
    run.send_signal(signal.SIGSTOP)
    dead = os.pidfd_open(recorder)
    try:
        os.kill(recorder, signal.SIGKILL)
        assert select.select([dead], [], [], 20.0)[0], (
            "the recorder does not die"
        )  # until then its files are locked
    finally:
        os.close(dead)
        run.kill()
        run.wait()


def test_when_the_run_is_killed_the_recorder_writes_all_and_closes_the_file(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path)
    run.kill()
    run.wait()
    until(lambda: all_settled(tmp_path))
    (session,) = sessions(tmp_path)
    assert is_whole([session], 1000, 1000 + 73 * BLOCK)


def test_when_all_is_killed_the_loss_is_told_to_the_sample(tmp_path: Path) -> None:
    run, recorder = run_of(tmp_path)
    kill_all(run, recorder)
    (path,) = (one.path for one in kept_in(tmp_path, "nervehand"))
    recovery = recover(path)
    assert recovery.received == 73 * BLOCK
    assert recovery.lost == recovery.received - read_session(recovery.path).n_samples
    assert recovery.lost <= 0.2 * RATE_HZ


def test_what_was_cut_off_is_settled_by_the_next_one(tmp_path: Path) -> None:
    run, recorder = run_of(tmp_path)
    kill_all(run, recorder)
    assert list(tmp_path.glob("*.tail"))
    with recorder_process(KeepSettings(str(tmp_path), reserve_bytes=0), HEADER) as (sender, _):
        told(sender, 100, 120)
        until(lambda: len(list(tmp_path.glob("*.tail"))) == 1)
    until(lambda: all_settled(tmp_path))
    first, second = sessions(tmp_path)
    assert first.recorded.notes[-1].text.startswith("cut off: ")
    assert is_whole([second], 1000 + 100 * BLOCK, 1000 + 120 * BLOCK)


def test_a_damaged_recording_is_kept_beside_what_was_recovered(tmp_path: Path) -> None:
    run, recorder = run_of(tmp_path)
    kill_all(run, recorder)
    (path,) = (one.path for one in kept_in(tmp_path, "nervehand"))
    at = path.read_bytes().find(samples(1200, 4).tobytes())
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\xff\xff\xff")
    settle(path)
    assert tail_of(path).exists()
    assert read_session(path.with_name(f"{path.stem}.recovered.nwb")).gaps
    assert settle(path).endswith("nothing is to be done")


def test_a_kill_between_the_two_names_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, recorder = run_of(tmp_path)
    kill_all(run, recorder)
    (path,) = (one.path for one in kept_in(tmp_path, "nervehand"))
    monkeypatch.setattr("decoder.session.settle._clear", lambda path: None)
    settle(path)
    assert tail_of(path).exists()
    monkeypatch.undo()
    assert settle(path).endswith("was whole")
    assert is_whole(sessions(tmp_path), 1000, 1000 + 60 * BLOCK)


def test_a_folder_that_cannot_be_written_is_said_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with recorder_process(KeepSettings(str(folder), reserve_bytes=0), HEADER) as (sender, process):
        told(sender, 0, 10)
        until(lambda: sender.look() or sender.report.get("state") == "stopped")
        assert str(folder) in str(sender.report["why"])
        folder.mkdir()
        told(sender, 10, 20)
        until(lambda: sender.look() or sender.report.get("state") == "recording")
        assert not process.problem
    until(lambda: all_settled(folder))
    assert is_whole(sessions(folder), 1200, 1400)


def test_pins_and_another_decoder_reach_the_recorder(tmp_path: Path) -> None:
    with recorder_process(KeepSettings(str(tmp_path), reserve_bytes=0), HEADER) as (sender, _):
        told(sender, 0, 20)
        sender.pin(Pin("Ann", "it fell", 1.0))
        sender.event(Event(sender.present_sample, EventKind.RELOADED, 2))
        other = replace(HEADER, bundle="c" * 64)
        sender.moment(packed({}, next=1400), other, "another decoder took over")
        sender.append(block(20))
    until(lambda: all_settled(tmp_path))
    assert [one.is_pinned for one in kept_in(tmp_path, "nervehand")] == [True, False]
    assert [session.recorded.bundle for session in sessions(tmp_path)] == ["b" * 64, "c" * 64]


def test_the_recorder_loads_no_compiler_no_runtime_and_no_nwb(tmp_path: Path) -> None:
    code = (
        "import sys, decoder.recording.process\n"
        "print([name for name in ('numba', 'onnxruntime', 'pynwb', 'scipy', 'torch', 'pandas') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
