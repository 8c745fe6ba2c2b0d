"""The emulated serial front-end keeps the specification that it stands for: what it answers, in each state."""

from __future__ import annotations

import itertools
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.emulators.serial_line import BadLine, LineFaults, carried
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources._serial_protocol import (
    ErrorCode,
    Frame,
    FrameParser,
    FrameType,
    ProtocolError,
    answered_request,
    encode_data,
    encode_frame,
    encode_start,
    parse_data,
    parse_error,
    parse_started,
)
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources.serial_rig import PATIENCE_S, blocks, endless, info


class Host:
    """A port opened without our client: bytes out, frames in."""

    def __init__(self, port: str) -> None:
        self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self._parser = FrameParser()
        self._frames: list[Frame] = []

    def send(self, data: bytes) -> None:
        os.write(self.fd, data)

    def next(self) -> Frame:
        while not self._frames:
            assert select.select([self.fd], [], [], PATIENCE_S)[0], "the emulator says nothing"
            self._frames = self._parser.feed(os.read(self.fd, 65536))
        return self._frames.pop(0)

    def until(self, is_it: Callable[[Frame], bool]) -> list[Frame]:
        """The frames up to the first that is it, which comes last."""
        found = [self.next()]
        while not is_it(found[-1]):
            found.append(self.next())
        return found

    def is_silent(self) -> bool:
        return not self._frames and not select.select([self.fd], [], [], 0.1)[0]


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[SerialEmulator]:
    with SerialEmulator(info(4), endless(n_channels=4), tmp_path / "port") as emulator:
        yield emulator


@pytest.fixture
def host(emulator: SerialEmulator) -> Iterator[Host]:
    host = Host(emulator.port)
    yield host
    os.close(host.fd)


def is_type(kind: FrameType) -> Callable[[Frame], bool]:
    return lambda frame: frame.type == kind


def test_a_file_in_the_place_of_the_port_is_refused_and_kept(tmp_path: Path) -> None:
    recording, elsewhere = tmp_path / "a.nwb", tmp_path / "link"
    recording.write_bytes(b"a person's")
    elsewhere.symlink_to(recording)
    for place in (recording, elsewhere, tmp_path):
        with pytest.raises(NervehandError, match="exists already, and is no emulated port: choose another"):
            SerialEmulator(info(4), [], place).__enter__()
    assert recording.read_bytes() == b"a person's"
    assert elsewhere.is_symlink()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        NervehandError, match=r"no port can be put there \(No such file or directory\): choose"
    ):
        SerialEmulator(info(4), [], tmp_path / "nowhere" / "port").__enter__()


def test_an_emulator_keeps_its_place_until_it_ends(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "here")
    port = tmp_path / "here" / "port"
    with SerialEmulator(info(4), [], port):
        mine = os.readlink(port)
        with pytest.raises(NervehandError, match="port: another emulator serves there: end that one"):
            SerialEmulator(info(4), [], tmp_path / "there" / "port").__enter__()
        assert os.readlink(port) == mine
    assert not os.path.lexists(port)
    with SerialEmulator(info(4), [], port):
        assert os.path.lexists(port)


def test_the_link_of_an_emulator_that_was_killed_is_replaced(tmp_path: Path) -> None:
    port = tmp_path / "port"
    master, terminal = os.openpty()  # since then somebody else's has the number
    port.symlink_to(os.ttyname(terminal))
    with SerialEmulator(info(4), [], port):
        assert os.readlink(port) != os.ttyname(terminal)
    os.close(master)
    os.close(terminal)


def test_it_is_idle_until_it_is_asked(host: Host) -> None:
    assert host.is_silent()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (encode_frame(0x55, 9), ErrorCode.UNKNOWN_TYPE),
        (encode_frame(FrameType.STOP, 9, version=2), ErrorCode.UNKNOWN_VERSION),
        (encode_frame(FrameType.STOP, 9, b"x"), ErrorCode.MALFORMED),
        (encode_frame(FrameType.DESCRIBE, 9, b"x"), ErrorCode.MALFORMED),
        (encode_frame(FrameType.START, 9), ErrorCode.MALFORMED),
        (encode_start(9, 0), ErrorCode.MALFORMED),
    ],
)
def test_a_request_that_cannot_be_granted_is_refused_by_its_code(
    host: Host, request_: bytes, code: ErrorCode
) -> None:
    host.send(request_)
    frame = host.next()
    assert frame.type == FrameType.ERROR
    error = parse_error(frame.payload)
    assert (error.request, error.code) == (9, code)
    assert host.is_silent()


def test_a_damaged_request_is_not_answered_and_hides_none(host: Host) -> None:
    bad = bytearray(encode_start(1, 7))
    bad[-1] ^= 1
    host.send(bytes(bad) + b"NH" + encode_frame(FrameType.STOP, 2))
    assert answered_request(host.next()) == 2


def test_describe_is_answered_between_two_data_frames(host: Host) -> None:
    host.send(encode_start(1, 7))
    host.until(is_type(FrameType.DATA))
    host.send(encode_frame(FrameType.DESCRIBE, 2))
    host.until(is_type(FrameType.DESCRIPTION))
    assert host.next().type == FrameType.DATA


def test_start_while_streaming_ends_the_old_stream(host: Host) -> None:
    host.send(encode_start(1, 7))
    host.until(is_type(FrameType.DATA))
    host.send(encode_start(2, 8))
    started = host.until(is_type(FrameType.STARTED))[-1]
    data = [parse_data(host.next().payload) for _ in range(200)]
    assert {each.stream for each in data} == {8}
    assert data[0].first_sample == parse_started(started.payload).first_sample


def test_stopped_is_the_last_frame(host: Host) -> None:
    host.send(encode_start(1, 7))
    host.until(is_type(FrameType.DATA))
    host.send(encode_frame(FrameType.STOP, 2))
    host.until(is_type(FrameType.STOPPED))
    assert host.is_silent()


def test_every_frame_has_the_next_sequence(host: Host) -> None:
    host.send(encode_frame(FrameType.DESCRIBE, 5) + encode_start(6, 7))
    host.until(is_type(FrameType.DATA))
    host.send(encode_frame(FrameType.STOP, 8))
    frames = host.until(is_type(FrameType.STOPPED))
    host.send(encode_frame(FrameType.STOP, 9))
    assert [frame.sequence for frame in [*frames, host.next()]] == list(range(3, 4 + len(frames)))


def test_after_a_restart_it_is_idle_and_counts_from_zero(emulator: SerialEmulator, host: Host) -> None:
    host.send(encode_start(1, 7))
    host.until(is_type(FrameType.DATA))
    emulator.restart()
    host.send(encode_start(2, 8))
    started = host.until(is_type(FrameType.STARTED))[-1]  # behind what was sent before and lay on the way
    assert started.sequence == 0
    assert parse_started(started.payload).first_sample == 0
    assert parse_data(host.next().payload).first_sample == 0


def test_an_error_in_the_samples_given_to_it_is_raised_where_it_is_used(tmp_path: Path) -> None:
    def use() -> None:
        with SerialEmulator(
            info(4), [SignalBlock(np.zeros((3, 4), np.float32), 0)], tmp_path / "port"
        ) as emulator:
            host = Host(emulator.port)
            host.send(encode_start(1, 7))
            emulator.worker.finished.wait(PATIENCE_S)
            os.close(host.fd)

    with pytest.raises(ProtocolError, match="float32"):
        use()


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_speed_that_is_none_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(NervehandError, match="speed"):
        SerialEmulator(info(4), [], tmp_path / "port", speed=speed)


# The line


def sent_over(faults: LineFaults, seed: int, n: int = 400) -> tuple[BadLine, list[bytes], bytes]:
    line = BadLine(faults, seed, n_bad=n - 20)
    frames = [encode_data(k, 1, block) for k, block in enumerate(blocks(0, 10 * n, 10, 4))]
    return line, frames, b"".join(map(line, frames))


@pytest.mark.parametrize("name", ["hit", "dropped", "repeated", "swapped", "garbage", "bit_errors"])
def test_a_bad_line_remembers_exactly_what_it_did(name: str) -> None:
    share = 1e-3 if name == "bit_errors" else 0.2
    faults = LineFaults(**{name: share})
    line, frames, wire = sent_over(faults, seed=5)
    assert sent_over(faults, seed=5)[2] == wire != sent_over(faults, seed=6)[2]
    destroyed = {samples.start for samples in line.destroyed}
    assert destroyed == {carried(frame).start for frame in frames if frame not in wire}
    assert {samples.start for samples in line.repeated} == {
        carried(frame).start for frame in frames if wire.count(frame) > 1
    }
    order = [carried(frame).start for frame in sorted(set(frames) & set(wire_frames(wire)), key=wire.index)]
    assert len(line.late) == sum(b < a for a, b in itertools.pairwise(order))
    assert bool(line.destroyed) == (name in {"hit", "dropped", "bit_errors"})
    assert bool(line.late) == (name == "swapped")
    assert bool(line.repeated) == (name == "repeated")


def wire_frames(wire: bytes) -> list[bytes]:
    return [encode_frame(f.type, f.sequence, f.payload, f.version) for f in FrameParser().feed(wire)]


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(NervehandError, match=r"dropped is 1\.5"):
        LineFaults(dropped=1.5)
