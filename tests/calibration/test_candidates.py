"""Front ends by name, and their features side by side at the same hops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.candidates import CANDIDATES, candidate, side_by_side
from calibration.channel_loss import ChannelLoss, lose_channels
from calibration.front_end import default_front_end
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo
from tests.calibration.subjects import N_CHANNELS, session

NERVE = StreamInfo(rate_hz=10_000.0, channel_names=tuple(f"c{i}" for i in range(16)), kind="nerve")


def test_each_name_is_its_band_and_all_share_hop_window_and_reference() -> None:
    bands = {name: [p.conditioning.band_hz for p in candidate(name, NERVE)] for name in CANDIDATES[1:]}
    assert bands == {
        "25-600": [(25.0, 600.0)],
        "spike-band": [(300.0, 4500.0)],
        "spike-band+average": [(300.0, 4500.0)],
        "wide": [(25.0, 4500.0)],
        "both": [(25.0, 600.0), (300.0, 4500.0)],
        "25-600+power": [(25.0, 600.0), (300.0, 4500.0)],
    }
    assert candidate("default", NERVE) == (default_front_end(NERVE),)
    for part in (part for name in CANDIDATES for part in candidate(name, NERVE)):
        rate_hz = NERVE.rate_hz / part.conditioning.decimation
        assert part.settings.hop_samples / rate_hz == pytest.approx(0.02)
        assert part.settings.window_samples / rate_hz == pytest.approx(0.1)
    averaged = {name: [p.conditioning.rereference for p in candidate(name, NERVE)] for name in CANDIDATES}
    assert averaged == {
        "default": ["none"],
        "25-600": ["average"],
        "spike-band": ["none"],
        "spike-band+average": ["average"],
        "wide": ["average"],
        "both": ["average", "none"],
        "25-600+power": ["average", "none"],
    }


def test_two_bands_stand_side_by_side_at_the_hops_of_each() -> None:
    person = session(1)
    parts = candidate("both", person.info)
    both, compress = side_by_side(person, parts)
    alone = [side_by_side(person, (part,))[0] for part in parts]
    assert both.features.shape == (len(alone[0]), 2 * 14 * N_CHANNELS)
    assert len(compress) == both.features.shape[1]
    half = 14 * N_CHANNELS
    np.testing.assert_array_equal(both.features[:, :half], alone[0].features)
    np.testing.assert_array_equal(both.features[:, half:], alone[1].features)
    np.testing.assert_array_equal(both.sample_index, alone[0].sample_index)
    np.testing.assert_array_equal(both.label, alone[0].label)


def test_hops_that_only_one_front_end_has_are_left_out() -> None:
    person = session(1)
    (part,) = candidate("25-600", person.info)
    longer = replace(part, settings=replace(part.settings, window_samples=2 * part.settings.window_samples))
    joined, _ = side_by_side(person, (part, longer))
    alone, _ = side_by_side(person, (longer,))
    np.testing.assert_array_equal(joined.sample_index, alone.sample_index)
    np.testing.assert_array_equal(joined.features[:, 14 * N_CHANNELS :], alone.features)
    other_hop = replace(part, settings=replace(part.settings, hop_samples=10))
    with pytest.raises(NervehandError, match="do not stand side by side"):
        side_by_side(person, (part, other_hop))


def test_without_masking_a_dead_channel_is_believed() -> None:
    person = session(1)
    lost = lose_channels(person, (ChannelLoss(1, "railed", 6000), ChannelLoss(3, "flat", 6000)), seed=0)
    parts = candidate("default", person.info)
    masked, _ = side_by_side(lost, parts)
    unmasked, _ = side_by_side(lost, parts, masking=False)
    after = masked.sample_index > 6000 + 0.5 * person.info.rate_hz
    by_channel = masked.masked[after].reshape(after.sum(), N_CHANNELS, 14)
    assert by_channel[:, [1, 3]].all()
    assert not by_channel[:, [0, 2, 4, 5, 6]].any()
    assert not unmasked.masked.any()
    np.testing.assert_array_equal(masked.sample_index, unmasked.sample_index)


def test_an_unknown_name_and_an_envelope_are_refused() -> None:
    with pytest.raises(NervehandError, match="'broad': use default, 25-600"):
        candidate("broad", NERVE)
    with pytest.raises(NervehandError, match="an envelope has no band"):
        candidate("25-600", replace(NERVE, kind="envelope"))
