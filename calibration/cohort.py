"""How hard a simulated subject is: decoders trained on some of its days and scored on another.

Three decoders that know ever more of the past: linear discriminant analysis of one feature window, the published
network over a second (`calibration.windowed`), and the product, exported and run statefully. The scores are those of
every other report, over shuffled trials.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from calibration.baselines import Classifier, fit_lda
from calibration.candidates import CANDIDATES, candidate, side_by_side
from calibration.channel_loss import draw_losses, lose_channels
from calibration.datasets import FeatureStream, Piece, concatenate, pieces
from calibration.fit import FitOptions, SourceSession, fit
from calibration.front_end import FrontEndChoice
from calibration.running import N_ORDERS, Meaning, StepDecoder, Summary, score_decoder, seeded_orders
from calibration.scores.dof import states
from calibration.scores.run import DOF_SCORES
from decoder import engines
from decoder.decision import Decision, PositionMap
from decoder.health import default_health
from decoder.normalisation import Normalisation, fit_normalisation
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF

Model = Literal["lda", "windowed", "compact"]
MODELS: tuple[Model, ...] = get_args(Model)
Case = Literal["whole", "intact", "masked", "unmasked"]
LOSS_CASES: tuple[Case, ...] = ("intact", "masked", "unmasked")
N_LOST = 4
FINGERPRINT_S = 3.0
SCORES = (*DOF_SCORES, "joint_r2", *(f"decided_{name}" for name in DOF_SCORES))


class MakeSession(Protocol):
    """A session of one simulated subject on a day; `seconds` ends it earlier."""

    def __call__(self, day: int, crosstalk: bool, seconds: float | None) -> Session: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is scored of one subject.

    Decoders learn from the sessions of `train_days` and are scored on that of `test_day`. `losses`: of the first
    front end also the second half of the test session, intact and with `N_LOST` channels dying at its start, masked
    and not masked. `threads` belong to training.
    """

    subject: int
    train_days: tuple[int, ...] = (0,)
    test_day: int = 1
    crosstalk: bool = True
    models: tuple[Model, ...] = MODELS
    front_ends: tuple[str, ...] = ("default",)
    losses: bool = True
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.train_days:
            raise NervehandError("no day to train on: give one or more")
        if self.test_day in self.train_days:
            raise NervehandError(
                f"day {self.test_day} is trained on and cannot be the test: give another day"
            )
        unknown = [name for name in self.front_ends if name not in CANDIDATES]
        if unknown or not self.front_ends:
            raise NervehandError(f"there is no front end {', '.join(unknown)!r}: use {', '.join(CANDIDATES)}")


def chosen_models(names: Sequence[str]) -> tuple[Model, ...]:
    """The models of these names, each once. Raises NervehandError for an unknown one."""
    unknown = sorted(set(names) - set(MODELS))
    if unknown or not names:
        raise NervehandError(f"there is no model {', '.join(unknown)!r}: use {', '.join(MODELS)}")
    return tuple(model for model in MODELS if model in names)


@dataclass(frozen=True, slots=True)
class Key:
    """Which row of a subject's table."""

    front_end: str
    model: Model
    case: Case


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one decoder: means over the orders; `each` holds the degrees of freedom in the order of DOF_NAMES.

    `per_dof_*`, `exact_match` and `joint_r2` are raw answers; `decided_*` what the hand is told, of `compact` only.
    """

    key: Key
    scores: dict[str, float | None]
    each: dict[str, tuple[float | None, ...]]
    fit_s: float
    score_s: float


class DofClassifier:
    """One classifier per degree of freedom over its states -1, 0 and 1, hop by hop, without memory."""

    def __init__(self, classifiers: Sequence[Classifier | None], idle: Sequence[int]) -> None:
        self._classifiers, self._idle = tuple(classifiers), tuple(idle)

    def reset(self) -> None:
        """There is nothing to forget."""

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised features (k, f) to states (k, d) as positions, and no probabilities (k, 0)."""
        said = np.empty((len(z), len(self._classifiers)), np.float32)
        for d, (classifier, idle) in enumerate(zip(self._classifiers, self._idle, strict=True)):
            if classifier is None or not len(z):
                said[:, d] = idle
            else:
                said[:, d] = classifier.classes_[classifier.predict_proba(z).argmax(1)]
        return said, np.zeros((len(z), 0), np.float32)


def fit_dof_lda(z: NDArray[np.float32], positions: NDArray[np.float32]) -> DofClassifier:
    """Linear discriminant analysis of normalised features (n, f) for each of the positions (n, d) in -1..1.

    A degree of freedom that never changes its state keeps it.
    """
    state = states(positions).astype(np.int64)
    return DofClassifier([fit_lda(z, column) for column in state.T], state[0].tolist())


def fingerprints(make_session: MakeSession, plan: Plan) -> dict[str, str]:
    """SHA-256, for each front end, of what it is and of the first seconds of all sessions of a plan.

    Another simulation, band or way to judge channels gives another; other ways to train do not show in it.
    """
    sessions = [make_session(day, plan.crosstalk, FINGERPRINT_S) for day in (*plan.train_days, plan.test_day)]
    samples = hashlib.sha256()
    for session in sessions:
        samples.update(np.ascontiguousarray(session.signal[slice(None)]).tobytes())
    found = {}
    for name in plan.front_ends:
        digest = samples.copy()
        info = sessions[-1].info
        digest.update(repr((candidate(name, info), default_health(info.kind))).encode())
        found[name] = digest.hexdigest()
    return found


def second_half(stream: FeatureStream) -> tuple[list[Piece], int]:
    """The trials that begin in the second half of a stream, and the raw sample that follows the hop before them.

    A channel that dies with that sample is missed in all of their hops, those included in which nobody knows yet.
    """
    found = [piece for piece in pieces(stream) if piece.start >= len(stream) / 2]
    if not found:
        raise NervehandError(
            "no trial begins in the second half of the test session: ask for more repetitions"
        )
    return found, int(stream.sample_index[found[0].start - 1]) + 1


def planned(plan: Plan) -> list[Key]:
    """The rows of a plan, in the order in which they come. `compact` decodes one band only."""
    found = []
    for front_end in plan.front_ends:
        for model in plan.models:
            if model == "compact" and front_end in ("both", "25-600+power"):
                continue
            found.append(Key(front_end, model, "whole"))
            if plan.losses and front_end == plan.front_ends[0] and model != "windowed":
                found += [Key(front_end, model, case) for case in LOSS_CASES]
    return found


def score_subject(
    make_session: MakeSession,
    plan: Plan,
    wanted: Sequence[Key],
    on_progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Row]:
    """The `wanted` rows of a plan, each as soon as it is known. Sessions are made only where there is one."""
    if not wanted:
        return
    on_progress("simulating")
    training = [make_session(day, plan.crosstalk, None) for day in plan.train_days]
    test = make_session(plan.test_day, plan.crosstalk, None)
    for front_end in plan.front_ends:
        keys = [key for key in wanted if key.front_end == front_end]
        if not keys:
            continue
        on_progress(f"{front_end}: features")
        data = _Data(training, test, candidate(front_end, test.info), plan)
        for model in plan.models:
            cases = [key.case for key in keys if key.model == model]
            if not cases:
                continue
            began = time.monotonic()
            fitted = _fitted(model, data, on_progress)
            fit_s = time.monotonic() - began
            for case in cases:
                on_progress(f"{front_end}: {model}, scores, {case}")
                began = time.monotonic()
                summary = data.scores(fitted, case)
                yield Row(
                    Key(front_end, model, case),
                    {name: summary.mean[name] for name in SCORES if name in summary.mean},
                    {name: summary.each[name] for name in SCORES if name in summary.each},
                    round(fit_s, 2),
                    round(time.monotonic() - began, 2),
                )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A decoder with its normalisation; `n_orders` of trials, one for what does not remember a trial."""

    decoder: StepDecoder
    normalisation: Normalisation
    meaning: Meaning
    n_orders: int


@dataclass(slots=True)
class _Data:
    """One subject's sessions behind one front end; streams of the test session by case, made when asked for."""

    training: list[Session]
    test: Session
    parts: tuple[FrontEndChoice, ...]
    plan: Plan
    stream: FeatureStream = field(init=False)
    normalisation: Normalisation = field(init=False)
    _tests: dict[Case, FeatureStream] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for session in (*self.training, self.test):
            if session.truth_names != DOF_NAMES:
                raise NervehandError(
                    f"session {session.meta.identifier} has no positions of the six degrees of freedom as truth: "
                    "score sessions of the simulated subject"
                )
        made = [side_by_side(session, self.parts) for session in self.training]
        self.stream = concatenate([stream for stream, _ in made])
        self.normalisation = fit_normalisation(self.stream.features, self.stream.masked, made[0][1])

    @property
    def positions(self) -> NDArray[np.float32]:
        assert self.stream.truth is not None  # the sessions have it
        return self.stream.truth

    @property
    def z(self) -> NDArray[np.float32]:
        return self.normalisation.apply(self.stream.features, self.stream.masked)

    def test_stream(self, case: Case) -> FeatureStream:
        """The test session's features, without or with channels lost in the middle."""
        whole = "whole" if case == "intact" else case
        if whole not in self._tests:
            session = self.test
            if whole != "whole":
                _, from_sample = second_half(self.test_stream("whole"))
                losses = draw_losses(session.info.n_channels, N_LOST, from_sample, self.plan.subject)
                session = lose_channels(session, losses, self.plan.subject)
            self._tests[whole] = side_by_side(session, self.parts, masking=whole != "unmasked")[0]
        return self._tests[whole]

    def scores(self, fitted: _Fitted, case: Case) -> Summary:
        """The scores of a case, over the whole test session or its second half."""
        stream = self.test_stream(case)
        found = pieces(stream) if case == "whole" else second_half(stream)[0]
        z = fitted.normalisation.apply(stream.features, stream.masked)
        part = self.parts[0]
        window_s = part.settings.window_samples * part.conditioning.decimation / self.test.info.rate_hz
        orders = seeded_orders(found, fitted.n_orders, self.plan.seed)
        return score_decoder(fitted.decoder, fitted.meaning, stream, z, orders, window_s)


def _fitted(model: Model, data: _Data, on_progress: Callable[[str], None]) -> _Fitted:
    on_progress(f"{model}, training")
    plan = data.plan
    rest = np.zeros((1, N_DOF), np.float32)
    positions = PositionMap(np.eye(N_DOF, dtype=np.float32), rest[0], rest)
    match model:
        case "lda":
            return _Fitted(fit_dof_lda(data.z, data.positions), data.normalisation, Meaning(1, positions), 1)
        case "windowed":
            from calibration.windowed import fit_windowed

            decoder = fit_windowed(
                data.z,
                data.positions,
                pieces(data.stream),
                seed=plan.seed,
                threads=plan.threads,
                on_progress=lambda at: on_progress(
                    f"windowed, epoch {at.step} of {at.n_steps}, {at.left_s:.0f} s left"
                ),
            )
            return _Fitted(decoder, data.normalisation, Meaning(1, positions), 1)
        case "compact":
            bundle = fit(
                [SourceSession(session, "") for session in data.training],
                FitOptions("compact", seed=plan.seed, threads=plan.threads),
                lambda at: on_progress(f"compact, step {at.step} of {at.n_steps}, {at.left_s:.0f} s left"),
                choice=data.parts[0],
            )
            span = np.array([output.upper - output.lower for output in bundle.manifest.outputs], np.float32)
            decision = Decision(bundle.manifest.decision, bundle.position_map, span, bundle.hop_s)
            meaning = Meaning(len(bundle.manifest.gestures), bundle.position_map, decision)
            return _Fitted(engines.load(bundle.step_graph), bundle.normalisation, meaning, N_ORDERS)
