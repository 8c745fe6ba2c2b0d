"""Training streams: trial pieces laid end to end in fresh random orders, cut into chunks whose state is carried."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.datasets import Piece
from calibration.running import UNSCORED_AFTER_RESET_S
from firmware_bridge.errors import NervehandError

UNSCORED_S = 0.02
"""After a splice. No longer: a decoder that is not taught to leave the last movement behind does so late."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next `t` hops of `b` streams.

    `rows` (t, b) int64 into the feature stream; `scored` (t, b) bool; `fresh` (b,) bool, True where the stream
    begins from the reset state.
    """

    rows: NDArray[np.int64]
    scored: NDArray[np.bool_]
    fresh: NDArray[np.bool_]


@dataclass(slots=True)
class _Stream:
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scored: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))


class ShuffledStreams:
    """`n_streams` endless streams of pieces; every piece comes once before any comes again.

    Where all pieces are unconnected, each begins from the reset state, and what is left of its last chunk
    repeats its last hop, unscored.
    """

    def __init__(
        self, pieces: Sequence[Piece], n_streams: int, n_hops: int, hop_s: float, rng: np.random.Generator
    ) -> None:
        self._pieces = [piece for piece in pieces if len(piece)]
        if not self._pieces:
            raise NervehandError("no trial is left to learn from: record some, or choose other repetitions")
        self._n_hops, self._rng = n_hops, rng
        self._unconnected = all(piece.alone for piece in self._pieces)
        self._after_splice = int(np.ceil(UNSCORED_S / hop_s - 1e-9))
        self._after_reset = int(np.ceil(UNSCORED_AFTER_RESET_S / hop_s - 1e-9))
        self._waiting: deque[Piece] = deque()
        self._streams = [_Stream() for _ in range(n_streams)]
        for stream in self._streams:
            self._begin_anywhere(stream)

    def next_chunk(self) -> Chunk:
        """The next hops of every stream."""
        t, b = self._n_hops, len(self._streams)
        chunk = Chunk(np.empty((t, b), np.int64), np.empty((t, b), np.bool_), np.zeros(b, np.bool_))
        for i, stream in enumerate(self._streams):
            chunk.fresh[i] = self._fill(stream)
            chunk.rows[:, i], chunk.scored[:, i] = stream.rows[:t], stream.scored[:t]
            stream.rows, stream.scored = stream.rows[t:], stream.scored[t:]
        return chunk

    def _fill(self, stream: _Stream) -> bool:
        """Make the stream at least a chunk long; whether it begins from the reset state."""
        fresh = self._unconnected and not len(stream.rows)
        if fresh:
            piece = self._next_piece()
            stream.rows, stream.scored = self._of(piece, self._after_reset)
        while len(stream.rows) < self._n_hops:
            if self._unconnected:
                missing = self._n_hops - len(stream.rows)
                rows, scored = np.repeat(stream.rows[-1:], missing), np.zeros(missing, np.bool_)
            else:
                rows, scored = self._of(self._next_piece(), self._after_splice)
            stream.rows = np.concatenate([stream.rows, rows])
            stream.scored = np.concatenate([stream.scored, scored])
        return fresh

    def _begin_anywhere(self, stream: _Stream) -> None:
        """Somewhere within a piece, so that the streams do not all begin with rest."""
        piece = self._next_piece()
        if not self._unconnected:
            rows, scored = self._of(piece, self._after_splice)
            start = int(self._rng.integers(len(piece)))
            stream.rows, stream.scored = rows[start:], scored[start:]

    def _of(self, piece: Piece, unscored: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return np.arange(piece.start, piece.stop), np.arange(len(piece)) >= unscored

    def _next_piece(self) -> Piece:
        if not self._waiting:
            self._waiting.extend(self._pieces[i] for i in self._rng.permutation(len(self._pieces)))
        return self._waiting.popleft()
