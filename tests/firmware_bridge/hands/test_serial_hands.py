"""ROHand and RH56 end to end, over a pseudo-terminal at the speed of their line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from firmware_bridge.emulators.hands.device import HandDevice
from firmware_bridge.emulators.hands.inspire import InspireDevice
from firmware_bridge.emulators.hands.pty import BadLine, LineFaults, PtyHand
from firmware_bridge.emulators.hands.rohand import RohandDevice
from firmware_bridge.errors import LinkError
from firmware_bridge.hand import HandState, LinkState, Quantity
from firmware_bridge.hands import HandOptions, open_hand
from firmware_bridge.hands._linked import LinkedHand
from tests.firmware_bridge.hands.serial_hands import PATIENCE_S, at, sending, until

BAUD = 115200
FLEXED = np.array([0.9, 0.2, 0.8, 0.4, 1.0, 0.0], np.float32)
OPEN = np.zeros(6, np.float32)
DEVICES: dict[str, Callable[[int], HandDevice]] = {"rohand": RohandDevice, "inspire": InspireDevice}
TIMEOUT_S = 2.0
"""For tests that are not about the link: a machine that stands still is no silent hand."""


@dataclass
class Rig:
    kind: str
    device: HandDevice
    emulator: PtyHand
    line: BadLine
    hand: LinkedHand


@pytest.fixture(params=sorted(DEVICES))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Connected, over a line that damages bytes once `is_good` is ended."""
    kind = cast(str, request.param)
    device = DEVICES[kind](time.monotonic_ns())
    line = BadLine(LineFaults(garbage=0.2, lost=0.1, bit_errors=0.001), seed=1)
    line.is_good = True
    with PtyHand(device, tmp_path / "port", BAUD, line) as emulator:
        hand = opened(f"{kind}:{emulator.port}", TIMEOUT_S)
        hand.connect(PATIENCE_S)
        try:
            yield Rig(kind, device, emulator, line, hand)
        finally:
            hand.close()


def opened(address: str, link_timeout_s: float) -> LinkedHand:
    return cast(LinkedHand, open_hand(address, HandOptions(link_timeout_s=link_timeout_s)))


def test_what_it_measures_is_told_once_it_is_connected(rig: Rig) -> None:
    state = rig.hand.state
    assert rig.hand.link is LinkState.CONNECTED
    assert state is not None
    np.testing.assert_allclose(state.positions[:5], 0, atol=0.01)
    assert np.isnan(state.positions[5])
    told = {
        Quantity.CURRENT: state.currents_a is not None,
        Quantity.FORCE: state.forces_n is not None,
        Quantity.TEMPERATURE: state.temperature_c is not None,
        Quantity.BATTERY: state.battery is not None,
    }
    measures = rig.hand.capabilities.measures
    assert {quantity for quantity, is_told in told.items() if is_told} == measures - {Quantity.POSITION}
    assert (state.fault, state.hot, state.stalled) == ("", False, False)


def test_positions_follow(rig: Rig) -> None:
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    sending(rig.hand, OPEN, at(OPEN), "open")
    assert rig.hand.counters.bad_frames == 0
    assert rig.hand.counters.skipped_bytes == 0


def test_the_state_stays_fresh_where_nothing_is_sent(rig: Rig) -> None:
    first = rig.hand.state
    assert first is not None
    rig.emulator.obey("stray")
    until(lambda: at_stray(rig.hand.state), "it is seen to move by itself")
    assert rig.hand.counters.submitted == 0


def at_stray(state: HandState | None) -> bool:
    return state is not None and bool((state.positions[:5] > 0.3).all())


def test_a_position_it_was_not_sent_is_seen(rig: Rig) -> None:
    rig.emulator.obey("stray")
    state = sending(rig.hand, OPEN, at_stray, "it strays")
    assert state.positions[1] > 0.3
    rig.emulator.obey("clear")
    sending(rig.hand, OPEN, at(OPEN), "back where it is sent")


def test_a_stall_is_seen_with_its_current_and_ends(rig: Rig) -> None:
    rig.emulator.obey("stall")
    state = sending(rig.hand, FLEXED, lambda state: state.stalled, "stalled")
    assert state.currents_a is not None
    assert np.nanmax(state.currents_a) > 0.5
    rig.emulator.obey("clear")
    sending(rig.hand, FLEXED, lambda state: not state.stalled and at(FLEXED)(state), "flexed after all")


def test_a_fault_is_said(rig: Rig) -> None:
    rig.emulator.obey("fault")
    state = sending(rig.hand, FLEXED, lambda state: bool(state.fault), "it has a fault")
    assert state.fault in {"it does not move: the operation failed", "motor fault"}
    rig.emulator.obey("clear")
    sending(rig.hand, FLEXED, lambda state: not state.fault and at(FLEXED)(state), "flexed after all")


@pytest.mark.parametrize("rig", ["inspire"], indirect=True)
def test_heat_is_seen(rig: Rig) -> None:
    rig.emulator.obey("hot")
    state = sending(rig.hand, OPEN, lambda state: state.hot, "hot")
    assert state.temperature_c == 80


@pytest.mark.parametrize("rig", ["inspire"], indirect=True)
def test_a_finger_that_stalled_opens_when_it_is_to(rig: Rig) -> None:
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    rig.emulator.obey("stall")
    sending(rig.hand, FLEXED, lambda state: state.stalled, "stalled")
    rig.emulator.obey("loosen")
    sending(rig.hand, OPEN, lambda state: not state.stalled and at(OPEN)(state), "open")


def test_a_bad_line_is_survived(rig: Rig) -> None:
    rig.line.is_good = False
    sending(rig.hand, FLEXED, lambda _: rig.line.n_hit > 30, "enough damage")
    rig.line.is_good = True
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    assert rig.hand.counters.skipped_bytes > 0
    assert rig.hand.counters.unanswered > 0


def test_unplugged_the_link_is_lost_and_plugged_in_again_it_is_back(rig: Rig) -> None:
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    rig.emulator.unplug()
    until(lambda: rig.hand.link is LinkState.LOST, "lost")
    dropped = rig.hand.counters.dropped
    rig.hand.send(OPEN, time.monotonic_ns())
    assert rig.hand.counters.dropped == dropped + 1
    rig.emulator.plug()
    until(lambda: rig.hand.link is LinkState.CONNECTED, "connected again")
    assert at(FLEXED)(state_of(rig.hand))
    sending(rig.hand, OPEN, at(OPEN), "open")
    assert rig.hand.counters.losses == 1
    assert rig.hand.counters.connections == 2


def state_of(hand: LinkedHand) -> HandState:
    assert hand.state is not None
    return hand.state


@pytest.mark.parametrize("kind", sorted(DEVICES))
def test_another_id_is_not_answered(kind: str, tmp_path: Path) -> None:
    with PtyHand(DEVICES[kind](time.monotonic_ns()), tmp_path / "port") as emulator:
        hand = opened(f"{kind}:{emulator.port}?id=9", 0.3)
        with pytest.raises(LinkError, match="silent"):
            hand.connect(1.0)


@pytest.mark.parametrize("kind", ["ability_hand", *sorted(DEVICES)])
def test_what_is_no_serial_port_is_refused_at_once(kind: str) -> None:
    begun_s = time.monotonic()
    with pytest.raises(LinkError, match=r"/dev/null does not open: .*it is no serial port"):
        opened(f"{kind}:/dev/null", TIMEOUT_S).connect(PATIENCE_S)
    assert time.monotonic() - begun_s < PATIENCE_S / 2


def test_firmware_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    device = RohandDevice(time.monotonic_ns(), firmware=(3, 0, 140))
    with PtyHand(device, tmp_path / "port") as emulator:
        hand = opened(f"rohand:{emulator.port}", TIMEOUT_S)
        with pytest.raises(LinkError, match=r"its firmware is V3\.0-140: update it to V3\.0-168 or later"):
            hand.connect(PATIENCE_S)


def test_nothing_moves_by_connecting_and_leaving(rig: Rig) -> None:
    rig.hand.close()
    kinds = {entry.kind for entry in rig.device.trace.entries}
    assert kinds <= {"connected", "disconnected"}
