"""Channels beside their training: what is like it, what is not, and what is masked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decoder.bundle import Bundle, RestFeatures, pack, unpack
from decoder.preuse import UNKNOWN_SPREAD, ChannelComparison
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import StreamInfo
from tests.bundles import random_bundle

INFO = StreamInfo(5000.0, tuple(f"e{i}" for i in range(4)), "nerve")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    counts = np.random.default_rng(1).integers(-200, 200, (20_000, 4)).astype(np.int16)
    made = random_bundle(INFO, counts, 0.2)
    f = made.normalisation.n_features
    rest = RestFeatures(np.full(f, -0.5, np.float32), np.full(f, 0.2, np.float32))
    return replace(made, rest=rest)


def hops(bundle: Bundle, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Features as at rest in training, none masked."""
    f = bundle.normalisation.n_features
    noise = np.random.default_rng(2).normal(-0.5, 0.2, (n, f)).astype(np.float32)
    return noise, np.zeros((n, f), np.bool_)


def test_rest_as_in_training_is_near(bundle: Bundle) -> None:
    comparison = ChannelComparison(bundle)
    comparison.add(*hops(bundle))
    readings = comparison.readings()
    assert [one.name for one in readings] == list(INFO.channel_names)
    assert max(one.distance for one in readings) < 0.3
    assert [one.masked for one in readings] == [0.0] * 4


def test_a_channel_that_moved_is_as_far_as_it_moved(bundle: Bundle) -> None:
    z, masked = hops(bundle)
    per_channel = z.shape[1] // 4
    z[:, per_channel : 2 * per_channel] += 0.8  # four of its spreads
    comparison = ChannelComparison(bundle)
    comparison.add(z, masked)
    distances = [one.distance for one in comparison.readings()]
    assert distances[1] == pytest.approx(4, abs=0.2)
    assert max(distances[0], *distances[2:]) < 0.3


def test_it_does_not_matter_in_how_many_pieces_hops_come(bundle: Bundle) -> None:
    z, masked = hops(bundle)
    whole, cut = ChannelComparison(bundle), ChannelComparison(bundle)
    whole.add(z, masked)
    for i in range(0, len(z), 7):
        cut.add(z[i : i + 7], masked[i : i + 7])
    cut.add(z[:0], masked[:0])
    for one, other in zip(whole.readings(), cut.readings(), strict=True):
        assert one.distance == pytest.approx(other.distance)


def test_masked_hops_are_counted_and_their_features_are_not_compared(bundle: Bundle) -> None:
    z, masked = hops(bundle)
    per_channel = z.shape[1] // 4
    masked[:30, :per_channel] = True
    z[:30, :per_channel] = 0.0
    comparison = ChannelComparison(bundle)
    comparison.add(z, masked)
    first = comparison.readings()[0]
    assert first.masked == pytest.approx(0.3)
    assert first.distance < 0.4


def test_a_channel_that_was_always_masked_is_masked_and_not_far(bundle: Bundle) -> None:
    z, masked = hops(bundle)
    masked[:, : z.shape[1] // 4] = True
    comparison = ChannelComparison(bundle)
    comparison.add(np.where(masked, np.float32(0), z), masked)
    first = comparison.readings()[0]
    assert (first.masked, first.distance) == (1.0, 0.0)


def test_a_channel_that_training_never_had_is_not_compared(bundle: Bundle) -> None:
    scale = bundle.normalisation.scale.copy()
    scale[: len(scale) // 4] = 0
    comparison = ChannelComparison(replace(bundle, normalisation=replace(bundle.normalisation, scale=scale)))
    comparison.add(*hops(bundle))
    assert [one.name for one in comparison.readings()] == list(INFO.channel_names[1:])


def test_a_bundle_that_does_not_know_its_rest_is_compared_with_all_of_its_training(bundle: Bundle) -> None:
    comparison = ChannelComparison(replace(bundle, rest=None))
    comparison.add(*hops(bundle))
    assert comparison.readings()[0].distance == pytest.approx(0.5 / UNKNOWN_SPREAD, abs=0.05)


def test_before_the_first_hop_there_is_nothing_to_say(bundle: Bundle) -> None:
    assert ChannelComparison(bundle).readings() == ()


def test_features_of_another_decoder_are_refused(bundle: Bundle) -> None:
    with pytest.raises(StreamMismatchError, match="features"):
        ChannelComparison(bundle).add(np.zeros((3, 5), np.float32), np.zeros((3, 5), np.bool_))


def test_a_bundle_keeps_what_rest_was_like(bundle: Bundle) -> None:
    again = unpack(pack(bundle)).rest
    assert again is not None
    assert bundle.rest is not None
    assert np.array_equal(again.mean, bundle.rest.mean)
    assert np.array_equal(again.spread, bundle.rest.spread)
    assert unpack(pack(replace(bundle, rest=None))).rest is None


def test_a_rest_of_another_width_is_refused(bundle: Bundle) -> None:
    narrow = RestFeatures(np.zeros(3, np.float32), np.ones(3, np.float32))
    with pytest.raises(NervehandError, match="means of rest"):
        replace(bundle, rest=narrow)
