"""How a calibrated decoder does on another day of the simulated person, in a new order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calibration.datasets import pieces
from calibration.evaluation import bundle_meaning, bundle_stream
from calibration.paradigm import Movement, Paradigm
from calibration.performance import performance
from calibration.running import Summary, score_decoder, seeded_orders
from calibration.simulated_wearer import Wearer
from decoder import engines
from decoder.bundle import Bundle, read_bundle
from decoder.session.model import Session

NEW_ORDER = 1000
"""Added to the seed of the orders: never one that a calibration used."""
UNTRAINED: tuple[Movement, ...] = (
    Movement("thumb and index", (1, 1, 0, 0, 0, 0)),
    Movement("index and middle", (0, 1, 1, 0, 0, 0)),
    Movement("ring and little", (0, 0, 0, 1, 1, 0)),
    Movement("thumb and little", (1, 0, 0, 0, 1, 0)),
    Movement("thumb, index, middle", (1, 1, 1, 0, 0, 0)),
    Movement("fist, wrist bent", (1, 1, 1, 1, 1, 1)),
    Movement("index, wrist back", (0, 1, 0, 0, 0, -1)),
)
"""Combinations of degrees of freedom that no default paradigm holds."""
SHOWN = ("steady_per_dof_accuracy", "steady_per_dof_balanced_accuracy", "steady_exact_match")


def fresh_day_scores(decoder: Path, wearer: Wearer, paradigm: Paradigm, day: int) -> dict[str, object]:
    """Raw scores of the exported engine on the trained movements and on combinations that were never trained."""
    bundle = read_bundle(decoder)
    test = replace(wearer, day=day)
    new = replace(paradigm, kind="mimic", seed=paradigm.seed + NEW_ORDER)
    trained = scores_on(bundle, performance(test, new))
    untrained = scores_on(bundle, untrained_session(test, new))
    return {
        **{name: _rounded(trained.mean[name]) for name in SHOWN},
        **{f"untrained_{name}": _rounded(untrained.mean[name]) for name in SHOWN},
    }


def untrained_session(wearer: Wearer, paradigm: Paradigm) -> Session:
    """A session of combinations that were never trained."""
    return performance(wearer, replace(paradigm, movements=UNTRAINED))


def scores_on(bundle: Bundle, session: Session) -> Summary:
    """Scores of the degrees of freedom (METRICS): movements that the decoder does not know by name count as well."""
    known = set(bundle.manifest.gestures)
    if not set(session.gesture_names) <= known:
        # A name stands for a posture here: only the positions are scored.
        session = replace(session, gesture_names=_borrowed(session.gesture_names, bundle.manifest.gestures))
    stream = bundle_stream(bundle, session)
    z = bundle.normalisation.apply(stream.features, stream.masked)
    unscored_s = bundle.manifest.features.settings.window_samples / bundle.coefficients.rate_hz
    return score_decoder(
        engines.load(bundle.step_graph),
        bundle_meaning(bundle),
        stream,
        z,
        seeded_orders(pieces(stream)),
        unscored_s,
    )


def _borrowed(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """As many of the decoder's names, rest first: what its gestures are called says nothing of positions."""
    return tuple(known[: len(names)])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
