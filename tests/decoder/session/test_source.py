"""A session as a source: its own samples pace it, and it ends when it is closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decoder.session import Session
from decoder.session.digital import DigitalLines
from decoder.session.source import SessionSource
from firmware_bridge.errors import NervehandError
from tests.closing import blocks_until_closed


def test_the_blocks_are_the_session_and_come_when_they_are_due(session: Session) -> None:
    now_ns = 5

    def wait(seconds: float) -> bool:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)
        return False

    source = SessionSource(session, 200, n_samples=500, clock_ns=lambda: now_ns, wait=wait)
    source.connect()
    blocks = list(source.blocks())
    assert [block.first_sample for block in blocks] == [100, 300, 400]  # 350 to 399 were lost
    assert [block.n_samples for block in blocks] == [200, 50, 200]
    assert [block.arrival_ns for block in blocks] == [200_000_005, 250_000_005, 500_000_005]
    assert np.array_equal(blocks[0].samples, session.signal[0:200])


def test_it_delivers_nothing_before_it_is_connected_or_after_it_is_closed(session: Session) -> None:
    source = SessionSource(session, 200, is_paced=False)
    assert list(source.blocks()) == []
    source.connect()
    blocks = source.blocks()
    next(blocks)
    source.close()
    assert list(blocks) == []
    source.connect()
    assert sum(block.n_samples for block in source.blocks()) == 850


def test_closing_it_ends_a_wait_for_the_next_block(session: Session) -> None:
    assert blocks_until_closed(lambda clock: SessionSource(session, 200, clock_ns=clock)) == []


@pytest.mark.parametrize("closed", [True, False])
def test_a_wait_that_was_cut_short_delivers_no_block_early(session: Session, closed: bool) -> None:
    source = SessionSource(session, 300, clock_ns=lambda: 0, wait=lambda seconds: closed)
    source.connect()
    assert len(list(source.blocks())) == (0 if closed else 3)


@pytest.mark.parametrize("first_sample", [100, 101, 299, 300, 349, 375, 400, 999])
def test_it_begins_at_any_sample_and_delivers_the_same_samples_from_there_on(
    session: Session, first_sample: int
) -> None:
    def delivered(source: SessionSource) -> dict[int, bytes]:
        source.connect()
        return {
            block.first_sample + i: row.tobytes()
            for block in source.blocks()
            for i, row in enumerate(block.samples)
        }

    everything = delivered(SessionSource(session, 200, is_paced=False))
    expected = {index: row for index, row in everything.items() if index >= first_sample}
    assert delivered(SessionSource(session, 200, is_paced=False, first_sample=first_sample)) == expected
    sought = SessionSource(session, 200, is_paced=False)
    delivered(sought)
    sought.seek(first_sample)
    assert sought.n_samples == 1000 - first_sample
    assert delivered(sought) == expected
    sought.seek(100)
    assert delivered(sought) == everything


def test_a_seek_leaves_the_iteration_under_way_alone_and_counts_its_samples_from_where_it_begins(
    session: Session,
) -> None:
    source = SessionSource(session, 200, is_paced=False, n_samples=300)
    source.connect()
    under_way = source.blocks()
    next(under_way)
    source.seek(320)
    assert [block.first_sample for block in under_way] == [
        300
    ]  # 100 to 399, without 350 to 399, which were lost
    found = list(source.blocks())
    assert [(b.first_sample, b.n_samples, b.lost_before) for b in found] == [
        (320, 30, 0),
        (400, 200, 50),
        (600, 20, 0),
    ]


def test_a_session_that_is_sought_is_paced_from_there(session: Session) -> None:
    waited: list[float] = []
    source = SessionSource(
        session, 200, clock_ns=lambda: 0, wait=lambda s: waited.append(s) or False, first_sample=800
    )
    source.connect()
    assert sum(block.n_samples for block in source.blocks()) == 200
    assert max(waited) == pytest.approx(200 / session.info.rate_hz)


@pytest.mark.parametrize("sample_index", [-1, 99, 1000])
def test_a_sample_outside_the_session_is_refused(session: Session, sample_index: int) -> None:
    with pytest.raises(NervehandError, match=f"{sample_index} is not in the session"):
        SessionSource(session, 200).seek(sample_index)


def test_digital_lines_come_with_their_samples_from_wherever_it_begins(session: Session) -> None:
    lines = DigitalLines(np.array([150, 420]), np.array([1, 4], np.uint32))
    with_lines = replace(session, digital=lines)
    source = SessionSource(with_lines, 64, is_paced=False, first_sample=200, n_samples=300)
    source.connect()
    found = {
        block.first_sample + i: int(value)
        for block in source.blocks()
        if block.digital is not None
        for i, value in enumerate(block.digital)
    }
    received = [index for index in range(200, 500) if not 350 <= index < 400]
    assert found == {index: 1 if index < 420 else 4 for index in received}
