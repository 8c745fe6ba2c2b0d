"""The power goes while a recording is written: what was synced is whole, whatever became of later writes.

A program's real writes and syncs are traced (power/shim.c), and power/trace.py makes the disks that a power cut may
leave. Each is settled or recovered as the next start does it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from decoder.session import Session, read_session, trials
from firmware_bridge.errors import NervehandError
from tests.decoder.session.power.trace import Disk, Operation, compiled, images, traced
from tests.decoder.session.power.workload import (
    BLOCK,
    BLOCKS_EACH,
    FIRST,
    ROTATIONS,
    STATE,
    TRIAL_BLOCKS,
    samples,
    truth,
)
from tests.proof.plugin import Proof

JUDGE = "tests.decoder.session.power.judge"
BATCH = 10
LIMIT_S = 120.0
"""For a batch of folders: far more than they take."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = compiled(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs a C compiler (gcc) to trace writes")
    return found


@pytest.fixture(scope="module", params=["trials", "rotation"])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recorded(
    library: Path, program: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Operation]]:
    folder = tmp_path_factory.mktemp(program)
    log = tmp_path_factory.mktemp("log") / "trace"
    command = [sys.executable, "-m", "tests.decoder.session.power.workload", program, str(folder)]
    return folder, traced(command, library, folder, log)


def test_the_trace_holds_all_that_was_done(recorded: tuple[Path, list[Operation]]) -> None:
    folder, operations = recorded
    disk = Disk()
    for operation in operations:
        disk.do(operation)
    there = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "said"}
    assert disk.present() == there
    assert disk.said[-1] == "closed"


@pytest.mark.proof
def test_finished_trials_and_files_are_whole_after_any_power_cut(
    proof: Proof, program: str, recorded: tuple[Path, list[Operation]], tmp_path: Path
) -> None:
    cuts = images(recorded[1], proof.count(200), proof.seed)
    folders, said = [], []
    for k, (after, by_then, files) in enumerate(cuts):
        folder = tmp_path / f"{k:03d}-after-{after}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        folders.append(folder)
        said.append(by_then)
    refused = beside = rows = 0
    for how in ("settle", "recover"):
        mine = folders[how == "recover" :: 2]
        for begin in range(0, len(mine), BATCH):
            judged = subprocess.run(
                [sys.executable, "-m", JUDGE, how, *map(str, mine[begin : begin + BATCH])],
                capture_output=True, text=True, timeout=LIMIT_S, check=False,
            )  # fmt: skip
            assert judged.returncode == 0, judged.stderr[-2000:]
            refused += judged.stdout.count("\trefused")
            beside += judged.stdout.count(".recovered.nwb:")
    for folder, by_then in zip(folders, said, strict=True):
        found = list(sessions(folder))
        rows += sum(session.n_samples for session in found)
        check = whole_trials if program == "trials" else whole_files
        check(found, by_then, f"{folder}: {sorted(path.name for path in folder.iterdir())}")
    proof.record(images=len(folders), operations=len(recorded[1]), refused=refused, beside=beside, rows=rows)


def sessions(folder: Path) -> Iterator[Session]:
    """What a person would open: the recording's own name, or what was recovered beside it; all of it is right."""
    for path in sorted(folder.glob("*.nwb")):
        beside = path.with_name(f"{path.stem}.recovered.nwb")
        if beside.exists() or not path.exists():
            continue
        try:
            session = read_session(path)
        except NervehandError:
            continue
        assert_true(session)
        yield session


def assert_true(session: Session) -> None:
    """Nothing is shown that was not recorded."""
    n, first = session.n_samples, session.first_sample
    lost = np.zeros(n, np.bool_)
    for gap in session.gaps:
        lost[gap.start - first : gap.stop - first] = True
    assert np.array_equal(session.signal[0:n][~lost], samples(first, n)[~lost])
    if session.truth is not None:
        assert np.array_equal(session.truth[~lost], truth(first, n)[~lost])
    recorded = session.recorded
    assert [note for note in recorded.notes if note.text.startswith("note at ")] == [
        note for note in recorded.notes if note.text == f"note at {note.sample_index}"
    ]
    if recorded.intents is not None:
        assert np.array_equal(
            recorded.intents.outputs[:, 0], recorded.intents.sample_index.astype(np.float32)
        )
    for event in recorded.events:
        assert event.first in ((event.sample_index - FIRST) // BLOCK, len(recorded.state))


def whole_trials(found: list[Session], said: list[str], where: str) -> None:
    ends = [int(line.split()[2]) for line in said if line.startswith("trial ")]
    if not ends:
        return
    assert len(found) == 1, where
    (session,) = found
    assert session.first_sample == FIRST
    end = ends[-1]
    assert session.n_samples >= end - FIRST, where
    assert not [gap for gap in session.gaps if gap.start < end], where
    assert session.recorded.state == STATE
    cut = {trial.id: (trial.start + FIRST, trial.stop + FIRST) for trial in trials(session)}
    begin = FIRST
    for trial, stop in enumerate(ends, start=1):
        assert cut[trial] == (begin, stop), where
        begin = stop
    blocks = (end - FIRST) // BLOCK
    recorded = session.recorded
    lasts = [FIRST + k * BLOCK + BLOCK - 1 for k in range(blocks)]
    marked, number = [], 0
    for trial in range(1, len(ends) + 1):
        marked += [lasts[number + k] for k in range(TRIAL_BLOCKS + trial) if k % 4 == 1]
        number += TRIAL_BLOCKS + trial
    assert [note.sample_index for note in recorded.notes if note.text.startswith("note at ")][
        : len(marked)
    ] == marked
    assert [event.sample_index for event in recorded.events][: len(marked)] == marked, where
    assert recorded.intents is not None
    assert recorded.intents.sample_index[:blocks].tolist() == lasts, where
    assert recorded.commands is not None
    assert recorded.commands.sample_index[:blocks].tolist() == lasts, where


def whole_files(found: list[Session], said: list[str], where: str) -> None:
    ends = [line.split()[1:] for line in said if line.startswith("kept ")]
    if not ends:
        return
    end, rest = map(int, ends[-1])  # of the signal, and of what belongs to it
    seen = np.zeros(ROTATIONS * BLOCKS_EACH * BLOCK, np.bool_)
    notes: set[int] = set()
    intents: set[int] = set()
    for session in found:
        start = session.first_sample - FIRST
        seen[start : start + session.n_samples] = True
        for gap in session.gaps:
            seen[gap.start - FIRST : gap.stop - FIRST] = False
        notes |= {note.sample_index for note in session.recorded.notes if note.text.startswith("note at ")}
        if session.recorded.intents is not None:
            intents |= set(session.recorded.intents.sample_index.tolist())
        assert session.recorded.state
    assert seen[: end - FIRST].all(), where
    assert notes >= set(range(FIRST, rest, 5 * BLOCK)), where
    assert intents >= set(range(FIRST + BLOCK - 1, rest, BLOCK)), where
