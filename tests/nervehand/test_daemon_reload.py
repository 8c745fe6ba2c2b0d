"""A reload that is asked for before there is anything to change, and the start with a configuration of before."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from firmware_bridge.notify import Notifier
from nervehand.config_file import read_config
from nervehand.config_kept import VARIABLE
from nervehand.daemon_reload import Reloads
from nervehand.daemon_status import DaemonStatus, StartTimes
from nervehand.driving import Driven
from tests.firmware_bridge.guarding import own_guards

DRIVEN = cast(Driven, object())
"""Nothing of it is asked here."""


class Noted(Reloads):
    """Notes each reload instead of making it."""

    came: list[Driven]
    heard: threading.Event

    def reload(self, driven: Driven) -> None:
        self.came.append(driven)
        self.heard.set()


@pytest.fixture(autouse=True)
def as_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of its own, and the signals ignored as nervehand.daemon begins with."""
    own_guards(tmp_path, monkeypatch)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    numbers = (signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def noted(tmp_path: Path, problem: str = "") -> tuple[Noted, DaemonStatus]:
    path = tmp_path / "f.toml"
    path.write_text('name = "worn"\n')
    file = replace(read_config(path), problem=problem)
    status = DaemonStatus(file.config, Notifier.from_environment(), StartTimes())
    reloads = Noted(file, status)
    reloads.came, reloads.heard = [], threading.Event()
    return reloads, status


def test_a_reload_that_is_asked_for_while_a_source_is_waited_for_is_made_once_there_is_a_run(
    tmp_path: Path,
) -> None:
    reloads, _ = noted(tmp_path)
    reloads.begin()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert reloads.came == []
    with reloads.answering(DRIVEN):
        assert reloads.heard.wait(10)
    assert reloads.came == [DRIVEN]
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN


def test_a_request_to_arm_is_not_kept_until_then(tmp_path: Path) -> None:
    reloads, _ = noted(tmp_path)
    reloads.begin()
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN
    with reloads.answering(DRIVEN):
        assert signal.getsignal(signal.SIGUSR2) != signal.SIG_IGN


def test_what_it_begins_with_is_kept_for_another_start(tmp_path: Path) -> None:
    reloads, status = noted(tmp_path)
    reloads.begin()
    assert not (tmp_path / "kept").exists()  # nothing has shown yet that a run comes of it
    with reloads.answering(DRIVEN):
        assert (tmp_path / "kept").read_text() == 'name = "worn"\n'
    assert (status.config.outcome, status.config.refused) == ("", False)


def test_a_start_with_the_configuration_of_before_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reloads, status = noted(tmp_path, "f.toml, line 3: name is 5")
    reloads.begin()
    assert (status.config.outcome, status.config.refused) == ("refused: f.toml, line 3: name is 5", True)
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("WARNING", "configuration: refused: f.toml, line 3: name is 5")
    ]
    with reloads.answering(DRIVEN):
        assert not (tmp_path / "kept").exists()
