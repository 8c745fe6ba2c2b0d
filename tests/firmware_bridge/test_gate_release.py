"""A release works in every state, and nothing but rest ends it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.gate import Cause, GateState
from firmware_bridge.hand import LinkState, Quality
from firmware_bridge.preuse import overridden
from tests.firmware_bridge.gate_rig import LIMITS, MS, Rig


def disarmed(rig: Rig) -> None:
    rig.gate.disarm(rig.now_ns, "Ann")


def holding(rig: Rig) -> None:
    rig.step(rig.command(0.4, quality=Quality(warming=True)))


def relaxing(rig: Rig) -> None:
    rig.step(rig.command(np.nan))


def stopped(rig: Rig) -> None:
    rig.gate.stop(rig.now_ns, "Ann")


def decode_fault(rig: Rig) -> None:
    rig.gate.report_fault(rig.now_ns, "decode", "crashed")


def hand_fault(rig: Rig) -> None:
    rig.fault = "motor 2 hot"
    rig.step()


def awaiting_rest(rig: Rig) -> None:
    rig.arm()


def armed(rig: Rig) -> None:
    rig.step(rig.command(0.4))


EVERY_STATE = [disarmed, holding, relaxing, stopped, decode_fault, hand_fault, awaiting_rest, armed]


@pytest.mark.parametrize("enter", EVERY_STATE)
def test_a_release_works_in_every_state_within_the_speed_limit(enter: object) -> None:
    rig = Rig().follow(0.4)
    enter(rig)  # type: ignore[operator]
    rig.gate.release(rig.now_ns, "Ann")
    before = rig.positions
    while rig.positions.any():
        decision = rig.step(rig.command(0.9))
        assert (decision.state, decision.send) == (GateState.RELEASED, True)
        assert (np.abs(decision.positions - before) <= LIMITS.max_speed_per_s * 0.01 + 1e-6).all()
        assert (decision.positions < before)[before > 0].all()
        before = decision.positions
    rig.gate.stop(rig.now_ns, "Ann")
    assert rig.run(0.1).state is GateState.RELEASED


def test_a_release_that_could_not_be_sent_yet_is_not_ended_by_a_disarm() -> None:
    rig = Rig()
    rig.link = LinkState.LOST
    rig.gate.release(rig.now_ns, "Ann")
    rig.step()
    assert not rig.gate.at_rest
    assert [event.kind for event in rig.gate.disarm(rig.now_ns, "Ann")] == ["disarm refused"]


@pytest.mark.parametrize("enter", EVERY_STATE)
def test_a_release_with_the_link_down_is_the_first_and_only_thing_sent_on_reconnect(enter: object) -> None:
    rig = Rig().follow(0.4)
    enter(rig)  # type: ignore[operator]
    rig.link = LinkState.LOST
    rig.step()
    rig.gate.release(rig.now_ns, "Ann")
    rig.run(1.0)
    assert (rig.last.state, rig.last.cause, rig.last.send) == (GateState.RELEASED, Cause.LINK_LOST, False)
    rig.link = LinkState.CONNECTED
    rig.positions = np.full(6, 0.3, dtype=np.float32)
    sent = [rig.step(rig.command(0.9)) for _ in range(50)]
    assert all(decision.send and decision.state is GateState.RELEASED for decision in sent)
    assert (sent[0].positions <= 0.3).all()
    assert (sent[0].positions >= 0.3 - LIMITS.max_speed_per_s * 0.01 - 1e-6).all()
    np.testing.assert_array_equal(sent[-1].positions, 0)


def test_a_release_is_not_cut_short_by_a_disarm_and_ends_by_it_at_rest() -> None:
    rig = Rig().follow(0.4)
    rig.gate.release(rig.now_ns, "Ann")
    rig.step()
    (refused,) = rig.gate.disarm(rig.now_ns, "Ann")
    assert (refused.kind, refused.text) == ("disarm refused", "a release is under way: let it reach rest")
    assert (refused.time_ns, refused.who) == (rig.now_ns, "Ann")
    assert rig.gate.at_rest is False
    rig.run(1.0)
    assert rig.gate.at_rest
    disarmed = rig.gate.disarm(rig.now_ns, "Ann")
    assert [event.kind for event in disarmed] == ["disarm", "disarmed"]
    assert {event.time_ns for event in disarmed} == {rig.now_ns}
    assert not rig.step().send
    assert rig.gate.at_rest is False
    assert rig.gate.state is GateState.DISARMED


def test_arming_waits_for_a_release_to_reach_rest() -> None:
    rig = Rig().follow(0.4)
    rig.gate.release(rig.now_ns, "Ann")
    rig.step()
    (event,) = rig.gate.arm(rig.now_ns, "Bob", rig.link, rig.state, overridden("Bob", rig.now_ns))
    assert (event.kind, event.text) == ("arm refused", "a release is under way: let it reach rest")
    rig.run(1.0)
    assert rig.arm() == ["arm", "holding"]


def test_a_release_that_waited_for_the_link_is_sent_before_anybody_may_arm() -> None:
    rig = Rig().follow(0.4)
    rig.link = LinkState.LOST
    rig.run(0.5)
    rig.gate.release(rig.now_ns, "Ann")
    rig.link = LinkState.CONNECTED
    rig.now_ns += 10 * MS
    assert rig.arm() == ["arm refused"]
    assert rig.step().state is GateState.RELEASED
    assert rig.last.send


def test_a_large_acceleration_keeps_no_release_from_its_way() -> None:
    for acceleration in (1e19, 1e20, 3e38):
        rig = Rig(replace(LIMITS, max_acceleration_per_s2=acceleration)).follow(0.4)
        rig.gate.release(rig.now_ns, "Ann")
        rig.run(1.0)
        np.testing.assert_array_equal(rig.positions, 0)


def test_a_release_whose_sending_fails_is_not_at_rest() -> None:
    rig = Rig()
    rig.gate.release(rig.now_ns, "Ann")
    rig.step()
    assert rig.gate.at_rest
    rig.gate.not_sent()
    assert not rig.gate.at_rest
