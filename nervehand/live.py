"""A decoder at work in real time: source, chain, gate and hand in one loop, watched by a screen."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from decoder.bundle import Bundle
from decoder.chain import ChainEvent
from decoder.health import Cause
from decoder.intent import IntentDigest, Intents
from decoder.shadow import DEFAULT_RULES, Decoder, ShadowEvent, ShadowRules, Shadows, ShadowState
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import GateEvent, GateState
from firmware_bridge.guard import Guard, Sent
from firmware_bridge.hand import N_DOF, HandCommand, LinkState, Quality
from firmware_bridge.port import Port
from firmware_bridge.stream import SignalBlock, Source
from firmware_bridge.supervised import SourceEvent
from nervehand.gate_words import LATCHED, GateWords
from nervehand.guarding import HandView
from nervehand.latency import Arrivals, LatencyHistogram
from nervehand.live_summary import DECIDED, STAGES, TOTAL, LiveSummary
from nervehand.live_view import RecentSamples, view_of
from nervehand.pre_use import Overridden, PreUse
from nervehand.recording import LiveRecorder
from nervehand.screen import MOST_CHANNELS, Screen, Snapshot, StageLatency
from nervehand.stopping import closed_by

__all__ = ["ASKED_FOR", "COMMAND_LIFETIME_S", "STAGES", "LiveRun", "LiveSummary"]

TOPIC = "live"
"""What a port shows of a run."""
COMMAND_LIFETIME_S = 0.2  # a command that nothing follows expires, and the gate relaxes
LATE_HOPS = 2  # a hop this many hops old, the delay line left out, is decoded but commands nothing
MOST_TOLD = 8192
"""What is remembered of what the hand was told, and of what it was asked, between two blocks."""
ASKED_FOR = ("stop", "release", "disarm")
"""The gate events after which nobody but a person arms."""
NOTICED = frozenset(
    {"arm refused", "stop", "release", "fault", "silence", "orphaned", "guard lost", "adjust"}
)
"""The gate events that a person is shown at once."""
_SNAPSHOT_S = 0.125
_NOTICE_S = 5.0
_VIEW_S = 0.1
"""How often a port is shown what happens; it gives what the screen shows, too."""
MOST_DELAY_S = 0.02
"""The longest delay line of a decoder that may take over."""


class _Asked(NamedTuple):
    """A command on its way to the hand, when it was decided and when the last sample that it rests on arrived."""

    command: HandCommand
    decided_ns: int
    arrival_ns: int


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
        rules: ShadowRules = DEFAULT_RULES,
    ) -> None:
        self._pre_use = pre_use or Overridden(armed_by)
        self._working = working
        self._is_asked_to_rest = False
        self._told: deque[Sent] = deque(maxlen=MOST_TOLD)
        self._asked: deque[_Asked] = deque(maxlen=MOST_TOLD)
        self._title, self._source = title, source
        self._guard, self._hand, self._screen = guard, hand, screen
        self._cue_at, self._on_intents, self._armed_by = cue_at, on_intents, armed_by
        self._recorder = recorder
        self._port = port
        self._newest: Intents | None
        self._probabilities: list[float]
        self._deploy(Decoder(bundle, source.info))
        self.shadows = Shadows(self._decoder, source.info, self._shadow_event, rules, self._obstacle)
        """The decoders beside the one that is deployed."""
        self.shadow_states: tuple[ShadowState, ...] = ()
        """How they do, as of the last look."""
        self.adjustments: Adjustments | None = None
        """The wearer's, where somebody asks the guard for them from time to time; for the port."""
        self._shadow_counts: Counter[str] = Counter()
        self._lifetime_ns = round(COMMAND_LIFETIME_S * 1e9)
        self._histograms = {stage: LatencyHistogram() for stage in STAGES}
        self._digest = IntentDigest()
        self._hops = self._warming = self._dropped = self._restarts = self._rearmed = 0
        self._arrivals = Arrivals(max(self._chain.front_end.delay, self.most_delay))
        self._failed_at: int | None = None  # the first hop since the last command whose answer is not finite
        self._seen = RecentSamples(source.info)
        self._shown_ns = 0
        self._started_ns = 0
        self._last_block: SignalBlock | None = None
        self._notice, self._noticed_ns, self._source_is_lost = "", 0, False
        self._words = GateWords()

    @property
    def bundle(self) -> Bundle:
        """The one that is deployed now."""
        return self._decoder.bundle

    @property
    def most_delay(self) -> int:
        """The longest delay line, in samples, of a decoder that may take over."""
        return round(MOST_DELAY_S * self._source.info.rate_hz)

    def run(self, stop: threading.Event) -> LiveSummary:
        """Blocks until done; `stop` ends it within a moment, also while the source has no samples.

        The guard must be started and armed by the caller, who also closes it.
        """
        self._started_ns = time.monotonic_ns()
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
            gc.unfreeze()
        self.take_told()
        return self._summary(self._elapsed_s())

    def source_event(self, event: SourceEvent) -> None:
        """Record and show at once what happened to the source; blocks may not come for a while."""
        self._notice, self._noticed_ns = f"source {event.kind}: {event.text}", time.monotonic_ns()
        self._source_is_lost = event.kind == "lost"
        if self._recorder is not None:
            self._recorder.source_event(event)
        if self._last_block is not None and len(self._seen):
            self._show(self._last_block)

    def sent(self, sent: Sent) -> None:
        """What the hand was told, as the guard says it."""
        self._told.append(sent)

    def gate_event(self, event: GateEvent) -> None:
        """Show what a person should hear of, in the next snapshot; what somebody asked for is not undone by the run."""
        if event.kind in ("arm", *ASKED_FOR):
            self._is_asked_to_rest = event.kind != "arm"
        text = self._words.of(event)
        if event.kind in NOTICED:
            self._notice, self._noticed_ns = f"{text} ({event.who})", time.monotonic_ns()

    def say(self, text: str) -> None:
        """Show it to the person, in the next snapshot."""
        self._notice, self._noticed_ns = text, time.monotonic_ns()

    def completed(self, summary: LiveSummary) -> LiveSummary:
        """`summary` with the counts and times that came in while the guard ended."""
        self.take_told()
        ended = self._summary(summary.elapsed_s)
        return replace(ended, link=summary.link, gate=summary.gate)

    def take_told(self) -> None:
        """Time and record the commands that the hand was told since the last time, each when it was told first."""
        while self._told:
            sent = self._told.popleft()
            while self._asked and self._asked[0].command.sample_index < sent.sample_index:
                self._asked.popleft()  # overtaken, or not followed
            if not self._asked or self._asked[0].command.sample_index != sent.sample_index:
                continue  # the way on to a target that was told before, or no command at all
            command, decided_ns, arrival_ns = self._asked.popleft()
            self._histograms["gate + send"].add(sent.sent_ns - decided_ns)
            self._histograms[TOTAL].add(sent.sent_ns - arrival_ns)
            if self._recorder is not None:
                self._recorder.command(command, self._hand.state)

    def _elapsed_s(self) -> float:
        return (time.monotonic_ns() - self._started_ns) / 1e9

    def _stream(self, stop: threading.Event) -> None:
        self._source.connect()
        if stop.is_set():  # what closed it may have come before it was connected
            return
        for block in self._source.blocks():
            if stop.is_set():
                return
            with self._working():
                self._decode(block)
                self._watch(block)

    def _decode(self, block: SignalBlock) -> None:
        self._arrivals.add(block)
        intents = self._decoder.process(block)
        if len(intents):
            self._act(block, intents)
        self.take_told()
        if self._port is not None:
            self._port.samples(block)
        if self._recorder is not None:  # after the command, so that a slow disk delays none
            self._recorder.block(block, intents, self._chain.front_end)
        if not self.shadows.is_idle:
            successor = self.shadows.after(block, intents)
            if successor is not None:
                self._deploy(successor)

    def _deploy(self, decoder: Decoder) -> None:
        """From the next block on, what this one decides moves the hand."""
        decoder.listener = self._on_chain_event
        self._decoder, self._chain = decoder, decoder.chain
        self._gestures = decoder.bundle.manifest.gestures
        self._newest, self._probabilities = None, []  # of another one, perhaps with other gestures
        delay_s = self._chain.front_end.delay / self._source.info.rate_hz
        self._late_ns = round((LATE_HOPS * decoder.bundle.hop_s + delay_s) * 1e9)

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
            self._histograms[DECIDED].add(int(stages[5]) - arrival_ns)
        now_ns = time.monotonic_ns()
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
        self._asked.append(_Asked(command, int(stages[5]), arrivals_ns[hop]))
        self._guard.submit(command)
        self._histograms["delay line"].add(block.arrival_ns - arrivals_ns[hop])
        self._histograms["wait"].add(int(stages[0]) - block.arrival_ns)
        self._histograms["filters + features"].add(int(stages[3] - stages[0]))
        self._histograms["engine"].add(int(stages[4] - stages[3]))
        self._histograms["decision"].add(int(stages[5] - stages[4]))

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

    def _keep_armed(self) -> None:
        """Arm again after a lost link: explicit for a wearer, but nobody wears a hand that `armed_by` owns."""
        disarmed = self._guard.state is GateState.DISARMED and not self._is_asked_to_rest
        if self._armed_by and disarmed and self._hand.link is LinkState.CONNECTED:
            report = self._pre_use.report()
            self._rearmed += report is not None and self._guard.request_arm(self._armed_by, report)

    def _on_chain_event(self, event: ChainEvent) -> None:
        self._restarts += event.restarts
        if event.kind == "fault" and self._failed_at is None:
            self._failed_at = event.sample_index
        if self._recorder is not None:
            self._recorder.chain_event(event)

    def _watch(self, block: SignalBlock) -> None:
        self._last_block = block
        self._seen.add(block)
        now_ns = time.monotonic_ns()
        if now_ns - self._shown_ns < (_SNAPSHOT_S if self._port is None else _VIEW_S) * 1e9:
            return
        self._shown_ns = now_ns
        self._keep_armed()
        self._seen.look(block.scale_uv)
        self._show(block)

    def _show(self, block: SignalBlock) -> None:
        snapshot = self._snapshot(block)
        self._screen.show(snapshot)
        if self._port is None:
            return
        self.shadow_states = self.shadows.states()
        view = view_of(
            snapshot, self._seen, block.first_sample + block.n_samples, self._source.info, self.bundle,
            self._probabilities, self.adjustments, self.shadow_states,
        )  # fmt: skip
        self._port.show(TOPIC, view)

    def _snapshot(self, block: SignalBlock) -> Snapshot:
        intents, state, decision = self._newest, self._hand.state, self._guard.decision
        levels = self._seen.levels_uv
        gate = "-" if decision is None else decision.state.value
        if decision is not None and decision.cause is not None:
            gate += f" ({decision.cause.value})"
        is_news = time.monotonic_ns() - self._noticed_ns < _NOTICE_S * 1e9
        return Snapshot(
            title=self._title,
            level_title="channels, mean µV"
            if self._source.info.kind == "envelope"
            else "channels, r.m.s. µV",
            side=self.bundle.manifest.side,
            elapsed_s=self._elapsed_s(),
            channels=list(self._source.info.channel_names[:MOST_CHANNELS]),
            n_channels=self._source.info.n_channels,
            levels_uv=[round(float(v), 2) for v in levels[-1]],
            history_uv=[[round(float(v), 2) for v in column] for column in levels.T],
            masked=self._masked(),
            artefacts=int(self._chain.front_end.artefacts.sum()),
            wanted=[0.0] * N_DOF if intents is None else [float(v) for v in intents.positions[-1]],
            shown=[math.nan] * N_DOF if state is None else [float(v) for v in state.positions],
            gesture="" if intents is None else self._gestures[int(intents.gesture[-1])],
            probability=0.0 if intents is None else float(intents.probability[-1]),
            cue=self._cue_at(block.first_sample),
            warming=intents is None or bool(intents.warming[-1]),
            gate=gate,
            link=self._hand.link.value,
            hops=self._hops,
            commands_applied=self._guard.counters.commands_applied,
            commands_dropped=self._commands_dropped,
            latency=[
                StageLatency(stage, h.percentile_us(50), h.percentile_us(95), h.percentile_us(99))
                for stage, h in self._histograms.items()
            ],
            notice=self._notice
            if self._source_is_lost or is_news
            else LATCHED
            if self._words.is_waiting
            else "",
        )

    def _masked(self) -> list[str]:
        """Why each channel shown is masked; "" where it is not."""
        front_end = self._chain.front_end
        return [
            (Cause(int(cause)).label if cause else "artefact") if masked else ""
            for masked, cause in zip(front_end.masked_now, front_end.causes_now, strict=True)
        ][:MOST_CHANNELS]

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
                stage: {f"p{p}": h.percentile_us(p) for p in (50, 95, 99)} | {"max": h.largest_us}
                for stage, h in self._histograms.items()
            },
            link=self._hand.link.value,
            gate=self._guard.state.value,
            intents_sha256=self._digest.hexdigest(),
        )
