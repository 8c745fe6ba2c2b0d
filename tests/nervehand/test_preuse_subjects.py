"""Channel by channel against training, on a simulated subject at rest: what passes and what is found.

docs/hands.md has the figures of six subjects on four days (tests/preuse_figures.py); this is one of them.
"""

from __future__ import annotations

import pytest

from decoder.bundle import Bundle
from firmware_bridge.preuse_check import ChannelReading, CheckSettings
from tests.preuse_figures import at_rest, faulty, learned, readings

SUBJECT, SECONDS = 3, 6
CHANNEL = 5  # the one of sixteen whose rest is nearest to silence
USUAL = CheckSettings()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return learned(SUBJECT, 2)


def is_found(reading: ChannelReading) -> bool:
    return reading.distance > USUAL.most_distance or reading.masked > 0.5


@pytest.mark.parametrize("day", [0, 1, 3])
def test_a_day_like_any_other_passes(bundle: Bundle, day: int) -> None:
    found = readings(bundle, at_rest(SUBJECT, day, SECONDS))
    assert len(found) == 16
    assert max(one.distance for one in found) < USUAL.most_distance / 2
    assert max(one.masked for one in found) <= USUAL.masked_share


@pytest.mark.parametrize("fault", ["dead", "railed", "gain x 10", "gain / 10"])
def test_a_channel_that_is_not_as_in_training_is_found(bundle: Bundle, fault: str) -> None:
    found = readings(bundle, faulty(at_rest(SUBJECT, 1, SECONDS), CHANNEL, fault))
    assert is_found(found[CHANNEL])
    assert not any(is_found(one) for i, one in enumerate(found) if i != CHANNEL)
