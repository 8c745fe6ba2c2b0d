"""What a supervised front-end does about a device that misbehaves, over real transports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware_bridge.emulators.intan import IntanEmulator
from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.errors import LinkError, StreamMismatchError
from firmware_bridge.sources import intan
from firmware_bridge.sources._hosts import split_host
from firmware_bridge.sources.intan import IntanDevice
from firmware_bridge.sources.serial import SerialDevice
from firmware_bridge.supervised import SourceEvent, SupervisedSource
from tests.firmware_bridge.sources import patterned

LIMIT_S = 240.0
PATIENCE_S = 60.0
"""For a machine that does nothing else for seconds: a device under test is not called silent before."""


@contextmanager
def closed_in_the_end(source: SupervisedSource) -> Iterator[None]:
    """So that a stream that does not end by itself fails a test instead of hanging it."""
    timer = threading.Timer(LIMIT_S, source.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        source.close()


@contextmanager
def serial_port(folder: Path) -> Iterator[tuple[SerialDevice, SerialEmulator]]:
    info = patterned.info(4, 2000.0)
    with SerialEmulator(info, patterned.blocks(None, 4, 20), folder / "port", speed=1.0) as emulator:
        yield SerialDevice(emulator.port, info, stall_s=PATIENCE_S, answer_s=PATIENCE_S), emulator


def kinds_until_mismatch(
    source: SupervisedSource, events: list[SourceEvent], misbehave: Callable[[], None]
) -> list[str]:
    """The events of a stream that must end with a mismatch; it misbehaves from its fifth block on."""

    def take_all() -> None:
        for number, _ in enumerate(source.blocks()):
            if number == 5:
                misbehave()

    source.connect()
    with closed_in_the_end(source), pytest.raises(StreamMismatchError):
        take_all()
    return [event.kind for event in events]


def test_a_serial_device_at_twice_the_rate_is_said_and_ends_the_stream(tmp_path: Path) -> None:
    events: list[SourceEvent] = []
    with serial_port(tmp_path) as (device, emulator):
        source = SupervisedSource(device, events.append, rate_window_s=1.0)
        kinds = kinds_until_mismatch(source, events, lambda: emulator.set_speed(2.0))
    assert kinds[-1] == "rate"
    assert "not at 2000 Hz" in events[-1].text


def test_a_serial_device_with_other_channels_is_lost_and_found_to_be_another(tmp_path: Path) -> None:
    events: list[SourceEvent] = []
    with serial_port(tmp_path) as (device, emulator):
        source = SupervisedSource(device, events.append)
        kinds = kinds_until_mismatch(source, events, lambda: emulator.set_channels(3))
    assert kinds[-2:] == ["lost", "mismatch"]


def test_rhx_with_other_outputs_is_lost_and_found_to_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intan, "TIMEOUT_S", PATIENCE_S)
    events: list[SourceEvent] = []
    with IntanEmulator(patterned.info(4), patterned.blocks(None, 4), is_paced=True) as rhx:
        info = intan.open_device(rhx.address).info
        device = IntanDevice(*split_host(rhx.address, 5000, ""), info, PATIENCE_S, PATIENCE_S)
        source = SupervisedSource(device, events.append)
        kinds = kinds_until_mismatch(source, events, lambda: rhx.enable({"A-000|", "A-001|"}))
        device.release()
    assert kinds[-2:] == ["lost", "mismatch"]


def test_frames_that_come_twice_or_not_at_all_are_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    events: list[SourceEvent] = []
    with serial_port(tmp_path) as (device, emulator):
        source = SupervisedSource(device, events.append)
        source.connect()
        expected: int | None = None
        with closed_in_the_end(source):
            for number, block in enumerate(source.blocks()):
                assert patterned.is_intact(block.samples)
                assert expected is None or block.first_sample == expected + block.lost_before
                expected = block.first_sample + block.n_samples
                if number == 5:
                    emulator.repeat_frames(3)
                if number == 15:
                    emulator.skip_frames(2)
                if source.counters.lost_samples >= 40 and source.counters.repeated_samples >= 60:
                    break
        assert source.counters.repeated_samples == 60
        assert source.counters.lost_samples >= 40


def test_a_port_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    source = SupervisedSource(SerialDevice(str(tmp_path / "none"), patterned.info(4)), [].append)
    with pytest.raises(LinkError):
        source.connect()
