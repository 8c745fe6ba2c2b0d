"""The simulated subject: the same seed is the same person, however the samples are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.simulated import GESTURES, Schedule, SimulatedSource, SimulatedSubject
from tests.closing import blocks_until_closed

SUBJECT = SimulatedSubject(seed=4, n_channels=8, rate_hz=5000.0, schedule=Schedule(repetitions=2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 20_000), st.integers(0, 3000))
def test_samples_are_a_function_of_their_index(first: int, n: int) -> None:
    whole = SUBJECT.samples(0, first + n)[first:]
    again = SimulatedSubject(seed=4, n_channels=8, rate_hz=5000.0, schedule=Schedule(repetitions=2))
    assert again.samples(first, n).tobytes() == whole.tobytes()


def test_another_seed_is_another_person() -> None:
    other = SimulatedSubject(seed=5, n_channels=8, rate_hz=5000.0, schedule=Schedule(repetitions=2))
    assert not np.array_equal(other.samples(0, 100), SUBJECT.samples(0, 100))


def test_every_gesture_is_made_once_in_each_repetition() -> None:
    truth = SUBJECT.truth(0, SUBJECT.n_session_samples)
    assert set(np.unique(truth.trial)) == set(range(1, 2 * (len(GESTURES) - 1) + 1))
    for repetition in (1, 2):
        made = {int(g) for g in truth.gesture[truth.repetition == repetition]}
        assert made == set(range(len(GESTURES)))
    for trial in np.unique(truth.trial):
        assert len(np.unique(truth.gesture[truth.trial == trial])) == 2  # rest and one movement


def test_the_hand_reaches_the_posture_in_the_hold_and_rests_between() -> None:
    truth = SUBJECT.truth(0, SUBJECT.n_session_samples)
    assert (truth.positions[truth.gesture == 0] == 0).all()
    for gesture in range(1, len(GESTURES)):
        reached = truth.positions[truth.gesture == gesture]
        np.testing.assert_allclose(np.abs(reached).max(0), np.abs(GESTURES[gesture][1]), atol=1e-6)


def test_movement_is_in_the_signal() -> None:
    truth, x = SUBJECT.truth(0, 60_000), SUBJECT.samples(0, 60_000)
    moving = np.abs(truth.positions).max(1) > 0.9
    assert x[moving].std(0).max() > 1.5 * x[truth.gesture == 0].std(0).max()


def test_the_source_paces_by_its_samples_without_drift() -> None:
    now_ns = 0

    def wait(seconds: float) -> bool:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)
        return False

    source = SimulatedSource(SUBJECT, 100, n_samples=250, clock_ns=lambda: now_ns, wait=wait)
    source.connect()
    blocks = list(source.blocks())
    assert [b.first_sample for b in blocks] == [0, 100, 200]
    assert [b.n_samples for b in blocks] == [100, 100, 50]
    assert [b.arrival_ns for b in blocks] == [20_000_000, 40_000_000, 50_000_000]
    assert np.concatenate([b.samples for b in blocks]).tobytes() == SUBJECT.samples(0, 250).tobytes()


def test_closing_the_source_ends_a_wait_for_its_next_block() -> None:
    assert blocks_until_closed(lambda clock: SimulatedSource(SUBJECT, 100, clock_ns=clock)) == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SimulatedSubject(seed=-1), "seed is -1"),
        (lambda: SimulatedSubject(rate_hz=100.0), "sampling rate is 100"),
        (lambda: Schedule(repetitions=0), "0 repetitions"),
        (lambda: Schedule(rest_s=0.0), "rest_s is 0"),
        (lambda: SimulatedSource(SUBJECT, 0), "blocks of 0"),
    ],
)
def test_senseless_settings_are_refused_with_the_value(make: object, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        make()  # type: ignore[operator]
