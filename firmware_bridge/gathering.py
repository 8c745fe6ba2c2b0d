"""Blocks that complete no hop wait for the one that does: a decoder's answers are the same, and cost less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from firmware_bridge.stream import SignalBlock


class Gathering:
    """Joins blocks until a hop is complete that has left the delay line.

    Hops end at each sample i with (i + 1) % hop == 0, and are there `delay` samples later. What cannot be joined, after
    a loss or of another form, begins anew.
    """

    def __init__(self, hop: int, delay: int) -> None:
        self._hops = hop, delay
        self._blocks: list[SignalBlock] = []
        self._end = 0

    def for_hops(self, hop: int, delay: int) -> None:
        """Of another decoder; from any thread."""
        self._hops = hop, delay

    def add(self, block: SignalBlock) -> list[SignalBlock]:
        """What is to be decoded now: nothing, or one block, or two where this one could not be joined."""
        ready = []
        if self._blocks and not self._continues(block):
            ready += self.rest()
        self._blocks.append(block)
        self._end = block.first_sample + block.n_samples
        if self._hops_until(self._end) > self._hops_until(self._blocks[0].first_sample):
            ready += self.rest()
        return ready

    def rest(self) -> list[SignalBlock]:
        """What waits, as one block; nothing where nothing does."""
        blocks, self._blocks = self._blocks, []
        if len(blocks) < 2:
            return blocks
        lines = [block.digital for block in blocks if block.digital is not None]
        return [
            replace(
                blocks[0],
                samples=np.concatenate([block.samples for block in blocks]),
                arrival_ns=blocks[-1].arrival_ns,
                pieces=tuple(piece for block in blocks for piece in _pieces(block)),
                digital=np.concatenate(lines) if lines else None,
            )
        ]

    def _hops_until(self, index: int) -> int:
        hop, delay = self._hops
        return max(index - delay, 0) // hop

    def _continues(self, block: SignalBlock) -> bool:
        last = self._blocks[-1]
        return (
            block.first_sample == self._end
            and block.lost_before == 0
            and block.samples.dtype == last.samples.dtype
            and block.samples.shape[1:] == last.samples.shape[1:]
            and block.scale_uv == last.scale_uv
            and (block.digital is None) == (last.digital is None)
        )


def _pieces(block: SignalBlock) -> tuple[tuple[int, int], ...]:
    return block.pieces or ((block.first_sample + block.n_samples, block.arrival_ns),)
