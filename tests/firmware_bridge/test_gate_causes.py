"""Why a command is not followed, cause by cause: the declared answer, and what ends it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.gate import Cause, GateState
from firmware_bridge.gate_rules import RULES, Recovery, SafeAction
from firmware_bridge.hand import LinkState, Quality
from firmware_bridge.preuse import overridden
from tests.firmware_bridge.gate_rig import MS, NS, Rig


def test_the_rules_name_every_cause_and_only_faults_and_stops_need_a_person() -> None:
    assert set(RULES) == set(Cause)
    by_arming = {cause for cause, rule in RULES.items() if rule.recovery is Recovery.BY_ARMING}
    assert by_arming == {
        Cause.LINK_LOST,
        Cause.HAND_FAULT,
        Cause.STOPPED,
        Cause.DECODE_FAULT,
        Cause.ASTRAY,
        Cause.LOW_BATTERY,
    }


BAD_COMMANDS = [
    (np.nan, Quality(), Cause.MALFORMED),
    (np.inf, Quality(), Cause.MALFORMED),
    (np.nextafter(np.float32(1), np.float32(2)), Quality(), Cause.OUT_OF_RANGE),
    (np.nextafter(np.float32(-1), np.float32(-2)), Quality(), Cause.OUT_OF_RANGE),
    (0.3, Quality(warming=True), Cause.WARMING),
    (0.3, Quality(confidence=np.nextafter(0.6, 0)), Cause.LOW_CONFIDENCE),
    (0.3, Quality(confidence=np.nan), Cause.LOW_CONFIDENCE),
    (0.3, Quality(healthy_fraction=np.nextafter(0.75, 0)), Cause.UNHEALTHY),
    (0.3, Quality(healthy_fraction=np.nan), Cause.UNHEALTHY),
]


@pytest.mark.parametrize(("target", "quality", "cause"), BAD_COMMANDS)
def test_a_bad_command_gets_its_declared_answer(target: float, quality: Quality, cause: Cause) -> None:
    rig = Rig().follow(0.4)
    before = rig.positions
    decision = rig.step(rig.command(0.1, 0.1, target, 0.1, 0.1, 0.1, quality=quality))
    rule = RULES[cause]
    assert (decision.cause, decision.state, decision.send) == (cause, rule.state, True)
    if rule.action is SafeAction.HOLD:
        np.testing.assert_array_equal(decision.positions, before)
    else:
        np.testing.assert_allclose(before - decision.positions, 0.01, atol=1e-6)


@pytest.mark.parametrize(
    ("target", "quality"),
    [(1.0, Quality()), (-1.0, Quality()), (0.3, Quality(confidence=0.6, healthy_fraction=0.75))],
)
def test_a_command_exactly_at_its_limits_is_followed(target: float, quality: Quality) -> None:
    rig = Rig().follow(0.4)
    assert rig.step(rig.command(target, quality=quality)).cause is None


@pytest.mark.parametrize("targets", [np.zeros(5, np.float32), np.zeros((1, 6), np.float32), np.float32(0)])
def test_a_command_of_the_wrong_shape_is_malformed(targets: np.ndarray) -> None:
    rig = Rig().follow(0.4)
    assert rig.step(replace(rig.command(0.0), targets=targets)).cause is Cause.MALFORMED


@pytest.mark.parametrize(("target", "quality", "cause"), BAD_COMMANDS)
def test_each_cause_ends_as_declared(target: float, quality: Quality, cause: Cause) -> None:
    rig = Rig().follow(0.4)
    rig.step(rig.command(target, quality=quality))
    decision = rig.step(rig.command(0.3))
    assert (decision.cause is None) is (RULES[cause].recovery is Recovery.AT_ONCE)
    assert rig.step(rig.command(0.1)).cause is None


def test_of_several_causes_the_gravest_is_answered() -> None:
    rig = Rig().follow(0.4)
    quality = Quality(warming=True, confidence=0.0, healthy_fraction=0.0)
    assert rig.step(rig.command(0.3, quality=quality)).cause is Cause.UNHEALTHY
    assert rig.step(rig.command(np.nan, quality=quality)).cause is Cause.MALFORMED
    rig.gate.report_fault(rig.now_ns, "decode", "crashed")
    assert rig.step(rig.command(np.nan, quality=quality)).cause is Cause.DECODE_FAULT
    rig.gate.stop(rig.now_ns, "Ann")
    assert rig.step(rig.command(0.0)).cause is Cause.STOPPED


@pytest.mark.parametrize(
    ("age_ns", "silent"), [(200 * MS - 1, False), (200 * MS, True), (200 * MS + 1, True)]
)
def test_a_command_goes_stale(age_ns: int, silent: bool) -> None:
    rig = Rig().follow(0.4)
    rig.step(rig.command(0.4), dt_ns=0)
    assert (rig.step(dt_ns=age_ns).cause is Cause.SILENCE) is silent


@pytest.mark.parametrize(("age_ns", "silent"), [(50 * MS - 1, False), (50 * MS, True), (50 * MS + 1, True)])
def test_a_command_expires(age_ns: int, silent: bool) -> None:
    rig = Rig().follow(0.4)
    rig.step(rig.command(0.4, life_ns=50 * MS), dt_ns=0)
    assert (rig.step(dt_ns=age_ns).cause is Cause.SILENCE) is silent


@pytest.mark.parametrize(("age_ns", "cause"), [(250 * MS - 1, None), (250 * MS, Cause.STALE)])
def test_what_a_command_rests_on_becomes_too_old(age_ns: int, cause: Cause | None) -> None:
    rig = Rig().follow(0.4)
    rig.now_ns += 10 * MS
    command = replace(rig.command(0.4), issued_ns=rig.now_ns - age_ns)
    assert rig.step(command, dt_ns=0).cause is cause


def test_a_command_dated_in_the_future_goes_stale_all_the_same() -> None:
    rig = Rig().follow(0.4)
    rig.step(replace(rig.command(0.4), issued_ns=rig.now_ns + 3600 * NS, expires_ns=rig.now_ns + 7200 * NS))
    assert rig.step(dt_ns=200 * MS).cause is Cause.SILENCE


def test_silence_relaxes_slowly_to_rest_and_ends_with_the_next_command() -> None:
    rig = Rig().follow(0.4)
    rig.run(0.25)
    assert (rig.last.state, rig.last.cause) == (GateState.RELAXING, Cause.SILENCE)
    assert (rig.positions > 0.3).all()
    rig.run(0.6)
    np.testing.assert_array_equal(rig.positions, 0)
    assert rig.last.state is GateState.RELAXING
    assert rig.step(rig.command(0.4)).state is GateState.ARMED


@pytest.mark.parametrize(("age_ns", "lost"), [(300 * MS - 1, False), (300 * MS, True)])
def test_a_hand_that_does_not_report_is_lost_whatever_the_link_says(age_ns: int, lost: bool) -> None:
    rig = Rig().follow(0.4)
    state = rig.state
    rig.now_ns += age_ns
    decision = rig.gate.step(rig.now_ns, rig.command(0.4), LinkState.CONNECTED, state)
    assert (decision.cause is Cause.LINK_LOST) is lost


@pytest.mark.parametrize("link", [LinkState.LOST, LinkState.CONNECTING, LinkState.DISCONNECTED])
def test_a_lost_link_disarms_until_someone_arms_again(link: LinkState) -> None:
    rig = Rig().follow(0.4)
    rig.link = link
    decision = rig.step(rig.command(0.4))
    assert (decision.state, decision.cause, decision.send) == (GateState.DISARMED, Cause.LINK_LOST, False)
    rig.link = LinkState.CONNECTED
    for target in (0.4, 0.0, 0.4):
        assert not rig.step(rig.command(target)).send
    rig.arm()
    assert rig.step(rig.command(0.4)).cause is Cause.AWAITING_REST


def test_once_the_link_is_back_the_gate_is_disarmed_and_no_longer_says_why() -> None:
    rig = Rig().follow(0.4)
    rig.link = LinkState.LOST
    assert [event.text for event in rig.step().events] == [
        "disarmed: no link to the hand; bring the hand back into reach, then arm again"
    ]
    rig.link = LinkState.CONNECTED
    decision = rig.step()
    assert (decision.state, decision.cause) == (GateState.DISARMED, None)


def test_a_report_from_before_the_loss_is_not_read_as_the_hands_state() -> None:
    rig = Rig().follow(0.4)
    old = rig.state
    rig.link = LinkState.LOST
    rig.step()
    rig.link = LinkState.CONNECTED
    refused = rig.gate.arm(rig.now_ns, "Ann", rig.link, old, overridden("Ann", rig.now_ns))
    assert [event.kind for event in refused] == ["arm refused"]
    rig.gate.release(rig.now_ns, "Ann")
    assert not rig.gate.step(rig.now_ns, None, rig.link, old).send
    assert not rig.gate.step(rig.now_ns, None, rig.link, replace(old, reported_ns=rig.now_ns)).send
    assert rig.step().send


def test_a_hand_fault_silences_the_gate_until_cleared_and_armed() -> None:
    rig = Rig().follow(0.4)
    rig.fault = "motor 2 hot"
    decision = rig.step(rig.command(0.4))
    assert (decision.state, decision.cause, decision.send) == (GateState.FAULTED, Cause.HAND_FAULT, False)
    rig.fault = ""
    assert not rig.step(rig.command(0.0)).send
    assert "arm" in rig.arm()
    assert rig.step(rig.command(0.0)).state is GateState.ARMED


def test_a_decode_fault_relaxes_until_armed() -> None:
    rig = Rig().follow(0.4)
    rig.gate.report_fault(rig.now_ns, "decode", "out of memory")
    assert rig.step(rig.command(0.4)).state is GateState.FAULTED
    rig.run(0.5)
    np.testing.assert_array_equal(rig.positions, 0)
    assert rig.step(rig.command(0.0)).state is GateState.FAULTED
    rig.arm()
    assert rig.step(rig.command(0.0)).state is GateState.ARMED


def test_a_stop_holds_where_the_hand_is_until_armed() -> None:
    rig = Rig().follow(0.4)
    rig.step(rig.command(0.0))
    here = rig.positions
    rig.gate.stop(rig.now_ns, "Ann")
    rig.step(rig.command(0.0))
    rig.run(1.0)
    assert (rig.last.state, rig.last.cause, rig.last.send) == (GateState.HOLDING, Cause.STOPPED, True)
    np.testing.assert_array_equal(rig.positions, here)


def test_events_name_each_change_once_and_who_asked() -> None:
    rig = Rig().follow(0.4)
    events = [event for _ in range(5) for event in rig.step(rig.command(np.nan)).events]
    assert [(event.kind, event.text) for event in events] == [
        ("relaxing", "relaxing: command not finite; think of rest once")
    ]
    (event,) = rig.gate.release(rig.now_ns, "Bo")
    assert (event.kind, event.who, event.time_ns) == ("release", "Bo", rig.now_ns)
