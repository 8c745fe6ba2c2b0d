"""Digital lines: kept as changes, given back as they were, through a recording, a recovery and a replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from decoder.session import Header, Session, SessionWriter, read_session, recover, write_session
from decoder.session.digital import DigitalLines, changes
from decoder.session.model import iter_blocks
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo

FIRST, BLOCK, N = 40, 50, 400


@pytest.fixture
def header(info: StreamInfo, session: Session) -> Header:
    return Header(replace(info, stimulation_lines=(0, 31)), session.meta, "int16", 0.195, first_sample=FIRST)


def lines() -> NDArray[np.uint32]:
    values = np.zeros(N, np.uint32)
    values[10:30], values[99:101], values[200:] = 1, 1 << 31, 5
    return values


def record(writer: SessionWriter, skip: int = -1) -> None:
    for i, a in enumerate(range(0, N, BLOCK)):
        if i != skip:
            samples = np.full((BLOCK, 3), i, np.int16)
            writer.append(SignalBlock(samples, FIRST + a, scale_uv=0.195, digital=lines()[a : a + BLOCK]))


def given_back(session: Session, block_samples: int) -> NDArray[np.uint32]:
    return np.concatenate([block.digital for block in iter_blocks(session, block_samples)])


@pytest.mark.parametrize("signal_only", [False, True])
def test_a_recording_gives_its_lines_back_in_any_blocks(
    header: Header, tmp_path: Path, signal_only: bool
) -> None:
    path = tmp_path / "s.nwb"
    with SessionWriter(path, header) as writer:
        record(writer)
    session = read_session(path, signal_only=signal_only)
    assert session.info.stimulation_lines == (0, 31)
    assert session.digital is not None
    assert len(session.digital.lines) == 6
    for block_samples in (1, 7, N):
        np.testing.assert_array_equal(given_back(session, block_samples), lines())


def test_lines_after_a_gap_and_in_a_copy_are_as_they_were(header: Header, tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "s.nwb", header) as writer:
        record(writer, skip=3)
    write_session(read_session(tmp_path / "s.nwb"), tmp_path / "again.nwb")
    received = np.delete(lines(), np.arange(3 * BLOCK, 4 * BLOCK))
    np.testing.assert_array_equal(given_back(read_session(tmp_path / "again.nwb"), 64), received)


def test_a_recording_that_was_killed_gives_back_the_lines_that_were_flushed(
    header: Header, tmp_path: Path
) -> None:
    writer = SessionWriter(tmp_path / "s.nwb", header)
    record(writer)
    writer.flush()
    recovered = recover(tmp_path / "s.nwb", tmp_path / "r.nwb")
    np.testing.assert_array_equal(given_back(read_session(recovered.path), 64), lines())
    writer.close()


def test_a_front_end_without_lines_leaves_none(header: Header, tmp_path: Path) -> None:
    with SessionWriter(tmp_path / "s.nwb", header) as writer:
        writer.append(SignalBlock(np.zeros((BLOCK, 3), np.int16), FIRST, scale_uv=0.195))
    session = read_session(tmp_path / "s.nwb")
    assert session.digital is None
    assert next(iter_blocks(session, BLOCK)).digital is None


def test_lines_of_another_length_are_refused(header: Header, tmp_path: Path) -> None:
    block = SignalBlock(np.zeros((BLOCK, 3), np.int16), FIRST, scale_uv=0.195, digital=np.zeros(9, np.uint32))
    with SessionWriter(tmp_path / "s.nwb", header) as writer:
        with pytest.raises(NervehandError, match="one value per sample"):
            writer.append(block)
        record(writer)


@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=60), first=st.integers(0, 100))
def test_changes_say_what_every_sample_had(values: list[int], first: int) -> None:
    digital = np.array(values, np.uint32)
    kept = DigitalLines(*changes(digital, first, None))
    np.testing.assert_array_equal(kept.at(first, len(digital)), digital)
    for a in range(0, len(digital), 7):
        np.testing.assert_array_equal(kept.at(first + a, len(digital) - a), digital[a:])
    assert kept.at(0, first).tolist() == [0] * first
    assert kept.at(first + len(digital) + 5, 2).tolist() == [values[-1]] * 2


def test_changes_out_of_order_are_refused() -> None:
    with pytest.raises(NervehandError, match="out of order"):
        DigitalLines(np.array([5, 5]), np.array([1, 2], np.uint32))
