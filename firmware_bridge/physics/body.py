"""`PhysicalHand`: `KinematicHand`'s interface over a MuJoCo simulation in fixed steps; imports mujoco."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF, HandCapabilities
from firmware_bridge.kinematics import JointMotion, KinematicHand
from firmware_bridge.physics.anatomy import ACTUATORS, JOINT_NAMES, JOINTS, Side, bones
from firmware_bridge.physics.model import STEP_S, mjcf, motor_damping
from firmware_bridge.physics.objects import GraspObject

STEP_NS = round(STEP_S * 1e9)
HIGHEST_LIFT_M = 0.25
_PATH_SPEED = 0.95  # of what the capabilities allow, so that the motors can keep up
_LIFT_M_PER_S = 0.15
_LIFT_SETTLING_S = 0.12

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The simulation itself, for a camera: MuJoCo's model and data, which the hand goes on changing."""

    model: mujoco.MjModel
    data: mujoco.MjData
    side: Side


class PhysicalHand:
    """Six degrees of freedom with mass, motors that give way, contact, and perhaps an object to grasp.

    The motors are led along the path of a `KinematicHand` with the same capabilities, whose watchdog it therefore has:
    unhindered, it moves as that one does, a few hundredths of a second later. What is in the way stops a finger, which
    then presses as hard as its motor can.

    The simulation goes in steps of STEP_S from `now_ns` on, each taken once its end has come: what it does depends on
    the commands and their times alone, bit for bit on one machine, not on how often `advance` is called. Readings are
    those of the last step.
    """

    def __init__(
        self,
        capabilities: HandCapabilities,
        now_ns: int,
        side: Side = "right",
        thing: GraspObject | None = None,
    ) -> None:
        self.capabilities = capabilities
        self.side: Side = side
        led = replace(capabilities, max_speed_per_s=capabilities.max_speed_per_s * np.float32(_PATH_SPEED))
        self._path = KinematicHand(led, now_ns)
        speed = capabilities.max_speed_per_s.astype(np.float64)
        self._damping_flexed, self._damping_extended = motor_damping(speed)
        mujoco.set_mju_user_warning(logger.warning)  # which would else go to a file in the working directory
        self._model = mujoco.MjModel.from_xml_string(mjcf(side, thing))
        self._data = mujoco.MjData(self._model)
        self._start_ns = self._now_ns = now_ns
        self._steps = 0
        self._arm = JointMotion(np.zeros(1), np.array([_LIFT_M_PER_S]), now_ns, _LIFT_SETTLING_S)

        model = self._model
        self._q = np.array([model.joint(name).qposadr[0] for name in JOINT_NAMES])
        self._v = np.array([model.joint(name).dofadr[0] for name in JOINT_NAMES])
        driven = np.array([JOINT_NAMES.index(motor.joint) for motor in ACTUATORS])
        self._motor_q, self._motor_v = self._q[driven], self._v[driven]
        self._motor_dof = np.array([DOF_NAMES.index(motor.dof) for motor in ACTUATORS])
        rest, flexed, extended = (JOINTS.to_joints(np.full(N_DOF, at, np.float32)) for at in (0, 1, -1))
        self._motor_rest = rest[driven]
        self._to_flexed, self._to_extended = (flexed - rest)[driven], (rest - extended)[driven]
        self._controls = np.array([model.actuator(motor.joint).id for motor in ACTUATORS])
        self._lift_control = model.actuator("lift").id
        self._has_object = thing is not None
        self._part_of, self._dof_of = self._parts(side)

        self._data.qpos[self._q] = rest
        self._home = self._data.qpos.copy()
        self._lead()
        mujoco.mj_forward(model, self._data)

    @property
    def positions(self) -> NDArray[np.float32]:
        """Where the joints are, (6,) in -1..1: the mean over the joints of each degree of freedom."""
        reached = JOINTS.to_positions(self._data.qpos[self._q])
        return np.clip(reached, -1, 1).astype(np.float32)

    @property
    def watchdog_tripped(self) -> bool:
        """Whether no target came for the time that the capabilities state, to the last step."""
        return self._path.watchdog_tripped

    @property
    def angles(self) -> NDArray[np.float64]:
        """The joints' angles (n_joints,) in radians, in the order of JOINT_NAMES."""
        return np.array(self._data.qpos[self._q])

    @property
    def speeds(self) -> NDArray[np.float64]:
        """The joints' speeds (n_joints,) in rad/s."""
        return np.array(self._data.qvel[self._v])

    @property
    def torques(self) -> NDArray[np.float64]:
        """What each motor gives to its joint now (n_motors,) in N m, what its own speed takes away not counted."""
        return np.array(self._data.actuator_force[self._controls])

    @property
    def touch_n(self) -> dict[str, float]:
        """The normal force on each part that touches something, in newtons, by the part's name."""
        felt: dict[str, float] = {}
        force = np.empty(6)
        for i in range(self._data.ncon):
            contact = self._data.contact[i]
            part = self._part_of.get(int(contact.geom1)) or self._part_of.get(int(contact.geom2))
            if part is not None:
                mujoco.mj_contactForce(self._model, self._data, i, force)
                felt[part] = felt.get(part, 0.0) + float(force[0])
        return felt

    @property
    def forces_n(self) -> NDArray[np.float32]:
        """The normal force (6,) on all parts of each digit, in newtons; the wrist's is the palm's."""
        sums = np.zeros(N_DOF, np.float32)
        for part, force in self.touch_n.items():
            sums[self._dof_of[part]] += force
        return sums

    @property
    def object_m(self) -> NDArray[np.float64]:
        """Where the object's middle is (3,), in metres in the world (z up, 0 at the unlifted wrist)."""
        q, _ = self._object()
        return np.array(self._data.qpos[q : q + 3])

    @property
    def has_moved_object(self) -> bool:
        """Whether there is an object, and it is more than 2 cm from where it stood at first."""
        if not self._has_object:
            return False
        q, _ = self._object()
        return bool(np.abs(self._data.qpos[q : q + 3] - self._home[q : q + 3]).max() > 0.02)

    @property
    def lifted_m(self) -> float:
        """How high the forearm is above where it began."""
        return float(self._data.joint("lift").qpos[0])

    @property
    def scene(self) -> Scene:
        """For a camera."""
        return Scene(self._model, self._data, self.side)

    def command(self, targets: NDArray[np.float32], now_ns: int) -> None:
        """New targets (6,), clipped to the hand's reach; feeds the watchdog."""
        if targets.shape != (N_DOF,) or not np.isfinite(targets).all():
            raise NervehandError(f"targets are {targets.tolist()}: give {N_DOF} finite positions")
        self.advance(now_ns)
        self._path.command(targets, now_ns)

    def lift(self, height_m: float, now_ns: int) -> None:
        """Raise or lower the forearm to `height_m` above where it began, as the wearer's arm would."""
        if not 0 <= height_m <= HIGHEST_LIFT_M:
            raise NervehandError(f"a lift to {height_m} m: give 0 to {HIGHEST_LIFT_M} m")
        self.advance(now_ns)
        self._arm.advance(now_ns)
        self._arm.targets = np.array([height_m])

    def put_back(self, now_ns: int) -> None:
        """Stand the object where it was at first; the hand should be open and lowered."""
        q, v = self._object()
        self.advance(now_ns)
        self._data.qpos[q : q + 7] = self._home[q : q + 7]
        self._data.qvel[v : v + 6] = 0

    def advance(self, now_ns: int) -> None:
        """Take every step that has ended by `now_ns`."""
        if now_ns < self._now_ns:
            raise NervehandError(f"time runs backwards: {now_ns} ns after {self._now_ns} ns")
        self._now_ns = now_ns
        while (end_ns := self._start_ns + (self._steps + 1) * STEP_NS) <= now_ns:
            self._path.advance(end_ns)
            self._arm.advance(end_ns)
            self._lead()
            mujoco.mj_step(self._model, self._data)
            self._steps += 1
        if not np.isfinite(self._data.qacc).all():
            raise NervehandError(
                f"the simulation of the hand became unstable within {self._steps * STEP_S:g} s:"
                " make the hand anew, and report the commands that led to it"
            )

    def _lead(self) -> None:
        """Show the motors where their joints should be, and give them the line of the side of rest they move on."""
        data, rest = self._data, self._motor_rest
        there = self._path.positions[self._motor_dof]
        wanted = rest + there * np.where(there >= 0, self._to_flexed, self._to_extended)
        data.ctrl[self._controls] = wanted
        data.ctrl[self._lift_control] = self._arm.positions[0]
        is_flexed = np.minimum(wanted, data.qpos[self._motor_q]) >= rest
        self._model.dof_damping[self._motor_v] = np.where(
            is_flexed, self._damping_flexed, self._damping_extended
        )

    def _object(self) -> tuple[int, int]:
        """Where the object's position and its velocity begin among those of the simulation."""
        if not self._has_object:
            raise NervehandError("there is no object before this hand: give it one when it is made")
        joint = self._model.joint("object")
        return int(joint.qposadr[0]), int(joint.dofadr[0])

    def _parts(self, side: Side) -> tuple[dict[int, str], dict[str, int]]:
        """The name of each geometry that feels, and the degree of freedom that each name counts for."""
        dof_of = {bone.name: DOF_NAMES.index(bone.dof) for bone in bones(side)}
        dof_of |= dict.fromkeys(("thenar", "hypothenar"), DOF_NAMES.index("wrist"))
        named = {name: mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_GEOM, name) for name in dof_of}
        return {number: name for name, number in named.items() if number >= 0}, dof_of
