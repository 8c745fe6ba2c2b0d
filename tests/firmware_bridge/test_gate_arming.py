"""Arming: who may, from where the hand moves on, and not before the intent has passed rest."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.gate import Cause, GateState
from firmware_bridge.hand import LinkState, Quality, WatchdogAction
from tests.firmware_bridge.gate_rig import Rig


def test_a_new_gate_is_disarmed_and_sends_nothing_whatever_it_is_told() -> None:
    rig = Rig()
    decision = rig.step(rig.command(0.5))
    assert (decision.state, decision.send, decision.cause) == (GateState.DISARMED, False, None)


def test_nothing_moves_after_arming_until_the_intent_has_passed_rest() -> None:
    rig = Rig()
    rig.positions = np.full(6, 0.4, dtype=np.float32)
    assert rig.arm() == ["arm", "holding"]
    for target in (0.5, np.nan, 2.0):
        decision = rig.step(rig.command(target))
        assert (decision.state, decision.cause) == (GateState.HOLDING, Cause.AWAITING_REST)
        np.testing.assert_array_equal(decision.positions, np.float32(0.4))
    rig.run(1.0)
    np.testing.assert_array_equal(rig.positions, np.float32(0.4))
    assert rig.step(rig.command(0.0)).state is GateState.ARMED
    assert (rig.positions < 0.4).all()


def test_a_command_from_before_arming_does_not_count() -> None:
    rig = Rig()
    rig.step(rig.command(0.0))
    rig.arm()
    assert rig.step().cause is Cause.AWAITING_REST


def test_a_rest_that_is_not_to_be_trusted_is_no_rest() -> None:
    rig = Rig()
    rig.arm()
    rig.step(rig.command(0.0, quality=Quality(warming=True)))
    assert rig.step(rig.command(0.4)).cause is Cause.AWAITING_REST


def test_arming_again_starts_again_from_where_the_hand_is() -> None:
    rig = Rig().follow(0.4)
    rig.positions = np.full(6, 0.2, dtype=np.float32)
    rig.arm()
    np.testing.assert_array_equal(rig.step().positions, np.float32(0.2))


@pytest.mark.parametrize(
    ("target", "passes"), [(0.15, True), (-0.15, True), (0.1501, False), (-0.1501, False)]
)
def test_rest_is_every_target_inside_the_rest_band(target: float, passes: bool) -> None:
    rig = Rig()
    rig.arm()
    decision = rig.step(rig.command(0, 0, 0, target, 0, 0))
    assert (decision.state is GateState.ARMED) is passes


def test_arming_starts_from_where_the_hand_is() -> None:
    rig = Rig().follow(0.4)
    rig.gate.disarm(rig.now_ns, "Ann")
    rig.step()
    rig.positions = np.array([-0.2, 0.7, np.nan, 0, 0, 0], dtype=np.float32)
    rig.arm()
    decision = rig.step(rig.command(0.0), dt_ns=0)
    np.testing.assert_allclose(decision.positions[:4], [-0.2, 0.7, 0.4, 0], atol=1e-7)


def test_arming_is_refused_with_the_reason() -> None:
    def reason(rig: Rig, who: str = "Ann") -> str:
        (event,) = rig.gate.arm(rig.now_ns, who, rig.link, rig.state)
        assert event.kind == "arm refused"
        assert rig.step(rig.command(0.0)).state is GateState.DISARMED
        return event.text

    assert "say who arms" in reason(Rig(), who="")
    rig = Rig()
    rig.link = LinkState.CONNECTING
    assert "connecting" in reason(rig)
    rig = Rig()
    rig.fault = "motor 2 hot"
    assert "motor 2 hot" in reason(rig)


def test_a_hand_with_an_unknown_watchdog_needs_a_named_acknowledgement() -> None:
    rig = Rig(watchdog=WatchdogAction.UNKNOWN)
    assert rig.arm() == ["arm refused"]
    events = rig.gate.arm(rig.now_ns, "Ann", rig.link, rig.state, acknowledgement="Dr Bo")
    assert "Dr Bo" in events[0].text
    assert rig.step(rig.command(0.0)).state is GateState.ARMED
