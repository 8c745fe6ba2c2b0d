"""The joints of a hand, and one hand as the mirror of the other: what the mirror says is what two skeletons do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.truth._hand_points import JOINTS as POINT_JOINTS
from calibration.truth._hand_points import joint_angles, wrist_angles
from calibration.truth.hand_angles import JOINT_NAMES, JOINTS, MIRROR
from calibration.truth.hand_joints import BY_NAME
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.physics import anatomy, skeleton
from tests.calibration.truth.skeleton_points import elbow, hand_points

POSITIONS = st.lists(st.floats(-1, 1), min_size=N_DOF, max_size=N_DOF)


def test_every_degree_of_freedom_is_told_by_flexion_alone() -> None:
    of_dof = {joint.dof for joint in JOINTS if joint.dof}
    assert of_dof == set(DOF_NAMES)
    assert {joint.kind for joint in JOINTS if joint.dof} == {"flexion"}
    assert len(set(JOINT_NAMES)) == len(JOINTS)


def test_the_joints_bend_as_far_as_their_source_says() -> None:
    degrees = {joint.name: round(np.degrees(joint.flexed_rad)) for joint in JOINTS}
    assert {name: degrees[name] for name in ("index mcp", "index pip", "index dip")} == {
        "index mcp": 90, "index pip": 100, "index dip": 90,
    }  # fmt: skip
    assert (degrees["thumb mcp"], degrees["thumb ip"], degrees["wrist flexion"]) == (50, 80, 80)
    assert all(joint.source for joint in JOINTS)


@given(POSITIONS)
def test_the_mirrored_skeletons_angles_are_the_mirrors(positions: list[float]) -> None:
    right, left = (joint_angles(hand_points(positions, side)[None], side)[0] for side in ("right", "left"))
    signs = np.array([MIRROR[BY_NAME[joint].kind].sign for joint in POINT_JOINTS])
    np.testing.assert_allclose(left, signs * right, atol=1e-9)


@pytest.mark.parametrize("side", ["right", "left"])
@given(positions=POSITIONS)
def test_the_points_of_a_skeleton_give_its_joints_angles(side: anatomy.Side, positions: list[float]) -> None:
    measured = dict(zip(POINT_JOINTS, joint_angles(hand_points(positions, side)[None], side)[0], strict=True))
    angles = skeleton.joint_angles(np.array(positions, np.float32))
    true = dict(zip(anatomy.JOINT_NAMES, angles, strict=True))
    # The knuckles' plane is nearly, not quite, the palm's.
    wrong = {name: abs(measured[name] - true[name]) for name in measured if name in true}
    assert max(wrong.values()) < np.radians(2.0), wrong


@given(POSITIONS, st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(0.1, 10))
def test_angles_do_not_depend_on_where_the_hand_is_how_it_is_turned_and_how_large_it_is(
    positions: list[float], turn: list[float], scale: float
) -> None:
    points = hand_points(positions, "right")
    length = float(np.linalg.norm(turn))
    turned = points if length < 1e-6 else points @ skeleton.about(np.array(turn) / length, length).T
    moved = scale * (turned + np.array([1.0, -2.0, 3.0]))
    before, after = (joint_angles(p[None], "right") for p in (points, moved))
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_wrist_bends_against_the_forearm_and_the_mirror_keeps_its_flexion() -> None:
    for side in ("right", "left"):
        for position, degrees in ((-1.0, -70.0), (0.0, 0.0), (1.0, 80.0)):
            points = hand_points([0, 0, 0, 0, 0, position], side)
            flexion, deviation = np.degrees(wrist_angles(points[None], elbow()[None], side)[0])
            assert flexion == pytest.approx(degrees, abs=2.0)
            assert abs(deviation) < 4.0


def test_a_point_that_is_not_seen_makes_its_joints_unknown_and_no_others() -> None:
    points = hand_points([0.0] * N_DOF, "right")
    points[7] = np.nan  # the index finger's DIP joint
    angles = dict(zip(POINT_JOINTS, joint_angles(points[None], "right")[0], strict=True))
    assert {name for name, angle in angles.items() if np.isnan(angle)} == {"index pip", "index dip"}
