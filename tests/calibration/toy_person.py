"""A person made of noise: each movement makes other channels louder. Cheap, and easy to tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from calibration.conductor import Cue
from calibration.paradigm import FIVE_FINGERS, Paradigm, Timing
from calibration.postures import Posture
from calibration.simulated_wearer import POSES
from calibration.truth import TruthBlock, TruthInfo
from calibration.truth.hand_joints import Pose
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.nerve.motion import minimum_jerk
from firmware_bridge.stream import SignalBlock, StreamInfo

RATE_HZ = 4000.0
BLOCK = 400
PARADIGM = Paradigm(
    repetitions=2,
    movements=FIVE_FINGERS[:3],
    timing=Timing(rest_s=1.0, move_s=0.2, hold_s=0.6, round_rest_s=0.5),
    most_redone=2,
)
INFO = StreamInfo(RATE_HZ, tuple(f"c{i}" for i in range(6)), "nerve", mains_hz=50.0)
GLOVE = TruthInfo(
    "toy glove",
    tuple(f"{name} sensor" for name in DOF_NAMES[:5]),
    ("raw",) * 5,
    tuple(f"{name} mcp" for name in DOF_NAMES[:5]),
    100.0,
    "left",
)
REACTION_S, RAMP_S = 0.25, 0.15
LEAD_S = 0.06
"""The nerve ahead of the movement, as in a real person."""


class _Hand:
    """Six positions by the sample, from what was asked."""

    def __init__(self) -> None:
        self._asked: list[tuple[int, Posture]] = [(-(10**9), (0.0,) * 6)]  # type: ignore[list-item]  # six of them

    def ask(self, at: int, posture: Posture) -> None:
        self._asked.append((at + round(REACTION_S * RATE_HZ), posture))

    def at(self, index: np.ndarray) -> np.ndarray:
        out = np.zeros((len(index), 6))
        for (_, before), (start, after) in pairwise(self._asked):
            part = minimum_jerk((index - start) / (RAMP_S * RATE_HZ))[:, None]
            moved = index >= start
            out[moved] = (np.array(before) * (1 - part) + np.array(after) * part)[moved]
        return out


class ToyPerson:
    """Source, able hand and person in one; `nothing_moves` names trials in which neither hand does. The able hand moves
    `lag_s` later. With `latency_s` blocks say when they came, and readings come so much later than they were taken."""

    def __init__(
        self,
        first_sample: int = 0,
        nothing_moves: tuple[int, ...] = (),
        lag_s: float = 0.0,
        latency_s: float | None = None,
    ) -> None:
        self._lag, self._latency_s = round(lag_s * RATE_HZ), latency_s
        self.info_of_truth = GLOVE
        self._nerve, self._able = _Hand(), _Hand()
        self._at, self._taken = first_sample, first_sample
        self._nothing_moves = nothing_moves
        self.problem = ""
        self.asked: list[str] = []
        self.glove_gain, self.glove_offset = 100.0, 0.0

    @property
    def info(self) -> TruthInfo:
        return GLOVE

    def blocks(self) -> Iterator[SignalBlock]:
        while True:
            yield self.block()

    def block(self) -> SignalBlock:
        index = np.arange(self._at, self._at + BLOCK)
        self._at += BLOCK
        rng = np.random.default_rng([7, int(index[0])])
        loud = 1 + 6 * np.maximum(self._nerve.at(index + LEAD_S * RATE_HZ), 0)
        samples = rng.normal(0, 20, (BLOCK, 6)) * loud
        arrival_ns = 0 if self._latency_s is None else round(self._at / RATE_HZ * 1e9)
        return SignalBlock(
            np.rint(samples).astype(np.int16), int(index[0]), scale_uv=0.5, arrival_ns=arrival_ns
        )

    def take(self) -> TruthBlock | None:
        every = round(RATE_HZ / GLOVE.rate_hz)
        index = np.arange(-(-self._taken // every) * every, self._at, every)
        self._taken = self._at
        rng = np.random.default_rng([8, self._at])
        values = (
            self.glove_gain * self._able.at(index - self._lag)[:, :5]
            + self.glove_offset
            + rng.normal(0, 0.5, (len(index), 5))
        )
        arrival = ((index / RATE_HZ + (self._latency_s or 0.0)) * 1e9).astype(np.int64)
        return TruthBlock(values.astype(np.float32), index / RATE_HZ, arrival)

    def pose(self, pose: Pose, sample_index: int) -> None:
        self.asked.append(pose.value)
        self._able.ask(sample_index, POSES[pose])

    def cue(self, cue: Cue) -> None:
        self.asked.append(cue.kind)
        if cue.kind == "move" and cue.trial is not None and cue.trial.number not in self._nothing_moves:
            self._both(cue.sample_index, PARADIGM.movements[cue.trial.movement].posture)
        elif cue.kind in ("release", "abandon"):
            self._both(cue.sample_index, (0.0,) * 6)  # type: ignore[arg-type]  # six of them

    def follow(self, target: Posture, sample_index: int, label: int) -> None:
        self._both(sample_index, target)

    def _both(self, at: int, posture: Posture) -> None:
        self._nerve.ask(at, posture)
        self._able.ask(at, posture)
