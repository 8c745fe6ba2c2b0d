"""A simulated person who is calibrated: follows cues with both hands, and makes the mistakes that people make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from calibration.conductor import Cue
from calibration.paradigm import Paradigm
from calibration.postures import Posture
from calibration.truth import Side, TruthBlock, TruthInfo
from calibration.truth.hand_joints import Pose
from calibration.truth.simulated import IMPERFECT, Imperfections, SimulatedTruth
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import SteeredMotion
from firmware_bridge.nerve.physiology import person_of
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.sources.simulated import BLOCK_S, SimulatedSource
from firmware_bridge.stream import SignalBlock, StreamInfo

RESTING: Posture = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
POSES: Mapping[Pose, Posture] = {
    Pose.RELAXED: RESTING,
    Pose.OPEN: (-1.0, -1.0, -1.0, -1.0, -1.0, 0.0),
    Pose.FIST: (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    Pose.WRIST_FLEXED: (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    Pose.WRIST_EXTENDED: (0.0, 0.0, 0.0, 0.0, 0.0, -1.0),
}
DEAD_UV = 6000.0
"""A contact that has come off reads the amplifier's end."""


class Mishap(Enum):
    """What goes wrong in a trial."""

    WRONG_FINGER = "wrong finger"  # the phantom makes another movement than the able hand
    STILL_PHANTOM = "still phantom"  # the able hand moves alone
    STILL_HANDS = "still hands"  # neither moves
    FROZEN_GLOVE = "frozen glove"
    DEAD_CHANNELS = "dead channels"  # half of them, until the trial ends


def drawn_mishaps(n: int, paradigm: Paradigm, seed: int) -> dict[int, Mishap]:
    """`n` of a paradigm's trials, by number, in which something goes wrong, all kinds alike; the first round's first
    trials are spared. NervehandError where there are not so many."""
    n_trials = paradigm.repetitions * len(paradigm.movements)
    spared = min(3, n_trials // 4)
    if n > n_trials - spared:
        raise NervehandError(f"{n} mishaps in {n_trials} trials: give at most {n_trials - spared}")
    rng = np.random.default_rng([seed, n])
    numbers = rng.choice(np.arange(spared + 1, n_trials + 1), n, replace=False).tolist()
    kinds = list(Mishap)
    return {number: kinds[i % len(kinds)] for i, number in enumerate(numbers)}


@dataclass(frozen=True, slots=True)
class Wearer:
    """Who is simulated: the subject of a preset on a day, and what the glove on the able hand adds."""

    number: int = 1
    day: int = 0
    preset: str = "default"
    rate_hz: float = 10_000.0
    n_channels: int = 16
    glove: Imperfections = IMPERFECT
    side: Side = "right"
    """Of the phantom hand; the other one is measured."""


class SimulatedWearer:
    """The nerve as a source (`source`), the able hand as a truth (`take`), and a person between who follows cues.

    Both hands are asked for the same posture at the same sample, and react alike, but for what `mishaps` say of a
    trial, by its number. Paced by the host's clock, or as fast as blocks are taken; the samples are the same.
    """

    def __init__(
        self,
        wearer: Wearer,
        paradigm: Paradigm,
        *,
        is_paced: bool,
        mishaps: Mapping[int, Mishap] | None = None,
        first_sample: int = 0,
    ) -> None:
        person = person_of(wearer.preset)
        self._nerve = SteeredMotion(person, wearer.number, wearer.day, wearer.rate_hz)
        self._able = SteeredMotion(person, wearer.number, wearer.day, wearer.rate_hz)
        self._paradigm, self._mishaps = paradigm, dict(mishaps or {})
        subject = SimulatedSubject(
            wearer.number, wearer.day, wearer.preset, wearer.n_channels, wearer.rate_hz, motion=self._nerve
        )
        block = round(BLOCK_S * wearer.rate_hz)
        self.source = _Spoiled(
            SimulatedSource(
                subject, block if is_paced else 50 * block, is_paced=is_paced, first_sample=first_sample
            )
        )
        self._truth = SimulatedTruth(
            self._able,
            wearer.rate_hz,
            side="left" if wearer.side == "right" else "right",
            imperfections=wearer.glove,
            seed=wearer.number,
            first_sample=first_sample,
        )
        self._subject = subject

    @property
    def info(self) -> TruthInfo:
        """Of the able hand."""
        return self._truth.info

    @property
    def problem(self) -> str:
        """Nothing is ever wrong with it that it says itself."""
        return ""

    def take(self) -> TruthBlock | None:
        """What the glove said up to the newest block of the source."""
        newest = self.source.newest
        if newest is None:
            return None
        block = self._truth.readings_until(newest.first_sample + newest.n_samples, newest.arrival_ns)
        return block if len(block) else None

    def positions(self, first: int, n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """What the phantom really did (n, 6): for scoring, never for learning."""
        return self._nerve.positions(np.arange(first, first + n))

    def pose(self, pose: Pose, sample_index: int) -> None:
        """Both hands are asked to hold a pose."""
        self._both(sample_index, POSES[pose], 0)

    def cue(self, cue: Cue) -> None:
        """What the person makes of a cue."""
        trial = cue.trial
        if trial is None:
            return
        mishap = self._mishaps.get(trial.number)
        if cue.kind == "begin":
            self._spoil(mishap, trial.first_sample, trial.stop_sample)
        elif cue.kind == "move" and self._paradigm.kind != "tracking":
            posture = self._paradigm.movements[trial.movement].posture
            label = trial.movement + 1
            able, nerve = posture, posture
            if mishap is Mishap.STILL_HANDS:
                able = nerve = RESTING
            elif mishap is Mishap.STILL_PHANTOM:
                nerve = RESTING
            elif mishap is Mishap.WRONG_FINGER:
                # Another movement far from it in the list, so that it is not merely a part of the same.
                other = (trial.movement + len(self._paradigm.movements) // 2) % len(self._paradigm.movements)
                nerve = self._paradigm.movements[other].posture
            self._able.intend(cue.sample_index, able, label)
            self._nerve.intend(cue.sample_index, nerve, label)
        elif cue.kind in ("release", "abandon"):
            self._both(cue.sample_index, RESTING, 0)

    def follow(self, target: Posture, sample_index: int, label: int) -> None:
        """Both hands go after a moving target: to where it is now, within a fifth of a second."""
        self._able.intend(sample_index, target, label, ramp_s=0.2)
        self._nerve.intend(sample_index, target, label, ramp_s=0.2)

    def _both(self, sample_index: int, posture: Posture, label: int) -> None:
        self._able.intend(sample_index, posture, label)
        self._nerve.intend(sample_index, posture, label)

    def _spoil(self, mishap: Mishap | None, first: int, stop: int) -> None:
        if mishap is Mishap.FROZEN_GLOVE:
            self._truth.freeze(first, stop)
        elif mishap is Mishap.DEAD_CHANNELS:
            self.source.dead = (first, stop)


class _Spoiled:
    """A source of which half of the channels may be dead for a while; it remembers its newest block."""

    def __init__(self, source: SimulatedSource) -> None:
        self._source = source
        self.newest: SignalBlock | None = None
        self.dead: tuple[int, int] | None = None

    @property
    def info(self) -> StreamInfo:
        return self._source.info

    def connect(self) -> None:
        self._source.connect()

    def close(self) -> None:
        self._source.close()

    def blocks(self) -> Iterator[SignalBlock]:
        for block in self._source.blocks():
            spoiled = self._with_dead(block)
            if not block.arrival_ns:  # as fast as they are taken: by a clock that stood at 0 at sample 0
                stop_s = (block.first_sample + block.n_samples) / self.info.rate_hz
                spoiled = replace(spoiled, arrival_ns=round(stop_s * 1e9))
            self.newest = spoiled
            yield spoiled

    def _with_dead(self, block: SignalBlock) -> SignalBlock:
        if self.dead is None:
            return block
        first, stop = (min(max(0, at - block.first_sample), block.n_samples) for at in self.dead)
        if first == stop:
            return block
        samples = block.samples.copy()
        samples[first:stop, ::2] = round(DEAD_UV / block.scale_uv)
        return replace(block, samples=samples)
