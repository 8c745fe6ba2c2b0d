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
from decoder.health import ChannelHealth
from decoder.intent import EngineOutput, Intents
from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo

STAGES = ("health", "conditioning", "features", "engine", "decision")


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """Something that happened at a sample: `kind` is stable ("gap" or "fault"), `text` is for people."""

    sample_index: int
    kind: str
    text: str


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

    Restarts at a gap: filters and windows begin anew at the first sample after it.
    """

    def __init__(
        self, info: StreamInfo, coefficients: Coefficients, feature_set: str, settings: FeatureSettings
    ) -> None:
        self._n_channels = info.n_channels
        self._decimation = coefficients.decimation
        self._health = ChannelHealth(info)
        self._conditioner = Conditioner(coefficients, info.n_channels)
        names = conditioned_names(info.channel_names, coefficients.rereference)
        self._extractor = features.load(feature_set).make(settings, names)
        self.next_sample: int | None = None
        """Index of the sample that continues the stream; None before the first block and after a reset."""
        self.masked_now = np.zeros(info.n_channels, np.bool_)
        """Which channels the last sample found masked."""
        self.stage_ns = np.zeros(4, np.int64)
        """time.monotonic_ns of the last `process`: when each of the three stages began, and the end."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One per column of the features."""
        return self._extractor.names

    def reset(self) -> None:
        """Forget everything: the next block starts anew, wherever it begins."""
        self.next_sample = None

    def process(self, block: SignalBlock) -> tuple[Features, bool]:
        """The block's features, and whether the chain restarted before it (a first block is no restart).

        Raises StreamMismatchError where the block has another number of channels.
        """
        if block.samples.ndim != 2 or block.samples.shape[1] != self._n_channels:
            raise StreamMismatchError(
                f"a block of shape {block.samples.shape} in a stream of {self._n_channels} channels: "
                "the front-end and the decoder must agree"
            )
        restarted = self.next_sample is not None and self.next_sample != block.first_sample
        if self.next_sample != block.first_sample:
            self._health.reset()
            self._conditioner.reset()
            self._extractor.reset()
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
        if block.n_samples:
            self.masked_now = healthy.mask[-1]
        sample_index, healthy_fraction = _describe(index, masked, self._decimation)
        return Features(values, masked, sample_index, healthy_fraction), restarted


class DecodeChain:
    """A bundle at work on one stream: `process` turns each block into the intents of the hops it completes.

    Raises StreamMismatchError at once where the bundle was made for another stream. After a start, a gap or
    a fault the intents are `warming` for the bundle's `warmup_s`. `on_event` hears of gaps and faults.
    """

    def __init__(
        self, bundle: Bundle, info: StreamInfo, on_event: Callable[[ChainEvent], None] = lambda event: None
    ) -> None:
        bundle.require_stream(info)
        manifest = bundle.manifest
        self.front_end = FrontEnd(
            info, bundle.coefficients, manifest.features.set, manifest.features.settings
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
        began_anew = self.front_end.next_sample != block.first_sample
        found, restarted = self.front_end.process(block)
        if began_anew:
            self._start(block.first_sample)
        if restarted:
            text = f"{block.lost_before} samples lost before sample {block.first_sample}: restarted, warming"
            self._on_event(ChainEvent(block.first_sample, "gap", text))
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
    samples = np.zeros((n, info.n_channels), np.float32)
    chain.process(SignalBlock(samples, 0))
    counts = np.zeros((bundle.hop_raw_samples, info.n_channels), np.int16)
    chain.process(SignalBlock(counts, n))
