"""Where guards have their sockets, who may use them, and how a guard is found."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from firmware_bridge import guard_sockets
from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_requests import ask
from firmware_bridge.guard_sockets import folder, running
from tests.firmware_bridge.guarding import PATIENCE_S, Rig, own_guards


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


def leave_behind(path: Path) -> None:
    """What a killed guard leaves: a socket at which nobody listens."""
    with socket.socket(socket.AF_UNIX) as dead, guard_sockets._address(path) as address:
        dead.bind(address)


def test_the_socket_is_its_owners_alone_and_gone_at_the_end() -> None:
    with Rig(name="left-hand") as rig:
        path = Path(rig.ready["socket"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert running() == ("left-hand",)
        with pytest.raises(NervehandError, match="give this guard another name"):
            Rig(name="left-hand")
    assert not path.exists()
    assert running() == ()


def test_what_a_killed_guard_left_behind_is_removed_and_does_not_keep_the_next_one_out() -> None:
    leave_behind(guard_sockets.socket_of("gone"))
    with Rig(name="gone"):
        assert running() == ("gone",)


def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    folder().chmod(0o755)
    with pytest.raises(NervehandError, match="not a folder of yours alone"):
        folder()


def test_a_guard_that_is_being_born_is_not_taken_for_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = guard_sockets.new_socket("young")
    seen: list[tuple[tuple[str, ...], bool]] = []

    class Watched(socket.socket):
        def listen(self, waiting: int = 0, /) -> None:
            seen.append((running(), path.exists()))  # somebody else looks after its bind
            super().listen(waiting)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Watched)
        listener = guard_sockets.listening(path)
    with listener:
        assert seen == [((), False)]
        assert running() == ("young",)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_of_guards_of_one_name_that_start_at_once_one_gets_it() -> None:
    path = guard_sockets.new_socket("worn")
    leave_behind(path)
    made: list[socket.socket] = []
    refused: list[str] = []
    together = threading.Barrier(5)

    def begin() -> None:
        together.wait()
        try:
            made.append(guard_sockets.listening(path))
        except NervehandError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 4)
    assert all("is in use" in one for one in refused)
    assert running() == ("worn",)
    made[0].close()


def test_guards_make_their_sockets_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_sockets, "BIRTH_S", 0.01)
    with guard_sockets._alone_in(folder()), pytest.raises(NervehandError, match="cannot be made"):
        guard_sockets.listening(guard_sockets.new_socket("late"))
    guard_sockets.listening(guard_sockets.new_socket("late")).close()


def test_a_guard_is_found_in_a_folder_whose_path_is_too_long_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / ("long" * guard_sockets.ADDRESS_BYTES)[: guard_sockets.ADDRESS_BYTES]
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with Rig(name="worn") as rig:
        assert rig.ready["socket"] == str(runtime / "nervehand" / "guard-worn.sock")
        assert running() == ("worn",)
        assert ask("worn", "stop", "Ann", timeout_s=PATIENCE_S)["ok"]
        with pytest.raises(NervehandError, match="is in use"):
            guard_sockets.listening(guard_sockets.new_socket("worn"))
    assert running() == ()


def test_a_guard_that_is_too_busy_to_connect_anybody_still_runs() -> None:
    path = guard_sockets.new_socket("busy")
    with guard_sockets.listening(path), contextlib.ExitStack() as held:
        for _ in range(guard_sockets.WAITING + 1):
            held.enter_context(guard_sockets.connected(path, PATIENCE_S))
        assert running() == ("busy",)


@pytest.mark.parametrize("where", ["runtime", "users", "temporary"])
def test_a_guard_is_found_wherever_a_guard_of_this_user_may_be(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started from a terminal, asked over ssh or by cron, which have another environment; and the other way round."""
    user = str(os.getuid())
    (tmp_path / "users" / user).mkdir()
    started = {"runtime": tmp_path / "runtime", "users": tmp_path / "users" / user, "temporary": None}[where]
    asked = {"runtime": tmp_path / "runtime", "users": None, "temporary": tmp_path / "runtime"}[where]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(started or ""))
    with Rig(name="worn") as rig:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(asked or ""))
        assert running() == ("worn",)
        assert ask("worn", "stop", "Ann", timeout_s=PATIENCE_S)["ok"]
        assert str(started or tmp_path / "temporary") in rig.ready["socket"]
        with pytest.raises(NervehandError, match="give this guard another name"):
            Rig(name="worn")


def test_who_became_root_by_sudo_finds_the_guards_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Rig(name="worn"), monkeypatch.context() as patched:
        patched.delenv("XDG_RUNTIME_DIR")
        (tmp_path / "users" / "4242").symlink_to(tmp_path / "runtime")
        patched.setattr(os, "getuid", lambda: 0)
        patched.setenv("SUDO_UID", "4242")
        patched.setattr(guard_sockets, "_is_alone", lambda path, user: user == 4242)
        assert running() == ("worn",)
        patched.setattr(os, "getuid", lambda: 77)  # who is not root may say what he likes
        assert running() == ()


def test_a_folder_of_somebody_elses_is_neither_used_nor_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Rig(name="theirs"):
        theirs = folder()
        assert guard_sockets.folders() == (theirs,)
        with monkeypatch.context() as patched:
            other = os.getuid() + 1
            patched.setattr(os, "getuid", lambda: other)
            assert guard_sockets.folders() == running() == ()
            assert f"{theirs}: it is not a folder of yours alone" in caplog.text
            with pytest.raises(NervehandError, match=rf"nervehand-{other} is not a folder of yours alone"):
                folder()  # theirs is not taken, and what is made in its stead is, here, not this other user's
    theirs.chmod(0o750)
    assert guard_sockets.folders() == ()
