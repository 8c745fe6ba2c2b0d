"""A disk that is full, or becomes read-only, stops the recording and nothing else; then it goes on when it can."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from decoder.recording.files import kept_in
from decoder.session import read_session
from decoder.session.room import Room
from decoder.session.settle import settle
from tests.decoder.recording.recording_run import FIRST, RATE_HZ, samples

SHIM = Path(__file__).with_name("failing_disk.c")
LONGEST_HANDING_OVER_S = 0.5
"""Of a block, on a machine that does other things too: nothing in it waits for a disk."""


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


def said_by(command: list[str], **more: str) -> tuple[dict[str, object], str]:
    """What a run printed last, as JSON, and what its log says."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": ".", **more},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found, done.stderr


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces (unshare -rm) for a small disk")
def test_a_disk_that_another_fills_at_once_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    said, log = said_by(
        ["unshare", "-rm", sys.executable, "-m", "tests.decoder.recording.full_disk_run", str(tmp_path)]
    )
    assert "recording stopped at sample" in str(said["why"])
    assert said["problem"] == ""  # the recorder never died of it: HDF5 did not see a full disk
    assert "the disk fails" not in log
    assert float(str(said["longest_s"])) < LONGEST_HANDING_OVER_S
    first, second = said["files"]  # type: ignore[misc]
    assert first["right"]
    assert second["right"]
    assert first["says_why"]
    assert first["first"] == FIRST
    assert first["end"] >= int(str(said["full_at"])) - 0.2 * RATE_HZ
    assert second["first"] <= int(str(said["again_at"]))
    assert second["end"] == said["end"]


def test_a_disk_that_becomes_read_only_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler (gcc) to make writes fail")
    library, flag, folder = tmp_path / "shim.so", tmp_path / "read only", tmp_path / "disk"
    folder.mkdir()
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    said, log = said_by(
        [sys.executable, "-m", "tests.decoder.recording.read_only_run", str(folder), str(flag)],
        LD_PRELOAD=str(library), NH_FOLDER=str(folder), NH_READ_ONLY=str(flag),
    )  # fmt: skip
    assert "Read-only file system" in str(said["why"])
    assert "exit status 3" in str(said["problem"])
    assert "the disk fails, and the file is left as it is" in log
    assert said["deaths"] == 1  # in 8 s: it is not started again and again
    assert float(str(said["longest_s"])) < LONGEST_HANDING_OVER_S
    for one in kept_in(folder, "nervehand"):
        settle(one.path)
    first, second = (read_session(one.path) for one in kept_in(folder, "nervehand"))
    for session in (first, second):
        assert (
            session.signal[0 : session.n_samples] == samples(session.first_sample, session.n_samples)
        ).all()
    assert first.first_sample == FIRST
    assert second.first_sample + second.n_samples == said["end"]


def test_room_is_held_behind_a_file_and_given_back(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.write(b"x")
        file.flush()
        room = Room(file.fileno(), 1 << 20)
        assert room.hold(1 << 16)
        held = os.fstat(file.fileno())
        if held.st_blocks * 512 < 1 << 20:
            pytest.skip("this file system holds no room behind a file")
        assert held.st_size == 1
        room.release()
        assert os.fstat(file.fileno()).st_blocks * 512 < 1 << 16
