"""Against the last calibration of the same arm: what changed, and by how much something must change to count."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from calibration.report.comparison import Comparison, Direction, compare, findings_of
from calibration.report.findings import ChannelFinding, Findings
from firmware_bridge.errors import NervehandError
from tests.calibration.report.made import content, extreme, findings, scores, unscored


def of_score(comparison: Comparison, name: str = "decided_steady_exact_match") -> Direction:
    return next(change.direction for change in comparison.scores if change.score == name)


def with_exact(value: float | None, spread: float = 0.0) -> Findings:
    made = scores(exact_match=value)
    return replace(findings(), scores=replace(made, spread={"decided_steady_exact_match": spread}))


@pytest.mark.parametrize(
    ("before", "now", "spread", "direction"),
    [
        (0.90, 0.95, 0.0, Direction.BETTER),
        (0.95, 0.90, 0.0, Direction.WORSE),
        (0.950, 0.959, 0.0, Direction.SAME),  # below a point
        (0.90, 0.95, 0.04, Direction.SAME),  # below what both vary by: 0.057
        (0.90, 0.95, 0.03, Direction.BETTER),  # above: 0.042
        (None, 0.9, 0.0, Direction.NOT_KNOWN),
        (0.9, None, 0.0, Direction.NOT_KNOWN),
    ],
)
def test_a_score_changed_where_it_changed_by_more_than_it_varies(
    before: float | None, now: float | None, spread: float, direction: Direction
) -> None:
    assert of_score(compare(with_exact(before, spread), with_exact(now, spread))) is direction


def test_channels_are_lost_and_come_back() -> None:
    def with_shares(*shares: float) -> Findings:
        made = tuple(ChannelFinding(f"c{i}", 4.0, share, {}) for i, share in enumerate(shares))
        return replace(findings(), channels=made)

    comparison = compare(with_shares(0.0, 0.9, 0.3, 0.0), with_shares(0.9, 0.0, 0.9, 0.4))
    assert comparison.lost == ("c0",)  # c2 was bad before, c3 is not bad enough
    assert comparison.back == ("c1",)


def test_the_report_of_another_arm_is_refused_and_both_are_named() -> None:
    now = findings()
    for change in ({"subject": "p2"}, {"side": "right"}):
        other = replace(now, occasion=replace(now.occasion, **change))  # type: ignore[arg-type]
        with pytest.raises(NervehandError, match=next(iter(change.values()))):
            compare(other, now)


@pytest.mark.parametrize("found", [findings(), unscored(), extreme()], ids=["good", "unscored", "extreme"])
def test_findings_come_back_from_the_json_of_a_report(found: Findings) -> None:
    there = json.loads(json.dumps(content(found).to_json()))
    again = findings_of(there)
    assert content(again).to_json() == content(found).to_json()
    assert compare(again, found).scores == compare(found, found).scores


def test_something_else_is_refused_and_so_is_a_later_version() -> None:
    report = content(findings()).to_json()
    with pytest.raises(NervehandError, match="not a calibration report"):
        findings_of({"format": "something"})
    with pytest.raises(NervehandError, match="version 2"):
        findings_of(report | {"version": 2})
    with pytest.raises(NervehandError, match="previous report"):
        findings_of(report | {"findings": {"occasion": 3}})
