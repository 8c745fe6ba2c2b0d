"""The serial front-end against an emulated device on a pseudo-terminal: real ports, real bytes."""

from __future__ import annotations

import errno
import itertools
import os
import select
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.emulators.serial_line import BadLine, LineFaults
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import _serial_port, load, schemes
from firmware_bridge.sources import serial as serial_source
from firmware_bridge.sources._serial_description import Description, encode_description
from firmware_bridge.sources._serial_protocol import (
    DeviceError,
    Frame,
    FrameParser,
    FrameType,
    Started,
    encode_data,
    encode_error,
    encode_frame,
    encode_started,
    encode_stopped,
    parse_start,
)
from firmware_bridge.sources.serial import SerialDevice, find, open_device
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources.serial_rig import (
    PATIENCE_S,
    SCALE_UV,
    blocks,
    endless,
    info,
    is_pattern,
    patient,
)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_source, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(_serial_port, "_WRITE_S", PATIENCE_S)


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "front-end"


def taken(stream: Iterator[SignalBlock], n: int) -> list[SignalBlock]:
    return list(itertools.islice(stream, n))


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, "it never came to that"
        time.sleep(0.005)


def test_it_is_found_by_name() -> None:
    assert "serial" in schemes()
    assert load("serial").ADDRESS.startswith("serial:")


def test_a_device_is_known_before_it_streams(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = open_device(emulator.port)
        assert device.info == info()
        assert FrameType.START not in emulator.requests
        assert device.counters.connections == 0


def test_impedances_are_those_that_the_device_said_when_it_was_connected(link: Path) -> None:
    measured = (4.7e4, None, *[1.2e5] * 14)
    with SerialEmulator(info(), endless(), link, impedance_ohm=measured) as emulator:
        device = patient(emulator.port)
        assert device.impedance_ohm() is None
        device.connect()
        np.testing.assert_array_equal(device.impedance_ohm(), [4.7e4, np.nan, *[1.2e5] * 14])
        device.close()
    with SerialEmulator(info(), endless(), link) as emulator:
        device.connect()
        assert device.impedance_ohm() is None
        device.close()


def test_samples_arrive_bit_for_bit_with_their_scale_lines_and_time(link: Path) -> None:
    before_ns = time.monotonic_ns()
    with SerialEmulator(info(), blocks(500, 20_000, 33), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        got = taken(device.blocks(), -(-20_000 // 33))
        device.close()
    assert all(is_pattern(block) and block.scale_uv == SCALE_UV and not block.lost_before for block in got)
    assert [block.first_sample for block in got] == list(range(500, 20_500, 33))
    assert all(block.samples.dtype == np.int16 and block.samples.flags.c_contiguous for block in got)
    arrivals = [block.arrival_ns for block in got]
    assert before_ns < arrivals[0]
    assert arrivals == sorted(arrivals)
    counters = device.counters
    assert (counters.frames, counters.connections) == (len(got), 1)
    assert (
        counters.bad_frames,
        counters.skipped_bytes,
        counters.lost_samples,
        counters.repeated_samples,
    ) == (0,) * 4


def test_a_clocked_device_begins_where_its_own_counter_is(link: Path) -> None:
    with SerialEmulator(info(), endless(first=2**31), link, speed=1.0) as emulator:
        device = patient(emulator.port)
        device.connect()
        got = taken(device.blocks(), 20)
        device.close()
    assert got[0].first_sample == 2**31
    assert all(is_pattern(block) for block in got)


def test_blocks_asked_for_again_go_on_where_they_were_left(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        got = taken(device.blocks(), 3) + taken(device.blocks(), 3)
        device.close()
        assert [block.first_sample for block in got] == [0, 20, 40, 60, 80, 100]
        assert emulator.requests.count(FrameType.START) == 1


def test_close_stops_the_device_and_connect_begins_again_with_nothing_stale(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        first = taken(device.blocks(), 5)
        device.close()
        wait_until(lambda: FrameType.STOP in emulator.requests[3:])
        taken_before = emulator.sent_blocks
        assert list(device.blocks()) == []
        device.connect()
        again = taken(device.blocks(), 5)
        device.close()
    assert is_pattern(first[-1])
    # What the device had sent meanwhile lay in the port's buffers: old samples, thrown away.
    assert again[0].first_sample >= 20 * taken_before > first[-1].first_sample + 20
    assert again[0].lost_before == 0
    assert device.counters.connections == 2
    assert device.counters.lost_samples == 0


def test_a_device_that_streams_for_nobody_is_stopped_before_it_is_asked(link: Path) -> None:
    """As after a host that was killed: the port is full of old samples."""
    with SerialEmulator(info(), endless(), link) as emulator:
        killed = patient(emulator.port)
        killed.connect()
        taken(killed.blocks(), 1)
        killed._link._port._port.close()  # type: ignore[union-attr] # closed by the kernel, without a STOP
        wait_until(lambda: emulator.sent_blocks > 100)
        sent = emulator.sent_blocks
        device = patient(emulator.port)
        device.connect()
        got = taken(device.blocks(), 5)
        device.close()
    assert got[0].first_sample >= 20 * sent
    assert all(is_pattern(block) for block in got)
    assert device.counters.stale_frames == 0


def test_close_from_another_thread_ends_a_waiting_iteration_without_a_further_block(link: Path) -> None:
    with SerialEmulator(info(), endless(), link, speed=1e-6) as emulator:
        device = patient(emulator.port, stall_s=100 * PATIENCE_S)
        device.connect()
        got: list[SignalBlock] = []
        consumer = threading.Thread(target=lambda: got.extend(device.blocks()), daemon=True)
        consumer.start()
        wait_until(lambda: FrameType.START in emulator.requests)
        consumer.join(0.1)
        assert consumer.is_alive()
        closer = threading.Thread(target=device.close, daemon=True)
        closer.start()
        closer.join(PATIENCE_S)
        consumer.join(PATIENCE_S)
        assert not closer.is_alive(), "close waits for the device"
        assert not consumer.is_alive(), "close did not end the iteration"
        device.close()
    assert got == []


def test_unplugged_is_said_and_plugged_in_again_it_goes_on_with_the_device_s_counter(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        for turn in range(5):
            device.connect()
            got = taken(device.blocks(), 10)
            sent = emulator.sent_blocks
            assert all(is_pattern(block) for block in got)
            emulator.unplug()
            with pytest.raises(SourceLostError, match="is gone"):
                list(device.blocks())
            with pytest.raises(LinkError, match="nothing of that name"):
                device.connect()
            sent = emulator.sent_blocks
            emulator.plug()
            device.connect()
            block = next(device.blocks())
            assert block.first_sample == 20 * sent, f"turn {turn}: a stale block, or one lost"
            assert is_pattern(block)
            device.close()
    assert device.counters.connections == 10
    assert device.counters.lost_samples == 0


def test_a_device_that_restarts_falls_silent_and_begins_anew(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        taken(stream, 10)
        emulator.restart()
        shift = 20 * emulator.sent_blocks
        device.stall_s = 0.5
        with pytest.raises(SourceLostError, match=r"no new sample for 0\.5 s"):
            list(stream)
        device.stall_s = PATIENCE_S
        device.connect()
        block = next(device.blocks())
        device.close()
    assert block.first_sample == 0
    assert is_pattern(block, shift)


def test_a_stalled_device_is_lost_and_comes_back(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        taken(stream, 5)
        emulator.stall()
        device.stall_s = 0.3
        with pytest.raises(SourceLostError, match="no new sample"):
            list(stream)
        mute = SerialDevice(emulator.port, info(), answer_s=0.05)
        with pytest.raises(LinkError, match="no STOPPED came"):
            mute.connect()
        emulator.resume()
        device.stall_s = PATIENCE_S
        device.connect()
        assert is_pattern(next(device.blocks()))
        device.close()


class ShiftedTime:
    """The time module with a monotonic clock that can be put forward."""

    def __init__(self) -> None:
        self.forward_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.forward_s

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + round(self.forward_s * 1e9)


def test_time_that_the_consumer_takes_is_no_stall(link: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted = ShiftedTime()
    monkeypatch.setattr(serial_source, "time", shifted)
    monkeypatch.setattr(_serial_port, "time", shifted)
    got: list[int] = []
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        for block in itertools.islice(device.blocks(), 500):
            got.append(block.first_sample)
            shifted.forward_s += 10 * PATIENCE_S
        device.close()
    assert got == list(range(0, 10_000, 20))


def test_endless_garbage_is_a_lost_source(link: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage has come, and goes on, when the time for a new sample is over."""
    shifted = ShiftedTime()
    monkeypatch.setattr(serial_source, "time", shifted)
    monkeypatch.setattr(_serial_port, "time", shifted)
    with SerialEmulator(info(), endless(), link, speed=1.0) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        taken(stream, 5)
        emulator.skip_frames(2**60)
        garbage = b"NH\xa5Z garbage " * 5
        emulator.send_raw(garbage)
        stop = threading.Event()

        def babble() -> None:
            while not stop.wait(0.01):
                emulator.send_raw(garbage)
                if device.counters.bad_frames and device.counters.skipped_bytes:
                    shifted.forward_s = 2 * PATIENCE_S

        thread = threading.Thread(target=babble)
        thread.start()
        try:
            with pytest.raises(SourceLostError, match="no new sample"):
                list(stream)
        finally:
            stop.set()
            thread.join()
    assert device.counters.bad_frames
    assert device.counters.skipped_bytes


def test_twice_the_rate_is_delivered_in_order_and_whole(link: Path) -> None:
    """Who watches the rate refuses it. What is lost, the device lost: its buffer overflows where this test is late."""
    with SerialEmulator(info(), endless(), link, speed=1.0) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        got = taken(stream, 10)
        emulator.set_speed(2.0)
        got += taken(stream, 300)
        device.close()
        overflown = emulator.overflown_samples
    for before, block in itertools.pairwise(got):
        assert block.first_sample == before.first_sample + before.n_samples + block.lost_before
    assert all(is_pattern(block) for block in got)
    assert device.counters.lost_samples == device.counters.device_lost_samples <= overflown


def test_repeated_and_skipped_frames_are_dropped_and_counted(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        got = taken(stream, 5)
        emulator.repeat_frames(7)
        while device.counters.repeated_samples < 7 * 20:
            got.append(next(stream))
        emulator.skip_frames(4)
        while device.counters.lost_samples < 4 * 20:
            got.append(next(stream))
        got += taken(stream, 5)
        device.close()
    gaps = [block.lost_before for block in got if block.lost_before]
    assert gaps == [80]
    counters = device.counters
    assert (counters.repeated_samples, counters.lost_samples, counters.missing_frames) == (140, 80, 4)
    assert counters.device_lost_samples == 0
    assert all(is_pattern(block) for block in got)
    assert sum(block.n_samples + block.lost_before for block in got) == got[-1].first_sample + 20


def test_samples_lost_in_the_device_are_told_from_those_lost_on_the_link(link: Path) -> None:
    stream = itertools.chain(blocks(0, 100, 20), endless(first=150))
    with SerialEmulator(info(), stream, link) as emulator:
        device = patient(emulator.port)
        device.connect()
        got = taken(device.blocks(), 8)
        device.close()
    assert [block.lost_before for block in got] == [0, 0, 0, 0, 0, 50, 0, 0]
    assert (device.counters.lost_samples, device.counters.device_lost_samples) == (50, 50)
    assert device.counters.missing_frames == 0


def test_another_number_of_channels_is_a_lost_source_and_then_a_mismatch(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        taken(stream, 5)
        emulator.set_channels(12)
        with pytest.raises(SourceLostError, match="sends 12 channels where it described 16"):
            list(stream)
        with pytest.raises(StreamMismatchError, match="channels changed"):
            device.connect()
        assert open_device(emulator.port).info.n_channels == 12


def test_the_device_s_own_fault_is_the_reason_given(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        stream = device.blocks()
        taken(stream, 5)
        emulator.fail("converter supply is at 2.9 V")
        with pytest.raises(SourceLostError, match=r"converter supply is at 2\.9 V \(4\)"):
            list(stream)


def test_a_refused_start_is_said_with_the_device_s_words(link: Path) -> None:
    with SerialEmulator(info(), [], link) as emulator:
        device = patient(emulator.port)
        device.connect()
        with pytest.raises(SourceLostError, match="refuses: no more samples"):
            list(device.blocks())


@pytest.mark.parametrize(
    "faults",
    [
        LineFaults(hit=0.2),
        LineFaults(garbage=0.3),
        LineFaults(bit_errors=1e-4),
        LineFaults(dropped=0.1, repeated=0.1, swapped=0.1),
        LineFaults(hit=0.05, garbage=0.1, dropped=0.05, repeated=0.05, swapped=0.05, bit_errors=1e-5),
    ],
    ids=["hit", "garbage", "bit errors", "order", "everything"],
)
def test_every_frame_that_went_out_whole_arrives_and_every_other_sample_is_counted(
    link: Path, faults: LineFaults
) -> None:
    """The last ten frames come over a line that is good again, so that every loss is seen."""
    n, line = 20_000, BadLine(faults, seed=3, n_bad=1000)
    with SerialEmulator(info(), blocks(0, n + 200, 20), link, line=line) as emulator:
        device = patient(emulator.port)
        device.connect()
        got: list[SignalBlock] = []
        for block in device.blocks():
            got.append(block)
            if block.first_sample + block.n_samples == n + 200:
                break
        device.close()
    assert line.n_frames == n // 20 + 10
    arrived = {
        index for block in got for index in range(block.first_sample, block.first_sample + block.n_samples)
    }
    gone = {index for gone in (line.destroyed, line.late) for samples in gone for index in samples}
    assert arrived == set(range(n + 200)) - gone
    assert all(is_pattern(block) for block in got)
    assert device.counters.lost_samples == len(gone) == sum(block.lost_before for block in got)
    again = sum(map(len, line.repeated)) + sum(map(len, line.late))
    assert device.counters.repeated_samples == again
    assert device.counters.device_lost_samples == 0


# Ports that are none


class Raw:
    """A pseudo-terminal whose other end is scripted, for devices that are not ours."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)

        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def answer(self, answer: Callable[[Frame], bytes]) -> None:
        """Answer each request with what `answer` makes of it."""

        def run() -> None:
            parser = FrameParser()
            while not self._stop.is_set():
                if select.select([self.master], [], [], 0.02)[0]:
                    for frame in parser.feed(os.read(self.master, 4096)):
                        os.write(self.master, answer(frame))

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def raw() -> Iterator[Raw]:
    raw = Raw()
    yield raw
    raw.close()


def test_a_port_with_nothing_behind_it_is_said(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_source, "ANSWER_S", 0.02)
    with pytest.raises(LinkError, match=r"no STOPPED came within 4 x 0\.02 s"):
        open_device(raw.port)


def test_a_device_of_another_version_is_said_with_both(raw: Raw) -> None:
    raw.answer(lambda frame: encode_frame(FrameType.ERROR, 0, b"\x01\0\0\0\x02\0sorry", version=7))
    with pytest.raises(LinkError, match=r"speaks version 7 .* this program version 1"):
        open_device(raw.port)


def test_a_device_without_a_description_is_said(raw: Raw) -> None:
    def answer(frame: Frame) -> bytes:
        n = frame.sequence
        return encode_stopped(0, n) + encode_frame(FrameType.DESCRIPTION, 1, n.to_bytes(4, "little") + b"{}")

    raw.answer(answer)
    with pytest.raises(LinkError, match="kind is missing"):
        open_device(raw.port)


def scripted(stream: Callable[[int], bytes]) -> Callable[[Frame], bytes]:
    """Answers as the specification has them, with `stream` (given the stream's number) as the answer to START."""

    def answer(frame: Frame) -> bytes:
        n = frame.sequence
        if frame.type == FrameType.STOP:
            return encode_stopped(0, n)
        if frame.type == FrameType.DESCRIBE:
            return encode_description(1, n, Description(info(2), "scripted"))
        number = parse_start(frame.payload)
        return encode_started(2, Started(n, number, 40)) + stream(number)

    return answer


def test_frames_that_mean_nothing_are_passed_over_and_counted(raw: Raw) -> None:
    block = next(blocks(40, 10, 10, n_channels=2))

    def stream(number: int) -> bytes:
        good = encode_data(8, number, block)
        return b"".join(
            (
                encode_frame(FrameType.DATA, 3, b"of another version", version=9),
                encode_data(3, number ^ 1, block),  # of another stream
                encode_frame(FrameType.DATA, 4, b"with fields missing"),
                encode_frame(0xEE, 5, b"of a type to come"),
                encode_error(6, DeviceError(1, 4, "an answer that is late")),
                encode_stopped(7, 1),
                good,
            )
        )

    raw.answer(scripted(stream))
    device = patient(raw.port, 2)
    device.connect()
    got = next(device.blocks())
    device.close()
    assert (got.first_sample, got.lost_before) == (40, 0)
    assert is_pattern(got)
    counters = device.counters
    assert (counters.frames, counters.bad_frames, counters.stale_frames) == (1, 2, 1)
    assert (counters.skipped_bytes, counters.missing_frames, counters.lost_samples) == (0, 0, 0)


def test_of_a_frame_that_is_partly_new_the_new_part_is_delivered(raw: Raw) -> None:
    first, second = (next(blocks(at, 10, 10, n_channels=2)) for at in (40, 46))
    raw.answer(scripted(lambda n: encode_data(3, n, first) + encode_data(4, n, second)))
    device = patient(raw.port, 2)
    device.connect()
    got = taken(device.blocks(), 2)
    device.close()
    assert [(block.first_sample, block.n_samples, block.lost_before) for block in got] == [
        (40, 10, 0),
        (50, 6, 0),
    ]
    assert all(is_pattern(block) for block in got)
    assert device.counters.repeated_samples == 4


def test_a_late_answer_to_an_earlier_request_is_not_taken_for_this_one_s(raw: Raw) -> None:
    correct = scripted(lambda number: b"")

    def answer(frame: Frame) -> bytes:
        old = encode_description(1, frame.sequence - 1, Description(info(3), "old"))
        return old + correct(frame) if frame.type == FrameType.DESCRIBE else correct(frame)

    raw.answer(answer)
    assert open_device(raw.port).info == info(2)


def test_samples_lost_between_the_answer_to_start_and_the_first_frame_are_counted(raw: Raw) -> None:
    late = next(blocks(70, 10, 10, n_channels=2))
    raw.answer(scripted(lambda number: encode_data(4, number, late)))
    device = patient(raw.port, 2)
    device.connect()
    assert next(device.blocks()).lost_before == 30
    device.close()
    assert (device.counters.lost_samples, device.counters.missing_frames) == (30, 1)


@pytest.mark.parametrize(
    ("payload", "said"),
    [(b"too short", "STARTED has 13 bytes"), (struct.pack("<IQ", 1, 0), r"started stream 1, not \d+")],
)
def test_an_answer_to_start_that_is_wrong_is_said(raw: Raw, payload: bytes, said: str) -> None:
    correct = scripted(lambda number: b"")

    def answer(frame: Frame) -> bytes:
        if frame.type == FrameType.START:
            return encode_frame(FrameType.STARTED, 2, frame.sequence.to_bytes(4, "little") + payload)
        return correct(frame)

    raw.answer(answer)
    device = patient(raw.port, 2)
    device.connect()
    with pytest.raises(SourceLostError, match=said):
        next(device.blocks())


def test_a_port_in_use_is_said(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        device = patient(emulator.port)
        device.connect()
        with pytest.raises(LinkError, match="another program has it open"):
            open_device(emulator.port)
        device.close()
        assert open_device(emulator.port).info == info()


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ("", NervehandError, "names no port"),
        ("@9600", NervehandError, "names no port"),
        ("/dev/ttyACM0@fast", NervehandError, "baud rate 'fast'"),
        ("/dev/ttyACM0@0", NervehandError, "baud rate '0'"),
        ("/dev/nowhere", LinkError, os.strerror(errno.ENOENT)),
        ("/dev/null", LinkError, "/dev/null does not open"),
    ],
)
def test_an_address_that_is_wrong_is_said_so(where: str, error: type[NervehandError], said: str) -> None:
    with pytest.raises(error, match=said):
        open_device(where)


def test_a_baud_rate_in_the_address_is_used(link: Path) -> None:
    with SerialEmulator(info(), endless(), link) as emulator:
        assert open_device(f"{emulator.port}@115200").info == info()


def test_usb_ports_are_found_by_the_name_that_survives_unplugging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [ListPortInfo(str(tmp_path / name)) for name in ("ttyACM1", "ttyACM0", "ttyS0")]
    ports[0].vid, ports[0].description = 0x1209, "second board"
    ports[1].vid, ports[1].description = 0x1209, "first board"
    names = tmp_path / "by-id"
    names.mkdir()
    (tmp_path / "ttyACM0").touch()
    (names / "usb-first").symlink_to(tmp_path / "ttyACM0")
    monkeypatch.setattr(list_ports, "comports", lambda: ports)
    monkeypatch.setattr(serial_source, "STABLE_NAMES", names)
    assert [(found.address, found.description) for found in find()] == [
        (f"serial:{names}/usb-first", "first board"),
        (f"serial:{tmp_path}/ttyACM1", "second board"),
    ]


def test_a_machine_without_ports_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(list_ports, "comports", list)
    monkeypatch.setattr(serial_source, "STABLE_NAMES", tmp_path / "nothing")
    assert find() == ()
