"""How a stream is cut into blocks must not matter: one helper for every stage, and for the whole chain."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Arrays = tuple[NDArray[Any], ...]
Step = Callable[..., Arrays]
"""step(*pieces, first): the pieces of the input arrays that begin at absolute index `first`, to output rows."""

BLOCKS = (1, 7, 64, 1000)


def regular_cuts(n: int) -> list[list[int]]:
    """Everything at once, blocks of 1, 7, 64 and 1000, and blocks of 64 with empty ones between."""
    cuts: list[list[int]] = [[]]
    cuts += [list(range(size, n, size)) for size in BLOCKS]
    cuts.append([cut for cut in range(0, n + 1, 64) for _ in range(2)])
    return cuts


def random_cuts(n: int, at_most: int = 12) -> st.SearchStrategy[list[int]]:
    """Cut positions in ascending order; equal ones make empty blocks."""
    return st.lists(st.integers(0, n), max_size=at_most).map(sorted)


def in_blocks(step: Step, arrays: Sequence[NDArray[Any]], cuts: Sequence[int], first: int = 0) -> Arrays:
    """Feed the arrays' rows block by block; concatenate what comes out, copied before the next block."""
    edges = [0, *cuts, len(arrays[0])]
    outputs: list[Arrays] = []
    for begin, end in itertools.pairwise(edges):
        pieces = [array[begin:end] for array in arrays]
        kept = [piece.copy() for piece in pieces]
        outputs.append(tuple(np.array(output) for output in step(*pieces, first + begin)))
        for piece, before in zip(pieces, kept, strict=True):
            assert piece.tobytes() == before.tobytes(), "the stage changed its input"
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def assert_same_bits(actual: Arrays, expected: Arrays, cuts: Sequence[int]) -> None:
    for number, (a, e) in enumerate(zip(actual, expected, strict=True)):
        where = f"output {number}, {len(cuts)} cuts, the first at {list(cuts[:5])}"
        assert a.dtype == e.dtype, where
        assert a.shape == e.shape, f"{where}: shapes {a.shape} and {e.shape}"
        assert a.tobytes() == e.tobytes(), f"{where}: values differ"


def assert_any_cut(make: Callable[[], Step], arrays: Sequence[NDArray[Any]], first: int = 0) -> None:
    """A fresh stage gives the same bits for every regular cutting, and leaves its input alone."""
    whole = in_blocks(make(), arrays, [], first)
    for cuts in regular_cuts(len(arrays[0])):
        assert_same_bits(in_blocks(make(), arrays, cuts, first), whole, cuts)


def assert_cut(
    make: Callable[[], Step], arrays: Sequence[NDArray[Any]], cuts: Sequence[int], first: int = 0
) -> None:
    """The same for one cutting: what a property test draws."""
    assert_same_bits(in_blocks(make(), arrays, cuts, first), in_blocks(make(), arrays, [], first), cuts)
