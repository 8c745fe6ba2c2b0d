"""The learning curve: what another round would bring, how sure that is, and when to stop."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.records import FitRecord
from calibration.report.learning import Judgement, LearningCurve


def fits(*values: float | None, per_round: int = 10, score: str = "exact_match") -> list[FitRecord]:
    return [
        FitRecord(i, per_round * i, {} if value is None else {score: value}, 1.0)
        for i, value in enumerate(values, start=1)
    ]


def test_the_gain_is_of_one_more_round_after_the_newest_decoder() -> None:
    curve = LearningCurve.of(fits(0.70, 0.85, None))
    assert (curve.n_trials, curve.values) == ((10, 20), (0.70, 0.85))
    assert (curve.trained_on, curve.per_round) == (30, 10)
    gain, now, then = curve.gain_of_another_round(), curve.predict(30), curve.predict(40)
    assert gain is not None
    assert now is not None
    assert then is not None
    assert gain.now == pytest.approx(now.expected)
    assert gain.then == pytest.approx(then.expected)
    assert gain.expected == pytest.approx(then.expected - now.expected)
    assert gain.low <= gain.expected <= gain.high


def test_a_power_law_is_found_again_from_four_points() -> None:
    truth = [1 - (0.03 + 0.3 * n**-0.8) for n in (1, 2, 3, 4, 5)]
    gain = LearningCurve.of(fits(*truth[:4])).gain_of_another_round()
    assert gain is not None
    assert gain.now == pytest.approx(truth[3], abs=0.006)
    assert gain.expected == pytest.approx(truth[4] - truth[3], abs=0.006)


def test_the_interval_holds_the_true_gain_nine_times_in_ten() -> None:
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(200):
        floor, scale, exponent = rng.uniform(0, 0.1), rng.uniform(0.05, 0.4), rng.uniform(0.4, 1.2)
        error = floor + scale * np.arange(1, 6) ** -exponent
        seen = np.clip(1 - error[:3] + rng.normal(0, 0.01, 3), 0, 1)
        gain = LearningCurve.of(fits(*seen.tolist(), None)).gain_of_another_round()
        assert gain is not None
        inside.append(gain.low - 1e-3 <= error[3] - error[4] <= gain.high + 1e-3)
    assert np.mean(inside) >= 0.8


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(1, 30), st.booleans())
def test_whatever_the_scores_a_gain_is_a_share_and_there_is_advice(
    values: list[float], per_round: int, more: bool
) -> None:
    curve = LearningCurve.of(fits(*values, *([None] if more else []), per_round=per_round))
    gain = curve.gain_of_another_round()
    assert gain is not None
    assert 0 <= gain.low <= gain.high <= 1
    assert -1e-9 <= gain.expected <= 1
    assert 0 <= gain.now <= gain.then + 1e-9 <= 1 + 2e-9
    assert curve.advice()


def test_each_further_round_brings_less() -> None:
    curve = LearningCurve.of(fits(0.6, 0.75, 0.8))
    found = [curve.predict(10 * k) for k in range(1, 12)]
    gains = np.diff([one.expected for one in found if one is not None])
    assert len(gains) == 10
    assert (gains > 0).all()
    assert (np.diff(gains) < 0).all()


def test_more_points_make_it_surer() -> None:
    widths = []
    for n in (2, 3, 5):
        truth = [1 - (0.02 + 0.2 * k**-0.8) for k in range(1, n + 1)]
        found = LearningCurve.of(fits(*truth)).predict(10 * 6)
        assert found is not None
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize(
    ("values", "judgement"),
    [
        ((None,), Judgement.TOO_EARLY),
        ((), Judgement.TOO_EARLY),
        ((0.8, None), Judgement.TOO_EARLY),
        ((0.5, 0.7, None), Judgement.ANOTHER_ROUND),
        ((0.95, 0.96, 0.962, None), Judgement.STOP),
        ((0.60, 0.61, 0.60, None), Judgement.STOP_LOW),
        ((0.90, 0.85, None), Judgement.STOP),  # scores vary: that is no reason to go on
    ],
)
def test_when_to_stop(values: tuple[float | None, ...], judgement: Judgement) -> None:
    assert LearningCurve.of(fits(*values)).judgement is judgement


def test_the_advice_says_what_the_round_would_bring_in_points_of_a_hundred() -> None:
    curve = LearningCurve.of(fits(0.5, 0.7, None))
    gain = curve.gain_of_another_round()
    assert gain is not None
    assert f"{100 * gain.expected:.1f} percentage points" in curve.advice()
    assert "all six parts of the hand right at once" in curve.advice()
    assert "You can stop" in LearningCurve.of(fits(0.95, 0.96, 0.962, None)).advice()


def test_a_single_score_is_told_as_it_was_measured() -> None:
    assert "80 %" in LearningCurve.of(fits(0.8, None)).advice()


def test_the_most_telling_score_is_taken_or_the_one_that_is_asked_for() -> None:
    both = [FitRecord(1, 10, {"per_dof_accuracy": 0.9, "steady_exact_match": 0.7}, 1.0)]
    assert LearningCurve.of(both).score == "steady_exact_match"
    assert LearningCurve.of(both, "per_dof_accuracy").values == (0.9,)
    assert LearningCurve.of(both, "joint_r2").gain_of_another_round() is None


def test_it_loads_nothing_heavy_for_it_runs_beside_a_live_calibration() -> None:
    code = "import sys, calibration.report.learning; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"matplotlib", "weasyprint", "jinja2", "scipy", "torch", "sklearn", "numba", "onnxruntime"}
    assert set(done.stdout.split()) & heavy == set()
