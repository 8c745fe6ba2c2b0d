"""The able hand's motion at any instant, and where it is not known."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.alignment.trace import able_trace
from firmware_bridge.errors import NervehandError

RATE_HZ = 1000.0


def test_positions_are_interpolated_between_readings() -> None:
    positions = np.zeros((3, 6))
    positions[:, 1] = (0.0, 1.0, 0.0)
    found, known = able_trace(np.array([0.0, 10.0, 20.0]), positions, RATE_HZ).on(
        np.array([0.0, 2.5, 10.0, 15.0])
    )
    assert found[:, 1] == pytest.approx([0, 0.25, 1, 0.5])
    assert known.all()


def test_what_lies_outside_the_readings_or_in_a_long_gap_is_held_and_not_known() -> None:
    positions = np.repeat([[0.2], [0.4]], 6, axis=1)
    found, known = able_trace(np.array([100.0, 300.0]), positions, RATE_HZ).on(np.array([0.0, 200.0, 400.0]))
    assert found[:, 0] == pytest.approx([0.2, 0.3, 0.4])
    assert not known.any()


def test_a_reading_that_lost_a_finger_is_left_out_but_one_that_no_reading_tells_is_nothing() -> None:
    positions = np.zeros((4, 6))
    positions[:, 5] = np.nan  # no sensor at the wrist
    positions[:, 0] = (0.1, np.nan, 0.3, 0.4)
    trace = able_trace(np.array([0.0, 10.0, 20.0, 30.0]), positions, RATE_HZ)
    assert trace.measured.tolist() == [True] * 5 + [False]
    found, known = trace.on(np.array([10.0]))
    assert found[0] == pytest.approx([0.2, 0, 0, 0, 0, 0])
    assert known.all()


def test_readings_that_go_back_in_time_are_left_out() -> None:
    trace = able_trace(np.array([0.0, 10.0, 5.0, 20.0]), np.zeros((4, 6)), RATE_HZ)
    assert trace.at.tolist() == [0, 10, 20]


def test_without_any_reading_nothing_is_known() -> None:
    found, known = able_trace(np.zeros(0), np.zeros((0, 6)), RATE_HZ).on(np.array([1.0, 2.0]))
    assert not found.any()
    assert not known.any()


def test_arrays_that_do_not_belong_together_are_an_error() -> None:
    with pytest.raises(NervehandError, match="do not belong together"):
        able_trace(np.zeros(3), np.zeros((2, 6)), RATE_HZ)
