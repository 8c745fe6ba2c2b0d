"""A bundle at work on a stream, with what is to be known of it before and while it may be deployed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from decoder.bundle import Bundle
from decoder.chain import ChainEvent, DecodeChain, compile_kernels
from decoder.decision import REST, DecisionSettings
from decoder.intent import Intents
from decoder.shadow_records import TOO_SLOW
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo

COSTS = 256
"""Hops over which the time of computing is looked at."""
TRIED_HOPS = 9
"""Of a candidate, before it runs beside anything."""
MOST_WINDOW_S = 2.0
"""The longest window of a candidate's features."""


class Decoder:
    """A bundle at work on a stream. `listener` hears of its chain's events."""

    def __init__(
        self,
        bundle: Bundle,
        info: StreamInfo,
        listener: Callable[[ChainEvent], None] = lambda event: None,
        engine: str = "auto",
    ) -> None:
        self.bundle, self.listener = bundle, listener
        self.chain = DecodeChain(bundle, info, lambda event: self.listener(event), engine=engine)
        self.is_warming = True
        self.is_timed = False
        self._rate_hz, self._costs = info.rate_hz, np.zeros(COSTS)
        self._n_costs = 0
        self._cost_ns = 0
        self._rests_from: int | None = None
        self.newest = 0
        """The sample that its newest hop rests on."""
        self.decision = bundle.manifest.decision
        """By which it decides."""

    def decide_by(self, settings: DecisionSettings) -> None:
        """Decide by these from the next hop on; in the thread that decodes, or before it does."""
        if settings != self.decision:
            self.chain.decide_by(settings)
            self.decision = settings

    def process(self, block: SignalBlock) -> Intents:
        """The intents of the hops that this block completes. Where it `is_timed`, what that costs is added up."""
        if not self.is_timed:
            return self.chain.process(block)
        began_ns = time.thread_time_ns()  # its own computing, however busy the machine is with others
        intents = self.chain.process(block)
        self._cost_ns += time.thread_time_ns() - began_ns
        return intents

    def note(self, intents: Intents, rest_position: float) -> None:
        """What it has decided of the last block: what that cost, and whether it rests."""
        for k in range(len(intents)):
            self._costs[self._n_costs % COSTS] = self._cost_ns / len(intents)
            self._n_costs += 1
            is_rest = intents.gesture[k] == REST and not intents.warming[k]
            if not is_rest or np.abs(intents.positions[k]).max() > rest_position:
                self._rests_from = None
            elif self._rests_from is None:
                self._rests_from = int(intents.sample_index[k])
        if len(intents):
            self._cost_ns = 0
            self.is_warming, self.newest = bool(intents.warming[-1]), int(intents.sample_index[-1])

    def forget_rest(self) -> None:
        """What it decided was not noted for a while."""
        self._rests_from = None

    @property
    def rested_s(self) -> float:
        """For how long it has decided rest, up to its newest hop."""
        return 0.0 if self._rests_from is None else (self.newest - self._rests_from) / self._rate_hz

    def cost_us(self, percent: float) -> float | None:
        """Percentile of its computing per hop, of the last COSTS hops; None before the first."""
        n = min(self._n_costs, COSTS)
        return float(np.percentile(self._costs[:n], percent)) / 1e3 if n else None

    def newest_cost_us(self, n_hops: int) -> float:
        """Mean of its computing per hop, of so many newest hops (at most COSTS); 0 before the first."""
        n = min(n_hops, self._n_costs, COSTS)
        return (
            float(self._costs[np.arange(self._n_costs - n, self._n_costs) % COSTS].mean()) / 1e3 if n else 0.0
        )


def candidate(
    bundle: Bundle,
    info: StreamInfo,
    deployed: Bundle,
    *,
    most_delay: int,
    any_wearer: bool = False,
    engine: str = "auto",
) -> Decoder:
    """A decoder that may run beside `deployed`, its kernels compiled; takes long, so not where it decodes.

    StreamMismatchError where it was made for another stream or, unless `any_wearer`, for another wearer than that one;
    NervehandError where its delay line is longer than `most_delay` samples, its window longer than MOST_WINDOW_S, or
    where it takes TOO_SLOW of a hop or more.
    """
    bundle.require_stream(info)
    if not any_wearer:
        wearer, theirs = deployed.manifest, bundle.manifest
        for what, here, there in (
            ("subject", wearer.subject, theirs.subject),
            ("side", wearer.side, theirs.side),
            ("electrode array", wearer.array, theirs.array),
        ):
            if here != there:
                raise StreamMismatchError(
                    f"{what}: this decoder was made for {there or 'unnamed'}, the one that runs for "
                    f"{here or 'unnamed'}: use that person's own decoder, or override by name"
                )
    window_s = _window_samples(bundle) / info.rate_hz
    if window_s > MOST_WINDOW_S:  # before any memory is taken for it
        raise NervehandError(
            f"its features take a window of {window_s:g} s, a decoder beside another one at most {MOST_WINDOW_S:g} s: "
            "fit it with a shorter one"
        )
    compile_kernels(bundle, info)
    made = Decoder(bundle, info, engine=engine)
    if made.chain.front_end.delay > most_delay:
        raise NervehandError(
            f"its delay line takes {made.chain.front_end.delay} samples, this run at most {most_delay}: start a run "
            "with this decoder"
        )
    tried = Decoder(bundle, info, engine=engine)
    share = hop_share(tried, info)
    tried.chain.close()
    if share >= TOO_SLOW:
        raise NervehandError(
            f"it takes {share:.0%} of a hop on this machine, less than {TOO_SLOW:.0%} is needed: use a smaller network"
        )
    return made


def hop_share(decoder: Decoder, info: StreamInfo) -> float:
    """The median of its own computing per hop as a share of the hop, tried on noise; the decoder is used up by it."""
    hop, warm = (
        decoder.bundle.hop_raw_samples,
        _window_samples(decoder.bundle) + decoder.chain.front_end.delay,
    )
    rng = np.random.default_rng(0)
    hop_ns = decoder.bundle.hop_s * 1e9
    first, costs_ns = 0, list[float]()
    n = -(-warm // hop) * hop + hop  # the first block fills the window, the others complete a hop each
    while len(costs_ns) < TRIED_HOPS and sum(costs_ns) < TRIED_HOPS * hop_ns:
        samples = rng.normal(0.0, 20.0, (n, info.n_channels)).astype(np.float32)
        began_ns = time.thread_time_ns()
        decoder.process(SignalBlock(samples, first))
        if first:
            costs_ns.append(time.thread_time_ns() - began_ns)
        first += n
        n = hop
    return float(np.median(costs_ns)) / hop_ns


def _window_samples(bundle: Bundle) -> int:
    """Of a window, as the stream has them."""
    return bundle.manifest.features.settings.window_samples * bundle.manifest.conditioning.decimation
