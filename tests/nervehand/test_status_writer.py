"""The thread that writes the status document: at once, again and again, and never in the way of anything else."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from nervehand.status import Status, judged, path_of, read_status
from nervehand.status_writer import StatusWriter
from tests.firmware_bridge.guarding import own_guards, wait_for
from tests.nervehand.statuses import full_status


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


class Counted:
    """A status that says how often it was made."""

    def __init__(self) -> None:
        self.times = 0
        self.threads: set[str] = set()

    def __call__(self) -> Status:
        self.times += 1
        self.threads.add(threading.current_thread().name)
        return replace(full_status(), restarts=self.times)


def test_it_is_there_at_once_is_written_again_and_again_and_is_gone_at_the_end() -> None:
    make, path = Counted(), path_of("nervehand")
    with StatusWriter(path, make, period_s=0.01):
        assert judged(path).alive
        wait_for(lambda: read_status(path).restarts >= 5)
    assert not path.exists()
    times = make.times
    assert "status" in make.threads
    assert make.times == times, "nobody writes any more"


def test_who_waits_for_it_gets_it_soon() -> None:
    make, path = Counted(), path_of("nervehand")
    with StatusWriter(path, make, period_s=3600.0) as writer:
        writer.soon()
        wait_for(lambda: read_status(path).restarts == 2)


def test_what_cannot_be_made_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    make, path = Counted(), path_of("nervehand")

    def sometimes() -> Status:
        status = make()
        if make.times in (2, 3):
            raise RuntimeError("half of it is gone")
        return status

    with StatusWriter(path, sometimes, period_s=0.01):
        wait_for(lambda: read_status(path).restarts >= 4)
    assert caplog.text.count("half of it is gone") >= 2


def test_after_an_end_that_nobody_asked_for_the_last_document_stays() -> None:
    make, path = Counted(), path_of("nervehand")
    with pytest.raises(RuntimeError, match="decoder"), StatusWriter(path, make, period_s=3600.0):
        raise RuntimeError("decoder")
    assert read_status(path).restarts == 2
    with StatusWriter(path, make, period_s=3600.0) as writer:
        writer.kept = True
    assert read_status(path).restarts == 4
