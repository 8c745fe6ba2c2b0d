"""`nervehand hand serve`: each emulated hand over each of its links, moved by the commands as a person would."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from firmware_bridge.emulators.hands.device import read_trace
from firmware_bridge.guard_settings import GuardSettings
from nervehand import hand_move, hand_use
from tests.nervehand.conftest import PATIENCE_S, Run

LIMITS = (
    "link_timeout_s = 30\nsilence_after_s = 30\nstale_after_s = 30\nastray_after_s = 30\noverload_s = 30\n"
)
"""Nothing is too late on a machine that is taken away for seconds."""


@dataclass(frozen=True)
class Served:
    process: subprocess.Popen[str]
    file: Path
    """A configuration that reaches it."""

    def order(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()


@contextmanager
def served(folder: Path, *words: str) -> Iterator[Served]:
    """`nervehand hand serve WORDS`, ended by Ctrl-C."""
    command = [sys.executable, "-m", "nervehand", "hand", "serve", *words, "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            line = process.stdout.readline()
            assert line, "it ended"
            said += line
        started = json.loads(said)
        file = folder / "hand.toml"
        transport = f'transport = "{started["transport"]}"\n' if started["transport"] else ""
        file.write_text(
            f'address = "{started["address"]}"\n{transport}watchdog_acknowledged_by = "ada"\n[limits]\n{LIMITS}'
        )
        try:
            yield Served(process, file)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
    assert process.returncode == 0


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))  # for bonds
    monkeypatch.setattr(hand_use, "CONNECT_S", PATIENCE_S)
    monkeypatch.setattr(hand_use, "GuardSettings", partial(GuardSettings, heartbeat_limit_s=PATIENCE_S))
    for limit in ("LIFETIME_S", "ARM_S", "REST_S"):
        monkeypatch.setattr(hand_move, limit, PATIENCE_S)


@pytest.mark.parametrize(
    ("speaks", "on"),
    [
        ("virtual", "ble"),
        ("ability_hand", "pty"),
        ("ability_hand", "ble"),
        ("hero", "ble"),
        ("rohand", "pty"),
        ("inspire", "pty"),
    ],
)
def test_every_hand_is_served_looked_at_moved_and_released(
    run: Run, tmp_path: Path, speaks: str, on: str
) -> None:
    more = ("--port", str(tmp_path / "port")) if on == "pty" else ()
    with served(tmp_path, "--speaks", speaks, "--on", on, *more) as hand:
        found = json.loads(run("hand", "state", hand.file, "--json").out)
        assert found["link"] == "connected"
        assert found["address"].startswith(f"{speaks}:")
        for _ in range(20):
            moved = run("hand", "move", hand.file, "--index", "0.8", "--seconds", "4", "--json")
            if "no link to the hand" not in moved.err:  # six unanswered positions: a machine that stood still
                break
        assert moved.status == 0, moved.err
        outcome = json.loads(moved.out)
        assert outcome["applied"]["index"] == pytest.approx(0.8)
        if "position" in found["measures"]:
            assert outcome["reached"]["index"] == pytest.approx(0.8, abs=0.1)
        released = json.loads(run("hand", "release", hand.file, "--json").out)
        assert released["at_rest"]


@pytest.mark.parametrize(
    "words",
    [
        ("--speaks", "rohand", "--port", "{folder}/it's a hand"),
        ("--speaks", "hero"),
        ("--watchdog", "0.6"),
        ("--bonded",),
    ],
    ids=["quoted", "acknowledged", "watchdog", "bonded"],
)
def test_the_command_that_it_says_to_try_moves_it(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    said = [word.format(folder=tmp_path) for word in words]
    command = [sys.executable, "-m", "nervehand", "hand", "serve", *said]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "is served" in process.stdout.readline()
            program, *to_try = shlex.split(process.stdout.readline().removeprefix("try: "))
            result = run(*to_try, "--seconds", "0.5")
        finally:
            process.send_signal(signal.SIGINT)
    assert program == "nervehand"
    assert re.search(" s  armed", result.out), result.err


def test_a_hand_with_a_bond_has_another_address_each_time_since_its_keys_end_with_it(tmp_path: Path) -> None:
    addresses = set()
    for _ in range(2):
        with served(tmp_path, "--bonded") as hand:
            addresses.add(hand.file.read_text().splitlines()[0])
    assert len(addresses) == 2


@pytest.mark.parametrize("on", ["pty", "ble"])
def test_a_hands_own_grip_is_started_through_the_gate(run: Run, tmp_path: Path, on: str) -> None:
    more = ("--port", str(tmp_path / "port")) if on == "pty" else ()
    with served(tmp_path, "--speaks", "ability_hand", "--on", on, *more) as hand:
        for _ in range(5):  # a grip that its link could not take in time is dropped, and not sent later
            gripped = run("hand", "grip", hand.file, "power", "--seconds", "4", "--as", "ada", "--json")
            assert gripped.status == 0, gripped.err
            outcome = json.loads(gripped.out)
            assert any("'power'" in event["text"] for event in outcome["events"])
            if outcome["reached"]["index"] > 0.5:
                break
        assert outcome["reached"]["index"] > 0.5


def test_an_order_makes_a_fault_and_the_gate_says_so(run: Run, tmp_path: Path) -> None:
    with served(tmp_path, "--speaks", "inspire", "--port", str(tmp_path / "port")) as hand:
        hand.order("nonsense")
        hand.order("fault")
        for _ in range(20):
            result = run("hand", "move", hand.file, "--index", "1", "--seconds", "0.5")
            if result.status == 2:
                break
        assert "fault" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--speaks", "claw"), "no emulated hand speaks 'claw'"),
        (("--speaks", "hero", "--on", "pty"), "hero is not spoken on 'pty': use ble"),
        (("--speaks", "rohand", "--physics"), "--physics is for a hand over Bluetooth"),
        (("--speaks", "rohand", "--port", "what?"), "what? cannot be said in a hand's address"),
        (("--port", "/tmp/x"), "over Bluetooth it is a TCP port"),
        (("--port", "²"), "over Bluetooth it is a TCP port"),
        (("--adapter", "usb:0", "--radio", "loss=0.1"), "--radio is the simulated radio's"),
        (("--speaks", "hero", "--watchdog", "1"), "--watchdog is the virtual hand's"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("hand", "serve", *words)
    assert result.status == 2
    assert said in result.err


def refusal(*words: str) -> str:
    """All that the command and the hand's own process say."""
    command = [sys.executable, "-m", "nervehand", "hand", "serve", *words]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "99999"), "TCP port is 99999: give 1 to 65535"),
        (("--adapter", "nonsense"), "adapter nonsense cannot be used: unknown transport scheme: give one"),
        (
            ("--adapter", "serial:/dev/null"),
            "adapter serial:/dev/null cannot be used: Could not configure port",
        ),
        (("--radio", "noise"), "radio: 'noise' is not known"),
        (("--watchdog", "70"), "watchdog is 70.0 s: give 0.001 to 65"),
    ],
)
def test_what_the_hands_own_process_refuses_is_one_line_too(words: tuple[str, ...], said: str) -> None:
    assert re.fullmatch(f"nervehand: [^\n]*{re.escape(said)}[^\n]*\n", refusal(*words))


def test_so_is_a_tcp_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal("--port", str(port))
    assert said.startswith("nervehand: the virtual hand did not start: ")
    assert f"TCP port {port} of 127.0.0.1 cannot be had (Address already in use): end what has it" in said
    assert said.count("\n") == 1


def test_a_port_that_another_one_serves_is_left_to_it(run: Run, tmp_path: Path) -> None:
    port = tmp_path / "port"
    with served(tmp_path, "--speaks", "rohand", "--port", str(port)):
        there = port.readlink()
        result = run("hand", "serve", "--speaks", "rohand", "--port", port)
        assert (result.status, port.readlink()) == (2, there)
        assert f"{port}: another emulator serves there: end that one" in result.err
    assert not port.is_symlink()


@pytest.mark.parametrize("on", ["pty", "ble"])
def test_its_trace_is_there_while_it_works(tmp_path: Path, on: str) -> None:
    trace = tmp_path / "trace.jsonl"
    more = ("--port", str(tmp_path / "port")) if on == "pty" else ()
    words = ("--speaks", "ability_hand", "--on", on, *more, "--trace", str(trace))
    with served(tmp_path, *words) as hand:
        hand.order("stall")
        until(lambda: '"ordered"' in (trace.read_text() if trace.exists() else ""))
    with trace.open() as lines:
        assert "stall" in [entry.text for entry in read_trace(lines)]


def test_a_port_that_is_somebodys_file_is_left_alone(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("x")
    result = run("hand", "serve", "--speaks", "rohand", "--port", mine)
    assert result.status == 2
    assert mine.read_text() == "x"
