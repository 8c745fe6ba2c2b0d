"""The Ability Hand's two command sets as dialects, with the emulated hand at the other end, in a time of their own."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.ability_hand_air import AbilityAirDevice, over_the_air
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands import _ability_ble as ble
from firmware_bridge.hands import _ability_frames as frames
from firmware_bridge.hands._ability_ble import AbilityBleDialect
from firmware_bridge.hands._ability_grips import BLE_GRIPS, UART_GRIPS
from firmware_bridge.hands._ability_uart import AbilityUartDialect
from tests.firmware_bridge.hands.serial_talk import Talk

MS = 1_000_000
WANTED = np.array([10, 20, 30, 40, 50, -60.0])


def talk(variant: int = 3, is_stuffed: bool = True) -> tuple[Talk, AbilityDevice]:
    device = AbilityDevice(0, is_stuffed)
    return Talk(AbilityUartDialect(variant, is_stuffed), device), device


# UART


@pytest.mark.parametrize("is_stuffed", [True, False])
@pytest.mark.parametrize("variant", [1, 2, 3])
def test_positions_are_followed_and_told_in_every_variant(variant: int, is_stuffed: bool) -> None:
    both, device = talk(variant, is_stuffed)
    both.greet()
    assert len(both.move(WANTED, 100)) == 100
    assert both.told.joints is not None
    np.testing.assert_allclose(both.told.joints, WANTED, atol=0.02)
    assert (both.told.currents_a is None) == (variant == 2)
    assert (both.dialect.bad_frames, both.dialect.skipped_bytes) == (0, 0)
    assert device.n_replies == 100


def test_a_move_is_the_vendors_frame() -> None:
    dialect = AbilityUartDialect(1)
    assert dialect.move(WANTED, 0, 0).hex() == "7e50108808101199192122aa2acecc8c7e"
    assert AbilityUartDialect(3).ask(0, 0).hex() == "7e50a20e7e"
    assert dialect.grip("power", 1.0, 0, 0).hex() == "7e501d01ff937e"
    assert (
        AbilityUartDialect(1, is_stuffed=False).move(WANTED, 0, 0).hex() == "50108808101199192122aa2acecc8c"
    )


def test_to_begin_moves_nothing_and_does_not_begin_to_obey() -> None:
    both, device = talk()
    both.greet()
    both.ask(100)
    assert not device.obeys
    assert both.told.joints is not None
    np.testing.assert_allclose(both.told.joints, 0, atol=0.01)


def test_joints_are_cut_to_their_travel() -> None:
    beyond = np.array([120.0, -5.0, 30.0, 30.0, 30.0, 20.0])
    inside = np.array([100.0, 0.0, 30.0, 30.0, 30.0, 0.0])
    dialect = AbilityUartDialect()
    assert dialect.move(beyond, 0, 0) == dialect.move(inside, 0, 0)
    over_the_air = AbilityBleDialect()
    assert over_the_air.move(beyond, 0, 0) == over_the_air.move(inside, 0, 0)


def test_reads_keep_a_moved_hand_where_it_is() -> None:
    both, device = talk()
    both.move(WANTED, 100)
    reports = both.ask(100)
    assert device.obeys
    np.testing.assert_allclose(device.body.positions_deg, WANTED, atol=0.1)
    assert {report.watchdog_tripped for report in reports} == {False}


def test_a_gap_of_300_ms_is_a_watchdog_that_tripped_until_the_next_move() -> None:
    both, device = talk()
    both.move(WANTED, 10)
    both.now_ns += 289 * MS
    both.ask()
    assert device.obeys
    both.now_ns += 300 * MS
    both.ask(3)
    assert not device.obeys
    (report,) = both.ask()
    assert report.watchdog_tripped
    (report,) = both.move(WANTED)
    assert report.watchdog_tripped is False
    assert device.obeys


@pytest.mark.parametrize("begins", ["moved and answered", "moved, the answer lost"])
def test_only_what_it_answered_has_fed_its_watchdog(begins: str) -> None:
    """Reads every 100 ms never reach it: by its own time it has left the API when it answers again."""
    both, device = talk()
    if begins == "moved and answered":
        both.move(WANTED)
    else:
        device.receive(both.dialect.move(WANTED, 0, both.now_ns), both.now_ns)
    for _ in range(8):
        both.now_ns += 100 * MS
        both.dialect.ask(0, both.now_ns)
    (report,) = both.ask()
    assert not device.obeys
    assert report.watchdog_tripped


def test_a_move_that_it_did_not_answer_ends_no_trip() -> None:
    both, device = talk()
    both.move(WANTED)
    both.now_ns += 400 * MS
    both.ask()
    both.dialect.move(WANTED, 0, both.now_ns)
    (report,) = both.ask()
    assert not device.obeys
    assert report.watchdog_tripped
    (report,) = both.move(WANTED)
    assert device.obeys
    assert report.watchdog_tripped is False


def test_a_hand_that_was_never_moved_has_no_watchdog_to_trip() -> None:
    both, _ = talk()
    both.ask()
    both.now_ns += 1000 * MS
    (report,) = both.ask()
    assert report.watchdog_tripped is False


def test_the_rotators_bit_is_heat_and_the_fingers_are_what_they_met() -> None:
    both, device = talk()
    both.move(WANTED, 50)
    device.obey("stall", both.now_ns)
    both.move(WANTED + np.array([30, 30, 30, 30, 30, 0]), 20)
    assert (both.told.stalled, both.told.hot) == (True, False)
    device.obey("clear", both.now_ns)
    both.move(WANTED, 2)
    assert (both.told.stalled, both.told.hot) == (False, False)
    device.obey("hot", both.now_ns)
    both.ask()
    assert both.told.hot is True


def test_every_grip_is_done_and_ends_what_the_hand_was_told() -> None:
    both, device = talk()
    both.move(WANTED, 5)
    for name in UART_GRIPS:
        (report,) = both.say(both.dialect.grip(name, 0.5, 0, both.now_ns))
        assert report.watchdog_tripped is False
    done = [entry.text for entry in device.trace.entries if entry.kind == "grip"]
    assert done == list(UART_GRIPS)
    with pytest.raises(NervehandError, match="no grip 'wave'"):
        both.dialect.grip("wave", 0.5, 0, 0)


def test_the_slowest_grip_is_not_the_one_that_stops() -> None:
    dialect = AbilityUartDialect()
    speeds = [frames.unstuffed(dialect.grip("power", speed, 0, 0)[1:-1])[3] for speed in (0.0, 0.5, 1.0)]
    assert speeds == [1, 128, 255]


def test_at_the_end_it_leaves_the_hand_to_itself() -> None:
    both, device = talk()
    both.move(WANTED, 50)
    for frame in both.dialect.end():
        both.say(frame)
    assert not device.obeys


def test_the_rest_of_a_lost_answer_does_not_spoil_the_next() -> None:
    both, device = talk(is_stuffed=False)
    (answer,) = device.receive(both.dialect.ask(0, 0), MS)
    assert list(both.dialect.receive(answer[:20])) == []
    assert len(both.ask()) == 1
    assert both.dialect.skipped_bytes == 20


@pytest.mark.parametrize("is_stuffed", [True, False])
def test_an_answer_in_another_variant_or_with_a_wrong_bit_is_none(is_stuffed: bool) -> None:
    both, device = talk(3, is_stuffed)
    (other,) = device.receive(AbilityUartDialect(1, is_stuffed).ask(0, 0), MS)
    assert list(both.dialect.receive(other)) == []
    (answer,) = device.receive(both.dialect.ask(0, 0), MS)
    for at in range(1, len(answer) - 1):
        wrong = bytearray(answer)
        wrong[at] ^= 0x10
        both.dialect.ask(0, 0)
        assert list(both.dialect.receive(bytes(wrong))) == []
    both.dialect.ask(0, 0)
    assert len(list(both.dialect.receive(answer))) == 1
    assert both.dialect.bad_frames > 0


# Bluetooth


def air(is_joined: bool = False) -> tuple[Talk, AbilityAirDevice]:
    device, _ = over_the_air(0)
    device.connected(True, 0)
    return Talk(AbilityBleDialect(is_joined), device), device


def streamed(both: Talk, device: AbilityAirDevice, seconds: float) -> None:
    """Let the hand say what it says unasked."""
    for _ in range(round(seconds * 100)):
        both.now_ns += 10 * MS
        for notification in device.advance(both.now_ns):
            for report in both.dialect.receive(notification):
                assert not report.is_answer
                both.told = report


@pytest.mark.parametrize("is_joined", [False, True])
def test_over_the_air_positions_are_followed_and_streamed(is_joined: bool) -> None:
    both, device = air(is_joined)
    both.greet()
    assert device.control_mode == 0
    both.move(WANTED)
    streamed(both, device, 1.0)
    assert both.told.joints is not None
    np.testing.assert_allclose(both.told.joints, WANTED, atol=0.02)
    assert both.dialect.bad_frames == 0
    assert not [entry for entry in device.trace.entries if entry.kind == "refused"]


def test_frames_over_the_air_are_those_of_the_icd() -> None:
    assert ble.positions_frame(WANTED).hex() == "4d46" + "8808101199192122aa2acecc"
    assert ble.periods_frame(np.full(6, 0.2)).hex() == "4d50" + "2b00" * 6
    assert ble.joined_frame(WANTED).hex() == "4d" + "".join(
        word + "2b00" for word in ("8808", "1011", "9919", "2122", "aa2a", "cecc")
    )
    dialect = AbilityBleDialect()
    assert dialect.grip("power", 1.0, 0, 0) == b"g03:0.20"
    assert dialect.grip("open", 0.0, 0, 0) == b"g-1:2.00"
    assert dialect.ask(0, 0) == b"P5"


def test_the_hand_is_told_to_obey_bluetooth_until_it_has_stored_that() -> None:
    both, device = air()
    assert b"W00" in both.dialect.begin()
    assert b"W00" in both.dialect.begin()  # it never answered
    both.greet()
    assert both.dialect.begin() == (ble.periods_frame(np.full(6, 0.2)), b"P5")
    for frame in both.dialect.end():
        both.say(frame)
    assert device.control_mode == 0


def test_it_is_left_in_another_mode_where_that_is_asked_for() -> None:
    both, device = air()
    both.dialect = AbilityBleDialect(after="01")
    both.greet()
    for frame in both.dialect.end():
        both.say(frame)
    assert device.control_mode == 1
    assert b"W00" in both.dialect.begin()


def test_a_hand_that_cannot_store_its_mode_is_at_fault() -> None:
    (report,) = AbilityBleDialect().receive(b"error: fs write")
    assert report.fault is not None
    assert "fs write" in report.fault


def test_every_grip_over_the_air_is_the_one_that_was_asked_for() -> None:
    both, device = air()
    for name in BLE_GRIPS:
        both.say(both.dialect.grip(name, 0.5, 0, 0))
    assert [entry.text for entry in device.trace.entries if entry.kind == "grip"] == list(BLE_GRIPS)
    with pytest.raises(NervehandError, match="no grip 'tripod opened'"):
        both.dialect.grip("tripod opened", 0.5, 0, 0)


@pytest.mark.parametrize(
    "notification",
    [
        b"",
        b"success!",
        struct.pack("<5f", *[0.0] * 5),
        struct.pack("<6f", 0, 0, 0, 0, 0, float("nan")),
        struct.pack("<6f", 0, 0, 0, 0, 0, -181),
        struct.pack("<6f", *[0.0] * 6)[:20],
    ],
)
def test_other_notifications_are_counted_and_tell_nothing(notification: bytes) -> None:
    dialect = AbilityBleDialect()
    assert dialect.receive(notification) == []
    assert dialect.bad_frames == 1


def test_the_emulated_hand_refuses_fingers_in_another_mode_and_what_is_no_command() -> None:
    device = AbilityAirDevice(0)
    device.receive(ble.positions_frame(WANTED), MS)
    device.receive(b"W00", 2 * MS)
    for wrong in (b"MX" + bytes(12), b"g", b"g99:1", b"gxx:1", b"Q", b"", b"W0x"):
        assert device.receive(wrong, 3 * MS) == []
    assert [entry.kind for entry in device.trace.entries if entry.kind != "position"] == ["refused"] * 8
    assert device.receive(b"R1\n", 4 * MS) == [b"0"]
    assert device.receive(b"RC", 4 * MS) == [b"NERVE"]


@pytest.mark.parametrize(
    ("stream", "n_bytes"), [(b"P5", 24), (b"P8", 24), (b"PE", 24), (b"P4", 60), (b"PH0", 4), (b"P0", 24)]
)
def test_the_emulated_hand_streams_every_20_ms_until_told_to_stop_or_left(
    stream: bytes, n_bytes: int
) -> None:
    device = AbilityAirDevice(0)
    device.connected(True, 0)
    device.receive(stream, 0)
    said = [said for i in range(100) for said in device.advance(i * 10 * MS)]
    assert {len(one) for one in said} == {n_bytes}
    assert len(said) == 49
    device.receive(b"P1", 1000 * MS)
    assert device.advance(1100 * MS) == []
    device.receive(stream, 1200 * MS)
    device.connected(False, 1200 * MS)
    assert device.advance(1300 * MS) == []


def test_with_a_fault_the_emulated_hand_says_nothing_over_the_air() -> None:
    both, device = air()
    both.greet()
    device.obey("fault", both.now_ns)
    assert device.receive(b"R1", both.now_ns) == []
    assert device.advance(both.now_ns + 100 * MS) == []
