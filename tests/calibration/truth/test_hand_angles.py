"""Poses make of sensors joint angles and six positions of the other hand; a sensor that says too little is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.postures import BEYOND
from calibration.truth import TruthInfo
from calibration.truth.hand_angles import (
    JOINT_NAMES,
    MIRROR,
    HandCalibration,
    Pose,
    Poses,
    poses_of,
)
from calibration.truth.simulated import Imperfections
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.plain import from_plain, to_plain
from tests.calibration.truth.held import POSTURES, calibrated, posed, readings

QUIET = Imperfections(noise_rad=0.0, resolution_rad=0.0)
ANY_POSITIONS = st.lists(st.floats(-1, 1), min_size=6, max_size=6)
FINGERS = TruthInfo(
    "glove",
    ("t", "i1", "i2", "m", "r", "l", "spread"),
    ("raw",) * 7,
    ("thumb mcp", "index mcp", "index pip", "middle mcp", "ring mcp", "little mcp", "index abduction"),
    100.0,
    "left",
)
"""A raw glove of the left hand, without a wrist."""
RAW = {
    Pose.RELAXED: (60, 60, 70, 60, 60, 60, 120),
    Pose.OPEN: (40, 200, 40, 40, 40, 40, 180),
    Pose.FIST: (200, 40, 210, 200, 200, 200, 100),
}
"""Its sensors in each pose; one has its scale the other way round."""
RAW[Pose.RELAXED] = (*RAW[Pose.RELAXED][:1], 170, *RAW[Pose.RELAXED][2:])


def raw(pose: Pose, n: int = 50, noise: float = 0.5) -> NDArray[np.float32]:
    draws = np.random.default_rng(list(Pose).index(pose))
    return (np.array(RAW[pose]) + noise * draws.standard_normal((n, 7))).astype(np.float32)


def raw_poses(info: TruthInfo = FINGERS, **changed: NDArray[np.float32]) -> Poses:
    poses = Poses(info)
    for pose in RAW:
        poses.hold(pose, changed.get(pose.name, raw(pose)))
    return poses


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_poses_themselves_are_the_ends_and_the_middle_of_every_position(side: str) -> None:
    calibration = calibrated("left" if side == "left" else "right")
    for posture in POSTURES.values():
        held = calibration.positions(readings(posture, "left" if side == "left" else "right", seed=9))
        np.testing.assert_allclose(held.mean(axis=0), posture, atol=0.03)
    assert calibration.measured == (True,) * 6
    assert calibration.tells_extension == (True,) * 6
    assert calibration.other_side != side


@settings(max_examples=25)
@given(ANY_POSITIONS)
def test_any_posture_of_the_able_hand_is_that_posture_of_the_other(posture: list[float]) -> None:
    calibration = posed(imperfections=QUIET).calibration()
    found = calibration.positions(readings(posture, imperfections=QUIET)[:1])[0]
    np.testing.assert_allclose(found, posture, atol=0.01)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.booleans(), st.floats(-500, 500)), min_size=7, max_size=7),
    st.floats(0, 1),
)
def test_positions_do_not_depend_on_a_sensors_gain_sign_and_offset(
    scales: list[tuple[float, bool, float]], way: float
) -> None:
    gain = np.array([-one if is_turned else one for one, is_turned, _ in scales])
    offset = np.array([one for *_, one in scales])
    made = raw_poses().calibration()
    changed = raw_poses(
        **{pose.name: (raw(pose) * gain + offset).astype(np.float32) for pose in RAW}
    ).calibration()
    rows = np.array(RAW[Pose.OPEN]) * (1 - way) + np.array(RAW[Pose.FIST]) * way
    found = made.positions(rows[None].astype(np.float32))
    again = changed.positions((rows * gain + offset)[None].astype(np.float32))
    np.testing.assert_allclose(again, found, atol=0.02)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_finger_that_bends_further_has_the_higher_position(one: float, other: float) -> None:
    calibration = raw_poses().calibration()
    low, high = np.array(RAW[Pose.OPEN]), np.array(RAW[Pose.FIST])
    rows = np.array([low + sorted((one, other))[k] * (high - low) for k in (0, 1)], np.float32)
    found = calibration.positions(rows)[:, :5]
    assert (found[1] >= found[0] - 1e-5).all()


def test_what_a_source_cannot_measure_is_not_a_number_and_is_named() -> None:
    calibration = raw_poses().calibration()
    assert poses_of(FINGERS) == (Pose.RELAXED, Pose.OPEN, Pose.FIST)
    assert dict(zip(DOF_NAMES, calibration.measured, strict=True)) == {
        "thumb": True, "index": True, "middle": True, "ring": True, "little": True, "wrist": False,
    }  # fmt: skip
    found = calibration.positions(raw(Pose.FIST))
    assert np.isnan(found[:, 5]).all()
    assert np.isfinite(found[:, :5]).all()


def test_a_sensor_that_falls_silent_leaves_its_finger_to_the_others_and_a_finger_without_any_unknown() -> (
    None
):
    calibration = raw_poses().calibration()
    rows = raw(Pose.FIST)
    rows[:, 1] = np.nan  # one of the index finger's two
    rows[:, 3] = np.nan  # the middle finger's only one
    found = calibration.positions(rows)
    np.testing.assert_allclose(found[:, 1], 1.0, atol=0.05)
    assert np.isnan(found[:, 2]).all()


def test_a_finger_beyond_its_pose_passes_its_end_a_little_and_no_further() -> None:
    calibration = raw_poses().calibration()
    rows = np.array([RAW[Pose.FIST], RAW[Pose.FIST]], np.float32)
    rows[0, 0], rows[1, 0] = 214, 2000
    thumb = calibration.positions(rows)[:, 0]
    assert thumb[0] == pytest.approx(1.1, abs=0.02)
    assert thumb[1] == np.float32(BEYOND)


def test_a_raw_sensor_says_radians_between_a_flat_hand_and_full_flexion() -> None:
    angles = raw_poses().calibration().angles_rad(np.array([RAW[Pose.OPEN], RAW[Pose.FIST]], np.float32))
    np.testing.assert_allclose(np.degrees(angles["index mcp"]), (0, 90), atol=1)
    np.testing.assert_allclose(np.degrees(angles["index pip"]), (0, 100), atol=1)
    # Of a left hand: the index finger spreads to the right of the back of the hand.
    np.testing.assert_allclose(np.degrees(angles["index abduction"]), (-20, 0), atol=1)


def test_a_sensor_in_radians_says_its_own_angle() -> None:
    rows = readings((0.5,) * 6)
    angles = calibrated().angles_rad(rows)
    assert tuple(angles) == JOINT_NAMES
    np.testing.assert_array_equal(angles["index pip"], rows[:, JOINT_NAMES.index("index pip")])


def test_the_other_hands_angles_keep_flexion_and_turn_abduction_over() -> None:
    rows = readings(POSTURES[Pose.OPEN], "left", QUIET)
    calibration = posed("left", QUIET).calibration()
    of_right = posed("right", QUIET).calibration().angles_rad(readings(POSTURES[Pose.OPEN], "right", QUIET))
    mirrored = calibration.mirrored_rad(rows)
    for name in JOINT_NAMES:
        np.testing.assert_allclose(mirrored[name], of_right[name], atol=1e-6)
    assert np.abs(mirrored["index abduction"]).min() > 0.1
    assert MIRROR["abduction"].sign == MIRROR["deviation"].sign == MIRROR["rotation"].sign == -1.0


def test_a_noisy_sensor_counts_less_than_a_quiet_one() -> None:
    poses = Poses(FINGERS)
    for pose in RAW:
        rows = raw(pose)
        rows[:, 1] += np.random.default_rng(1).normal(0, 20, len(rows)).astype(np.float32)
        poses.hold(pose, rows)
    calibration = poses.calibration()
    rows = np.array([RAW[Pose.FIST]], np.float32)
    rows[0, 1] = RAW[Pose.OPEN][1]  # the noisy one alone says that the finger is straight
    assert calibration.positions(rows)[0, 1] > 0.9
    assert calibration.noise[1] > 10 * calibration.noise[2]


@pytest.mark.parametrize("dead", ["t", "i2", "l"])
def test_a_sensor_that_does_not_move_between_open_and_fist_is_refused_by_name(dead: str) -> None:
    column = FINGERS.sensors.index(dead)
    fist = raw(Pose.FIST)
    fist[:, column] = raw(Pose.OPEN)[:, column] + 1.0
    with pytest.raises(NervehandError, match=f"sensor '{dead}' of glove does not move between open and fist"):
        raw_poses(FIST=fist).calibration()


def test_noise_that_hides_the_motion_is_no_motion() -> None:
    poses = Poses(FINGERS)
    for pose in RAW:
        rows = raw(pose)
        rows[:, 4] = (
            100 + (10 if pose is Pose.FIST else 0) + np.random.default_rng(3).normal(0, 2.5, len(rows))
        )
        poses.hold(pose, rows)
    with pytest.raises(NervehandError, match="sensor 'r' of glove does not move"):
        poses.calibration()


def test_a_dead_sensor_may_be_left_out_and_a_finger_without_another_is_not_measured() -> None:
    fist = raw(Pose.FIST)
    fist[:, 5] = raw(Pose.OPEN)[:, 5]
    calibration = raw_poses(FIST=fist).calibration(leave_out=("l",))
    assert calibration.measured == (True, True, True, True, False, False)
    assert "little mcp" not in calibration.angles_rad(raw(Pose.FIST))
    with pytest.raises(NervehandError, match="no sensor 'x': it has t, i1"):
        raw_poses().calibration(leave_out=("x",))


def test_a_tolerant_calibration_leaves_a_dead_sensor_out_where_its_finger_has_another_and_says_so() -> None:
    fist = raw(Pose.FIST)
    fist[:, 1] = raw(Pose.OPEN)[:, 1]  # one of the index finger's two
    poses = raw_poses(FIST=fist)
    assert list(poses.faults()) == ["i1"]
    calibration = poses.calibration(is_tolerant=True)
    assert calibration.left_out == ("i1",)
    np.testing.assert_allclose(calibration.positions(raw(Pose.FIST))[:, 1].mean(), 1.0, atol=0.02)
    fist[:, 2] = raw(Pose.OPEN)[:, 2]
    with pytest.raises(NervehandError, match="sensor 'i1' of glove does not move"):
        raw_poses(FIST=fist).calibration(is_tolerant=True)
    assert raw_poses().faults() == {}


def test_sensors_that_tell_no_finger_need_not_move() -> None:
    fist = raw(Pose.FIST)
    fist[:, 6] = raw(Pose.OPEN)[:, 6]
    assert raw_poses(FIST=fist).calibration().measured[:5] == (True,) * 5


def test_a_hand_that_moved_while_it_was_held_is_told_from_a_dead_sensor() -> None:
    fist = raw(Pose.FIST)
    fist[:, 3] = np.linspace(RAW[Pose.OPEN][3], RAW[Pose.FIST][3], len(fist))
    with pytest.raises(
        NervehandError, match=r"sensor 'm' of glove varied by .* the hand moved in pose 'fist'"
    ):
        raw_poses(FIST=fist).calibration()


def test_a_few_wild_readings_change_nothing() -> None:
    fist = raw(Pose.FIST)
    fist[::5] = 0.0
    clean, wild = raw_poses().calibration(), raw_poses(FIST=fist).calibration()
    rows = raw(Pose.FIST)
    np.testing.assert_allclose(wild.positions(rows), clean.positions(rows), atol=0.02)


def test_a_pose_that_was_not_held_or_not_seen_is_asked_for() -> None:
    poses = Poses(FINGERS)
    poses.hold(Pose.RELAXED, raw(Pose.RELAXED))
    poses.hold(Pose.FIST, raw(Pose.FIST))
    assert poses.missing == (Pose.OPEN,)
    with pytest.raises(NervehandError, match="hold the pose 'open'"):
        poses.calibration()
    with pytest.raises(NervehandError, match="did not see the hand in pose 'open'"):
        poses.hold(Pose.OPEN, np.full((20, 7), np.nan, np.float32))
    with pytest.raises(NervehandError, match=r"shape \(20, 3\): give \(k, 7\)"):
        poses.hold(Pose.OPEN, np.zeros((20, 3), np.float32))


def test_a_sensor_with_too_few_readings_in_a_pose_is_named() -> None:
    rows = raw(Pose.OPEN)
    rows[9:, 2] = np.nan
    with pytest.raises(NervehandError, match="sensor 'i2' of glove gave 9 readings in pose 'open', and 10"):
        raw_poses(OPEN=rows).calibration()


def test_a_relaxed_hand_that_is_as_bent_as_the_fist_is_refused() -> None:
    with pytest.raises(NervehandError, match="relaxed hand's thumb is as bent as the fist's"):
        raw_poses(RELAXED=raw(Pose.FIST)).calibration()


def test_a_person_who_holds_the_same_hand_relaxed_and_open_has_no_scale_for_extension() -> None:
    calibration = raw_poses(RELAXED=raw(Pose.OPEN)).calibration()
    assert calibration.tells_extension == (False,) * 6
    np.testing.assert_allclose(calibration.positions(raw(Pose.OPEN))[:, :5].mean(axis=0), 0, atol=0.02)
    half = (np.array(RAW[Pose.OPEN]) + np.array(RAW[Pose.FIST])) / 2
    np.testing.assert_allclose(calibration.positions(half[None].astype(np.float32))[0, :5], 0.5, atol=0.02)


def test_a_calibration_is_json_and_comes_back_the_same() -> None:
    for calibration in (calibrated(), raw_poses().calibration()):
        again = from_plain(HandCalibration, json.loads(json.dumps(to_plain(calibration), allow_nan=False)))
        assert again == calibration
        rows = np.full((1, len(calibration.sensors)), 0.3, np.float32)
        np.testing.assert_array_equal(again.positions(rows), calibration.positions(rows))


def test_a_calibration_that_does_not_fit_its_sensors_or_its_source_is_refused() -> None:
    calibration = raw_poses().calibration()
    with pytest.raises(NervehandError, match="does not say the same for each of its 7 sensors"):
        replace(calibration, fist=calibration.fist[:-1])
    with pytest.raises(NervehandError, match="is not all numbers"):
        replace(calibration, fist=(float("nan"), *calibration.fist[1:]))
    with pytest.raises(NervehandError, match="'both' hand"):
        replace(calibration, side="both")
    calibration.require_source(FINGERS)
    with pytest.raises(
        NervehandError, match=r"is of glove \(left, 7 sensors\), and the source is glove \(right"
    ):
        calibration.require_source(replace(FINGERS, side="right"))
    with pytest.raises(NervehandError, match="names joints that a hand lacks: elbow"):
        Poses(TruthInfo("arm", ("e",), ("rad",), ("elbow",), 100.0, "left"))
