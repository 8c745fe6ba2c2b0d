"""The panels of the live screen, as rich renderables made from one snapshot."""

from __future__ import annotations

import math

import numpy as np
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_bridge.hand import DOF_NAMES
from nervehand.drawing import draw_hand
from nervehand.screen import NOT_MEASURED, Snapshot, bar, sparkline

NO_NUMBER = "    -"
_WIDE = 118
_LINK_STYLE = {"connected": "green", "connecting": "yellow", "lost": "red", "disconnected": "yellow"}


def screen_of(snapshot: Snapshot, width: int) -> RenderableType:
    """The whole screen, for a terminal this many columns wide: 118 and up side by side, 80 in two rows."""
    grid = Table.grid(padding=(0, 1))
    if width >= _WIDE:
        right = Group(_positions(snapshot, 46), _latency(snapshot, 46))
        grid.add_row(_channels(snapshot, 1), _hand(snapshot), right)
        return Group(_title(snapshot), grid, _status(snapshot))
    grid.add_row(_hand(snapshot), Group(_positions(snapshot, 44), Panel(_status(snapshot), width=44)))
    below = Table.grid(padding=(0, 1))
    below.add_row(_channels(snapshot, 2), _latency(snapshot, 40))
    return Group(_title(snapshot), grid, below)


def _title(s: Snapshot) -> RenderableType:
    title = Text(f"{s.title}  {s.elapsed_s:6.1f} s", style="bold", no_wrap=True, overflow="ellipsis")
    return title.append(f"  {s.notice}", style="red") if s.notice else title


def _channels(s: Snapshot, columns: int) -> RenderableType:
    """Levels with their history, in one column of 16 channels or in two of 8."""
    table = Table.grid(padding=(0, 1))
    ceiling = max((max(h, default=0.0) for h in s.history_uv), default=1.0)
    cells: list[list[RenderableType]] = []
    for name, level, history, masked in zip(s.channels, s.levels_uv, s.history_uv, s.masked, strict=True):
        line = Text(
            sparkline(history[-(24 if columns == 1 else 4) :], ceiling), style="red" if masked else "cyan"
        )
        value = masked[:9] if masked else f"{level:6.1f}"
        cells.append([Text(name[:8], no_wrap=True), line, Text(value, justify="right")])
    depth = -(-len(cells) // columns)
    for i in range(depth):
        table.add_row(*(cell for row in cells[i::depth] for cell in row))
    hidden = s.n_channels - len(s.channels)
    below = [f"and {hidden} more"] if hidden > 0 else []
    below += [f"{s.artefacts} artefacts blanked"] if s.artefacts else []
    return Panel(
        table,
        title=s.level_title,
        title_align="left",
        subtitle=", ".join(below) or None,
        width=42 if columns == 1 else 39,
    )


def _hand(s: Snapshot) -> RenderableType:
    gesture = "warming up" if s.warming else s.gesture
    lines = draw_hand(np.array(s.shown, np.float32), side=s.side or "right")
    caption = Text.assemble((f"{gesture}", "bold green"), f"  p {s.probability:.2f}")
    caption.append(f"\ncue: {s.cue}" if s.cue else "\n", style="dim")
    return Panel(Group(Text("\n".join(lines)), "", caption), title="hand", title_align="left", width=34)


def _positions(s: Snapshot, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for name, wanted, shown in zip(DOF_NAMES, s.wanted, s.shown, strict=True):
        is_measured = math.isfinite(shown)
        there = Text(bar(shown), style="green") if is_measured else Text(NOT_MEASURED, style="dim")
        aim = f"{wanted:+.2f}" if math.isfinite(wanted) else NO_NUMBER
        table.add_row(name, there, f"{shown:+.2f}" if is_measured else NO_NUMBER, Text(aim, style="dim"))
    return Panel(table, title="positions: hand, decoder", title_align="left", width=width)


def _latency(s: Snapshot, width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1) if width > 40 else (0, 0, 0, 1), header_style="dim")
    table.add_column("stage", no_wrap=True)
    for column in ("p50", "p95", "p99"):
        table.add_column(column, justify="right")
    for row in s.latency:
        table.add_row(row.stage, *(_duration(v) for v in (row.p50_us, row.p95_us, row.p99_us)))
    padding = (0, 1) if width > 40 else (0, 0)
    return Panel(table, title="latency, µs", title_align="left", width=width, padding=padding)


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


def _duration(microseconds: float | None) -> str:
    """In five characters: microseconds, or what its unit says."""
    if microseconds is None:
        return "-"
    if microseconds < 9999.5:
        return f"{microseconds:,.0f}"
    if microseconds < 999.5e3:
        return f"{microseconds / 1e3:.0f}ms"
    return f"{microseconds / 1e6:.1f}s"
