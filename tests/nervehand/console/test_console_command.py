"""`nervehand console`: who may be let in from where is settled before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_bridge.errors import NervehandError
from nervehand.console import server
from nervehand.console_command import PASSWORD_VARIABLE, console, given_password


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """What would have been served: address, port and password."""
    calls: list[tuple[str, int, str]] = []

    def serve(host: str, port: int, folder: Path, password: str, **more: object) -> None:
        calls.append((host, port, password))

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    return calls


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_no_password(
    served: list[tuple[str, int, str]], host: str, tmp_path: Path
) -> None:
    console(host=host, folder=tmp_path)
    assert served == [(host, 8080, "")]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "nano.local"])
def test_others_need_one(served: list[tuple[str, int, str]], host: str, tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="--password-file"):
        console(host=host, folder=tmp_path)
    assert served == []
    file = tmp_path / "password"
    file.write_text("correct horse\nbattery\n")
    console(host=host, folder=tmp_path, password_file=file)
    assert served == [(host, 8080, "correct horse")]


def test_a_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "battery staple")
    assert given_password(None) == "battery staple"


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty"), ("\nsecond line", "empty"), ("short", "5 characters")]
)
def test_a_password_that_protects_nothing_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(NervehandError, match=words):
        given_password(file)


def test_a_password_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="no password can be read"):
        given_password(tmp_path / "none")


def test_a_folder_that_is_not_there_is_said(served: list[tuple[str, int, str]], tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="is not a folder"):
        console(folder=tmp_path / "none")
