"""Which trials can teach, and why others cannot: the able hand against the cue, its sensor, the nerve's health, and
what the nerve says against what the able hand did. docs/alignment.md has reasons and figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.nerve_opinion import ALIEN_SHARE, opinions
from calibration.records import Reason, TrialRecord, Verdict
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF

LEAST_MOVED = 0.3
"""Of the way that was asked for. Less is a twitch: the labels' onset and return would be noise."""
WRONG_BY = 0.3
"""By how much nearer another movement's posture must be than the asked one's: neighbouring fingers come along by 0.1 to
0.3 (Zatsiorsky, Li and Latash, Exp Brain Res 2000), which must not count."""
FROZEN_S = 0.4
"""A sensor with noise never says exactly the same for so long: 40 readings at 100 Hz, 12 of a camera."""
USUAL_REPEAT_S = 0.1
"""A sensor that usually repeats itself longer than this is a coarse one, whose repetitions tell nothing."""
LOST_SHARE = 0.1
"""Of the time from the cue to the end: a tenth of 2.5 s hides the onset or the return of a movement."""
MASKED_SHARE = 0.25
"""Of the features of channels that are there otherwise. Decoders are trained to miss up to 0.4 of an array, but a
label that a quarter of the channels cannot see teaches them to guess."""
USUALLY_MASKED = 0.5
"""A column masked more often than this over all trials is gone for good: no single trial's fault."""
SAMPLES_SHARE = 0.05
"""Of the hops from the cue to the end: 0.12 s of 2.5 s, one feature window."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is found of one trial. `agreement` (-1..1) is as in TrialRecord, None where unknown; `masked_share` 0..1 is
    the part of all features that were masked during the trial. `nerve_said` is the movement that the nerve made most
    likely, "rest" for none, "" where it could not be asked."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    agreement: float | None
    masked_share: float
    nerve_said: str = ""


@dataclass(frozen=True, slots=True)
class Hops:
    """k hops of the front end beside the aligned able hand.

    `sample_index` (k,) ascends; `z` and `masked` (k, f) are normalised features and their mask; `positions` (k, 6) what
    the able hand did, held where `known` (k,) is False; `measured` (6,) which degrees of freedom its sensor tells.
    """

    sample_index: NDArray[np.int64]
    z: NDArray[np.float32]
    masked: NDArray[np.bool_]
    positions: NDArray[np.floating]
    known: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    hop_samples: int

    def __post_init__(self) -> None:
        k = len(self.sample_index)
        shapes = {
            "z": (self.z.shape, (k, *self.z.shape[1:])),
            "masked": (self.masked.shape, self.z.shape),
            "positions": (self.positions.shape, (k, N_DOF)),
            "known": (self.known.shape, (k,)),
            "measured": (self.measured.shape, (N_DOF,)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise NervehandError(f"{name} has shape {found} for {k} hops: give {wanted}")

    def rows(self, first: int, stop: int) -> slice:
        """The hops that rest on samples `first` up to and without `stop`."""
        a, b = np.searchsorted(self.sample_index, [first, stop])
        return slice(int(a), int(b))


def judge(
    trials: Sequence[TrialRecord],
    hops: Hops,
    movements: Mapping[str, Sequence[float] | NDArray[np.floating]],
    frozen: Sequence[bool],
    predicted: NDArray[np.floating] | None = None,
    *,
    ask_nerve: bool = True,
) -> list[Judgement]:
    """The trials' judgements in their order.

    `movements` are postures (6,) by name; `frozen` says of each trial whether its sensor froze (`froze`);
    `predicted` (k, 6) is what models of the other trials make of the nerve, for the agreement. `ask_nerve` False looks
    at the able hand and the channels' health only, as before the lag is known.

    Raises NervehandError where a trial's movement has no posture.
    """
    if len(frozen) != len(trials):
        raise NervehandError(
            f"{len(trials)} trials and {len(frozen)} words on frozen sensors: give one of each"
        )
    postures = _postures(trials, movements)
    gone = _gone(trials, hops)
    found = [
        _able_hand(trial, hops, postures, froze) + _nerve(trial, hops, gone)
        for trial, froze in zip(trials, frozen, strict=True)
    ]
    askable = [i for i, reasons in enumerate(found) if ask_nerve and not reasons]
    said = [""] * len(trials)
    spans = [hops.rows(trials[i].first_sample, trials[i].stop_sample) for i in askable]
    for i, opinion in zip(
        askable,
        opinions(hops.z, hops.positions, spans, [trials[i].movement for i in askable]),
        strict=True,
    ):
        said[i] = opinion.said
        if opinion.alien_share > ALIEN_SHARE:
            found[i] = (Reason.NERVE_BAD,)
        elif opinion.contradicts:
            found[i] = (Reason.HANDS_DISAGREE,)
            if opinion.said == "rest":
                found[i] = (Reason.HANDS_DISAGREE, Reason.NOTHING_MOVED)
    return [
        Judgement(
            Verdict.BAD if reasons else Verdict.GOOD,
            reasons,
            _agreement(trial, hops, predicted),
            _masked_share(trial, hops),
            words,
        )
        for trial, reasons, words in zip(trials, found, said, strict=True)
    ]


def froze(
    trials: Sequence[TrialRecord], at: NDArray[np.floating], values: NDArray[np.floating], rate_hz: float
) -> list[bool]:
    """Whether the sensor repeated itself exactly for FROZEN_S within each trial.

    `at` (m,) are the samples at which the values (m, d) were read, ascending. A sensor so coarse that it usually
    repeats itself is never said to be frozen.
    """
    same = np.zeros(len(at), np.bool_)
    if len(at) > 1:
        # What was not seen repeats nothing: it is lost.
        same[1:] = (values[1:] == values[:-1]).all(1)
    since = np.arange(len(at)) - np.maximum.accumulate(np.where(same, 0, np.arange(len(at))))
    began = at[np.arange(len(at)) - since]
    longest = np.zeros(len(trials))
    for i, trial in enumerate(trials):
        rows = slice(*np.searchsorted(at, [trial.first_sample, trial.stop_sample]).tolist())
        lasted = at[rows] - np.maximum(began[rows], trial.first_sample)
        longest[i] = lasted.max(initial=0.0) / rate_hz
    usual = float(np.median(longest)) if len(longest) > 1 else 0.0
    return [bool(own > FROZEN_S and usual <= USUAL_REPEAT_S) for own in longest]


def _postures(
    trials: Sequence[TrialRecord], movements: Mapping[str, Sequence[float] | NDArray[np.floating]]
) -> dict[str, NDArray[np.float64]]:
    for trial in trials:
        if trial.movement not in movements:
            raise NervehandError(
                f"trial {trial.number} asks for {trial.movement!r}, which has no posture: give one among the movements"
            )
    return {name: np.asarray(posture, np.float64) for name, posture in movements.items()}


def _able_hand(
    trial: TrialRecord, hops: Hops, postures: Mapping[str, NDArray[np.float64]], froze: bool
) -> tuple[Reason, ...]:
    rows = hops.rows(trial.cue_sample, trial.stop_sample)
    if froze:
        return (Reason.TRUTH_FROZE,)
    if rows.stop > rows.start and (~hops.known[rows]).mean() > LOST_SHARE:
        return (Reason.TRUTH_LOST,)
    asked = np.where(hops.measured, postures[trial.movement], 0.0)
    if rows.stop == rows.start or not asked.any():
        return ()  # nothing to judge by: no hop, or a movement that the sensor does not see
    before = hops.rows(trial.first_sample, trial.cue_sample)
    rest = np.median(hops.positions[before], axis=0) if before.stop > before.start else np.zeros(N_DOF)
    away = hops.positions[rows] - rest
    size = np.abs(away).max(1)
    if np.percentile(size, 90) < LEAST_MOVED * np.abs(asked).max():
        return (Reason.NOTHING_MOVED,)
    held = np.median(away[size > 0.8 * np.percentile(size, 90)], axis=0)
    distance = float(np.linalg.norm(held - asked))
    others = [
        float(np.linalg.norm(held - np.where(hops.measured, posture, 0.0)))
        for name, posture in postures.items()
        if name != trial.movement
    ]
    return (Reason.WRONG_MOVEMENT,) if min(others, default=np.inf) + WRONG_BY < distance else ()


def _gone(trials: Sequence[TrialRecord], hops: Hops) -> NDArray[np.bool_]:
    """(f,) columns that are masked in most of the trials' hops."""
    parts = [hops.masked[hops.rows(trial.first_sample, trial.stop_sample)] for trial in trials]
    together = np.concatenate(parts) if parts else hops.masked[:0]
    return together.mean(0) > USUALLY_MASKED if len(together) else np.zeros(hops.z.shape[1], np.bool_)


def _nerve(trial: TrialRecord, hops: Hops, gone: NDArray[np.bool_]) -> tuple[Reason, ...]:
    rows = hops.rows(trial.cue_sample, trial.stop_sample)
    expected = (trial.stop_sample - trial.cue_sample) // hops.hop_samples
    reasons: tuple[Reason, ...] = ()
    if rows.stop - rows.start < (1 - SAMPLES_SHARE) * expected:
        reasons = (Reason.SAMPLES_LOST,)
    there = hops.masked[rows][:, ~gone]
    if gone.all() or (there.size and there.mean() > MASKED_SHARE):
        reasons = (*reasons, Reason.NERVE_BAD)
    return reasons


def _masked_share(trial: TrialRecord, hops: Hops) -> float:
    masked = hops.masked[hops.rows(trial.first_sample, trial.stop_sample)]
    return float(masked.mean()) if masked.size else 0.0


def _agreement(trial: TrialRecord, hops: Hops, predicted: NDArray[np.floating] | None) -> float | None:
    """The correlation, all degrees of freedom together, of the nerve's word with the able hand's motion."""
    if predicted is None:
        return None
    rows = hops.rows(trial.first_sample, trial.stop_sample)
    told = np.isfinite(predicted[rows]).all(1) & hops.known[rows]
    said, did = (
        predicted[rows][told][:, hops.measured].ravel(),
        hops.positions[rows][told][:, hops.measured].ravel(),
    )
    if len(said) < 2 or not (said.std() > 0 and did.std() > 0):
        return None
    return float(np.corrcoef(said, did)[0, 1])
