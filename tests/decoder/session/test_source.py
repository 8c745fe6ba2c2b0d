"""A session as a source: its own samples pace it, and it ends when it is closed."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.session import Session
from decoder.session.source import SessionSource
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
