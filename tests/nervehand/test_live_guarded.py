"""What a live run and its guard tell each other beside commands."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from decoder.chain import compile_kernels
from firmware_bridge.gate import GateEvent, GateLimits, GateState, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.preuse import overridden
from firmware_bridge.stream import SignalBlock
from nervehand.gate_words import LATCHED
from nervehand.live import LiveRun
from nervehand.screen import NoScreen, Snapshot
from tests.nervehand.test_live import Prompt, WiredHand, bundle, subject


def test_the_run_is_at_work_once_a_hop_is_there_and_not_while_it_waits_for_the_next_block() -> None:
    marks: list[str] = []

    @contextlib.contextmanager
    def working() -> Iterator[None]:
        marks.append("begins")
        yield
        marks.append("ends")

    class Marked(Prompt):
        def blocks(self) -> Iterator[SignalBlock]:
            for block in super().blocks():
                marks.append("block")
                yield block

    compile_kernels(bundle(), subject().info)
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    hand = WiredHand()
    with GuardLoop(gate, hand) as guard:
        prompt = Marked(subject(), 25, n_samples=1000, is_paced=False)
        LiveRun("t", prompt, bundle(), guard, hand, NoScreen(), working=working).run(threading.Event())
    # Hops of 100 samples that leave a delay line of 20, in blocks of 25: with the 5th, the 9th... and at the end.
    text = "".join({"block": ".", "begins": "(", "ends": ")"}[mark] for mark in marks)
    assert text == "." * 5 + "()" + ("." * 4 + "()") * 8 + "." * 3 + "()"


def test_a_hand_that_somebody_disarmed_stays_so_and_the_screen_says_who_asked() -> None:
    """The run may arm after a lost link; it was asked not to, here by Bob, after the first snapshot."""
    stop = threading.Event()
    seen: list[Snapshot] = []
    events: list[GateEvent] = []
    live: list[LiveRun] = []

    def tell(event: GateEvent) -> None:
        events.append(event)
        for run in live:
            run.gate_event(event)

    class Asking:
        def show(self, snapshot: Snapshot) -> None:
            seen.append(snapshot)
            if len(seen) == 1:
                guard.request_stop("Bob")
                guard.request_disarm("Bob")
            if len(seen) == 4:
                stop.set()

    compile_kernels(bundle(), subject().info)
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    hand = WiredHand()
    with GuardLoop(gate, hand, on_event=tell) as guard:
        prompt = Prompt(subject(), 25, n_samples=300_000)
        live.append(LiveRun("t", prompt, bundle(), guard, hand, Asking(), armed_by="run"))
        assert guard.request_arm("run", overridden("run", time.monotonic_ns()))
        summary = live[0].run(stop)
        assert guard.state is GateState.DISARMED
    assert (summary.rearmed, summary.gate) == (0, "disarmed")
    assert seen[1].notice == "stop requested (Bob)"
    assert [event.who for event in events if event.kind == "arm"] == ["run"]


def test_the_screen_says_of_a_release_without_a_link_that_it_waits_for_as_long_as_it_does() -> None:
    stop = threading.Event()
    live: list[LiveRun] = []
    seen: list[Snapshot] = []
    hand = WiredHand()

    class Releasing:
        def show(self, snapshot: Snapshot) -> None:
            seen.append(snapshot)
            if hand.link is LinkState.CONNECTED:
                hand.link = LinkState.LOST
            elif guard.state is GateState.DISARMED:
                guard.request_release("Bob")
                guard.request_arm("Bob", overridden("Bob", time.monotonic_ns()))
                asked.append(len(seen))
            elif asked and len(seen) == asked[0] + 2:
                stop.set()

    asked: list[int] = []
    compile_kernels(bundle(), subject().info)
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    with GuardLoop(gate, hand, on_event=lambda event: [run.gate_event(event) for run in live]) as guard:
        prompt = Prompt(subject(), 25, n_samples=300_000)
        live.append(LiveRun("t", prompt, bundle(), guard, hand, Releasing()))
        assert guard.request_arm("run", overridden("run", time.monotonic_ns()))
        live[0].run(stop)
        hand.link = LinkState.CONNECTED
    assert seen[asked[0]].notice == f"no link to the hand: {LATCHED} (Bob)"


def test_a_stop_while_the_link_is_away_holds_when_it_is_back() -> None:
    """The run arms after a lost link, but not after somebody stopped the hand meanwhile."""
    stop = threading.Event()
    live: list[LiveRun] = []
    seen: list[str] = []
    hand = WiredHand()

    class Stopping:
        def show(self, snapshot: Snapshot) -> None:
            seen.append(snapshot.gate)
            if len(seen) == 1:
                hand.link = LinkState.LOST
            elif hand.link is LinkState.LOST and guard.state is GateState.DISARMED:
                guard.request_stop("Bob")
                hand.link = LinkState.CONNECTED
                seen[:] = ["asked"]
            elif seen[0] == "asked" and len(seen) == 4:
                stop.set()

    compile_kernels(bundle(), subject().info)
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    with GuardLoop(gate, hand, on_event=lambda event: [run.gate_event(event) for run in live]) as guard:
        prompt = Prompt(subject(), 25, n_samples=300_000)
        live.append(LiveRun("t", prompt, bundle(), guard, hand, Stopping(), armed_by="run"))
        assert guard.request_arm("run", overridden("run", time.monotonic_ns()))
        summary = live[0].run(stop)
    assert (summary.rearmed, summary.gate) == (0, "disarmed")
