"""From blocks of samples to feature vectors: what training and decoding share, and what is said on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder import features
from decoder.carried import Carried, packed, part, real, refill, under, whole, whole_or_none
from decoder.conditioning import Coefficients, Conditioner, conditioned_names
from decoder.features import FeatureSettings
from decoder.health import Cause, ChannelHealth, HealthEvent, HealthEventKind, HealthSettings
from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """Something that happened at a sample: `kind` is stable, `text` is for people, `first` and `second` are numbers.

    "gap": the chain restarted after a loss; "fault": after an answer that is not finite; "overload": after `first`
    samples that had come but were left out, as they were too late to be of use. The others restart nothing:
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
        return self.kind in ("gap", "fault", "overload")


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
        self._filled = self._filled_to = 0  # samples bridged and not said yet, and where the last of them end
        self._filled_due = -np.inf  # the sample from which the next word of them may come
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

    def carried(self) -> Carried:
        """Copies of all that it carries from block to block."""
        own = packed(
            {"masked_now": self.masked_now}, next=self.next_sample, judged=self.judged, filled=self._filled,
            filled_to=self._filled_to, filled_due=float(self._filled_due),
        )  # fmt: skip
        return {
            **own,
            **under("health", self._health.carried()),
            **under("conditioner", self._conditioner.carried()),
            **under("extractor", self._extractor.carried()),
        }

    def restore(self, carried: Carried) -> None:
        """Go on from there; forgets everything where it is not of such a front end."""
        try:
            self._health.restore(part("health", carried))
            self._conditioner.restore(part("conditioner", carried))
            self._extractor.restore(part("extractor", carried))
            next_sample, judged = whole_or_none(carried, "next"), whole_or_none(carried, "judged")
            filled, filled_to = whole(carried, "filled"), whole(carried, "filled_to")
            filled_due = real(carried, "filled_due")
            masked_now = np.zeros_like(self.masked_now)
            refill({"masked_now": masked_now}, carried)
        except NervehandError:
            self.reset()
            raise
        self.next_sample, self.judged, self.masked_now = next_sample, judged, masked_now
        self._filled, self._filled_to, self._filled_due = filled, filled_to, filled_due

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
                self._filled_due = -np.inf
            self._conditioner.reset()
            self._extractor.reset()
        elif block.first_sample > expected:
            if self._filled and block.first_sample >= self._filled_due:
                self._say_filled()  # of the second before, before it is added to
            self._filled, self._filled_to = (
                self._filled + block.first_sample - expected,
                block.first_sample,
            )
        if self._filled and block.first_sample + block.n_samples >= self._filled_due:
            self._say_filled()
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

    def _say_filled(self) -> None:
        """The first loss is said at once; those of the second that follows when it is over, wherever blocks are cut."""
        text = f"{self._filled} samples lost up to sample {self._filled_to} and bridged"
        self._on_event(ChainEvent(self._filled_to, "filled", text, self._filled))
        self._filled, self._filled_due = 0, max(self._filled_due, self._filled_to) + self._info.rate_hz

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
        case Cause.RECOVERING:
            return "not back yet from an artefact"
        case _:
            return event.cause.label


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
