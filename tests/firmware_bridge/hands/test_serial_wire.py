"""A serial port as a hand's wire, on a pseudo-terminal whose other end is the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hands._serial_wire import SerialWire
from firmware_bridge.hands._wire import CannotOpenError

PATIENCE_S = 30.0


@dataclass
class Terminal:
    """The hand's end of the line, and what came and ended at the client's."""

    end: int
    path: str
    came: bytearray = field(default_factory=bytearray)
    ended: int = 0

    def on_end(self) -> None:
        self.ended += 1

    async def opened(self) -> SerialWire:
        wire = SerialWire(self.path, 115200)
        await wire.open(self.came.extend, self.on_end)
        return wire


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    end, client = pty.openpty()
    tty.setraw(client)
    terminal = Terminal(end, os.ttyname(client))
    yield terminal
    os.close(client)
    with contextlib.suppress(OSError):  # a test has unplugged it
        os.close(end)


def run(story: Coroutine[object, object, None]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await story

    asyncio.run(within_time())


async def until(is_so: object) -> None:
    assert callable(is_so)
    while not is_so():
        await asyncio.sleep(0.001)


def test_bytes_go_both_ways_whole_and_in_order(terminal: Terminal) -> None:
    async def story() -> None:
        wire = await terminal.opened()
        assert not await wire.write(b"hello", wait=False), "nobody knows whether it was heard"
        assert not await wire.write(b" hand", wait=True)
        heard = b""
        while len(heard) < 10:
            heard += os.read(terminal.end, 100)
        assert heard == b"hello hand"
        os.write(terminal.end, b"well, ")
        os.write(terminal.end, b"hello")
        await until(lambda: bytes(terminal.came) == b"well, hello")
        assert wire.is_open
        await wire.close()
        assert not wire.is_open
        await wire.close()

    run(story())


def test_frames_that_a_full_port_does_not_take_at_once_follow_in_order(terminal: Terminal) -> None:
    frames = [bytes([i]) * 1000 for i in range(200)]

    async def story() -> None:
        wire = await terminal.opened()
        for frame in frames:
            await wire.write(frame, wait=False)
        heard = bytearray()

        async def listen() -> None:
            while len(heard) < 200_000:
                heard.extend(os.read(terminal.end, 4096))
                await asyncio.sleep(0)

        listening = asyncio.create_task(listen())
        await wire.write(b"", wait=True)
        await listening
        assert bytes(heard) == b"".join(frames)
        await wire.close()

    run(story())


def test_a_port_that_is_gone_is_said_at_once_and_nothing_more_can_be_written(terminal: Terminal) -> None:
    async def story() -> None:
        wire = await terminal.opened()
        os.close(terminal.end)
        await until(lambda: terminal.ended == 1)
        assert not wire.is_open
        assert terminal.path in wire.ending
        assert "is gone" in wire.ending
        with pytest.raises(LinkError, match="is gone"):
            await wire.write(b"hello", wait=False)
        await wire.close()

    run(story())


def test_a_port_is_for_one_program_alone(terminal: Terminal) -> None:
    async def story() -> None:
        wire = await terminal.opened()
        with pytest.raises(LinkError, match="another program has it open"):
            await terminal.opened()
        await wire.close()
        await (await terminal.opened()).close()

    run(story())


def test_a_port_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    wire = SerialWire(str(tmp_path / "ttyUSB7"), 115200)
    with pytest.raises(LinkError, match=r"ttyUSB7 does not open: No such file.*plug the hand in"):
        run(wire.open(lambda data: None, lambda: None))


@pytest.mark.parametrize(("kind", "said"), [("file", "is no serial port"), ("folder", "is a folder")])
def test_what_is_no_port_is_said_to_be_none(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / "thing"
    if kind == "file":
        path.touch()
    else:
        path.mkdir()
    with pytest.raises(CannotOpenError, match=f"thing does not open: .*it {said}.*/dev/serial/by-id"):
        run(SerialWire(str(path), 115200).open(lambda data: None, lambda: None))


def test_a_port_that_cannot_switch_the_direction_says_so(terminal: Terminal) -> None:
    with pytest.raises(NervehandError, match="cannot switch its direction for RS485"):
        run(SerialWire(terminal.path, 115200, is_rs485=True).open(lambda data: None, lambda: None))
    run(SerialWire(terminal.path, 115200).open(lambda data: None, lambda: None))


def test_writing_to_a_port_that_was_never_opened_is_an_error() -> None:
    with pytest.raises(LinkError, match="is not open"):
        run(_written(SerialWire("/dev/ttyUSB7", 115200)))


async def _written(wire: SerialWire) -> None:
    await wire.write(b"x", wait=False)
