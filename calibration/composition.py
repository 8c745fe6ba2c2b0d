"""Movements made together, composed from movements made one at a time.

Units of different muscles fire independently, so the powers that they leave at a contact add up, and what is there at
rest is counted once. So several trials give the features of a movement of all of them: what each feature says of powers
is worked out (exactly for Gaussian samples), the powers are added, and the feature is worked out again. A decoder that
has met fingers one at a time takes two of them for a third, or for a fist; from composed trials it learns that they add
up. What each movement adds to a contact is varied as it varies from day to day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from calibration.datasets import Piece
from calibration.scores.dof import states
from firmware_bridge.hand import N_DOF

Values = NDArray[np.float64]

N_COMPOSED = 480
"""Trials: five for each of the 95 postures of five fingers, in or out, and a wrist flexed, extended or neither."""
MOST_VALUES = 40_000_000
"""Of their features: of many channels fewer trials are composed."""
WRIST = 0.45
"""How often the wrist takes part, either way as often; of the fingers none to all do, each number as often."""
APART, APART_S = 0.5, 0.5
"""In so many of the trials the movements begin apart, by up to this long; in the others as they were cued."""
DRIFT_HIGH, DRIFT_LOW = 0.25, 0.4
"""Standard deviations of the logarithm of what a movement adds to a contact's power on another day: of the spikes'
band, contact by contact; of the low band, all contacts together, and each by half as much again."""
LEAST_POWER = 0.3
"""Of the power at rest: no sum of powers is taken to be smaller."""
NEEDED = ("mean_square", "difference_absolute_std", "mean_absolute")
LOW_BAND = ("low_square", "low_common")
_AMPLITUDES = (
    "waveform_length", "mean_absolute", "root_mean_square", "log_detector", "difference_absolute_std",
    "weighted_mean_absolute",
)  # fmt: skip
_COUNTS = ("willison_amplitude", "myopulse_rate")
_POSITIVE = (*_AMPLITUDES, *_COUNTS, *LOW_BAND, "mean_square", "maximum_fractal_length")
_KNOWN = (*_POSITIVE, "v_order_3", "mean_absolute_slope", "zero_crossings", "slope_sign_changes")
_LEAST_SHARE = 1e-3  # of the samples above a threshold: what tells a spread must be above none and below all


@dataclass(frozen=True, slots=True)
class Composed:
    """Composed trials one after another: features and masks (n, f), truth (n, 6), and each one's length in hops."""

    features: NDArray[np.float32]
    masked: NDArray[np.bool_]
    truth: NDArray[np.float32]
    lengths: tuple[int, ...]

    def pieces(self, first_row: int, first_trial: int, segment: int) -> list[Piece]:
        """The trials as pieces of a stream in which they begin at `first_row`."""
        edges = first_row + np.concatenate([[0], np.cumsum(self.lengths)])
        return [
            Piece(start, stop, first_trial + i, 0, 0, segment, False)
            for i, (start, stop) in enumerate(pairwise(edges.tolist()))
        ]


def can_compose(names: Sequence[str]) -> bool:
    """Whether every feature (columns 'channel/feature') is known as a function of powers."""
    own = {name.rsplit("/", 1)[1] for name in names}
    return own.issuperset(NEEDED) and own.issubset(_KNOWN)


def compose(
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
    truth: NDArray[np.float32],
    pieces: Sequence[Piece],
    names: Sequence[str],
    window_samples: int,
    hop_s: float,
    rng: np.random.Generator,
    n_trials: int | None = None,
) -> Composed | None:
    """`n_trials` (None: N_COMPOSED) trials composed of the `pieces`; None where these have no rest or nothing that can
    be put together.

    `features` (n, f) of windows of `window_samples`, not normalised, with columns `names`, channel-major; `truth`
    (n, 6) the positions in the order of DOF_NAMES.
    """
    rows = np.concatenate([np.arange(piece.start, piece.stop) for piece in pieces])
    resting = rows[(np.abs(truth[rows]) < RESTING).all(1)]
    postures = _Postures(truth, pieces)
    if not len(resting) or not postures.can_move:
        return None
    adding = _Adding(names, window_samples)
    power = adding.powers(features.astype(np.float64))
    there = ~masked[resting]
    quiet = np.where(there, power[resting], 0.0).sum(0) / np.maximum(there.sum(0), 1)
    is_low = np.array([name.rsplit("/", 1)[1] in LOW_BAND for name in names])
    n_trials = min(n_trials or N_COMPOSED, MOST_VALUES // (len(names) * max(map(len, pieces))))
    made: list[NDArray[np.float32]] = []
    made_mask: list[NDArray[np.bool_]] = []
    made_truth: list[NDArray[np.float32]] = []
    while len(made) < n_trials:
        chosen = postures.draw(rng)
        apart = round(APART_S / hop_s) if rng.random() < APART else 0
        n = max(len(pieces[i]) for i in chosen)
        total = np.repeat(quiet[None], n, axis=0)
        gone, position = np.zeros((n, len(names)), np.bool_), np.zeros((n, N_DOF), np.float32)
        for i in chosen:
            piece, shift = pieces[i], int(rng.integers(-apart, apart + 1))
            of_piece = np.clip(np.arange(n) + piece.start - shift, piece.start, piece.stop - 1)
            total += (power[of_piece] - quiet) * adding.drift(is_low, rng)
            gone |= masked[of_piece]
            position += truth[of_piece]
        made.append(adding.features(total, quiet).astype(np.float32))
        made_mask.append(gone)
        made_truth.append(position.clip(-1.0, 1.0))
    if not made:
        return None
    return Composed(
        np.concatenate(made), np.concatenate(made_mask), np.concatenate(made_truth), tuple(map(len, made))
    )


RESTING = 0.02
"""Positions nearer to 0 than this are rest."""


class _Postures:
    """Trials by the state that they reach, and which of them make a posture together."""

    def __init__(self, truth: NDArray[np.float32], pieces: Sequence[Piece]) -> None:
        self._trials: dict[tuple[int, ...], list[int]] = {}
        for i, piece in enumerate(pieces):
            own = truth[piece.start : piece.stop]
            furthest = own[np.abs(own).argmax(0), np.arange(N_DOF)]
            key = tuple(states(furthest[None])[0].tolist())
            if any(key):
                self._trials.setdefault(key, []).append(i)
        alone = {key for key in self._trials if sum(map(abs, key)) == 1}
        self._ways = [{key[dof] for key in alone if key[dof]} for dof in range(N_DOF)]

    @property
    def can_move(self) -> bool:
        """Whether any degree of freedom moves alone in some trial."""
        return any(self._ways)

    def draw(self, rng: np.random.Generator) -> list[int]:
        """Trials no two of which move the same degree of freedom; each posture of as many fingers as often."""
        while True:
            left = np.zeros(N_DOF, np.int64)
            left[rng.permutation(N_DOF - 1)[: rng.integers(N_DOF)]] = 1
            if rng.random() < WRIST or not left.any():
                left[N_DOF - 1] = rng.choice([-1, 1])
            left *= [way in self._ways[dof] for dof, way in enumerate(left.tolist())]
            if left.any():
                break
        chosen: list[int] = []
        while left.any():
            want = left.tolist()
            fits = [key for key in self._trials if all(k in (0, w) for k, w in zip(key, want, strict=True))]
            key = fits[int(rng.integers(len(fits)))]  # those that move one degree of freedom always fit
            chosen.append(int(rng.choice(self._trials[key])))
            left -= key
        return chosen


class _Adding:
    """Features (n, f) to numbers that add up when movements do, and back.

    Amplitudes add up as squares; crossings of the mean and turns of the slope as the covariances of neighbours that
    they tell (Rice, Bell Syst Tech J 1944); counts above a deviation as the variance of the Gaussian that is above
    it so often.
    """

    def __init__(self, names: Sequence[str], window_samples: int) -> None:
        self._n_channels = len({name.rsplit("/", 1)[0] for name in names})
        self._kinds = [name.rsplit("/", 1)[1] for name in names[: len(names) // self._n_channels]]
        self._n = window_samples

    def powers(self, features: Values) -> Values:
        own = self._columns(features)
        m, d = own["mean_square"], own["difference_absolute_std"] ** 2
        out = np.empty((len(features), self._n_channels, len(self._kinds)))
        for k, kind in enumerate(self._kinds):
            out[:, :, k] = self._power(kind, own[kind], m, d, own["mean_absolute"])
        return out.reshape(features.shape)

    def features(self, powers: Values, quiet: Values) -> Values:
        """The features of summed powers; `quiet` (f,) are the powers at rest."""
        own, at_rest = self._columns(powers), self._columns(quiet[None])
        for kind in _POSITIVE:
            if kind in own:
                own[kind] = np.maximum(own[kind], LEAST_POWER * at_rest[kind])
        m, d = own["mean_square"], own["difference_absolute_std"]
        out = np.empty((len(powers), self._n_channels, len(self._kinds)))
        for k, kind in enumerate(self._kinds):
            out[:, :, k] = self._feature(kind, own[kind], m, d, np.sqrt(own["mean_absolute"]))
        return out.reshape(powers.shape)

    def drift(self, is_low: NDArray[np.bool_], rng: np.random.Generator) -> Values:
        """By what (f,) a movement's powers differ on another day."""
        each = np.repeat(rng.standard_normal((2, self._n_channels)), len(self._kinds), axis=1)
        low = DRIFT_LOW * (rng.standard_normal() + 0.5 * each[1])
        return np.asarray(np.exp(np.where(is_low, low, DRIFT_HIGH * each[0])))

    def _columns(self, values: Values) -> dict[str, Values]:
        cube = values.reshape(len(values), self._n_channels, len(self._kinds))
        return {kind: cube[:, :, k] for k, kind in enumerate(self._kinds)}

    def _power(self, kind: str, v: Values, m: Values, d: Values, absolute: Values) -> Values:
        """`m` is the mean square of the samples, `d` that of their differences, `absolute` their mean magnitude."""
        if kind in _AMPLITUDES:
            return v * v
        if kind in _COUNTS:
            share = np.clip(v / self._n, _LEAST_SHARE, 1 - _LEAST_SHARE)
            return np.asarray(m / ndtri(share / 2) ** 2)
        match kind:
            case "maximum_fractal_length":
                return np.asarray(np.exp(2 * v))
            case "v_order_3":
                return v**3
            case "mean_absolute_slope":
                return v * absolute
            case "zero_crossings":
                return np.asarray(np.cos(np.pi * v / (self._n - 1)) * m)
            case "slope_sign_changes":
                return np.asarray(np.cos(np.pi * v / (self._n - 2)) * d)
            case _:
                return v

    def _feature(self, kind: str, p: Values, m: Values, d: Values, absolute: Values) -> Values:
        if kind in _AMPLITUDES:
            return np.sqrt(p)
        if kind in _COUNTS:
            return np.asarray(2 * self._n * ndtr(-np.sqrt(m / np.maximum(p, 1e-30))))
        match kind:
            case "maximum_fractal_length":
                return np.asarray(0.5 * np.log(np.maximum(p, 1e-30)))
            case "v_order_3":
                return np.cbrt(p)
            case "mean_absolute_slope":
                return p / np.maximum(absolute, 1e-15)
            case "zero_crossings":
                return self._crossings(p, m, self._n - 1)
            case "slope_sign_changes":
                return self._crossings(p, d, self._n - 2)
            case _:
                return p

    def _crossings(self, covariance: Values, variance: Values, most: int) -> Values:
        correlation = np.clip(covariance / np.maximum(variance, 1e-30), -1.0, 1.0)
        return np.asarray(np.arccos(correlation) * most / np.pi)
