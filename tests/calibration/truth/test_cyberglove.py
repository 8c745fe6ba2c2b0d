"""A CyberGlove across a pseudo-terminal: the bytes of the public drivers, bad lines, cut links, other gloves."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.truth import cyberglove
from calibration.truth._serial_glove import REPLY_S, SerialGlove
from calibration.truth.cyberglove import BAUD, CyberGloveWire, Replies, described, open_truth
from calibration.truth.reader import TruthReader
from firmware_bridge.emulators.gloves.cyberglove import CyberGlove
from firmware_bridge.emulators.hands.pty import BadLine, LineFaults, PtyHand
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from tests.calibration.truth.glove_rig import PATIENCE_S, Hand, replayed, taken, wait_for

PUBLIC_18 = bytes([76, 93, 113, 89, 42, 20, 77, 98, 106, 117, 81, 62, 23, 52, 60, 34, 68, 57])
"""Values that a user of a glove printed (in its form of text), as the binary answer would have them."""
VALUES = st.lists(st.integers(1, 255), min_size=18, max_size=18)
NO_ZERO = st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\1"))


def patient(port: str, n_sensors: int = 22, stall_s: float = PATIENCE_S) -> SerialGlove:
    return SerialGlove(described(n_sensors, "right"), port, BAUD, lambda: CyberGloveWire(n_sensors), stall_s)


def test_an_answer_is_its_letter_a_byte_for_each_sensor_and_a_zero() -> None:
    assert Replies(18).feed(b"G" + PUBLIC_18 + b"\0") == [list(map(float, PUBLIC_18))]


@given(st.lists(VALUES, max_size=5), st.data())
def test_answers_come_out_whole_however_their_bytes_are_cut(
    rows: list[list[int]], data: st.DataObject
) -> None:
    stream = b"".join(b"G" + bytes(row) + b"\0" for row in rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    replies, found = Replies(18), list[list[float]]()
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += replies.feed(stream[begin:end])
    assert found == [list(map(float, row)) for row in rows]
    assert replies.bad_frames == 0


@given(st.lists(st.tuples(st.binary(max_size=60), VALUES), min_size=1, max_size=4))
def test_whatever_comes_between_answers_the_next_but_one_is_read(
    pieces: list[tuple[bytes, list[int]]],
) -> None:
    replies = Replies(18)
    for noise, row in pieces:
        replies.feed(noise)
        replies.feed(b"G" + bytes(row) + b"\0")  # may be lost in the noise before it
        whole = b"G" + bytes(row) + b"\0"
        assert replies.feed(whole) == [list(map(float, row))]


@given(NO_ZERO, VALUES)
def test_noise_without_an_end_loses_nothing(noise: bytes, row: list[int]) -> None:
    assert Replies(18).feed(noise + b"G" + bytes(row) + b"\0") == [list(map(float, row))]


@given(VALUES, st.integers(1, 17))
def test_an_answer_of_a_wrong_length_is_dropped_and_counted(row: list[int], length: int) -> None:
    replies = Replies(18)
    assert replies.feed(b"G" + bytes(row[:length]) + b"\0") == []
    assert replies.bad_frames == 1


def test_the_interface_without_a_glove_gives_no_numbers_and_a_late_sample_is_one() -> None:
    replies = Replies(18)
    (unplugged,) = replies.feed(b"G" + PUBLIC_18 + b"eg\0")
    assert np.isnan(unplugged).all()
    assert replies.feed(b"G" + PUBLIC_18 + b"es\0") == [list(map(float, PUBLIC_18))]
    # A glove whose last two sensors spell an error is no error.
    spelled = PUBLIC_18[:-2] + b"eg"
    assert replies.feed(b"G" + spelled + b"\0") == [list(map(float, spelled))]


@pytest.mark.parametrize("n_sensors", [18, 22])
def test_six_positions_worn_come_back_across_the_wire(tmp_path: Path, n_sensors: int) -> None:
    hand = Hand()
    postures = [[0.5, -0.5, 1.0, 0.0, -1.0, 0.3], [-0.2, 0.9, 0.1, 0.7, 0.4, -0.8]]
    with PtyHand(CyberGlove(hand, n_sensors), tmp_path / "glove", BAUD) as served:
        source = open_truth(f"{served.port}?side=left&rate=200")
        assert (len(source.info.sensors), source.info.side) == (n_sensors, "left")
        source.connect()
        found = replayed(source, hand, postures)
        source.close()
    np.testing.assert_allclose(found, postures, atol=0.05)


def test_readings_have_the_hosts_time_and_the_rate_that_was_asked_for(tmp_path: Path) -> None:
    with PtyHand(CyberGlove(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port)
        source.connect()
        before_s = time.monotonic()
        block = taken(source, 50)
        source.close()
    assert (np.diff(block.device_s) > 0).all()
    assert before_s <= block.device_s[0] <= block.arrival_ns[0] / 1e9 <= time.monotonic()
    assert (block.device_s <= block.arrival_ns / 1e9).all()
    # No faster than it was told, and an answer is not waited for once it is there.
    assert 49 * 0.01 - 0.02 <= block.device_s[-1] - block.device_s[0] < 49 * REPLY_S / 2


def test_a_bad_line_costs_readings_and_makes_up_none(tmp_path: Path) -> None:
    hand = Hand()
    line = BadLine(LineFaults(garbage=0.2, lost=0.1), seed=3)
    with PtyHand(CyberGlove(hand, 18), tmp_path / "glove", line=line) as served:
        line.is_good = True
        source = patient(served.port, 18)
        source.connect()
        clean = taken(source, 5).values
        line.is_good = False
        dirty = taken(source, 60).values
        source.close()
    assert line.n_hit > 10
    wrong = (dirty != clean[0]).any(axis=1)
    # Without a checksum, noise that looks like an answer is one; it is rare.
    assert wrong.sum() <= 3


@pytest.mark.parametrize("fault", ["short", "long"])
def test_answers_of_a_wrong_length_are_passed_over(tmp_path: Path, fault: str) -> None:
    with PtyHand(CyberGlove(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port)
        source.connect()
        clean = taken(source, 3).values[0]
        served.obey(fault)
        values = taken(source, 30).values
        source.close()
    np.testing.assert_array_equal(values, np.tile(clean, (len(values), 1)))


def test_a_glove_taken_off_its_interface_is_not_a_number_until_it_is_back(tmp_path: Path) -> None:
    with PtyHand(CyberGlove(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port)
        source.connect()
        served.obey("unplugged")
        assert np.isnan(taken(source, 3, lambda block: bool(np.isnan(block.values).any())).values).all()
        served.obey("clear")
        assert np.isfinite(taken(source, 3, lambda block: bool(np.isfinite(block.values).all())).values).all()
        source.close()


def test_a_silent_glove_is_lost_and_works_again_after_a_new_connection(tmp_path: Path) -> None:
    with PtyHand(CyberGlove(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port, stall_s=1.0)
        source.connect()
        served.obey("silent")
        with pytest.raises(SourceLostError, match=r"CyberGlove 22 at .*glove is silent for 1 s: is it on"):
            list(source.blocks())
        with pytest.raises(LinkError, match="no CyberGlove answers at"):
            source.connect()
        served.obey("clear")
        source.connect()
        assert len(taken(source, 3)) == 3
        source.close()


def test_an_unplugged_port_is_lost_and_a_reader_finds_it_again(tmp_path: Path) -> None:
    served = PtyHand(CyberGlove(Hand()), tmp_path / "glove", BAUD)
    with served, TruthReader(patient(served.port)) as reader:
        wait_for(lambda: reader.take() is not None)
        served.unplug()
        wait_for(lambda: "no serial port" in reader.problem)
        served.plug()
        wait_for(lambda: reader.problem == "")
        assert reader.connections == 2


def test_closing_ends_a_wait_from_another_thread(tmp_path: Path) -> None:
    with PtyHand(CyberGlove(Hand()), tmp_path / "glove", BAUD) as served:
        source = patient(served.port)
        source.connect()
        blocks = source.blocks()
        next(blocks)
        served.obey("silent")
        threading.Timer(0.2, source.close).start()
        begun_s = time.monotonic()
        list(blocks)
        assert time.monotonic() - begun_s < PATIENCE_S / 2
        source.close()


def test_an_old_firmware_without_the_settings_is_taken_as_it_is(tmp_path: Path) -> None:
    device = CyberGlove(Hand(), 18)
    with PtyHand(device, tmp_path / "glove", BAUD) as served:
        served.obey("old")
        source = patient(served.port, 18)
        source.connect()
        assert taken(source, 3).values.shape == (3, 18)
        source.close()
    assert any(entry.kind == "refused" for entry in device.trace.entries)


def test_another_glove_than_described_and_no_glove_at_all_are_refused(tmp_path: Path) -> None:
    served = PtyHand(CyberGlove(Hand(), 18), tmp_path / "glove", BAUD)
    with served, pytest.raises(LinkError, match="has 18 sensors, and 22 are expected: give sensors=18"):
        patient(served.port, 22).connect()
    with pytest.raises(LinkError, match=r"no serial port .*nothing is there: plug the glove in"):
        patient(str(tmp_path / "nothing")).connect()


def test_an_address_says_what_is_wrong_with_it() -> None:
    for wrong, words in (
        ("", "needs the port"),
        ("/dev/x?sensors=20", "20 sensors is not known: there are 18 and 22"),
        ("/dev/x?sensors=a", "sensors=a"),
        ("/dev/x?sensors=18&side=both", "side=both"),
        ("/dev/x?sensors=18&rate=0", "rate=0"),
        ("/dev/x?colour=red", "option 'colour=red' is not known"),
    ):
        with pytest.raises(NervehandError, match=words):
            open_truth(wrong)
    assert isinstance(cyberglove.find(), tuple)
