"""The state machine, pair by pair: in every state, every cause gets its declared answer, or none where none is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import Cause, GateState
from firmware_bridge.gate_rules import ALLOWED, GRAVITY, RULES, Recovery, Rule, SafeAction, rules_with
from firmware_bridge.hand import LinkState, Quality
from tests.firmware_bridge.gate_rig import LIMITS, MS, Rig

WIDE = replace(
    LIMITS, lower=[-1] * 6, upper=[1] * 6, max_speed_per_s=[1] * 6, min_battery=0.1, battery_after_s=0.01
)
START = 0.6


def no_link(rig: Rig) -> None:
    rig.link = LinkState.LOST
    rig.step(rig.command(START))


def hand_fault(rig: Rig) -> None:
    rig.fault = "motor 2"
    rig.step(rig.command(START))


def stopped(rig: Rig) -> None:
    rig.gate.stop(rig.now_ns, "Bo")
    rig.step(rig.command(START))


def decode_fault(rig: Rig) -> None:
    rig.gate.report_fault(rig.now_ns, "decode", "crashed")
    rig.step(rig.command(START))


def hot(rig: Rig) -> None:
    rig.says = {"hot": True}
    rig.step(rig.command(START))


def overloaded(rig: Rig) -> None:
    """For as long as it takes: what the hand presses against is where it is."""
    rig.says = {"stalled": True}
    rig.run(0.3, START)
    rig.step(rig.command(START))


def astray(rig: Rig) -> None:
    rig.says = {"positions": np.full(6, -0.9, np.float32)}
    rig.run(0.3, START)
    rig.step(rig.command(START))


def low(rig: Rig) -> None:
    rig.says = {"battery": 0.05}
    rig.step(rig.command(START))
    rig.step(rig.command(START))


def awaiting_rest(rig: Rig) -> None:
    rig.arm()
    rig.step(rig.command(START))


def malformed(rig: Rig) -> None:
    rig.step(rig.command(np.nan))


def unhealthy(rig: Rig) -> None:
    rig.step(rig.command(START, quality=Quality(healthy_fraction=0.1)))


def silence(rig: Rig) -> None:
    rig.step(rig.command(START, life_ns=0))


def stale(rig: Rig) -> None:
    rig.step(replace(rig.command(START), issued_ns=rig.now_ns - 300 * MS))


def out_of_range(rig: Rig) -> None:
    rig.step(rig.command(1.5))


def warming(rig: Rig) -> None:
    rig.step(rig.command(START, quality=Quality(warming=True)))


def unsure(rig: Rig) -> None:
    rig.step(rig.command(START, quality=Quality(confidence=0.1)))


def locked(rig: Rig) -> None:
    rig.gate.adjust(rig.now_ns, "Bo", Adjustments(hand_locked=True))
    rig.step(rig.command(START))


CAUSED_BY: dict[Cause, Callable[[Rig], None]] = {
    Cause.LINK_LOST: no_link,
    Cause.HAND_FAULT: hand_fault,
    Cause.STOPPED: stopped,
    Cause.DECODE_FAULT: decode_fault,
    Cause.OVERHEATED: hot,
    Cause.OVERLOADED: overloaded,
    Cause.ASTRAY: astray,
    Cause.LOW_BATTERY: low,
    Cause.AWAITING_REST: awaiting_rest,
    Cause.MALFORMED: malformed,
    Cause.UNHEALTHY: unhealthy,
    Cause.SILENCE: silence,
    Cause.STALE: stale,
    Cause.OUT_OF_RANGE: out_of_range,
    Cause.WARMING: warming,
    Cause.LOW_CONFIDENCE: unsure,
    Cause.LOCKED: locked,
}


def armed(rig: Rig) -> None:
    assert rig.gate.state is GateState.ARMED


def disarmed(rig: Rig) -> None:
    rig.gate.disarm(rig.now_ns, "Bo")


def released(rig: Rig) -> None:
    rig.gate.release(rig.now_ns, "Bo")
    rig.step()


def opening(rig: Rig) -> None:
    rig.step(rig.command(START, quality=Quality(warming=True)))


STATES: dict[GateState, Callable[[Rig], None]] = {
    GateState.DISARMED: disarmed,
    GateState.ARMED: armed,
    GateState.HOLDING: out_of_range,
    GateState.RELAXING: silence,
    GateState.OPENING: opening,
    GateState.RELEASED: released,
    GateState.FAULTED: decode_fault,
}
LIMITS_OF = {
    GateState.OPENING: replace(WIDE, actions={Cause.WARMING: SafeAction.OPEN}, open_positions=[-0.5] * 6)
}
UNTIL_ARMED = {GateState.FAULTED: Cause.DECODE_FAULT}


def enter(state: GateState) -> Rig:
    rig = Rig(LIMITS_OF.get(state, WIDE)).follow(START)
    STATES[state](rig)
    assert rig.gate.state is state
    return rig


def test_every_cause_and_every_state_is_here() -> None:
    assert set(CAUSED_BY) == set(Cause)
    assert set(STATES) == set(GateState)


@pytest.mark.parametrize(("state", "cause"), list(product(GateState, Cause)))
def test_every_pair_of_state_and_cause(state: GateState, cause: Cause) -> None:
    rig = enter(state)
    before = float(rig.positions[0])
    CAUSED_BY[cause](rig)
    last = rig.last
    if cause is Cause.AWAITING_REST and state is GateState.RELEASED:  # somebody armed: a release ends first
        assert (last.state, last.cause, last.send) == (state, None, True)
    elif cause is Cause.AWAITING_REST:  # somebody armed: from every other state
        assert (last.state, last.cause, last.send) == (GateState.HOLDING, cause, True)
        assert rig.positions[0] == pytest.approx(before)
    elif state in (GateState.DISARMED, GateState.RELEASED):
        expected = Cause.LINK_LOST if cause is Cause.LINK_LOST else None
        assert (last.state, last.cause) == (state, expected)
        assert last.send == (state is GateState.RELEASED and expected is None)
    else:
        standing = UNTIL_ARMED.get(state)
        answered = cause if standing is None or GRAVITY[cause] < GRAVITY[standing] else standing
        rule = rules_with(rig.gate.limits.actions)[answered]
        assert (last.state, last.cause) == (rule.state, answered)
        assert last.send == (rule.action is not SafeAction.SILENT)
        if rule.action is SafeAction.RELAX:
            assert rig.positions[0] < START - 0.005
    if last.send:
        assert float(rig.positions[0]) <= START + 1e-6


@pytest.mark.parametrize(("cause", "action"), [(c, a) for c in Cause for a in SafeAction if a in ALLOWED[c]])
def test_every_action_that_may_be_declared_is_what_happens(cause: Cause, action: SafeAction) -> None:
    limits = replace(WIDE, actions={cause: action}, open_positions=[-0.5] * 6)
    rig = Rig(limits).follow(START)
    CAUSED_BY[cause](rig)
    keeps = RULES[cause].state in (GateState.DISARMED, GateState.FAULTED)
    states = {"hold": GateState.HOLDING, "relax": GateState.RELAXING, "open": GateState.OPENING}
    assert (rig.last.cause, rig.last.send) == (cause, action is not SafeAction.SILENT)
    assert rig.last.state is (RULES[cause].state if keeps else states[action.value])
    rig.says, rig.fault = {}, ""
    for _ in range(10 if cause is Cause.OVERLOADED else 130):
        if RULES[cause].recovery is Recovery.BY_ARMING:
            rig.step(rig.command(START))
        else:
            CAUSED_BY[cause](rig)
    end = {"hold": START, "relax": 0.0, "open": -0.5}.get(action.value)
    if end is not None and cause is not Cause.ASTRAY:
        np.testing.assert_allclose(rig.positions, end, atol=1e-6)


@pytest.mark.parametrize(
    ("cause", "action"), [(c, a) for c in Cause for a in SafeAction if a not in ALLOWED[c]]
)
def test_no_other_action_may_be_declared(cause: Cause, action: SafeAction) -> None:
    with pytest.raises(Exception, match="choose among") as refused:
        replace(WIDE, actions={cause: action})
    choice = ", ".join(sorted(one.value for one in ALLOWED[cause]))
    assert str(refused.value) == f"the action for {cause.value!r} is {action.value!r}: choose among {choice}"


def test_what_may_be_declared() -> None:
    assert ALLOWED[Cause.LINK_LOST] == {SafeAction.SILENT}
    assert ALLOWED[Cause.AWAITING_REST] == ALLOWED[Cause.LOCKED] == {SafeAction.HOLD}
    assert {cause for cause in Cause if SafeAction.SILENT in ALLOWED[cause]} == {
        Cause.LINK_LOST,
        Cause.HAND_FAULT,
        Cause.ASTRAY,
    }
    assert not any(SafeAction.RELEASE in allowed for allowed in ALLOWED.values())
    assert all(RULES[cause].action in ALLOWED[cause] for cause in Cause)


def test_a_declared_action_changes_the_action_and_the_state_and_nothing_else() -> None:
    assert rules_with({}) == RULES
    rules = rules_with({Cause.WARMING: SafeAction.OPEN, Cause.HAND_FAULT: SafeAction.RELAX})
    assert rules[Cause.WARMING] == Rule(SafeAction.OPEN, GateState.OPENING, Recovery.AT_ONCE)
    assert rules[Cause.HAND_FAULT] == replace(RULES[Cause.HAND_FAULT], action=SafeAction.RELAX)
    assert list(rules) == list(RULES)
    same = rules_with({Cause.STALE: SafeAction.RELAX, Cause.STOPPED: SafeAction.HOLD})
    assert same == RULES


def test_whoever_has_to_arm_is_told_what_to_do_first() -> None:
    for cause, rule in RULES.items():
        if rule.recovery is Recovery.BY_ARMING:
            assert "arm again" in rule.way_back, cause
        assert bool(rule.way_back) == (rule.recovery is not Recovery.AT_ONCE), cause


def test_a_hand_is_never_trapped_closed() -> None:
    """What ends a grasp without the wearer's will opens slowly; a load neither flings it open nor keeps it shut."""
    relaxing = {cause for cause, rule in RULES.items() if rule.action is SafeAction.RELAX}
    assert relaxing >= {Cause.OVERHEATED, Cause.LOW_BATTERY, Cause.ASTRAY, Cause.SILENCE, Cause.DECODE_FAULT}
    assert RULES[Cause.OVERLOADED].action is SafeAction.HOLD
    assert RULES[Cause.OVERLOADED].recovery is Recovery.THROUGH_REST
    assert all(GRAVITY[Cause.OVERLOADED] > GRAVITY[cause] for cause in relaxing)
