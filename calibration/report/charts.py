"""The charts of what was decoded: traces, confusion, tuning and learning, each from findings to an <svg> element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calibration.report.findings import Confusion, Traces, TuningMap
from calibration.report.learning import LearningCurve
from calibration.report.svg import (
    BLUE,
    GRID,
    INK,
    ORANGE,
    PALE,
    SKY,
    SMALL,
    axes_in,
    bare,
    channel_ticks,
    drawn,
    ramp,
    whole_ticks,
)
from calibration.report.texts import TEXTS, percent, squeezed
from calibration.report.tuning import SPEAKS
from firmware_bridge.hand import DOF_NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = 16
"""Characters of a name beside a chart; the JSON has all of it."""
_ROW = 2.3  # from one part of the hand to the next, in full flexions


def traces_chart(
    traces: Traces, accuracy: dict[str, float | None], measured: bool, width: float, height: float, alt: str
) -> str:
    """Six rows over time; `measured`: the true positions are an able hand's, not those of cues. Sizes in mm."""

    def draw(made: Figure) -> None:
        axes = axes_in(made, width, height, left=13, right=14, top=7, bottom=4)
        n = len(traces.decoded[0])
        at_s = np.arange(n) * traces.step_s
        beside = axes.get_yaxis_transform()
        for begins in traces.begins_s[1:]:
            axes.axvline(begins, color=GRID, linewidth=0.5, zorder=0)
        for dof, name in enumerate(DOF_NAMES):
            base = -_ROW * dof
            axes.axhline(base, color=GRID, linewidth=0.4, zorder=0)
            if traces.true is not None:
                axes.plot(at_s, base + np.array(traces.true[dof]), color=ORANGE, linewidth=2.4, alpha=0.75)
            axes.plot(at_s, base + np.array(traces.decoded[dof]), color=BLUE, linewidth=0.8)
            axes.text(-0.006, base, name, transform=beside, ha="right", va="center")
            share = accuracy.get(name)
            if share is not None:
                said = percent(share, 1)
                axes.text(1.008, base, said, transform=beside, ha="left", va="center", weight="bold")
        total_s = n * traces.step_s
        ends = [*traces.begins_s[1:], total_s]
        per_name = max(4, round(0.68 * (width - 27) / len(ends)))
        for begins, end, movement in zip(traces.begins_s, ends, traces.movements, strict=True):
            axes.text((begins + end) / 2, 1.45, squeezed(movement, per_name), ha="center", va="bottom")
        axes.set(xlim=(0, total_s), ylim=(-_ROW * (len(DOF_NAMES) - 1) - 1.25, 1.25), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.text(1.008, -0.05, TEXTS["traces.seconds"], transform=axes.transAxes, ha="left", va="top")
        if traces.true is not None:
            label = TEXTS["traces.true" if measured else "traces.cued"]
            axes.plot([], [], color=ORANGE, linewidth=2.4, alpha=0.75, label=label)
        axes.plot([], [], color=BLUE, linewidth=0.8, label=TEXTS["traces.decoded"])
        anchor = (1 - 14 / width, 1.02)
        made.legend(loc="upper right", bbox_to_anchor=anchor, ncols=2, borderpad=0, handlelength=1.6)

    return drawn(draw, width, height, "traces", alt)


def confusion_chart(confusion: Confusion, width: float, height: float, alt: str) -> str:
    """Rows are what was done, in percent of the row. Sizes in mm."""

    def draw(made: Figure) -> None:
        axes = axes_in(made, width, height, left=23, right=12, top=12, bottom=0.5)
        counts = np.array(confusion.counts, np.float64)
        total = counts.sum(1, keepdims=True)
        share = np.where(total > 0, 100.0 * counts / np.maximum(total, 1), np.nan)
        n = len(confusion.names)
        axes.pcolormesh(share, cmap=ramp(), vmin=0, vmax=100, edgecolors="white", linewidth=0.6)
        size = min(SMALL, 0.42 * (width - 35) / n * 72 / 25.4)
        for i, j in np.argwhere(share >= 0.5).tolist():
            colour = "white" if share[i, j] > 50 else INK
            said = f"{share[i, j]:.0f}"
            axes.text(j + 0.5, i + 0.5, said, ha="center", va="center", size=size, color=colour)
        at, names = np.arange(n) + 0.5, confusion.names
        axes.set_yticks(
            at, [squeezed(name, NAME) for name in names], size=min(SMALL, 1.9 * (height - 12.5) / n)
        )
        axes.xaxis.tick_top()
        above = [squeezed(name, NAME if n <= 10 else 10) for name in names]
        axes.set_xticks(at, above, rotation=35, ha="left", rotation_mode="anchor", size=min(SMALL, 90 / n))
        bare(axes)
        axes.invert_yaxis()
        for row, (key, arrow) in enumerate((("done", "↓"), ("decoded", "→"))):
            at_y = 1 - (0.5 + 3 * row) / height
            made.text(0.5 / width, at_y, f"{TEXTS[f'confusion.{key}']} {arrow}", va="top", color=PALE)

    return drawn(draw, width, height, "confusion", alt)


def tuning_chart(tuning: TuningMap, labels: Sequence[str], width: float, height: float, alt: str) -> str:
    """Rows are motions, named by `labels`; columns channels. Sizes in mm."""

    def draw(made: Figure) -> None:
        axes = axes_in(made, width, height, left=23, right=1, top=1, bottom=9)
        values = np.array([[np.nan if v is None else v for v in row] for row in tuning.values], np.float64)
        n_rows, n = values.shape
        axes.set_facecolor("#eeeeee")
        axes.pcolormesh(
            np.abs(values), cmap=ramp(), vmin=0, vmax=1, edgecolors="white", linewidth=0.6 if n <= 32 else 0.2
        )
        size = min(SMALL + 1, 150.0 / n)
        for (i, j), value in np.ndenumerate(values):
            sign = "×" if np.isnan(value) else "+" if value >= SPEAKS else "−" if value <= -SPEAKS else ""
            colour = PALE if np.isnan(value) else "white"
            if sign:
                axes.text(j + 0.5, i + 0.5, sign, ha="center", va="center", size=size, color=colour)
        axes.set_yticks(np.arange(n_rows) + 0.5, [squeezed(label, NAME) for label in labels])
        channel_ticks(axes, tuning.channels, width - 24, offset=0.5)
        bare(axes)
        axes.invert_yaxis()

    return drawn(draw, width, height, "tuning", alt)


def learning_chart(curve: LearningCurve, width: float, height: float, alt: str) -> str:
    """Measured scores, and the curve with its interval up to another round after the newest decoder. Sizes in mm."""

    def draw(made: Figure) -> None:
        axes = axes_in(made, width, height, left=8, right=2, top=2, bottom=7)
        last = curve.trained_on + curve.per_round
        grid = np.unique(np.linspace(curve.n_trials[0], last, 30).round().astype(int))
        found = [one for n in grid if (one := curve.predict(int(n))) is not None]
        expected = 100 * np.array([(one.low, one.expected, one.high) for one in found])
        label = TEXTS["learning.expected"]
        axes.fill_between(
            grid, expected[:, 0], expected[:, 2], color=SKY, alpha=0.35, linewidth=0, label=label
        )
        axes.plot(grid, expected[:, 1], color=BLUE, linewidth=1.0)
        measured = 100 * np.array(curve.values)
        label = TEXTS["learning.measured"]
        axes.plot(curve.n_trials, measured, "o", color=INK, markersize=3.2, label=label)
        axes.plot([last], [expected[-1, 1]], "o", markerfacecolor="white", markeredgecolor=BLUE, markersize=4)
        low = float(min(measured.min(), expected.min()))
        axes.set(ylim=(max(0.0, low - 0.35 * (100 - low) - 0.5), 100.5), xlim=(grid[0] * 0.7, last * 1.04))
        axes.set(xlabel=TEXTS["learning.trials"], ylabel=TEXTS["learning.axis"])
        whole_ticks(axes)
        axes.grid(axis="y", color=GRID, linewidth=0.4)
        axes.set_axisbelow(True)
        axes.legend(loc="lower right", borderpad=0, handlelength=1.4, labelspacing=0.2)

    return drawn(draw, width, height, "learning", alt)
