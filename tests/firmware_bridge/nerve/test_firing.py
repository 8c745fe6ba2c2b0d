"""Motor neurons: recruited by size, firing at rates and with an irregularity that were measured in people."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.nerve.anatomy import N_POOLS, units_of
from firmware_bridge.nerve.firing import Drive, Firing
from firmware_bridge.nerve.motion import Truth
from firmware_bridge.nerve.physiology import DEFAULT

RATE_HZ, FRAME = 10_000.0, 500
INDEX, WRIST = DOF_NAMES.index("index"), DOF_NAMES.index("wrist")
FRAMES = 600  # 30 s


class Held:
    """A person who holds one posture for ever."""

    def __init__(self, dof: int, position: float) -> None:
        self._dof, self._position = dof, position

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        out = np.zeros((len(index), N_DOF))
        out[:, self._dof] = self._position
        return out

    def truth(self, index: NDArray[np.int64]) -> Truth:
        raise AssertionError("firing follows positions only")


def firing(dof: int, position: float) -> Firing:
    units = units_of(DEFAULT, 1, 0)
    return Firing(DEFAULT, units, Drive(DEFAULT, 1, 0, RATE_HZ, Held(dof, position)), 1, 0, FRAME, RATE_HZ)


@lru_cache(maxsize=8)
def trains(dof: int, position: float) -> tuple[NDArray[np.float64], ...]:
    """Spike times in seconds of every unit while a posture is held."""
    source = firing(dof, position)
    spikes = [source.spikes(k) for k in range(FRAMES)]
    unit = np.concatenate([s.unit for s in spikes])
    at_s = np.concatenate([s.at for s in spikes]) / RATE_HZ
    return tuple(np.sort(at_s[unit == u]) for u in range(N_POOLS * DEFAULT.units_per_pool))


def rates_hz(dof: int, position: float) -> NDArray[np.float64]:
    return np.array([len(train) for train in trains(dof, position)]).reshape(N_POOLS, -1) / (
        FRAMES * FRAME / RATE_HZ
    )


def test_smaller_units_are_recruited_before_larger_ones() -> None:
    half, full = rates_hz(INDEX, 0.4)[INDEX] > 1, rates_hz(INDEX, 1.0)[INDEX] > 1
    assert half.sum() < full.sum()
    for recruited in (half, full):
        assert recruited[: recruited.sum()].all()  # the first of the order, and no other


def test_active_units_fire_at_rates_measured_in_people() -> None:
    units = trains(INDEX, 1.0)[INDEX * DEFAULT.units_per_pool : (INDEX + 1) * DEFAULT.units_per_pool]
    rate = [1 / np.median(np.diff(train)) for train in units if len(train) > 20]
    # The first dorsal interosseous: at least 7 per second, at most 14 to 38.
    assert 6.5 < min(rate) < max(rate) < 36
    assert rate[0] > rate[-1]  # the onion skin: early units lead


def test_intervals_are_irregular_as_in_people_and_never_shorter_than_a_doublets() -> None:
    for train in trains(INDEX, 1.0)[INDEX * DEFAULT.units_per_pool :][:10]:
        intervals = np.diff(train)
        assert (
            0.1 < intervals.std() / intervals.mean() < 0.35
        )  # Clamann 1969; Matthews 1996, and a wandering effort
        assert intervals.min() >= DEFAULT.shortest_interval_s - 1e-9


def test_rest_is_quiet_but_for_a_tone_and_extension_silences_even_that() -> None:
    assert rates_hz(INDEX, 0.0)[INDEX].mean() < 0.1 * rates_hz(INDEX, 1.0)[INDEX].mean()
    # Co-contraction aside, which is weaker than any flexion.
    extending, flexing = rates_hz(WRIST, -1.0), rates_hz(WRIST, 1.0)
    assert extending[N_DOF + WRIST].sum() > 5 * extending[WRIST].sum()
    assert flexing[WRIST].sum() > 5 * flexing[N_DOF + WRIST].sum()


def test_neighbouring_fingers_are_enslaved_and_distant_ones_are_not() -> None:
    rate = rates_hz(INDEX, 1.0)
    middle, little = DOF_NAMES.index("middle"), DOF_NAMES.index("little")
    assert rate[INDEX].sum() > 2 * rate[middle].sum() > 2 * rate[little].sum()


def test_a_frame_is_the_same_whatever_was_asked_before() -> None:
    in_order = firing(INDEX, 1.0)
    expected = [in_order.spikes(k) for k in range(FRAMES)]
    jumping = firing(INDEX, 1.0)
    for k in (450, 3, 449, 451, 0, 599, 201, 200, 199):
        got = jumping.spikes(k)
        np.testing.assert_array_equal(got.unit, expected[k].unit)
        np.testing.assert_array_equal(got.at, expected[k].at)


def test_spikes_lie_in_the_frame_that_they_are_said_to_begin_in() -> None:
    source = firing(INDEX, 1.0)
    for k in range(50):
        at = source.spikes(k).at
        assert ((at >= k * FRAME) & (at <= (k + 1) * FRAME)).all()
    assert len(source.spikes(-1).unit) == 0
