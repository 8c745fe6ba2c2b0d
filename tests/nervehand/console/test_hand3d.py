"""A hand in a scene: only what moved is sent, and where its bones then are is where the skeleton has them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.physics.skeleton import bone_ends, bone_names, joint_angles
from nervehand.console.hand3d import STEPS, bone_dofs, bone_turns, hand_bones, in_steps

sides = st.sampled_from(["left", "right"])
postures = st.lists(st.integers(-STEPS, STEPS), min_size=N_DOF, max_size=N_DOF)


@given(sides, postures)
def test_nested_turns_put_every_bone_where_the_skeleton_has_it(
    side: Literal["left", "right"], steps: list[int]
) -> None:
    places: dict[str, tuple[np.ndarray, np.ndarray]] = {"": (np.zeros(3), np.eye(3))}
    positions = np.array(steps, np.float32) / np.float32(STEPS)
    wanted = bone_ends(joint_angles(positions), side)
    for i, (bone, dof) in enumerate(zip(hand_bones(side), bone_dofs(side), strict=True)):
        place, turn = places[bone.parent]
        own = turn @ np.array(bone_turns(side, steps[dof] if dof >= 0 else 0)[i])
        start = place + turn @ bone.origin
        places[bone.name] = start, own
        np.testing.assert_allclose(start, wanted[i, 0], atol=1e-4)  # a tenth of a millimetre
        np.testing.assert_allclose(start + own[:, 0] * bone.length_m, wanted[i, 1], atol=1e-4)


@pytest.mark.parametrize("dof", range(N_DOF), ids=DOF_NAMES)
def test_a_degree_of_freedom_turns_its_own_bones_and_no_others(dof: int) -> None:
    turned = {name for name, of in zip(bone_names(), bone_dofs("right"), strict=True) if of == dof}
    wanted = "palm" if DOF_NAMES[dof] == "wrist" else DOF_NAMES[dof]
    assert turned
    assert all(name.startswith(wanted) for name in turned)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=N_DOF, max_size=N_DOF))
def test_any_positions_are_steps_that_can_be_drawn(positions: list[float]) -> None:
    assert all(abs(step) <= STEPS for step in in_steps(positions))


def test_too_few_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="5 positions"):
        in_steps((0.0,) * 5)
