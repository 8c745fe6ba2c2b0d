"""The drawn hand: anatomical proportions, joints where a hand has them, one side the mirror of the other."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.physics.anatomy import COUPLINGS, JOINT_NAMES, JOINTS, bones
from firmware_bridge.physics.skeleton import bone_ends, bone_names, bone_radii, joint_angles

REST = np.zeros(6, np.float32)
FIST = np.array([1, 1, 1, 1, 1, 0], np.float32)
NORMAL_RANGE_DEGREES = {  # American Academy of Orthopaedic Surgeons, 1965
    **{f"{finger} mcp": (-45, 90) for finger in ("index", "middle", "ring", "little")},
    **{f"{finger} pip": (0, 100) for finger in ("index", "middle", "ring", "little")},
    **{f"{finger} dip": (0, 90) for finger in ("index", "middle", "ring", "little")},
    "thumb mcp": (0, 50),
    "thumb ip": (-20, 80),
    "wrist": (-70, 80),
}


def ends(positions: np.ndarray, side: str = "right") -> dict[str, np.ndarray]:
    return dict(zip(bone_names(), bone_ends(joint_angles(positions), side), strict=True))  # type: ignore[arg-type]


def test_the_hand_is_as_long_as_a_hand_and_its_bones_as_long_as_published() -> None:
    straight = ends(np.full(6, -1, np.float32) * np.array([1, 0, 0, 0, 0, 0], np.float32))
    tip = straight["middle distal"][1]
    assert 0.17 < np.linalg.norm(tip) < 0.20
    proximal = straight["index proximal"]
    assert np.linalg.norm(proximal[1] - proximal[0]) == pytest.approx(0.03978)
    metacarpal = straight["thumb metacarpal"]
    assert np.linalg.norm(metacarpal[1] - metacarpal[0]) == pytest.approx(0.04622)


def test_each_bone_begins_where_its_parent_ends() -> None:
    bent = ends(FIST)
    for bone in bones("right"):
        if bone.parent not in ("", "palm"):
            np.testing.assert_allclose(bent[bone.name][0], bent[bone.parent][1], atol=1e-12)


def test_no_joint_leaves_the_normal_range_of_motion() -> None:
    for joint in JOINTS.joints:
        if joint.name in NORMAL_RANGE_DEGREES:
            low, high = NORMAL_RANGE_DEGREES[joint.name]
            assert joint.extended is not None
            assert (
                np.radians(low) - 1e-9
                <= joint.extended
                < joint.rest
                < joint.flexed
                <= np.radians(high) + 1e-9
            )


@pytest.mark.parametrize("position", [-1.0, -0.3, 0.0, 0.4, 1.0])
def test_a_joint_without_a_motor_has_its_share_of_the_angle_that_it_follows(position: float) -> None:
    angles = joint_angles(np.full(6, position, np.float32))
    for coupling in COUPLINGS:
        here, there = (angles[JOINT_NAMES.index(name)] for name in (coupling.joint, coupling.follows))
        assert here == pytest.approx(coupling.ratio * there, abs=1e-12)


def test_flexion_brings_the_fingertips_before_the_palm_and_the_thumb_before_the_fingers() -> None:
    flexed = ends(FIST)
    for finger in ("index", "middle", "ring", "little"):
        tip, knuckle = flexed[f"{finger} distal"][1], flexed[f"{finger} proximal"][0]
        assert tip[0] < knuckle[0]
        assert tip[2] < knuckle[2] - 0.015
    assert flexed["thumb distal"][1][2] < flexed["index middle"][1][2]
    # It crosses the index finger.
    assert flexed["thumb distal"][1][1] < flexed["index proximal"][0][1]


def test_a_full_fist_does_not_enter_the_palm() -> None:
    """The parts of the hand do not touch each other in the simulation: so they must not reach each other."""
    flexed, radii = ends(FIST), dict(zip(bone_names(), bone_radii(), strict=True))
    for finger in ("index", "middle", "ring", "little"):
        tip = flexed[f"{finger} distal"][1]
        behind = flexed[f"{finger} metacarpal"][0][2]
        assert behind - tip[2] > radii[f"{finger} distal"][1] + radii[f"{finger} metacarpal"][0]


def test_the_wrist_flexes_towards_the_palm() -> None:
    assert ends(np.array([0, 0, 0, 0, 0, 1], np.float32))["middle distal"][1][2] < -0.1
    assert ends(np.array([0, 0, 0, 0, 0, -1], np.float32))["middle distal"][1][2] > 0.1


def test_the_left_hand_is_the_mirror_image_of_the_right_one() -> None:
    positions = np.array([0.3, 0.9, -0.4, 0.1, 1.0, 0.6], np.float32)
    right, left = ends(positions), ends(positions, "left")
    for name in bone_names():
        np.testing.assert_allclose(left[name], right[name] * [1, -1, 1], atol=1e-12)


def test_what_a_hand_does_not_measure_is_drawn_at_rest() -> None:
    np.testing.assert_array_equal(joint_angles(np.full(6, np.nan, np.float32)), joint_angles(REST))


def test_a_third_side_and_seven_positions_are_refused() -> None:
    with pytest.raises(NervehandError, match="there is no 'middle' hand: use right or left"):
        bones("middle")  # type: ignore[arg-type]
    with pytest.raises(NervehandError, match="give 6"):
        joint_angles(np.zeros(7, np.float32))
