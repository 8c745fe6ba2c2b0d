"""Killed at any moment while 16 channels at 10 kHz are recorded: what is lost is bounded, said, and never made up.

A kill of the recorder or of the run alone loses nothing. A kill of both at once loses what neither had written.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decoder.recording.files import kept_in
from decoder.session import Session, read_session, recover
from decoder.session.journal import journal_of
from decoder.session.reader import tail_of
from decoder.session.recorded import EventKind
from decoder.session.recorder import LANES
from decoder.session.settle import settle
from decoder.session.sidecar import read_tail
from tests.decoder.recording.recording_run import BLOCK, CHANNELS, FIRST, PROGRESS, RATE_HZ, samples
from tests.proof.plugin import Proof

LONGEST_LOSS = round(0.2 * RATE_HZ)
YOUNG = round(0.06 * RATE_HZ)
"""Until the run has heard of a new file it does not note in its tail what is on its way to it."""
KILLS_EACH = 8
"""Of one run's recorder, which is started again each time."""
AT_ONCE = 2
KINDS = ("recorder", "run", "both")


@dataclass(frozen=True)
class Outcome:
    """Samples that were handed over, of these lost, said to be lost, and neither; files that were left to recover."""

    kills: int
    handed: int
    lost: int
    said: int
    unsaid: int
    unsettled: int


class Run:
    """A run of its own, in real time."""

    def __init__(self, folder: Path, seconds: float) -> None:
        folder.mkdir()
        self._seconds = seconds
        self.folder, self._progress = folder, folder.with_suffix(".progress")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.decoder.recording.recording_run", folder, self._progress, str(seconds)],
            env={**os.environ, "PYTHONPATH": "."}, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def progress(self) -> tuple[int, int, int, int]:
        """Blocks handed over for certain and perhaps, the recorder's process, and the files that it has begun."""
        raw = self._progress.read_bytes() if self._progress.exists() else b""
        return PROGRESS.unpack(raw) if len(raw) == PROGRESS.size else (0, 0, 0, 0)

    def until_recording(self) -> None:
        end_s = time.monotonic() + 60.0
        while not self.progress()[3]:
            assert time.monotonic() < end_s, "no file was begun"
            time.sleep(0.02)

    def until_ended(self, after_s: float) -> None:
        """So much after the last block was handed over, or before."""
        n = round((self._seconds + min(after_s, 0.0)) * RATE_HZ / BLOCK)
        while self._process.poll() is None and self.progress()[0] < n:
            time.sleep(0.005)
        time.sleep(max(after_s, 0.0))

    def kill_recorder(self) -> None:
        while not (pid := self.progress()[2]):  # it is just being written; 0 would be this process's group
            time.sleep(0.001)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.wait(120.0)


def settled(folder: Path, within_s: float = 60.0) -> None:
    """Wait until what was left to others is done."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if not list(folder.glob("*.tail")) and not list(folder.glob(".*")):
            return
        time.sleep(0.05)
    raise AssertionError(f"not settled: {sorted(path.name for path in folder.iterdir())}")


def judged(folder: Path, kills: int, done: int, begun: int, *, is_all: bool = False) -> Outcome:
    """Hold what is in the folder against what was handed over. What is unsettled is recovered, or settled, by us."""
    unsettled = [one.path for one in kept_in(folder, "nervehand") if tail_of(one.path).exists()]
    assert len(unsettled) <= 2  # one that a recorder wrote, one that was closed a moment before
    said: int | None = None
    is_newest_gone = False
    for number, path in enumerate(unsettled):
        tail = read_tail(tail_of(path), len(LANES))
        is_newest_gone = not tail.records
        if not tail.records:
            said = tail.received + tail.on_its_way
        if not tail.records or (done + number) % 2:
            settle(path)
        else:
            recovery = recover(path)
            assert not recovery.damaged
            assert not recovery.damaged_notes
            said = recovery.received - recovery.verified
    handed = done * BLOCK
    seen = np.zeros((begun + 1) * BLOCK, np.bool_)
    events: set[int] = set()
    notes: set[int] = set()
    intents: set[int] = set()
    newest = 0
    for path in sorted(folder.glob("*.nwb")):
        if tail_of(path).exists():
            continue
        session = read_session(path)
        shows_only_what_was_recorded(session, seen)
        newest = session.n_samples
        recorded = session.recorded
        events |= {event.first for event in recorded.events if event.kind == EventKind.RELOADED}
        notes |= {note.sample_index for note in recorded.notes if note.text == f"note at {note.sample_index}"}
        if recorded.intents is not None:
            intents |= set(recorded.intents.sample_index.tolist())
        for note in recorded.notes:
            if note.text.startswith("cut off: "):
                said = int(note.text.split()[2])
    there = int(seen.sum())
    assert not np.any(np.diff(seen.astype(np.int8)) > 0), "samples are missing before others"
    blocks = there // BLOCK
    assert events >= set(range(0, blocks, 7))
    assert notes >= {FIRST + k * BLOCK for k in range(0, blocks, 7)}
    assert intents >= {FIRST + k * BLOCK + BLOCK - 1 for k in range(blocks - 1)}
    unsaid = 0
    if is_all and said is not None:  # (what one file lacks may be in the next one)
        unsaid = max(handed - there - said, 0)
        assert there + said <= begun * BLOCK
        is_young = is_newest_gone or newest < YOUNG
        assert unsaid == 0 or (is_young and unsaid <= YOUNG), (done, begun, there, said, newest)
    return Outcome(kills, handed, max(handed - there, 0), said or 0, unsaid, len(unsettled))


def shows_only_what_was_recorded(session: Session, seen: NDArray[np.bool_]) -> None:
    n, first = session.n_samples, session.first_sample
    assert session.signal.shape == (n, CHANNELS)
    assert not session.gaps
    assert np.array_equal(session.signal[0:n], samples(first, n))
    assert session.recorded.state
    seen[first - FIRST : first - FIRST + n] = True


def recorder_killed(folder: Path, chance: random.Random, kills: int) -> Outcome:
    """Killed again and again, once more as the run ends."""
    waits_s = [chance.uniform(0.05, 3.0) for _ in range(kills - 1)]
    run = Run(folder, sum(waits_s) + 2.0)
    run.until_recording()
    for wait_s in waits_s:
        time.sleep(wait_s)
        run.kill_recorder()
    run.until_ended(chance.uniform(-0.2, 0.05))
    run.kill_recorder()
    run.wait()
    settled(folder)
    done, begun, *_ = run.progress()
    assert begun == done
    return judged(folder, kills, done, begun)


def run_killed(folder: Path, chance: random.Random) -> Outcome:
    run = Run(folder, 60.0)
    run.until_recording()
    time.sleep(chance.uniform(0.0, 3.0))
    run.kill()
    run.wait()
    settled(folder)
    done, begun, *_ = run.progress()
    return judged(folder, 1, done, begun)


def both_killed(folder: Path, chance: random.Random) -> Outcome:
    run = Run(folder, 60.0)
    run.until_recording()
    time.sleep(chance.uniform(0.0, 4.0))
    recorder_first = chance.random() < 0.5
    (run.kill_recorder if recorder_first else run.kill)()
    (run.kill if recorder_first else run.kill_recorder)()
    run.wait()
    no_others(folder)
    done, begun, *_ = run.progress()
    return judged(folder, 1, done, begun, is_all=True)


def no_others(folder: Path) -> None:
    """Wait until what settles files of before has ended: it outlives the one that began it."""
    end_s = time.monotonic() + 60.0
    while time.monotonic() < end_s:
        used = subprocess.run(["grep", "-lsF", str(folder), *map(str, Path("/proc").glob("[0-9]*/cmdline"))],
                              capture_output=True, text=True, check=False).stdout.split()  # fmt: skip
        if not used:
            return
        time.sleep(0.1)


@pytest.mark.proof(alone=True)
def test_killed_at_any_moment_the_loss_is_bounded_and_said(proof: Proof, tmp_path: Path) -> None:
    total = proof.count(200, least=6)
    n_both = n_run = total // 3
    n_recorder = total - n_both - n_run
    chance = random.Random(proof.seed)
    jobs: list[tuple[str, Callable[[], Outcome]]] = []
    for k, begin in enumerate(range(0, n_recorder, KILLS_EACH)):
        kills = min(KILLS_EACH, n_recorder - begin)
        mine = random.Random(chance.random())
        jobs.append(("recorder", partial(recorder_killed, tmp_path / f"recorder-{k}", mine, kills)))
    for name, n, kill in (("run", n_run, run_killed), ("both", n_both, both_killed)):
        for k in range(n):
            jobs.append((name, partial(kill, tmp_path / f"{name}-{k}", random.Random(chance.random()))))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = [(name, pool.submit(job)) for name, job in jobs if name != "both"]
        outcomes = [(name, result.result()) for name, result in results]
    # How much these lose depends on the time that the recorder gets: one after the other.
    outcomes += [(name, job()) for name, job in jobs if name == "both"]
    lost = {name: [o.lost for kind, o in outcomes if kind == name] for name in KINDS}
    both = sorted(lost["both"])
    proof.record(
        kills=sum(o.kills for _, o in outcomes), samples=sum(o.handed for _, o in outcomes),
        lost_recorder=sum(lost["recorder"]), lost_run=sum(lost["run"]),
        lost_both_p50_ms=both[len(both) // 2] / RATE_HZ * 1e3, lost_both_max_ms=both[-1] / RATE_HZ * 1e3,
        unsaid=sum(o.unsaid for _, o in outcomes), left_unsettled=sum(o.unsettled for _, o in outcomes),
    )  # fmt: skip
    assert max(lost["recorder"]) == max(lost["run"]) == 0
    assert both[-1] <= LONGEST_LOSS


@pytest.mark.proof
def test_settling_that_is_killed_at_any_moment_is_done_by_the_next(proof: Proof, tmp_path: Path) -> None:
    chance = random.Random(proof.seed)
    made = tmp_path / "made"
    run = Run(made, 60.0)
    run.until_recording()
    time.sleep(0.8)
    run.kill_recorder()
    run.kill()
    run.wait()
    cut_off = next(one.path for one in kept_in(made, "nervehand") if tail_of(one.path).exists())
    began_s = time.monotonic()
    whole = settling(copied(cut_off, tmp_path / "whole"))
    assert whole.wait(60.0) == 0
    takes_s = time.monotonic() - began_s
    n = read_session(tmp_path / "whole" / cut_off.name).n_samples
    killed = 0
    for k in range(proof.count(60, least=3)):
        path = copied(cut_off, tmp_path / f"killed-{k}")
        for _ in range(3):
            process = settling(path)
            time.sleep(chance.uniform(0.5, 1.0) * takes_s)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        settle(path)
        session = read_session(path)
        assert session.n_samples == n
        assert sum(note.text.startswith("cut off: ") for note in session.recorded.notes) == 1
        assert sorted(os.listdir(path.parent)) == [path.name]
    proof.record(kills=killed)


def settling(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "decoder.session.settle", path], stderr=subprocess.DEVNULL)


def copied(path: Path, folder: Path) -> Path:
    folder.mkdir()
    for one in (path, tail_of(path), journal_of(path)):
        shutil.copy(one, folder)
    return folder / path.name
