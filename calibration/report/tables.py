"""The two tables of the page: how well the hand is understood, and what changed since last time."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.report.comparison import Comparison, Direction
from calibration.report.findings import Findings
from calibration.report.texts import (
    TEXTS,
    counted,
    dated,
    duration,
    listed,
    microvolts,
    percent,
    points,
    shortened,
)

_MEASURES = ("exact_match", "per_dof_accuracy", "per_dof_balanced_accuracy", "balanced_accuracy")
_FOLLOWED = "joint_r2"  # told where there are no movements to recognise: a moving target was followed
_EVENTS = (
    ("activations", "unintended_activations", "rest_hours"),
    ("releases", "unintended_releases", "hold_hours"),
)
_NONE = "–"


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of the table of scores; `wide` stands for the three numbers where there is one."""

    name: str
    meaning: str
    steady: str = _NONE
    all: str = _NONE
    chance: str = _NONE
    wide: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    name: str
    before: str
    now: str
    word: str


def measures(found: Findings) -> list[Measure]:
    if found.scores is None:
        return []
    rows = []
    followed = () if found.score("decided_balanced_accuracy") is not None else (_FOLLOWED,)
    for name in (*_MEASURES, *followed):
        steady, everywhere = found.score(f"decided_steady_{name}"), found.score(f"decided_{name}")
        if steady is None and everywhere is None:
            continue
        rows.append(
            Measure(
                TEXTS[f"measure.{name}"],
                TEXTS[f"measure.{name}.meaning"],
                _share(steady, found.scores.spread.get(f"decided_steady_{name}")),
                _share(everywhere),
                _share(found.chance(name)),
            )
        )
    rows += [_event(found, *event) for event in _EVENTS if found.score(event[1]) is not None]
    onset, offset = found.score("decided_onset_latency_ms"), found.score("decided_offset_latency_ms")
    if onset is not None or offset is not None:
        value = TEXTS["measure.onset.value"].format(onset=_ms(onset), offset=_ms(offset))
        rows.append(Measure(TEXTS["measure.onset"], TEXTS["measure.onset.meaning"], wide=value))
    if found.algorithmic_latency_ms is not None:
        rows.append(
            Measure(
                TEXTS["measure.latency"],
                TEXTS["measure.latency.meaning"],
                wide=_ms(found.algorithmic_latency_ms),
            )
        )
    if found.latency:
        slowest = max(found.latency, key=lambda stage: stage.p99_ms)
        value = TEXTS["measure.compute.value"].format(
            p50=f"{slowest.p50_ms:.2g}", p99=f"{slowest.p99_ms:.2g}", stage=shortened(slowest.stage, 14)
        )
        rows.append(Measure(TEXTS["measure.compute"], TEXTS["measure.compute.meaning"], wide=value))
    return rows


def _event(found: Findings, key: str, count_name: str, hours_name: str) -> Measure:
    count, hours = found.score(count_name) or 0.0, found.score(hours_name) or 0.0
    rate, upper = (found.score(f"{count_name}_{part}") for part in ("per_hour", "upper_95_per_hour"))
    value = TEXTS["measure.events"].format(
        count=f"{count:,.0f}" if count == round(count) else f"{count:,.1f}",
        time=duration(3600.0 * hours),
        rate=_NONE if rate is None else f"{rate:,.0f}",
        upper=_NONE if upper is None else f"{upper:,.0f}",
    )
    return Measure(TEXTS[f"measure.{key}"], TEXTS[f"measure.{key}.meaning"], wide=value)


def how_measured(found: Findings) -> str:
    if found.scores is None:
        return TEXTS["scores.none"]
    n = found.scores.n_parts
    folds = {1: "scores.folds.one", 2: "scores.folds.two"}.get(n, "scores.folds.many")
    return TEXTS["scores.how"].format(
        trials=counted(found.scores.n_trials, "trial"), folds=TEXTS[folds].format(n=n)
    )


def changes(comparison: Comparison | None) -> list[Changed]:
    if comparison is None:
        return []
    words = {
        Direction.BETTER: f"▲ {TEXTS['compare.better']}",
        Direction.WORSE: f"▼ {TEXTS['compare.worse']}",
        Direction.SAME: f"= {TEXTS['compare.same']}",
        Direction.NOT_KNOWN: TEXTS["compare.not_known"],
    }
    rows = [
        Changed(
            TEXTS[f"measure.{change.score.removeprefix('decided_steady_')}"],
            _share(change.before),
            _share(change.now),
            words[change.direction],
        )
        for change in comparison.scores
        if change.direction is not Direction.NOT_KNOWN
    ]
    before, now = (
        _NONE if uv is None else microvolts(uv)
        for uv in (comparison.noise_before_uv, comparison.noise_now_uv)
    )
    return [*rows, Changed(TEXTS["compare.noise"], before, now, "")]


def compared(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return [TEXTS["compare.none"]]
    texts = [TEXTS["compare.since"].format(date=dated(comparison.made_at) or TEXTS["unknown"])]
    if comparison.lost:
        texts.append(TEXTS["compare.lost"].format(channels=listed(comparison.lost, 8)))
    else:
        texts.append(TEXTS["compare.no_channel"])
    if comparison.back:
        texts.append(TEXTS["compare.back"].format(channels=listed(comparison.back, 8)))
    return texts


def _share(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return _NONE
    text = percent(value, 1)
    return f"{text} ± {points(spread, unit=False)}" if spread else text


def _ms(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0f} ms"
