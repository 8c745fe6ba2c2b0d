"""The serial line: every bit as sent, as fast as it goes; and on a bad line every good frame, every loss counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.emulators.serial_line import BadLine, LineFaults
from firmware_bridge.sources.serial import SerialDevice
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources import patterned, serial_rig
from tests.proof.plugin import Proof

N_CHANNELS = 16
FRAME = 32
"""Samples of a frame: 3.2 ms."""


class Sent:
    """The samples and lines that a device sends, from index `first` on, all held in memory."""

    def __init__(self, first: int, n_samples: int) -> None:
        self.first = first
        self.samples = patterned.samples(first, n_samples, N_CHANNELS)
        self.digital = patterned.digital(first, n_samples)

    def frames(self) -> Iterator[SignalBlock]:
        for at in range(0, len(self.samples), FRAME):
            rows = slice(at, at + FRAME)
            yield SignalBlock(
                self.samples[rows], self.first + at, scale_uv=serial_rig.SCALE_UV, digital=self.digital[rows]
            )

    def is_same(self, block: SignalBlock) -> bool:
        at = block.first_sample - self.first
        rows = slice(at, at + block.n_samples)
        lines_are = block.digital is not None and np.array_equal(block.digital, self.digital[rows])
        return lines_are and np.array_equal(block.samples, self.samples[rows])


@pytest.mark.proof
def test_ten_million_values_over_a_pseudo_terminal_are_bit_identical(proof: Proof, tmp_path: Path) -> None:
    """Flow-controlled: as fast as the host reads."""
    n_samples = -(-proof.count(10_000_000) // N_CHANNELS // FRAME) * FRAME
    first = proof.seed * 1_000_003
    sent = Sent(first, n_samples)
    with SerialEmulator(serial_rig.info(N_CHANNELS), sent.frames(), tmp_path / "port") as emulator:
        device = serial_rig.patient(emulator.port, N_CHANNELS)
        device.connect()
        n, begun_s, begun_cpu_s = 0, time.perf_counter(), time.thread_time()
        for block in device.blocks():
            assert block.first_sample == first + n
            assert sent.is_same(block)
            n += block.n_samples
            if n >= n_samples:
                break
        seconds, cpu_s = time.perf_counter() - begun_s, time.thread_time() - begun_cpu_s
        device.close()
    assert n == n_samples
    counters = device.counters
    assert (counters.lost_samples, counters.repeated_samples, counters.missing_frames) == (0, 0, 0)
    assert (counters.bad_frames, counters.skipped_bytes) == (0, 0)
    proof.record(
        values=n * N_CHANNELS,
        lost=0,
        seconds=round(seconds, 2),
        million_values_per_s=round(n * N_CHANNELS / seconds / 1e6, 2),
        reader_cpu_s=round(cpu_s, 2),
    )


@pytest.mark.proof
@pytest.mark.parametrize(
    "faults",
    [
        LineFaults(hit=0.01),
        LineFaults(bit_errors=1e-5),
        LineFaults(hit=0.01, garbage=0.01, dropped=0.01, repeated=0.01, swapped=0.01, bit_errors=1e-5),
    ],
    ids=["one frame in a hundred hit", "one bit in 100000 wrong", "every fault at once"],
)
def test_every_good_frame_is_delivered_and_every_lost_sample_counted(
    proof: Proof, tmp_path: Path, faults: LineFaults
) -> None:
    """Against what the line remembers of each frame; the last frames go over a good line, to show the last loss."""
    n_frames = proof.count(50_000, least=2500)
    n_samples = (n_frames + 10) * FRAME
    line = BadLine(faults, proof.seed, n_bad=n_frames)
    info, sent = serial_rig.info(N_CHANNELS), Sent(0, n_samples)
    with SerialEmulator(info, sent.frames(), tmp_path / "port", line=line) as emulator:
        # An answer that is hit is asked for again.
        device = SerialDevice(emulator.port, info, stall_s=serial_rig.PATIENCE_S, answer_s=30.0)
        device.connect()
        delivered = np.zeros(n_samples, np.uint8)
        lost = last = 0
        for block in device.blocks():
            assert sent.is_same(block)
            assert block.first_sample == last + block.lost_before
            last = block.first_sample + block.n_samples
            delivered[block.first_sample : last] += 1
            lost += block.lost_before
            if last == n_samples:
                break
        device.close()

    gone = np.zeros(n_samples, np.uint8)
    for samples in (*line.destroyed, *line.late):
        gone[samples.start : samples.stop] += 1
    assert line.n_frames == n_frames + 10
    assert line.destroyed
    np.testing.assert_array_equal(delivered, 1 - gone)
    counters = device.counters
    assert counters.lost_samples == lost == gone.sum()
    assert counters.missing_frames == len(line.destroyed) + len(line.late)
    assert counters.repeated_samples == sum(map(len, (*line.repeated, *line.late)))
    assert counters.device_lost_samples == counters.stale_frames == 0
    proof.record(
        frames=n_frames,
        destroyed=len(line.destroyed),
        lengths_hit=line.n_lengths_hit,
        late=len(line.late),
        delivered_frames=int(delivered.sum()) // FRAME - 10,
        lost_samples=lost,
        good_frames_not_delivered=0,
        bad_frames_accepted=0,
    )
