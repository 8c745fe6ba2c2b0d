"""What is known after a round: the clocks, the lag between the hands, and which trials can teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.clocks import ClockMap, fit_clock
from calibration.alignment.lag import LagEstimate, Span, estimate_lag
from calibration.alignment.prediction import predicted_positions
from calibration.alignment.trace import AbleTrace, able_trace
from calibration.front_end import WINDOW_S
from calibration.records import AlignmentRecord, TrialRecord, Verdict
from calibration.trial_quality import Hops, Judgement, froze, judge
from decoder.front_end import Features
from decoder.normalisation import Compression, fit_normalisation
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF

MUSCLE_FEATURES = ("low_square", "low_common")
"""Of the muscles around the nerve (`decoder.features.two_bands`): they follow the nerve by some 30 ms, which the lag's
constant does not hold. They help to tell movements apart, but not when they were made."""
TURNS = 2
"""The lag is found from the good trials, and it takes the lag to find which are good."""


@dataclass(frozen=True, slots=True)
class Readings:
    """m readings of the able hand, in the order of their arrival.

    `device_s` (m,) float64 is the device's clock; `sample_index` (m,) int64 the absolute index of the newest nerve
    sample when each arrived; `positions` (m, 6) float32, mirrored (DOF_NAMES, -1..1), NaN where not measured; `values`
    (m, d) float32, the sensors' own, by which a sensor that froze is told from a hand that is still.
    """

    device_s: NDArray[np.float64]
    sample_index: NDArray[np.int64]
    positions: NDArray[np.float32]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        m = len(self.device_s)
        if not (
            self.positions.shape == (m, N_DOF)
            and self.values.ndim == 2
            and len(self.values) == len(self.sample_index) == m
        ):
            raise NervehandError(
                f"{m} readings with positions {self.positions.shape}, values {self.values.shape} and "
                f"{len(self.sample_index)} arrivals do not belong together: give one of each per reading"
            )


@dataclass(frozen=True, slots=True)
class Review:
    """What was found of some trials.

    `judgements` and `trials` are in the order of the trials given; `trials` are these with verdict, reasons, agreement,
    lag, confidence and masked share filled in (`accepted` stays). `positions` (k, 6) float32 is what the able hand did,
    aligned, at each hop, held where it is not known, and `known` (k,) bool says where it is. `trace` is the able
    hand's motion at any sample, its lag still in it (`calibration.alignment.labels`).
    """

    clock: ClockMap
    lag: LagEstimate
    alignment: AlignmentRecord
    judgements: tuple[Judgement, ...]
    trials: tuple[TrialRecord, ...]
    positions: NDArray[np.float32]
    known: NDArray[np.bool_]
    trace: AbleTrace


def review(
    trials: Sequence[TrialRecord],
    readings: Readings,
    features: Features,
    compress: tuple[Compression, ...],
    movements: Mapping[str, Sequence[float] | NDArray[np.floating]],
    rate_hz: float,
    hop_samples: int,
    window_s: float = WINDOW_S,
    feature_names: Sequence[str] = (),
    known_lag_s: float | None = None,
) -> Review:
    """Map the clocks, find the lag, judge the trials.

    `features` are those of all hops so far, as the front end gave them (not normalised), `compress` the front end
    choice's compression of each column, `movements` the six positions of each movement by name, `hop_samples` and
    `rate_hz` raw samples. `trials` are in the order in which they were made; all `sample_index` are absolute and of one
    recording, or of several with ascending indices. Without any reading every trial's truth is lost.
    `feature_names` are the front end's, "channel/feature": the muscles' do not tell the lag. Without names all columns
    do, and a lag found with the muscles' comes out up to 15 ms too short. `known_lag_s`, of other recordings of
    the same calibration, is taken, without confidence, where these trials are too few to tell theirs.

    Raises NervehandError where arrays do not belong together, a movement has no posture, or there is nothing to review.
    """
    if not trials or not len(features.sample_index):
        raise NervehandError("there is nothing to review: make a trial first")
    clock = fit_clock(readings.device_s, readings.sample_index, rate_hz)
    at = clock.samples(readings.device_s, readings.sample_index)
    looked_at = _Evidence(
        trials,
        features,
        compress,
        able_trace(at, readings.positions, rate_hz),
        hop_samples,
        window_s,
        feature_names,
    )
    frozen = froze(trials, at, readings.values, rate_hz)
    hops = looked_at.hops(0.0)
    judgements = judge(trials, hops, movements, frozen, ask_nerve=False)
    lag = looked_at.lag([judgement.verdict is Verdict.GOOD for judgement in judgements], known_lag_s)
    for _ in range(TURNS):
        teaches = [judgement.verdict is Verdict.GOOD for judgement in judgements]
        hops = looked_at.hops(lag.lag_s)
        predicted = looked_at.predicted(hops, teaches)
        judgements = judge(trials, hops, movements, frozen, predicted)
        good = [judgement.verdict is Verdict.GOOD for judgement in judgements]
        if good == teaches:
            break
        lag = looked_at.lag(good, known_lag_s)
    hops = looked_at.hops(lag.lag_s)
    return Review(
        clock,
        lag,
        AlignmentRecord(clock.drift_ppm, clock.residual_s, lag.lag_s, lag.confidence, lag.spread_s),
        tuple(judgements),
        tuple(
            _recorded(trial, judgement, own)
            for trial, judgement, own in zip(trials, judgements, lag.by_trial, strict=True)
        ),
        hops.positions.astype(np.float32),
        hops.known,
        looked_at.trace,
    )


class _Evidence:
    """The features, normalised over the trials, beside the able hand's trace at any lag."""

    def __init__(
        self,
        trials: Sequence[TrialRecord],
        features: Features,
        compress: tuple[Compression, ...],
        trace: AbleTrace,
        hop_samples: int,
        window_s: float,
        feature_names: Sequence[str],
    ) -> None:
        if len(feature_names) not in (0, features.values.shape[1]):
            raise NervehandError(
                f"{len(feature_names)} names for {features.values.shape[1]} features: give one for each, or none"
            )
        self.trace = trace
        names = feature_names or [""] * features.values.shape[1]
        self._tells_time = np.array([name.rsplit("/", 1)[-1] not in MUSCLE_FEATURES for name in names])
        self._index, self._masked = features.sample_index, features.masked
        self._hop_samples, self._window_s = hop_samples, window_s
        self._spans = [Span(trial.first_sample, trial.stop_sample) for trial in trials]
        self._rows = [
            slice(*(int(i) for i in np.searchsorted(self._index, [span.first, span.stop])))
            for span in self._spans
        ]
        within = np.zeros(len(self._index), np.bool_)
        for rows in self._rows:
            within[rows] = True
        if not within.any():
            raise NervehandError(
                "no feature lies within the trials: give the features of the trials' recording"
            )
        normalisation = fit_normalisation(features.values[within], self._masked[within], compress)
        self._z = normalisation.apply(features.values, self._masked)

    def hops(self, lag_s: float) -> Hops:
        positions, known = self.trace.on(self._index + lag_s * self.trace.rate_hz)
        return Hops(
            self._index, self._z, self._masked, positions, known, self.trace.measured, self._hop_samples
        )

    def lag(self, teaches: Sequence[bool], known_lag_s: float | None) -> LagEstimate:
        """From the trials that teach; the others have the subject's, without confidence. Where they tell none, the
        known one."""
        chosen = [span for span, good in zip(self._spans, teaches, strict=True) if good]
        z = self._z[:, self._tells_time]
        found = estimate_lag(z, self._index, self.trace, chosen, self._hop_samples, self._window_s)
        if found.confidence == 0 and known_lag_s is not None:
            found = replace(found, lag_s=known_lag_s, by_trial=((known_lag_s, 0.0),) * len(chosen))
        each = iter(found.by_trial)
        return replace(found, by_trial=tuple(next(each) if good else (found.lag_s, 0.0) for good in teaches))

    def predicted(self, hops: Hops, teaches: Sequence[bool]) -> NDArray[np.float64]:
        return predicted_positions(self._z, hops.positions, self._rows, teaches)


def _recorded(trial: TrialRecord, judgement: Judgement, lag: tuple[float, float]) -> TrialRecord:
    lag_s, confidence = lag
    return replace(
        trial,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        agreement=judgement.agreement,
        lag_s=lag_s if confidence > 0 else None,
        lag_confidence=confidence,
        masked_share=judgement.masked_share,
    )
