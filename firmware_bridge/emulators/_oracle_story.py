"""What the oracle is told: what was asked, what happened, what is allowed; and what may be sent when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

Joints = tuple[float, ...]
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was not kept, at host time `time_ns`: `what` there was, and the `bound` that it breaks."""

    time_ns: int
    rule: str
    what: str
    bound: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is allowed, by joint and in its unit: a stated limit, not the gate's object.

    `max_age_s` is the longest way of a target from its sender to the hand. `slack_s` is what may pass until a declared
    action is under way; `settle_s` how much later than its target the hand itself may be at rest, within `rest`.
    `resolution` is the unit's smallest step on the wire. `max_step_s` is what a sender may make up for in one target.
    """

    lower: Joints
    upper: Joints
    max_speed_per_s: Joints
    max_acceleration_per_s2: Joints = ()
    max_age_s: float = 0.45
    expires_after_s: float = 0.2
    relax_duration_s: float = 1.0
    rest_band: float = 0.15
    max_step_s: float = 0.05
    slack_s: float = 0.1
    settle_s: float = 0.5
    rest: float = 0.02
    resolution: float = 1e-4


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command that was submitted between `from_ns` and `done_ns`, in force until `expires_ns`; one of bad quality
    (`is_good` False) is never to be followed."""

    from_ns: int
    done_ns: int
    targets: Joints
    expires_ns: int
    is_good: bool = True


@dataclass(frozen=True, slots=True)
class Happened:
    """Something else, between `from_ns` and `done_ns`.

    `kind`: a request that was granted ("arm", "disarm", "stop", "release", "fault"), or "lost": whoever sends knows
    since then that there is no link; or "connected": a new connection begins.
    """

    from_ns: int
    done_ns: int
    kind: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that was done, each in its order. `read_ns`: when the hand's state was first read on each connection.
    `stalls`: when the machine stood still (from, to): deadlines wait for it."""

    commands: tuple[Commanded, ...] = ()
    happened: tuple[Happened, ...] = ()
    read_ns: tuple[int, ...] = ()
    stalls: tuple[tuple[int, int], ...] = ()

    def stalled_ns(self, from_ns: int, to_ns: int) -> int:
        """For how long the machine stood still between two times."""
        return sum(max(0, min(end, to_ns) - max(start, from_ns)) for start, end in self.stalls)


@dataclass(frozen=True, slots=True)
class Expected:
    """What may be sent: nothing at all where `may_send` is False, else the same target again, or one on the way to some
    of `towards`. `declared` is "relax" or "release" where the way to rest is what must be sent, "" elsewhere."""

    may_send: bool = False
    towards: tuple[Joints, ...] = ()
    declared: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is in force, by everything that happened so far."""

    mode: str = "disarmed"
    waits_for_rest: bool = False
    is_stopped: bool = False
    is_faulted: bool = False
    command: Commanded | None = None

    def after(self, event: Commanded | Happened, rest_band: float) -> Known:
        if isinstance(event, Commanded):
            is_rest = event.is_good and all(abs(t) <= rest_band for t in event.targets)
            return replace(self, command=event, waits_for_rest=self.waits_for_rest and not is_rest)
        match event.kind:
            case "arm":
                return Known("armed", waits_for_rest=True)
            case "release":
                return replace(self, mode="released")
            case "stop":
                return replace(self, is_stopped=True)
            case "fault":
                return replace(self, is_faulted=True)
            case "disarm":
                return replace(self, mode="disarmed")
            case "lost" | "connected":
                return self if self.mode == "released" else replace(self, mode="disarmed")
        raise ValueError(f"{event.kind!r} is nothing that the oracle knows")

    def ends_ns(self, bounds: Bounds) -> tuple[int, int]:
        """When the command in force ends by itself: not before the first, and at the latest at the second."""
        command = self.command
        if command is None:
            return 0, 0
        after_ns = round(bounds.expires_after_s * NS)
        return (
            min(command.expires_ns, command.from_ns + after_ns),
            min(command.expires_ns, command.done_ns + after_ns),
        )

    def expected(self, now_ns: int, bounds: Bounds) -> Expected:
        """What may be sent at `now_ns`."""
        at_rest = (0.0,) * len(bounds.lower)
        if self.mode == "disarmed":
            return Expected()
        if self.mode == "released":
            return Expected(True, (at_rest,), "release")
        if self.is_stopped or (self.waits_for_rest and not self.is_faulted):
            return Expected(True)
        first_ns, last_ns = self.ends_ns(bounds)
        if self.is_faulted or self.command is None or now_ns >= last_ns:
            return Expected(True, (at_rest,), "relax")
        if not self.command.is_good:
            return Expected(True, (at_rest,))
        return Expected(True, (self.command.targets, *([at_rest] if now_ns >= first_ns else [])))


class Expectations:
    """What may be sent when, by everything that happened: a story's events, in the order of their beginning."""

    def __init__(self, story: Story, connected_ns: Sequence[int], bounds: Bounds) -> None:
        connections = (Happened(at_ns, at_ns, "connected") for at_ns in connected_ns)
        events: list[Commanded | Happened] = [*story.commands, *story.happened, *connections]
        self.events = sorted(events, key=lambda event: event.from_ns)
        self._bounds = bounds
        self._from_ns = [event.from_ns for event in self.events]
        self._done_ns = list(accumulate((event.done_ns for event in self.events), max))
        known = accumulate(self.events, lambda k, e: k.after(e, bounds.rest_band), initial=Known())
        self._known: list[Known] = list(known)

    def between(self, from_ns: int, to_ns: int) -> list[Expected]:
        """Everything that may have been in force at some time between two times."""
        first = bisect_left(self._done_ns, from_ns)  # all of those before it were done
        last = bisect_right(self._from_ns, to_ns)
        found = [
            known.expected(at, self._bounds)
            for known in self._known[first : last + 1]
            for at in (from_ns, to_ns)
        ]
        return list(dict.fromkeys(found))

    def breaks(self, from_ns: int, to_ns: int) -> bool:
        """Whether a sender may have begun anew between two times, from where the hand is."""
        first, last = bisect_left(self._done_ns, from_ns), bisect_right(self._from_ns, to_ns)
        kinds = {e.kind for e in self.events[first:last] if isinstance(e, Happened)}
        return bool(kinds & {"arm", "disarm", "lost", "connected"}) or any(
            not expected.may_send for expected in self.between(from_ns, to_ns)
        )

    def declared(self, end_ns: int) -> list[tuple[int, int, str]]:
        """The stretches (from, to, "relax" or "release") in which the way to rest was to be sent for sure."""
        found: list[tuple[int, int, str]] = []
        current, began_ns = "", 0
        for k, known in enumerate(self._known):
            from_ns = self._done_ns[k - 1] if k else 0
            to_ns = self._from_ns[k] if k < len(self._from_ns) else end_ns
            declared = known.expected(max(to_ns - 1, from_ns), self._bounds).declared
            begins_ns = from_ns
            if declared == "relax" and not known.is_faulted:
                begins_ns = max(from_ns, known.ends_ns(self._bounds)[1])
            if declared != current or begins_ns > from_ns:
                if current:
                    found.append((began_ns, self._from_ns[k - 1], current))
                current, began_ns = declared, begins_ns
        found.append((began_ns, end_ns, current))
        return [stretch for stretch in found if stretch[2] and stretch[1] > stretch[0]]
