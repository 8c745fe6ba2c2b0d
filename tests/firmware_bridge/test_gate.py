"""The safety gate, cause by cause and limit by limit: just below, at, and just above."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import Cause, GateDecision, GateLimits, GateState, SafetyGate
from firmware_bridge.gate_rules import RULES, Recovery, SafeAction
from firmware_bridge.hand import HandCommand, HandState, LinkState, Quality, WatchdogAction
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND

MS = 1_000_000
NS = 1_000_000_000
LIMITS = GateLimits(
    lower=[-0.5, -1, -1, -1, -1, -1],
    upper=[0.5, 0.9, 1, 1, 1, 1],
    max_speed_per_s=[1, 2, 4, 4, 4, 4],
    min_confidence=0.6,
)
LATER_NS = 10 * NS
GOOD = Quality()


class Rig:
    """A gate with a hand beside it that reports, every 10 ms, that it is where it was sent."""

    def __init__(self, limits: GateLimits = LIMITS, watchdog: WatchdogAction = WatchdogAction.OPEN) -> None:
        self.gate = SafetyGate(limits, watchdog)
        self.now_ns = NS
        self.link = LinkState.CONNECTED
        self.positions = np.zeros(6, dtype=np.float32)
        self.fault = ""
        self.last = self.step()

    @property
    def state(self) -> HandState:
        return HandState(self.positions.copy(), self.now_ns, fault=self.fault)

    def command(self, *targets: float, quality: Quality = GOOD, life_ns: int = LATER_NS) -> HandCommand:
        values = np.array(targets if len(targets) == 6 else [targets[0]] * 6, dtype=np.float32)
        return HandCommand(values, 0, self.now_ns, self.now_ns + life_ns, quality=quality)

    def step(self, command: HandCommand | None = None, dt_ns: int = 10 * MS) -> GateDecision:
        self.now_ns += dt_ns
        self.last = self.gate.step(self.now_ns, command, self.link, self.state)
        if self.last.send:
            self.positions = self.last.positions
        return self.last

    def arm(self, **kwargs: str) -> list[str]:
        return [event.kind for event in self.gate.arm(self.now_ns, "Ann", self.link, self.state, **kwargs)]

    def follow(self, target: float) -> Rig:
        """Arm, pass rest, and follow `target` until it is reached."""
        self.arm()
        self.step(self.command(0.0))
        assert self.last.state is GateState.ARMED
        for _ in range(200):
            self.step(self.command(target))
        return self

    def run(self, seconds: float) -> GateDecision:
        for _ in range(round(seconds * 100)):
            self.step()
        return self.last


def test_a_new_gate_is_disarmed_and_sends_nothing_whatever_it_is_told() -> None:
    rig = Rig()
    decision = rig.step(rig.command(0.5))
    assert (decision.state, decision.send, decision.cause) == (GateState.DISARMED, False, None)


def test_the_rules_name_every_cause_and_only_faults_and_stops_need_a_person() -> None:
    assert set(RULES) == set(Cause)
    by_arming = {cause for cause, rule in RULES.items() if rule.recovery is Recovery.BY_ARMING}
    assert by_arming == {Cause.LINK_LOST, Cause.HAND_FAULT, Cause.STOPPED, Cause.DECODE_FAULT}


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
    ("age_ns", "silent"), [(250 * MS - 1, False), (250 * MS, True), (250 * MS + 1, True)]
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


def test_a_command_dated_in_the_future_goes_stale_all_the_same() -> None:
    rig = Rig().follow(0.4)
    rig.step(replace(rig.command(0.4), issued_ns=rig.now_ns + 3600 * NS, expires_ns=rig.now_ns + 7200 * NS))
    assert rig.step(dt_ns=250 * MS).cause is Cause.SILENCE


def test_silence_relaxes_slowly_to_rest_and_ends_with_the_next_command() -> None:
    rig = Rig().follow(0.4)
    rig.run(0.3)
    assert (rig.last.state, rig.last.cause) == (GateState.RELAXING, Cause.SILENCE)
    assert (rig.positions > 0.3).all()
    rig.run(0.6)
    np.testing.assert_array_equal(rig.positions, 0)
    assert rig.last.state is GateState.RELAXING
    assert rig.step(rig.command(0.4)).state is GateState.ARMED


def test_relaxing_keeps_to_the_speed_limit_too() -> None:
    rig = Rig(replace(LIMITS, max_speed_per_s=[0.5, 2, 1, 1, 1, 1], relax_duration_s=1.0)).follow(0.4)
    before = rig.positions
    decision = rig.step(rig.command(np.nan))
    np.testing.assert_allclose(before - decision.positions, [0.005, 0.01, 0.01, 0.01, 0.01, 0.01], atol=1e-6)


@pytest.mark.parametrize("target", [-1.0, -0.5, -0.49, 0.49, 0.5, np.nextafter(0.5, 1), 1.0])
def test_positions_stay_inside_the_limits(target: float) -> None:
    rig = Rig().follow(target)
    expected = np.clip(np.float32(target), LIMITS.lower, LIMITS.upper)
    np.testing.assert_allclose(rig.positions, expected, atol=1e-7)
    assert (rig.positions >= LIMITS.lower).all()
    assert (rig.positions <= LIMITS.upper).all()


def test_the_ramp_goes_on_from_what_was_sent_not_from_a_hand_that_lags() -> None:
    rig = Rig().follow(0.0)
    for _ in range(10):
        rig.step(rig.command(0.4))
        rig.positions = np.zeros(6, dtype=np.float32)
    assert rig.last.positions[0] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("target", [0.0099, 0.01, 0.0101, 0.5])
def test_no_joint_is_sent_faster_than_its_limit(target: float) -> None:
    rig = Rig().follow(0.0)
    rig.step(rig.command(target, 0, 0, 0, 0, 0))
    assert rig.positions[0] == pytest.approx(min(target, 0.01), abs=1e-8)


@pytest.mark.parametrize(
    ("dt_ns", "moved"), [(0, 0.0), (-5 * NS, 0.0), (49 * MS, 0.049), (50 * MS, 0.05), (NS, 0.05)]
)
def test_a_late_step_or_a_clock_that_runs_backwards_makes_no_jump(dt_ns: int, moved: float) -> None:
    rig = Rig().follow(0.0)
    state = HandState(rig.positions, rig.now_ns + dt_ns)
    command = HandCommand(np.full(6, 0.5, np.float32), 0, rig.now_ns + dt_ns, rig.now_ns + dt_ns + NS)
    decision = rig.gate.step(rig.now_ns + dt_ns, command, rig.link, state)
    assert decision.positions[0] == pytest.approx(moved, abs=1e-8)


def test_time_that_ran_backwards_is_not_made_up_for() -> None:
    rig = Rig().follow(0.0)
    rig.step(rig.command(0.0), dt_ns=-5 * NS)
    rig.now_ns += 5 * NS
    rig.step(rig.command(0.5), dt_ns=10 * MS)
    assert rig.positions[0] == pytest.approx(0.01, abs=1e-8)


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
    assert [event.text for event in rig.step().events] == ["disarmed: no link to the hand"]
    rig.link = LinkState.CONNECTED
    decision = rig.step()
    assert (decision.state, decision.cause) == (GateState.DISARMED, None)


def test_a_report_from_before_the_loss_is_not_read_as_the_hands_state() -> None:
    rig = Rig().follow(0.4)
    old = rig.state
    rig.link = LinkState.LOST
    rig.step()
    rig.link = LinkState.CONNECTED
    refused = rig.gate.arm(rig.now_ns, "Ann", rig.link, old)
    assert [event.kind for event in refused] == ["arm refused"]
    rig.gate.release(rig.now_ns, "Ann")
    assert not rig.gate.step(rig.now_ns, None, rig.link, old).send
    assert not rig.gate.step(rig.now_ns, None, rig.link, replace(old, reported_ns=rig.now_ns)).send
    assert rig.step().send


def test_arming_starts_from_where_the_hand_is() -> None:
    rig = Rig().follow(0.4)
    rig.gate.disarm(rig.now_ns, "Ann")
    rig.step()
    rig.positions = np.array([-0.2, 0.7, np.nan, 0, 0, 0], dtype=np.float32)
    rig.arm()
    decision = rig.step(rig.command(0.0), dt_ns=0)
    np.testing.assert_allclose(decision.positions[:4], [-0.2, 0.7, 0.4, 0], atol=1e-7)


def test_a_hand_found_beyond_a_limit_is_brought_inside() -> None:
    rig = Rig()
    rig.positions = np.full(6, 1.0, dtype=np.float32)
    rig.arm()
    np.testing.assert_array_equal(rig.step().positions, LIMITS.upper)


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
    assert [event.kind for event in rig.gate.disarm(rig.now_ns, "Ann")] == ["disarm refused"]
    rig.run(1.0)
    assert rig.gate.at_rest
    rig.gate.disarm(rig.now_ns, "Ann")
    assert not rig.step().send
    assert rig.gate.state is GateState.DISARMED


def test_the_documentation_has_this_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "safety.md").read_text()
    rows = [
        f"| {cause.value} | {rule.action.value} | {rule.state.value} | {rule.recovery.value} |"
        for cause, rule in RULES.items()
    ]
    assert "\n".join(rows) in text


def test_events_name_each_change_once_and_who_asked() -> None:
    rig = Rig().follow(0.4)
    events = [event for _ in range(5) for event in rig.step(rig.command(np.nan)).events]
    assert [(event.kind, event.text) for event in events] == [("relaxing", "relaxing: command not finite")]
    (event,) = rig.gate.release(rig.now_ns, "Bo")
    assert (event.kind, event.who, event.time_ns) == ("release", "Bo", rig.now_ns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": [0.1] * 6}, "rest is allowed"),
        ({"upper": [-0.1] * 6}, "rest is allowed"),
        ({"upper": [1.1] * 6}, "rest is allowed"),
        ({"lower": [-1.1] * 6}, "rest is allowed"),
        ({"upper": [1.0] * 5}, "6 finite numbers"),
        ({"upper": [np.nan] * 6}, "6 finite numbers"),
        ({"max_speed_per_s": [1, 1, 0, 1, 1, 1]}, "above 0"),
        ({"stale_after_s": 0.0}, "stale_after_s is 0.0"),
        ({"link_timeout_s": -1.0}, "link_timeout_s"),
        ({"relax_duration_s": np.inf}, "relax_duration_s"),
        ({"max_step_s": np.nan}, "max_step_s"),
        ({"min_confidence": 1.01}, "min_confidence is 1.01"),
        ({"min_healthy_fraction": -0.01}, "min_healthy_fraction"),
        ({"rest_band": np.nan}, "rest_band"),
    ],
)
def test_impossible_limits_are_refused_by_name_and_value(change: dict[str, object], message: str) -> None:
    fields = {"lower": LIMITS.lower, "upper": LIMITS.upper, "max_speed_per_s": LIMITS.max_speed_per_s}
    with pytest.raises(NervehandError, match=message):
        GateLimits(**{**fields, **change})  # type: ignore[arg-type]


def test_limits_cannot_be_changed_after_the_fact() -> None:
    values = np.ones(6, dtype=np.float32)
    limits = GateLimits(-values, values, values)
    values[:] = 5
    np.testing.assert_array_equal(limits.upper, 1)
    with pytest.raises(ValueError, match="read-only"):
        limits.upper[0] = 2


def test_a_hands_own_reach_and_speed_as_limits() -> None:
    capabilities = replace(VIRTUAL_HAND, max_speed_per_s=np.array([3, 3, 3, 3, 3, 0], dtype=np.float32))
    limits = GateLimits.for_hand(capabilities)
    np.testing.assert_array_equal(limits.upper, VIRTUAL_HAND.upper)
    np.testing.assert_array_equal(limits.max_speed_per_s, [3, 3, 3, 3, 3, 1])
