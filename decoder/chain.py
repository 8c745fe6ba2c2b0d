"""The decode chain: blocks of samples in, decided intents out, every stage in order, state carried.

The same code serves the live path, replay and the making of training sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from decoder import engines, features
from decoder.bundle import Bundle
from decoder.conditioning import Coefficients, Conditioner, conditioned_names
from decoder.decision import Decision
from decoder.engine import StepShape
from decoder.features import FeatureSettings
from decoder.health import Cause, ChannelHealth, HealthEvent, HealthEventKind, HealthSettings
from decoder.intent import EngineOutput, Intents
from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo

STAGES = ("health", "conditioning", "features", "engine", "decision")


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """Something that happened at a sample: `kind` is stable, `text` is for people, `first` and `second` are numbers.

    "gap": the chain restarted after a loss; "fault": after an answer that is not finite. The others restart nothing:
    "filled": so many samples lost and bridged; "masked" and "unmasked": a channel and its Cause; "artefact": so many
    channels hit, so many samples blanked.
    """

    sample_index: int
    kind: str
    text: str
    first: int = 0
    second: int = 0

    @property
    def restarts(self) -> bool:
        """Whether the chain began anew."""
        return self.kind in ("gap", "fault")


@dataclass(frozen=True, slots=True)
class Features:
    """k feature vectors, not yet normalised: values and masks (k, f), the raw sample (k,) each rests on, and
    the share (k,) of features that are not masked."""

    values: NDArray[np.float32]
    masked: NDArray[np.bool_]
    sample_index: NDArray[np.int64]
    healthy_fraction: NDArray[np.float32]


class FrontEnd:
    """ChannelHealth, Conditioner and FeatureExtractor in a row: what training and decoding share.

    A loss that health bridges goes unnoticed behind it. At a longer one filters and windows begin anew at the first
    sample after it, and what is known of the channels stays; where the index goes back, all is forgotten.
    `health` None takes the default for the kind of stream. `on_event` hears of masks, artefacts and losses.
    """

    def __init__(
        self,
        info: StreamInfo,
        coefficients: Coefficients,
        feature_set: str,
        settings: FeatureSettings,
        health: HealthSettings | None = None,
        on_event: Callable[[ChainEvent], None] = lambda event: None,
    ) -> None:
        self._info, self._on_event = info, on_event
        self._decimation = coefficients.decimation
        self._health = ChannelHealth(info, health, self._on_health)
        self._conditioner = Conditioner(coefficients, info.n_channels)
        names = conditioned_names(info.channel_names, coefficients.rereference)
        self._extractor = features.load(feature_set).make(settings, names)
        self._filled = self._filled_said = 0
        self.next_sample: int | None = None
        """Index of the sample that continues the stream; None before the first block and after a reset."""
        self.masked_now = np.zeros(info.n_channels, np.bool_)
        """Which channels the last sample that left the delay line found masked."""
        self.judged: int | None = None
        """Index of that sample; None before the first."""
        self.stage_ns = np.zeros(4, np.int64)
        """time.monotonic_ns of the last `process`: when each of the three stages began, and the end."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One per column of the features."""
        return self._extractor.names

    @property
    def delay(self) -> int:
        """How many samples later than it came a sample leaves channel health."""
        return self._health.delay

    @property
    def causes_now(self) -> NDArray[np.int64]:
        """Per channel the Cause (health.Cause) for which it is masked now; an artefact that lasts has none."""
        return self._health.causes

    @property
    def artefacts(self) -> NDArray[np.int64]:
        """How many artefacts hit 1, 2, ... all channels so far."""
        return self._health.artefacts

    def reset(self) -> None:
        """Forget everything: the next block starts anew, wherever it begins."""
        self.next_sample = None

    def continues(self, block: SignalBlock) -> bool:
        """Whether a block goes on with what came before, losses that are bridged included."""
        return self.next_sample is not None and self._health.continues(block.first_sample)

    def process(self, block: SignalBlock) -> tuple[Features, bool]:
        """The features of what leaves the delay line, and whether the chain restarted before the block (a first block
        is no restart).

        Raises StreamMismatchError where the block has another number of channels.
        """
        n_channels = self._info.n_channels
        if block.samples.ndim != 2 or block.samples.shape[1] != n_channels:
            raise StreamMismatchError(
                f"a block of shape {block.samples.shape} in a stream of {n_channels} channels: "
                "the front-end and the decoder must agree"
            )
        expected = self.next_sample
        restarted = expected is not None and not self.continues(block)
        if expected is None or restarted:
            if expected is not None and block.first_sample > expected:
                self._health.restart()
            else:
                self._health.reset()
            self._conditioner.reset()
            self._extractor.reset()
        elif block.first_sample > expected:
            self._fill(block.first_sample, block.first_sample - expected)
        self.next_sample = block.first_sample + block.n_samples
        t = self.stage_ns
        t[0] = time.monotonic_ns()
        healthy = self._health.process(block)
        t[1] = time.monotonic_ns()
        conditioned, mask, first = self._conditioner.process(
            healthy.samples, healthy.mask, healthy.first_sample
        )
        t[2] = time.monotonic_ns()
        values, masked, index = self._extractor.process(conditioned, mask, first)
        t[3] = time.monotonic_ns()
        if len(healthy.mask):
            self.masked_now = healthy.mask[-1]
            self.judged = healthy.first_sample + len(healthy.mask) - 1
        sample_index, healthy_fraction = _describe(index, masked, self._decimation)
        return Features(values, masked, sample_index, healthy_fraction), restarted

    def _fill(self, sample_index: int, n_samples: int) -> None:
        """Said once a second at most, with what was lost since."""
        self._filled += n_samples
        if self._filled > n_samples and sample_index - self._filled_said < self._info.rate_hz:
            return
        text = f"{self._filled} samples lost up to sample {sample_index} and bridged"
        self._on_event(ChainEvent(sample_index, "filled", text, self._filled))
        self._filled, self._filled_said = 0, sample_index

    def _on_health(self, event: HealthEvent) -> None:
        names, rate_hz = self._info.channel_names, self._info.rate_hz
        if event.kind is HealthEventKind.ARTEFACT:
            text = f"artefact on {event.size} of {len(names)} channels for {1e3 * event.n_samples / rate_hz:.1f} ms"
            told = ChainEvent(event.sample_index, "artefact", text, event.size, event.n_samples)
        elif event.kind is HealthEventKind.MASKED:
            text = f"{names[event.channel]} masked: {_reason(event)}"
            told = ChainEvent(event.sample_index, "masked", text, event.channel, int(event.cause))
        else:
            text = f"{names[event.channel]} unmasked, was {event.cause.label}"
            told = ChainEvent(event.sample_index, "unmasked", text, event.channel, int(event.cause))
        self._on_event(told)


def _reason(event: HealthEvent) -> str:
    """Why a channel was masked, with what was measured, for a person."""
    match event.cause:
        case Cause.MAINS:
            return f"mains {100 * event.value:.0f} % of its power"
        case Cause.NOISY:
            return f"noise {event.value:.1f} times the other channels'"
        case Cause.DRIFTING:
            return f"its mean drifts to {100 * event.value:.0f} % of the amplifier's range"
        case Cause.DEAD:
            return f"steady noise of {event.value:.1f} µV while the others carry signals"
        case Cause.UNSTABLE:
            return "it keeps failing"
        case _:
            return event.cause.label


class DecodeChain:
    """A bundle at work on one stream: `process` turns each block into the intents of the hops it completes.

    Raises StreamMismatchError at once where the bundle was made for another stream. After a start, a gap or
    a fault the intents are `warming` for the bundle's `warmup_s`. `on_event` hears of gaps, faults, masks, artefacts.

    An intent rests on the sample that it names, and is there once the delay line of channel health let that leave.
    `health` None takes the bundle's own settings; others serve a comparison.
    """

    def __init__(
        self,
        bundle: Bundle,
        info: StreamInfo,
        on_event: Callable[[ChainEvent], None] = lambda event: None,
        health: HealthSettings | None = None,
    ) -> None:
        bundle.require_stream(info)
        manifest = bundle.manifest
        self.front_end = FrontEnd(
            info,
            bundle.coefficients,
            manifest.features.set,
            manifest.features.settings,
            bundle.health if health is None else health,
            on_event,
        )
        self._normalisation = bundle.normalisation
        self._engine = engines.load(bundle.step_graph)
        _require_widths(bundle, self._engine.shape)
        span = np.array([o.upper - o.lower for o in manifest.outputs], np.float32)
        self._decision = Decision(manifest.decision, bundle.position_map, span, bundle.hop_s)
        self._warmup_samples = round(manifest.warmup_s * info.rate_hz)
        self._warm_from = 0
        self._on_event = on_event
        self.stage_ns = np.zeros(len(STAGES) + 1, np.int64)
        """time.monotonic_ns of the last `process`: when each stage began, and the end."""
        self.raw: EngineOutput | None = None
        """The network's answers behind the last intents."""

    def process(self, block: SignalBlock) -> Intents:
        """The intents of the hops that this block completes; none where it completes none."""
        expected, began_anew = self.front_end.next_sample, not self.front_end.continues(block)
        found, restarted = self.front_end.process(block)
        if began_anew:
            self._start(block.first_sample)
        if restarted:
            lost = block.first_sample - (expected or 0)
            text = f"{lost} samples lost before sample {block.first_sample}: restarted, warming"
            self._on_event(ChainEvent(block.first_sample, "gap", text, max(lost, 0)))
        z = self._normalisation.apply(found.values, found.masked)
        answers, intents = [], []
        hop = 0
        while True:
            raw, is_finite = self._answer(z, found, hop)
            engine_end_ns = time.monotonic_ns()
            answers.append(raw)
            intents.append(self._decision.process(raw))
            hop += len(raw)
            if not is_finite:
                self._forget(int(raw.sample_index[-1]))
            if hop == len(z):
                break
        self.raw = _joined(answers)
        self.stage_ns[:4] = self.front_end.stage_ns
        self.stage_ns[4] = engine_end_ns
        self.stage_ns[5] = time.monotonic_ns()
        return _joined(intents)

    def _answer(self, z: NDArray[np.float32], found: Features, hop: int) -> tuple[EngineOutput, bool]:
        """The network's answers from `hop` on, up to and with the first that is not finite, and whether all are."""
        outputs, probabilities = self._engine.process(z[hop:])
        warming, is_finite = _judge(outputs, probabilities, found.sample_index[hop:], self._warm_from)
        here = slice(hop, hop + len(outputs))
        return EngineOutput(
            found.sample_index[here], outputs, probabilities, warming, found.healthy_fraction[here]
        ), is_finite

    def _forget(self, sample_index: int) -> None:
        """An answer that is not finite leaves, for the gate to see; what the network remembers of it does not."""
        text = "the network's answer is not finite: restarted, warming"
        self._on_event(ChainEvent(sample_index, "fault", text))
        self._start(sample_index + 1)

    def _start(self, sample_index: int) -> None:
        self._engine.reset()
        self._decision.reset()
        self._warm_from = sample_index + self._warmup_samples


T = TypeVar("T", EngineOutput, Intents)


def _joined(parts: list[T]) -> T:
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(kind)))


@compiled
def _describe(
    index: NDArray[np.int64], masked: NDArray[np.bool_], decimation: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The raw sample that each conditioned index ends with, and the share of each row that is not masked."""
    sample_index = np.empty(len(index), np.int64)
    healthy_fraction = np.empty(len(index), np.float32)
    for i in range(len(index)):
        sample_index[i] = (index[i] + 1) * decimation - 1
        n_masked = 0
        for is_masked in masked[i]:
            n_masked += is_masked
        healthy_fraction[i] = np.float32(1) - np.float32(n_masked) / np.float32(masked.shape[1])
    return sample_index, healthy_fraction


@compiled
def _judge(
    outputs: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    sample_index: NDArray[np.int64],
    warm_from: int,
) -> tuple[NDArray[np.bool_], bool]:
    """Which hops are still warming, and whether the last answer is finite."""
    n = len(outputs)
    warming = np.empty(n, np.bool_)
    for i in range(n):
        warming[i] = sample_index[i] < warm_from
    is_finite = n == 0 or (np.isfinite(outputs[n - 1]).all() and np.isfinite(probabilities[n - 1]).all())
    return warming, is_finite


def _require_widths(bundle: Bundle, shape: StepShape) -> None:
    """The step graph must take and give what the manifest declares."""
    manifest = bundle.manifest
    for what, declared, found in (
        ("features", bundle.normalisation.n_features, shape.n_features),
        ("outputs", len(manifest.outputs), shape.n_outputs),
        ("gestures", len(manifest.gestures), shape.n_gestures),
    ):
        if declared != found:
            raise NervehandError(
                f"the decoder declares {declared} {what}, its step graph has {found}: export the decoder again"
            )


def compile_kernels(bundle: Bundle, info: StreamInfo) -> None:
    """Run a throwaway chain once, so that no live hop waits for a compiler.

    The first call on a machine compiles for some seconds; the machine code is then kept on disk.
    """
    chain = DecodeChain(bundle, info)
    manifest = bundle.manifest
    n = (
        manifest.features.settings.window_samples * manifest.conditioning.decimation
    ) + 2 * bundle.hop_raw_samples
    n += chain.front_end.delay
    samples = np.zeros((n, info.n_channels), np.float32)
    chain.process(SignalBlock(samples, 0))
    # A frame of zeros is flat, and is judged: the kernels' rare ways are compiled too.
    frame = max(bundle.hop_raw_samples, round(info.rate_hz))
    chain.process(SignalBlock(np.zeros((frame, info.n_channels), np.int16), n))
