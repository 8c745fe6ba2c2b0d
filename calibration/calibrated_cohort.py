"""How well simulated people are calibrated: decoders of one mirrored session, scored on a fresh day in a new order.

Each person goes through the whole calibration: both hands, a glove with a lag and a clock of its own, alignment. The
decoders learn from what came of it and are scored on what the phantom really did, on movements that were trained and
on combinations that never were.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.candidates import side_by_side
from calibration.cohort import fit_dof_lda
from calibration.datasets import FeatureStream, Piece, pieces, with_repetitions
from calibration.fit import FitOptions, SourceSession, fit
from calibration.folder import CalibrationFolder, Plan
from calibration.front_end import default_front_end
from calibration.labelling import Labelled, labelled
from calibration.paradigm import Movement, Paradigm
from calibration.performance import performance
from calibration.rehearsal import rehearse
from calibration.running import Meaning, StepDecoder, Summary, score_decoder, seeded_orders
from calibration.scores.run import DOF_SCORES
from calibration.simulated_address import SIMULATED
from calibration.simulated_wearer import Wearer
from decoder import engines
from decoder.decision import PositionMap
from decoder.normalisation import Normalisation, fit_normalisation
from decoder.session.model import Session
from firmware_bridge.hand import DOF_NAMES, N_DOF

NEW_ORDER = 1000
"""Added to the seed of the orders on a fresh day: never one that a calibration used."""
UNTRAINED: tuple[Movement, ...] = (
    Movement("thumb and index", (1, 1, 0, 0, 0, 0)),
    Movement("index and middle", (0, 1, 1, 0, 0, 0)),
    Movement("ring and little", (0, 0, 0, 1, 1, 0)),
    Movement("thumb and little", (1, 0, 0, 0, 1, 0)),
    Movement("thumb, index, middle", (1, 1, 1, 0, 0, 0)),
    Movement("point", (1, 0, 1, 1, 1, 0)),
    Movement("fist, wrist bent", (1, 1, 1, 1, 1, 1)),
    Movement("index, wrist bent", (0, 1, 0, 0, 0, 1)),
)
"""Combinations of degrees of freedom that no default paradigm holds."""
STEADY = tuple(f"steady_{name}" for name in DOF_SCORES)
SCORES = (*DOF_SCORES, *STEADY)
MODELS = ("lda", "windowed", "compact")


@dataclass(frozen=True, slots=True)
class Case:
    """A row for each person: which decoder, of how many repetitions, from aligned labels or from the able hand's
    readings as they arrived."""

    model: str
    repetitions: int
    is_aligned: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """Scores (METRICS, raw) on the trained movements and on combinations that never were; what was found of the lag."""

    case: Case
    trained: dict[str, float | None]
    untrained: dict[str, float | None]
    fit_s: float
    lag_s: float
    drift_ppm: float


@dataclass(slots=True)
class _Person:
    """What is recorded once and scored many times."""

    wearer: Wearer
    paradigm: Paradigm
    test_day: int
    aligned: Labelled
    raw: Session
    tests: dict[str, FeatureStream] = field(default_factory=dict)

    def test(self, name: str) -> FeatureStream:
        if name not in self.tests:
            paradigm = replace(self.paradigm, kind="mimic", seed=self.paradigm.seed + NEW_ORDER)
            if name == "untrained":
                paradigm = replace(
                    paradigm, movements=UNTRAINED, repetitions=max(3, paradigm.repetitions // 2)
                )
            session = performance(replace(self.wearer, day=self.test_day), paradigm)
            self.tests[name] = _stream(session)
        return self.tests[name]


def score_person(
    wearer: Wearer,
    paradigm: Paradigm,
    test_day: int,
    cases: list[Case],
    threads: int = 1,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """The cases of one person, each as soon as it is known."""
    with tempfile.TemporaryDirectory(prefix="nervehand-") as where:
        on_progress("calibrating")
        person = _calibrated(Path(where), wearer, paradigm, test_day)
        for case in cases:
            on_progress(f"{case.model}, {case.repetitions} repetitions")
            began = time.monotonic()
            decide = _fitted(person, case, threads)
            fit_s = time.monotonic() - began
            alignment = person.aligned.alignment
            assert alignment is not None  # a mirrored calibration has one
            yield Result(
                case,
                _scores(decide(person.test("trained"))),
                _scores(decide(person.test("untrained"))),
                round(fit_s, 1),
                alignment.lag_s,
                alignment.drift_ppm,
            )


def _calibrated(where: Path, wearer: Wearer, paradigm: Paradigm, test_day: int) -> _Person:
    subject = f"{SIMULATED}-{wearer.preset}-{wearer.number}"
    plan = Plan("rehearsal", subject, wearer.side, SIMULATED, SIMULATED, SIMULATED, "", paradigm)
    folder = CalibrationFolder.create(where / "calibration", plan)
    rehearse(folder, wearer)
    with labelled(folder) as (part,):
        in_memory = replace(part.session, signal=part.session.signal[slice(None)])
        return _Person(
            wearer, paradigm, test_day, replace(part, session=in_memory), _as_arrived(in_memory, folder)
        )


def _as_arrived(session: Session, folder: CalibrationFolder) -> Session:
    """The same labelled by the able hand's readings when they arrived: no clock mapped, no lag taken out."""
    hand, sensors = folder.kept().hand, session.recorded.sensors
    assert hand is not None
    assert sensors is not None  # both are there after a mirrored calibration
    positions = np.nan_to_num(hand.positions(sensors.values))
    at = np.arange(session.first_sample, session.first_sample + session.n_samples)
    truth = np.stack([np.interp(at, sensors.sample_index, column) for column in positions.T], axis=1)
    return replace(session, truth=np.clip(truth, -1.25, 1.25).astype(np.float32))


def _fitted(person: _Person, case: Case, threads: int) -> Callable[[FeatureStream], Summary]:
    """What scores a test stream with the decoder of a case."""
    session = person.aligned.session if case.is_aligned else person.raw
    repetitions = tuple(range(1, case.repetitions + 1))
    choice = default_front_end(session.info)
    window_s = choice.settings.window_samples * choice.conditioning.decimation / session.info.rate_hz
    if case.model == "compact":
        bundle = fit([SourceSession(session, "")], FitOptions(repetitions=repetitions, threads=threads))
        meaning = Meaning(len(bundle.manifest.gestures), bundle.position_map)

        def decide(test: FeatureStream) -> Summary:
            z = bundle.normalisation.apply(test.features, test.masked)
            orders = seeded_orders(pieces(test))
            return score_decoder(engines.load(bundle.step_graph), meaning, test, z, orders, window_s)

        return decide
    stream, compress = side_by_side(session, (choice,))
    chosen = with_repetitions(pieces(stream), repetitions)
    rows = np.concatenate([np.arange(piece.start, piece.stop) for piece in chosen])
    normalisation = fit_normalisation(stream.features[rows], stream.masked[rows], compress)
    decoder = _baseline(case.model, stream, normalisation, chosen, rows, threads)
    rest = np.zeros((1, N_DOF), np.float32)
    positions = Meaning(1, PositionMap(np.eye(N_DOF, dtype=np.float32), rest[0], rest))

    def decide_hop_by_hop(test: FeatureStream) -> Summary:
        z = normalisation.apply(test.features, test.masked)
        return score_decoder(decoder, positions, test, z, seeded_orders(pieces(test), 1), window_s)

    return decide_hop_by_hop


def _baseline(
    model: str,
    stream: FeatureStream,
    normalisation: Normalisation,
    chosen: list[Piece],
    rows: NDArray[np.int64],
    threads: int,
) -> StepDecoder:
    z = normalisation.apply(stream.features, stream.masked)
    assert stream.truth is not None  # a mirrored calibration has it
    if model == "lda":
        return fit_dof_lda(z[rows], stream.truth[rows])
    from calibration.windowed import fit_windowed

    return fit_windowed(z, stream.truth, chosen, threads=threads)


def _stream(session: Session) -> FeatureStream:
    assert session.truth_names == DOF_NAMES  # a performance has it
    return side_by_side(session, (default_front_end(session.info),))[0]


def _scores(summary: Summary) -> dict[str, float | None]:
    return {name: summary.mean[name] for name in SCORES}


def means(results: list[Mapping[str, float | None]], name: str) -> tuple[float | None, float | None]:
    """Mean and worst of a score over people; None where nobody has it."""
    known = [value for result in results if (value := result[name]) is not None]
    return (float(np.mean(known)), min(known)) if known else (None, None)
