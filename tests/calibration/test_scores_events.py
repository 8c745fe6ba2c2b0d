"""Scores of events, on a drawn-out example with a hop of 100 ms and by what must hold for any data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2

from calibration.scores.errors import NotScoredError
from calibration.scores.events import (
    hold_drift_and_jitter,
    holds,
    offset_latency,
    onset_latency,
    poisson_upper,
    steady,
    unintended_activations,
    unintended_releases,
)
from calibration.scores.latency import algorithmic_latency_ms, held
from calibration.scores.throughput import bits_per_selection, throughput

Ints = NDArray[np.int64]
HOP_S = 0.1


def runs(*parts: tuple[int, int]) -> Ints:
    """(value, hops) written out."""
    return np.repeat([value for value, _ in parts], [n for _, n in parts]).astype(np.int64)


def one_piece(label: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    return np.zeros_like(label), np.ones(len(label), np.bool_)


# A rest of 3 s, a movement of 2 s, a rest of 2 s.
LABEL = runs((0, 30), (2, 20), (0, 20))


def test_steady_leaves_out_three_hundred_ms_around_a_change() -> None:
    keep = steady(runs((0, 10), (1, 10)), np.zeros(20, np.int64), HOP_S)
    assert np.flatnonzero(~keep).tolist() == [7, 8, 9, 10, 11, 12, 13]


def test_a_reset_is_no_change() -> None:
    label, stretch = runs((1, 10), (2, 10)), runs((0, 10), (1, 10))
    assert steady(label, stretch, HOP_S).all()


def test_onset_latency_is_to_the_first_correct_hop_that_holds() -> None:
    piece, scored = one_piece(LABEL)
    late = runs((0, 34), (2, 20), (0, 16))
    found = onset_latency(LABEL, late, piece, scored, HOP_S)
    assert (found.median_ms, found.n, found.missed) == (pytest.approx(400.0), 1, 0)
    found = offset_latency(LABEL, late, piece, scored, HOP_S)
    assert found.median_ms == pytest.approx(400.0)


def test_a_correct_hop_that_does_not_last_100_ms_does_not_count() -> None:
    label = np.repeat(runs((0, 10), (1, 20)), 5)  # a hop of 20 ms: 100 ms are 5 hops
    said = np.zeros_like(label)
    said[60:64] = 1
    said[80:85] = 1
    found = onset_latency(label, said, *one_piece(label), 0.02)
    assert found.median_ms == pytest.approx(600.0)


def test_a_movement_that_never_shows_is_missed() -> None:
    piece, scored = one_piece(LABEL)
    found = onset_latency(LABEL, np.zeros_like(LABEL), piece, scored, HOP_S)
    assert (found.median_ms, found.n, found.missed) == (None, 1, 1)


def test_changes_between_pieces_and_in_unscored_hops_are_no_true_changes() -> None:
    label, piece = runs((1, 10), (2, 10)), runs((0, 10), (1, 10))
    with pytest.raises(NotScoredError, match="no true change"):
        onset_latency(label, label, piece, np.ones(20, np.bool_), HOP_S)
    label = runs((0, 2), (1, 10))
    scored = np.arange(12) >= 3
    with pytest.raises(NotScoredError, match="no true change"):
        onset_latency(label, label, np.zeros(12, np.int64), scored, HOP_S)


def activations(
    said: Ints, positions: NDArray[np.float64] | None = None, label: Ints = LABEL
) -> tuple[float, float]:
    piece, scored = one_piece(label)
    found = unintended_activations(label, said, positions, piece, scored, HOP_S)
    return found.count, found.hours * 3600.0


def test_settled_rest_is_one_second_in_and_half_a_second_before_the_next_onset() -> None:
    # Hops 10..24 of the first rest and 60..69 of the last, which no onset follows.
    assert activations(LABEL) == (0.0, pytest.approx(2.5))


def test_one_activation_per_excursion() -> None:
    said = LABEL.copy()
    said[12:15] = 1
    said[18] = 2
    assert activations(said)[0] == 2.0


def test_excursions_that_begin_outside_settled_rest_do_not_count() -> None:
    said = LABEL.copy()
    said[5:12] = 1  # began too early
    said[26] = 2  # an early onset, within half a second
    said[50:65] = 2  # not released after the movement
    assert activations(said)[0] == 0.0


def test_a_position_outside_the_rest_band_is_an_activation_too() -> None:
    positions = np.zeros((len(LABEL), 6))
    positions[15, 3] = -0.26
    positions[20, 1] = 0.25
    assert activations(LABEL, positions)[0] == 1.0
    said = LABEL.copy()
    said[15] = 1  # the same excursion, seen twice
    assert activations(said, positions)[0] == 1.0


def test_a_reset_is_no_excursion() -> None:
    label = np.zeros(60, np.int64)
    said = runs((0, 30), (1, 30))
    stretch = runs((0, 30), (1, 30))
    found = unintended_activations(label, said, None, stretch, np.ones(60, np.bool_), HOP_S)
    assert found.count == 0.0


def test_without_a_rest_that_lasts_there_is_no_rate() -> None:
    label = runs((0, 9), (1, 9))
    with pytest.raises(NotScoredError, match="no rest that lasts"):
        activations(label, label=label)


def releases(
    said: Ints,
    positions: NDArray[np.float64] | None = None,
    true_positions: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    piece, scored = one_piece(LABEL)
    inner = holds(LABEL, piece, scored, HOP_S)
    found = unintended_releases(LABEL, said, positions, true_positions, inner, HOP_S)
    return found.count, found.hours * 3600.0


def test_a_hold_is_half_a_second_inside_the_movement() -> None:
    assert holds(LABEL, *one_piece(LABEL), HOP_S) == [slice(35, 45)]
    assert releases(LABEL) == (0.0, pytest.approx(1.0))


def test_a_lost_gesture_is_a_release_and_so_is_a_lost_position() -> None:
    said = LABEL.copy()
    said[38:40] = 0
    said[42] = 1
    assert releases(said)[0] == 2.0
    true_positions = np.zeros((len(LABEL), 6))
    true_positions[:, 1] = np.linspace(0.0, 1.0, len(LABEL))
    positions = true_positions.copy()
    positions[40, 1] -= 0.26
    assert releases(LABEL, positions, true_positions)[0] == 1.0
    assert releases(LABEL, true_positions, true_positions)[0] == 0.0


def test_without_true_positions_the_holds_own_median_is_the_posture() -> None:
    positions = np.full((len(LABEL), 6), 0.8)
    positions[40, 2] = 0.5
    assert releases(LABEL, positions)[0] == 1.0


def test_a_posture_that_was_never_reached_is_not_lost() -> None:
    assert releases(np.zeros_like(LABEL))[0] == 0.0


def test_drift_is_the_slope_and_jitter_what_remains() -> None:
    positions = np.zeros((len(LABEL), 6))
    positions[:, 1] = 0.02 * np.arange(len(LABEL)) * HOP_S
    inner = [slice(35, 45)]
    drift, jitter = hold_drift_and_jitter(positions, None, inner, HOP_S)
    assert (drift, jitter) == (pytest.approx(0.02), pytest.approx(0.0, abs=1e-12))
    drift, _ = hold_drift_and_jitter(positions, positions, inner, HOP_S)
    assert drift == pytest.approx(0.0, abs=1e-12)
    positions[:, 1] = np.tile([0.1, -0.1, -0.1, 0.1], len(LABEL))[: len(LABEL)]
    _, jitter = hold_drift_and_jitter(positions, None, [slice(0, 40)], HOP_S)
    assert jitter == pytest.approx(0.1, rel=1e-6)


def test_the_poisson_bound_is_one_sided_and_exact() -> None:
    assert poisson_upper(0) == pytest.approx(-math.log(0.05))
    for count in (1, 2, 10):
        assert poisson_upper(count) == pytest.approx(chi2.ppf(0.95, 2 * count + 2) / 2)


@given(st.integers(0, 50))
def test_the_poisson_bound_lies_above_the_count_and_grows(count: int) -> None:
    assert count < poisson_upper(count) < poisson_upper(count + 1)


def test_the_published_throughput() -> None:
    # N = 32, P = 0.99, T = 0.8 s gives 365 bits per minute.
    assert bits_per_selection(32, 0.99) * 60 / 0.8 == pytest.approx(365, abs=0.5)


@pytest.mark.parametrize(("n", "p", "bits"), [(2, 1.0, 1.0), (8, 1.0, 3.0), (4, 0.25, 0.0), (4, 0.1, 0.0)])
def test_bits_at_the_ends(n: int, p: float, bits: float) -> None:
    assert bits_per_selection(n, p) == bits


@given(st.integers(2, 40), st.floats(0, 1), st.floats(0, 1))
def test_bits_grow_with_accuracy_and_stay_within_log2_n(n: int, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0.0 <= bits_per_selection(n, low) <= bits_per_selection(n, high) + 1e-12 <= math.log2(n) + 1e-9


def test_a_selection_is_the_first_gesture_that_holds() -> None:
    label = runs((0, 10), (1, 20), (0, 10), (2, 20), (0, 10))
    said = runs((0, 14), (1, 16), (0, 12), (1, 3), (2, 15), (0, 10))
    found = throughput(label, said, *one_piece(label), HOP_S, n_choices=2)
    assert found.p_right == 0.5
    assert found.selection_s == pytest.approx((0.5 + 0.3) / 2)
    assert found.bits_per_min == 0.0
    perfect = throughput(label, label, *one_piece(label), HOP_S, n_choices=2)
    assert perfect.bits_per_min == pytest.approx(60 / 0.1)


def test_nothing_selected_is_wrong_and_takes_the_whole_movement() -> None:
    found = throughput(LABEL, np.zeros_like(LABEL), *one_piece(LABEL), HOP_S, n_choices=4)
    assert (found.p_right, found.selection_s) == (0.0, pytest.approx(2.0))


def test_a_choice_needs_two_movements() -> None:
    with pytest.raises(NotScoredError, match="two movements"):
        throughput(LABEL, LABEL, *one_piece(LABEL), HOP_S, n_choices=1)


def moving_average(width: int, hop: int) -> object:
    """A chain that commands the mean of the last `width` samples of its only channel, every `hop`."""

    def respond(samples: NDArray[np.float32]) -> tuple[Ints, NDArray[np.float32]]:
        index = np.arange(width + hop - 1, len(samples), hop)
        mean = np.array([samples[i + 1 - width : i + 1, 0].mean() for i in index], np.float32)
        return index.astype(np.int64), mean[:, None]

    return respond


@pytest.mark.parametrize(("width", "latency_ms"), [(1, 1.0), (100, 50.0), (200, 100.0)])
def test_algorithmic_latency_of_a_window_is_half_of_it(width: int, latency_ms: float) -> None:
    rest, movement = np.zeros((1000, 1), np.float32), np.ones((1000, 1), np.float32)
    respond = moving_average(width, 1)
    assert callable(respond)
    assert algorithmic_latency_ms(respond, rest, movement, 1000.0) == pytest.approx(latency_ms)


def test_a_chain_that_does_not_move_has_no_latency() -> None:
    still = np.zeros((100, 1), np.float32)
    respond = moving_average(1, 1)
    assert callable(respond)
    with pytest.raises(NotScoredError, match="no commanded position"):
        algorithmic_latency_ms(respond, still, still, 1000.0)
    with pytest.raises(NotScoredError, match="too short"):
        algorithmic_latency_ms(respond, still[:0], still, 1000.0)


def test_a_short_stretch_is_held_to_and_fro() -> None:
    short = np.array([[1.0], [2.0], [3.0]], np.float32)
    assert held(short, 8).ravel().tolist() == [1, 2, 3, 3, 2, 1, 1, 2]
