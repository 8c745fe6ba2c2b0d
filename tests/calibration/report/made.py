"""Findings without a recording: what a good calibration comes to, and the worst that a page must hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.records import AlignmentRecord, FitRecord, Reason, TrialRecord, Verdict
from calibration.report.comparison import Comparison
from calibration.report.content import Content
from calibration.report.findings import (
    ChannelFinding,
    Confusion,
    Findings,
    MovementFinding,
    Occasion,
    Scores,
    StageLatency,
    Traces,
    TuningMap,
)
from calibration.report.rules import recommend
from firmware_bridge.hand import DOF_NAMES

NAMES = ("rest", "thumb", "index", "fist")
CHANNELS = ("c0", "c1", "c2", "c3")
BARE = {
    "exact_match": 0.96,
    "per_dof_accuracy": 0.99,
    "per_dof_balanced_accuracy": 0.97,
    "balanced_accuracy": 0.95,
}


def scores(**changes: float | None) -> Scores:
    """Good ones; `changes` by bare name are of what the hand is told, by full name anything."""
    mean: dict[str, float | None] = {
        f"{prefix}{name}": value for name, value in BARE.items() for prefix in ("decided_", "decided_steady_")
    }
    mean |= {
        "unintended_activations": 1.0,
        "unintended_activations_per_hour": 60.0 / 30.0,
        "unintended_activations_upper_95_per_hour": 9.5,
        "rest_hours": 0.5,
        "unintended_releases": 0.0,
        "unintended_releases_per_hour": 0.0,
        "unintended_releases_upper_95_per_hour": 30.0,
        "hold_hours": 0.1,
        "decided_onset_latency_ms": 120.0,
        "decided_offset_latency_ms": 140.0,
    }
    for name, value in changes.items():
        both = (f"decided_{name}", f"decided_steady_{name}") if name in BARE else (name,)
        mean |= dict.fromkeys(both, value)
    return Scores(
        mean=mean,
        spread={f"decided_steady_{name}": 0.01 for name in BARE},
        chance={
            "exact_match": 0.5,
            "per_dof_accuracy": 0.9,
            "per_dof_balanced_accuracy": 0.5,
            "balanced_accuracy": 0.25,
        },
        not_scored={},
        per_dof=dict.fromkeys(DOF_NAMES, 0.99),
        n_trials=9,
        n_parts=3,
    )


def trial(
    number: int, movement: str = "thumb", *reasons: Reason, accepted: bool | None = None
) -> TrialRecord:
    """A trial of three per round; bad where there is a reason."""
    return TrialRecord(
        number, (number - 1) // 3 + 1, (number - 1) // 3 + 1, movement, "session.nwb",
        100 * number, 100 * number + 30, 100 * number + 60, 100 * number + 100,
        Verdict.BAD if reasons else Verdict.GOOD, reasons, accepted, 0.2 if reasons else 0.95, 0.15, 0.9,
    )  # fmt: skip


def findings() -> Findings:
    """A calibration in which nothing is wrong: three movements, three rounds, four channels."""
    wave = tuple(np.round(np.sin(np.linspace(0, 6, 60)), 3).tolist())
    return Findings(
        occasion=Occasion(
            subject="p1", side="left", session="session-1", made_at="2026-03-01T10:00:00+00:00", made_by="A. Miller",
            notes="", source="array-1, median", kind="nerve", rate_hz=10000.0, n_channels=4, minutes=4.5,
            network="compact", decoder_sha256="ab" * 32,
        ),
        movements=tuple(MovementFinding(name, 3, 3, 0.98, "rest", 0.02) for name in NAMES[1:]),
        rest_recognised=0.99,
        trials=tuple(trial(i + 1, NAMES[1 + i % 3]) for i in range(9)),
        alignment=AlignmentRecord(20.0, 0.001, 0.15, 0.9, 0.01),
        fits=(
            FitRecord(1, 3, {"exact_match": 0.95}, 5.0),
            FitRecord(2, 6, {"exact_match": 0.958}, 6.0),
            FitRecord(3, 9, {}, 7.0),
        ),
        channels=tuple(ChannelFinding(name, 4.0 + i, 0.0, {}) for i, name in enumerate(CHANNELS)),
        tuning=TuningMap(
            ("thumb", "index"), (1, 1), CHANNELS, ((0.9, 0.1, -0.2, 0.0), (0.1, 0.7, -0.8, None))
        ),
        scores=scores(),
        confusion=Confusion(NAMES, ((99, 1, 0, 0), (2, 98, 0, 0), (2, 0, 98, 0), (2, 0, 0, 98))),
        traces=Traces(0.05, (wave,) * 6, (wave,) * 6, ("thumb", "index"), (0.0, 1.5)),
        algorithmic_latency_ms=120.0,
        latency=(StageLatency("decode", 0.3, 1.1),),
    )  # fmt: skip


def content(found: Findings, comparison: Comparison | None = None) -> Content:
    """The report on findings."""
    return Content(found, comparison, *recommend(found, comparison))


def unscored() -> Findings:
    """One round of cues that nobody measured, and dead channels: nearly nothing is known."""
    found = findings()
    return replace(
        found,
        occasion=replace(found.occasion, subject="", side="", made_at="", made_by="", source="", kind="emg"),
        movements=tuple(MovementFinding(name, 1, 1) for name in NAMES[1:]),
        rest_recognised=None,
        trials=(),
        alignment=None,
        fits=(FitRecord(1, 3, {}, 5.0),),
        channels=tuple(ChannelFinding(name, None, 1.0, {"flat": 1.0}) for name in CHANNELS),
        tuning=None,
        scores=None,
        confusion=None,
        traces=None,
        algorithmic_latency_ms=None,
        latency=(),
    )


NASTY = (
    "<script>alert('x')</script>",
    '$x^2$ & "y" <',
    "]]>\x00\x07\u202e",
    "onload=\" url(#clip) id='a'",
    *(f"a movement with a very long name, number {i}" for i in range(10)),
)


def extreme() -> Findings:
    """60 channels, 14 movements with names that no page should trust, a hundred bad trials, everything long."""
    rng = np.random.default_rng(1)
    names = ("rest", *NASTY)
    n = len(names)
    counts = rng.integers(0, 40, (n, n)) + np.diag([300] * n)
    counts[1, 1:3] = 10, 900  # the two that are mixed up most often
    reasons = list(Reason)
    made = [
        replace(
            trial(k + 1, NASTY[k % 14], *(reasons[(k + i) % 7] for i in range(3) if k % 14 < 5)),
            round_number=k // 14 + 1,
            repetition=k // 14 + 1,
            accepted=True if k % 40 == 1 else None,
        )
        for k in range(280)
    ]
    channels = tuple(f"electrode with a long name {i}" for i in range(60))
    values = rng.uniform(-1, 1, (12, 60))
    found = findings()
    wave = tuple(np.round(np.sin(np.linspace(0, 60, 1200)), 3).tolist())
    return replace(
        found,
        occasion=replace(
            found.occasion, subject='<b>"O\'Brien" & Söhne</b> ' * 10, notes="note & <i> " * 100, made_by="x" * 200,
            session="s" * 300, source="array " * 50, n_channels=60, minutes=1e4,
        ),
        movements=tuple(MovementFinding(name, 20, 12, 0.3, NASTY[0], 0.4) for name in NASTY),
        trials=tuple(made),
        alignment=AlignmentRecord(-1234.5, 0.5, -1.25, 0.1, 0.5),
        fits=tuple(FitRecord(i, 14 * i, {"exact_match": 0.5 + 0.01 * i}, 3.0) for i in range(1, 21)),
        channels=tuple(
            ChannelFinding(name, float(rng.uniform(1, 9000)) if i % 7 else None, float(rng.random()), {"mains": 0.3})
            for i, name in enumerate(channels)
        ),
        tuning=TuningMap(
            tuple(part for part in DOF_NAMES for _ in range(2)),
            (1, -1) * 6,
            channels,
            tuple(tuple(None if v > 0.95 else float(v) for v in row) for row in values),
        ),
        scores=replace(
            scores(
                exact_match=0.4, unintended_activations=1e5, unintended_activations_per_hour=1e7,
                unintended_activations_upper_95_per_hour=1e8,
            ),
            n_trials=100000,
            n_parts=17,
        ),
        confusion=Confusion(names, tuple(tuple(row) for row in counts.tolist())),
        traces=Traces(0.05, (wave,) * 6, (wave,) * 6, NASTY, tuple(np.linspace(0, 55, 14).tolist())),
        latency=tuple(StageLatency(f"a stage with a long name {i}", 7.0 * i, 7e4 * i) for i in range(9)),
    )  # fmt: skip
