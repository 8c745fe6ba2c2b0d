"""The frame that every feature set shares: what is carried from block to block, and what a reset forgets."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.features import FeatureBlock, FeatureExtractor, FeatureSettings, available, load
from firmware_bridge.errors import NervehandError, StreamMismatchError
from tests.decoder.chunks import Step, assert_any_cut

WINDOW, HOP, CHANNELS = 20, 5, 3

sets = pytest.mark.parametrize("name", available())


def extractor(name: str) -> FeatureExtractor:
    low = 1 if name == "two_bands" else 0
    return load(name).make(FeatureSettings(WINDOW, HOP, low_samples=low), ("a", "b", "c"))


def samples(n: int) -> np.ndarray:
    return np.abs(np.random.default_rng(0).standard_normal((n, CHANNELS))).astype(np.float32)


def masked_channels(block: FeatureBlock) -> list[list[bool]]:
    """Per window and channel."""
    return block.masked.reshape(len(block.masked), CHANNELS, -1).all(2).tolist()


@sets
def test_empty_blocks_change_nothing_the_first_ones_neither(name: str) -> None:
    mask = np.zeros((200, CHANNELS), np.bool_)
    mask[1, 1] = True  # in the first block, which an empty one follows

    def stage() -> Step:
        features = extractor(name)
        return lambda x, mask, first: tuple(features.process(x, mask, first))

    assert_any_cut(stage, [samples(200), mask], first=7)
    features = extractor(name)
    features.process(samples(10), mask[:10], 0)
    features.process(samples(0), mask[:0], 10)
    assert masked_channels(features.process(samples(20), mask[10:30], 10)) == [
        [False, True, False],
        [False, False, False],
        [False, False, False],
    ]


@sets
def test_a_reset_forgets_masks_and_windows_begin_after_it(name: str) -> None:
    features = extractor(name)
    everything = np.ones((40, CHANNELS), np.bool_)
    features.process(samples(40), everything, 0)
    features.reset()
    block = features.process(samples(40), ~everything, 43)
    assert block.conditioned_index.tolist() == [64, 69, 74, 79]  # the first full window ends at 62
    assert not block.masked.any()


@sets
def test_a_block_that_does_not_follow_and_one_of_another_shape_are_refused(name: str) -> None:
    features = extractor(name)
    features.process(samples(10), np.zeros((10, CHANNELS), np.bool_), 0)
    with pytest.raises(NervehandError, match="begins at index 11, the last one ended before 10: reset"):
        features.process(samples(10), np.zeros((10, CHANNELS), np.bool_), 11)
    with pytest.raises(StreamMismatchError, match="for features of 3 channels"):
        features.process(samples(10)[:, :2], np.zeros((10, 2), np.bool_), 10)
