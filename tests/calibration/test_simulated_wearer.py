"""The simulated person follows cues with both hands, and makes the mistakes that are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.conductor import Cue, PlannedTrial
from calibration.paradigm import FIVE_FINGERS, Paradigm
from calibration.simulated_wearer import Mishap, SimulatedWearer, Wearer, drawn_mishaps
from calibration.truth.simulated import Imperfections
from firmware_bridge.errors import NervehandError

RATE_HZ = 4000.0
PARADIGM = Paradigm(repetitions=2, movements=FIVE_FINGERS[:4])
WEARER = Wearer(rate_hz=RATE_HZ, n_channels=4)
TRIAL = PlannedTrial(1, 1, 1, 1, 0, 2000, 8000, 12_000)


def followed(mishap: Mishap | None = None, wearer: Wearer = WEARER, n: int = 12_000) -> SimulatedWearer:
    """A trial of the index finger, gone through."""
    mishaps = {} if mishap is None else {1: mishap}
    person = SimulatedWearer(wearer, PARADIGM, is_paced=False, mishaps=mishaps)
    person.source.connect()
    for kind, at in (("begin", 0), ("move", 2000), ("release", 8000)):
        person.cue(Cue(at, kind, TRIAL))  # type: ignore[arg-type]  # one of the kinds
    return person


def at(person: SimulatedWearer, sample: int) -> np.ndarray:
    return np.round(person.positions(sample, 1)[0], 2)


def test_the_phantom_does_what_the_cue_asks_for_and_comes_back() -> None:
    person = followed()
    assert not at(person, 2000).any()
    assert at(person, 6000)[1] > 0.69
    assert not at(person, 6000)[[0, 2, 3, 4, 5]].any()
    assert not at(person, 11_900).any()


def test_the_able_hand_does_the_same_as_the_phantom_only_later() -> None:
    lag_s = 0.15
    person = followed(wearer=replace(WEARER, glove=Imperfections(lag_s=lag_s)))
    blocks = []
    for block in person.source.blocks():
        blocks.append(person.take())
        if block.first_sample + block.n_samples >= 12_000:
            break
    person.source.close()
    taken = [block for block in blocks if block is not None]
    values = np.concatenate([block.values for block in taken])
    sample = np.concatenate([block.device_s for block in taken]) * RATE_HZ
    column = values[:, person.info.joints.index("index mcp")]
    moved = person.positions(0, 12_000)[np.clip(np.round(sample - lag_s * RATE_HZ).astype(int), 0, 11_999), 1]
    assert np.corrcoef(column, moved)[0, 1] > 0.999


@pytest.mark.parametrize(
    ("mishap", "phantom", "able"),
    [
        (None, 1, 1),
        (Mishap.WRONG_FINGER, 3, 1),
        (Mishap.STILL_PHANTOM, None, 1),
        (Mishap.STILL_HANDS, None, None),
        (Mishap.FROZEN_GLOVE, 1, 1),
        (Mishap.DEAD_CHANNELS, 1, 1),
    ],
)
def test_each_mishap_is_what_its_name_says(
    mishap: Mishap | None, phantom: int | None, able: int | None
) -> None:
    person = followed(mishap)
    for hand, dof in ((person._nerve, phantom), (person._able, able)):
        posture = hand.positions(np.array([6000]))[0]
        assert np.flatnonzero(posture > 0.5).tolist() == ([] if dof is None else [dof])


def test_a_frozen_glove_says_the_same_until_the_trial_ends() -> None:
    person = followed(Mishap.FROZEN_GLOVE)
    values = []
    for block in person.source.blocks():
        taken = person.take()
        if taken is not None:
            values.append(taken.values)
        if block.first_sample + block.n_samples >= 12_000:
            break
    person.source.close()
    until_it_ends = np.concatenate(values)[:-1]  # the last reading is taken after it
    assert len(np.unique(until_it_ends, axis=0)) == 1


def test_half_of_the_channels_are_dead_for_one_trial_only() -> None:
    person = followed(Mishap.DEAD_CHANNELS)
    blocks = person.source.blocks()
    samples = np.concatenate([np.asarray(next(blocks).samples) for _ in range(40)])
    dead = (samples == samples.max()).mean(0)
    assert (dead[::2] > 0.7).all()
    assert (dead[1::2] < 0.01).all()
    assert not (samples[12_000:, ::2] == samples.max()).any()


def test_the_samples_are_the_same_at_any_pace_and_for_the_same_person() -> None:
    first, second = followed(), followed()
    a = np.concatenate(
        [np.asarray(block.samples) for _, block in zip(range(5), first.source.blocks(), strict=False)]
    )
    b = np.concatenate(
        [np.asarray(block.samples) for _, block in zip(range(5), second.source.blocks(), strict=False)]
    )
    np.testing.assert_array_equal(a, b)


def test_mishaps_are_drawn_once_each_of_all_kinds_and_spare_the_beginning() -> None:
    drawn = drawn_mishaps(5, PARADIGM, 1)
    assert len(drawn) == 5
    assert set(drawn.values()) == set(Mishap)
    assert min(drawn) > 2
    assert drawn == drawn_mishaps(5, PARADIGM, 1) != drawn_mishaps(5, PARADIGM, 2)
    with pytest.raises(NervehandError, match="9 mishaps in 8 trials: give at most 6"):
        drawn_mishaps(9, PARADIGM, 1)
