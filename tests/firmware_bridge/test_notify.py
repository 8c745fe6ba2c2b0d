"""What a process says of its life, heard by a socket of the test's own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.notify import LONGEST_TEXT, MOST_MESSAGES, Heartbeat, Notifier, NotifySocket, watchdog_s

PATIENCE_S = 60.0


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.settimeout(PATIENCE_S)
        ours.bind(str(tmp_path / "notify"))
        yield ours


@pytest.fixture
def notifier(tmp_path: Path, listener: socket.socket) -> Notifier:
    return Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")})


def messages(listener: socket.socket) -> list[str]:
    """All that have come by now."""
    found = []
    listener.setblocking(False)
    try:
        while True:
            found.append(listener.recv(65536).decode())
    except BlockingIOError:
        return found
    finally:
        listener.settimeout(PATIENCE_S)


def test_each_message_is_as_sd_notify_has_it(notifier: Notifier, listener: socket.socket) -> None:
    before_us = time.monotonic_ns() // 1000
    assert notifier
    assert all((notifier.ready(), notifier.watchdog(), notifier.stopping(), notifier.extend(1.5)))
    assert notifier.status("decodes\nat 50 Hz")
    assert notifier.reloading()
    *said, reloading = messages(listener)
    assert said == [
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STATUS=decodes at 50 Hz",
    ]
    first, stamp = reloading.split("\n")
    assert first == "RELOADING=1"
    assert before_us <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_a_name_of_the_abstract_namespace_is_an_address_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        name = f"nervehand-test-{os.urandom(8).hex()}"
        ours.bind(f"\0{name}")
        assert Notifier(f"@{name}").ready()
        assert ours.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_where_nobody_listens_that_is_understood_a_notifier_is_false_and_silent(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address} if address else {})
    assert not notifier
    assert not notifier.ready()


@pytest.mark.parametrize("address", ["/nowhere/notify", "/" + 200 * "x", "@nobody-has-this-name"])
def test_a_listener_that_is_gone_is_no_error(address: str) -> None:
    assert not Notifier(address).ready()


def test_a_listener_that_does_not_read_holds_nobody_up(notifier: Notifier, listener: socket.socket) -> None:
    n_sent, began_s = 0, time.monotonic()
    while notifier.watchdog():
        n_sent += 1
    assert time.monotonic() - began_s < PATIENCE_S / 6
    assert n_sent > 0
    assert len(messages(listener)) == n_sent
    assert notifier.watchdog()


@given(st.text())
def test_any_status_is_one_line_of_text(text: str) -> None:
    name = f"@nervehand-test-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind("\0" + name[1:])
        assert Notifier(name).status(text)
        said = ours.recv(65536).decode()
    assert said.startswith("STATUS=")
    assert "\n" not in said
    assert len(said) <= LONGEST_TEXT + len("STATUS=")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdogs_time_is_for_this_process_only(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_s(environment) == seconds


def test_while_the_loop_waits_for_samples_every_look_beats(
    notifier: Notifier, listener: socket.socket
) -> None:
    heartbeat = Heartbeat(notifier, 3.0)
    assert all(heartbeat.look() for _ in range(5))
    with heartbeat.working():
        pass
    assert all(heartbeat.look() for _ in range(5))
    assert messages(listener) == 10 * ["WATCHDOG=1"]


def test_a_loop_that_hangs_in_a_block_beats_no_more_until_it_goes_on(
    notifier: Notifier, listener: socket.socket
) -> None:
    heartbeat = Heartbeat(notifier, 3.0)
    with heartbeat.working():
        assert heartbeat.look()  # it has begun the block since the last look
        assert messages(listener) == ["WATCHDOG=1"]
        assert not any(heartbeat.look() for _ in range(5))
        assert messages(listener) == []
        heartbeat.progress()
        assert heartbeat.look()
        assert not heartbeat.look()
    assert heartbeat.look()
    assert messages(listener) == 2 * ["WATCHDOG=1"]


def test_a_loop_that_works_all_the_time_beats_by_getting_through_its_blocks(notifier: Notifier) -> None:
    heartbeat = Heartbeat(notifier, 3.0)
    for _ in range(5):
        with heartbeat.working():
            assert heartbeat.look()


def test_a_block_that_fails_ends_as_any_other(notifier: Notifier) -> None:
    heartbeat = Heartbeat(notifier, 3.0)
    with pytest.raises(ValueError, match="block"), heartbeat.working():
        raise ValueError("block")
    assert all(heartbeat.look() for _ in range(3))


def test_it_looks_three_times_in_the_time_after_which_silence_counts(
    notifier: Notifier, listener: socket.socket
) -> None:
    asked_s: list[float] = []
    over = threading.Event()

    def wait(seconds: float) -> bool:
        asked_s.append(seconds)
        if len(asked_s) == 4:
            over.set()
        return len(asked_s) > 3

    with Heartbeat(notifier, 6.0, wait):
        assert over.wait(PATIENCE_S)
    assert asked_s == 4 * [2.0]
    assert messages(listener) == 3 * ["WATCHDOG=1"]


def test_without_a_watchdog_or_a_listener_there_is_no_thread(notifier: Notifier) -> None:
    n_threads = threading.active_count()
    for heartbeat in (Heartbeat(notifier, None), Heartbeat(Notifier(), 1.0)):
        with heartbeat, heartbeat.working():
            assert threading.active_count() == n_threads


def test_a_process_is_heard_until_its_loop_hangs(listener: socket.socket, tmp_path: Path) -> None:
    """READY, beats in time, and their absence: as systemd sees them."""
    script = """
import sys, time
from firmware_bridge.notify import Heartbeat, Notifier, watchdog_s
notifier = Notifier.from_environment()
with Heartbeat(notifier, watchdog_s()) as heartbeat:
    notifier.ready()
    sys.stdin.readline()  # waits for samples
    with heartbeat.working():
        notifier.status("hangs")
        sys.stdin.readline()
    notifier.status("goes on")
    sys.stdin.readline()
"""
    limit_s = 0.6
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(round(limit_s * 1e6))}
    with subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, **environment}, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        try:
            assert listener.recv(100) == b"READY=1"
            assert [listener.recv(100) for _ in range(5)] == 5 * [b"WATCHDOG=1"]
            process.stdin.write(b"\n")
            process.stdin.flush()
            while listener.recv(100) != b"STATUS=hangs":
                pass
            listener.settimeout(2 * limit_s)
            with contextlib.suppress(TimeoutError):
                assert listener.recv(100) == b"WATCHDOG=1"  # of the block's beginning
                assert listener.recv(100) == b""
            listener.settimeout(PATIENCE_S)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert [listener.recv(100) for _ in range(2)] == [b"STATUS=goes on", b"WATCHDOG=1"]
        finally:
            process.stdin.close()
            process.kill()


def test_a_supervisors_socket_says_who_sent_what(tmp_path: Path) -> None:
    with NotifySocket(tmp_path) as heard:
        Notifier(heard.address).send("READY=1\nSTATUS=here")
        code = "from firmware_bridge.notify import Notifier; Notifier.from_environment().watchdog()"
        other = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, "NOTIFY_SOCKET": heard.address}
        )
        assert other.wait(PATIENCE_S) == 0
        assert list(heard.received()) == [
            (os.getpid(), ["READY=1", "STATUS=here"]),
            (other.pid, ["WATCHDOG=1"]),
        ]
        assert list(heard.received()) == []
    assert list(tmp_path.iterdir()) == []


def test_descriptors_that_are_sent_along_are_not_kept(tmp_path: Path) -> None:
    with NotifySocket(tmp_path) as heard, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(heard.address)
        n_open = len(os.listdir("/proc/self/fd"))
        socket.send_fds(sender, [b"FDSTORE=1"], [0, 1, 2])
        assert list(heard.received()) == [(os.getpid(), ["FDSTORE=1"])]
        assert len(os.listdir("/proc/self/fd")) == n_open


def test_who_sends_without_end_does_not_keep_the_listener_from_everything_else(tmp_path: Path) -> None:
    with NotifySocket(tmp_path) as heard:
        notifier = Notifier(heard.address)

        def refilled() -> Iterator[object]:
            for one in heard.received():
                notifier.watchdog()
                yield one

        notifier.watchdog()
        assert sum(1 for _ in refilled()) == MOST_MESSAGES


def test_a_message_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    with NotifySocket(tmp_path) as heard:
        Notifier(heard.address).send("WATCHDOG=1\n" + 5000 * "x")
        Notifier(heard.address).ready()
        assert [lines for _, lines in heard.received()] == [["READY=1"]]


def test_a_folder_whose_path_is_too_long_for_an_address_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / (100 * "x")
    folder.mkdir()
    with NotifySocket(folder) as heard:
        assert heard.address.startswith("@")
        Notifier(heard.address).ready()
        assert [lines for _, lines in heard.received()] == [["READY=1"]]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match=r"nowhere: no socket can be made there .*set XDG_RUNTIME_DIR"):
        NotifySocket(tmp_path / "nowhere")
