"""`nervehand hand ...` as a person uses it, on the virtual hand over Bluetooth LE."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.pty import PtyHand
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand_config import read_hand_config
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from nervehand import hand_move, hand_use
from nervehand.gate_words import ANEW, LATCHED
from tests.firmware_bridge.guarding import own_guards
from tests.nervehand.conftest import PATIENCE_S, Run

ADDRESS = "virtual:F5:4E:48:00:00:01"


@pytest.fixture(scope="module")
def served() -> Iterator[VirtualHandProcess]:
    with virtual_hand_process() as hand:
        yield hand


@pytest.fixture(autouse=True)
def _patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too late on a machine that is taken away for seconds."""
    own_guards(tmp_path, monkeypatch)
    monkeypatch.setattr(hand_use, "CONNECT_S", PATIENCE_S)
    monkeypatch.setattr(hand_use, "GuardSettings", partial(GuardSettings, heartbeat_limit_s=PATIENCE_S))
    monkeypatch.setattr(hand_move, "LIFETIME_S", PATIENCE_S)
    monkeypatch.setattr(hand_move, "ARM_S", PATIENCE_S)
    monkeypatch.setattr(hand_move, "REST_S", PATIENCE_S)


@pytest.fixture
def hand(served: VirtualHandProcess, tmp_path: Path) -> Path:
    """Its file."""
    path = tmp_path / "hand.toml"
    path.write_text(
        f'address = "{ADDRESS}"\ntransport = "{served.transport}"\nside = "left"\n'
        f"[limits]\nlink_timeout_s = 30\nsilence_after_s = 30\nstale_after_s = 30\nupper = {{ thumb = 0.5 }}\n"
        'astray_after_s = 30\n[adjustments]\nlocked = ["ring"]\n'
    )
    return path


def test_state_says_what_is_measured_and_what_is_not(run: Run, hand: Path) -> None:
    found = json.loads(run("hand", "state", hand, "--json").out)
    assert found["link"] == "connected"
    assert found["side"] == "left"
    assert found["measures"] == ["position"]
    assert found["temperature_c"] is None
    limits = {one["limit"]: one for one in found["limits"]}
    assert limits["max_temperature_c"]["measured"] is False
    assert limits["rest_band"]["measured"] is True


def test_state_draws_the_hand_and_names_each_limit(run: Run, hand: Path) -> None:
    said = run("hand", "state", hand).out
    assert "max_temperature_c: no limit (not measured)" in said
    assert "when commands stop: open after 0.3 s" in said
    assert "temperature not measured" in said


def test_state_can_be_watched(run: Run, hand: Path) -> None:
    assert "positions" in run("hand", "state", hand, "--watch", "--seconds", "0.5").out


def test_a_move_goes_through_the_gate_and_ends_with_a_release(run: Run, hand: Path) -> None:
    result = run(
        "hand", "move", hand, "--index", "1", "--thumb", "1", "--ring", "1", "--seconds", "3", "--as", "ada", "--json"
    )  # fmt: skip
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert found["applied"]["index"] == 1.0
    assert found["clipped"] == ["thumb"]  # the file's limit
    assert found["applied"]["thumb"] == 0.5
    assert found["locked"] == ["ring"]  # the file's lock
    assert found["applied"]["ring"] == 0.0
    assert found["reached"]["index"] > 0.5
    kinds = [event["kind"] for event in found["events"]]
    assert kinds[0] == "adjust"
    assert kinds.index("arm") < kinds.index("release")
    assert kinds[-1] == "disarmed"
    assert next(event for event in found["events"] if event["kind"] == "arm")["who"] == "ada"
    assert json.loads(run("hand", "release", hand, "--json").out)["at_rest"]


def test_a_move_tells_a_person_what_was_clipped(run: Run, hand: Path) -> None:
    said = run("hand", "move", hand, "--thumb", "0.9", "--seconds", "1").out
    assert "clipped" in said
    assert "commands applied" in said


def test_a_release_waits_until_the_hand_is_at_rest(run: Run, hand: Path) -> None:
    assert run("hand", "release", hand).out == "released: at rest\n"


def test_a_hand_without_grips_says_so_before_it_is_connected(run: Run) -> None:
    result = run("hand", "grip", ADDRESS, "power")
    assert (result.status, result.out) == (2, "")
    assert "has no grip 'power': it has none of its own" in result.err


@pytest.mark.parametrize(
    ("locks", "named"),
    [('locked = ["ring"]', "locked is ring"), ("hand_locked = true", "locked is the whole hand")],
)
def test_a_grip_of_a_hand_that_is_locked_is_refused_since_the_gate_would_start_none(
    run: Run, tmp_path: Path, locks: str, named: str
) -> None:
    file = tmp_path / "hand.toml"
    file.write_text(f'address = "ability_hand:/dev/none"\n[adjustments]\n{locks}\n')
    result = run("hand", "grip", file, "power")
    assert (result.status, result.out) == (2, "")
    assert named in result.err


def test_nothing_to_move_is_an_error(run: Run) -> None:
    result = run("hand", "move", ADDRESS)
    assert result.status == 2
    assert "nothing to move" in result.err


def test_a_hand_that_is_not_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_use, "CONNECT_S", 1.0)
    result = run("hand", "state", ADDRESS, "--transport", "tcp-client:127.0.0.1:9")
    assert result.status == 2
    assert len(result.err.strip().splitlines()) == 1
    assert "no connection to the hand" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("state", "claw:1"), "hand 'claw' is not known"),
        (("state", "none.toml"), "none.toml: cannot be read"),
        (
            ("move", ADDRESS, "--index", "2"),
            "--index is 2: give a position from -1 (extension) to 1 (flexion)",
        ),
        (("move", ADDRESS, "--index", "nan"), "--index is nan: give a position from -1"),
        (("move", ADDRESS, "--wrist", "inf"), "--wrist is inf: give a position from -1"),
        (("move", ADDRESS, "--wrist=-inf"), "--wrist is -inf: give a position from -1"),
        (("state", ADDRESS, "--watch", "--seconds", "inf"), "--seconds is inf: give a finite number"),
        (("state", ADDRESS, "--seconds", "3"), "add --watch"),
        (("state", ADDRESS, "--watch", "--json"), "give one of them"),
        (("state", "inspire:/dev/none", "--transport", "usb:0"), "--transport is for a hand over Bluetooth"),
        (
            ("move", "ability_hand:/dev/none?reply=3", "--index", "1", "--bonded"),
            "--bonded is for a hand over",
        ),
        (("config", "rohand:/dev/none", "--bonded"), "--bonded is for a hand over Bluetooth"),
        (
            ("move", ADDRESS, "--index", "1", "--acknowledge-watchdog", "ada"),
            "it is known (open after 0.3 s)",
        ),
        (("config", ADDRESS, "--force"), "name it with -o"),
        (("config", ADDRESS, "-o", "mine"), "give it a name that ends in .toml"),
        (("config", ADDRESS, "--json", "-o", "x.toml"), "give one of them"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("hand", *words)
    assert result.status == 2
    assert said in result.err


def test_the_configuration_is_written_and_can_be_used(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    assert run("hand", "config", ADDRESS, "-o", out).status == 0
    assert read_hand_config(out).address == ADDRESS
    again = run("hand", "config", ADDRESS, "-o", out)
    assert again.status == 2
    assert "exists already" in again.err
    assert run("hand", "config", ADDRESS).out == out.read_text()


def test_the_configuration_is_an_object_too_and_asks_for_the_side(run: Run, tmp_path: Path) -> None:
    shown = run("hand", "config", ADDRESS)
    assert "say in it which side the hand is" in shown.err
    found = json.loads(run("hand", "config", ADDRESS, "--json").out)
    assert found["address"] == ADDRESS
    assert found["limits"]["upper"] == 1.0
    assert found["adjustments"]["max_speed_per_s"] is None  # no limit
    said = tmp_path / "said.toml"
    said.write_text(f'address = "{ADDRESS}"\nside = "left"\n')
    assert "which side" not in run("hand", "config", said).err


def test_state_names_the_hands_own_grips(run: Run, tmp_path: Path) -> None:
    with PtyHand(AbilityDevice(time.monotonic_ns()), tmp_path / "port", 460800) as hand:
        address = f"ability_hand:{hand.port}"
        said = run("hand", "state", address).out
        found = json.loads(run("hand", "state", address, "--json").out)
    assert "power" in found["grips"]
    assert f"its own grips: {', '.join(found['grips'])}" in " ".join(said.split())


def test_a_file_with_grips_for_gestures_can_be_moved_by_positions(run: Run, tmp_path: Path) -> None:
    with PtyHand(AbilityDevice(time.monotonic_ns()), tmp_path / "port", 460800) as hand:
        file = tmp_path / "hand.toml"
        patient = "".join(
            f"{name} = 30\n"
            for name in ("link_timeout_s", "silence_after_s", "stale_after_s", "astray_after_s")
        )
        file.write_text(f'address = "ability_hand:{hand.port}"\n[limits]\n{patient}[grips]\nfist = "power"\n')
        result = run("hand", "move", file, "--index", "0.5", "--seconds", "2", "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["applied"]["index"] == 0.5


def moving(hand: Path | str, *more: str) -> subprocess.Popen[str]:
    words = ["hand", "move", str(hand), "--index", "0.8", "--seconds", "600", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "nervehand", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def armed(process: subprocess.Popen[str]) -> str:
    """What it has said once it is armed for the first time; a machine that stands still lets it relax and arm again."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.endswith(" s  armed\n"):
            return said
    raise AssertionError(f"it ended without being armed: {said}{process.communicate()[1]}")


def rest_of(process: subprocess.Popen[str]) -> str:
    """What it says from now on until it ends; `communicate` would lose what was read ahead."""
    assert process.stdout is not None
    return process.stdout.read()


def test_ctrl_c_releases(hand: Path) -> None:
    with moving(hand) as process:
        armed(process)
        process.send_signal(signal.SIGINT)
        lines = [line.strip() for line in rest_of(process).splitlines()]
    assert process.returncode == 0
    assert any("release requested" in line for line in lines)
    assert "interrupted, and released" in lines


def test_a_hand_that_is_unplugged_while_it_moves_is_told_that_its_release_waits_and_at_the_end_that_it_has_not_gone_out(
    tmp_path: Path,
) -> None:
    """No word of a release that is under way: nothing is connected."""
    with (
        PtyHand(AbilityDevice(time.monotonic_ns()), tmp_path / "port", 460800) as hand,
        moving(f"ability_hand:{hand.port}") as process,
    ):
        said = armed(process)
        hand.unplug()
        said += rest_of(process)
    assert process.returncode == 2
    assert f"released: no link to the hand; {LATCHED}" in said
    assert f"no link to the hand, and the guard ends: {ANEW}" in said
    assert "under way" not in said


def test_another_terminal_stops_and_releases_a_move(run: Run, hand: Path) -> None:
    with moving(hand) as process:
        armed(process)
        stopped = run("stop", "--as", "Ann")
        assert (stopped.out, stopped.err) == (f"guard move-{process.pid}: holding\n", "")
        released = run("release", "--as", "Bob", "--json")
        assert json.loads(released.out)["state"] == "released"
        lines = rest_of(process).splitlines()
    assert process.returncode == 0
    assert any(line.endswith("(Ann)") for line in lines)
    assert any(line.endswith("(Bob)") for line in lines)


def test_a_stop_that_comes_while_the_hand_is_looked_for_is_not_overruled(
    run: Run, served: VirtualHandProcess, hand: Path
) -> None:
    os.kill(served.process.pid, signal.SIGSTOP)
    try:
        with moving(hand) as process:
            while (stopped := run("stop", "--as", "Ann")).status:
                assert "no guard is running" in stopped.err
            os.kill(served.process.pid, signal.SIGCONT)
            said, complaint = process.communicate(timeout=PATIENCE_S)
    finally:
        os.kill(served.process.pid, signal.SIGCONT)
    assert process.returncode == 2, said
    assert "somebody has asked for rest" in complaint
    assert " s  armed" not in said


def test_a_hand_that_does_not_come_to_rest_is_not_called_released(
    run: Run, served: VirtualHandProcess, hand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.order("stray")  # to where nobody sent it, and it stays there
    try:
        moved = run("hand", "move", hand, "--index", "1", "--seconds", "1", "--json")
        monkeypatch.setattr(hand_move, "REST_S", 0.5)
        released = run("hand", "release", hand)
    finally:
        served.order("clear")
    assert moved.status == released.status == 2
    assert json.loads(moved.out)["released"] is False
    assert "is not known to be at rest: the hand has not told that it is at rest within" in moved.err
    assert released.out.endswith("release asked for\n")
    assert "has not told that it is at rest: " in released.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_hand_is_looked_for_ends_the_search(number: signal.Signals) -> None:
    """At once: nobody waits for a hand that may come and then move."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        transport = f"tcp-client:127.0.0.1:{silent.getsockname()[1]}"
        with moving(ADDRESS, "--transport", transport) as process, silent.accept()[0]:
            process.send_signal(number)
            said, complaint = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (2, "")
    assert "interrupted before virtual:" in complaint
