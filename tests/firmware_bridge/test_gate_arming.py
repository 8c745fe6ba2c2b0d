"""Arming: who may, from where the hand moves on, and not before the intent has passed rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import Cause, GateState, SafetyGate
from firmware_bridge.hand import LinkState, Quality, WatchdogAction
from firmware_bridge.preuse import CHECKED, CheckItem, PreUseReport, overridden
from tests.firmware_bridge.gate_rig import LIMITS, MS, NS, Rig


def test_a_new_gate_has_nothing_to_tell() -> None:
    gate = SafetyGate(LIMITS, WatchdogAction.HOLD)
    assert (gate.state, gate.at_rest, gate.limits) == (GateState.DISARMED, False, LIMITS)
    rig = Rig()
    assert (rig.last.events, rig.gate.at_rest) == ((), False)
    rig.arm()
    assert rig.gate.at_rest is False
    stopped = SafetyGate(LIMITS, WatchdogAction.HOLD)
    assert [event.kind for event in stopped.stop(1, "Bo")] == ["stop"]


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


HOURS_NS = 3600 * 10**9


def refusal(rig: Rig, who: str = "Ann", check: PreUseReport | None = None, acknowledgement: str = "") -> str:
    """Why it was not armed."""
    check = overridden("Ann", rig.now_ns) if check is None else check
    before = rig.gate.state
    (event,) = rig.gate.arm(rig.now_ns, who, rig.link, rig.state, check, acknowledgement)
    assert (event.kind, event.time_ns) == ("arm refused", rig.now_ns)
    assert event.who == (who or "nobody")
    assert rig.gate.state is before
    assert rig.step(rig.command(0.0)).state is GateState.DISARMED
    return event.text


def check_of(rig: Rig, *passed: bool, overridden_by: str = "", age_ns: int = 0) -> PreUseReport:
    """All of CHECKED: the first as said, the others passed; nothing where nothing is said."""
    results = (*passed, *(True for _ in CHECKED[len(passed) :])) if passed else ()
    items = tuple(CheckItem(name, one, "what was found") for name, one in zip(CHECKED, results, strict=False))
    return PreUseReport(rig.now_ns - age_ns, items, overridden_by)


def test_a_hand_that_reports_no_positions_at_all_starts_from_what_was_last_sent() -> None:
    rig = Rig().follow(0.4)
    rig.gate.disarm(rig.now_ns, "Ann")
    rig.step()
    rig.says = {"positions": np.full(5, 0.9, np.float32)}
    rig.arm()
    np.testing.assert_allclose(rig.step().positions, 0.4, atol=1e-6)


def test_arming_is_refused_with_the_reason() -> None:
    assert refusal(Rig(), who="") == "nobody is named: say who arms"
    assert refusal(Rig(), who="  ") == "nobody is named: say who arms"
    rig = Rig()
    rig.link = LinkState.CONNECTING
    assert refusal(rig) == "the hand is not there (link connecting): connect it and wait for its first report"
    rig = Rig()
    rig.fault = "motor 2 hot"
    assert refusal(rig) == "the hand reports 'motor 2 hot': clear it first"
    rig = Rig()
    (event,) = rig.gate.arm(rig.now_ns, "Ann", rig.link, None, check_of(rig, True))
    assert event.text.startswith("the hand is not there (link connected)")


def test_arming_needs_a_check_that_passed_or_somebody_who_answers_for_none() -> None:
    text = "the pre-use check has not passed: do it again, or have it overridden by name"
    for passed in ((), (False,), (True, False, True)):
        rig = Rig()
        assert refusal(rig, check=check_of(rig, *passed)) == text
        assert refusal(rig, check=check_of(rig, *passed, overridden_by=" ")) == text
    for passed, by, said in (
        ((True, True), "", "armed; pre-use check passed"),
        ((True,), "Dr Bo", "armed; pre-use check passed"),
        ((), "Dr Bo", "armed; pre-use check overridden by Dr Bo (not done)"),
        ((False, True, False), "Dr Bo", "armed; pre-use check overridden by Dr Bo (failed: side, hand)"),
    ):
        rig = Rig()
        check = check_of(rig, *passed, overridden_by=by)
        armed, holding = rig.gate.arm(rig.now_ns, "Ann", rig.link, rig.state, check)
        assert (armed.kind, armed.text, armed.who, armed.time_ns) == ("arm", said, "Ann", rig.now_ns)
        assert (holding.kind, holding.who) == ("holding", "Ann")
        assert holding.text == "holding: waiting for the intent to pass rest; think of rest once"


@pytest.mark.parametrize(
    ("age_ns", "text"),
    [
        (0, ""),
        (8 * HOURS_NS, ""),
        (8 * HOURS_NS + 1, "the pre-use check is older than 28800 s: do it again"),
        (-1, "the pre-use check is of the future: do it again"),
    ],
)
@pytest.mark.parametrize("by", ["", "Dr Bo"])
def test_a_check_is_good_for_as_long_as_the_limits_say(age_ns: int, text: str, by: str) -> None:
    rig = Rig()
    check = check_of(rig, not by, overridden_by=by, age_ns=age_ns)
    if text:
        assert refusal(rig, check=check) == text
    else:
        assert rig.gate.arm(rig.now_ns, "Ann", rig.link, rig.state, check)[0].kind == "arm"


def test_a_hand_with_an_unknown_watchdog_needs_a_named_acknowledgement() -> None:
    rig = Rig(watchdog=WatchdogAction.UNKNOWN)
    text = (
        "what the hand does when commands stop is unknown: name who acknowledges that"
        " (--acknowledge-watchdog NAME, or watchdog_acknowledged_by in its file)"
    )
    assert refusal(rig) == text
    assert refusal(rig, acknowledgement=" ") == text
    check = overridden("Ann", rig.now_ns)
    events = rig.gate.arm(rig.now_ns, "Ann", rig.link, rig.state, check, acknowledgement="Dr Bo")
    assert events[0].text.endswith("; acknowledged by Dr Bo")
    assert rig.step(rig.command(0.0)).state is GateState.ARMED


@pytest.mark.parametrize("watchdog", [w for w in WatchdogAction if w is not WatchdogAction.UNKNOWN])
def test_a_hand_with_a_known_watchdog_needs_none(watchdog: WatchdogAction) -> None:
    rig = Rig(watchdog=watchdog)
    assert "arm" in rig.arm()
    assert "acknowledged" not in rig.told()[0][1]


def test_every_transition_says_who_asked_for_it() -> None:
    rig = Rig().follow(0.4)
    rig.told()
    rig.events += rig.gate.stop(rig.now_ns, "Bo")
    rig.step()
    rig.events += rig.gate.release(rig.now_ns, "Cy")
    rig.run(1.0)
    rig.events += rig.gate.disarm(rig.now_ns, "Di")
    rig.step()
    assert rig.told() == [
        ("stop", "stop requested", "Bo"),
        ("holding", "holding: stop requested; arm again, or release", "Bo"),
        ("release", "release requested", "Cy"),
        ("released", "released", "Cy"),
        ("disarm", "disarm requested", "Di"),
        ("disarmed", "disarmed", "Di"),
    ]
    rig.follow(0.4)
    rig.told()
    rig.events += rig.gate.report_fault(rig.now_ns, "decode", "out of memory")
    rig.step()
    rig.fault = "motor 2"
    rig.step()
    rig.link = LinkState.LOST
    rig.step()
    rig.link = LinkState.CONNECTED
    rig.step()
    assert rig.told() == [
        ("fault", "out of memory", "decode"),
        ("faulted", "faulted: decode fault; see why the decoder failed, then arm again", "decode"),
        ("faulted", "faulted: hand fault 'motor 2'; clear the fault at the hand, then arm again", "gate"),
        ("disarmed", "disarmed: no link to the hand; bring the hand back into reach, then arm again", "gate"),
        ("disarmed", "disarmed", "gate"),
    ]


def test_a_report_that_is_dated_too_far_in_the_future_is_no_report() -> None:
    for ahead_ns, there in ((299 * MS, True), (300 * MS, False)):
        rig = Rig()
        rig.says = {"reported_ns": rig.now_ns + ahead_ns}
        assert ("arm" in rig.arm()) is there


def test_a_link_that_went_and_came_between_two_steps_disarms() -> None:
    rig = Rig().follow(0.4)
    rig.says = {"connection": 1}
    decision = rig.step(rig.command(0.4))
    assert (decision.state, decision.cause, decision.send) == (GateState.DISARMED, Cause.LINK_LOST, False)
    assert rig.step(rig.command(0.4)).state is GateState.DISARMED
    rig.arm()
    assert rig.step(rig.command(0.0)).state is GateState.ARMED


def test_the_intent_passes_rest_only_where_it_is_rest_with_the_wearers_gain_too() -> None:
    rig = Rig()
    rig.gate.adjust(rig.now_ns, "Ann", Adjustments(gain=(4.0,) * 6))
    rig.arm()
    assert rig.step(rig.command(0.15)).cause is Cause.AWAITING_REST
    assert rig.step(rig.command(0.03)).state is GateState.ARMED


def test_arming_after_an_overload_moves_nothing_before_rest() -> None:
    rig = Rig().follow(0.4)
    rig.says = {"stalled": True, "positions": np.full(6, 0.3, np.float32)}
    for _ in range(50):
        rig.step(rig.command(0.4))
    assert rig.last.cause is Cause.OVERLOADED
    rig.says = {"positions": np.full(6, 0.2, np.float32)}
    rig.arm()
    for _ in range(20):
        decision = rig.step(rig.command(0.4))
        assert decision.cause is Cause.AWAITING_REST
        np.testing.assert_allclose(decision.positions, 0.2, atol=1e-6)


def test_a_command_that_cannot_be_judged_is_forgotten_by_the_fault() -> None:
    rig = Rig().follow(0.4)
    poison = replace(rig.command(0.4), targets=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        rig.step(poison)
    rig.gate.report_fault(rig.now_ns, "guard loop", "poisoned")
    assert rig.step().cause is Cause.DECODE_FAULT
    assert rig.last.send


def test_a_hand_that_has_never_reported_is_not_there() -> None:
    rig = Rig()
    gate = SafetyGate(LIMITS, WatchdogAction.OPEN)
    decision = gate.step(rig.now_ns, None, LinkState.CONNECTED, None)
    assert (decision.send, decision.cause) == (False, Cause.LINK_LOST)


def test_limits_that_are_laxer_than_usual_are_told_with_the_arming() -> None:
    rig = Rig(
        replace(LIMITS, silence_after_s=0.21, stale_after_s=0.25, relax_duration_s=9.0, check_valid_s=1e6)
    )
    event, _ = rig.gate.arm(rig.now_ns, "Ann", rig.link, rig.state, overridden("Ann", rig.now_ns))
    assert event.text.endswith(
        "; limits laxer than usual: silence_after_s 0.21 s, usually 0.2 s, check_valid_s 1e+06 s, usually 28800 s"
    )
    assert "laxer" not in Rig().gate.arm(NS, "Ann", rig.link, rig.state, overridden("Ann", NS))[0].text
