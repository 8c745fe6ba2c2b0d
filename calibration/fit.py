"""Sessions to a bundle: front end, normalisation, training, position map and manifest."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.composition import LOW_BAND, can_compose, compose
from calibration.cues import realigned
from calibration.datasets import UNLABELLED, FeatureStream, Piece, concatenate, pieces, session_stream
from calibration.front_end import Band, FrontEndChoice, default_front_end
from calibration.postures import map_to_positions, postures_of
from calibration.stepgraph import build_step_graph
from calibration.training import Progress, TrainingSet, train
from decoder.bundle import (
    Bundle,
    FeatureSpec,
    Manifest,
    OutputSpec,
    RestFeatures,
    StreamSpec,
    Training,
    TrainingSession,
)
from decoder.chain import FrontEnd
from decoder.conditioning_design import design
from decoder.decision import REST, DecisionSettings, PositionMap
from decoder.health_settings import default_health
from decoder.normalisation import CLIP, fit_normalisation
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.hand import DOF_NAMES, N_DOF

Side = Literal["left", "right", ""]
WARMUP_S = 0.5  # after a start: the window, the filters and the recurrent state have settled
MOST_DEAD = 0.5  # share of hops without any live channel, beyond which nothing honest can be learned
RECORDED_SHARE = 1 / 3  # of what is learned where trials are composed: the other two thirds are composed ones
COMPOSED_STEPS = 600  # of training then: with more data than anybody records, time is what is left to choose
MIN_REST = 50  # hops of rest, a second: fewer do not tell what rest is like
RANGE_PERCENT = (0.5, 99.5)  # of the truth in the training trials: an output's declared range


@dataclass(frozen=True, slots=True)
class FitOptions:
    """`repetitions` None takes every trial; `threads` 0 every core.

    `cues`: the labels are cues, and their changes are moved to where the signal changes (`calibration.cues`);
    None takes them as cues where the sessions have no ground truth beside them. `band`: see `default_front_end`.
    `steps` of training, None as many as the data ask for.
    """

    network: str = "compact"
    repetitions: tuple[int, ...] | None = None
    seed: int = 0
    threads: int = 0
    version: str = ""
    cues: bool | None = None
    band: Band = "default"
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class SourceSession:
    """A session with the SHA-256 of the file that it was read from."""

    session: Session
    sha256: str


def fit(
    sources: Sequence[SourceSession],
    options: FitOptions,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    choice: FrontEndChoice | None = None,
) -> Bundle:
    """Train a decoder; `choice` None takes the default for the kind of stream.

    Raises NervehandError where the sessions do not fit together or cannot teach anything.
    """
    sessions = [source.session for source in sources]
    if not sessions:
        raise NervehandError("no session to learn from: name at least one")
    first = sessions[0]
    for other in sessions[1:]:
        _require_same(first, other)
    gestures = _gesture_names(sessions)
    if choice is None:
        choice = default_front_end(first.info, band=options.band)
    coefficients = design(choice.conditioning, first.info)
    health = default_health(first.info.kind)
    front_end = FrontEnd(first.info, coefficients, choice.feature_set, choice.settings, health)
    hop_raw = choice.settings.hop_samples * choice.conditioning.decimation
    stream = concatenate(
        [session_stream(s, front_end, hop_raw, gestures, first.truth_names or None) for s in sessions]
    )
    chosen = pieces(stream, options.repetitions)
    rows = _rows(chosen)
    _require_something_to_learn(stream, rows, gestures)
    position_map = _position_map(sessions, stream, rows, gestures)
    compress = choice.compress(front_end.feature_names)
    taught = _taught(first, stream, chosen, front_end.feature_names, choice, options.seed)
    seen = np.unique(_rows(taught.pieces))
    normalisation = fit_normalisation(taught.features[seen], taught.masked[seen], compress)
    z_taught = normalisation.apply(taught.features, taught.masked)
    z = z_taught[: len(stream)]
    label, reaction = stream.label, {}
    if stream.truth is None if options.cues is None else options.cues:
        moved = realigned(stream, z, chosen)
        label = moved.label
        if len(moved.reaction_s):
            reaction = {"median_reaction_s": float(np.median(moved.reaction_s))}
    trained = train(
        TrainingSet(
            z=z_taught,
            label=np.concatenate([label, np.full(len(z_taught) - len(stream), UNLABELLED)]),
            truth=taught.truth,
            pieces=taught.pieces,
            hop_s=stream.hop_s,
            n_gestures=len(gestures),
            features_per_channel=len(compress) // len({n.rsplit("/", 1)[0] for n in front_end.feature_names}),
            loses_channels=first.info.kind == "nerve",
            repeats=_repeats(front_end.feature_names, choice),
        ),
        options.network,
        seed=options.seed,
        threads=options.threads,
        on_progress=on_progress,
        should_stop=should_stop,
        n_steps=options.steps,
    )
    manifest = Manifest(
        format_version=1,
        stream=StreamSpec(
            kind=first.info.kind,
            rate_hz=first.info.rate_hz,
            channel_names=first.info.channel_names,
            electrodes=first.info.electrodes,
            nerve=first.info.nerve,
        ),
        subject=first.meta.subject,
        side=_side(first.meta.side),
        array=first.meta.array,
        conditioning=choice.conditioning,
        features=FeatureSpec(set=choice.feature_set, settings=choice.settings, compress=compress, clip=CLIP),
        outputs=_outputs(first, stream, rows),
        gestures=gestures,
        decision=DecisionSettings(),
        warmup_s=WARMUP_S,
        training=Training(
            sessions=tuple(
                TrainingSession(
                    identifier=s.session.meta.identifier, sha256=s.sha256, repetitions=options.repetitions
                )
                for s in sources
            ),
            network=options.network,
            n_parameters=trained.step_network.n_parameters,
            seed=options.seed,
            nervehand_version=options.version,
            commit=source_commit(),
            metrics=trained.metrics | reaction,
        ),
        health=health,
    )
    graph = build_step_graph(trained.step_network)
    rest = rest_features(z, stream.masked, rows[label[rows] == REST])
    return Bundle(manifest, coefficients, normalisation, position_map, graph, rest=rest)


@dataclass(frozen=True, slots=True)
class _Taught:
    """What a network learns from: the stream's rows, composed trials behind them, and the pieces of both."""

    features: NDArray[np.float32]
    masked: NDArray[np.bool_]
    truth: NDArray[np.float32] | None
    pieces: tuple[Piece, ...]
    n_steps: int | None = None


def _taught(
    first: Session,
    stream: FeatureStream,
    chosen: Sequence[Piece],
    names: tuple[str, ...],
    choice: FrontEndChoice,
    seed: int,
) -> _Taught:
    """A nerve's trials with six positions as truth, and what they compose to; of anything else the trials alone."""
    alone = _Taught(stream.features, stream.masked, stream.truth, tuple(chosen))
    if first.info.kind != "nerve" or first.truth_names != DOF_NAMES or stream.truth is None:
        return alone
    if not can_compose(names) or not np.isfinite(stream.truth).all():
        return alone
    composed = compose(
        stream.features,
        stream.masked,
        stream.truth,
        chosen,
        names,
        choice.settings.window_samples,
        stream.hop_s,
        np.random.default_rng(seed),
    )
    if composed is None:
        return alone
    more = composed.pieces(len(stream), 1 + max(p.trial for p in chosen), 1 + int(stream.segment.max()))
    often = max(1, round(RECORDED_SHARE / (1 - RECORDED_SHARE) * sum(map(len, more)) / sum(map(len, chosen))))
    return _Taught(
        np.concatenate([stream.features, composed.features]),
        np.concatenate([stream.masked, composed.masked]),
        np.concatenate([stream.truth, composed.truth]),
        (*(tuple(chosen) * often), *more),
        COMPOSED_STEPS,
    )


def _repeats(names: tuple[str, ...], choice: FrontEndChoice) -> NDArray[np.float32] | None:
    """How many columns tell the same: those of a channel's one band, and the low band that a group's channels share."""
    kinds = [name.rsplit("/", 1)[1] for name in names]
    channels = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in names))
    if not any(kind in LOW_BAND for kind in kinds):
        return None
    n_high = sum(kind not in LOW_BAND for kind in kinds) // len(channels)
    groups = np.array(choice.settings.groups or (0,) * len(channels))
    of_group = [int(np.count_nonzero(groups == group)) for group in groups]
    tells: dict[str, list[int]] = {"low_square": [1] * len(channels), "low_common": of_group}
    return np.array(
        [
            tells.get(kind, [n_high] * len(channels))[channels.index(name.rsplit("/", 1)[0])]
            for name, kind in zip(names, kinds, strict=True)
        ],
        np.float32,
    )


def rest_features(
    z: NDArray[np.float32], masked: NDArray[np.bool_], rows: NDArray[np.int64]
) -> RestFeatures | None:
    """Mean and spread of each normalised feature (n, f) over the rows of rest in which it was not masked.

    None with less than MIN_REST rows; a column that was always masked has mean and spread 0, as its features are.
    """
    if len(rows) < MIN_REST:
        return None
    there = ~masked[rows]
    n = np.maximum(there.sum(0), 1)
    values = np.where(there, z[rows], 0).astype(np.float64)
    mean = values.sum(0) / n
    spread = np.sqrt((np.where(there, values - mean, 0) ** 2).sum(0) / n)
    return RestFeatures(mean.astype(np.float32), spread.astype(np.float32))


def _require_same(first: Session, other: Session) -> None:
    for what, a, b in (
        ("kind", first.info.kind, other.info.kind),
        ("sampling rate", first.info.rate_hz, other.info.rate_hz),
        ("channels", first.info.channel_names, other.info.channel_names),
        ("electrodes", first.info.electrodes, other.info.electrodes),
        ("subject", first.meta.subject, other.meta.subject),
        ("side", first.meta.side, other.meta.side),
        ("electrode array", first.meta.array, other.meta.array),
        ("truth columns", first.truth_names, other.truth_names),
    ):
        if a != b:
            raise StreamMismatchError(
                f"session {first.meta.identifier} has {what} {a!r}, session {other.meta.identifier} has {b!r}: "
                "fit one decoder from sessions of one person and one stream"
            )


def _gesture_names(sessions: Sequence[Session]) -> tuple[str, ...]:
    names = list(sessions[0].gesture_names)
    for session in sessions[1:]:
        names += [name for name in session.gesture_names if name not in names]
    return tuple(names)


def _rows(chosen: Sequence[Piece]) -> NDArray[np.int64]:
    if not chosen:
        raise NervehandError("no trial is left to learn from: record some, or choose other repetitions")
    return np.concatenate([np.arange(piece.start, piece.stop) for piece in chosen])


def _require_something_to_learn(
    stream: FeatureStream, rows: NDArray[np.int64], gestures: tuple[str, ...]
) -> None:
    label = stream.label[rows]
    found = np.unique(label[label >= 0])
    if stream.truth is None and len(found) < 2:
        names = ", ".join(gestures[i] for i in found) or "no label"
        raise NervehandError(
            f"the training trials hold one class only ({names}) and no ground truth: record rest and at least "
            "one movement, or give truth"
        )
    dead = stream.masked[rows].all(1).mean()
    if dead > MOST_DEAD:
        raise NervehandError(
            f"every channel is masked (flat, railed or not finite) in {100 * dead:.0f} % of the training hops: "
            "check the recording"
        )


def _outputs(first: Session, stream: FeatureStream, rows: NDArray[np.int64]) -> tuple[OutputSpec, ...]:
    if stream.truth is None:
        return ()
    low, high = np.percentile(stream.truth[rows], RANGE_PERCENT, axis=0)
    return tuple(
        OutputSpec(name=name, unit=unit, lower=float(a), upper=float(b))
        for name, unit, a, b in zip(first.truth_names, first.truth_units, low, high, strict=True)
    )


def _position_map(
    sessions: Sequence[Session], stream: FeatureStream, rows: NDArray[np.int64], gestures: tuple[str, ...]
) -> PositionMap:
    postures = np.full((len(gestures), N_DOF), np.nan, np.float32)
    for session in sessions:
        own = postures_of(session.gesture_names, session.postures)
        for name, posture in zip(session.gesture_names, own, strict=True):
            if np.isfinite(posture).all():
                postures[gestures.index(name)] = posture
    if stream.truth is None:
        matrix, offset = np.zeros((N_DOF, 0), np.float32), np.zeros(N_DOF, np.float32)
    else:
        matrix, offset = map_to_positions(
            stream.truth[rows], sessions[0].truth_names, stream.label[rows], postures
        )
    return PositionMap(matrix, offset, np.nan_to_num(postures))


def _side(side: str) -> Side:
    match side:
        case "left":
            return "left"
        case "right":
            return "right"
        case _:
            return ""


def source_commit() -> str:
    """The commit that this code was checked out at; '' where it is not under version control."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD", "HEAD:./fit.py"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split()[0]
