"""A person who moves both hands to cues: the nerve of one arm, the other hand in a glove with a clock of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.review import Readings, Review, review
from calibration.front_end import default_front_end
from calibration.records import TrialRecord
from decoder.chain import FrontEnd
from decoder.conditioning_design import design
from decoder.front_end import Features
from decoder.health_settings import default_health
from decoder.normalisation import Compression
from firmware_bridge.hand import N_DOF
from firmware_bridge.nerve.motion import Truth, minimum_jerk
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock

RATE_HZ = 10_000.0
HOP_SAMPLES = 200
REST_S, RAMP_S, HOLD_S = 1.5, 0.3, 1.2
TRIAL_S = REST_S + 2 * RAMP_S + HOLD_S
REACTION_S, REACTION_SPREAD_S, LEVEL_SPREAD = 0.25, 0.05, 0.08  # as of firmware_bridge.nerve.physiology
GLOVE_HZ = 100.0
MOVEMENTS: dict[str, tuple[float, ...]] = {
    "thumb": (1, 0, 0, 0, 0, 0),
    "index": (0, 1, 0, 0, 0, 0),
    "middle": (0, 0, 1, 0, 0, 0),
    "ring": (0, 0, 0, 1, 0, 0),
    "little": (0, 0, 0, 0, 1, 0),
    "fist": (1, 1, 1, 1, 1, 0),
    "pinch": (1, 1, 0, 0, 0, 0),
    "point": (0, 0, 1, 1, 1, 0),
    "wrist flexion": (0, 0, 0, 0, 0, 1),
    "wrist extension": (0, 0, 0, 0, 0, -1),
}
"""Ten movements, so that ten repetitions are a hundred trials; two of them combine fingers."""


@dataclass(frozen=True, slots=True)
class Cued:
    """The hands' plan: what each trial asks for, which of MOVEMENTS each hand makes of it (None: none), how late."""

    asked: tuple[str, ...]
    phantom: tuple[str | None, ...]
    able: tuple[str | None, ...]
    delay_s: NDArray[np.float64]
    level: NDArray[np.float64]
    ramp_s: float = RAMP_S

    def records(self) -> list[TrialRecord]:
        seen: dict[str, int] = {}
        found = []
        for i, name in enumerate(self.asked):
            seen[name] = seen.get(name, 0) + 1
            at = [
                round((i * TRIAL_S + s) * RATE_HZ)
                for s in (0, REST_S / 2, REST_S / 2 + RAMP_S + HOLD_S, TRIAL_S)
            ]
            found.append(TrialRecord(i + 1, seen[name], seen[name], name, "session", *at))
        return found

    def positions(
        self, made: Sequence[str | None], seconds: NDArray[np.float64], late_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n, 6) of a hand at instants, each trial's movement `late_s` after the person's reaction."""
        trial = np.clip((seconds // TRIAL_S).astype(np.int64), 0, len(made) - 1)
        postures = np.array([MOVEMENTS[name] if name else (0.0,) * N_DOF for name in made])
        out = np.zeros((len(seconds), N_DOF))
        for i in (trial - 1, trial):  # a late return reaches into the next trial
            i = np.maximum(i, 0)
            t = seconds - i * TRIAL_S - REST_S / 2 - self.delay_s[i] - late_s[i]
            held_s = 2 * RAMP_S + HOLD_S - self.ramp_s
            part = minimum_jerk(t / self.ramp_s) - minimum_jerk((t - held_s) / self.ramp_s)
            other = postures[i] * (self.level[i] * part)[:, None]
            out = np.where(np.abs(other) > np.abs(out), other, out)
        return out


def plan(repetitions: int, seed: int, movements: Sequence[str] = tuple(MOVEMENTS)) -> Cued:
    """All movements in each repetition, shuffled, both hands as asked."""
    rng = np.random.default_rng(seed)
    names = tuple(movements[i] for _ in range(repetitions) for i in rng.permutation(len(movements)))
    delay = REACTION_S + REACTION_SPREAD_S * rng.uniform(-1.7, 1.7, len(names))
    level = np.clip(1 - LEVEL_SPREAD * np.abs(rng.normal(size=len(names))), 0.7, 1.0)
    return Cued(names, names, names, delay, level)


@dataclass(frozen=True, slots=True)
class PhantomMotion:
    """The phantom's half of a plan, as `SimulatedSubject` takes it."""

    cued: Cued

    def positions(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.cued.positions(self.cued.phantom, index / RATE_HZ, np.zeros(len(self.cued.asked)))

    def truth(self, index: NDArray[np.int64]) -> Truth:
        none = np.zeros(len(index), np.int16)
        return Truth(
            self.positions(index).astype(np.float32), none, np.zeros(len(index), np.int32), none, none
        )


def samples(subject: int, cued: Cued, preset: str = "default") -> NDArray[np.int16]:
    """(n, 16) counts of the nerve while the phantom follows the plan."""
    person = SimulatedSubject(subject, preset=preset, rate_hz=RATE_HZ, motion=PhantomMotion(cued))
    n, step = round(len(cued.asked) * TRIAL_S * RATE_HZ), 10 * round(RATE_HZ)
    return np.concatenate([person.samples(i, min(step, n - i)) for i in range(0, n, step)])


@dataclass(frozen=True, slots=True)
class FromNerve:
    """What `review` takes of a front end."""

    features: Features
    compress: tuple[Compression, ...]
    names: tuple[str, ...]

    def review(self, trials: Sequence[TrialRecord], readings: Readings) -> Review:
        return review(
            trials,
            readings,
            self.features,
            self.compress,
            MOVEMENTS,
            RATE_HZ,
            HOP_SAMPLES,
            feature_names=self.names,
        )


def features_of(counts: NDArray[np.int16], subject: int = 1) -> FromNerve:
    """The counts through the default front end."""
    info = SimulatedSubject(subject, rate_hz=RATE_HZ).info
    choice = default_front_end(info)
    coefficients = design(choice.conditioning, info)
    front_end = FrontEnd(info, coefficients, choice.feature_set, choice.settings, default_health(info.kind))
    step = round(RATE_HZ)
    found = [
        front_end.process(SignalBlock(counts[i : i + step], i, scale_uv=SCALE_UV))[0]
        for i in range(0, len(counts), step)
    ]
    features = Features(
        np.concatenate([part.values for part in found]),
        np.concatenate([part.masked for part in found]),
        np.concatenate([part.sample_index for part in found]),
        np.concatenate([part.healthy_fraction for part in found]),
    )
    return FromNerve(features, choice.compress(front_end.feature_names), front_end.feature_names)


@dataclass(frozen=True, slots=True)
class Glove:
    """How the able hand is measured: late by `lag_s`, and by `lag_spread_s` (s.d.) from trial to trial; on a clock that
    runs `drift_ppm` fast from anywhere, with exponential delays of arrival; noise of the positions."""

    lag_s: float = 0.0
    lag_spread_s: float = 0.0
    drift_ppm: float = 0.0
    jitter_s: float = 0.005
    noise: float = 0.01
    from_s: float = 1234.5

    def late_s(self, n_trials: int, seed: int) -> NDArray[np.float64]:
        """By how much later than the phantom the able hand makes each trial's movement."""
        rng = np.random.default_rng([seed, 1])
        return self.lag_s + self.lag_spread_s * rng.normal(size=n_trials)

    def readings(self, cued: Cued, seed: int, frozen: Mapping[int, str] = {}) -> Readings:
        """What it says over the whole plan; `frozen` trials (from 0) repeat their first reading, or the whole of it is
        "lost" (NaN)."""
        rng = np.random.default_rng([seed, 2])
        n = round(len(cued.asked) * TRIAL_S * GLOVE_HZ)
        seconds = np.arange(n) / GLOVE_HZ
        positions = cued.positions(cued.able, seconds, self.late_s(len(cued.asked), seed))
        positions = (positions + self.noise * rng.normal(size=positions.shape)).astype(np.float32)
        trial = (seconds // TRIAL_S).astype(np.int64)
        for number, how in frozen.items():
            rows = np.flatnonzero(trial == number)
            positions[rows] = np.nan if how == "lost" else positions[rows[0]]
        arrives = np.maximum.accumulate(seconds + rng.exponential(self.jitter_s, n))
        return Readings(
            self.from_s + seconds * (1 + 1e-6 * self.drift_ppm),
            (arrives * RATE_HZ).astype(np.int64),
            positions,
            positions.copy(),
        )
