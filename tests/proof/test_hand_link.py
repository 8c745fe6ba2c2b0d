"""Whatever happens to the radio: nothing forbidden is done to the hand, and the link is soon there again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulators.hands.device import Traced
from firmware_bridge.emulators.oracle import Story, Violation, judge, targets_of
from tests.proof.hand_link_rig import BOUNDS, NS, Rig, running, wait_for
from tests.proof.plugin import Proof

INTERVALS_MS = (7.5, 15.0, 30.0)
FAULTS = (
    "peer disconnects",
    "supervision timeout",
    "silent loss",
    "jitter",
    "30 % of PDUs lost",
    "peer stops advertising",
    "small MTU",
)
PER_HAND = 10
"""Faults for one process of the virtual hand."""

UP_S = 1.0
"""From the first advertisement that is received, once the fault is over, to the link with a state that was read. Where
a link ends while a third of its PDUs are lost, and is set up while they still are, the time is told, not judged."""


@dataclass(frozen=True)
class Injected:
    """A fault, when it was ordered, when it was over, and whether the link cannot have survived it."""

    kind: str
    ordered_ns: int
    over_ns: int
    ends_link: bool


def inject(rig: Rig, kind: str) -> Injected:
    """Order it, live with it, end it; waits until the link is up again."""
    random, order = rig.random, rig.process.order
    time.sleep(random.uniform(0.3, 0.8))
    reads, losses = len(rig.hand.read_ns), rig.hand.linked.counters.losses
    ordered_ns = time.monotonic_ns()
    match kind:
        case "peer disconnects":
            order("disconnect")
        case "supervision timeout":
            order("supervision")
        case "silent loss":
            order("silence")
            time.sleep(random.uniform(0.5, 1.2))
            order("resume")
        case "jitter":
            order(f"jitter {random.uniform(0.02, 0.1):.3f}")
            time.sleep(2.0)
            order("jitter 0")
        case "30 % of PDUs lost":
            order("loss 0.3")
            time.sleep(2.0)
            order("loss 0")
        case "peer stops advertising":
            order("stop advertising")
            order("disconnect")
            time.sleep(random.uniform(0.3, 2.0))
            order("advertise")
        case "small MTU":
            order(f"mtu {23 if random.random() < 0.7 else 40}")
            order("disconnect")
    over_ns = time.monotonic_ns()
    ends_link = kind not in ("jitter", "30 % of PDUs lost")
    if ends_link:
        if random.random() < 0.4:
            wait_for(lambda: rig.hand.linked.counters.losses > losses)
            rig.release()
        wait_for(lambda: len(rig.hand.read_ns) > reads)
    order("mtu 247")
    return Injected(kind, ordered_ns, over_ns, ends_link)


def seconds_to_link(lost_ns: int, trace: list[Traced], story: Story) -> float:
    """From the first advertisement since `lost_ns` that a waiting central received to the state read, without what the
    machine stood still in between."""
    heard = (e.time_ns for e in trace if e.kind == "radio" and e.text.startswith("advertisement"))
    first_ns = next(at_ns for at_ns in heard if at_ns > lost_ns)
    up_ns = next(at_ns for at_ns in story.read_ns if at_ns > first_ns)
    return (up_ns - first_ns - story.stalled_ns(first_ns, up_ns)) / NS


def lost_in(fault: Injected, trace: list[Traced]) -> list[int]:
    """When links ended that need not have: by jitter, or by loss."""
    return [
        e.time_ns
        for e in trace
        if e.kind == "disconnected" and not fault.ends_link and fault.ordered_ns < e.time_ns < fault.over_ns
    ]


def planned(n_faults: int, which: int, random: np.random.Generator) -> list[str]:
    """The share of `n_faults` that is for this one of the intervals: every kind as often, in any order."""
    kinds = [FAULTS[k % len(FAULTS)] for k in range(which, n_faults, len(INTERVALS_MS))]
    return [str(kind) for kind in random.permutation(kinds)]


@pytest.mark.proof(alone=True)
@pytest.mark.parametrize("interval_ms", INTERVALS_MS)
def test_nothing_forbidden_is_done_to_a_hand_whose_radio_fails(
    proof: Proof, tmp_path: Path, interval_ms: float
) -> None:
    which = INTERVALS_MS.index(interval_ms)
    plan = planned(proof.count(200), which, np.random.default_rng([proof.seed, which]))
    violations: list[tuple[Violation, str]] = []
    up_s: list[float] = []
    during_s: list[float] = []
    late: list[tuple[float, Injected]] = []
    ages_s: list[float] = []
    injected = 0
    for begin in range(0, len(plan), PER_HAND):
        seed = (proof.seed * len(INTERVALS_MS) + which) * 1000 + begin
        with running(f"interval={interval_ms / 1e3}", tmp_path, seed) as rig:
            done = []
            for kind in plan[begin : begin + PER_HAND]:
                done.append(inject(rig, kind))
                rig.until_following()
        injected += len(done)
        trace = rig.trace()
        story = rig.story(trace)
        for violation in judge(trace, story, BOUNDS):
            before = [fault.kind for fault in done if fault.ordered_ns < violation.time_ns]
            violations.append((violation, before[-1] if before else "before any fault"))
        ages_s += [(target.came_ns - target.sent_ns) / NS for target in targets_of(trace)]
        took = [(seconds_to_link(fault.over_ns, trace, story), fault) for fault in done if fault.ends_link]
        up_s += [s for s, _ in took]
        late += [(s, fault) for s, fault in took if s > UP_S]
        during_s += [
            seconds_to_link(at_ns, trace, story) for fault in done for at_ns in lost_in(fault, trace)
        ]
    proof.record(
        faults=injected,
        violations=len(violations),
        targets=len(ages_s),
        oldest_target_s=round(max(ages_s), 3),
        links_lost=len(up_s),
        link_p50_s=round(float(np.median(up_s)), 3),
        link_p95_s=round(float(np.percentile(up_s, 95)), 3),
        link_max_s=round(max(up_s), 3),
        later_than_1_s=len(late),
        lost_while_disturbed=len(during_s),
        link_while_disturbed_max_s=round(max(during_s, default=0.0), 3),
    )
    assert injected == len(plan)
    assert violations == []
    assert late == []
