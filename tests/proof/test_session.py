"""A session's file: what is written is what its source delivers, at any block length, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decoder.session import Gap, Header, Session, SessionMeta, SessionWriter, read_session, write_session
from decoder.session.source import SessionSource
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.proof.plugin import Proof

N_CHANNELS = 16
SCALE_UV = 0.195
INFO = StreamInfo(10_000.0, tuple(f"ch{i:02d}" for i in range(N_CHANNELS)), "nerve")


def any_bits(dtype: str, n_samples: int, seed: int) -> NDArray[np.int16] | NDArray[np.float32]:
    """Values of any bits: for float32 also infinities and every kind of NaN."""
    n_bytes = n_samples * N_CHANNELS * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(seed).bytes(n_bytes), dtype).reshape(n_samples, N_CHANNELS)


@dataclass(frozen=True)
class Delivered:
    """What a source delivered of a signal: values, those with other bits, and the samples that it said were lost."""

    values: int
    different: int
    lost: tuple[Gap, ...]


def delivered(session: Session, block_samples: int, signal: NDArray[np.generic]) -> Delivered:
    """Everything that the session's source delivers, in order, against `signal`, whose row 0 is its first sample."""
    source = SessionSource(session, block_samples, is_paced=False)
    source.connect()
    bits, first = np.dtype(f"u{signal.dtype.itemsize}"), session.first_sample
    at, values, different = first, 0, 0
    lost: list[Gap] = []
    for block in source.blocks():
        assert block.samples.dtype == signal.dtype
        assert block.first_sample == at + block.lost_before
        if block.lost_before:
            lost.append(Gap(at, block.first_sample))
        at = block.first_sample + block.n_samples
        rows = signal[block.first_sample - first : at - first]
        different += int(np.count_nonzero(block.samples.view(bits) != rows.view(bits)))
        values += rows.size
    assert at == first + signal.shape[0]
    return Delivered(values, different, tuple(lost))


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_ten_million_values_written_and_read_back_are_bit_identical(
    proof: Proof, dtype: str, tmp_path: Path
) -> None:
    n_samples, first = -(-proof.count(10_000_000) // N_CHANNELS), 12_345
    signal = any_bits(dtype, n_samples, proof.seed)
    session = Session(INFO, SessionMeta("proof"), signal, SCALE_UV if dtype == "int16" else 1.0, first)
    write_session(session, tmp_path / "proof.nwb")
    found = delivered(read_session(tmp_path / "proof.nwb"), 97, signal)
    proof.record(values=found.values, different=found.different, lost=len(found.lost))
    assert found == Delivered(signal.size, 0, ())


def test_ten_million_values_recorded_in_any_blocks_with_gaps_are_read_back(
    proof: Proof, tmp_path: Path
) -> None:
    n_samples, first = -(-proof.count(10_000_000) // N_CHANNELS), 500
    signal = any_bits("int16", n_samples, proof.seed)
    random = np.random.default_rng(proof.seed)
    header = Header(INFO, SessionMeta("proof"), "int16", SCALE_UV, first)
    gaps: list[Gap] = []
    at = n_lost = 0
    with SessionWriter(tmp_path / "proof.nwb", header) as recorder:
        while at < n_samples:
            lost = int(random.integers(1, 400)) if at and random.random() < 0.02 else 0
            if lost and at + lost < n_samples:
                gaps.append(Gap(first + at, first + at + lost))
                n_lost += lost
                at += lost
            n = min(int(random.integers(1, 500)), n_samples - at)
            recorder.append(SignalBlock(signal[at : at + n], first + at, scale_uv=SCALE_UV))
            at += n
    session = read_session(tmp_path / "proof.nwb")
    found = delivered(session, 100, signal)
    proof.record(
        values=found.values, different=found.different, gaps_made=len(gaps), gaps_said=len(found.lost)
    )
    assert found == Delivered((n_samples - n_lost) * N_CHANNELS, 0, tuple(gaps))
