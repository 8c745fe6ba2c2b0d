"""A report's content as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.records import TrialRecord
from calibration.report import panels, tables
from calibration.report.content import Content
from calibration.report.findings import Findings
from calibration.report.rules import PERSON, Readiness, Recommendation
from calibration.report.template import PAGE, STYLE
from calibration.report.texts import LANGUAGE, TEXTS, counted, dated, percent, shortened
from firmware_bridge.errors import NervehandError

_SIGNS = {Readiness.READY: "✓", Readiness.USABLE: "↗", Readiness.NOT_READY: "✕", Readiness.NOT_SCORED: "?"}
_LONGEST_ADVICE, _ADVICE_LINES, _ADVICE_LINE = 290, 10, 60
_BIG = ("exact_match", "per_dof_accuracy", "balanced_accuracy")


@dataclass(frozen=True, slots=True)
class _Big:
    value: str
    what: str


def html_page(content: Content, json_name: str) -> str:
    """The page, as text. Raises NervehandError where Jinja2 or matplotlib, of the extra `train`, is missing."""
    try:
        import matplotlib  # noqa: F401
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
    environment = Environment(autoescape=True, undefined=StrictUndefined)
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
        measures=tables.measures(found),
        how=tables.how_measured(found),
        changes=tables.changes(content.comparison),
        compared=tables.compared(content.comparison),
        chart=lambda name: Markup(charts[name]),
        footer=TEXTS["footer"].format(
            program=TEXTS["footer.program"],
            decoder=occasion.decoder_sha256[:12] or TEXTS["unknown"],
            session=shortened(occasion.session, 40),
            json=json_name,
        ),
    )


def _headline(found: Findings) -> str:
    occasion = found.occasion
    subject = shortened(occasion.subject, 40) or TEXTS["page.unnamed"]
    words = [TEXTS["page.for"].format(subject=subject), TEXTS[f"done.side.{occasion.side}"]]
    return ", ".join([*words, *([dated(occasion.made_at)] if occasion.made_at else [])])


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
                    dated(occasion.made_at) or TEXTS["unknown"],
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
        return TEXTS["done.alignment.none"]
    key = "done.alignment.text" if alignment.lag_s >= 0 else "done.alignment.early"
    return TEXTS[key].format(
        lag=f"{1000 * abs(alignment.lag_s):.0f}",
        spread=f"{1000 * alignment.lag_spread_s:.0f}",
        drift=f"{abs(alignment.drift_ppm):.0f}",
        direction=TEXTS["done.clock.fast" if alignment.drift_ppm >= 0 else "done.clock.slow"],
    )
