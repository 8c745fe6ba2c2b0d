"""`nervehand status`: which daemon, what is printed, and an exit status that a script may go by."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from firmware_bridge.errors import NervehandError
from nervehand import status_command
from nervehand.status import path_of, write_status
from nervehand.status_command import DEGRADED, FINE, NOT_RUNNING, add_status_command
from tests.firmware_bridge.guarding import own_guards
from tests.nervehand.statuses import ended_status, full_status

Status = Callable[..., tuple[int, str]]


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Status:
    """status("NAME", "--json"): exit status and what was printed; no other daemon is found."""
    own_guards(tmp_path, monkeypatch)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    add_status_command(app)

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["nervehand", "status", *words])
        with pytest.raises(SystemExit) as ended:
            app(standalone_mode=True)
        return int(ended.value.code or 0), capsys.readouterr().out

    return call


def test_a_daemon_that_does_well_is_0(status: Status) -> None:
    write_status(path_of("nervehand"), full_status())
    code, page = status()
    assert code == FINE
    assert page.startswith("nervehand: running for 1 h 00 min")


def test_a_daemon_with_a_problem_is_1(status: Status) -> None:
    full = full_status()
    assert full.source is not None
    write_status(path_of("nervehand"), replace(full, source=replace(full.source, state="lost")))
    code, page = status()
    assert code == DEGRADED
    assert "  ! the front-end" in page


def test_a_silent_daemon_is_1(status: Status) -> None:
    write_status(path_of("nervehand"), replace(full_status(), written_monotonic_s=time.monotonic() - 60))
    assert status()[0] == DEGRADED


def test_a_document_that_cannot_be_read_is_1_and_says_why(status: Status) -> None:
    path_of("nervehand").write_text("{")
    code, page = status("nervehand")
    assert code == DEGRADED
    assert "is no status of a daemon" in page


def test_no_daemon_is_3_and_says_how_to_start_one(status: Status) -> None:
    code, page = status()
    assert code == NOT_RUNNING
    assert page == "no daemon is running for you: start one with `nervehand run`\n"
    assert "no daemon 'other' is running" in status("other")[1]


def test_one_that_was_killed_is_3(status: Status) -> None:
    write_status(path_of("nervehand"), ended_status("nervehand"))
    code, page = status()
    assert code == NOT_RUNNING
    assert "not running" in page


def test_an_engine_that_is_being_started_again_is_1(status: Status) -> None:
    write_status(
        path_of("nervehand"), replace(ended_status("nervehand"), supervisor=full_status().supervisor)
    )
    assert status()[0] == DEGRADED


def test_of_several_the_name_chooses_and_without_one_they_are_named(status: Status) -> None:
    for name in ("left", "right"):
        write_status(path_of(name), full_status(name))
    write_status(path_of("old"), ended_status("old"))
    assert status("right")[1].startswith("right: running")
    with pytest.raises(NervehandError, match="nervehand status left or right"):
        status()


def test_the_only_one_that_runs_is_meant_whatever_others_have_left(status: Status) -> None:
    write_status(path_of("a"), ended_status("a"))
    write_status(path_of("b"), full_status("b"))
    path_of("c").write_text("{")
    assert status()[1].startswith("b: running")


def test_json_is_the_document_its_age_and_its_problems(status: Status) -> None:
    full = full_status()
    assert full.hand is not None
    write_status(path_of("nervehand"), replace(full, hand=replace(full.hand, gate="disarmed")))
    code, text = status("--json")
    said = json.loads(text)
    assert code == DEGRADED
    assert said["state"] == "running"
    assert 0 <= said["age_s"] < 3
    assert said["problems"][0]["remedy"] == "arm the hand"
    assert said["status"] == json.loads(path_of("nervehand").read_text())


def test_json_of_no_daemon_is_an_object_too(status: Status) -> None:
    code, text = status("--json")
    assert (code, json.loads(text)["state"]) == (NOT_RUNNING, "not running")


def test_watching_shows_it_again_until_somebody_has_seen_enough(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_status(path_of("nervehand"), full_status())
    seconds = iter(range(3))

    def sleep(_: float) -> None:
        if next(seconds) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(status_command.time, "sleep", sleep)
    code, text = status("--watch")
    assert code == FINE
    assert text.count("nervehand: running") == 3
    assert "\x1b" not in text, "what is no terminal is not cleared"
