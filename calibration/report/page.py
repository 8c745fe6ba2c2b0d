"""A report's content as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.records import TrialRecord
from calibration.report import panels
from calibration.report.comparison import Comparison, Direction
from calibration.report.content import Content
from calibration.report.findings import Findings
from calibration.report.rules import PERSON, Readiness, Recommendation
from calibration.report.template import PAGE, STYLE
from calibration.report.texts import (
    LANGUAGE,
    TEXTS,
    counted,
    duration,
    listed,
    microvolts,
    percent,
    points,
    shortened,
)
from firmware_bridge.errors import NervehandError

_SIGNS = {Readiness.READY: "✓", Readiness.USABLE: "↗", Readiness.NOT_READY: "✕", Readiness.NOT_SCORED: "?"}
_LONGEST_ADVICE, _ADVICE_LINES, _ADVICE_LINE = 290, 10, 60
_BIG = ("exact_match", "per_dof_accuracy", "balanced_accuracy")
_MEASURES = ("exact_match", "per_dof_accuracy", "per_dof_balanced_accuracy", "balanced_accuracy")
_FOLLOWED = "joint_r2"  # told where there are no movements to recognise: a moving target was followed
_EVENTS = (
    ("activations", "unintended_activations", "rest_hours"),
    ("releases", "unintended_releases", "hold_hours"),
)
_NONE = "–"


@dataclass(frozen=True, slots=True)
class _Measure:
    """A row of the table of scores; `wide` stands for the three numbers where there is one."""

    name: str
    meaning: str
    steady: str = _NONE
    all: str = _NONE
    chance: str = _NONE
    wide: str = ""


@dataclass(frozen=True, slots=True)
class _Big:
    value: str
    what: str


@dataclass(frozen=True, slots=True)
class _Changed:
    name: str
    before: str
    now: str
    word: str


def html_page(content: Content, json_name: str) -> str:
    """The page, as text. Raises NervehandError where Jinja2 or matplotlib, of the extra `train`, is missing."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise NervehandError(
            "a report needs Jinja2 and matplotlib: install the extra, pip install 'nervehand[train]'"
        ) from error
    found = content.findings
    occasion = found.occasion
    subject = shortened(occasion.subject, 40) or TEXTS["page.unnamed"]
    charts = panels.charts(content)
    environment = Environment(autoescape=False, undefined=StrictUndefined)
    return environment.from_string(PAGE).render(
        language=LANGUAGE,
        t=TEXTS,
        style=Markup(STYLE),
        title=f"{TEXTS['page.title']}: {subject}",
        made_at=shortened(occasion.made_at, 40),
        headline=_headline(found),
        verdict=content.verdict.value,
        sign=_SIGNS[content.verdict],
        bigs=_bigs(found),
        advice=_advice(content.recommendations),
        done=_done(found),
        measures=_measures(found),
        how=_how(found),
        changes=_changes(content.comparison),
        compared=_compared(content.comparison),
        chart=lambda name: Markup(charts[name]),
        footer=TEXTS["footer"].format(
            program=TEXTS["footer.program"],
            decoder=occasion.decoder_sha256[:12] or TEXTS["unknown"],
            session=shortened(occasion.session, 50),
            json=json_name,
        ),
    )


def _headline(found: Findings) -> str:
    occasion = found.occasion
    subject = shortened(occasion.subject, 40) or TEXTS["page.unnamed"]
    words = [TEXTS["page.for"].format(subject=subject), TEXTS[f"done.side.{occasion.side}"]]
    return ", ".join([*words, *([_date(occasion.made_at)] if occasion.made_at else [])])


def _date(made_at: str) -> str:
    """ "2026-11-23 09:30" of an ISO time; what else it is as it is."""
    text = shortened(made_at, 32)
    return text[:16].replace("T", " ") if len(text) >= 16 and text[10:11] == "T" else text


def _bigs(found: Findings) -> list[_Big]:
    bigs = []
    for name in _BIG:
        score = found.headline(name)
        if score is not None:
            bigs.append(_Big(percent(score), TEXTS[f"big.{name}"]))
    return bigs


def _advice(recommendations: Sequence[Recommendation]) -> list[str]:
    """As many as there is room for; the check before use, which comes last, always."""
    texts = [shortened(one.text, _LONGEST_ADVICE) for one in recommendations]
    last = texts[-1:] if recommendations[-1:] and recommendations[-1].rule == "check_before_use" else []
    others = texts[: len(texts) - len(last)]
    room = _ADVICE_LINES - sum(map(_lines, last))
    shown: list[str] = []
    for text in others:
        # One line stays free to say that there are more.
        if _lines(text) > room - (len(shown) + 1 < len(others)):
            continue
        room -= _lines(text)
        shown.append(text)
    hidden = len(others) - len(shown)
    more = [TEXTS["rule.hidden"].format(count=hidden)] if hidden else []
    return [*shown, *more, *last]


def _lines(text: str) -> int:
    return -(-len(text) // _ADVICE_LINE)


def _done(found: Findings) -> list[tuple[str, str]]:
    occasion = found.occasion
    source = ", ".join(
        part for part in (TEXTS[f"kind.{occasion.kind}"], shortened(occasion.source, 56)) if part
    )
    done = [
        (
            TEXTS["done.when"],
            ", ".join(
                [
                    _date(occasion.made_at) or TEXTS["unknown"],
                    shortened(occasion.made_by, 40) or TEXTS["unknown"],
                ]
            ),
        ),
        (
            TEXTS["done.recording"],
            TEXTS["done.recording.text"].format(
                minutes=f"{occasion.minutes:.1f}",
                channels=counted(occasion.n_channels, "channel"),
                rate=f"{occasion.rate_hz:,.0f}",
                source=source,
            ),
        ),
        (TEXTS["done.movements"], shortened(_movement_names(found), 108)),
        (TEXTS["done.trials"], shortened(_trials_made(found), 108)),
        (TEXTS["done.alignment"], _alignment(found)),
    ]
    if occasion.notes.strip():
        done.append((TEXTS["done.notes"], shortened(occasion.notes, 108)))
    return done


def _movement_names(found: Findings) -> str:
    names = [shortened(movement.name, 24) for movement in found.movements if movement.made]
    return f"{len(names)}: {', '.join(names)}" if names else TEXTS["unknown"]


def _trials_made(found: Findings) -> str:
    if not found.trials:
        made = sum(movement.made for movement in found.movements)
        return (
            f"{counted(made, 'trial')}; {TEXTS['done.trials.unknown']}"
            if made
            else TEXTS["done.trials.unknown"]
        )
    rounds = max(trial.round_number for trial in found.trials)
    used = sum(trial.is_used for trial in found.trials)
    reasons = Counter(reason for trial in found.trials if not trial.is_used for reason in reasons_of(trial))
    left_out = ""
    if reasons:
        words = ", ".join(
            TEXTS["done.trials.because"].format(n=n, reason=reason) for reason, n in reasons.most_common()
        )
        left_out = TEXTS["done.trials.left_out"].format(reasons=words)
    return TEXTS["done.trials.text"].format(
        made=counted(len(found.trials), "trial"),
        rounds=counted(rounds, "round"),
        used=used,
        left_out=left_out,
    )


def reasons_of(trial: TrialRecord) -> list[str]:
    """Why a trial that does not count was left out, in words."""
    return [reason.value for reason in trial.reasons] or [TEXTS[f"reason.{PERSON}"]]


def _alignment(found: Findings) -> str:
    alignment = found.alignment
    if alignment is None:
        measured = found.traces is not None and found.traces.true is not None
        return TEXTS["done.alignment.unaligned" if measured else "done.alignment.none"]
    key = "done.alignment.text" if alignment.lag_s >= 0 else "done.alignment.early"
    return TEXTS[key].format(
        lag=f"{1000 * abs(alignment.lag_s):.0f}",
        spread=f"{1000 * alignment.lag_spread_s:.0f}",
        drift=f"{abs(alignment.drift_ppm):.0f}",
        direction="fast" if alignment.drift_ppm >= 0 else "slow",
    )


def _measures(found: Findings) -> list[_Measure]:
    if found.scores is None:
        return []
    rows = []
    followed = () if found.score("decided_balanced_accuracy") is not None else (_FOLLOWED,)
    for name in (*_MEASURES, *followed):
        steady, everywhere = found.score(f"decided_steady_{name}"), found.score(f"decided_{name}")
        if steady is None and everywhere is None:
            continue
        rows.append(
            _Measure(
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
        rows.append(_Measure(TEXTS["measure.onset"], TEXTS["measure.onset.meaning"], wide=value))
    if found.algorithmic_latency_ms is not None:
        rows.append(
            _Measure(
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
        rows.append(_Measure(TEXTS["measure.compute"], TEXTS["measure.compute.meaning"], wide=value))
    return rows


def _event(found: Findings, key: str, count_name: str, hours_name: str) -> _Measure:
    count, hours = found.score(count_name) or 0.0, found.score(hours_name) or 0.0
    rate, upper = (found.score(f"{count_name}_{part}") for part in ("per_hour", "upper_95_per_hour"))
    value = TEXTS["measure.events"].format(
        count=f"{count:,.0f}" if count == round(count) else f"{count:,.1f}",
        time=duration(3600.0 * hours),
        rate=_NONE if rate is None else f"{rate:,.0f}",
        upper=_NONE if upper is None else f"{upper:,.0f}",
    )
    return _Measure(TEXTS[f"measure.{key}"], TEXTS[f"measure.{key}.meaning"], wide=value)


def _how(found: Findings) -> str:
    if found.scores is None:
        return TEXTS["scores.none"]
    n = found.scores.n_parts
    folds = {1: "scores.folds.one", 2: "scores.folds.two"}.get(n, "scores.folds.many")
    return TEXTS["scores.how"].format(
        trials=counted(found.scores.n_trials, "trial"), folds=TEXTS[folds].format(n=n)
    )


def _changes(comparison: Comparison | None) -> list[_Changed]:
    if comparison is None:
        return []
    words = {
        Direction.BETTER: f"▲ {TEXTS['compare.better']}",
        Direction.WORSE: f"▼ {TEXTS['compare.worse']}",
        Direction.SAME: f"= {TEXTS['compare.same']}",
        Direction.NOT_KNOWN: TEXTS["compare.not_known"],
    }
    rows = [
        _Changed(
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
    return [*rows, _Changed(TEXTS["compare.noise"], before, now, "")]


def _compared(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return [TEXTS["compare.none"]]
    texts = [TEXTS["compare.since"].format(date=_date(comparison.made_at) or TEXTS["unknown"])]
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
