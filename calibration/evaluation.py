"""A bundle against sessions: every score beside chance and a classical decoder, as `nervehand evaluate` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.baselines import fit_classical, permuted
from calibration.chance import NO_TRAINING, best_constant
from calibration.datasets import FeatureStream, Piece, concatenate, pieces, session_stream, with_repetitions
from calibration.running import (
    N_ORDERS,
    Meaning,
    Summary,
    mean_of_known,
    reference_of,
    score_decoder,
    scored_order,
    seeded_orders,
    spread_of,
    training_reference,
)
from calibration.scores.errors import NotScoredError
from calibration.scores.latency import algorithmic_latency_ms, held
from calibration.scores.run import HOP_SCORES
from decoder import engines
from decoder.bundle import Bundle
from decoder.chain import DecodeChain, FrontEnd
from decoder.decision import Decision
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.stream import SignalBlock

N_PERMUTATIONS = 3
STEP_S = 2.0
STEP_FROM_S = 0.5
UNITS = {
    "hold_drift": "full flexions per second",
    "hold_jitter": "full flexions",
    "rest_hours": "hours of settled rest per order",
    "hold_hours": "hours of hold per order",
}


@dataclass(frozen=True, slots=True)
class Chance:
    """What the scores are worth: `best_constant` per score, and a classical fit on permuted gestures.

    None throughout where there is no training trial, or no scikit-learn; `not_scored` says which.
    """

    best_constant: dict[str, float | None]
    permuted: dict[str, float | None]
    not_scored: dict[str, str]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that `nervehand evaluate` knows about a decoder on some sessions.

    `scores` are over shuffled orders, or over the recorded one (`recorded_order`, optimistic). `reset` are the
    scores over hops with a reset before each trial, so that no order can help; None where the trials are
    unconnected, and reset in any case.
    """

    bundle_sha256: str
    sessions: tuple[str, ...]
    repetitions: tuple[int, ...] | None
    recorded_order: bool
    n_orders: int
    seed: int
    n_trials: int
    n_trials_trained_on: int
    scored_s: float
    unscored_s: float
    unscored_after_change_s: float
    gestures: tuple[str, ...]
    outputs: tuple[str, ...]
    scores: Summary
    reset: Summary | None
    chance: Chance

    @property
    def dofs_not_scored(self) -> list[str]:
        """The degrees of freedom that are active, or inactive, for less than 2 % of the scored hops."""
        each = self.scores.each.get("per_dof_accuracy", (None,) * N_DOF)
        return [name for name, value in zip(DOF_NAMES, each, strict=True) if value is None]

    def to_json(self) -> dict[str, object]:
        """One object for programs: the scores under their own names, raw where nothing is said."""
        reset = {} if self.reset is None else {f"reset_{k}": v for k, v in self.reset.mean.items()}
        return {
            "bundle_sha256": self.bundle_sha256,
            "sessions": list(self.sessions),
            "repetitions": None if self.repetitions is None else list(self.repetitions),
            "order": "recorded (optimistic)" if self.recorded_order else "shuffled",
            "n_orders": self.n_orders,
            "seed": self.seed,
            "n_trials": self.n_trials,
            "n_trials_trained_on": self.n_trials_trained_on,
            "scored_s": self.scored_s,
            "unscored_per_trial_s": self.unscored_s,
            "unscored_after_change_s": self.unscored_after_change_s,
            "gestures": list(self.gestures),
            "outputs": list(self.outputs),
            **self.scores.mean,
            **reset,
            "spread": self.scores.spread,
            "each": {k: list(v) for k, v in self.scores.each.items() if "steady_" not in k},
            "per_dof_not_scored": self.dofs_not_scored,
            "chance": {
                "best_constant": self.chance.best_constant,
                "permuted": self.chance.permuted,
                "not_scored": self.chance.not_scored,
            },
            "not_scored": self.scores.not_scored,
            "units": UNITS,
        }


def evaluate(
    bundle: Bundle,
    sessions: Sequence[Session],
    repetitions: Iterable[int] | None = None,
    *,
    recorded_order: bool = False,
    n_orders: int = N_ORDERS,
    seed: int = 0,
    unscored_after_change_s: float = 0.0,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Score the exported engine, run statefully, on the trials of these repetitions (None: all).

    The other trials of the sessions, where there are any, give the constant and the permuted baseline.
    Where the labels are cues, `unscored_after_change_s` leaves the person's reaction out of the scores of hops.
    Raises NervehandError where a session does not fit the bundle's stream, gestures or repetitions. Whether
    it is the same wearer is the caller's to ask (`Bundle.require_wearer`).
    """
    if not (np.isfinite(unscored_after_change_s) and unscored_after_change_s >= 0):
        raise NervehandError(f"{unscored_after_change_s} s after each change: give seconds, 0 or more")
    on_progress("features")
    streams = [bundle_stream(bundle, session) for session in sessions]
    stream = concatenate(streams)
    found = pieces(stream)
    test = found if repetitions is None else with_repetitions(found, repetitions)
    tested = set(test)
    others = [piece for piece in found if piece not in tested]
    z = bundle.normalisation.apply(stream.features, stream.masked)
    meaning = bundle_meaning(bundle)
    orders = [list(test)] if recorded_order else seeded_orders(test, n_orders, seed)
    engine = engines.load(bundle.step_graph)
    unscored_s = bundle.manifest.features.settings.window_samples / bundle.coefficients.rate_hz
    on_progress("scores")
    scores = score_decoder(
        engine, meaning, stream, z, orders, unscored_s, unscored_after_change_s=unscored_after_change_s
    )
    on_progress("latency")
    scores = _with_algorithmic_latency(scores, bundle, sessions, streams, test)
    reset = None
    if not all(piece.alone for piece in test):
        on_progress("scores with a reset before each trial")
        each_alone = score_decoder(
            engine,
            meaning,
            stream,
            z,
            [test],
            unscored_s,
            reset_each=True,
            unscored_after_change_s=unscored_after_change_s,
        )
        reset = each_alone.only(HOP_SCORES)
    on_progress("chance")
    chance = _chance(meaning, stream, z, others, orders[0], unscored_s, unscored_after_change_s, seed)
    order, stretch = scored_order(stream, test, unscored_s, reset_each=False)
    scored = reference_of(stream, order, stretch, None, unscored_after_change_s).trusted
    return Evaluation(
        bundle_sha256=bundle.sha256,
        sessions=tuple(session.meta.identifier for session in sessions),
        repetitions=None if repetitions is None else tuple(sorted({piece.repetition for piece in test})),
        recorded_order=recorded_order,
        n_orders=len(orders),
        seed=seed,
        n_trials=len(test),
        n_trials_trained_on=_trained_on(bundle, sessions, streams, test),
        scored_s=float(scored.sum()) * stream.hop_s,
        unscored_s=unscored_s,
        unscored_after_change_s=unscored_after_change_s,
        gestures=bundle.manifest.gestures,
        outputs=tuple(output.name for output in bundle.manifest.outputs),
        scores=scores,
        reset=reset,
        chance=chance,
    )


def bundle_stream(bundle: Bundle, session: Session) -> FeatureStream:
    """A session through the bundle's front end, with labels and truth in the bundle's own order."""
    bundle.require_stream(session.info)
    spec = bundle.manifest.features
    front_end = FrontEnd(session.info, bundle.coefficients, spec.set, spec.settings, bundle.health)
    outputs = tuple(output.name for output in bundle.manifest.outputs)
    return session_stream(session, front_end, bundle.hop_raw_samples, bundle.manifest.gestures, outputs)


def bundle_meaning(bundle: Bundle) -> Meaning:
    """What the bundle's answers mean, with its own decision stage."""
    manifest = bundle.manifest
    span = np.array([output.upper - output.lower for output in manifest.outputs], np.float32)
    decision = Decision(manifest.decision, bundle.position_map, span, bundle.hop_s)
    return Meaning(len(manifest.gestures), bundle.position_map, decision)


def _with_algorithmic_latency(
    scores: Summary,
    bundle: Bundle,
    sessions: Sequence[Session],
    streams: Sequence[FeatureStream],
    test: Sequence[Piece],
) -> Summary:
    """The scores with the median over movements of the latency of a step from rest to movement."""
    latencies, reason = [], "no test trial has 0.5 s of rest before 0.5 s of movement"
    seen: set[int] = set()
    for piece in test:
        if piece.gesture in seen:
            continue
        which, first_row = _session_of(streams, piece)
        step = _step(sessions[which], streams[which], piece.start - first_row, piece.stop - first_row)
        if step is None:
            continue
        seen.add(piece.gesture)
        session = sessions[which]

        def respond(
            samples: NDArray[np.float32], session: Session = session
        ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            intents = DecodeChain(bundle, session.info).process(SignalBlock(samples, first_sample=0))
            return intents.sample_index, intents.positions

        try:
            delay_s = bundle.health.delay_s
            latencies.append(algorithmic_latency_ms(respond, *step, session.info.rate_hz, delay_s))
        except NotScoredError as error:
            reason = str(error)
    name = "algorithmic_latency_ms"
    median = float(np.median(latencies)) if latencies else None
    spread = spread_of(latencies)
    return replace(
        scores,
        mean={**scores.mean, name: median},
        spread={**scores.spread, name: spread},
        not_scored=scores.not_scored if latencies else {**scores.not_scored, name: reason},
    )


def _step(
    session: Session, stream: FeatureStream, start: int, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Raw samples of 2 s of rest and of 2 s of a held movement, each made of 0.5 s from its middle."""
    moving = np.flatnonzero(stream.label[start:stop] > 0)
    resting = np.flatnonzero(stream.label[start:stop] == 0)
    resting = resting[resting < moving[0]] if len(moving) else resting[:0]
    n_hops, n_samples = stream.hops(STEP_FROM_S), round(STEP_S * session.info.rate_hz)
    if len(moving) < n_hops or len(resting) < n_hops:
        return None
    made = []
    for rows in (resting, moving):
        first = start + int(rows[0]) + (len(rows) - n_hops) // 2
        samples = session.microvolts(
            int(stream.sample_index[first]) - session.first_sample,
            int(stream.sample_index[first + n_hops - 1]) - session.first_sample + 1,
        )
        made.append(held(samples, n_samples))
    return made[0], made[1]


def _chance(
    meaning: Meaning,
    stream: FeatureStream,
    z: NDArray[np.float32],
    training: Sequence[Piece],
    test: Sequence[Piece],
    unscored_s: float,
    unscored_after_change_s: float,
    seed: int,
) -> Chance:
    if not training:
        return Chance({}, {}, {"best_constant": NO_TRAINING, "permuted": NO_TRAINING})
    order, stretch = scored_order(stream, test, unscored_s, reset_each=False)
    constant = best_constant(
        training_reference(stream, training, meaning.position_map),
        reference_of(stream, order, stretch, meaning.position_map, unscored_after_change_s),
        meaning.n_gestures,
    )
    not_scored = {f"best_constant.{name}": reason for name, reason in constant.not_scored.items()}
    try:
        tables = [
            score_decoder(
                fit_classical(
                    "lda",
                    permuted(stream, training, seed + i),
                    z,
                    training,
                    meaning.n_gestures,
                    window_s=unscored_s,
                ),
                Meaning(meaning.n_gestures, meaning.position_map),
                stream,
                z,
                [test],
                unscored_s,
                unscored_after_change_s=unscored_after_change_s,
            ).mean
            for i in range(N_PERMUTATIONS)
        ]
    except NervehandError as error:
        return Chance(constant.scores, {}, {**not_scored, "permuted": str(error)})
    dealt = {name: mean_of_known(table[name] for table in tables) for name in constant.scores}
    return Chance(constant.scores, dealt, not_scored)


def _session_of(streams: Sequence[FeatureStream], piece: Piece) -> tuple[int, int]:
    """Which session a piece of the joined stream comes from, and that session's first row."""
    ends = np.cumsum([len(stream) for stream in streams])
    which = int(np.searchsorted(ends, piece.start, side="right"))
    return which, int(ends[which]) - len(streams[which])


def _trained_on(
    bundle: Bundle, sessions: Sequence[Session], streams: Sequence[FeatureStream], test: Sequence[Piece]
) -> int:
    """How many of the test trials the decoder has seen in training, by session and repetition."""
    used = {
        session.identifier: None if session.repetitions is None else set(session.repetitions)
        for session in bundle.manifest.training.sessions
    }
    seen = 0
    for piece in test:
        identifier = sessions[_session_of(streams, piece)[0]].meta.identifier
        if identifier in used:
            learned = used[identifier]
            seen += learned is None or piece.repetition in learned
    return seen
