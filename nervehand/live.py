"""A decoder at work in real time: source, chain, gate and hand in one loop, watched by a screen."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from decoder.bundle import Bundle
from decoder.chain import ChainEvent
from decoder.decision import DecisionSettings
from decoder.intent import IntentDigest, Intents
from decoder.shadow import DEFAULT_RULES, Decoder, ShadowEvent, ShadowRules, Shadows, ShadowState
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateEvent, GateState
from firmware_bridge.gathering import Gathering
from firmware_bridge.guard import Guard, Sent
from firmware_bridge.hand import HandCommand, LinkState, Quality
from firmware_bridge.movement_trace import Moved
from firmware_bridge.port import Port
from firmware_bridge.stream import SignalBlock, Source
from firmware_bridge.supervised import SourceEvent
from nervehand.guarding import HandView
from nervehand.latency import Arrivals
from nervehand.live_shown import Moment, Shown
from nervehand.live_summary import STAGES, LiveSummary
from nervehand.pre_use import Overridden, PreUse
from nervehand.recording import LiveRecorder
from nervehand.screen import Screen
from nervehand.stopping import closed_by
from nervehand.traces import CommandTraces

__all__ = ["ASKED_FOR", "COMMAND_LIFETIME_S", "STAGES", "LiveOptions", "LiveRun", "LiveSummary"]

COMMAND_LIFETIME_S = 0.2  # a command that nothing follows expires, and the gate relaxes
LATE_HOPS = 2  # a hop this many hops old, the delay line left out, is decoded but commands nothing
ASKED_FOR = ("stop", "release", "disarm")
"""The gate events after which nobody but a person arms."""
_HEARD_NS = 1_000_000_000
"""What a guard tells is heard long before that, 0.01 s as a rule."""
MOST_DELAY_S = 0.02
"""The longest delay line of a decoder that may take over."""
MOMENT_S = 10.0
"""How often what the decoder carries is stored, so that a recording may begin there."""

Decide = Callable[[Bundle], DecisionSettings]
"""By which settings a decoder decides for this wearer."""


class Backlog(Protocol):
    """A source that takes in samples whatever the loop does."""

    @property
    def backlog_s(self) -> float:
        """So many seconds of samples wait."""

    @property
    def is_filling(self) -> bool:
        """Whether it could soon hold no more."""

    def for_hops(self, hop: int, delay: int) -> None:
        """Join blocks until a hop of so many samples is complete, and there `delay` samples later."""

    def take_waiting(self, take: Callable[[SignalBlock], None]) -> None:
        """Give all of them to `take`, what is said between them at its place."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a run decodes.

    Where more than `restart_after_s` of samples wait in `backlog`, they are recorded and left out, and the decoder
    begins anew behind them. `decide` gives the decision's settings for a decoder; None: its own. `engine` is what runs
    the network (decoder.engines.NAMES). `clock_ns` is the host's clock, as in `arrival_ns`.
    """

    backlog: Backlog | None = None
    restart_after_s: float = 10.0
    decide: Decide | None = None
    engine: str = "auto"
    rules: ShadowRules = DEFAULT_RULES
    clock_ns: Callable[[], int] = time.monotonic_ns


PLAIN = LiveOptions()


class LiveRun:
    """Decodes a source and moves a hand until the source ends or `stop` is set.

    `sent` and `gate_event` are what its guard's listeners have to call, from any thread: they only remember, until the
    next block or `take_told`. `working` is entered while a block is worked on, so that a guard in another process
    can tell a decoder that hangs from a source that is silent.

    With `armed_by`, a gate that a lost link disarmed is armed again in that name once the hand is back, by the report
    of `pre_use`, which hears of all hops; None: by the word of `armed_by`.

    An exception in the decode path reaches the gate as a fault before it reaches the caller.
    """

    def __init__(
        self,
        title: str,
        source: Source,
        bundle: Bundle,
        guard: Guard,
        hand: HandView,
        screen: Screen,
        cue_at: Callable[[int], str] = lambda sample_index: "",
        on_intents: Callable[[Intents], None] = lambda intents: None,
        armed_by: str = "",
        recorder: LiveRecorder | None = None,
        working: Callable[[], AbstractContextManager[None]] = nullcontext,
        pre_use: PreUse | None = None,
        port: Port | None = None,
        options: LiveOptions = PLAIN,
    ) -> None:
        self._clock_ns = clock_ns = options.clock_ns
        self._pre_use = pre_use or Overridden(armed_by)
        self._working = working
        self._is_asked_to_rest = False
        self.traces = CommandTraces()
        self._backlog, self._restart_after_s = options.backlog, options.restart_after_s
        self._decide = options.decide or (lambda bundle: bundle.manifest.decision)
        self._inbox: deque[Callable[[], None]] = deque()
        self._left_out_from: int | None = None
        self._next_moment = 0
        self.samples = self.lost_samples = 0
        """Received so far, and those that never came."""
        self._source, self._guard, self._hand = source, guard, hand
        self._on_intents, self._armed_by = on_intents, armed_by
        self._recorder = recorder
        self._port = port
        self._gathering = Gathering(1, 0)
        self._newest_arrival_ns = 0
        self._newest: Intents | None
        self._probabilities: list[float]
        self.engine = options.engine
        """What runs the network (decoder.engines.NAMES)."""
        self._shown = Shown(
            title, source.info, guard, hand, screen, port, cue_at, self.traces.histograms, clock_ns
        )
        self._deploy(self.adapted(Decoder(bundle, source.info, engine=options.engine)))
        self.shadows = Shadows(
            self._decoder,
            source.info,
            self._shadow_event,
            options.rules,
            self._obstacle,
            clock_ns,
            self.adapted,
        )
        """The decoders beside the one that is deployed."""
        self.shadow_states: tuple[ShadowState, ...] = ()
        """How they do, as of the last look."""
        self.adjustments: Adjustments | None = None
        """The wearer's, where somebody asks the guard for them from time to time; for the port."""
        self._shadow_counts: Counter[str] = Counter()
        self._lifetime_ns = round(COMMAND_LIFETIME_S * 1e9)
        self._digest = IntentDigest()
        self._hops = self._warming = self._dropped = self._restarts = self._rearmed = 0
        self._arrivals = Arrivals(max(self._chain.front_end.delay, self.most_delay))
        self._failed_at: int | None = None  # the first hop since the last command whose answer is not finite
        self._started_ns = 0
        self._last_block: SignalBlock | None = None

    @property
    def bundle(self) -> Bundle:
        """The one that is deployed now."""
        return self._decoder.bundle

    @property
    def hops(self) -> int:
        """Decided so far."""
        return self._hops

    @property
    def warming_hops(self) -> int:
        """Of these, while it was warming."""
        return self._warming

    @property
    def dropped_commands(self) -> int:
        """Commands of hops that were too late."""
        return self._dropped

    @property
    def restarts(self) -> int:
        """How often the decoder began anew."""
        return self._restarts

    @property
    def newest_arrival_ns(self) -> int:
        """When the newest block came (host); 0 before the first."""
        return self._newest_arrival_ns

    @property
    def is_warming(self) -> bool:
        """Whether the newest hop was, or none came yet."""
        newest = self._newest
        return newest is None or bool(newest.warming[-1])

    @property
    def gesture(self) -> str:
        """The newest that was decided; "" before the first."""
        newest, gestures = self._newest, self._gestures
        return "" if newest is None else gestures[int(newest.gesture[-1])]

    @property
    def masked(self) -> tuple[str, ...]:
        """The channels that are masked now."""
        masked = self._chain.front_end.masked_now
        return tuple(name for name, m in zip(self._source.info.channel_names, masked, strict=True) if m)

    def decide_by(self, decide: Decide, done: Callable[[], None]) -> None:
        """Decide by other settings from the next block on, then call `done` in this run's thread; from any thread."""

        def change() -> None:
            self._decide = decide
            for one in self.shadows.decoders:
                one.decide_by(decide(one.bundle))
            self._moment("other settings of the decision hold")
            done()

        self._inbox.append(change)

    def pin(self, who: str, why: str, seconds: float) -> None:
        """Have the last seconds of the recording kept; from any thread. NervehandError where nothing is recorded."""
        recorder = self._recorder
        if recorder is None or recorder.stopped:
            raise NervehandError("nothing is recorded here that could be kept: record, then ask again")
        self._inbox.append(lambda: recorder.pin(who, why, seconds))

    def note(self, text: str, generation: int) -> None:
        """Have it recorded that a configuration was read again; from any thread."""
        recorder = self._recorder
        if recorder is not None:
            self._inbox.append(lambda: recorder.reloaded(text, generation))

    def adapted(self, decoder: Decoder) -> Decoder:
        """A decoder that is about to run in shadow, deciding by the wearer's settings."""
        decoder.decide_by(self._decide(decoder.bundle))
        return decoder

    @property
    def most_delay(self) -> int:
        """The longest delay line, in samples, of a decoder that may take over."""
        return round(MOST_DELAY_S * self._source.info.rate_hz)

    def run(self, stop: threading.Event) -> LiveSummary:
        """Blocks until done; `stop` ends it within a moment, also while the source has no samples.

        The guard must be started and armed by the caller, who also closes it.
        """
        self._started_ns = self._clock_ns()
        self._shown.begin()
        gc.collect()
        gc.freeze()
        try:
            with closed_by(stop, self._source):
                try:
                    self._stream(stop)
                except Exception as error:  # the gate hears of it before anything is waited for
                    self._guard.report_fault("decoder", repr(error))
                    raise
        finally:
            self._source.close()
            for one in self.shadows.decoders:
                one.chain.close()
            gc.unfreeze()
        self.take_told()
        return self._summary(self._elapsed_s())

    def source_event(self, event: SourceEvent) -> None:
        """Record and show at once what happened to the source; blocks may not come for a while."""
        self._work_off()
        self.say(f"source {event.kind}: {event.text}")
        self._shown.source_is_lost = event.kind == "lost"
        if self._recorder is not None:
            self._recorder.source_event(event)
        if self._last_block is not None and self._shown.has_looked:
            self._show(self._last_block)

    def sent(self, sent: Sent) -> None:
        """What the hand was told, as the guard says it."""
        self.traces.told(sent)

    def moved(self, moved: Moved) -> None:
        """The hand reports a movement, as the guard says it."""
        self.traces.moved(moved)

    def gate_event(self, event: GateEvent) -> None:
        """Show what a person should hear of, in the next snapshot; what somebody asked for is not undone by the run."""
        if event.kind in ("arm", *ASKED_FOR):
            self._is_asked_to_rest = event.kind != "arm"
        self._shown.gate_event(event)

    def stay_at_rest(self) -> None:
        """Somebody asked for that before this run: it does not arm by itself."""
        self._is_asked_to_rest = True

    def say(self, text: str) -> None:
        """Show it to the person, in the next snapshot."""
        self._shown.say(text)

    def completed(self, summary: LiveSummary) -> LiveSummary:
        """`summary` with the counts and times that came in while the guard ended."""
        self.take_told(is_over=True)
        ended = self._summary(summary.elapsed_s)
        return replace(ended, link=summary.link, gate=summary.gate)

    def take_told(self, *, is_over: bool = False) -> None:
        """Time and record the commands that the hand was told since the last time, each when it was told first."""
        found = self.traces.take(self._clock_ns(), is_over=is_over)
        if self._recorder is None:
            return
        for command in found.told:
            self._recorder.command(command, self._hand.state)
        if found.sample_index:
            self._recorder.traces(*found.rows())

    def _elapsed_s(self) -> float:
        return (self._clock_ns() - self._started_ns) / 1e9

    def _stream(self, stop: threading.Event) -> None:
        self._source.connect()
        if stop.is_set():  # what closed it may have come before it was connected
            return
        for block in self._source.blocks():
            if stop.is_set():
                return
            self._arrivals.add(block)
            self._newest_arrival_ns = block.arrival_ns
            ready = self._gathering.add(block)
            while ready:
                if self._backlog is not None and self._is_too_far_behind(self._backlog):
                    break
                self._work(ready.pop(0))
            if self._port is not None:  # after the command
                self._port.samples(block)
            if ready and self._backlog is not None:
                self._leave_out([*ready, *self._gathering.rest()], self._backlog)
        self._work_off()

    def _is_too_far_behind(self, backlog: Backlog) -> bool:
        return backlog.backlog_s > self._restart_after_s or backlog.is_filling

    def _work(self, block: SignalBlock) -> None:
        with self._working():
            while self._inbox:
                self._inbox.popleft()()
            self._decode(block)
            self._watch(block)

    def _work_off(self) -> None:
        """What waits for its hop to be complete, which may not come."""
        for block in self._gathering.rest():
            self._work(block)

    def _leave_out(self, blocks: list[SignalBlock], backlog: Backlog) -> None:
        """Record what came too long ago to be of use, and all that waits; the decoder begins anew behind it."""
        if self._left_out_from is None:
            self._left_out_from = blocks[0].first_sample

        def leave(block: SignalBlock) -> None:
            self._count(block)
            if self._recorder is not None:
                self._recorder.samples(block)

        def leave_waiting(block: SignalBlock) -> None:
            leave(block)
            if self._port is not None:
                self._port.samples(block)

        with self._working():
            for block in blocks:
                leave(block)
            backlog.take_waiting(leave_waiting)
            self._watch(blocks[-1])

    def _count(self, block: SignalBlock) -> None:
        self.samples += block.n_samples
        self.lost_samples += block.lost_before

    def _moment(self, begins_anew: str = "") -> None:
        """What the decoder carries now, for a recording that may begin with the next block."""
        if self._recorder is not None:
            self._recorder.moment(self._decoder, begins_anew)

    def _decode(self, block: SignalBlock) -> None:
        self._count(block)
        if not self._next_moment:
            self._moment()
            self._next_moment = block.first_sample + round(MOMENT_S * self._source.info.rate_hz)
        intents = self._decoder.process(block)
        if len(intents):
            self._act(block, intents)
        self.take_told()
        if self._recorder is not None:  # after the command, so that a slow disk delays none
            self._recorder.block(block, intents, self._chain.front_end)
        if not self.shadows.is_idle:
            successor = self.shadows.after(block, intents)
            if successor is not None:
                self._deploy(successor)
                self._moment("another decoder took over")
        end = block.first_sample + block.n_samples
        if end >= self._next_moment:
            self._moment()
            self._next_moment = end + round(MOMENT_S * self._source.info.rate_hz)

    def _deploy(self, decoder: Decoder) -> None:
        """From the next block on, what this one decides moves the hand."""
        decoder.listener = self._on_chain_event
        self._decoder, self._chain = decoder, decoder.chain
        self._gestures = decoder.bundle.manifest.gestures
        self._newest, self._probabilities = None, []  # of another one, perhaps with other gestures
        delay_s = self._chain.front_end.delay / self._source.info.rate_hz
        self._late_ns = round((LATE_HOPS * decoder.bundle.hop_s + delay_s) * 1e9)
        hop, delay = decoder.bundle.hop_raw_samples, self._chain.front_end.delay
        self._gathering.for_hops(hop, delay)
        if self._backlog is not None:  # joined there, they wake this loop less often
            self._backlog.for_hops(hop, delay)

    def _obstacle(self) -> str:
        """What speaks against another decoder now, beside what that one does itself."""
        return "the check before use is not over" if self._pre_use.report() is None else ""

    def _shadow_event(self, event: ShadowEvent) -> None:
        self._shadow_counts[event.kind] += 1
        text = f"decoder {event.sha256[:12]}: {event.text}" if event.sha256 else event.text
        self.say(f"{event.kind}: {text} ({event.who})")
        if self._recorder is not None:
            self._recorder.shadow_event(event)

    def _act(self, block: SignalBlock, intents: Intents) -> None:
        """Count and submit the hops that a block completed."""
        self._hops += len(intents)
        self._warming += int(intents.warming.sum())
        self._digest.update(intents)
        self._newest = intents
        if self._port is not None and self._chain.raw is not None:
            self._probabilities = self._chain.raw.probabilities[-1].tolist()
        self._on_intents(intents)
        self._pre_use.decoded(intents, self._chain.seen)
        stages = self._chain.stage_ns
        arrivals_ns = [self._arrivals.of(index) for index in intents.sample_index.tolist()]
        for arrival_ns in arrivals_ns:
            self.traces.decided(arrival_ns, int(stages[5]))
        now_ns = self._clock_ns()
        # Of a block's hops only the newest can still matter, but for one that the network failed at, however late.
        hop = (
            len(intents) - 1
            if self._failed_at is None
            else int(np.searchsorted(intents.sample_index, self._failed_at))
        )
        is_late = now_ns - arrivals_ns[hop] > self._late_ns and self._failed_at is None
        self._failed_at = None
        dropped = len(intents) - (not is_late)
        self._dropped += dropped
        if dropped and self._recorder is not None:
            self._recorder.dropped(int(intents.sample_index[-1]), dropped)
        if is_late:
            return
        command = self._command(intents, hop, arrivals_ns[hop], now_ns)
        self.traces.asked(command, arrivals_ns[hop], block.arrival_ns, stages)
        self._guard.submit(command)

    def _command(self, intents: Intents, hop: int, arrival_ns: int, now_ns: int) -> HandCommand:
        return HandCommand(
            targets=intents.positions[hop],
            sample_index=int(intents.sample_index[hop]),
            issued_ns=arrival_ns,
            expires_ns=now_ns + self._lifetime_ns,
            gesture=self._gestures[int(intents.gesture[hop])],
            quality=Quality(
                warming=bool(intents.warming[hop]),
                confidence=float(intents.probability[hop]),
                healthy_fraction=float(intents.healthy_fraction[hop]),
            ),
        )

    def _keep_armed(self, looked_ns: int) -> None:
        """Arm again after a lost link: explicit for a wearer, but nobody wears a hand that `armed_by` owns.

        Whoever asked for rest well before the last look, at `looked_ns`, was heard; who did later is not overruled.
        """
        disarmed = self._guard.state is GateState.DISARMED and not self._is_asked_to_rest
        if self._armed_by and disarmed and self._hand.link is LinkState.CONNECTED:
            report = self._pre_use.report()
            self._rearmed += report is not None and self._guard.request_arm(
                self._armed_by, report, asked_ns=max(looked_ns - _HEARD_NS, 1)
            )

    def _on_chain_event(self, event: ChainEvent) -> None:
        if event.kind == "gap" and self._left_out_from is not None:
            n = event.sample_index - self._left_out_from
            late_s = n / self._source.info.rate_hz
            text = f"{late_s:.1f} s of samples came too long ago and were left out: restarted, warming"
            event = ChainEvent(event.sample_index, "overload", text, n)
            self.say(f"overload: {text}")
        self._left_out_from = None if event.restarts else self._left_out_from
        self._restarts += event.restarts
        if event.kind == "fault" and self._failed_at is None:
            self._failed_at = event.sample_index
        if self._recorder is not None:
            self._recorder.chain_event(event)

    def _watch(self, block: SignalBlock) -> None:
        self._last_block = block
        looked_ns = self._shown.add(block)
        if looked_ns is not None:
            self._keep_armed(looked_ns)
            self._show(block)

    def _show(self, block: SignalBlock) -> None:
        if self._port is not None:
            self.shadow_states = self.shadows.states()
        self._shown.show(
            Moment(
                block, self._decoder, self._newest, self._probabilities, self._hops, self._commands_dropped,
                self.adjustments, self.shadow_states,
            )
        )  # fmt: skip

    @property
    def _commands_dropped(self) -> int:
        """Late or overtaken, before the guard or in it."""
        counters = self._guard.counters
        return self._dropped + counters.commands_late + counters.commands_overtaken

    def _summary(self, elapsed_s: float) -> LiveSummary:
        counters = self._guard.counters
        return LiveSummary(
            elapsed_s=elapsed_s,
            hops=self._hops,
            warming_hops=self._warming,
            commands_applied=counters.commands_applied,
            commands_withheld=counters.commands_withheld,
            commands_dropped=self._commands_dropped,
            restarts=self._restarts,
            rearmed=self._rearmed,
            pushes=self._shadow_counts["push"],
            switches=self._shadow_counts["switch"],
            rollbacks=self._shadow_counts["rollback"],
            latency_us={
                stage: dict(zip(("p50", "p95", "p99"), h.counts.percentiles_us((50, 95, 99)), strict=True))
                | {"max": h.largest_us}
                for stage, h in self.traces.histograms.items()
            },
            link=self._hand.link.value,
            gate=self._guard.state.value,
            intents_sha256=self._digest.hexdigest(),
        )
