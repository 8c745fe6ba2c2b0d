"""Was everything that was done to a hand allowed? Judged from the hand's own trace and from what was asked of the gate.

It shares no code with the gate, and is no copy of it: it does not say what should have been sent, only what must not
have been. Times are host times in ns (time.monotonic_ns); the sender's clock of a trace (`sent_ms`) is the host's.

| rule | violated by |
|---|---|
| position | a target, or a joint, beyond its limits |
| speed | targets further apart than the limit allows in the time between them, on the sender's clock |
| acceleration | targets that change their speed faster than declared |
| motion | joints that move further than the limit allows; what waited on the way may be made up for |
| start | a first target that is not where the hand is |
| late | a target that comes to the hand later than allowed after it was sent |
| old | a target of an earlier connection that comes in a later one |
| unread | a target that comes before the hand's state was read on this connection |
| disarmed | a target sent where nothing may be sent: not armed (again) since the link was there, and no release |
| action | a target that leads elsewhere than to a command in force or, where it is the declared action, rest |
| in time | a target on a declared way to rest that is further from it than the declared time allows |
| rest | a hand that is not at rest when the time of its relaxing or release is over |
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from firmware_bridge.emulators._oracle_story import (
    NS,
    Bounds,
    Commanded,
    Expectations,
    Happened,
    Joints,
    Story,
    Violation,
)
from firmware_bridge.emulators.hands.device import Traced

__all__ = ["Bounds", "Commanded", "Happened", "Story", "Target", "Violation", "judge", "targets_of"]

MS = 1_000_000
CLOCK_S = 0.002
"""The sender's clock is told in whole milliseconds."""


def judge(trace: Sequence[Traced], story: Story, bounds: Bounds) -> tuple[Violation, ...]:
    """Every violation, in the order of their times; none is what a test wants."""
    return _Trial(trace, story, bounds).violations()


@dataclass(frozen=True, slots=True)
class Target:
    """What a hand was told. `sent_ns` is host time too; it is `came_ns` where the command set does not say it."""

    sent_ns: int
    came_ns: int
    joints: Joints


class _Trial:
    """One trace on trial."""

    def __init__(self, trace: Sequence[Traced], story: Story, bounds: Bounds) -> None:
        self._trace, self._story, self._bounds = trace, story, bounds
        self._connected_ns = [entry.time_ns for entry in trace if entry.kind == "connected"]
        self._end_ns = trace[-1].time_ns if trace else 0
        self._expectations = Expectations(story, self._connected_ns, bounds)
        self._targets = targets_of(trace)
        self._positions = [(entry.time_ns, entry.joints) for entry in trace if entry.kind == "position"]
        self._position_ns = [time_ns for time_ns, _ in self._positions]
        self._stretches = list(self._split())

    def violations(self) -> tuple[Violation, ...]:
        rules = (
            self._limits,
            self._ages,
            self._motion,
            self._starts,
            self._permissions,
            self._speeds,
            self._accelerations,
            self._ways_to_rest,
        )
        return tuple(sorted((v for rule in rules for v in rule()), key=lambda v: v.time_ns))

    def _split(self) -> Iterator[list[Target]]:
        """Targets in stretches in which the sender never stopped sending, so that each goes on from the one before."""
        stretch: list[Target] = []
        for target in self._targets:
            if stretch and (
                self._expectations.breaks(stretch[-1].sent_ns, target.sent_ns + MS)
                or self._connection(stretch[-1].came_ns) != self._connection(target.came_ns)
            ):
                yield stretch
                stretch = []
            stretch.append(target)
        if stretch:
            yield stretch

    def _connection(self, at_ns: int) -> int:
        return bisect_right(self._connected_ns, at_ns)

    def _limits(self) -> Iterator[Violation]:
        bounds = self._bounds
        for entry in self._trace:
            if entry.kind not in ("target", "position"):
                continue
            for joint, value in enumerate(entry.joints):
                low, high = bounds.lower[joint], bounds.upper[joint]
                if not low - bounds.resolution <= value <= high + bounds.resolution:
                    yield _found(entry.time_ns, "position", joint, entry.kind, value, f"{low:g} to {high:g}")

    def _ages(self) -> Iterator[Violation]:
        """Late, old and unread."""
        for target in self._targets:
            at_ns, sent_ns = target.came_ns, target.sent_ns
            age_s = (at_ns - sent_ns - self._story.stalled_ns(sent_ns, at_ns)) / NS
            if age_s > self._bounds.max_age_s:
                yield Violation(
                    at_ns, "late", f"came {age_s:.3f} s after it was sent", f"{self._bounds.max_age_s} s"
                )
            began_ns = self._connected_ns[self._connection(at_ns) - 1] if self._connection(at_ns) else 0
            if sent_ns + MS < began_ns:
                yield Violation(
                    at_ns, "old", f"sent {(began_ns - sent_ns) / NS:.3f} s before", "its connection began"
                )
            k = bisect_left(self._story.read_ns, began_ns)
            if k == len(self._story.read_ns) or self._story.read_ns[k] > at_ns:
                yield Violation(at_ns, "unread", "a target", "first the hand's state is read")

    def _motion(self) -> Iterator[Violation]:
        """Joints go no further between any two times than the limit and what was late allow; the hand's own watchdog
        does as it likes."""
        bounds, stretch, is_own = self._bounds, _Pace(self._bounds, self._bounds.max_age_s), False
        for entry in self._trace:
            if entry.kind == "watchdog":
                is_own = True
            elif entry.kind == "target" and is_own:
                is_own, stretch = False, _Pace(bounds, bounds.max_age_s)
            elif entry.kind == "position" and not is_own:
                for joint, over in stretch.exceeded(entry.time_ns, entry.joints):
                    limit = f"{bounds.max_speed_per_s[joint]:g} per s"
                    yield _found(entry.time_ns, "motion", joint, "further than allowed by", over, limit)

    def _speeds(self) -> Iterator[Violation]:
        for stretch in self._stretches:
            pace = _Pace(self._bounds, CLOCK_S)
            for target in stretch:
                for joint, over in pace.exceeded(target.sent_ns, target.joints):
                    limit = f"{self._bounds.max_speed_per_s[joint]:g} per s"
                    yield _found(target.came_ns, "speed", joint, "further than allowed by", over, limit)

    def _accelerations(self) -> Iterator[Violation]:
        """Mean speeds between successive targets differ by no more than the limit times what lies between them."""
        bounds = self._bounds
        for stretch in self._stretches if bounds.max_acceleration_per_s2 else ():
            for first, second, third in zip(stretch, stretch[1:], stretch[2:], strict=False):
                one_s, two_s = (second.sent_ns - first.sent_ns) / NS, (third.sent_ns - second.sent_ns) / NS
                if min(one_s, two_s) < 2 * CLOCK_S:
                    continue
                for joint, limit in enumerate(bounds.max_acceleration_per_s2):
                    a = (second.joints[joint] - first.joints[joint]) / one_s
                    b = (third.joints[joint] - second.joints[joint]) / two_s
                    blur = CLOCK_S * (abs(a) / one_s + abs(b) / two_s) + 4 * bounds.resolution / min(
                        one_s, two_s
                    )
                    allowed = limit * ((one_s + two_s) / 2 + bounds.max_step_s) + blur
                    if abs(b - a) > allowed:
                        yield _found(
                            third.came_ns,
                            "acceleration",
                            joint,
                            "speed changed by",
                            abs(b - a),
                            f"{allowed:g}",
                        )

    def _starts(self) -> Iterator[Violation]:
        """A sender begins where the hand is, or was when it last said so."""
        bounds = self._bounds
        for stretch in self._stretches:
            first = stretch[0]
            was = self._seen(first.sent_ns - round(bounds.max_age_s * NS), first.came_ns)
            if not was:
                continue
            began_ns = self._began_ns(first)
            late_s = (first.sent_ns - began_ns) / NS + bounds.max_step_s
            for joint, value in enumerate(first.joints):
                reach = bounds.max_speed_per_s[joint] * late_s + bounds.resolution
                low = min(joints[joint] for joints in was) - reach
                high = max(joints[joint] for joints in was) + reach
                if not low <= value <= high:
                    yield _found(
                        first.came_ns, "start", joint, "first target", value, f"{low:.3f} to {high:.3f}"
                    )

    def _began_ns(self, first: Target) -> int:
        """When its sender began to send: with an arming or a release, or with the connection that waited for it."""
        begun = [
            e.from_ns
            for e in self._story.happened
            if e.kind in ("arm", "release") and e.from_ns <= first.sent_ns
        ]
        begun += [at_ns for at_ns in self._story.read_ns if at_ns <= first.sent_ns]
        return max(begun, default=first.sent_ns)

    def _permissions(self) -> Iterator[Violation]:
        """Disarmed, and action."""
        for stretch in self._stretches:
            before: Target | None = None
            for target in stretch:
                now = self._expectations.between(target.sent_ns, target.sent_ns + MS)
                if not any(expected.may_send for expected in now):
                    yield Violation(target.came_ns, "disarmed", "a target", "nothing may be sent")
                elif before is not None:
                    passed = self._expectations.between(before.sent_ns, target.sent_ns + MS)
                    towards = list(dict.fromkeys(t for expected in passed for t in expected.towards))
                    yield from self._leads(before, target, towards)
                before = target

    def _leads(self, before: Target, target: Target, towards: list[Joints]) -> Iterator[Violation]:
        """Between where it was and where it may go; what is fast may overshoot as far as it needs to stop."""
        bounds = self._bounds
        for joint, value in enumerate(target.joints):
            places = [before.joints[joint], *(t[joint] for t in towards)]
            low, high = bounds.lower[joint], bounds.upper[joint]
            slack = 2 * bounds.resolution
            if bounds.max_acceleration_per_s2:
                slack += bounds.max_speed_per_s[joint] ** 2 / (2 * bounds.max_acceleration_per_s2[joint])
            least, most = (min(max(f(places), low), high) for f in (min, max))
            if not least - slack <= value <= most + slack:
                was = before.joints[joint]
                bound = f"from {was:.3f}, {least:.3f} to {most:.3f}"
                yield _found(target.came_ns, "action", joint, "target", value, bound)

    def _ways_to_rest(self) -> Iterator[Violation]:
        """In time, and rest."""
        for from_ns, to_ns, declared in self._expectations.declared(self._end_ns):
            for stretch in self._stretches:
                inside = [t for t in stretch if from_ns < t.sent_ns <= to_ns - MS]
                if inside:
                    yield from self._way_to_rest(from_ns, to_ns, declared, stretch, inside)

    def _way_to_rest(
        self, from_ns: int, to_ns: int, declared: str, stretch: list[Target], inside: list[Target]
    ) -> Iterator[Violation]:
        bounds, story = self._bounds, self._story
        index = stretch.index(inside[0])
        start = stretch[index - 1] if index else inside[0]
        begins_ns = max(from_ns, start.sent_ns)
        if from_ns - start.sent_ns > bounds.max_step_s * NS:  # what was sent meanwhile did not come
            start, begins_ns = inside[0], inside[0].sent_ns
        longest_s = 0.0
        for joint, speed in enumerate(bounds.max_speed_per_s):
            rate = speed if declared == "release" else min(speed, 1 / bounds.relax_duration_s)
            slack_s = bounds.slack_s
            if bounds.max_acceleration_per_s2:
                slack_s += 2 * speed / bounds.max_acceleration_per_s2[joint]
            # Until then it may have gone on, and what was sent of that need not have come.
            most = abs(start.joints[joint]) + speed * max(0, from_ns - start.sent_ns) / NS
            longest_s = max(longest_s, slack_s + most / rate)
            for target in inside:
                passed_ns = target.sent_ns - begins_ns - story.stalled_ns(begins_ns, target.sent_ns)
                left = max(0.0, most - rate * max(0.0, passed_ns / NS - slack_s))
                if abs(target.joints[joint]) > left + 2 * bounds.resolution:
                    yield _found(
                        target.came_ns,
                        "in time",
                        joint,
                        f"{declared} at",
                        target.joints[joint],
                        f"{left:.3f}",
                    )
        over_ns = begins_ns + round((longest_s + bounds.settle_s + bounds.max_age_s) * NS)
        over_ns += story.stalled_ns(begins_ns, over_ns)
        until_ns = min(to_ns, *(c for c in (*self._connected_ns, self._end_ns + 1) if c > begins_ns))
        for joints in self._seen(over_ns, until_ns) if over_ns < until_ns else ():
            for joint, value in enumerate(joints):
                if abs(value) > bounds.rest:
                    yield _found(
                        over_ns, "rest", joint, f"{declared} is over, joint at", value, f"{bounds.rest:g}"
                    )

    def _seen(self, from_ns: int, to_ns: int) -> list[Joints]:
        """Where the hand was between two times, the last place before them included."""
        first = max(bisect_left(self._position_ns, from_ns) - 1, 0)
        return [joints for _, joints in self._positions[first : bisect_right(self._position_ns, to_ns)]]


class _Pace:
    """Nobody is faster than the limit between any two times, but for `slack_s` of it.

    What is further than the limit times the time that passed is so with regard to the lowest (or highest) place ever,
    each place taken forward at the limit.
    """

    def __init__(self, bounds: Bounds, slack_s: float) -> None:
        self._speeds = bounds.max_speed_per_s
        self._slack = [speed * slack_s + 2 * bounds.resolution for speed in self._speeds]
        self._lowest: list[float] = []
        self._highest: list[float] = []
        self._from_ns = 0

    def exceeded(self, at_ns: int, joints: Joints) -> Iterator[tuple[int, float]]:
        """The joints that are too far now, and by how much; they are taken as the new beginning."""
        if not self._lowest:
            self._from_ns, self._lowest, self._highest = at_ns, list(joints), list(joints)
        passed_s = (at_ns - self._from_ns) / NS
        for joint, value in enumerate(joints):
            way = self._speeds[joint] * passed_s
            up, down = value - way, value + way
            over = max(up - self._lowest[joint], self._highest[joint] - down) - self._slack[joint]
            if over > 0:
                self._lowest[joint], self._highest[joint] = up, down
                yield joint, over
            self._lowest[joint] = min(self._lowest[joint], up)
            self._highest[joint] = max(self._highest[joint], down)


def targets_of(trace: Sequence[Traced]) -> list[Target]:
    """The targets of a trace, with the time at which each was sent."""
    return [_target(entry) for entry in trace if entry.kind == "target"]


def _target(entry: Traced) -> Target:
    """With the time at which it was sent, from the sender's clock, which begins anew every 65.536 s."""
    if entry.sent_ms is None:
        return Target(entry.time_ns, entry.time_ns, entry.joints)
    came_ms = entry.time_ns // MS
    age_ms = (came_ms - entry.sent_ms + 32768) % 65536 - 32768
    return Target((came_ms - age_ms) * MS, entry.time_ns, entry.joints)


def _found(at_ns: int, rule: str, joint: int, what: str, value: float, bound: str) -> Violation:
    return Violation(at_ns, rule, f"joint {joint}: {what} {value:.4f}", bound)
