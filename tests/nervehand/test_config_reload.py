"""`nervehand config reload`: the supervisor of the right daemon gets SIGUSR1, and the outcome is waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_sockets import folder
from nervehand import config_reload
from nervehand.config_reload import only_daemon, reloaded, run_reload, takes_signal
from tests.firmware_bridge.guarding import own_guards

GONE = 2**22 + 1
"""No process has this number (proc(5): pid_max is 2^22 at most)."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


def documented(
    name: str, pid: int | None = None, generation: int = 1, outcome: str = "", **more: object
) -> Path:
    """The document of a daemon, as far as a reload needs it."""
    path = folder() / f"daemon-{name}.json"
    config = {"path": "/f.toml", "sha256": "", "generation": generation, "outcome": outcome} | more
    path.write_text(json.dumps({"name": name, "supervisor_pid": pid, "config": config}))
    return path


@pytest.fixture
def taking() -> Iterator[Callable[[Callable[[], object]], None]]:
    """This process takes SIGUSR1 as a supervisor would, and then does what it is given."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda then: signal.signal(signal.SIGUSR1, lambda *_: then()) and None
    signal.signal(signal.SIGUSR1, before)


Taking = Callable[[Callable[[], object]], None]


def test_the_only_daemon_reads_its_file_again_and_the_outcome_is_printed(
    taking: Taking, capsys: pytest.CaptureFixture[str]
) -> None:
    documented("left", os.getpid())
    taking(lambda: documented("left", os.getpid(), 2, "applied: decision.hysteresis"))
    run_reload("", as_json=False)
    assert capsys.readouterr().out == "daemon left: applied: decision.hysteresis\n"
    taking(lambda: documented("left", os.getpid(), 3, "applied: nothing has changed"))
    run_reload("left", as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "daemon": "left",
        "generation": 3,
        "outcome": "applied: nothing has changed",
    }


def test_what_is_refused_is_an_error(taking: Taking) -> None:
    documented("left", os.getpid())
    taking(lambda: documented("left", os.getpid(), 2, "refused: source.address needs a restart"))
    with pytest.raises(NervehandError, match=r"^daemon left: refused: source\.address needs a restart$"):
        run_reload("left", as_json=False)
    taking(lambda: documented("left", os.getpid(), 2, "f.toml, line 3: no", refused=True))
    with pytest.raises(NervehandError, match=r"^daemon left: f\.toml, line 3: no$"):
        run_reload("left", as_json=True)


def test_a_daemon_that_does_not_answer_in_time_is_told(taking: Taking) -> None:
    documented("left", os.getpid())
    came: list[None] = []
    taking(lambda: came.append(None))
    now_s = 0.0

    def wait(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    with pytest.raises(NervehandError, match="daemon left has not said within 10 s"):
        reloaded("left", clock=lambda: now_s, wait=wait)
    assert 10.0 < now_s < 10.5
    assert came == [None]


def test_the_outcome_is_waited_for(taking: Taking) -> None:
    path = documented("left", os.getpid())
    taking(lambda: None)
    waits = iter([lambda: None, lambda: documented("left", os.getpid(), 2, "applied: x")])
    assert reloaded("left", wait=lambda _: next(waits)() and None).outcome == "applied: x"
    with pytest.raises(NervehandError, match="daemon left does not run any more"):
        reloaded("left", wait=lambda _: path.unlink())


def test_a_daemon_that_starts_is_left_alone_and_one_whose_engine_starts_anew_is_waited_for(
    taking: Taking,
) -> None:
    path = documented("left", os.getpid())
    came: list[None] = []
    taking(lambda: came.append(None))
    path.write_text(json.dumps({"supervisor_pid": os.getpid(), "config": None}))
    with pytest.raises(NervehandError, match="daemon left is starting, which reads the file: ask again"):
        reloaded("left")
    assert came == []
    documented("left", os.getpid(), 3, "applied: x")
    waits = iter(
        [lambda: documented("left", os.getpid()), lambda: documented("left", os.getpid(), 2, "applied: y")]
    )
    assert reloaded("left", wait=lambda _: next(waits)() and None).outcome == "applied: y"


def test_a_process_that_would_die_of_the_signal_gets_none() -> None:
    # It has handlers of other signals, the next one's among them.
    words = [sys.executable, "-X", "faulthandler", "-c", "print(flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        documented("left", other.pid)
        assert not takes_signal(other.pid)
        with pytest.raises(NervehandError, match=rf"does not run any more \(process {other.pid}\)"):
            reloaded("left")
        other.communicate(b"\n")
    assert other.returncode == 0


def test_a_process_that_is_gone_and_a_daemon_without_a_supervisor_are_told() -> None:
    documented("left", GONE)
    with pytest.raises(NervehandError, match=f"does not run any more .process {GONE}.: start it"):
        reloaded("left")
    documented("left")
    with pytest.raises(NervehandError, match="runs without a supervisor"):
        reloaded("left")


def test_none_and_several_and_an_unknown_one_are_told(taking: Taking) -> None:
    with pytest.raises(NervehandError, match="no daemon is running for you"):
        only_daemon()
    taking(lambda: None)
    documented("old", GONE)
    documented("left", os.getpid())
    assert only_daemon() == "left"
    documented("right", os.getpid())
    with pytest.raises(NervehandError, match="several daemons are running: say which, left or right"):
        only_daemon()
    for name in ("middle", "*", "../left"):
        with pytest.raises(NervehandError, match="no daemon is called"):
            reloaded(name)


def test_of_two_documents_of_one_name_the_one_that_runs_counts(
    taking: Taking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = documented("left", GONE)
    other = tmp_path / "other"
    other.mkdir()
    new = other / old.name
    monkeypatch.setattr(config_reload, "folders", lambda: (old.parent, other))
    new.write_text(old.read_text().replace(str(GONE), str(os.getpid())))
    after = new.read_text().replace(
        '"generation": 1, "outcome": ""', '"generation": 2, "outcome": "applied: x"'
    )
    taking(lambda: new.write_text(after))
    assert reloaded("left").generation == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"supervisor_pid": 1}',
        '{"supervisor_pid": "1", "config": {"generation": 1, "outcome": ""}}',
        '{"supervisor_pid": -1, "config": {"generation": 1, "outcome": ""}}',
        '{"supervisor_pid": 1, "config": {"generation": "", "outcome": ""}}',
    ],
)
def test_a_document_that_is_none_is_told(text: str) -> None:
    (folder() / "daemon-left.json").write_text(text)
    with pytest.raises(NervehandError, match=r"daemon-left\.json: is no status of a daemon .*: remove it"):
        reloaded("left")


def test_a_supervisor_may_be_told_as_an_object_with_its_number(taking: Taking) -> None:
    path = folder() / "daemon-left.json"

    def told(generation: int) -> None:
        config = {"generation": generation, "outcome": "applied: x", "refused": False}
        path.write_text(json.dumps({"supervisor": {"pid": os.getpid(), "start_ticks": 1}, "config": config}))

    told(1)
    taking(lambda: told(2))
    assert reloaded("left").generation == 2


def test_a_daemon_of_somebody_else_is_told(taking: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    documented("left", os.getpid())
    taking(lambda: None)

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(NervehandError, match="is somebody else's: ask as its user, or as root"):
        reloaded("left")
