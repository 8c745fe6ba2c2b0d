"""What changed since the last calibration of the same person."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from calibration.report.channels import typical_noise_uv
from calibration.report.findings import Findings
from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import from_plain

FORMAT, VERSION = "nervehand-calibration-report", 1
COMPARED = (
    "decided_steady_exact_match",
    "decided_steady_per_dof_accuracy",
    "decided_steady_per_dof_balanced_accuracy",
    "decided_steady_balanced_accuracy",
)
LEAST_CHANGE = 0.01
"""Below a point of a hundred nothing is called better or worse, however little it varies."""
LOST_FROM, FINE_UP_TO = 0.5, 0.1
"""Shares of the time: a channel is lost that was masked at least so long now, and at most so long last time."""


class Direction(Enum):
    """What became of a score."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A score then and now; a change counts from `matters` on: what varies within the calibrations, or a point."""

    score: str
    before: float | None
    now: float | None
    matters: float
    direction: Direction


@dataclass(frozen=True, slots=True)
class Comparison:
    """Against the report made at `made_at`: scores, channels lost and back, the median channel's noise then and now."""

    made_at: str
    scores: tuple[ScoreChange, ...]
    lost: tuple[str, ...]
    back: tuple[str, ...]
    noise_before_uv: float | None
    noise_now_uv: float | None


def findings_of(report: Mapping[str, object]) -> Findings:
    """The findings in a report's JSON. Raises NervehandError where it is something else, or of a later version."""
    if report.get("format") != FORMAT:
        raise NervehandError("the previous report is not a calibration report: give the JSON file of one")
    if report.get("version") != VERSION:
        raise NervehandError(
            f"the previous report has version {report.get('version')!r}, this program knows {VERSION}: "
            "use a program as new as the report"
        )
    return from_plain(Findings, report.get("findings"), "previous report")


def compare(before: Findings, now: Findings) -> Comparison:
    """Raises NervehandError where they are of two people, or of two arms."""
    for what in ("subject", "side"):
        a, b = getattr(before.occasion, what), getattr(now.occasion, what)
        if a != b:
            raise NervehandError(
                f"the previous report is of {what} {a or 'unnamed'!r}, this calibration of {b or 'unnamed'!r}: "
                "give a report of the same arm"
            )
    masked_before = {channel.name: channel.masked_share for channel in before.channels}
    masked_now = {channel.name: channel.masked_share for channel in now.channels}
    both = [name for name in masked_now if name in masked_before]
    return Comparison(
        before.occasion.made_at,
        tuple(_change(name, before, now) for name in COMPARED),
        tuple(name for name in both if _went(masked_before[name], masked_now[name])),
        tuple(name for name in both if _went(masked_now[name], masked_before[name])),
        typical_noise_uv(before.channels),
        typical_noise_uv(now.channels),
    )


def _went(fine: float, bad: float) -> bool:
    return fine <= FINE_UP_TO and bad >= LOST_FROM


def _change(name: str, before: Findings, now: Findings) -> ScoreChange:
    a, b = before.score(name), now.score(name)
    spreads = [of.scores.spread.get(name) or 0.0 for of in (before, now) if of.scores is not None]
    matters = max(LEAST_CHANGE, math.hypot(*spreads))
    if a is None or b is None:
        direction = Direction.NOT_KNOWN
    elif abs(b - a) < matters:
        direction = Direction.SAME
    else:
        direction = Direction.BETTER if b > a else Direction.WORSE
    return ScoreChange(name, a, b, matters, direction)
