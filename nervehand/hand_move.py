"""`nervehand hand move`, `grip` and `release`: a hand moved by a person, through the safety gate and nothing else."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.live import Live

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateState
from firmware_bridge.guard import RESTED
from firmware_bridge.guard_client import GuardClient, GuardedHand
from firmware_bridge.hand import DOF_NAMES, N_DOF, HandCommand
from firmware_bridge.hand_config import HandConfig
from firmware_bridge.preuse import overridden
from nervehand.hand_picture import by_dof, picture_of
from nervehand.hand_use import Told, guarded
from nervehand.output import print_json
from nervehand.screen import NOT_MEASURED
from nervehand.stopping import stop_on_signals

PERIOD_S = 0.02
LIFETIME_S = 0.2
"""A command of ours that nothing follows expires, and the gate relaxes."""
ARM_S = 5.0
REST_S = 30.0
"""How long a release may take: longer than the slowest hand's full flexion."""
ARRIVED = 0.01
_SHOW_EVERY = 6
REST = np.zeros(N_DOF, np.float32)

Show = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a motion ended: what was asked (by name), what the hand was told last, and where it said it was, (6,) each.

    Of `asked`, `clipped` are those that a limit or the hand's reach cut, `locked` the wearer's locks, and `on_the_way`
    those for which the time was too short. `cause` is why the gate did not follow at the end, "" where it did.
    `is_released` is whether the release at its end reached rest.
    """

    asked: Mapping[str, float]
    applied: NDArray[np.float32]
    reached: NDArray[np.float32]
    clipped: tuple[str, ...]
    locked: tuple[str, ...]
    on_the_way: tuple[str, ...]
    commands_applied: int
    commands_withheld: int
    is_interrupted: bool
    state: str
    cause: str
    is_released: bool = True

    def to_json(self) -> dict[str, object]:
        return {
            "asked": dict(self.asked),
            "applied": by_dof(self.applied),
            "reached": by_dof(self.reached),
            "clipped": list(self.clipped),
            "locked": list(self.locked),
            "on_the_way": list(self.on_the_way),
            "commands_applied": self.commands_applied,
            "commands_withheld": self.commands_withheld,
            "interrupted": self.is_interrupted,
            "gate": self.state,
            "cause": self.cause,
            "released": self.is_released,
        }

    def lines(self) -> Iterator[str]:
        """For a person."""
        if self.asked:
            yield f"{'':8}{'asked':>8}{'applied':>9}{'the hand':>14}"
        for name, asked in self.asked.items():
            i = DOF_NAMES.index(name)
            there = f"{self.reached[i]:+.2f}" if math.isfinite(self.reached[i]) else NOT_MEASURED
            told = f"{self.applied[i]:+.2f}" if math.isfinite(self.applied[i]) else "-"
            notes = {"locked": self.locked, "clipped": self.clipped, "on its way": self.on_the_way}
            note = next((f"  {text}" for text, names in notes.items() if name in names), "")
            yield f"{name:8}{asked:+8.2f}{told:>9}{there:>14}{note}"
        if not self.asked:
            names = zip(DOF_NAMES, self.reached, strict=True)
            measured = [f"{name} {position:+.2f}" for name, position in names if math.isfinite(position)]
            yield f"the hand: {', '.join(measured) or NOT_MEASURED}"
        yield f"{self.commands_applied} commands applied, {self.commands_withheld} withheld by the gate"
        if self.is_interrupted:
            yield "interrupted, and released" if self.is_released else "interrupted"


def run_move(
    config: HandConfig, asked: Mapping[str, float], seconds: float, who: str, *, headless: bool, as_json: bool
) -> None:
    """Move what is asked (positions by name; the rest stays), hold it until `seconds` are over, and release."""
    if not asked:
        raise NervehandError("nothing to move: give a position, --index 0.5 say")
    # Grips are for a decoder's gestures; where there are any, positions do nothing.
    config = config.model_copy(update={"grips": {}})
    _drive(config, "move", asked, "move", seconds, who, headless=headless, as_json=as_json)


def run_grip(
    config: HandConfig, grip: str, seconds: float, who: str, *, headless: bool, as_json: bool
) -> None:
    """Start one of the hand's own grips, keep it until `seconds` are over, and release."""
    capabilities = config.open().capabilities
    if grip not in capabilities.grips:
        known = (
            f"use one of {', '.join(capabilities.grips)}" if capabilities.grips else "it has none of its own"
        )
        raise NervehandError(f"{capabilities.name} has no grip {grip!r}: {known}")
    adjustments = config.adjustments
    locked = [dof for dof, is_locked in zip(DOF_NAMES, adjustments.locked, strict=True) if is_locked]
    if locked or adjustments.hand_locked:
        named = "the whole hand" if adjustments.hand_locked else ", ".join(locked)
        raise NervehandError(
            f"a grip moves all fingers, and locked is {named}: unlock that in the hand's file first"
        )
    config = config.model_copy(update={"grips": {grip: grip}})
    _drive(config, "grip", {}, grip, seconds, who, headless=headless, as_json=as_json)


def run_release(config: HandConfig, who: str, *, headless: bool, as_json: bool) -> None:
    """Send the hand to rest within the speed limit; returns once it is there."""
    has_picture = not (headless or as_json) and sys.stdout.isatty()
    told = Told()
    with (
        stop_on_signals() as stop,
        guarded(config, "release", told, stop, silent=as_json) as guard,
    ):
        hand = guard.hand
        guard.request_release(who)
        end = time.monotonic() + REST_S
        with _drawing(config, guard, None, has_picture) as show:
            while not (guard.failure or _is_at_rest(hand, told)) and time.monotonic() < end:
                show()
                if stop.wait(PERIOD_S):
                    break  # the guard goes on with it for as long as that takes
    is_at_rest, state = not told.failure and _is_at_rest(hand, told), hand.state
    positions = np.full(N_DOF, np.nan, np.float32) if state is None else state.positions
    if as_json:
        print_json({"at_rest": is_at_rest, "reached": by_dof(positions), "events": told.to_json()})
    else:
        where = "at rest" if np.isfinite(positions).any() else f"rest was sent, positions {NOT_MEASURED}"
        print(f"released: {where}" if is_at_rest else "release asked for")
    if not is_at_rest:
        why = told.failure or f"not within {REST_S:g} s: look at it before it is touched"
        raise LinkError(f"the hand at {config.address} has not told that it is at rest: {why}")


def _is_at_rest(hand: GuardedHand, told: Told) -> bool:
    """Rest was sent, and reached as far as the hand measures where it is."""
    state, sent = hand.state, told.sent
    if sent is None or state is None or np.abs(sent.positions).max() > 0:
        return False
    return not (np.abs(state.positions) > RESTED).any()


def _drive(
    config: HandConfig,
    name: str,
    asked: Mapping[str, float],
    gesture: str,
    seconds: float,
    who: str,
    *,
    headless: bool,
    as_json: bool,
) -> None:
    said: list[str] = []
    has_picture = not (headless or as_json) and sys.stdout.isatty()
    told = Told(said.append if has_picture or as_json else _say)
    asked_ns = time.monotonic_ns()  # whoever asks for rest from now on is not overruled
    with (
        stop_on_signals() as stop,
        guarded(config, name, told, stop, silent=as_json) as guard,
    ):
        hand = guard.hand
        targets = _targets(hand, asked)
        with _drawing(config, guard, targets, has_picture) as show:
            _arm(guard, config, who, told, stop, asked_ns)
            outcome = _follow(config, guard, told, asked, targets, gesture, seconds, stop, show)
    outcome = replace(outcome, is_released=not told.failure)
    if as_json:
        about = {"address": config.address, "hand": hand.capabilities.name, "who": who}
        print_json(about | outcome.to_json() | {"events": told.to_json()})
    else:
        print("\n".join([*said, *outcome.lines()]))
    if told.failure:
        raise LinkError(f"the hand at {config.address} is not known to be at rest: {told.failure}")
    let_go = {GateState.FAULTED.value} | (set() if outcome.is_interrupted else {GateState.DISARMED.value})
    if outcome.state in let_go:
        why = outcome.cause or outcome.state
        raise NervehandError(f"the gate has let go ({why}): look at the hand, then try again")


def _say(line: str) -> None:
    print(line, flush=True)


def _targets(hand: GuardedHand, asked: Mapping[str, float]) -> NDArray[np.float32]:
    """Six targets: what is asked, the others where the hand says they are, rest where it does not say."""
    state = hand.state
    targets = (
        REST.copy() if state is None else np.clip(np.nan_to_num(state.positions), -1, 1).astype(np.float32)
    )
    for name, position in asked.items():
        targets[DOF_NAMES.index(name)] = position
    return targets


def _arm(
    guard: GuardClient, config: HandConfig, who: str, told: Told, stop: threading.Event, asked_ns: int
) -> None:
    """Arm in that name: no decoder is there to be checked. NervehandError where the gate refuses."""
    deadline = time.monotonic() + ARM_S
    acknowledgement = config.watchdog_acknowledged_by
    while not stop.is_set() and not guard.request_arm(
        who, overridden(who, time.monotonic_ns()), acknowledgement, asked_ns
    ):
        stop.wait(PERIOD_S)  # why comes a moment after the answer
        if (told.refusal and "link" not in told.refusal) or time.monotonic() > deadline:
            raise NervehandError(f"the gate does not arm: {told.refusal or 'it does not say why'}")


def _follow(
    config: HandConfig,
    guard: GuardClient,
    told: Told,
    asked: Mapping[str, float],
    targets: NDArray[np.float32],
    gesture: str,
    seconds: float,
    stop: threading.Event,
    show: Show,
) -> Outcome:
    """Pass rest, as the gate wants it, then keep asking for the targets."""
    hand, number = guard.hand, 0

    def submit(positions: NDArray[np.float32], named: str) -> None:
        nonlocal number
        now_ns = time.monotonic_ns()
        guard.submit(HandCommand(positions, number, now_ns, now_ns + round(LIFETIME_S * 1e9), named))
        number += 1

    end = time.monotonic() + seconds
    over = (GateState.DISARMED, GateState.FAULTED, GateState.RELEASED)
    while time.monotonic() < end and guard.state not in over and not stop.is_set():
        # Rest until the guard says that it came: a newer command replaces one that the guard has not seen.
        has_rested = guard.counters.commands_applied > 0
        submit(*(targets, gesture) if has_rested else (REST, "rest"))
        show()
        stop.wait(PERIOD_S)
    decision, state = guard.decision, hand.state
    limits = config.limits(hand.capabilities)
    within = np.clip(targets, limits.lower, limits.upper).clip(
        hand.capabilities.lower, hand.capabilities.upper
    )
    applied = np.full(N_DOF, np.nan, np.float32) if told.sent is None else told.sent.positions
    adjustments = config.adjustments
    locked = {name for name, is_locked in zip(DOF_NAMES, adjustments.locked, strict=True) if is_locked}
    free = [
        (i, name)
        for i, name in enumerate(DOF_NAMES)
        if name in asked and name not in locked and not adjustments.hand_locked
    ]
    return Outcome(
        asked,
        applied,
        np.full(N_DOF, np.nan, np.float32) if state is None else state.positions,
        tuple(name for i, name in free if within[i] != targets[i]),
        tuple(name for name in asked if name not in [free_name for _, free_name in free]),
        tuple(name for i, name in free if not abs(applied[i] - within[i]) <= ARRIVED),
        guard.counters.commands_applied,
        guard.counters.commands_withheld,
        stop.is_set(),
        guard.state.value,
        "" if decision is None or decision.cause is None else decision.cause.value,
    )


@contextlib.contextmanager
def _drawing(
    config: HandConfig,
    guard: GuardClient,
    wanted: NDArray[np.float32] | None,
    has_picture: bool,
) -> Iterator[Show]:
    """A live picture of the hand."""
    if not has_picture:
        yield lambda: None
        return
    hand = guard.hand
    title = f"{hand.capabilities.name} at {config.address}"
    calls = 0
    with Live(auto_refresh=False, transient=True) as live:

        def show() -> None:
            nonlocal calls
            calls += 1
            if calls % _SHOW_EVERY == 1:
                decision = guard.decision
                cause = "" if decision is None or decision.cause is None else f" ({decision.cause.value})"
                status = f"gate {guard.state.value}{cause}   Ctrl-C releases"
                live.update(picture_of(hand, config.side, title, wanted, status), refresh=True)

        yield show
