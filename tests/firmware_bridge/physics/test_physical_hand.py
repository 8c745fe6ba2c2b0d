"""The physical hand: limits, speeds, coupling, contact, grasp, watchdog, and the same bits for the same commands."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge.emulators.hands.virtual import VirtualDevice
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities, WatchdogAction
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.kinematics import KinematicHand
from firmware_bridge.physics import GraspObject, Side, make
from firmware_bridge.physics.__main__ import real_time_factor
from firmware_bridge.physics.anatomy import ACTUATORS, COUPLINGS, JOINT_NAMES, JOINTS
from firmware_bridge.physics.skeleton import bone_ends, bone_names

mujoco = pytest.importorskip("mujoco", reason="needs the extra physics")
from firmware_bridge.physics.body import STEP_NS, PhysicalHand  # noqa: E402

MS = 1_000_000
S = 1_000_000_000
CALM = replace(VIRTUAL_HAND, watchdog_s=None)
REST, FIST = np.zeros(6, np.float32), np.array([1, 1, 1, 1, 1, 0], np.float32)
CYLINDER = GraspObject()


def six(value: float) -> np.ndarray:
    return np.full(6, value, np.float32)


def hand(
    capabilities: HandCapabilities = CALM, side: Side = "right", thing: GraspObject | None = None
) -> PhysicalHand:
    return make(capabilities, 0, side, thing)


def gripping(side: Side = "right", thing: GraspObject = CYLINDER) -> PhysicalHand:
    """A hand that has closed on a thing for a second, and has lifted it by 8 cm for another."""
    grip = hand(side=side, thing=thing)
    grip.command(FIST, 0)
    grip.lift(0.08, 1 * S)
    grip.advance(2 * S)
    return grip


@pytest.mark.parametrize("target", [-1.0, 0.5, 1.0])
def test_every_joint_reaches_what_it_is_told(target: float) -> None:
    free = hand()
    free.command(six(target), 0)
    free.advance(2 * S)
    np.testing.assert_allclose(free.positions, target, atol=0.01)


@pytest.mark.parametrize("target", [-1.0, 1.0])
def test_no_joint_goes_beyond_its_limit_even_when_it_is_driven_there(target: float) -> None:
    driven = hand()
    driven.command(six(target), 0)
    low = np.array([joint.extended for joint in JOINTS.joints])
    high = np.array([joint.flexed for joint in JOINTS.joints])
    for k in range(200):
        driven.advance(k * 5 * MS)
        # A push of all its motors beyond where it stands, as from a wrong reading
        driven.scene.data.qfrc_applied[:] = 0.2 * np.sign(target)
        assert (driven.angles > low - 0.02).all()
        assert (driven.angles < high + 0.02).all()


def test_joints_without_a_motor_follow_theirs_also_when_the_finger_is_blocked() -> None:
    for one in (hand(), gripping()):
        start = 2 * S
        one.command(FIST, start)
        for k in range(60):
            one.advance(start + k * 10 * MS)
            angles = dict(zip(JOINT_NAMES, one.angles, strict=True))
            for coupling in COUPLINGS:
                assert angles[coupling.joint] == pytest.approx(
                    coupling.ratio * angles[coupling.follows], abs=np.radians(4)
                )


@pytest.mark.parametrize("speed", [0.5, 2.0, 4.0])
def test_no_degree_of_freedom_is_faster_than_the_capabilities_say(speed: float) -> None:
    slow = hand(replace(CALM, max_speed_per_s=six(speed)))
    before = slow.positions.astype(np.float64)
    for k, target in enumerate((1.0, -1.0, 0.0, 1.0, 0.0)):
        slow.command(six(target), k * S)
        for step in range(1, 101):
            slow.advance(k * S + step * 10 * MS)
            now = slow.positions.astype(np.float64)
            assert (np.abs(now - before) / 0.01 <= speed * 1.02).all()
            before = now


def test_a_finger_that_was_blocked_is_not_faster_when_it_gets_free() -> None:
    """Its path has gone on meanwhile; the motors have a highest speed all the same."""
    freed = gripping()
    freed.scene.data.qpos[freed.scene.model.joint("object").qposadr[0] + 1] += 1.0  # taken away
    before = freed.positions.astype(np.float64)
    for step in range(1, 60):
        freed.advance(2 * S + step * 10 * MS)
        now = freed.positions.astype(np.float64)
        assert (np.abs(now - before) / 0.01 <= 4.0 * 1.05).all()
        before = now
    np.testing.assert_allclose(freed.positions, FIST, atol=0.02)


def test_unhindered_it_moves_as_the_kinematic_hand_does() -> None:
    body, path = hand(), KinematicHand(CALM, 0)
    for k, target in enumerate((1.0, 0.0, 0.6)):
        body.command(six(target), k * S)
        path.command(six(target), k * S)
        for step in range(1, 21):
            now_ns = k * S + step * 50 * MS
            body.advance(now_ns)
            path.advance(now_ns)
            np.testing.assert_allclose(body.positions, path.positions, atol=0.12)
        np.testing.assert_allclose(body.positions, path.positions, atol=0.01)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_grip_holds_a_cylinder_against_gravity_for_three_seconds_and_an_open_hand_drops_it(
    side: Side,
) -> None:
    grip = gripping(side)
    held = grip.object_m
    begun = hand(side=side, thing=CYLINDER).object_m
    assert held[2] - begun[2] > 0.06  # it was lifted
    for k in range(1, 31):
        grip.advance(2 * S + k * 100 * MS)
        assert abs(grip.object_m[2] - held[2]) < 0.01
    grip.command(REST, 5 * S)
    grip.advance(6 * S)
    assert held[2] - grip.object_m[2] > 0.05
    assert grip.forces_n.max() == 0


@pytest.mark.parametrize(
    "thing", [GraspObject("ball", (0.033,), 0.1), GraspObject("box", (0.05, 0.05, 0.13), 0.2)]
)
def test_a_ball_and_a_box_are_lifted_as_well(thing: GraspObject) -> None:
    before = hand(thing=thing).object_m
    grip = gripping(thing=thing)
    assert grip.object_m[2] - before[2] > 0.05
    grip.put_back(2 * S)
    np.testing.assert_allclose(grip.object_m, before, atol=0.005)


def test_a_hand_that_stays_open_lifts_nothing() -> None:
    away = hand(thing=CYLINDER)
    before = away.object_m
    away.lift(0.08, 0)
    away.advance(1 * S)
    assert away.lifted_m == pytest.approx(0.08, abs=0.005)
    np.testing.assert_allclose(away.object_m, before, atol=0.002)


def test_force_is_reported_by_the_fingers_that_touch_and_their_motors_give_no_more_than_they_can() -> None:
    one = hand(thing=CYLINDER)
    assert one.forces_n.tolist() == [0.0] * 6
    one.command(np.array([0, 1, 0, 0, 0, 0], np.float32), 0)
    one.advance(1 * S)
    assert one.forces_n[1] > 2
    assert one.forces_n[2:5].max() == 0
    assert any(name.startswith("index") for name in one.touch_n)
    for torque, motor in zip(gripping().torques, ACTUATORS, strict=True):
        assert abs(torque) <= motor.torque_nm + 1e-9


def test_a_blocked_finger_stops_short_of_its_target() -> None:
    blocked = gripping()
    assert (blocked.positions[:5] < 0.8).all()
    assert (blocked.positions[:5] > 0.2).all()


def test_the_left_hand_does_what_the_right_one_does() -> None:
    right, left = gripping("right"), gripping("left")
    np.testing.assert_allclose(left.positions, right.positions, atol=1e-3)
    np.testing.assert_allclose(left.object_m, right.object_m * [1, -1, 1], atol=1e-3)
    np.testing.assert_allclose(left.forces_n, right.forces_n, atol=0.5)


def test_the_drawn_skeleton_is_where_the_simulated_bones_are() -> None:
    for side in ("right", "left"):
        bent = hand(side=side)  # type: ignore[arg-type]
        bent.command(np.array([0.5, 1, 0.2, -0.5, 0.7, 0.4], np.float32), 0)
        bent.advance(1 * S)
        mujoco.mj_kinematics(bent.scene.model, bent.scene.data)
        arm = bent.scene.data.body("arm")
        into = arm.xmat.reshape(3, 3).T
        drawn = bone_ends(bent.angles, side)  # type: ignore[arg-type]
        for name, (start, _end) in zip(bone_names(), drawn, strict=True):
            np.testing.assert_allclose(into @ (bent.scene.data.body(name).xpos - arm.xpos), start, atol=1e-6)


def test_it_weighs_what_a_hand_weighs() -> None:
    """0.6 % of the body's mass: Winter 2009, table 4.1."""
    model = hand().scene.model
    mass = sum(model.body_mass[i] for i in range(model.nbody) if model.body(i).name not in ("arm", "world"))
    assert 0.006 * 55 < mass < 0.006 * 90


def test_the_watchdog_opens_a_hand_that_is_no_longer_told() -> None:
    left_alone = hand(replace(CALM, watchdog_s=0.3, watchdog_action=WatchdogAction.OPEN))
    left_alone.command(six(0.5), 0)
    left_alone.advance(299 * MS)
    assert not left_alone.watchdog_tripped
    left_alone.advance(302 * MS)
    assert left_alone.watchdog_tripped
    left_alone.advance(1 * S)
    np.testing.assert_allclose(left_alone.positions, 0, atol=0.01)
    left_alone.command(six(0.5), 1 * S)
    assert not left_alone.watchdog_tripped


def test_the_watchdog_that_holds_keeps_what_the_hand_has() -> None:
    holding = hand(replace(CALM, watchdog_s=1.0, watchdog_action=WatchdogAction.HOLD), thing=CYLINDER)
    holding.command(FIST, 0)
    holding.lift(0.08, 900 * MS)
    holding.advance(4 * S)
    assert holding.watchdog_tripped
    assert holding.object_m[2] > 0.03


def test_a_degree_of_freedom_that_the_hand_lacks_stays_where_it_is() -> None:
    upper, speed = np.ones(6, np.float32), six(4)
    upper[5], speed[5] = 0, 0
    lacking = hand(replace(CALM, upper=upper, lower=np.zeros(6, np.float32), max_speed_per_s=speed))
    lacking.command(six(1), 0)
    lacking.advance(1 * S)
    assert lacking.positions[5] == pytest.approx(0, abs=0.02)
    np.testing.assert_allclose(lacking.positions[:5], 1, atol=0.01)


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 40 * MS), min_size=1, max_size=30))
def test_how_often_it_is_advanced_changes_no_bit(cuts: list[int]) -> None:
    often, seldom = hand(thing=CYLINDER), hand(thing=CYLINDER)
    for one in (often, seldom):
        one.command(FIST, 7 * MS + 123)
    now_ns = 7 * MS + 123
    for cut in cuts:
        now_ns += cut
        often.advance(now_ns)
    for one in (often, seldom):
        one.command(REST, now_ns + 3 * MS)
        one.advance(now_ns + 300 * MS)
    assert often.scene.data.qpos.tobytes() == seldom.scene.data.qpos.tobytes()
    assert often.scene.data.qvel.tobytes() == seldom.scene.data.qvel.tobytes()


@settings(max_examples=8)
@given(
    orders=st.lists(
        st.tuples(st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6), st.integers(1, 200)),
        min_size=1,
        max_size=12,
    )
)
@example(orders=[([0.0] * 5 + [-1.0], 205)])  # the cylinder falls between the little finger and the table
def test_any_commands_leave_it_finite_and_without_energy_of_its_own(
    orders: list[tuple[list[float], int]],
) -> None:
    shaken = hand(thing=CYLINDER)
    now_ns = 0
    for targets, wait_ms in orders:
        shaken.command(np.array(targets, np.float32), now_ns)
        now_ns += wait_ms * MS
        shaken.advance(now_ns)
        assert np.isfinite(shaken.positions).all()
        assert np.abs(shaken.positions).max() <= 1
    shaken.command(REST, now_ns)
    shaken.advance(now_ns + 2 * S)
    shaken.put_back(now_ns + 2 * S)  # it may have fallen where a finger stands against it
    shaken.advance(now_ns + 4 * S)
    assert np.abs(shaken.speeds).max() < 0.02
    np.testing.assert_allclose(
        shaken.positions, 0, atol=0.05
    )  # the wrist bends by what the object and hand weigh


def test_it_is_a_body_for_the_emulated_hand() -> None:
    device = VirtualDevice(VIRTUAL_HAND, 0, hand(VIRTUAL_HAND))
    (answer,) = device.receive(protocol.encode_command(protocol.CommandFrame(1, six(0.5), 0)), 0)
    assert protocol.decode_state(answer).sequence == 1
    (said,) = device.advance(250 * MS)
    np.testing.assert_allclose(protocol.decode_state(said).positions, 0.5, atol=0.05)
    (said,) = device.advance(1 * S)
    assert protocol.decode_state(said).watchdog_tripped


def test_a_simulation_that_breaks_is_an_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = hand()
    broken.scene.data.qvel[:] = np.nan
    with pytest.raises(NervehandError, match="unstable"):
        broken.advance(10 * STEP_NS)
    assert "unstable" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_time_does_not_run_backwards_and_targets_are_six_finite_numbers() -> None:
    one = hand()
    one.advance(10 * MS)
    with pytest.raises(NervehandError, match="time runs backwards: 9000000 ns after 10000000 ns"):
        one.advance(9 * MS)
    with pytest.raises(NervehandError, match="give 6 finite positions"):
        one.command(np.full(6, np.nan, np.float32), 10 * MS)
    with pytest.raises(NervehandError, match=r"a lift to 3 m: give 0 to 0\.25 m"):
        one.lift(3, 10 * MS)
    with pytest.raises(NervehandError, match="there is no object"):
        _ = one.object_m
    with pytest.raises(NervehandError, match="there is no object"):
        one.put_back(10 * MS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("cone", (0.1,), 0.1), "there is no 'cone' to grasp"),
        (("ball", (0.1, 0.1), 0.1), "give 1 lengths"),
        (("box", (0.1, 0.1, 7.0), 0.1), "give 3 lengths of 0.005 to 0.3 m"),
        (("ball", (0.03,), 80.0), "give 0.005 to 3 kg"),
    ],
)
def test_what_cannot_be_grasped_is_refused(wrong: tuple[str, tuple[float, ...], float], said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        GraspObject(*wrong)  # type: ignore[arg-type]


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND\n"
        "from firmware_bridge.errors import NervehandError\n"
        "from firmware_bridge.physics import make\n"
        "try:\n    make(VIRTUAL_HAND, 0)\n"
        "except NervehandError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'nervehand[physics]'" in done.stdout


def test_the_package_and_the_drawn_hand_load_no_mujoco() -> None:
    code = "import sys, firmware_bridge.physics, firmware_bridge.physics.skeleton; print('mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_its_speed_on_this_machine_can_be_asked_for() -> None:
    assert real_time_factor(CYLINDER, seconds=1) > 0
