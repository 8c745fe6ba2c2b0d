"""An emulated hand on a pseudo-terminal: its line's speed, its line's faults, and its plug."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.emulators.hands.pty import BadLine, LineFaults, PtyHand
from firmware_bridge.errors import NervehandError

LIMIT_S = 30.0


class Echo:
    """Answers with what it was told; breaks where it is told so."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.n_steps = 0
        self.heard = b""
        self.peers: list[bool] = []

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        if data == b"break":
            raise ZeroDivisionError("broken")
        self.heard += data
        return [data]

    def advance(self, now_ns: int) -> list[bytes]:
        self.n_steps += 1
        return []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self.peers.append(is_connected)

    def obey(self, order: str, now_ns: int) -> None:
        if order != "fault":
            raise NervehandError(f"order {order!r} is unknown")
        self.trace.add(now_ns, "ordered", text=order)


def opened(port: str) -> serial.Serial:
    return serial.Serial(port, 460800, timeout=LIMIT_S)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_bytes_go_to_the_hand_and_its_answers_come_back_unchanged(tmp_path: Path) -> None:
    every = bytes(range(256))
    with PtyHand(Echo(), tmp_path / "hand") as pty, opened(pty.port) as port:
        port.write(every)
        assert port.read(256) == every
        assert pty.n_received == pty.n_sent == 256


def test_the_hand_is_moved_on_while_nobody_is_there(tmp_path: Path) -> None:
    hand = Echo()
    with PtyHand(hand, tmp_path / "hand"):
        until(lambda: hand.n_steps > 20)
    assert hand.peers == []


def test_bytes_take_their_time_on_the_wire_both_ways(tmp_path: Path) -> None:
    """96 bytes at 9600 baud are 0.1 s, to the hand and back."""
    with PtyHand(Echo(), tmp_path / "hand", baud=9600) as pty, opened(pty.port) as port:
        begun_s = time.monotonic()
        port.write(bytes(96))
        assert port.read(96) == bytes(96)
        assert time.monotonic() - begun_s >= 0.2


def test_a_frame_waits_for_the_one_before_it(tmp_path: Path) -> None:
    with PtyHand(Echo(), tmp_path / "hand", baud=9600) as pty, opened(pty.port) as port:
        begun_s = time.monotonic()
        for _ in range(10):
            port.write(bytes(10))
        assert port.read(100) == bytes(100)
        assert time.monotonic() - begun_s >= 0.11


def test_unplugged_it_is_gone_and_plugged_in_it_is_at_the_same_place(tmp_path: Path) -> None:
    hand = Echo()
    with PtyHand(hand, tmp_path / "hand") as pty:
        with opened(pty.port) as port:
            port.write(b"a")
            assert port.read(1) == b"a"
            pty.unplug()
            assert not os.path.lexists(pty.port)
            with pytest.raises((serial.SerialException, OSError)):
                port.read(1)
        pty.plug()
        with opened(pty.port) as port:
            port.write(b"b")
            assert port.read(1) == b"b"
        assert hand.heard == b"ab"
    assert hand.peers == [True, False, True, False]
    assert not os.path.lexists(tmp_path / "hand")


def test_orders_reach_the_hand_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    hand = Echo()
    with PtyHand(hand, tmp_path / "hand") as pty:
        pty.obey("fault")
        with pytest.raises(NervehandError, match="'dance' is unknown"):
            pty.obey("dance")
    assert [entry.text for entry in hand.trace.entries] == ["fault"]


def break_and_order(link: Path) -> None:
    with PtyHand(Echo(), link) as pty:
        with opened(pty.port) as port:
            port.write(b"break")
            until(lambda: not pty.worker.is_alive)
        with pytest.raises(NervehandError, match="has ended"):
            pty.obey("fault")


def test_an_error_of_the_hand_is_raised_where_the_context_ends(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        break_and_order(tmp_path / "hand")


def test_somebodys_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hand"
    path.write_text("mine")
    with pytest.raises(NervehandError, match="exists already"), PtyHand(Echo(), path):
        pass
    assert path.read_text() == "mine"
    with (
        pytest.raises(NervehandError, match="no port can be put there"),
        PtyHand(Echo(), tmp_path / "a" / "b"),
    ):
        pass


def test_a_good_line_changes_nothing_and_a_bad_one_the_same_by_the_same_seed() -> None:
    frame = bytes(range(50))
    good = BadLine(LineFaults(), seed=1)
    assert [good(frame) for _ in range(20)] == [frame] * 20
    assert (good.n_pieces, good.n_hit) == (20, 0)
    faults = LineFaults(garbage=0.3, lost=0.3, bit_errors=0.001)
    one, two = ([line(frame) for _ in range(200)] for line in (BadLine(faults, 7), BadLine(faults, 7)))
    assert one == two
    line = BadLine(faults, 7)
    assert 0 < sum(line(frame) != frame for _ in range(200)) == line.n_hit < 200
    assert {len(out) for out in one} - {50}


def test_each_fault_does_what_it_says() -> None:
    frame = bytes(100)
    garbage, lost, bits = (
        BadLine(faults, 3)
        for faults in (LineFaults(garbage=1), LineFaults(lost=1), LineFaults(bit_errors=0.01))
    )
    for _ in range(50):
        out = garbage(frame)
        assert out.endswith(frame)
        assert len(out) > 100
        assert 100 - 8 <= len(lost(frame)) < 100
        assert len(bits(frame)) == 100
    assert bits.n_hit > 0
    bits.is_good = True
    assert bits(frame) == frame


@pytest.mark.parametrize("name", ["garbage", "lost", "bit_errors"])
def test_shares_are_shares(name: str) -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(NervehandError, match=f"{name} is {wrong}"):
            LineFaults(**{name: wrong})


def test_a_baud_rate_is_above_0(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="baud is 0"):
        PtyHand(Echo(), tmp_path / "hand", baud=0)
