"""The first look at a sample: is the channel alive, and is what it shows nerve?

Judged on raw samples, before a filter hides a railed or drifting channel and before re-referencing spreads it.
What is judged, with which thresholds, and what follows: docs/health.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from decoder import _health_layout as at
from decoder._health_frames import judge
from decoder._health_kernel import advance
from decoder.carried import Carried, packed, refill_to_next
from decoder.health_settings import HealthSettings, default_health, instant_health
from decoder.kernels import LANES, lane_groups
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo

__all__ = [
    "Cause",
    "ChannelHealth",
    "HealthEvent",
    "HealthEventKind",
    "HealthSettings",
    "HealthyBlock",
    "default_health",
    "delay_samples",
    "instant_health",
]

INT16_LIMIT = 32767.0
MOST_SAMPLES = 1 << 24
"""Counters are float32 beside the last value; they are exact up to here and stop there."""
ROWS = 1024
"""Samples taken at a time: 64 KiB for 16 channels stay in a core's cache."""
LEAST_FRAME = 64
TOGETHER_S = 0.001
LAG_S = 0.001
"""Levels and excursions are of differences over so long: a slow wander, which the filters take away, has no part."""
LEAD_S = 0.0005
"""What is blanked before an artefact's first excursion: its rise."""
TAIL_S = 0.0005
QUIET_S = 0.01
"""Without an excursion for so long, the channel's next one is an onset: muscle at work is rarely so quiet."""
LONGEST_S = 0.1
"""What lasts longer is no artefact but a signal that has grown: it passes, and the channel's level follows."""
SAY_S = 1.0
DEAD_FOR_S, LONG_KNOWN_S, LEARN_S = 10.0, 20.0, 1.0
SMOOTH_S, QUIETEST_S, FOLLOW_S, LARGEST_S, FLAP_S = 0.5, 10.0, 20.0, 300.0, 10.0


class Cause(IntEnum):
    """Why a channel is masked. Numbers are part of the session format."""

    NONE = at.NONE
    NOT_FINITE = at.NOT_FINITE
    RAILED = at.RAILED
    FLAT = at.FLAT
    NOISY = at.NOISY
    MAINS = at.MAINS
    DRIFTING = at.DRIFTING
    DEAD = at.DEAD
    UNSTABLE = at.UNSTABLE
    RECOVERING = at.RECOVERING

    @property
    def label(self) -> str:
        """In one word or two, for a person."""
        return self.name.lower().replace("_", " ")


class HealthEventKind(IntEnum):
    """What a HealthEvent tells of."""

    MASKED = at.MASKED
    UNMASKED = at.UNMASKED
    ARTEFACT = at.ARTEFACT


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A channel that is masked or no longer (`channel`, `cause`; `value` is what was measured), or an artefact:
    `size` channels were hit, `n_samples` blanked."""

    kind: HealthEventKind
    sample_index: int
    channel: int = -1
    cause: Cause = Cause.NONE
    value: float = 0.0
    size: int = 0
    n_samples: int = 0


@dataclass(frozen=True, slots=True)
class HealthyBlock:
    """Judged samples that left the delay line: `samples` (m, c) float32 in microvolts, 0 where masked; `mask`
    (m, c) bool, True = masked; `first_sample` the index of row 0."""

    samples: NDArray[np.float32]
    mask: NDArray[np.bool_]
    first_sample: int


def delay_samples(settings: HealthSettings, rate_hz: float) -> int:
    """How many samples later than it came a sample leaves."""
    return round(settings.delay_s * rate_hz)


class ChannelHealth:
    """Judges every sample of every channel, causally; the answer does not depend on how blocks are cut.

    `settings` None takes `default_health(info.kind)`. The arrays that come back are new at each call. Samples
    leave `delay` samples after they came; the last ones of a stream stay inside. `on_event` hears of masked and
    unmasked channels, at most once a second each, and of artefacts.
    """

    def __init__(
        self,
        info: StreamInfo,
        settings: HealthSettings | None = None,
        on_event: Callable[[HealthEvent], None] = lambda event: None,
    ) -> None:
        self.settings = s = default_health(info.kind) if settings is None else settings
        self._n_channels, self._on_event = info.n_channels, on_event
        self.delay = delay_samples(s, info.rate_hz)
        """Samples between what comes and what leaves."""
        self.bridge = round(s.bridge_s * info.rate_hz)
        """The longest loss, in samples, that does not break the stream."""
        limit = s.implausible_uv
        if s.rail_fraction is not None and info.full_scale_uv is not None:
            limit = min(limit, s.rail_fraction * info.full_scale_uv)
        self._limit = np.float32(limit)
        groups = lane_groups(self._n_channels)
        width = groups * LANES
        self._plan = _plan(s, info)
        frame = int(self._plan[at.FRAME])
        self._limits = _limits(s, frame / info.rate_hz)
        self._share = s.artefact_share
        self._table = _mains_table(info, frame)
        rows = int(self._plan[at.DELAY] + self._plan[at.LAG]) + ROWS
        self._line = np.zeros((rows, width), np.float32)
        self._marks = np.zeros((rows, width), np.uint8)
        self._runs = np.zeros(rows, np.int64)
        self._lanes = np.zeros((groups, at.LANE_ROWS, LANES), np.float32)
        self._slow = np.zeros((at.SLOW_ROWS, self._n_channels))
        self._counts = np.zeros((at.COUNT_ROWS, self._n_channels), np.int64)
        self._now = np.zeros(at.NOW_ROWS, np.int64)
        self._events = np.zeros((4 * width + ROWS, at.EVENT_COLUMNS), np.int64)
        self._flat_at = _flat_at(s, info, groups)
        self._next: int | None = None
        self.reset()

    @property
    def causes(self) -> NDArray[np.int64]:
        """Per channel the Cause for which the last sample that left is masked, as new values."""
        return np.array(self._counts[at.SHOWN])

    @property
    def artefacts(self) -> NDArray[np.int64]:
        """How many artefacts hit 1, 2, ... all channels so far."""
        return np.array(self._counts[at.SIZES])

    def reset(self) -> None:
        """Forget the past: every channel begins unmasked."""
        self._slow[:] = 0.0
        self._slow[at.UNMASKED_AT] = -np.inf
        self._counts[:] = 0
        self._counts[at.SAID_AT] = at.NEVER
        self._now[:] = 0
        self._lanes[:] = 0.0
        self._lanes[:, at.CAP_LEVEL : at.CAP_ROUGH + 1] = np.inf
        self.restart()

    def restart(self) -> None:
        """The next block may begin at any index; what is known of the channels stays, masks of minutes included."""
        self._next = None
        now, lanes = self._now, self._lanes
        slow_any, shown_any = int(now[at.SLOW_ANY]), int(now[at.SHOWN_ANY])
        now[:] = 0
        now[[at.SLOW_ANY, at.SHOWN_ANY]] = slow_any, shown_any
        now[[at.RUN_START, at.CASCADE_START]] = -1
        now[[at.RUN_END, at.STIMULATED_UNTIL, at.MARKED_UNTIL]] = at.NEVER
        for row in (at.HOLD, at.CAUSE, at.SICK, at.STARTS, at.RECOVERED_BY):
            self._counts[row] = 0
        for row in (at.ONSET, at.LAST_OVER):
            self._counts[row] = at.NEVER
        lanes[:, at.LAST] = np.nan
        lanes[:, at.REPEATS] = 0.0
        lanes[:, at.FLAT_AT] = self._flat_at
        lanes[:, at.THRESHOLD] = np.inf
        lanes[:, at.SUM :] = 0.0
        self._line[:] = 0.0
        self._marks[:] = 0
        self._runs[:] = 0

    def carried(self) -> Carried:
        """Copies of all that it carries from block to block."""
        return packed(self._memory, next=self._next)

    def restore(self, carried: Carried) -> None:
        """Go on from there."""
        self._next = refill_to_next(self._memory, carried)

    @property
    def _memory(self) -> dict[str, NDArray[np.generic]]:
        return {
            "line": self._line, "marks": self._marks, "runs": self._runs, "lanes": self._lanes,
            "slow": self._slow, "counts": self._counts, "now": self._now,
        }  # fmt: skip

    def continues(self, first_sample: int) -> bool:
        """Whether a block from this sample on goes on with the stream, losses that are bridged included."""
        return self._next is not None and 0 <= first_sample - self._next <= self.bridge

    def process(self, block: SignalBlock) -> HealthyBlock:
        """Judge a block; samples lost before it, up to `bridge`, are bridged.

        Raises where it has another channel count, sample type or shape than the stream's, or does not continue it.
        """
        raw: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16] = block.samples
        if raw.ndim != 2 or raw.shape[1] != self._n_channels:
            raise StreamMismatchError(
                f"a block of shape {raw.shape} came from a stream of {self._n_channels} channels:"
                f" blocks are (samples, {self._n_channels})"
            )
        if not raw.flags.c_contiguous:
            raw = raw.copy()
        scale, limit = np.float32(1.0), self._limit
        if raw.dtype == np.int16:
            scale = np.float32(block.scale_uv)
            if not (np.isfinite(scale) and scale > 0):
                raise NervehandError(f"scale_uv is {block.scale_uv}: give microvolts per count above 0")
            if self.settings.rail_fraction is not None:
                limit = min(limit, np.float32(INT16_LIMIT) * scale)
        elif raw.dtype != np.float32 and raw.dtype != np.float64:
            raise NervehandError(f"samples are {raw.dtype}: give float32, float64 or int16")
        digital = NO_LINES if block.digital is None else np.ascontiguousarray(block.digital, np.uint32)
        if block.digital is not None and digital.shape != (len(raw),):
            raise StreamMismatchError(
                f"digital lines of shape {digital.shape} beside {len(raw)} samples: give one value per sample"
            )
        now = self._now
        if self._next is None:
            self._next = block.first_sample
            now[[at.NEXT, at.START]] = block.first_sample
        elif not self.continues(block.first_sample):
            raise NervehandError(
                f"a block begins at sample {block.first_sample}, the last one ended before {self._next}: reset after"
                f" a gap of more than {self.bridge} samples"
            )
        missing = block.first_sample - self._next
        self._next = block.first_sample + len(raw)
        first = max(int(now[at.NEXT]) - self.delay, int(now[at.START]))
        n = max(self._next - self.delay - first, 0)
        samples = np.empty((n, self._n_channels), np.float32)
        mask = np.empty((n, self._n_channels), np.bool_)
        now[at.FIRST_OUT] = 0
        begin = -missing
        while begin < len(raw):
            taken = advance(
                raw, max(begin, 0), max(-begin, 0), scale, limit, self._share, digital, self._line, self._marks,
                self._runs, self._lanes, self._counts, now, self._plan, self._table, self._events, samples, mask,
            )  # fmt: skip
            begin += taken
            if now[at.FRAME_DONE]:
                judge(
                    float(limit), self._n_channels, self._lanes, self._slow, self._counts, now, self._plan,
                    self._limits, self._events,
                )  # fmt: skip
            if now[at.N_EVENTS]:
                self._tell()
        return HealthyBlock(samples, mask, first)

    def _tell(self) -> None:
        events = self._events[: int(self._now[at.N_EVENTS])].tolist()
        self._now[at.N_EVENTS] = 0
        for kind, sample_index, who, what, value, _ in sorted(events, key=lambda event: event[-1]):
            if kind == at.ARTEFACT:
                self._on_event(HealthEvent(HealthEventKind.ARTEFACT, sample_index, size=who, n_samples=what))
            else:
                self._on_event(
                    HealthEvent(HealthEventKind(kind), sample_index, who, Cause(what), value / 1000.0)
                )


NO_LINES = np.empty(0, np.uint32)


def _plan(s: HealthSettings, info: StreamInfo) -> NDArray[np.int64]:
    """The settings in samples, as the kernels read them."""

    def samples(seconds: float) -> int:
        return round(seconds * info.rate_hz)

    plan = np.zeros(at.PLAN_ROWS, np.int64)
    plan[at.DELAY] = delay_samples(s, info.rate_hz)
    plan[at.FRAME] = max(samples(s.frame_s), LEAST_FRAME)
    plan[at.CLEAN], plan[at.BRIDGE] = samples(s.clean_s), samples(s.bridge_s)
    plan[at.LAG] = max(samples(LAG_S), 1)
    plan[at.LEAD], plan[at.TAIL] = samples(LEAD_S), max(samples(TAIL_S), 1)
    plan[at.TOGETHER], plan[at.QUIET] = max(samples(TOGETHER_S), 1), max(samples(QUIET_S), 1)
    plan[at.LONGEST], plan[at.SAY] = samples(LONGEST_S), samples(SAY_S)
    plan[at.STIMULATION_TAIL] = samples(s.stimulation_tail_s)
    if s.delay_s > 0 or s.bridge_s > 0:
        plan[at.LINES] = sum(1 << line for line in set(info.stimulation_lines))
    if plan[at.CLEAN] > MOST_SAMPLES:
        raise NervehandError(
            f"clean_s {s.clean_s} at {info.rate_hz} Hz is more than {MOST_SAMPLES} samples: shorten it"
        )
    return plan


def _limits(s: HealthSettings, frame_s: float) -> NDArray[np.float64]:
    """Thresholds, and times as frames or factors per frame."""

    def given(value: float | None) -> float:
        return np.inf if value is None else value

    limits = np.zeros(at.LIMITS)
    limits[at.NOISY_RATIO] = given(s.noisy_ratio)
    limits[at.MAINS_SHARE], limits[at.MAINS_RATIO] = given(s.mains_share), s.mains_ratio
    limits[at.DRIFT_FRACTION] = given(s.drift_fraction)
    limits[at.DEAD_FOLLOWS] = -np.inf if s.dead_follows is None else s.dead_follows
    limits[at.ARTEFACT_RATIO] = given(s.artefact_ratio)
    limits[at.SUSTAINED] = max(round(s.sustained_s / frame_s), 1)
    limits[at.DEAD_FOR], limits[at.LONG_KNOWN] = DEAD_FOR_S / frame_s, LONG_KNOWN_S / frame_s
    limits[at.WELL_FIRST], limits[at.WELL_MOST] = s.slow_clean_s / frame_s, s.longest_clean_s / frame_s
    limits[at.MINUTE], limits[at.LEARN] = 60.0 / frame_s, LEARN_S / frame_s
    limits[at.SMOOTH_BY] = min(frame_s / SMOOTH_S, 1.0)
    limits[at.RISE], limits[at.FOLLOW_BY] = np.exp(frame_s / QUIETEST_S), min(frame_s / FOLLOW_S, 1.0)
    limits[at.RELEASE], limits[at.FORGET] = 0.5 ** (frame_s / LARGEST_S), np.exp(-frame_s / FLAP_S)
    limits[at.AHEAD] = 1.0 / frame_s
    return limits


def _flat_at(s: HealthSettings, info: StreamInfo, groups: int) -> NDArray[np.float32]:
    """How often a value comes again until its channel is flat (groups, LANES); never, where nothing is connected."""
    repeats = np.full(groups * LANES, np.inf, np.float32)
    if s.flat_s is not None:
        flat = max(s.flat_samples, round(s.flat_s * info.rate_hz))
        if flat > MOST_SAMPLES:
            raise NervehandError(
                f"flat_s {s.flat_s} at {info.rate_hz} Hz is more than {MOST_SAMPLES} samples: shorten it"
            )
        repeats[: info.n_channels] = flat - 1
    return repeats.reshape(groups, LANES)


def _mains_table(info: StreamInfo, frame: int) -> NDArray[np.float32]:
    """Cosine and sine (frame, 2 * HARMONICS) of the mains and its harmonics; 0 where one is too fast to be seen."""
    table = np.zeros((frame, 2 * at.HARMONICS), np.float32)
    t_s = np.arange(frame) / info.rate_hz
    for k in range(at.HARMONICS):
        frequency = info.mains_hz * (k + 1)
        if 0 < frequency < 0.45 * info.rate_hz:
            table[:, 2 * k] = np.cos(2 * np.pi * frequency * t_s)
            table[:, 2 * k + 1] = np.sin(2 * np.pi * frequency * t_s)
    return table
