"""A wearer's adjustments as data."""

from __future__ import annotations

import math

import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError

ONES, NONE = (1.0,) * 6, (0.0,) * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"gain": (1.0,) * 5},
            "adjustment gain has 5 values: give 6, one for each of thumb, index, middle, ring, little, wrist",
        ),
        ({"gain": (-0.01, *ONES[1:])}, "adjustment gain of thumb is -0.01: give a number from 0 to 4"),
        ({"gain": (*ONES[1:], 4.01)}, "adjustment gain of wrist is 4.01: give a number from 0 to 4"),
        ({"gain": (1.0, math.nan, *ONES[2:])}, "adjustment gain of index is nan: give a number from 0 to 4"),
        ({"dead_band": (-0.01, *NONE[1:])}, "adjustment dead_band of thumb is -0.01: give a number from 0 to below 1"),
        ({"dead_band": (*NONE[1:], 1.0)}, "adjustment dead_band of wrist is 1.0: give a number from 0 to below 1"),
        (
            {"max_speed_per_s": (*ONES[:4], 0.0, 1.0)},
            "adjustment max_speed_per_s of little is 0.0: give a speed above 0 /s, inf for no limit",
        ),
        ({"locked": (1, *(False,) * 5)}, "adjustment locked of thumb is 1: give true or false"),
    ],
)  # fmt: skip
def test_impossible_adjustments_are_refused_by_degree_of_freedom_value_and_range(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(NervehandError) as refused:
        Adjustments(**change)  # type: ignore[arg-type]
    assert message == str(refused.value)


@pytest.mark.parametrize(
    "good",
    [
        {"gain": NONE},
        {"gain": (4.0,) * 6},
        {"dead_band": (0.99,) * 6},
        {"max_speed_per_s": (1e-3,) * 6},
        {"max_speed_per_s": (math.inf,) * 6},
        {"locked": (True,) * 6},
    ],
)
def test_every_bound_itself_is_allowed(good: dict[str, object]) -> None:
    Adjustments(**good)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "adjusted"),
    [(0.0, 0.0), (0.1, 0.0), (-0.2, 0.0), (0.2, 0.0), (0.6, 1.0), (-0.6, -1.0), (1.0, 2.0), (-1.0, -2.0)],
)
def test_what_is_beyond_the_dead_band_is_stretched_then_multiplied(target: float, adjusted: float) -> None:
    adjustments = Adjustments(gain=(2.0,) * 6, dead_band=(0.2,) * 6)
    assert adjustments.adjusted((target,) * 6) == pytest.approx((adjusted,) * 6)
    assert adjustments.applied([target] * 6, (0.5,) * 6) == pytest.approx((adjusted,) * 6)


def test_what_is_locked_stays_where_it_is_sent_now() -> None:
    some = Adjustments(locked=(True, False, False, False, False, True))
    assert some.applied([0.1] * 6, (0.5,) * 6) == pytest.approx((0.5, 0.1, 0.1, 0.1, 0.1, 0.5))


def test_without_adjustments_nothing_changes() -> None:
    targets = [0.1, -0.2, 1.0, -1.0, 0.0, 0.3]
    assert Adjustments().applied(targets, (0.5,) * 6) == tuple(targets)
    assert Adjustments(hand_locked=True, max_speed_per_s=ONES).applied(targets, (0.5,) * 6) == tuple(targets)
