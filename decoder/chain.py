"""The decode chain: blocks of samples in, decided intents out, every stage in order, state carried.

The same code serves the live path, replay and the making of training sets.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from decoder import engines
from decoder.bundle import Bundle
from decoder.carried import Carried, packed, part, under, whole
from decoder.decision import Decision, DecisionSettings
from decoder.engine import StepShape
from decoder.front_end import ChainEvent, Features, FrontEnd
from decoder.health import HealthSettings
from decoder.intent import EngineOutput, Intents
from decoder.kernels import compiled
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo

__all__ = ["STAGES", "ChainEvent", "DecodeChain", "Features", "FrontEnd", "compile_kernels"]

STAGES = ("health", "conditioning", "features", "engine", "decision")


class DecodeChain:
    """A bundle at work on one stream: `process` turns each block into the intents of the hops it completes.

    Raises StreamMismatchError at once where the bundle was made for another stream. After a start, a gap or
    a fault the intents are `warming` for the bundle's `warmup_s`. `on_event` hears of gaps, faults, masks, artefacts.

    An intent rests on the sample that it names, and is there once the delay line of channel health let that leave.
    `health` and `decision` None take the bundle's own settings. Others serve a comparison, or are a wearer's own.
    `engine` is what runs the network (decoder.engines.NAMES); `close` ends it where it is a process of its own.
    """

    def __init__(
        self,
        bundle: Bundle,
        info: StreamInfo,
        on_event: Callable[[ChainEvent], None] = lambda event: None,
        health: HealthSettings | None = None,
        decision: DecisionSettings | None = None,
        engine: str = "auto",
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
        self._engine = engines.load(bundle.step_graph, engine)
        _require_widths(bundle, self._engine.shape)
        self._bundle = bundle
        self._decision = self._deciding(decision or manifest.decision)
        self._warmup_samples = round(manifest.warmup_s * info.rate_hz)
        self._warm_from = 0
        self._on_event = on_event
        self.stage_ns = np.zeros(len(STAGES) + 1, np.int64)
        """time.monotonic_ns of the last `process`: when each stage began, and the end."""
        self.raw: EngineOutput | None = None
        """The network's answers behind the last intents."""
        self.seen: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
        """What it saw for them: normalised features and their mask, (k, f) each."""

    def carried(self) -> Carried:
        """Copies of all that it carries: a chain of the same bundle that is restored from them goes on, bit for bit."""
        memory = dict(zip(map(str, itertools.count()), self._engine.state(), strict=False))
        return {
            **packed({}, warm_from=self._warm_from),
            **under("front_end", self.front_end.carried()),
            **under("engine", memory),
            **under("decision", self._decision.carried()),
        }

    def restore(self, carried: Carried) -> None:
        """Go on from there. NervehandError where it was stored by another release or for another decoder; the chain
        then begins anew."""
        try:
            warm_from = whole(carried, "warm_from")
            self._decision.restore(part("decision", carried))
            memory = part("engine", carried)
            self._engine.restore(tuple(memory[str(i)].astype(np.float32) for i in range(len(memory))))
            self.front_end.restore(part("front_end", carried))
        except (NervehandError, KeyError) as error:
            self._start(0)
            self.front_end.reset()
            if isinstance(error, NervehandError):
                raise
            raise NervehandError(f"the carried state of the network lacks part {error}") from None
        self._warm_from = warm_from

    def close(self) -> None:
        """Nothing is decoded any more."""
        self._engine.close()

    def decide_by(self, settings: DecisionSettings) -> None:
        """Decide by these from the next hop on; what is smoothed and held goes on."""
        before = self._decision.carried()
        self._decision = self._deciding(settings)
        self._decision.restore(before)

    def _deciding(self, settings: DecisionSettings) -> Decision:
        bundle = self._bundle
        span = np.array([o.upper - o.lower for o in bundle.manifest.outputs], np.float32)
        return Decision(settings, bundle.position_map, span, bundle.hop_s)

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
        self.seen = (z, found.masked)
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
        self.raw = joined(answers)
        self.stage_ns[:4] = self.front_end.stage_ns
        self.stage_ns[4] = engine_end_ns
        self.stage_ns[5] = time.monotonic_ns()
        return joined(intents)

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


def joined(parts: list[T]) -> T:
    """One after the other; at least one."""
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(kind)))


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
