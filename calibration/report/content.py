"""What goes into a report, and what comes of it: all numbers, the comparison, the verdict and the advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from calibration.evaluation import bundle_stream, evaluate
from calibration.records import AlignmentRecord, FitRecord, TrialRecord
from calibration.report.channels import channel_quality
from calibration.report.comparison import FORMAT, VERSION, Comparison, compare, findings_of
from calibration.report.findings import (
    Confusion,
    Findings,
    MovementFinding,
    Occasion,
    StageLatency,
)
from calibration.report.held_out import HeldOut, recalls, score_held_out, used_pieces
from calibration.report.rules import Readiness, Recommendation, recommend
from calibration.report.tuning import tuning_map
from decoder.bundle import Bundle
from decoder.session.model import Session, trials
from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import to_plain


@dataclass(frozen=True)
class Calibrated:
    """A finished calibration.

    `session` is labelled; its `trial` column holds the numbers of `trials`, those left out included or not. `bundle` is
    what was exported. `held_out` are decoders made like it, each without the repetitions that it is to be scored on;
    `fits` the scores after each round; `alignment` None: no able hand was measured, the cues stand for it;
    `previous` the JSON of the last report of the same arm. `made_at` is ISO 8601 ('' takes the session's start).
    `latency_ms` (p50, p99) of each stage, in ms.
    """

    session: Session
    bundle: Bundle
    trials: tuple[TrialRecord, ...] = ()
    alignment: AlignmentRecord | None = None
    fits: tuple[FitRecord, ...] = ()
    held_out: tuple[HeldOut, ...] = ()
    previous: Mapping[str, object] | None = None
    made_by: str = ""
    made_at: str = ""
    notes: str = ""
    latency_ms: Mapping[str, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Content:
    """All that a report says."""

    findings: Findings
    comparison: Comparison | None
    verdict: Readiness
    recommendations: tuple[Recommendation, ...]

    def to_json(self) -> dict[str, object]:
        """The object that the JSON file holds; floats to six digits after the point."""
        plain = to_plain({"findings": self.findings, "comparison": self.comparison})
        assert isinstance(plain, dict)
        advice = [
            {"rule": one.rule, "weight": one.weight.name.lower(), "text": one.text}
            for one in self.recommendations
        ]
        return {
            "format": FORMAT,
            "version": VERSION,
            "verdict": self.verdict.value,
            "recommendations": advice,
            **{name: _rounded(value) for name, value in plain.items()},
        }


def content_of(calibrated: Calibrated, on_progress: Callable[[str], None] = lambda text: None) -> Content:
    """Compute everything.

    Raises NervehandError where session, bundles and previous report do not belong together.
    """
    previous = None if calibrated.previous is None else findings_of(calibrated.previous)
    session, bundle = calibrated.session, calibrated.bundle
    bundle.require_wearer(session.meta.subject, session.meta.side, session.meta.array)
    on_progress("channels")
    channels = channel_quality(session, bundle)
    on_progress("tuning")
    stream = bundle_stream(bundle, session)
    tuning = tuning_map(bundle, stream, used_pieces(stream, calibrated.trials))
    result = score_held_out(session, calibrated.trials, calibrated.held_out, on_progress)
    on_progress("latency")
    confusion = None if result is None else result.confusion
    rest = None if confusion is None else recalls(confusion)[0]
    findings = Findings(
        occasion=_occasion(calibrated),
        movements=_movements(calibrated, confusion),
        rest_recognised=rest,
        trials=calibrated.trials,
        alignment=calibrated.alignment,
        fits=calibrated.fits,
        channels=channels,
        tuning=tuning,
        scores=None if result is None else result.scores,
        confusion=confusion,
        traces=None if result is None else result.traces,
        algorithmic_latency_ms=_algorithmic_latency_ms(session, bundle),
        latency=tuple(
            StageLatency(stage, float(p50), float(p99))
            for stage, (p50, p99) in (calibrated.latency_ms or {}).items()
        ),
    )
    comparison = None if previous is None else compare(previous, findings)
    verdict, recommendations = recommend(findings, comparison)
    return Content(findings, comparison, verdict, recommendations)


def _occasion(calibrated: Calibrated) -> Occasion:
    info, meta = calibrated.session.info, calibrated.session.meta
    training = calibrated.bundle.manifest.training
    return Occasion(
        subject=meta.subject,
        side=meta.side,
        session=meta.identifier,
        made_at=calibrated.made_at or meta.start_time,
        made_by=calibrated.made_by,
        notes=calibrated.notes,
        source=", ".join(part for part in (meta.array, info.nerve) if part),
        kind=info.kind,
        rate_hz=info.rate_hz,
        n_channels=info.n_channels,
        minutes=calibrated.session.duration_s / 60.0,
        network=training.network,
        decoder_sha256=calibrated.bundle.sha256,
    )


def _movements(calibrated: Calibrated, confusion: Confusion | None) -> tuple[MovementFinding, ...]:
    """One for each movement of the decoder, and of the records, in the decoder's order."""
    names = list(calibrated.bundle.manifest.gestures[1:])
    names += [trial.movement for trial in calibrated.trials if trial.movement not in names]
    made, used = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    if calibrated.trials:
        for record in calibrated.trials:
            made[record.movement] += 1
            used[record.movement] += record.is_used
    else:
        known = calibrated.session.gesture_names
        for trial in trials(calibrated.session):
            if trial.gesture and known[trial.gesture] in made:
                made[known[trial.gesture]] += 1
                used[known[trial.gesture]] += 1
    found = {} if confusion is None else _recognised(confusion)
    return tuple(
        MovementFinding(name, made[name], used[name], *found.get(name, ())) for name in dict.fromkeys(names)
    )


def _recognised(confusion: Confusion) -> dict[str, tuple[float, str, float]]:
    """For each name that occurred its recall, what it was most often taken for ('' for nothing), and how often."""
    found = {}
    for i, (name, row) in enumerate(zip(confusion.names, confusion.counts, strict=True)):
        total = sum(row)
        if not total:
            continue
        others = [0 if j == i else count for j, count in enumerate(row)]
        worst = max(range(len(row)), key=others.__getitem__)
        taken = confusion.names[worst] if others[worst] else ""
        found[name] = (row[i] / total, taken, others[worst] / total)
    return found


def _algorithmic_latency_ms(session: Session, bundle: Bundle) -> float | None:
    """Of the delivered decoder: a property of its filters and smoothing, so the trials may be those it learned from."""
    if session.labels is None:
        return None
    try:
        return evaluate(bundle, [session], n_orders=1).scores.mean["algorithmic_latency_ms"]
    except NervehandError:
        return None  # no trial is long enough to hold a step


def _rounded(value: object) -> object:
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {key: _rounded(one) for key, one in value.items()}
        case list():
            return [_rounded(one) for one in value]
        case _:
            return value
