"""Drives a hand from a source: whoever guards the hand, its link, and a live run in between."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from decoder.bundle import Bundle
from decoder.chain import compile_kernels
from decoder.intent import Intents
from firmware_bridge.errors import LinkError
from firmware_bridge.gate import GateEvent
from firmware_bridge.guard import Sent
from firmware_bridge.movement_trace import Moved
from firmware_bridge.port import Port
from firmware_bridge.preuse import PreUseReport
from firmware_bridge.stream import Source
from nervehand.gate_words import GateWords
from nervehand.guarding import Guarded, Guarding, GuardOptions, nothing_moved, virtual_hand_guarded
from nervehand.hand_keys import HAND_KEYS, HandKeys
from nervehand.keys import keys_pressed
from nervehand.live import ASKED_FOR, PLAIN, LiveOptions, LiveRun, LiveSummary
from nervehand.live_port import Owner, ServedRun, answering, port_of
from nervehand.output import saying
from nervehand.pre_use import LiveCheck, Overridden, PreUse
from nervehand.recording import LiveRecorder
from nervehand.screen import Screen, process_screen
from nervehand.source_log import SourceLog
from nervehand.stopping import stop_on_signals

_ARM_S = 5.0


@dataclass(frozen=True, slots=True)
class Arming:
    """In whose name a hand is armed, and by what.

    `who` arms it, and again after a lost link where `is_rearmed`; `acknowledgement` names who accepts that it is
    unknown what the hand does without commands. With `keys_who` the keys of the terminal, which there must be, stop,
    release, arm and lock it in that name. `latched` says who asked for rest before: then only a person arms.

    With `check` it is armed by what that finds, while it decodes; where it fails the run ends, and says why in
    `check.failure`. Else `overridden_by` answers for it.
    """

    who: str
    is_rearmed: bool = True
    acknowledgement: str = ""
    overridden_by: str = "virtual hand"
    check: LiveCheck | None = None
    keys_who: str = ""
    latched: str = ""


def drive_hand(
    title: str,
    source: Source,
    bundle: Bundle,
    arming: Arming,
    *,
    screen: Screen | None,
    cue_at: Callable[[int], str] = lambda sample_index: "",
    on_intents: Callable[[Intents], None] = lambda intents: None,
    hand: contextlib.AbstractContextManager[Guarding] | None = None,
    source_log: SourceLog | None = None,
    say: Callable[[str], None] = lambda text: None,
    served: ServedRun | None = None,
    recorded: contextlib.AbstractContextManager[LiveRecorder | None] | None = None,
    working: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    beside: Callable[[Driven], contextlib.AbstractContextManager[None]] | None = None,
    options: LiveOptions = PLAIN,
) -> LiveSummary:
    """Let `source` move a hand through the gate until it ends.

    `hand` None starts a virtual one, guarded in this process. `say` gets what the wearer should do, as the screen does;
    `screen` None opens one in a process of its own. `recorded` makes the recorder. What `source_log` hears of the
    source is recorded and shown. `served` serves it at a port while it runs. `working` is entered around the work on
    each block. `beside` lasts as long as the loop, and is given all that takes part.

    Ctrl-C, SIGTERM and a terminal that closes end the run early, with a release. Raises LinkError where the hand
    cannot be reached.
    """
    bundle.require_stream(source.info)
    with saying("preparing (the first time on a machine, kernels are compiled)", screen is not None):
        compile_kernels(bundle, source.info)
    check, acknowledgement = arming.check, arming.acknowledgement
    if arming.keys_who:
        title += f"   {HAND_KEYS}"
    listeners = Listeners()
    answered = Overridden(arming.overridden_by)
    pre_use: PreUse = answered if check is None else check

    def reported() -> PreUseReport:
        """What the key that arms goes by; where there is nothing yet, the gate refuses it."""
        return pre_use.report() or PreUseReport(time.monotonic_ns(), ())

    with (
        stop_on_signals() as stop,
        hand or virtual_hand_guarded(GuardOptions(is_process=False)) as guarding,
        contextlib.nullcontext() if recorded is None else recorded as recorder,
        port_of(served, title, source.info, bundle, is_recorded=_is_one_file(recorder)) as port,
    ):
        if recorder is not None:
            listeners.listen(recorder.gate_event, recorder.sent, nothing_moved)
        # The screen is opened before the guard, so that it closes after the release.
        with (
            contextlib.nullcontext(screen) if screen is not None else process_screen() as shown,
            guarding(listeners.event, listeners.sent, listeners.moved) as guarded,
        ):
            guard = guarded.guard

            @contextlib.contextmanager
            def at_work() -> Iterator[None]:
                with working(), guarded.working():
                    yield

            live = LiveRun(
                title, source, bundle, guard, guarded.hand, shown, cue_at, on_intents,
                arming.who if arming.is_rearmed else "", recorder, at_work, pre_use, port, options,
            )  # fmt: skip
            listeners.listen(live.gate_event, live.sent, live.moved)
            if source_log is not None:
                source_log.listen(live.source_event)
            pressed = HandKeys(guard, arming.keys_who, reported, acknowledgement)

            def tell(text: str) -> None:
                live.say(text)
                say(text)

            owner = Owner(
                live, guard, guarded.hand, source.info, reported, lambda: "; ".join(listeners.refusals),
                acknowledgement, _is_one_file(recorder), served or ServedRun(""),
            )  # fmt: skip

            def arm(by: str, asked_ns: int) -> str:
                if guard.request_arm(by, reported(), acknowledgement, asked_ns):
                    return ""
                return "; ".join(listeners.refusals) or "it says nothing"

            driven = Driven(live, guarded, listeners, port, recorder, stop, arm)
            if arming.latched:
                listeners.is_asked_to_rest = True
                live.stay_at_rest()
                tell(
                    f"the hand is not armed, as somebody asked for rest: {arming.latched}; arm it when it may move"
                )

            with (
                keys_pressed(pressed) if arming.keys_who else contextlib.nullcontext(),
                answering(port, owner, tell),
                beside(driven) if beside is not None else contextlib.nullcontext(),
            ):
                if check is None:
                    _arm(guarded, arming, answered, stop, listeners)
                    summary = live.run(stop)
                else:
                    with check.running(
                        bundle, guarded, arming.who, acknowledgement, stop,
                        lambda: listeners.is_asked_to_rest, listeners.event, tell,
                    ):  # fmt: skip
                        summary = live.run(stop)
        summary = live.completed(summary)
    summary = replace(summary, release_given_up=listeners.release_given_up)
    # The recorder has closed: what it could not write at the end is known too.
    return summary if recorder is None else replace(summary, recording_stopped=recorder.stopped)


class Listeners:
    """Passes on what a guard tells, to whoever listens by then."""

    def __init__(self) -> None:
        self._on_event: list[Callable[[GateEvent], None]] = []
        self._on_sent: list[Callable[[Sent], None]] = []
        self._on_moved: list[Callable[[Moved], None]] = []
        self.refusals: deque[str] = deque(maxlen=1)
        self.is_asked_to_rest = False
        self.release_given_up = ""
        self._words = GateWords()

    def listen(
        self,
        on_event: Callable[[GateEvent], None],
        on_sent: Callable[[Sent], None],
        on_moved: Callable[[Moved], None],
    ) -> None:
        """From now on they hear of it, too."""
        self._on_event.append(on_event)
        self._on_sent.append(on_sent)
        self._on_moved.append(on_moved)

    def event(self, event: GateEvent) -> None:
        if event.kind == "arm refused":
            self.refusals.append(event.text)
        self.is_asked_to_rest |= event.kind in ASKED_FOR
        text = self._words.of(event)
        if event.kind == "release given up":
            self.release_given_up = text
        for listener in self._on_event:
            listener(event)

    def sent(self, sent: Sent) -> None:
        for listener in self._on_sent:
            listener(sent)

    def moved(self, moved: Moved) -> None:
        for listener in self._on_moved:
            listener(moved)


@dataclass(frozen=True, slots=True)
class Driven:
    """All that takes part in a run, while it lasts. Setting `stop` ends it."""

    live: LiveRun
    guarded: Guarded
    listeners: Listeners
    port: Port | None
    recorder: LiveRecorder | None
    stop: threading.Event
    arm: Callable[[str, int], str]
    """Arm in that name, as of when it was asked (host ns), by the check before use; why not, "" where it is armed."""


def _arm(
    guarded: Guarded,
    arming: Arming,
    answered: Overridden,
    stop: threading.Event,
    listeners: Listeners,
) -> None:
    """Arm as soon as the hand has reported, unless somebody has asked for rest before; LinkError with the gate's reason
    where that takes longer than _ARM_S."""
    deadline = time.monotonic() + _ARM_S
    while not (stop.is_set() or listeners.is_asked_to_rest) and not guarded.guard.request_arm(
        arming.who, answered.report(), arming.acknowledgement, guarded.asked_ns
    ):
        if time.monotonic() > deadline:
            why = "; ".join(listeners.refusals) or "it says nothing"
            raise LinkError(f"the gate would not arm within {_ARM_S:g} s: {why}")
        time.sleep(0.05)


def _is_one_file(recorder: LiveRecorder | None) -> bool:
    return recorder is not None and recorder.is_one_file
