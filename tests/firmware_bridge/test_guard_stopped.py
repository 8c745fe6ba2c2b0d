"""The guard itself stands still (SIGSTOP): nothing reaches the hand any more, and the hand's own watchdog acts.

Judged by what the emulated hand did, not by what the guard says of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.device import Traced, read_trace
from firmware_bridge.emulators.hands.pty import PtyHand
from firmware_bridge.gate import GateLimits, GateState
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand import HandCommand, LinkState
from firmware_bridge.hands import HandOptions, ability_hand
from firmware_bridge.hands.virtual_process import virtual_hand_process
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import overridden
from tests.firmware_bridge.guarding import LONG_S, NS, PATIENCE_S, own_guards, wait_for

FLEXED = np.array([0.6, 0.6, 0.6, 0.6, 0.6, 0.0], np.float32)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


def settings(address: str, limits: GateLimits, transport: str | None = None) -> GuardSettings:
    """Nothing but the heartbeat is ever too old."""
    patient = replace(
        limits, silence_after_s=LONG_S, stale_after_s=LONG_S, link_timeout_s=LONG_S, astray_after_s=LONG_S
    )
    options = HandOptions(transport=transport, link_timeout_s=LONG_S)
    return GuardSettings(address, options, patient, connect_s=PATIENCE_S, release_s=PATIENCE_S)


def flexed(guard: GuardClient) -> bool:
    """Arm if need be and command once; whether the hand says that it is there."""
    if guard.state is GateState.DISARMED:
        guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
    now_ns = time.monotonic_ns()
    targets = FLEXED if guard.state is GateState.ARMED else np.zeros(6, np.float32)
    with guard.working():
        guard.submit(HandCommand(targets, 0, now_ns, now_ns + round(LONG_S * NS)))
    time.sleep(0.01)
    there = guard.hand.state
    return there is not None and bool((np.abs(there.positions - FLEXED)[:5] < 0.05).all())


@contextmanager
def standing_still(guard: GuardClient) -> Iterator[None]:
    """The guard is stopped within, and sees so itself afterwards."""
    os.kill(guard.pid, signal.SIGSTOP)
    try:
        stat = Path(f"/proc/{guard.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        yield
    finally:
        os.kill(guard.pid, signal.SIGCONT)


def watchdog_after_the_last_target(trace: Sequence[Traced]) -> float | None:
    """Seconds from the last thing that it was told to its watchdog, None where that has not acted since."""
    last = max(i for i, entry in enumerate(trace) if entry.kind == "target")
    acted = [entry.time_ns for entry in trace[last:] if entry.kind == "watchdog"]
    return (acted[0] - trace[last].time_ns) / NS if acted else None


def test_an_ability_hand_on_a_wire_leaves_for_its_own_mode_and_opens(tmp_path: Path) -> None:
    device = AbilityDevice(time.monotonic_ns())
    limits = GateLimits.for_hand(ability_hand.CAPABILITIES)
    with (
        PtyHand(device, tmp_path / "port", 460800) as emulator,
        GuardClient(settings(f"ability_hand:{emulator.port}", limits)) as guard,
    ):
        wait_for(lambda: flexed(guard))
        assert device.body.positions_deg[1] > 40
        with standing_still(guard):
            wait_for(lambda: watchdog_after_the_last_target(device.trace.entries) is not None)
            wait_for(lambda: device.body.positions_deg[:4].max() < 20)
            after_s = watchdog_after_the_last_target(device.trace.entries)
            assert after_s is not None
            assert after_s >= 0.3  # ICD 1.8, section 3, and no frame came after
            assert not device.obeys
            wait_for(lambda: guard.hand.link is LinkState.LOST)
        wait_for(lambda: guard.hand.link is LinkState.CONNECTED)


def test_a_virtual_hand_over_bluetooth_opens(tmp_path: Path) -> None:
    told = tmp_path / "trace"

    def trace() -> list[Traced]:
        with open(told) as lines:
            whole = [line for line in lines if line.endswith("\n")]
        return read_trace(whole)  # type: ignore[arg-type]

    with virtual_hand_process(arguments=["--trace", str(told)]) as hand:
        limits = GateLimits.for_hand(VIRTUAL_HAND)
        with GuardClient(settings(f"virtual:{hand.address}", limits, hand.transport)) as guard:
            wait_for(lambda: flexed(guard))
            with standing_still(guard):
                wait_for(lambda: watchdog_after_the_last_target(trace()) is not None)
                wait_for(lambda: max(positions(trace())) < 0.05)
                after_s = watchdog_after_the_last_target(trace())
                assert after_s is not None
                assert after_s >= VIRTUAL_HAND.watchdog_s  # type: ignore[operator]
            wait_for(lambda: guard.hand.link is LinkState.CONNECTED)


def positions(trace: Sequence[Traced]) -> tuple[float, ...]:
    """Where its joints last were."""
    return [entry.joints for entry in trace if entry.kind == "position"][-1]
