"""The fit loop: a network trained with carried state on shuffled trial pieces, exactly as it will run.

Streams of pieces in fresh random orders are cut into chunks of about 1.3 s; gradients stop at a chunk's start,
the state does not. What is deployed is a running average of the weights (Polyak averaging), which is also what
a cancelled fit keeps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.datasets import Piece
from calibration.networks import StepModule, load
from calibration.stepgraph import Dense, StepNetwork, to_whole_numbers
from calibration.streams import Chunk, ShuffledStreams
from firmware_bridge.errors import NervehandError

N_STREAMS = 48
CHUNK_S = 1.28
EPOCHS = 80.0
FEWEST_STEPS, MOST_STEPS = 300, 900
PEAK_RATE = 4e-3
LAST_RATE = 0.1
"""Part of the peak rate at which training ends: the average of the weights does the rest."""
WARM_UP = 0.15
WEIGHT_DECAY = 0.02
LARGEST_GRADIENT = 1.0
AVERAGE_FROM, AVERAGE_SPAN = 0.3, 0.11
"""Parts of the training: when the running average of the weights begins, and how far back it reaches."""
LABEL_SMOOTHING = 0.05
TRUTH_WEIGHT = 3.0
"""Of the squared error of the standardised truth, beside the cross-entropy of the gestures."""
GAIN, NOISE = 0.1, 0.1
"""Standard deviations, in units of the normalised features: of a gain per column, anew in every chunk, and of noise at
every hop, which grows with the root of the columns that repeat each other."""
MIXED = 0.5
"""Up to this part of another stream's features is mixed into a chunk, whose labels stay (after mixup, Zhang et al.,
ICLR 2018): rest that is not quite rest is still rest. Only without truth, for a mixture has no position of its own."""
MASKED = 0.005
"""Part of the channels that a chunk does not hear, so that the decoder survives a masked channel."""
LOSING, MOST_LOST = 0.5, 0.4
"""Of an implant, whose contacts fail for good: so many of the chunks miss up to this part of the channels. As many lost
everywhere would cost accuracy where nothing is lost."""
PROGRESS_EVERY = 5


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A normalised feature stream, what was true at each hop, and the pieces of it to learn from.

    `z` (n, f) float32; `label` (n,) int64, -1 where unknown; `truth` (n, d) float32, NaN where unknown, or
    None; `n_gestures` counts rest. Columns are channel-major, `features_per_channel` of them for each channel.
    `loses_channels`: contacts fail for good, several of them; the decoder is trained without some. `repeats` (f,): how
    many columns tell what each one tells, by which noise is set; None takes all of a channel's features together.
    """

    z: NDArray[np.float32]
    label: NDArray[np.int64]
    truth: NDArray[np.float32] | None
    pieces: tuple[Piece, ...]
    hop_s: float
    n_gestures: int
    features_per_channel: int = 1
    loses_channels: bool = False
    repeats: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.z)
        if len(self.label) != n or (self.truth is not None and len(self.truth) != n):
            raise NervehandError(f"{n} feature vectors need as many labels and rows of truth")
        if self.features_per_channel < 1 or self.z.shape[1] % self.features_per_channel:
            raise NervehandError(
                f"{self.z.shape[1]} columns are no whole number of channels of {self.features_per_channel} features"
            )
        if self.repeats is not None and self.repeats.shape != self.z.shape[1:]:
            raise NervehandError(f"{self.z.shape[1]} columns need as many repeats, not {len(self.repeats)}")
        if not np.isfinite(self.z).all():
            raise NervehandError("a normalised feature is not finite: check the normalisation")
        if n and not -1 <= self.label.min() <= self.label.max() < self.n_gestures:
            raise NervehandError(
                f"labels run from {self.label.min()} to {self.label.max()}, but there are {self.n_gestures} gestures"
            )

    @property
    def rows(self) -> NDArray[np.int64]:
        """The hops of all pieces."""
        return np.concatenate([np.arange(p.start, p.stop) for p in self.pieces] or [np.zeros(0, np.int64)])


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a fit stands; `loss` is a running mean."""

    step: int
    n_steps: int
    loss: float
    elapsed_s: float
    left_s: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The weights to deploy, matrices rounded to whole numbers of a step, and how they came about.

    `metrics`: final_loss, steps, training_s, n_parameters.
    """

    step_network: StepNetwork
    metrics: dict[str, float]
    stopped_early: bool


def train(
    data: TrainingSet,
    network: str,
    seed: int = 0,
    threads: int = 0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    n_steps: int | None = None,
) -> Trained:
    """Train `network` on the pieces of `data`; the same seed and number of threads give the same weights.

    `threads` 0 takes what torch takes by default. `should_stop` is asked after every step: once it says so,
    the best weights so far are returned. Raises NervehandError where the data cannot teach anything.
    """
    n_hops = min(128, max(32, round(CHUNK_S / data.hop_s)))
    with torch_set_up(seed, threads):
        rng = np.random.default_rng(seed)
        streams = ShuffledStreams(data.pieces, N_STREAMS, n_hops, data.hop_s, rng)
        task = _Task(data)
        if n_steps is None:
            n_steps = round(EPOCHS * len(data.rows) / (N_STREAMS * n_hops))
            n_steps = min(max(n_steps, FEWEST_STEPS), MOST_STEPS)
        module = load(network).make(data.z.shape[1], task.n_outputs, data.n_gestures)
        module.train()
        fit = _Fit(module, n_steps)
        began, step, loss = time.monotonic(), 0, math.nan
        for step in range(1, n_steps + 1):
            now = fit.step(task, streams.next_chunk())
            loss = now if step == 1 else loss + 0.05 * (now - loss)
            if not math.isfinite(loss):
                raise NervehandError(f"training diverged at step {step}: the loss is {loss}")
            stop = should_stop()
            if step % PROGRESS_EVERY == 0 or step == n_steps or stop:
                elapsed = time.monotonic() - began
                on_progress(Progress(step, n_steps, loss, elapsed, elapsed / step * (n_steps - step)))
            if stop:
                break
        network_weights = to_whole_numbers(_in_truth_units(fit.averaged().step_network(), task))
    metrics = {
        "final_loss": loss,
        "steps": float(step),
        "training_s": time.monotonic() - began,
        "n_parameters": float(network_weights.n_parameters),
    }
    return Trained(network_weights, metrics, stopped_early=step < n_steps)


class _Task:
    """What is to be learned, as tensors: features, classes, standardised truth, and the loss."""

    def __init__(self, data: TrainingSet) -> None:
        rows = data.rows
        self._z = torch.from_numpy(np.ascontiguousarray(data.z))
        self._features_per_channel = data.features_per_channel
        self._loses_channels = data.loses_channels
        repeats = data.repeats
        if repeats is None:
            repeats = np.full(data.z.shape[1], data.features_per_channel, np.float32)
        self._noise = torch.from_numpy((NOISE * np.sqrt(repeats.astype(np.float64))).astype(np.float32))
        known = data.label[rows]
        counts = np.bincount(known[known >= 0], minlength=data.n_gestures)
        self._label = torch.from_numpy(np.ascontiguousarray(data.label))
        self._class_weight: Tensor | None = None
        if np.count_nonzero(counts) > 1:
            weight = 1.0 / np.sqrt(np.maximum(counts, 1))
            weight *= counts.sum() / (weight * counts).sum()
            self._class_weight = torch.from_numpy(weight.astype(np.float32))
        self.mean = self.scale = np.zeros(0)
        self._truth: Tensor | None = None
        if data.truth is not None:
            truth = data.truth[rows].astype(np.float64)
            if not np.isfinite(truth).any(0).all():
                raise NervehandError("a truth column has no value in the training trials: leave it out")
            self.mean, spread = np.nanmean(truth, 0), np.nanstd(truth, 0)
            self.scale = np.where(spread > 0, spread, 1.0)
            standardised = (data.truth - self.mean) / self.scale
            self._truth = torch.from_numpy(standardised.astype(np.float32))
        if self._class_weight is None and self._truth is None:
            raise NervehandError(
                "the training trials hold one class only and no truth: there is nothing to learn"
            )

    @property
    def n_outputs(self) -> int:
        return len(self.mean)

    def features(self, rows: Tensor) -> Tensor:
        """The rows' features (t, b, f) as they might have been: mixed, with a gain and noise, channels masked."""
        z = self._z[rows]
        _, b, f = z.shape
        if self._truth is None:
            z = torch.lerp(z, z[:, torch.randperm(b)], MIXED * torch.rand(1, b, 1))
        z = z * torch.exp(GAIN * torch.randn(1, b, f)) + self._noise * torch.randn(z.shape)
        lost: float | Tensor = MASKED
        if self._loses_channels:
            lost = MOST_LOST * torch.rand(1, b, 1) * (torch.rand(1, b, 1) < LOSING)
        heard = (torch.rand(1, b, f // self._features_per_channel) >= lost).float()
        return z * heard.repeat_interleave(self._features_per_channel, 2)

    def loss(self, outputs: Tensor | None, logits: Tensor, rows: Tensor, scored: Tensor) -> Tensor:
        """Cross-entropy of the known labels plus squared error of the known truth, over the scored hops."""
        total = logits.new_zeros(())
        if self._class_weight is not None:
            label = torch.where(scored, self._label[rows], -1)
            n_known = (label >= 0).sum().clamp(min=1)
            cross_entropy = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1),
                label.flatten(),
                weight=self._class_weight,
                ignore_index=-1,
                reduction="sum",
                label_smoothing=LABEL_SMOOTHING,
            )
            total = total + cross_entropy / n_known
        if self._truth is not None and outputs is not None:
            truth = self._truth[rows]
            known = torch.isfinite(truth) & scored[..., None]
            error = torch.where(known, outputs - truth.nan_to_num(), 0.0)
            total = total + TRUTH_WEIGHT * error.square().sum() / known.sum().clamp(min=1)
        return total


class _Fit:
    """The network, its optimiser, the streams' carried state and the running average of the weights."""

    def __init__(self, module: StepModule, n_steps: int) -> None:
        self._module, self._n_steps, self._done = module, n_steps, 0
        self._state = module.initial_state(N_STREAMS)
        decayed = [p for p in module.parameters() if p.ndim > 1]
        plain = [p for p in module.parameters() if p.ndim == 1]
        groups = [
            {"params": decayed, "weight_decay": WEIGHT_DECAY},
            {"params": plain, "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.99))
        self._average: dict[str, Tensor] | None = None

    def step(self, task: _Task, chunk: Chunk) -> float:
        """One gradient step on a chunk; the loss before it."""
        rate = PEAK_RATE * one_cycle(self._done / self._n_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        kept = torch.from_numpy(~chunk.fresh).float()[:, None]
        state = tuple(part * kept for part in self._state)
        rows = torch.from_numpy(chunk.rows)
        outputs, logits, self._state = self._module(task.features(rows), state)
        loss = task.loss(outputs, logits, rows, torch.from_numpy(chunk.scored))
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub leaves it untyped
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), LARGEST_GRADIENT)
        self._optimiser.step()
        self._done += 1
        if self._done >= AVERAGE_FROM * self._n_steps:
            self._update_average()
        return float(loss.detach())

    def averaged(self) -> StepModule:
        """The network with the average of its weights, ready to export."""
        if self._average is not None:
            self._module.load_state_dict(self._average)
        self._module.eval()
        return self._module

    def _update_average(self) -> None:
        current = self._module.state_dict()
        if self._average is None:
            self._average = {name: value.clone() for name, value in current.items()}
            return
        weight = min(1.0, 1 / (AVERAGE_SPAN * self._n_steps))
        for name, value in current.items():
            if value.is_floating_point():
                self._average[name].lerp_(value, weight)


def one_cycle(part: float) -> float:
    """The learning rate, as a part of its peak, after this part of the training: a ramp up, a half cosine down."""
    if part < WARM_UP:
        return max(part / WARM_UP, 0.02)
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * (part - WARM_UP) / (1 - WARM_UP)))


def _in_truth_units(network: StepNetwork, task: _Task) -> StepNetwork:
    if network.outputs is None:
        return network
    weight = network.outputs.weight.astype(np.float64) * task.scale
    bias = network.outputs.bias.astype(np.float64) * task.scale + task.mean
    outputs = Dense(weight.astype(np.float32), bias.astype(np.float32))
    return StepNetwork(network.layers, outputs, network.gesture)


@contextmanager
def torch_set_up(seed: int, threads: int) -> Iterator[None]:
    """Threads, seed and denormals as training wants them; all put back afterwards."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
