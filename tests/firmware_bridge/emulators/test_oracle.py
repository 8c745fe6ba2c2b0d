"""The oracle: a good trace is let pass, and each way in which one can be bad is seen."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.emulators import _oracle_story, oracle
from firmware_bridge.emulators.hands.device import Traced
from firmware_bridge.emulators.oracle import Bounds, Story, Violation, judge
from tests.firmware_bridge.emulators.oracle_rig import BOUNDS, MS, NS, SPEED, Rig, good_story

Entries = list[Traced]


@pytest.fixture(scope="module")
def good() -> Rig:
    return good_story()


def rules(found: tuple[Violation, ...]) -> set[str]:
    return {violation.rule for violation in found}


def targets(entries: Entries, begin_ns: int = 0) -> Iterator[int]:
    """Where the targets are that were sent, to the millisecond, after a time."""
    for index, entry in enumerate(entries):
        if entry.kind == "target" and sent_ns(entry) > begin_ns:
            yield index


def sent_ns(entry: Traced) -> int:
    assert entry.sent_ms is not None
    return (entry.time_ns // MS - (entry.time_ns // MS - entry.sent_ms) % 65536) * MS


def of(rig: Rig, kind: str, which: int = 0) -> int:
    """When something happened, the `which`-th time."""
    return [event.from_ns for event in rig.happened if event.kind == kind][which]


def moved(entry: Traced, by: float, joint: int = 2) -> Traced:
    joints = list(entry.joints)
    joints[joint] += by
    return replace(entry, joints=tuple(joints))


def test_it_shares_no_code_with_the_gate() -> None:
    allowed = {"firmware_bridge.emulators._oracle_story", "firmware_bridge.emulators.hands.device"}
    for module in (oracle, _oracle_story):
        assert module.__file__ is not None
        found = set()
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level
                found.add(node.module or "")
        assert {name for name in found if name.startswith("firmware_bridge")} <= allowed


def test_a_good_trace_is_let_pass(good: Rig) -> None:
    assert judge(good.trace.entries, good.story(), BOUNDS) == ()
    kinds = [entry.kind for entry in good.trace.entries]
    assert kinds.count("target") > 1000
    assert kinds.count("connected") == 3


def test_a_trace_of_a_hand_whose_frames_carry_no_time_is_judged_by_their_arrival(good: Rig) -> None:
    """Only that the sender's clock is the hand's, so that what is allowed is later by the way."""
    entries = [replace(entry, sent_ms=None) for entry in good.trace.entries]
    shifted = replace(
        good.story(),
        commands=tuple(replace(c, done_ns=c.done_ns + 30 * MS) for c in good.commands),
        happened=tuple(replace(h, done_ns=h.done_ns + 30 * MS) for h in good.happened),
    )
    assert judge(entries, shifted, BOUNDS) == ()
    bad = [
        moved(entry, 1.5) if index in set(targets_by_kind(entries)) else entry
        for index, entry in enumerate(entries)
    ]
    assert "position" in rules(judge(bad, shifted, BOUNDS))


def targets_by_kind(entries: Entries) -> list[int]:
    return [index for index, entry in enumerate(entries) if entry.kind == "target"]


def beyond(good: Rig, entries: Entries) -> None:
    index = next(targets(entries, of(good, "arm") + NS))
    entries[index] = replace(entries[index], joints=(1.001,) * 6)


def a_joint_beyond(good: Rig, entries: Entries) -> None:
    index = next(i for i, entry in enumerate(entries) if entry.kind == "position" and i > 500)
    entries[index] = moved(entries[index], 1.5)


def a_jump(good: Rig, entries: Entries) -> None:
    index = next(targets(entries, of(good, "arm") + NS))
    entries[index] = moved(entries[index], 0.05)


def too_fast_for_long(good: Rig, entries: Entries) -> None:
    """Each step is only a little too far: the sum of them is what is seen."""
    first = next(i for i in targets(entries, of(good, "arm")) if entries[i].joints[0] > 0.05)
    way = 0.0
    for index in list(targets(entries, of(good, "arm"))):
        if index >= first and way < 0.3:
            way += 0.004
            entries[index] = moved(entries[index], way)


def a_hand_too_fast(good: Rig, entries: Entries) -> None:
    positions = [i for i, entry in enumerate(entries) if entry.kind == "position"]
    for index in positions[300:]:
        entries[index] = moved(entries[index], -0.95 if entries[index].joints[2] > 0 else 0.95)


def begun_elsewhere(good: Rig, entries: Entries) -> None:
    connected = [entry.time_ns for entry in entries if entry.kind == "connected"][1]
    arm_ns = next(
        event.from_ns for event in good.happened if event.kind == "arm" and event.from_ns > connected
    )
    for index in list(targets(entries, arm_ns - MS))[:60]:
        entries[index] = moved(entries[index], 0.3)


def late(good: Rig, entries: Entries) -> None:
    """One that comes half a second after it was sent, a newer one long there."""
    index = next(targets(entries, of(good, "arm") + NS))
    entry = entries.pop(index)
    after = next(i for i, e in enumerate(entries) if e.time_ns > entry.time_ns + NS // 2)
    entries.insert(after, replace(entry, time_ns=entries[after].time_ns))


def old(good: Rig, entries: Entries) -> None:
    """The last target of a connection comes again on the next one."""
    connected = [i for i, entry in enumerate(entries) if entry.kind == "connected"][1]
    last = max(i for i in targets(entries) if i < connected)
    entries.insert(connected + 1, replace(entries[last], time_ns=entries[connected].time_ns))


def unarmed(good: Rig, entries: Entries) -> None:
    """Sent on the new connection, before anybody armed."""
    connected = [i for i, entry in enumerate(entries) if entry.kind == "connected"][1]
    at_ns = entries[connected].time_ns + 150 * MS
    after = next(i for i, entry in enumerate(entries) if entry.time_ns > at_ns)
    at_rest = Traced(entries[after].time_ns, "target", (0.0,) * 6, sent_ms=at_ns // MS % 65536)
    entries.insert(after, at_rest)


def disarmed(good: Rig, entries: Entries) -> None:
    """One more after the disarming."""
    at_ns = of(good, "disarm") + 100 * MS
    entries.append(Traced(entries[-1].time_ns, "target", (0.0,) * 6, sent_ms=at_ns // MS % 65536))


def goes_on_following(good: Rig, entries: Entries) -> None:
    """Expired, and still on the way to where the command was."""
    expired_ns = of(good, "arm") + 3 * NS + 150 * MS
    for index in list(targets(entries, expired_ns))[:5]:
        entries[index] = moved(entries[index], -0.03 if entries[index].joints[2] < 0 else 0.03)


def stops_relaxing(good: Rig, entries: Entries) -> None:
    """It begins to relax, and stays where it is."""
    expired_ns = of(good, "arm") + 3 * NS + 150 * MS
    first = next(targets(entries, expired_ns))
    for index in list(targets(entries, expired_ns))[:80]:
        entries[index] = replace(entries[index], joints=entries[first].joints)


def moves_though_stopped(good: Rig, entries: Entries) -> None:
    for index in list(targets(entries, of(good, "stop") + 100 * MS))[:10]:
        entries[index] = moved(entries[index], -0.01)


def moves_before_rest(good: Rig, entries: Entries) -> None:
    """Armed anew, and the intent not at rest yet."""
    for index in list(targets(entries, of(good, "arm", 1) + 100 * MS))[:5]:
        entries[index] = moved(entries[index], 0.01)


def released_elsewhere(good: Rig, entries: Entries) -> None:
    """The latched release is not the only thing sent."""
    connected = [entry.time_ns for entry in entries if entry.kind == "connected"][2]
    for index in list(targets(entries, connected + 300 * MS))[:10]:
        entries[index] = moved(entries[index], 0.05)


def released_slowly(good: Rig, entries: Entries) -> None:
    release_ns = of(good, "release", 1)
    for index in targets(entries, release_ns):
        entry = entries[index]
        left = max(0.0, 0.7 - 0.7 * (sent_ns(entry) - release_ns) / NS)
        entries[index] = replace(entry, joints=(-left,) * 6)


def never_at_rest(good: Rig, entries: Entries) -> None:
    """The targets say rest, the hand is not there."""
    release_ns = of(good, "release", 1)
    for index, entry in enumerate(entries):
        if entry.kind == "position" and entry.time_ns > release_ns + NS:
            entries[index] = replace(entry, joints=(-0.1,) * 6)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (beyond, "position"),
        (a_joint_beyond, "position"),
        (a_jump, "speed"),
        (too_fast_for_long, "speed"),
        (a_hand_too_fast, "motion"),
        (begun_elsewhere, "start"),
        (late, "late"),
        (old, "old"),
        (unarmed, "disarmed"),
        (disarmed, "disarmed"),
        (goes_on_following, "action"),
        (stops_relaxing, "in time"),
        (moves_though_stopped, "action"),
        (moves_before_rest, "action"),
        (released_elsewhere, "action"),
        (released_slowly, "in time"),
        (never_at_rest, "rest"),
    ],
)
def test_a_bad_trace_is_caught(good: Rig, change: Callable[[Rig, Entries], None], rule: str) -> None:
    entries = list(good.trace.entries)
    change(good, entries)
    assert entries != good.trace.entries
    found = judge(entries, good.story(), BOUNDS)
    assert rule in rules(found)
    assert all(violation.what and violation.bound for violation in found)


def test_a_target_before_the_state_was_read_is_caught(good: Rig) -> None:
    story = good.story()
    late = tuple(at_ns + (NS if k == 2 else 0) for k, at_ns in enumerate(story.read_ns))
    assert rules(judge(good.trace.entries, replace(story, read_ns=late), BOUNDS)) == {"unread"}
    assert "unread" in rules(judge(good.trace.entries, replace(story, read_ns=story.read_ns[:2]), BOUNDS))


def test_a_release_that_nobody_asked_for_is_caught(good: Rig) -> None:
    """The same trace, and a story without the request."""
    story = good.story()
    without = tuple(event for event in story.happened if event.kind != "release")
    assert rules(judge(good.trace.entries, replace(story, happened=without), BOUNDS)) >= {"disarmed"}


def test_a_command_of_bad_quality_is_not_to_be_followed(good: Rig) -> None:
    story = good.story()
    bad = tuple(replace(c, is_good=c.targets[0] < 0.5) for c in story.commands)
    assert "action" in rules(judge(good.trace.entries, replace(story, commands=bad), BOUNDS))


def test_an_acceleration_is_judged_where_it_is_declared(good: Rig) -> None:
    """This hand's targets go from rest to full speed within a step."""
    bounds = replace(BOUNDS, max_acceleration_per_s2=(5.0,) * 6)
    assert rules(judge(good.trace.entries, good.story(), bounds)) >= {"acceleration"}
    lenient = replace(BOUNDS, max_acceleration_per_s2=(500.0,) * 6)
    assert judge(good.trace.entries, good.story(), lenient) == ()


def test_a_smaller_limit_is_broken_by_what_keeps_a_larger_one(good: Rig) -> None:
    for bounds, rule in (
        (replace(BOUNDS, max_speed_per_s=(0.9 * SPEED,) * 6), "speed"),
        (replace(BOUNDS, upper=(0.75,) * 6), "position"),
        (replace(BOUNDS, relax_duration_s=0.7), "in time"),
        (replace(BOUNDS, max_age_s=0.015), "late"),
    ):
        assert rule in rules(judge(good.trace.entries, good.story(), bounds)), rule


def test_a_deadline_waits_where_the_machine_stood_still(good: Rig) -> None:
    entries = list(good.trace.entries)
    late(good, entries)
    assert "late" in rules(judge(entries, good.story(), BOUNDS))
    begin_ns = of(good, "arm") + NS
    stalled = replace(good.story(), stalls=((begin_ns, begin_ns + 400 * MS),))
    assert "late" not in rules(judge(entries, stalled, BOUNDS))


def test_nothing_is_no_violation() -> None:
    assert judge([], Story(), Bounds((-1.0,), (1.0,), (1.0,))) == ()
