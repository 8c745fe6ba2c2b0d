"""Gestures and truth to six positions: what is known by name, what is learned, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.postures import map_to_positions, postures_of
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES

LABEL = np.repeat([0, 1, 2], 200)
POSTURES = np.array([[0] * 6, [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, -1]], np.float32)


def test_a_session_s_own_postures_come_before_the_known_names() -> None:
    own = np.full((3, 6), np.nan, np.float32)
    own[1] = 0.5
    found = postures_of(("rest", "Fist", "juggling"), own)
    assert found[0].tolist() == [0] * 6
    assert found[1].tolist() == [0.5] * 6
    assert np.isnan(found[2]).all()
    assert postures_of(("Fist",), None)[0].tolist() == [1, 1, 1, 1, 1, 0]


def test_columns_named_like_degrees_of_freedom_pass_as_they_are() -> None:
    truth = np.random.default_rng(0).uniform(-1, 1, (600, 2)).astype(np.float32)
    matrix, offset = map_to_positions(truth, ("wrist", "index"), LABEL, POSTURES)
    positions = truth @ matrix.T + offset
    np.testing.assert_array_equal(positions[:, DOF_NAMES.index("index")], truth[:, 1])
    np.testing.assert_array_equal(positions[:, DOF_NAMES.index("wrist")], truth[:, 0])
    np.testing.assert_array_equal(positions[:, :1], 0)


def test_angles_under_the_name_of_a_position_are_refused() -> None:
    truth = np.random.default_rng(0).uniform(-10, 90, (600, 1)).astype(np.float32)
    with pytest.raises(NervehandError, match=r"truth column index goes from -8.* position in -1\.\.1"):
        map_to_positions(truth, ("index",), LABEL, POSTURES)


def test_other_columns_are_mapped_so_that_each_movement_reaches_its_posture() -> None:
    rng = np.random.default_rng(0)
    angles = POSTURES[LABEL][:, [1, 5]] * (70, 40) + (12, -3) + rng.normal(0, 1, (600, 2))
    matrix, offset = map_to_positions(angles.astype(np.float32), ("joint a", "joint b"), LABEL, POSTURES)
    positions = angles @ matrix.T + offset
    for gesture in range(3):
        np.testing.assert_allclose(positions[gesture == LABEL].mean(0), POSTURES[gesture], atol=0.05)


def test_without_a_known_posture_the_map_is_zero() -> None:
    truth = np.ones((600, 1), np.float32)
    matrix, offset = map_to_positions(truth, ("joint",), LABEL, np.full((3, 6), np.nan, np.float32))
    assert not matrix.any()
    assert not offset.any()
