"""The six degrees of freedom as a hand's own joints, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.joint_map import Joint, JointMap

FINGERS = JointMap(
    (
        Joint("index", "deg", 10.0, 100.0, None, {"index": 1.0}),
        Joint("thumb flexor", "deg", 0.0, 80.0, None, {"thumb": 1.0}),
        Joint("thumb rotator", "deg", 0.0, -60.0, None, {"thumb": 0.5}),
        Joint("wrist", "rad", 0.0, 1.2, -0.8, {"wrist": 1.0}),
        Joint("ring and little", "deg", 0.0, 90.0, None, {"ring": 0.5, "little": 0.5}),
    )
)


def positions(**by_name: float) -> np.ndarray:
    return np.array([by_name.get(name, 0.0) for name in DOF_NAMES], np.float32)


def test_rest_flexion_and_extension_are_where_each_joint_says() -> None:
    np.testing.assert_allclose(FINGERS.to_joints(positions()), [10, 0, 0, 0, 0])
    np.testing.assert_allclose(
        FINGERS.to_joints(positions(index=1, thumb=1, wrist=1, ring=1, little=1)), [100, 80, -30, 1.2, 90]
    )
    np.testing.assert_allclose(FINGERS.to_joints(positions(wrist=-0.5)), [10, 0, 0, -0.4, 0])


def test_a_joint_that_cannot_extend_stays_at_rest() -> None:
    np.testing.assert_allclose(FINGERS.to_joints(positions(index=-1, thumb=-1)), [10, 0, 0, 0, 0])


def test_the_reach_follows_from_the_joints() -> None:
    np.testing.assert_array_equal(FINGERS.lower, positions(wrist=-1))
    np.testing.assert_array_equal(FINGERS.upper, positions(thumb=1, index=1, ring=1, little=1, wrist=1))


def test_a_joint_that_a_degree_of_freedom_drives_backwards_reaches_below_rest_only() -> None:
    backwards = JointMap((Joint("back", "deg", 0.0, 50.0, None, {"index": -1.0}),))
    assert (backwards.lower[1], backwards.upper[1]) == (-1, 0)
    np.testing.assert_allclose(backwards.to_joints(positions(index=-0.5)), [25])
    np.testing.assert_allclose(backwards.to_joints(positions(index=0.5)), [0])
    assert backwards.to_positions(np.array([25.0]))[1] == pytest.approx(-0.5)


def test_coupled_joints_follow_the_weighted_sum_cut_to_its_range() -> None:
    np.testing.assert_allclose(FINGERS.to_joints(positions(ring=1))[4], 45)
    steep = JointMap((Joint("all", "deg", 0.0, 90.0, None, {"ring": 2.0, "little": 2.0}),))
    np.testing.assert_allclose(steep.to_joints(positions(ring=1, little=1)), [90])


def test_what_no_joint_tells_is_not_a_number_and_two_joints_tell_their_mean() -> None:
    told = FINGERS.to_positions(np.array([55.0, 40.0, -30.0, -0.4, 45.0]))
    np.testing.assert_allclose(told[:2], [0.75, 0.5])  # thumb: 0.5 by its flexor, 1.0 by its rotator
    assert told[5] == pytest.approx(-0.5)
    assert np.isnan(told[2:5]).all()  # the middle finger has no joint; ring and little share one


def test_a_joint_beyond_its_ends_is_told_as_it_is() -> None:
    assert FINGERS.to_positions(np.array([109.0, 0, 0, 0, 0]))[1] == pytest.approx(1.1)


def test_what_is_measured_by_joint_is_the_largest_of_each_degree_of_freedom() -> None:
    by_dof = FINGERS.by_dof(np.array([0.1, -0.2, 0.5, 0.0, 0.3]))
    np.testing.assert_allclose(by_dof, np.float32([0.5, 0.1, np.nan, 0.3, 0.3, 0.0]))


@given(st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6))
def test_joints_of_their_own_tell_the_positions_back(values: list[float]) -> None:
    own = JointMap(
        tuple(Joint(name, "deg", 5.0, 95.0 + i, -20.0, {name: 1.0}) for i, name in enumerate(DOF_NAMES))
    )
    there_and_back = own.to_positions(own.to_joints(np.array(values, np.float32)))
    np.testing.assert_allclose(there_and_back, np.float32(values), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"follows": {"pinky": 1.0}}, "follows pinky: name some of thumb"),
        ({"flexed": 0.0}, "two places that differ"),
        ({"flexed": float("nan")}, "give finite numbers"),
        ({"extended": 10.0}, "ends on either side of rest"),
        ({"extended": float("nan")}, "ends on either side of rest"),
        ({"extended": float("-inf")}, "ends on either side of rest"),
    ],
)
def test_a_joint_that_makes_no_sense_is_refused(change: dict[str, object], says: str) -> None:
    good: dict[str, object] = {"name": "j", "unit": "deg", "rest": 0.0, "flexed": 90.0, "extended": None}
    with pytest.raises(NervehandError, match=says):
        Joint(**(good | {"follows": {"index": 1.0}} | change))  # type: ignore[arg-type]


def test_joints_need_names_of_their_own() -> None:
    joint = FINGERS.joints[0]
    with pytest.raises(NervehandError, match="give each its own name"):
        JointMap((joint, joint))
    with pytest.raises(NervehandError, match="give each its own name"):
        JointMap(())
