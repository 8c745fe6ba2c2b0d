"""How a calibrated decoder does on another day of the simulated person, in a new order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.calibrated_cohort import NEW_ORDER, STEADY, UNTRAINED
from calibration.datasets import pieces
from calibration.evaluation import bundle_meaning, bundle_stream
from calibration.paradigm import Paradigm
from calibration.performance import performance
from calibration.running import Summary, score_decoder, seeded_orders
from calibration.simulated_wearer import Wearer
from decoder import engines
from decoder.bundle import Bundle, read_bundle
from decoder.session.model import Session


def fresh_day_scores(decoder: Path, wearer: Wearer, paradigm: Paradigm, day: int) -> dict[str, object]:
    """Raw scores of the exported engine on the trained movements and on combinations that were never trained."""
    bundle = read_bundle(decoder)
    test = replace(wearer, day=day)
    new = replace(paradigm, kind="mimic", seed=paradigm.seed + NEW_ORDER)
    trained = scores_on(bundle, performance(test, new))
    untrained = scores_on(bundle, untrained_session(test, new))
    return {
        **{name: _rounded(trained.mean[name]) for name in STEADY},
        **{f"untrained_{name}": _rounded(untrained.mean[name]) for name in STEADY},
    }


def untrained_session(wearer: Wearer, paradigm: Paradigm) -> Session:
    """A session of combinations that were never trained."""
    return performance(wearer, replace(paradigm, movements=UNTRAINED))


def scores_on(bundle: Bundle, session: Session) -> Summary:
    """Scores of the degrees of freedom (METRICS): movements that the decoder does not know by name count as well."""
    known = set(bundle.manifest.gestures)
    if not set(session.gesture_names) <= known:
        session = _renamed(session, bundle.manifest.gestures)
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


def _renamed(session: Session, known: tuple[str, ...]) -> Session:
    """The same under the decoder's names, rest first, some for several movements: only positions are scored, and there
    a name says no more than that it is not rest."""
    assert session.labels is not None  # a performance has them
    labels = np.where(session.labels > 0, 1 + (session.labels - 1) % (len(known) - 1), session.labels)
    return replace(session, gesture_names=known, labels=labels.astype(session.labels.dtype), postures=None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
