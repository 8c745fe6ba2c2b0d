"""The six charts of the page with their captions, each an HTML fragment; a sentence where there is nothing to draw."""

from __future__ import annotations

import html
from collections.abc import Sequence

from calibration.report.channels import typical_noise_uv
from calibration.report.charts import confusion_chart, learning_chart, traces_chart, tuning_chart
from calibration.report.content import Content
from calibration.report.findings import Confusion, Findings, TuningMap
from calibration.report.learning import LearningCurve
from calibration.report.quality_charts import channels_chart, trials_chart
from calibration.report.texts import TEXTS, counted, listed, microvolts, percent, points, shortened, squeezed
from calibration.report.tuning import best_channels

_FULL_MM, _HALF_MM, _THIRD_MM = 192.0, 93.5, 60.6
_MASKED_FROM, _MIXED_FROM = 0.01, 0.01
_MOST_NUMBERS = 12


def charts(content: Content) -> dict[str, str]:
    """HTML of the charts by name."""
    found = content.findings
    return {
        "traces": _traces(found),
        "confusion": _confusion(found.confusion),
        "tuning": _tuning(found.tuning),
        "learning": _learning(found),
        "channels": _channels(found),
        "trials": _trials(found),
    }


def _traces(found: Findings) -> str:
    traces = found.traces
    if traces is None:
        return _missing(TEXTS["traces.none"])
    accuracy = {} if found.scores is None else found.scores.per_dof
    seconds = len(traces.decoded[0]) * traces.step_s
    said = ", ".join(f"{part} {percent(share, 1)}" for part, share in accuracy.items() if share is not None)
    alt = TEXTS["traces.alt"].format(seconds=f"{seconds:.0f}", accuracy=said)
    measured = found.alignment is not None
    caption = TEXTS["traces.caption"].format(n=len(traces.movements))
    return traces_chart(traces, accuracy, measured, _FULL_MM, 42.5, alt) + _caption(caption)


def _confusion(confusion: Confusion | None) -> str:
    if confusion is None:
        return _missing(TEXTS["confusion.none"])
    sentence = _mixed_up(confusion)
    alt = TEXTS["confusion.alt"].format(sentence=sentence)
    caption = f"{sentence} {TEXTS['confusion.caption']}"
    return confusion_chart(confusion, _HALF_MM, 40.5, alt) + _caption(caption)


def _mixed_up(confusion: Confusion) -> str:
    """The two movements that are taken for each other most often."""
    pairs = [
        (count / sum(row), confusion.names[i], confusion.names[j])
        for i, row in enumerate(confusion.counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    share, first, second = max(pairs, default=(0.0, "", ""))
    if share < _MIXED_FROM:
        return TEXTS["confusion.perfect"]
    return TEXTS["confusion.best"].format(
        first=squeezed(first, 20), second=squeezed(second, 20), share=percent(share)
    )


def _tuning(tuning: TuningMap | None) -> str:
    if tuning is None:
        return _missing(TEXTS["tuning.none"])
    labels = row_labels(tuning)
    sentence = _clearest(tuning, labels)
    alt = TEXTS["tuning.alt"].format(
        rows=len(labels), channels=counted(len(tuning.channels), "channel"), sentence=sentence
    )
    chart = tuning_chart(tuning, labels, _HALF_MM, 36.5, alt)
    return chart + _caption(f"{shortened(sentence, 170)} {TEXTS['tuning.caption']}")


def row_labels(tuning: TuningMap) -> tuple[str, ...]:
    """A part of the hand by its name; with its direction where it moved both ways, or only to extend."""
    labels = []
    for part, sign in zip(tuning.rows, tuning.signs, strict=True):
        both = tuning.rows.count(part) > 1
        way = "flexion" if sign > 0 else "extension"
        labels.append(TEXTS[f"tuning.both.{way}" if both else f"tuning.{way}"].format(part=part))
    return tuple(labels)


def _clearest(tuning: TuningMap, labels: Sequence[str]) -> str:
    clear, unclear = [], []
    for row, label in enumerate(labels):
        best = best_channels(tuning, row)
        if best:
            channels = "/".join(squeezed(name, 8) for name in best)
            clear.append(TEXTS["tuning.best.one"].format(part=label, channels=channels))
        else:
            unclear.append(label)
    if unclear:
        clear.append(TEXTS["tuning.none_clear"].format(parts=listed(unclear)))
    return TEXTS["tuning.best"].format(parts=", ".join(clear))


def _learning(found: Findings) -> str:
    curve = LearningCurve.of(found.fits)
    if not curve.values:
        return _missing(TEXTS["learning.none"])
    advice = curve.advice()
    told = ", ".join(f"{n}: {percent(v, 1)}" for n, v in zip(curve.n_trials, curve.values, strict=True))
    alt = TEXTS["learning.alt"].format(points=told, advice=advice)
    caption, gain = advice, curve.gain_of_another_round()
    if gain is not None:
        caption = TEXTS["learning.caption"].format(
            score=curve.score_in_words,
            now=percent(gain.now),
            then=percent(gain.then),
            round=counted(curve.per_round, "trial"),
            low=points(gain.low, unit=False),
            high=points(gain.high, unit=False),
        )
    return learning_chart(curve, _THIRD_MM, 33.5, alt) + _caption(caption)


def _channels(found: Findings) -> str:
    bad = sorted((c for c in found.channels if c.masked_share >= _MASKED_FROM), key=lambda c: -c.masked_share)
    said = TEXTS["channels.good"]
    if bad:
        each = [
            TEXTS["channels.one"].format(
                name=squeezed(c.name, 10), share=percent(c.masked_share), cause=c.main_cause
            )
            for c in bad
        ]
        said = TEXTS["channels.mostly"].format(channels=listed(each, 2))
    typical = typical_noise_uv(found.channels)
    if typical is None:
        caption = TEXTS["channels.caption.unknown"].format(bad=said)
    else:
        caption = TEXTS["channels.caption"].format(noise=microvolts(typical), bad=said)
    alt = TEXTS["channels.alt"].format(channels=counted(len(found.channels), "channel"), bad=said)
    return channels_chart(found.channels, _THIRD_MM, 34.0, alt) + _caption(caption)


def _trials(found: Findings) -> str:
    if not found.trials:
        return _missing(TEXTS["trials.none"])
    left_out = [str(trial.number) for trial in found.trials if not trial.is_used]
    said = TEXTS["trials.all_used"]
    if left_out:
        said = TEXTS["trials.left_out.text"].format(trials=listed(left_out, _MOST_NUMBERS))
    alt = TEXTS["trials.alt"].format(left_out=said)
    names = [movement.name for movement in found.movements if movement.made]
    told = any(trial.agreement is not None for trial in found.trials)
    caption = TEXTS["trials.caption" if told else "trials.caption.plain"].format(left_out=said)
    return trials_chart(found.trials, names, _THIRD_MM, 37.0, alt) + _caption(caption)


def _caption(text: str) -> str:
    return f'<p class="caption">{html.escape(text)}</p>'


def _missing(text: str) -> str:
    return f'<p class="missing">{html.escape(text)}</p>'
