"""From the able hand's trace to what a session says at each sample: truth, labels, trials, and what teaches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.trace import AbleTrace
from calibration.records import TrialRecord
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF

MOVING = 0.08
"""Of a movement's peak, at its onset and return: minimum-jerk motion has reached it after 0.2 of its time, and three
standard deviations of a sensor's noise of 0.02 lie below it."""


@dataclass(frozen=True, slots=True)
class SessionLabels:
    """What `decoder.session.model.Session` takes, for n raw samples from `first_sample` on.

    `labels` (n,) int16, `trial` (n,) int32, `repetition` (n,) int16, `truth` (n, 6) float32, finite; `known` (n,) bool,
    whether the able hand was measured then. `left_out` are absolute ranges (first, stop), ascending, of which nothing
    is to be learned: all that is not a used trial. There trial and label are 0, and the truth is held.
    """

    labels: NDArray[np.int16]
    trial: NDArray[np.int32]
    repetition: NDArray[np.int16]
    truth: NDArray[np.float32]
    known: NDArray[np.bool_]
    left_out: tuple[tuple[int, int], ...]


def aligned_truth(
    trace: AbleTrace, lag_s: float, first: int, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Positions (n, 6) at samples `first` up to and without `stop`, `lag_s` taken out, and whether each is known (n,).

    Interpolated between readings; where they are too far apart, or end, still finite but not known.
    """
    positions, known = trace.on(np.arange(first, stop) + lag_s * trace.rate_hz)
    return positions.astype(np.float32), known


def label_session(
    trace: AbleTrace,
    trials: Sequence[TrialRecord],
    lag_s: float,
    movements: Mapping[str, Sequence[float] | NDArray[np.floating]],
    gesture_names: Sequence[str],
    first_sample: int,
    n_samples: int,
    *,
    by_trial: bool = False,
) -> SessionLabels:
    """The labels of a recording of `n_samples` from `first_sample`, from the trials made in it.

    A movement's label holds from where its displacement leaves MOVING of its peak to where it is back there; the rest
    of its trial is rest. `lag_s` is the subject's; with `by_trial` each trial's own is taken out where its record has
    one. `gesture_names` begins with rest. A used trial in which the asked movement cannot be seen is left out, too.

    Raises NervehandError for a movement that has no posture or no name, and for trials that overlap.
    """
    out = SessionLabels(
        np.zeros(n_samples, np.int16),
        np.zeros(n_samples, np.int32),
        np.zeros(n_samples, np.int16),
        np.zeros((n_samples, N_DOF), np.float32),
        np.zeros(n_samples, np.bool_),
        (),
    )
    last = first_sample
    held = np.zeros(N_DOF, np.float32)
    left_out: list[tuple[int, int]] = []
    for trial in sorted(trials, key=lambda one: one.first_sample):
        if trial.movement not in movements or trial.movement not in gesture_names[1:]:
            raise NervehandError(
                f"trial {trial.number} asks for {trial.movement!r}: give its posture, and its name among the gestures"
            )
        first, stop = max(trial.first_sample, first_sample), min(trial.stop_sample, first_sample + n_samples)
        if not trial.is_used or stop <= first:
            continue
        if first < last:
            raise NervehandError(
                f"trial {trial.number} begins before the one before it ends: correct their samples"
            )
        own_s = trial.lag_s if by_trial and trial.lag_s is not None else lag_s
        truth, known = aligned_truth(trace, own_s, first, stop)
        posture = np.where(trace.measured, np.asarray(movements[trial.movement], np.float64), 0.0)
        moving = _moving(truth, posture, trial.cue_sample - first)
        if moving is None:
            continue
        rows = slice(first - first_sample, stop - first_sample)
        out.truth[last - first_sample : rows.start] = held
        _add(left_out, last, first)
        out.truth[rows], out.known[rows] = truth, known
        out.trial[rows], out.repetition[rows] = trial.number, trial.repetition
        out.labels[rows.start + moving[0] : rows.start + moving[1]] = list(gesture_names).index(
            trial.movement
        )
        last, held = stop, truth[-1]
    out.truth[last - first_sample :] = held
    _add(left_out, last, first_sample + n_samples)
    return SessionLabels(out.labels, out.trial, out.repetition, out.truth, out.known, tuple(left_out))


def _moving(truth: NDArray[np.float32], posture: NDArray[np.float64], cue: int) -> tuple[int, int] | None:
    """Rows from onset to return of the way towards a posture; None where it is not gone."""
    length = float(posture @ posture)
    if length == 0:
        return None
    before = truth[: max(cue, 1)]
    along = (truth - np.median(before, axis=0)) @ posture / length
    # A spike of one reading is no movement: what is reached for a twentieth of the trial is.
    peak = float(np.percentile(along, 95))
    away = np.flatnonzero(along > 0.5 * peak)
    if peak <= MOVING or not len(away):
        return None
    low = along <= MOVING * peak
    begins, ends = np.flatnonzero(low[: away[0]]), np.flatnonzero(low[away[-1] :])
    onset = int(begins[-1]) + 1 if len(begins) else 0
    back = int(away[-1] + ends[0]) if len(ends) else len(along)
    return onset, back


def _add(spans: list[tuple[int, int]], first: int, stop: int) -> None:
    if stop > first:
        spans.append((first, stop))
