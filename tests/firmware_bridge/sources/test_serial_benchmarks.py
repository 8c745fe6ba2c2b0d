"""What the serial protocol costs. No time is asserted here: run with --benchmark-only to see the figures."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from firmware_bridge.sources._serial_protocol import MAGIC, FrameParser, encode_data, parse_data
from tests.firmware_bridge.sources import serial_rig

GULP = 4095
"""Bytes that a terminal's read gives at most under Linux."""


@pytest.mark.parametrize("frame_samples", [10, 20, 100])
def test_parse_one_second_of_16_channels_at_10_khz(benchmark: BenchmarkFixture, frame_samples: int) -> None:
    frames = serial_rig.blocks(0, 10_000, frame_samples)
    data = b"".join(encode_data(k, 1, block, 4) for k, block in enumerate(frames))

    def parse() -> int:
        parser = FrameParser()
        return sum(
            len(parse_data(frame.payload).samples)
            for at in range(0, len(data), GULP)
            for frame in parser.feed(data[at : at + GULP])
        )

    assert benchmark(parse) == 10_000


@pytest.mark.parametrize("unit", [bytes(range(256)), MAGIC], ids=["garbage", "false magics"])
def test_search_100_kb_that_hold_no_frame(benchmark: BenchmarkFixture, unit: bytes) -> None:
    data = unit * (100_000 // len(unit))

    def search() -> int:
        parser = FrameParser()
        return sum(len(parser.feed(data[at : at + GULP])) for at in range(0, len(data), GULP))

    assert benchmark(search) == 0
