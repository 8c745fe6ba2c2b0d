"""A session's file: what is written is what its source delivers, at any block length, bit for bit."""

from __future__ import annotations

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


def assert_delivered(
    session: Session, block_samples: int, first: int, signal: NDArray[np.generic], lost: tuple[Gap, ...] = ()
) -> None:
    """The source delivers exactly `signal`, whose row 0 is sample `first`, less the samples that were lost."""
    source = SessionSource(session, block_samples, is_paced=False)
    source.connect()
    at, gaps = first, list(lost)
    for block in source.blocks():
        gap = 0
        while gaps and gaps[0].start == at:
            gap += gaps[0].stop - at
            at = gaps.pop(0).stop
        assert (block.first_sample, block.lost_before) == (at, gap)
        assert block.samples.dtype == signal.dtype
        rows = signal[at - first : at - first + block.n_samples]
        assert block.samples.tobytes() == rows.tobytes()
        at += block.n_samples
    assert at == first + signal.shape[0]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_ten_million_values_written_and_read_back_are_bit_identical(
    proof: Proof, dtype: str, tmp_path: Path
) -> None:
    n_samples, first = -(-proof.count(10_000_000) // N_CHANNELS), 12_345
    signal = any_bits(dtype, n_samples, proof.seed)
    session = Session(INFO, SessionMeta("proof"), signal, SCALE_UV if dtype == "int16" else 1.0, first)
    write_session(session, tmp_path / "proof.nwb")
    assert_delivered(read_session(tmp_path / "proof.nwb"), 97, first, signal)
    proof.record(values=signal.size, lost=0, different=0)


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
    assert_delivered(session, 100, first, signal, tuple(gaps))
    proof.record(values=(n_samples - n_lost) * N_CHANNELS, gaps=len(gaps), lost=0, different=0)
