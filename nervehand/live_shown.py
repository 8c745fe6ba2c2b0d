"""What a live run shows of itself: to a screen, and as a view at its port."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from decoder.deployable import Decoder
from decoder.front_end import FrontEnd
from decoder.health import Cause
from decoder.intent import Intents
from decoder.shadow import ShadowState
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.gate import GateEvent
from firmware_bridge.guard import Guard
from firmware_bridge.hand import N_DOF
from firmware_bridge.port import Port
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.gate_words import LATCHED, GateWords
from nervehand.guarding import HandView
from nervehand.latency import LatencyHistogram
from nervehand.live_summary import SHOWN
from nervehand.live_view import RecentSamples, view_of
from nervehand.screen import MOST_CHANNELS, Screen, Snapshot, StageLatency

TOPIC = "live"
"""What a port shows of a run."""
NOTICED = frozenset(
    {"arm refused", "stop", "release", "fault", "silence", "orphaned", "guard lost", "adjust"}
)
"""The gate events that a person is shown at once."""
SNAPSHOT_S = 0.125
VIEW_S = 0.1
"""How often a port is shown what happens; it gives what the screen shows, too."""
_NOTICE_S = 5.0
_TIMES_S = 1.0
"""How often the latencies that are shown are counted out."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How a run is at `block`: what its decoder decided last (None before the first), and its counts."""

    block: SignalBlock
    decoder: Decoder
    intents: Intents | None
    probabilities: Sequence[float]
    hops: int
    commands_dropped: int
    adjustments: Adjustments | None
    shadows: Sequence[ShadowState]


class Shown:
    """Makes the pictures. One thread owns it, but for `say` and `gate_event`, which only remember."""

    def __init__(
        self,
        title: str,
        info: StreamInfo,
        guard: Guard,
        hand: HandView,
        screen: Screen,
        port: Port | None,
        cue_at: Callable[[int], str],
        histograms: Mapping[str, LatencyHistogram],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._title, self._info, self._guard, self._hand = title, info, guard, hand
        self._screen, self._port, self._cue_at = screen, port, cue_at
        self._histograms, self._clock_ns = histograms, clock_ns
        self._recent = RecentSamples(info)
        self._began_ns = self._looked_ns = self._timed_ns = 0
        self._times: list[StageLatency] = []
        self._notice, self._noticed_ns = "", 0
        self._words = GateWords()
        self.source_is_lost = False
        """While it is, what was said last stays to be read."""

    @property
    def has_looked(self) -> bool:
        """Whether there is anything to show."""
        return len(self._recent) > 0

    def begin(self) -> None:
        """The run begins now."""
        self._began_ns = self._clock_ns()

    def say(self, text: str) -> None:
        """Show it to the person, in the next picture."""
        self._notice, self._noticed_ns = text, self._clock_ns()

    def gate_event(self, event: GateEvent) -> None:
        """Show what a person should hear of."""
        text = self._words.of(event)
        if event.kind in NOTICED:
            self.say(f"{text} ({event.who})")

    def add(self, block: SignalBlock) -> int | None:
        """A block that has come. Where it is time for a picture, when the one before was looked at (host ns)."""
        self._recent.add(block)
        now_ns, before_ns = self._clock_ns(), self._looked_ns
        if now_ns - before_ns < (SNAPSHOT_S if self._port is None else VIEW_S) * 1e9:
            return None
        self._looked_ns = now_ns
        self._recent.look(block.scale_uv)
        return before_ns

    def show(self, moment: Moment) -> None:
        """What was looked at last, with the rest as it is now."""
        snapshot = self._snapshot(moment)
        self._screen.show(snapshot)
        if self._port is None:
            return
        block = moment.block
        view = view_of(
            snapshot, self._recent, block.first_sample + block.n_samples, self._info, moment.decoder.bundle,
            moment.probabilities, moment.adjustments, moment.shadows,
        )  # fmt: skip
        self._port.show(TOPIC, view)

    def _snapshot(self, moment: Moment) -> Snapshot:
        intents, state, decision = moment.intents, self._hand.state, self._guard.decision
        bundle, front_end = moment.decoder.bundle, moment.decoder.chain.front_end
        levels = self._recent.levels_uv
        gate = "-" if decision is None else decision.state.value
        if decision is not None and decision.cause is not None:
            gate += f" ({decision.cause.value})"
        is_news = self._clock_ns() - self._noticed_ns < _NOTICE_S * 1e9
        is_envelope = self._info.kind == "envelope"
        return Snapshot(
            title=self._title,
            level_title="channels, mean µV" if is_envelope else "channels, r.m.s. µV",
            side=bundle.manifest.side,
            elapsed_s=(self._clock_ns() - self._began_ns) / 1e9,
            channels=list(self._info.channel_names[:MOST_CHANNELS]),
            n_channels=self._info.n_channels,
            levels_uv=[round(v, 2) for v in levels[-1].tolist()],
            history_uv=[[round(v, 2) for v in column] for column in levels.T.tolist()],
            masked=_masked(front_end),
            artefacts=int(front_end.artefacts.sum()),
            wanted=[0.0] * N_DOF if intents is None else [float(v) for v in intents.positions[-1]],
            shown=[math.nan] * N_DOF if state is None else [float(v) for v in state.positions],
            gesture="" if intents is None else bundle.manifest.gestures[int(intents.gesture[-1])],
            probability=0.0 if intents is None else float(intents.probability[-1]),
            cue=self._cue_at(moment.block.first_sample),
            warming=intents is None or bool(intents.warming[-1]),
            gate=gate,
            link=self._hand.link.value,
            hops=moment.hops,
            commands_applied=self._guard.counters.commands_applied,
            commands_dropped=moment.commands_dropped,
            latency=self._stages(),
            notice=self._notice
            if self.source_is_lost or is_news
            else LATCHED
            if self._words.is_waiting
            else "",
        )

    def _stages(self) -> list[StageLatency]:
        now_ns = self._clock_ns()
        if now_ns - self._timed_ns >= _TIMES_S * 1e9:
            self._timed_ns = now_ns
            self._times = [
                StageLatency(stage, *histogram.counts.percentiles_us((50, 95, 99)))
                for stage, histogram in self._histograms.items()
                if stage in SHOWN
            ]
        return self._times


def _masked(front_end: FrontEnd) -> list[str]:
    """Why each channel shown is masked; "" where it is not."""
    return [
        (Cause(int(cause)).label if cause else "artefact") if masked else ""
        for masked, cause in zip(front_end.masked_now, front_end.causes_now, strict=True)
    ][:MOST_CHANNELS]
