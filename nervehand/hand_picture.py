"""A hand in the terminal: its joints drawn and as bars, and what it measures of itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_bridge.hand import DOF_NAMES, HandCapabilities, HandState, LinkState
from nervehand.drawing import draw_hand
from nervehand.screen import NOT_MEASURED, bar

_WIDTH = 80


class SeenHand(Protocol):
    """A hand as seen by who may not move it."""

    @property
    def capabilities(self) -> HandCapabilities: ...

    @property
    def link(self) -> LinkState: ...

    @property
    def state(self) -> HandState | None: ...


def picture_of(
    hand: SeenHand, side: str, title: str, wanted: NDArray[np.float32] | None = None, status: str = ""
) -> RenderableType:
    """The hand as it is now, for a terminal of 80 columns; `wanted` (6,) is shown beside where the joints are."""
    state = hand.state
    positions = np.full(len(DOF_NAMES), np.nan, np.float32) if state is None else state.positions
    drawn = Text("\n".join(draw_hand(positions, side=side or "right")))
    grid = Table.grid(padding=(0, 1))
    right = Group(_joints(hand.capabilities, positions, wanted), _readings(hand.capabilities, state))
    grid.add_row(Panel(drawn, title=side or "hand", title_align="left", width=34), right)
    link = hand.link
    style = "green" if link is LinkState.CONNECTED else "red"
    return Group(
        Text(title, style="bold"), grid, Text.assemble(("link " + link.value, style), f"   {status}")
    )


def _joints(
    capabilities: HandCapabilities, positions: NDArray[np.float32], wanted: NDArray[np.float32] | None
) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    rows = zip(DOF_NAMES, positions.tolist(), capabilities.lower, capabilities.upper, strict=True)
    for i, (name, position, lower, upper) in enumerate(rows):
        if lower == upper:
            table.add_row(name, Text("not there", style="dim"), "", "")
            continue
        aim = Text("" if wanted is None else f"{wanted[i]:+.2f}", style="dim")
        if math.isfinite(position):
            table.add_row(name, Text(bar(position), style="green"), f"{position:+.2f}", aim)
        else:
            table.add_row(name, Text(NOT_MEASURED, style="dim"), "    -", aim)
    return Panel(
        table, title="positions" + ("" if wanted is None else ": hand, asked"), title_align="left", width=44
    )


def _readings(capabilities: HandCapabilities, state: HandState | None) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for name, value in readings(state):
        table.add_row(name, Text(value, style="dim" if value == NOT_MEASURED else ""))
    return Panel(table, title="what it measures", title_align="left", width=44)


def readings(state: HandState | None) -> Iterator[tuple[str, str]]:
    """What the hand reports beside its positions, for a person."""
    if state is None:
        yield "report", "none yet"
        return
    yield "current", _largest(state.currents_a, "A")
    yield "force", _largest(state.forces_n, "N")
    yield "temperature", NOT_MEASURED if state.temperature_c is None else f"{state.temperature_c:.1f} °C"
    yield "battery", NOT_MEASURED if state.battery is None else f"{state.battery:.0%}"
    alarms = [name for name in ("hot", "stalled", "watchdog_tripped") if getattr(state, name)]
    yield "alarms", ", ".join(alarms).replace("_", " ") or "none"
    yield "fault", state.fault or "none"


def _largest(values: NDArray[np.float32] | None, unit: str) -> str:
    """The largest magnitude and whose it is."""
    if values is None or not np.isfinite(values).any():
        return NOT_MEASURED
    which = int(np.nanargmax(np.abs(values)))
    return f"{values[which]:.2f} {unit} ({DOF_NAMES[which]})"


def by_dof(values: Sequence[float] | NDArray[np.float32] | None) -> dict[str, float | None] | None:
    """Six numbers by name, None for what is not finite."""
    if values is None:
        return None
    pairs = zip(DOF_NAMES, map(float, values), strict=True)
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in pairs}
