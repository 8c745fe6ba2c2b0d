"""The poses that calibrate the able hand's sensors, held one after the other."""

from __future__ import annotations

import numpy as np

from calibration.posing import HOLD_S, SETTLE_S, Posing
from calibration.truth import TruthBlock, TruthInfo
from calibration.truth.hand_joints import Pose

RATE_HZ = 1000.0
INFO = TruthInfo("g", ("a", "b"), ("raw", "raw"), ("index mcp", "middle mcp"), 100.0, "left")
VALUES = {Pose.RELAXED: (30.0, 40.0), Pose.OPEN: (10.0, 10.0), Pose.FIST: (200.0, 220.0)}


def readings(values: tuple[float, float], rng: np.random.Generator, n: int = 10) -> TruthBlock:
    noisy = np.array(values) + rng.normal(0, 0.3, (n, 2))
    return TruthBlock(noisy.astype(np.float32), np.zeros(n), np.zeros(n, np.int64))


def held(posing: Posing, at: int, during: dict[Pose, tuple[float, float]]) -> int:
    """Hold the pose asked for as `during` says, on the way there something else; the sample at which it is done."""
    rng = np.random.default_rng(0)
    pose = posing.asked
    assert pose is not None
    posing.take(at)
    end = at + round((SETTLE_S + HOLD_S) * RATE_HZ)
    for now in range(at, end + 1, 100):
        is_there = now > at + SETTLE_S * RATE_HZ
        posing.readings(readings(during[pose] if is_there else (90.0, 90.0), rng), now)
        if posing.advance(now):
            return now
    raise AssertionError("the pose was never measured")


def test_the_poses_are_asked_for_in_turn_and_make_a_calibration() -> None:
    posing = Posing(INFO, RATE_HZ)
    at, asked = 0, []
    while posing.asked is not None:
        asked.append(posing.asked)
        at = held(posing, at, VALUES)
    assert asked == [Pose.RELAXED, Pose.OPEN, Pose.FIST]
    assert posing.calibration is not None
    assert posing.problem == ""
    positions = posing.calibration.positions(np.array([[200, 220], [30, 40]], np.float32))
    np.testing.assert_allclose(positions[:, 1:3], [[1, 1], [0, 0]], atol=0.05)


def test_a_sensor_that_does_not_move_is_named_and_the_poses_begin_anew() -> None:
    posing = Posing(INFO, RATE_HZ)
    at = 0
    stuck = {pose: (value[0], 40.0) for pose, value in VALUES.items()}
    for _ in range(3):
        at = held(posing, at, stuck)
    assert "sensor 'b'" in posing.problem
    assert (posing.asked, posing.calibration) == (Pose.RELAXED, None)


def test_a_pose_without_readings_is_asked_for_again() -> None:
    posing = Posing(INFO, RATE_HZ)
    posing.take(0)
    assert posing.left_s(1200) == HOLD_S
    assert posing.advance(3000)
    assert "said nothing" in posing.problem
    assert posing.asked is Pose.RELAXED
