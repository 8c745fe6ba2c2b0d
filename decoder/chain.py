"""The decode chain: blocks of samples in, decided intents out, every stage in order, state carried.

The same code serves the live path, replay and the making of training sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder import features
from decoder.bundle import Bundle
from decoder.conditioning import Coefficients, Conditioner, conditioned_names
from decoder.decision import Decision
from decoder.engine import StepEngine, StepShape
from decoder.features import FeatureSettings
from decoder.health import ChannelHealth
from decoder.intent import EngineOutput, Intents
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
        healthy_fraction = np.ones(len(index), np.float32)
        if masked.any():
            healthy_fraction -= masked.sum(1, dtype=np.float32) / np.float32(masked.shape[1])
        return Features(values, masked, (index + 1) * self._decimation - 1, healthy_fraction), restarted


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
        self._engine = StepEngine(bundle.step_graph)
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

    def reset(self) -> None:
        """Forget the past: the next block starts anew, warming."""
        self.front_end.reset()

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
        outputs, probabilities = self._engine.process(z)
        if not (np.isfinite(outputs).all() and np.isfinite(probabilities).all()):
            self._on_event(
                ChainEvent(block.first_sample, "fault", "the network's answer is not finite: restarted")
            )
            self.reset()  # what leaves now is not finite either, and the gate answers that
        engine_end_ns = time.monotonic_ns()
        raw = EngineOutput(
            found.sample_index,
            outputs,
            probabilities,
            found.sample_index < self._warm_from,
            found.healthy_fraction,
        )
        self.raw = raw
        intents = self._decision.process(raw)
        self.stage_ns[:4] = self.front_end.stage_ns
        self.stage_ns[4] = engine_end_ns
        self.stage_ns[5] = time.monotonic_ns()
        return intents

    def _start(self, sample_index: int) -> None:
        self._engine.reset()
        self._decision.reset()
        self._warm_from = sample_index + self._warmup_samples


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
