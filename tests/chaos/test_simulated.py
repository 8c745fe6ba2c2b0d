"""Faults in simulated time: the hand is told nothing that was not allowed, and the daemon decodes again."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from firmware_bridge.gate import Cause, SafetyGate
from firmware_bridge.hand import HandState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from tests.chaos.faults import IN_SIMULATED_TIME, Fault, planned
from tests.chaos.simulated_run import Outcome, SimulatedRun

STEPS = ("wall clock an hour on", "wall clock an hour back")


def outcome_of(*faults: tuple[str, float], steps_wall: bool = True) -> Outcome:
    """Of these kinds, each for so many seconds."""
    plan = [Fault(k, kind, 0.7, for_s, k) for k, (kind, for_s) in enumerate(faults)]
    return SimulatedRun(plan, 5, steps_wall=steps_wall).run()


@pytest.fixture
def nothing_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception was caught and logged."""
    with caplog.at_level(logging.ERROR):
        yield
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.usefixtures("nothing_logged")
def test_a_fault_of_every_kind_leaves_the_oracle_content_and_the_daemon_decoding() -> None:
    plan = planned(len(IN_SIMULATED_TIME), 2, IN_SIMULATED_TIME)
    assert {fault.kind for fault in plan} == {kind.name for kind in IN_SIMULATED_TIME}
    outcome = SimulatedRun(plan, 1).run()
    assert outcome.faults == len(plan)
    assert outcome.violations == []
    assert outcome.lost_messages == 0
    assert outcome.lives == 3  # an engine was killed, and a guard
    assert outcome.targets > 500


def test_while_the_guard_stands_still_the_hands_own_watchdog_acts_and_not_before() -> None:
    watchdog_s = VIRTUAL_HAND.watchdog_s
    assert watchdog_s is not None
    outcome = outcome_of(("guard stopped", 1.5), ("guard stopped", 0.1))
    assert outcome.violations == []
    assert outcome.watchdogs == {0: True}
    acted = [at for at, kind, _ in outcome.trace if kind == "watchdog"]
    told = [at for at, kind, _ in outcome.trace if kind == "target"]
    (first, *_) = acted
    last_before = max(at for at in told if at < first)
    assert watchdog_s <= (first - last_before) / 1e9 <= watchdog_s + 0.02
    at_rest = [
        joints for at, kind, joints in outcome.trace if kind == "position" and first < at < first + 1e9
    ]
    assert max(map(abs, at_rest[-1])) < 0.02  # it opens, which for it is rest


def test_a_step_of_the_wall_clock_changes_nothing_of_what_is_decided_or_sent() -> None:
    faults = [(kind, 0.4) for kind in (*STEPS, *STEPS[::-1])]
    faults += [("source silent", 0.8), (STEPS[0], 0.2), ("hand silent", 0.7), (STEPS[1], 0.2)]
    stepped, steady = (outcome_of(*faults, steps_wall=steps) for steps in (True, False))
    assert stepped.violations == []
    assert stepped.digest == steady.digest
    assert stepped.trace == steady.trace


def test_the_same_faults_give_the_same_run() -> None:
    plan = planned(4, 9, IN_SIMULATED_TIME)
    one, other = SimulatedRun(plan, 9).run(), SimulatedRun(plan, 9).run()
    assert one.trace == other.trace
    assert one.digest == other.digest


def judged_only(monkeypatch: pytest.MonkeyPatch, *causes: Cause) -> None:
    """The gate knows no other cause from now on."""
    present = SafetyGate._present

    def some(self: SafetyGate, now_ns: int, link_up: bool, state: HandState | None) -> Iterator[Cause]:
        return (cause for cause in present(self, now_ns, link_up, state) if cause in causes)

    monkeypatch.setattr(SafetyGate, "_present", some)


def test_the_oracle_sees_a_gate_that_goes_on_after_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_only(monkeypatch, *(cause for cause in Cause if cause is not Cause.LINK_LOST))
    outcome = outcome_of(("hand disconnects", 0.0), ("hand away", 0.5))
    assert "disarmed" in {violation.rule for violation, _ in outcome.violations}


def test_the_oracle_sees_a_gate_that_follows_a_decoder_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged_only(monkeypatch, Cause.LINK_LOST)
    outcome = outcome_of(*[("decode stopped", 1.0 + k / 10) for k in range(6)])
    assert "in time" in {violation.rule for violation, _ in outcome.violations}
