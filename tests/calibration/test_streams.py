"""Training streams: whole pieces in fresh orders, carried across chunks, unscored after a splice or a reset."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calibration.datasets import Piece
from calibration.streams import Chunk, ShuffledStreams

HOP_S = 0.02
AFTER_SPLICE = 1  # hop: 0.02 s


def some_pieces(lengths: list[int], *, alone: bool = False) -> list[Piece]:
    """Pieces side by side, with a gap of 3 hops between them that nobody may train on."""
    starts = np.cumsum([0, *(n + 3 for n in lengths[:-1])])
    return [
        Piece(int(a), int(a) + n, i, 1, 1, i if alone else 0, alone)
        for i, (a, n) in enumerate(zip(starts, lengths, strict=True))
    ]


def streams(pieces: list[Piece], n_streams: int = 2, n_hops: int = 32, seed: int = 0) -> ShuffledStreams:
    return ShuffledStreams(pieces, n_streams, n_hops, HOP_S, np.random.default_rng(seed))


def one_stream(chunks: list[Chunk], stream: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([c.rows[:, stream] for c in chunks])
    return rows, np.concatenate([c.scored[:, stream] for c in chunks])


@given(st.lists(st.integers(12, 90), min_size=2, max_size=6), st.integers(0, 100))
def test_a_stream_runs_through_pieces_and_scores_nothing_just_after_a_splice(
    lengths: list[int], seed: int
) -> None:
    pieces = some_pieces(lengths)
    found = streams(pieces, seed=seed)
    chunks = [found.next_chunk() for _ in range(6)]
    starts = {p.start for p in pieces}
    inside = {row for p in pieces for row in range(p.start, p.stop)}
    for i in range(2):
        rows, scored = one_stream(chunks, i)
        assert set(rows.tolist()) <= inside
        splices = np.flatnonzero(np.diff(rows) != 1) + 1
        assert all(rows[at] in starts for at in splices)
        for at in splices:
            assert not scored[at : at + AFTER_SPLICE].any()


def test_connected_streams_never_begin_anew_once_they_run() -> None:
    found = streams(some_pieces([200, 210, 220]), n_streams=8)
    assert not any(found.next_chunk().fresh.any() for _ in range(60))


def test_every_piece_comes_once_before_any_comes_again() -> None:
    pieces = some_pieces([40] * 12)
    found = streams(pieces, n_streams=1, n_hops=40, seed=3)
    begun: list[int] = []
    for _ in range(40):
        chunk = found.next_chunk()
        begun += [int(row) for row in chunk.rows[:, 0] if row % 43 == 0]
    first, second = begun[:11], begun[11:23]  # the first piece was entered in its middle
    assert len(set(first)) == 11
    assert len(set(second)) == 12
    assert first != second[:11]


def test_unconnected_pieces_each_begin_from_the_reset_state_and_are_never_joined() -> None:
    pieces = some_pieces([75, 75, 75, 75], alone=True)
    found = streams(pieces, n_streams=3)
    for _ in range(20):
        chunk = found.next_chunk()
        for i in range(3):
            steps = np.diff(chunk.rows[:, i])
            assert set(steps.tolist()) <= {0, 1}  # 0: the last hop again, where the piece is over
            assert not chunk.scored[1:, i][steps == 0].any()
            assert chunk.fresh[i] == (chunk.rows[0, i] in {p.start for p in pieces})


def test_a_seed_decides_the_order() -> None:
    pieces = some_pieces([50, 60, 70, 80])
    a, b, c = (streams(pieces, seed=seed).next_chunk().rows for seed in (5, 5, 6))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
