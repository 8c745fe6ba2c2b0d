"""What a hand's reports say against moving it: too hot, overloaded, its battery low, or not where it was sent."""

from __future__ import annotations

from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import Cause
from firmware_bridge.hand import DOF_NAMES, N_DOF, HandState
from firmware_bridge.ramp import Positions
from firmware_bridge.whereabouts import Whereabouts

NS = 1_000_000_000


class HandWatch:
    """Judges one report after the other by `limits`; time is the reports' own.

    A condition is found once it has lasted; while it is absent the time for which it has lasted runs backwards, so that
    single good readings hide nothing. A temperature or a battery that is not a number is not good. Overloaded is found
    once `overload_s` have passed, and again whenever as much has passed since: between, the way is free to let go of
    what the hand presses against.
    """

    def __init__(self, limits: GateLimits) -> None:
        self._whereabouts = Whereabouts(limits.link_timeout_s, limits.astray_tolerance)
        self.limit(limits)
        self.news: tuple[str, ...] = ()
        """What was found in the last report and not in the one before it, in words."""
        self._said: set[Cause] = set()
        self._begin()

    def limit(self, limits: GateLimits) -> None:
        """Other limits from the next report on. For how long a condition has lasted counts towards the new times."""
        self._limits = limits
        self._whereabouts.limit(limits.link_timeout_s, limits.astray_tolerance)
        self._currents = None if limits.max_current_a is None else limits.max_current_a.tolist()
        self._forces = None if limits.max_force_n is None else limits.max_force_n.tolist()
        self._after_ns = {
            Cause.OVERHEATED: 0.0,
            Cause.OVERLOADED: limits.overload_s * NS,
            Cause.ASTRAY: limits.astray_after_s * NS,
            Cause.LOW_BATTERY: limits.battery_after_s * NS,
        }

    def forget(self) -> None:
        """Begin anew."""
        self.news, self._said = (), set()
        self._begin()
        self._whereabouts.begin()

    def _begin(self) -> None:
        self._for_ns: dict[Cause, int] = dict.fromkeys(self._after_ns, 0)
        self._told: frozenset[Cause] = frozenset()
        self._looked_ns = 0

    def look(self, state: HandState, sent: Positions | None) -> tuple[Cause, ...]:
        """Every cause in this report; `sent` is what was last sent, None where no positions are."""
        told = {}
        if text := self._heat(state):
            told[Cause.OVERHEATED] = text
        if text := self._load(state):
            told[Cause.OVERLOADED] = text
        if text := self._stray(state, sent):
            told[Cause.ASTRAY] = text
        if text := self._charge(state):
            told[Cause.LOW_BATTERY] = text
        at_ns = state.reported_ns
        passed_ns = max(at_ns - self._looked_ns, 0)
        self._looked_ns = at_ns
        for cause in self._after_ns:
            if cause not in told:
                self._for_ns[cause] = max(self._for_ns[cause] - passed_ns, 0)
            elif cause in self._told:
                self._for_ns[cause] += passed_ns
        self._told = frozenset(told)
        found = tuple([cause for cause in told if self._for_ns[cause] >= self._after_ns[cause]])
        self.news = tuple([f"{cause.value}: {told[cause]}" for cause in found if cause not in self._said])
        self._said = {
            cause
            for cause, for_ns in self._for_ns.items()
            if (cause in told or for_ns) and (cause in found or cause in self._said)
        }
        if Cause.OVERLOADED in found:
            self._for_ns[Cause.OVERLOADED] = 0
        return found

    def objection(self, state: HandState | None) -> str:
        """Why a hand that reports this should not be armed; "" for nothing."""
        if state is None:
            return ""
        for cause, text in ((Cause.OVERHEATED, self._heat(state)), (Cause.LOW_BATTERY, self._charge(state))):
            if text:
                return f"{cause.value}: {text}"
        return ""

    def _heat(self, state: HandState) -> str:
        """How hot it is, "" for not too hot; the others likewise."""
        limit = self._limits.max_temperature_c
        if limit is not None and state.temperature_c is not None and not state.temperature_c <= limit:
            return f"{state.temperature_c:g} °C, limit {limit:g} °C"
        return "it says so" if state.hot else ""

    def _load(self, state: HandState) -> str:
        for values, limits, unit in (
            (state.currents_a, self._currents, "A"),
            (state.forces_n, self._forces, "N"),
        ):
            if values is not None and limits is not None:
                for i, value in enumerate(values.tolist()):
                    if value > limits[i] or -value > limits[i]:
                        return f"{DOF_NAMES[i]} {abs(value):.2f} {unit}, limit {limits[i]:.2f} {unit}"
        return "it says that it stalls" if state.stalled else ""

    def _charge(self, state: HandState) -> str:
        limit = self._limits.min_battery
        if limit is not None and state.battery is not None and not state.battery >= limit:
            return f"{state.battery:.0%} of full, limit {limit:.0%}"
        return ""

    def _stray(self, state: HandState, sent: Positions | None) -> str:
        if sent is None or state.positions.shape != (N_DOF,):
            self._whereabouts.begin()
            return ""
        return self._whereabouts.stray(state.reported_ns, state.positions.tolist(), sent)
