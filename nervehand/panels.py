"""The panels of the live screen, as rich renderables made from one snapshot."""

from __future__ import annotations

import numpy as np
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_bridge.hand import DOF_NAMES
from nervehand.drawing import draw_hand
from nervehand.screen import Snapshot, bar, sparkline

_MOST_CHANNELS = 16  # what fits beside the other panels
_LINK_STYLE = {"connected": "green", "connecting": "yellow", "lost": "red", "disconnected": "yellow"}


def screen_of(snapshot: Snapshot) -> RenderableType:
    """The whole screen: title, channels, hand, positions, latency and the state of gate and link."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(_channels(snapshot), _hand(snapshot), Group(_positions(snapshot), _latency(snapshot)))
    return Group(_title(snapshot), grid, _status(snapshot))


def _title(s: Snapshot) -> RenderableType:
    return Text(f"{s.title}  {s.elapsed_s:6.1f} s", style="bold")


def _channels(s: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    ceiling = max((max(h, default=0.0) for h in s.history_uv), default=1.0)
    rows = list(zip(s.channels, s.levels_uv, s.history_uv, s.masked, strict=True))
    for name, level, history, masked in rows[:_MOST_CHANNELS]:
        style = "red" if masked else "cyan"
        value = "masked" if masked else f"{level:7.1f}"
        table.add_row(name, Text(sparkline(history, ceiling), style=style), value)
    if len(rows) > _MOST_CHANNELS:
        table.add_row("", Text(f"and {len(rows) - _MOST_CHANNELS} more", style="dim"), "")
    return Panel(table, title=s.level_title, title_align="left", width=42)


def _hand(s: Snapshot) -> RenderableType:
    gesture = "warming up" if s.warming else s.gesture
    lines = draw_hand(np.array(s.shown, np.float32), side=s.side or "right")
    caption = Text.assemble((f"{gesture}", "bold green"), f"  p {s.probability:.2f}")
    caption.append(f"\ncue: {s.cue}" if s.cue else "\n", style="dim")
    return Panel(Group(Text("\n".join(lines)), "", caption), title="hand", title_align="left", width=34)


def _positions(s: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for name, wanted, shown in zip(DOF_NAMES, s.wanted, s.shown, strict=True):
        table.add_row(
            name, Text(bar(shown), style="green"), f"{shown:+.2f}", Text(f"{wanted:+.2f}", style="dim")
        )
    return Panel(table, title="positions: hand, decoder", title_align="left", width=46)


def _latency(s: Snapshot) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("stage", no_wrap=True)
    for column in ("p50", "p95", "p99"):
        table.add_column(column, justify="right")
    for row in s.latency:
        table.add_row(row.stage, *(_number(v) for v in (row.p50_us, row.p95_us, row.p99_us)))
    return Panel(table, title="latency, µs", title_align="left", width=46)


def _status(s: Snapshot) -> RenderableType:
    link = Text(f"link {s.link}", style=_LINK_STYLE.get(s.link, "white"))
    return Columns(
        [
            link,
            Text(f"gate {s.gate}"),
            Text(f"{s.hops} hops"),
            Text(f"{s.commands_applied} commands applied, {s.commands_dropped} dropped"),
            Text("Ctrl-C stops and releases", style="dim"),
        ],
        padding=(0, 3),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
