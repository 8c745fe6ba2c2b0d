"""The emulated virtual hand: what it does with frames and orders, and what its trace tells of it."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.emulators.hands.virtual import HEARTBEAT_NS, VirtualDevice
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND, CommandFrame, StateFrame

MS = 1_000_000


def move(value: float, sequence: int = 1, sent_ms: int = 77) -> bytes:
    return protocol.encode_command(CommandFrame(sequence, np.full(6, value, np.float32), sent_ms))


def ping(sequence: int = 1) -> bytes:
    return protocol.encode_command(CommandFrame(sequence, None, 0))


def told(answers: list[bytes]) -> StateFrame:
    (answer,) = answers
    return protocol.decode_state(answer)


def kinds(device: VirtualDevice) -> list[str]:
    return [entry.kind for entry in device.trace.entries if entry.kind != "position"]


def test_every_accepted_frame_is_answered_with_its_number_and_where_the_hand_is() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    state = told(device.receive(move(0.5, 9), 10 * MS))
    assert (state.sequence, state.accepted, state.rejected) == (9, 1, 0)
    state = told(device.receive(ping(10), 200 * MS))
    assert (state.sequence, state.accepted) == (10, 2)
    assert (state.positions > 0.4).all()


def test_a_target_is_traced_with_the_clock_of_its_sender() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    device.receive(move(0.5, sent_ms=1234), 10 * MS)
    (target,) = [entry for entry in device.trace.entries if entry.kind == "target"]
    assert (target.time_ns, target.sent_ms) == (10 * MS, 1234)
    assert target.joints == pytest.approx((0.5,) * 6, abs=1e-4)


def test_a_damaged_frame_moves_nothing_is_not_answered_and_is_counted() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    assert device.receive(move(0.5)[:-1] + b"\0", 10 * MS) == []
    assert kinds(device) == ["refused"]
    state = told(device.receive(ping(), 100 * MS))
    assert (state.accepted, state.rejected) == (1, 1)
    assert (state.positions == 0).all()


def test_it_tells_its_state_unasked_where_it_has_been_silent() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    assert device.advance(HEARTBEAT_NS - 1) == []
    assert len(device.advance(HEARTBEAT_NS)) == 1
    device.receive(ping(), 30 * MS)
    assert device.advance(HEARTBEAT_NS + 20 * MS) == []


def test_without_commands_it_opens_and_says_so() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    device.receive(move(1.0), 0)
    device.advance(299 * MS)
    assert "watchdog" not in kinds(device)
    device.receive(ping(), 299 * MS)  # moves and feeds nothing
    device.advance(300 * MS)
    device.advance(400 * MS)
    assert kinds(device).count("watchdog") == 1
    state = told(device.receive(ping(), 3000 * MS))
    assert state.watchdog_tripped
    assert (np.abs(state.positions) < 1e-3).all()
    assert not told(device.receive(move(0.1), 3000 * MS)).watchdog_tripped


@pytest.mark.parametrize("order", ["fault", "stall", "stray"])
def test_with_a_fault_stalled_or_astray_it_goes_nowhere_that_it_is_sent(order: str) -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    for i in range(100):
        device.receive(move(-0.5), i * 10 * MS)
    device.obey(order, 1000 * MS)
    for i in range(100, 300):
        state = told(device.receive(move(-1.0), i * 10 * MS))
    assert (state.positions > -0.6).all()
    assert (state.fault, state.stalled) == (order == "fault", order == "stall")
    if order == "stray":
        assert (state.positions > 0.4).all()
    device.obey("clear", 3000 * MS)
    for i in range(300, 500):
        state = told(device.receive(move(-1.0), i * 10 * MS))
    assert (state.positions < -0.9).all()
    assert kinds(device).count("ordered") == 2


def test_it_says_that_it_is_hot() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    device.obey("hot", 0)
    assert told(device.receive(ping(), MS)).hot
    device.obey("clear", 2 * MS)
    assert not told(device.receive(ping(), 3 * MS)).hot


def test_an_order_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(NervehandError, match="'fly' is unknown: use fault, hot, stall, stray, clear"):
        VirtualDevice(VIRTUAL_HAND, 0).obey("fly", 0)


def test_its_info_and_its_state_can_be_read() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    device.receive(move(1.0, 3), 0)
    assert device.read(protocol.INFO_UUID, MS) == protocol.encode_info(VIRTUAL_HAND)
    state = protocol.decode_state(device.read(protocol.STATE_UUID, 200 * MS))
    assert state.sequence == 3
    assert (state.positions > 0.5).all()


def test_who_comes_and_goes_is_traced() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0)
    device.connected(True, 1)
    device.connected(False, 2)
    assert kinds(device) == ["connected", "disconnected"]
