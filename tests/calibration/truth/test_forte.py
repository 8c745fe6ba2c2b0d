"""A Forte glove across a pseudo-terminal: its frames, noise between them, wrong lengths, cut links."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.truth import forte
from calibration.truth._serial_glove import SerialGlove
from calibration.truth.forte import BAUD, ForteWire, Frames, described, open_truth
from firmware_bridge.emulators.gloves.forte import Forte
from firmware_bridge.emulators.hands.pty import BadLine, LineFaults, PtyHand
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from tests.calibration.truth.glove_rig import PATIENCE_S, Hand, replayed, taken

VALUES = st.lists(st.integers(0, 127), min_size=10, max_size=10)
INERTIAL = b"\xf0\x02\x0c" + bytes(range(12)) + b"\xf7"


def frame(values: list[int], length: int = 11) -> bytes:
    return bytes([0xF0, 1, length, *values, 88, 0xF7])


def patient(port: str, stall_s: float = PATIENCE_S) -> SerialGlove:
    return SerialGlove(described("right"), port, BAUD, lambda: ForteWire(1), stall_s)


def test_a_frame_is_ten_sensors_and_a_battery_between_its_two_marks() -> None:
    assert Frames().feed(bytes.fromhex("f0010b 0102030405060708090a 63 f7")) == [
        [float(i) for i in range(1, 11)]
    ]


@given(st.lists(VALUES, max_size=5), st.data())
def test_frames_come_out_whole_however_their_bytes_are_cut(
    rows: list[list[int]], data: st.DataObject
) -> None:
    stream = b"".join(frame(row) + INERTIAL for row in rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames, found = Frames(), list[list[float]]()
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += frames.feed(stream[begin:end])
    assert found == [list(map(float, row)) for row in rows]
    assert frames.bad_frames == 0


@given(st.lists(st.tuples(st.binary(max_size=60), VALUES), min_size=1, max_size=5))
def test_whatever_comes_between_frames_each_frame_is_read(pieces: list[tuple[bytes, list[int]]]) -> None:
    frames = Frames()
    for noise, row in pieces:
        frames.feed(noise)
        assert frames.feed(frame(row))[-1:] == [list(map(float, row))]


@given(VALUES, st.integers(0, 30).filter(lambda n: n != 10))
def test_a_frame_of_a_wrong_length_is_dropped_and_counted(row: list[int], n: int) -> None:
    frames = Frames()
    assert frames.feed(frame((row * 4)[:n])) == []
    assert frames.bad_frames == 1
    assert frames.feed(frame(row)) == [list(map(float, row))]


@given(VALUES, st.integers(0, 9), st.integers(128, 246))
def test_a_byte_that_no_sensor_can_send_spoils_its_frame(row: list[int], at: int, byte: int) -> None:
    frames = Frames()
    row[at] = byte if byte != 0xF0 else 0x80
    assert frames.feed(frame(row)) == []
    assert frames.bad_frames == 1


def test_a_frame_that_says_another_length_than_it_has_is_dropped() -> None:
    frames = Frames()
    assert frames.feed(frame([1] * 10, length=12)) == []
    assert frames.bad_frames == 1


def test_six_positions_worn_come_back_across_the_wire_but_for_the_wrist(tmp_path: Path) -> None:
    hand = Hand()
    postures = [[0.5, -0.5, 1.0, 0.0, -1.0, 0.0], [-0.2, 0.9, 0.1, 0.7, 0.4, 0.0]]
    with PtyHand(Forte(hand), tmp_path / "glove", BAUD) as served:
        source = open_truth(f"{served.port}?side=left")
        source.connect()
        found = replayed(source, hand, postures)
        source.close()
    np.testing.assert_allclose(found[:, :5], np.array(postures)[:, :5], atol=0.06)
    assert np.isnan(found[:, 5]).all()


def test_bluetooth_is_another_mode(tmp_path: Path) -> None:
    with PtyHand(Forte(Hand(), mode=2), tmp_path / "glove", BAUD) as served:
        with pytest.raises(LinkError, match=r"no Forte glove sends at .*check port and mode"):
            open_truth(served.port).connect()
        source = open_truth(f"{served.port}?mode=bluetooth")
        source.connect()
        assert len(taken(source, 3)) >= 3
        source.close()


@pytest.mark.parametrize("fault", ["short", "long", "cut"])
def test_frames_that_are_not_whole_are_passed_over(tmp_path: Path, fault: str) -> None:
    with PtyHand(Forte(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port)
        source.connect()
        clean = taken(source, 3).values[0]
        served.obey(fault)
        values = taken(source, 30).values
        source.close()
    np.testing.assert_array_equal(values, np.tile(clean, (len(values), 1)))


def test_noise_between_frames_costs_no_frame(tmp_path: Path) -> None:
    line = BadLine(LineFaults(garbage=0.5), seed=5)
    with PtyHand(Forte(Hand()), tmp_path / "glove", line=line) as served:
        line.is_good = True
        source = patient(served.port)
        source.connect()
        clean = taken(source, 3).values[0]
        line.is_good = False
        values = taken(source, 100).values
        source.close()
    assert line.n_hit > 20
    np.testing.assert_array_equal(values, np.tile(clean, (len(values), 1)))


def test_a_silent_glove_and_an_unplugged_one_are_lost_and_work_again(tmp_path: Path) -> None:
    with PtyHand(Forte(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port, stall_s=1.0)
        source.connect()
        served.obey("silent")
        with pytest.raises(SourceLostError, match=r"Forte glove at .* is silent for 1 s"):
            list(source.blocks())
        served.obey("clear")
        source.connect()
        blocks = source.blocks()
        next(blocks)
        served.unplug()
        with pytest.raises(SourceLostError, match=r"Forte glove is lost: serial port .* is gone"):
            list(blocks)
        with pytest.raises(LinkError, match="no serial port"):
            source.connect()
        served.plug()
        source.connect()
        assert len(taken(source, 3)) >= 3
        source.close()
        source.close()


def test_readings_have_the_hosts_time_of_arrival(tmp_path: Path) -> None:
    with PtyHand(Forte(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port)
        source.connect()
        before_s = time.monotonic()
        block = taken(source, 20)
        source.close()
    np.testing.assert_allclose(block.device_s, block.arrival_ns / 1e9)
    assert before_s <= block.device_s[0] <= block.device_s[-1] <= time.monotonic()


def test_an_address_says_what_is_wrong_with_it() -> None:
    for wrong, words in (
        ("", "needs the port"),
        ("/dev/x?mode=tape", "mode=tape: give one of usb, bluetooth"),
    ):
        with pytest.raises(NervehandError, match=words):
            open_truth(wrong)
    assert isinstance(forte.find(), tuple)
