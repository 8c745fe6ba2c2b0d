"""What the person does: cued trials, or postures asked for while it runs; positions of six degrees of freedom."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF
from firmware_bridge.nerve.draws import Purpose, generator
from firmware_bridge.nerve.physiology import Physiology

GESTURES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("rest", (0, 0, 0, 0, 0, 0)),
    ("thumb", (1, 0, 0, 0, 0, 0)),
    ("index", (0, 1, 0, 0, 0, 0)),
    ("middle", (0, 0, 1, 0, 0, 0)),
    ("ring", (0, 0, 0, 1, 0, 0)),
    ("little", (0, 0, 0, 0, 1, 0)),
    ("fist", (1, 1, 1, 1, 1, 0)),
    ("wrist flexion", (0, 0, 0, 0, 0, 1)),
    ("wrist extension", (0, 0, 0, 0, 0, -1)),
)
"""Gesture names with their posture in the order of DOF_NAMES."""

POSTURES: NDArray[np.float64] = np.array([posture for _, posture in GESTURES], np.float64)
POSTURES.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cued trials: rest, a ramp, a hold and a ramp back, for each gesture in each repetition, shuffled."""

    repetitions: int = 10
    rest_s: float = 1.5
    ramp_s: float = 0.3
    hold_s: float = 1.2

    def __post_init__(self) -> None:
        if self.repetitions < 1:
            raise NervehandError(f"{self.repetitions} repetitions: give at least one")
        for name in ("rest_s", "ramp_s", "hold_s"):
            if not getattr(self, name) > 0:
                raise NervehandError(
                    f"schedule.{name} is {getattr(self, name)}: give a positive number of seconds"
                )

    @property
    def trial_s(self) -> float:
        return self.rest_s + 2 * self.ramp_s + self.hold_s

    @property
    def n_trials(self) -> int:
        return self.repetitions * (len(GESTURES) - 1)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the person really does, per sample: positions (n, 6) float32 in -1..1; gesture (n,) int16; trial (n,)
    int32 from 1, each a movement with half of the rest on either side; repetition (n,) int16; and what the cue
    asks for meanwhile, (n,) int16."""

    positions: NDArray[np.float32]
    gesture: NDArray[np.int16]
    trial: NDArray[np.int32]
    repetition: NDArray[np.int16]
    cue: NDArray[np.int16]


class Motion(Protocol):
    """What a person does, as a function of the sample index."""

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, 6) in -1..1 at sample indices, which may lie before 0."""

    def truth(self, index: NDArray[np.int64]) -> Truth: ...


class CuedMotion:
    """A schedule followed by a person who reacts late and meets a posture's level only roughly.

    After its last trial it begins again. Each day has its own order of movements.
    """

    def __init__(
        self, person: Physiology, subject: int, day: int, rate_hz: float, schedule: Schedule
    ) -> None:
        self._schedule, self._rate_hz = schedule, rate_hz
        orders = generator(subject, Purpose.ORDER, day)
        movements = np.arange(1, len(GESTURES))
        self._order = np.concatenate([orders.permutation(movements) for _ in range(schedule.repetitions)])
        drawn = [generator(subject, Purpose.TRIAL, day, k) for k in range(schedule.n_trials)]
        self._delay_s = np.array(
            [person.reaction_s + person.reaction_spread_s * one.uniform(-1.7, 1.7) for one in drawn]
        )
        self._level = np.array([1 - person.level_spread * abs(one.normal()) for one in drawn]).clip(0.7, 1.0)

    @property
    def n_samples(self) -> int:
        """How long the schedule is."""
        return round(self._schedule.n_trials * self._schedule.trial_s * self._rate_hz)

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        trial, in_trial_s = self._where(index)
        return np.asarray(
            (POSTURES[self._order[trial]] * self._level[trial, None]) * self._part(trial, in_trial_s)[:, None]
        )

    def truth(self, index: NDArray[np.int64]) -> Truth:
        trial, in_trial_s = self._where(index)
        asked = self._order[trial]
        length_s = 2 * self._schedule.ramp_s + self._schedule.hold_s
        moving_s = in_trial_s - self._delay_s[trial]
        moving, cued = ((t >= 0) & (t < length_s) for t in (moving_s, in_trial_s))
        return Truth(
            self.positions(index).astype(np.float32),
            np.where(moving, asked, 0).astype(np.int16),
            (trial + 1).astype(np.int32),
            (trial // (len(GESTURES) - 1) + 1).astype(np.int16),
            np.where(cued, asked, 0).astype(np.int16),
        )

    def _where(self, index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The trial (from 0) and the seconds since its cue."""
        t_s = (index % self.n_samples) / self._rate_hz
        trial = np.minimum((t_s / self._schedule.trial_s).astype(np.int64), len(self._order) - 1)
        return trial, t_s - trial * self._schedule.trial_s - self._schedule.rest_s / 2

    def _part(self, trial: NDArray[np.int64], in_trial_s: NDArray[np.float64]) -> NDArray[np.float64]:
        s, moving_s = self._schedule, in_trial_s - self._delay_s[trial]
        return minimum_jerk(moving_s / s.ramp_s) - minimum_jerk((moving_s - s.ramp_s - s.hold_s) / s.ramp_s)


class SteeredMotion:
    """Postures asked for while it runs: each is reached `reaction_s` and a ramp after it was asked for.

    `ask` and `intend` may come from another thread. A movement begins no earlier than the one that was asked for
    before it.
    """

    def __init__(
        self, person: Physiology, subject: int, day: int, rate_hz: float, ramp_s: float = 0.3
    ) -> None:
        self._person, self._subject, self._day = person, subject, day
        self._rate_hz, self._ramp_s = rate_hz, ramp_s
        self._moves: tuple[_Move, ...] = ()

    def ask(self, sample_index: int, gesture: int) -> None:
        """From `sample_index` on the person intends this gesture (an index of GESTURES)."""
        self.intend(sample_index, POSTURES[gesture], gesture)

    def intend(
        self,
        sample_index: int,
        posture: Sequence[float] | NDArray[np.floating],
        label: int,
        ramp_s: float | None = None,
    ) -> None:
        """From `sample_index` on the person intends a posture (6,) in -1..1, which its truth calls gesture `label`.

        `ramp_s` None takes the person's own.
        """
        ramp_s = self._ramp_s if ramp_s is None else ramp_s
        drawn = generator(self._subject, Purpose.TRIAL, self._day, len(self._moves))
        p = self._person
        delay_s = p.reaction_s + p.reaction_spread_s * drawn.uniform(-1.7, 1.7)
        level = max(0.7, 1 - p.level_spread * abs(drawn.normal()))
        starts = sample_index + round(delay_s * self._rate_hz)
        if self._moves:
            starts = max(starts, self._moves[-1].starts)
        before = tuple(self.positions(np.array([starts], np.int64))[0])
        after = tuple(np.asarray(posture, np.float64) * level)
        self._moves = (*self._moves, _Move(sample_index, starts, label, before, after, ramp_s))

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        out = np.zeros((len(index), N_DOF))
        moves = self._moves
        if not moves:
            return out
        starts = [move.starts for move in moves]
        first = max(0, bisect.bisect_right(starts, int(index.min())) - 1)
        for move in moves[first:]:
            after = index >= move.starts
            part = minimum_jerk((index[after] - move.starts) / (move.ramp_s * self._rate_hz))[:, None]
            out[after] = np.array(move.before) * (1 - part) + np.array(move.after) * part
        return out

    def truth(self, index: NDArray[np.int64]) -> Truth:
        gesture, cue = np.zeros(len(index), np.int16), np.zeros(len(index), np.int16)
        trial = np.zeros(len(index), np.int32)
        for number, move in enumerate(self._moves, start=1):
            gesture[index >= move.starts] = move.gesture
            cue[index >= move.asked] = move.gesture
            trial[index >= move.asked] = number
        return Truth(
            self.positions(index).astype(np.float32), gesture, trial, np.zeros(len(index), np.int16), cue
        )


@dataclass(frozen=True, slots=True)
class _Move:
    asked: int
    starts: int
    gesture: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    ramp_s: float


def minimum_jerk(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 to 1 over x in 0..1 (Flash and Hogan, J Neurosci 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))
