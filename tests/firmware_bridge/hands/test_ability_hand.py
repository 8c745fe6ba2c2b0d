"""The Ability Hand end to end: over a pseudo-terminal at the speed of its line, and over a simulated radio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from firmware_bridge import hands
from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.ability_hand_air import AbilityAirDevice, over_the_air
from firmware_bridge.emulators.hands.air import PerfectAir, offer_centrals, peripheral_host
from firmware_bridge.emulators.hands.gatt import GattServer
from firmware_bridge.emulators.hands.pty import BadLine, LineFaults, PtyHand
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hand import HandState, LinkState, Quantity, WatchdogAction
from firmware_bridge.hands import HandOptions, ability_hand
from firmware_bridge.hands._linked import LinkedHand
from firmware_bridge.joint_map import Joint, JointMap
from tests.firmware_bridge.hands.serial_hands import PATIENCE_S, at, sending, until

FLEXED = np.array([0.5, 0.2, 0.8, 0.4, 1.0, 0.0], np.float32)
OPEN = np.zeros(6, np.float32)
FLEXED_DEG = [20, 80, 40, 100, 50, -50]
ADDRESS = "F5:4E:48:00:00:05"
TIMEOUT_S = 2.0
"""For tests that are not about the link: a machine that stands still is no silent hand."""


@dataclass
class Rig:
    device: AbilityDevice
    emulator: PtyHand
    line: BadLine
    hand: LinkedHand

    @property
    def state(self) -> HandState:
        assert self.hand.state is not None
        return self.hand.state

    def count(self, kind: str) -> int:
        return sum(entry.kind == kind for entry in self.device.trace.entries)


def opened(where: str, options: HandOptions | None = None) -> LinkedHand:
    return cast(
        LinkedHand, hands.open_hand(f"ability_hand:{where}", options or HandOptions(link_timeout_s=TIMEOUT_S))
    )


@contextmanager
def connected(tmp_path: Path, settings: str = "", is_stuffed: bool = True) -> Iterator[Rig]:
    """Over a line that damages bytes once `is_good` is ended."""
    device = AbilityDevice(time.monotonic_ns(), is_stuffed)
    line = BadLine(LineFaults(garbage=0.2, lost=0.1, bit_errors=0.001), seed=1)
    line.is_good = True
    with PtyHand(device, tmp_path / "port", 460800, line) as emulator:
        hand = opened(emulator.port + settings)
        hand.connect(PATIENCE_S)
        try:
            yield Rig(device, emulator, line, hand)
        finally:
            hand.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with connected(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("settings", "is_stuffed", "has_currents"),
    [
        ("", True, True),
        ("?reply=1", True, True),
        ("?reply=2", True, False),
        ("?reply=3&stuffing=off", False, True),
        ("?reply=1&stuffing=off", False, True),
    ],
)
def test_positions_follow_in_every_variant_with_and_without_stuffing(
    tmp_path: Path, settings: str, is_stuffed: bool, has_currents: bool
) -> None:
    with connected(tmp_path, settings, is_stuffed) as rig:
        sending(rig.hand, FLEXED, at(FLEXED), "flexed")
        np.testing.assert_allclose(rig.device.body.positions_deg, FLEXED_DEG, atol=3)
        assert (rig.state.currents_a is not None) == has_currents
        assert (Quantity.CURRENT in rig.hand.capabilities.measures) == has_currents
        assert np.isnan(rig.state.positions[5])
        assert (rig.hand.counters.bad_frames, rig.hand.counters.skipped_bytes) == (0, 0)


def test_to_connect_moves_nothing_and_to_close_leaves_the_api_mode(rig: Rig) -> None:
    assert not rig.device.obeys
    assert rig.count("target") == 0
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    assert rig.device.obeys
    rig.hand.close()
    until(lambda: not rig.device.obeys, "left")


def test_between_commands_the_heartbeat_keeps_the_hand_where_it_is(rig: Rig) -> None:
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    trips, begun_s = rig.count("watchdog"), time.monotonic()
    until(lambda: time.monotonic() - begun_s > 0.8, "more than two of its watchdog's times")
    # A machine that stands still for 300 ms trips it rightly.
    assert rig.count("watchdog") == trips or not rig.device.obeys
    if rig.device.obeys:
        assert at(FLEXED)(rig.state)


def test_without_its_port_its_watchdog_trips_and_plugged_in_again_it_is_back(rig: Rig) -> None:
    sending(rig.hand, FLEXED, at(FLEXED), "flexed")
    rig.emulator.unplug()
    until(lambda: rig.hand.link is LinkState.LOST, "lost")
    until(lambda: not rig.device.obeys, "in its own mode")
    assert rig.count("watchdog") >= 1
    rig.emulator.plug()
    until(lambda: rig.hand.link is LinkState.CONNECTED, "connected again")
    n_targets = rig.count("target")
    until(lambda: at(OPEN)(rig.state), "its own mode opens it, and that is seen")
    assert rig.count("target") == n_targets
    sending(rig.hand, FLEXED, at(FLEXED), "flexed again")
    assert rig.hand.counters.losses == 1
    assert rig.hand.counters.connections == 2


@pytest.mark.parametrize(("settings", "is_stuffed"), [("", True), ("?stuffing=off", False)])
def test_a_bad_line_is_survived(tmp_path: Path, settings: str, is_stuffed: bool) -> None:
    with connected(tmp_path, settings, is_stuffed) as rig:
        rig.line.is_good = False
        sending(rig.hand, FLEXED, lambda _: rig.line.n_hit > 12, "enough damage")
        rig.line.is_good = True
        sending(rig.hand, FLEXED, at(FLEXED), "flexed")
        assert rig.hand.counters.skipped_bytes > 0
        assert rig.hand.counters.unanswered > 0


def test_a_stall_is_seen_with_its_current_and_ends_when_it_is_told_to_go_back(rig: Rig) -> None:
    rig.emulator.obey("stall")
    state = sending(rig.hand, FLEXED, lambda state: state.stalled, "stalled")
    assert not state.hot
    assert state.currents_a is not None
    sending(rig.hand, FLEXED, lambda state: np.nanmax(cast("np.ndarray", state.currents_a)) > 0.8, "pushing")
    rig.emulator.obey("clear")
    sending(rig.hand, FLEXED, lambda state: not state.stalled and at(FLEXED)(state), "flexed after all")


def test_heat_and_a_position_that_it_was_not_sent_are_seen(rig: Rig) -> None:
    rig.emulator.obey("hot")
    sending(rig.hand, OPEN, lambda state: state.hot, "hot")
    rig.emulator.obey("clear")
    sending(rig.hand, OPEN, lambda state: not state.hot, "cool")
    rig.emulator.obey("stray")
    sending(rig.hand, OPEN, lambda state: bool((state.positions[:5] > 0.3).all()), "astray")


def test_a_hand_with_a_fault_is_a_lost_link(tmp_path: Path) -> None:
    with connected(tmp_path) as rig:
        rig.emulator.obey("fault")
        until(lambda: rig.hand.link is LinkState.LOST, "lost")
        rig.emulator.obey("clear")
        until(lambda: rig.hand.link is LinkState.CONNECTED, "connected again")


def test_its_own_grips(rig: Rig) -> None:
    rig.hand.grip("power", 1.0, time.monotonic_ns())
    until(lambda: bool((rig.state.positions[1:5] > 0.9).all()), "power")
    with pytest.raises(NervehandError, match="no grip 'wave'"):
        rig.hand.grip("wave", 1.0, time.monotonic_ns())


def test_a_hand_that_is_set_otherwise_does_not_answer(tmp_path: Path) -> None:
    with PtyHand(AbilityDevice(time.monotonic_ns()), tmp_path / "port") as emulator:
        for settings in ("?address=0x51", "?stuffing=off"):
            with pytest.raises(LinkError, match="silent"):
                opened(emulator.port + settings, HandOptions()).connect(1.0)


# What it says of itself


def test_the_capabilities_say_what_happens_without_commands_and_where_that_is_written() -> None:
    uart = opened("/dev/ttyUSB0").capabilities
    assert (uart.watchdog_s, uart.watchdog_action) == (0.3, WatchdogAction.OWN_MODE)
    assert "ICD" in uart.source
    assert uart.measures == {Quantity.POSITION, Quantity.CURRENT}
    assert uart.lower.tolist() == [0] * 6  # no extension
    assert uart.upper.tolist() == [1, 1, 1, 1, 1, 0]  # no wrist
    assert "power" in uart.grips
    air = opened(ADDRESS).capabilities
    assert (air.watchdog_s, air.watchdog_action) == (None, WatchdogAction.UNKNOWN)
    assert air.measures == {Quantity.POSITION}
    assert ability_hand.CAPABILITIES.max_command_rate_hz == uart.max_command_rate_hz


@pytest.mark.parametrize(
    ("settings", "rate_hz"),
    [
        ("", 500),
        ("?reply=1", 455),
        ("?baud=921600", 750),
        ("?baud=921600&reply=1", 750),
        ("?baud=115200", 178),
    ],
)
def test_the_command_rate_is_what_line_and_hand_can_take(settings: str, rate_hz: float) -> None:
    assert int(opened("/dev/ttyUSB0" + settings).capabilities.max_command_rate_hz) == rate_hz


def test_the_thumb_drives_both_its_joints_and_the_rotator_flexes_below_0() -> None:
    joints = ability_hand.JOINTS.to_joints(np.array([1, 0, 0, 0, 0.25, 0], np.float32))
    assert joints.tolist() == [0, 0, 0, 25, 100, -100]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "is not complete"),
        ("?baud=460800", "is not complete"),
        ("/dev/ttyUSB0?baud", "baud is ''"),
        ("/dev/ttyUSB0?baud=1234", "baud is '1234'"),
        ("/dev/ttyUSB0?reply=4", "reply is '4': use 1, 2, 3"),
        ("/dev/ttyUSB0?stuffing=yes", "stuffing is 'yes': use on or off"),
        ("/dev/ttyUSB0?address=0", "use 1 to 255"),
        ("/dev/ttyUSB0?fingers=joined", "nothing that can be set over a serial port"),
        (ADDRESS + "?baud=460800", "nothing that can be set over Bluetooth"),
        (ADDRESS + "?fingers=both", "use split or joined"),
        (ADDRESS + "?after=W01", "after is 'W01'"),
    ],
)
def test_a_malformed_address_is_said(where: str, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        opened(where)


def test_another_joint_map_must_have_the_hands_joints() -> None:
    joints = list(ability_hand.JOINTS.joints)
    lazy = JointMap((*joints[:5], Joint("thumb rotator", "deg", 0, -60, None, {"thumb": 1.0})))
    assert opened("/dev/ttyUSB0", HandOptions(joint_map=lazy)).capabilities.upper.tolist() == [1] * 5 + [0]
    for wrong in (JointMap(tuple(joints[:5])), JointMap(tuple(reversed(joints)))):
        with pytest.raises(NervehandError, match="an Ability Hand needs index, middle"):
            opened("/dev/ttyUSB0", HandOptions(joint_map=wrong))


# Over the air


@contextmanager
def on_the_air() -> Iterator[tuple[AbilityAirDevice, str]]:
    """The emulated hand at ADDRESS, and the transport that reaches it."""
    device, peripheral = over_the_air(time.monotonic_ns())
    loop, ports = asyncio.new_event_loop(), []
    is_ready, ending = threading.Event(), asyncio.Event()

    async def serve() -> None:
        air = PerfectAir()
        server = GattServer(device, peripheral, peripheral_host(air, "hand"), ADDRESS)
        await server.start()
        ports.append(await offer_centrals(air, 0))
        is_ready.set()
        running = asyncio.create_task(server.run())
        await ending.wait()
        while not running.done():  # Bumble keeps a cancellation for itself where a notification is on its way
            running.cancel()
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert is_ready.wait(PATIENCE_S)
    try:
        yield device, f"tcp-client:127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()


@pytest.mark.parametrize("settings", ["", "?fingers=joined"])
def test_over_the_air_it_is_told_to_obey_and_positions_follow(settings: str) -> None:
    with on_the_air() as (device, transport):
        hand = opened(ADDRESS + settings, HandOptions(transport, link_timeout_s=TIMEOUT_S))
        hand.connect(PATIENCE_S)
        try:
            assert device.control_mode == 0
            assert not [entry for entry in device.trace.entries if entry.kind == "target"]
            sending(hand, FLEXED, at(FLEXED), "flexed")
            np.testing.assert_allclose(device.body.positions_deg, FLEXED_DEG, atol=3)
            hand.grip("open", 1.0, time.monotonic_ns())
            until(lambda: hand.state is not None and at(OPEN)(hand.state), "open")
            assert hand.counters.bad_frames == 0
        finally:
            hand.close()
        assert not [entry for entry in device.trace.entries if entry.kind == "refused"]
