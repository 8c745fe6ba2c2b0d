"""The charts of what was recorded: channels and trials, each from findings to an <svg> element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calibration.records import TrialRecord, Verdict
from calibration.report.charts import NAME
from calibration.report.findings import ChannelFinding
from calibration.report.rules import BAD_CHANNEL
from calibration.report.svg import (
    BLUE,
    GRID,
    SMALL,
    VERMILION,
    axes_in,
    channel_ticks,
    drawn,
    whole_ticks,
)
from calibration.report.texts import TEXTS, squeezed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS: dict[str, dict[str, object]] = {
    "used": {"marker": "o", "markersize": 2.0, "color": BLUE},
    "forced": {
        "marker": "D", "markersize": 2.6, "markerfacecolor": "white", "color": BLUE, "markeredgewidth": 0.6,
    },
    "left_out": {"marker": "x", "markersize": 3.0, "color": VERMILION, "markeredgewidth": 1.0},
}  # fmt: skip
_HIGHEST = 4.0  # times the median noise: a louder channel leaves the chart and says its number


def channels_chart(channels: Sequence[ChannelFinding], width: float, height: float, alt: str) -> str:
    """Noise as bars, and below them the share of the time not usable. Sizes in mm."""

    def draw(made: Figure) -> None:
        top = axes_in(made, width, height, left=9, right=1, top=5.5, bottom=20.5)
        below = axes_in(made, width, height, left=9, right=1, top=height - 16.5, bottom=9)
        at = np.arange(len(channels))
        noise = np.array([np.nan if c.noise_uv is None else c.noise_uv for c in channels], np.float64)
        masked = 100 * np.array([c.masked_share for c in channels], np.float64)
        bad = masked > 100 * BAD_CHANNEL
        known = noise[np.isfinite(noise) & (noise > 0)]
        most = min(float(known.max()), _HIGHEST * float(np.median(known))) * 1.15 if len(known) else 1.0
        top.bar(at[~bad], noise[~bad], color=BLUE, width=0.75)
        top.bar(
            at[bad], noise[bad], color="white", edgecolor=VERMILION, hatch="////", width=0.75, linewidth=0.6
        )
        beyond = [int(i) for i in at if np.isfinite(noise[i]) and noise[i] > most]
        for i in beyond if len(beyond) <= 4 else ():
            top.text(i, most, f"{noise[i]:.0f} ↑", ha="center", va="bottom", size=SMALL - 1)
        for i in at[~np.isfinite(noise)]:
            top.text(i, 0, "×", ha="center", va="bottom", color=VERMILION, weight="bold")
        below.bar(at, masked, color=VERMILION, width=0.75)
        for axes, label, above_mm in ((top, "channels.noise", 2.0), (below, "channels.masked", 0.4)):
            axes.set_xlim(-0.7, len(channels) - 0.3)
            axes_mm = axes.get_position().height * height
            axes.text(
                0.0, 1.0 + above_mm / axes_mm, TEXTS[label], transform=axes.transAxes, ha="left", va="bottom"
            )
        top.set(ylim=(0, most), xticks=[])
        below.set(ylim=(0, 100), yticks=[0, 100])
        top.locator_params(axis="y", nbins=3)
        channel_ticks(below, [c.name for c in channels], width - 10, offset=0.0)

    return drawn(draw, width, height, "channels", alt)


def trials_chart(
    trials: Sequence[TrialRecord], movements: Sequence[str], width: float, height: float, alt: str
) -> str:
    """Each trial in its movement's row, and below them, where it is known, the agreement. Sizes in mm."""

    def draw(made: Figure) -> None:
        has_agreement = any(trial.agreement is not None for trial in trials)
        split = 0.28 * (height - 11) if has_agreement else 0.0
        axes = axes_in(made, width, height, left=22, right=1.5, top=4, bottom=7 + split)
        rows = {name: i for i, name in enumerate(movements)}
        kinds = {kind: [trial for trial in trials if _kind(trial) == kind] for kind in _MARKS}
        for kind, chosen in kinds.items():
            if chosen:
                numbers = [trial.number for trial in chosen]
                marks = axes.plot(
                    numbers, [rows[trial.movement] for trial in chosen], label=TEXTS[f"trials.{kind}"]
                )
                marks[0].set(linestyle="none", **_MARKS[kind])
        last = max(trial.number for trial in trials)
        room = (height - 11 - split) / len(movements)
        axes.set_yticks(
            range(len(movements)), [squeezed(name, NAME) for name in movements], size=min(SMALL, 2.4 * room)
        )
        axes.set(xlim=(0, last + 1), ylim=(len(movements) - 0.4, -0.6))
        axes.tick_params(left=False, bottom=not has_agreement, labelbottom=not has_agreement)
        for i in range(len(movements)):
            axes.axhline(i, color=GRID, linewidth=0.3, zorder=0)
        lowest = axes
        if has_agreement:
            lowest = axes_in(made, width, height, left=22, right=1.5, top=height - 5.5 - split, bottom=7)
            for kind, chosen in kinds.items():
                told = [(t.number, t.agreement) for t in chosen if t.agreement is not None]
                if told:
                    marks = lowest.plot([number for number, _ in told], [value for _, value in told])
                    marks[0].set(linestyle="none", **_MARKS[kind])
            lowest.set(xlim=(0, last + 1), ylim=(-0.1, 1.12), yticks=[0, 1])
            lowest.set_ylabel(TEXTS["trials.agreement"], rotation=0, ha="right", va="center")
        lowest.set_xlabel(TEXTS["trials.axis"])
        whole_ticks(lowest)
        made.legend(
            loc="upper right", bbox_to_anchor=(1.0, 1.02), ncols=3, borderpad=0, handlelength=0.8,
            handletextpad=0.2, columnspacing=0.9,
        )  # fmt: skip

    return drawn(draw, width, height, "trials", alt)


def _kind(trial: TrialRecord) -> str:
    if not trial.is_used:
        return "left_out"
    return "used" if trial.verdict is Verdict.GOOD else "forced"
