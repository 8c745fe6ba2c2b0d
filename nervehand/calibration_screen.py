"""A calibration in the terminal: the hand to imitate, what was found of each trial, and keys for what may be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from calibration.folder import Plan
from calibration.view import CalibrationView, Phase
from firmware_bridge.hand import DOF_NAMES
from nervehand.drawing import draw_hand
from nervehand.screen import bar

SAID_S = 6.0
N_TRIALS = 10
Asked = tuple[str, dict[str, object]]
NOTHING: Asked = ("", {})

WORDS: Mapping[Phase, str] = {
    Phase.POSES: "hold the pose, then press p",
    Phase.READY: "press space when you are ready",
    Phase.COUNTDOWN: "get ready",
    Phase.MOVE: "MOVE, both hands",
    Phase.HOLD: "HOLD",
    Phase.RETURN: "back to rest",
    Phase.REST: "rest",
    Phase.PAUSED: "paused: press space to go on",
    Phase.ROUND_DONE: "all rounds are done: f finishes, space makes another",
    Phase.FINISHING: "finishing",
    Phase.DONE: "done",
    Phase.FAILED: "failed",
}
STATE_STYLE = {
    "good": "green",
    "accepted": "green",
    "bad": "red",
    "left out": "dim",
    "now": "bold",
    "planned": "dim",
}


def _go(view: CalibrationView) -> Asked:
    match view.phase:
        case Phase.READY:
            return ("next" if view.trials and view.trials[0].state != "planned" else "start", {})
        case Phase.ROUND_DONE:
            return "start", {}
        case Phase.PAUSED:
            return "resume", {}
    return "pause", {}


def _of_last(name: str) -> Callable[[CalibrationView], Asked]:
    """What is asked of the last trial that was made."""

    def ask(view: CalibrationView) -> Asked:
        made = [trial.number for trial in view.trials if trial.state not in ("planned", "now")]
        return (name, {"trial": made[-1]}) if made else NOTHING

    return ask


KEYS: Mapping[str, Callable[[CalibrationView], Asked]] = {
    " ": _go,
    "p": lambda view: ("pose", {}),
    "g": lambda view: ("poses", {}),
    "r": _of_last("redo"),
    "a": _of_last("accept"),
    "x": _of_last("leave_out"),
    "f": lambda view: ("finish", {}),
}
"""What each key asks, where there is something to ask."""
HELP = (
    "space start/pause/go on  p pose  g poses again  r redo last  a accept last  x leave last out  "
    "f finish  Ctrl-C leave"
)


class CalibrationScreen:
    """Draws views as they come."""

    def __init__(self, plan: Plan, console: Console | None = None) -> None:
        self._plan = plan
        self._live = Live(auto_refresh=False, console=console or Console(stderr=True))
        self._said, self._said_s = "", 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """What a person should hear of for a while."""
        self._said, self._said_s = text, time.monotonic()

    def show(self, view: CalibrationView) -> None:
        """Draw it."""
        said = self._said if time.monotonic() - self._said_s < SAID_S else ""
        self._live.update(picture_of(view, said), refresh=True)


def picture_of(view: CalibrationView, said: str = "") -> RenderableType:
    """A view, for a terminal of 80 columns."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(_hand(view), Group(_positions(view), _fits(view)))
    return Group(_title(view), grid, _trials(view), _below(view, said))


def _title(view: CalibrationView) -> RenderableType:
    text = Text(
        f"{view.subject}, {view.kind}, round {min(view.round_number, view.n_rounds)} of {view.n_rounds}, "
    )
    text.append(
        f"{sum(t.state not in ('planned', 'now') for t in view.trials)} of {view.n_trials} trials", "bold"
    )
    if view.problem:
        text.append(f"\n{view.problem}", "bold red")
    return text


def _hand(view: CalibrationView) -> RenderableType:
    what = view.pose if view.phase is Phase.POSES else view.movement
    left = "" if view.left_s is None else f"  {view.left_s:4.1f} s"
    caption = Text.assemble((WORDS[view.phase], "bold yellow"), left, f"\n{what}")
    lines = draw_hand(np.array(view.target, np.float32), side=view.side)
    return Panel(Group(Text("\n".join(lines)), caption), title="imitate", title_align="left", width=34)


def _positions(view: CalibrationView) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for i, name in enumerate(DOF_NAMES):
        able = "" if view.able is None else f"{view.able[i]:+.2f}"
        phantom = Text("-", "dim") if view.phantom is None else Text(bar(view.phantom[i], 15), "green")
        table.add_row(name, phantom, Text(able, "dim"))
    return Panel(table, title="phantom (decoded), able hand", title_align="left", width=44)


def _fits(view: CalibrationView) -> RenderableType:
    lines = []
    for fit in view.fits[-3:]:
        score = next(iter(fit.scores.values()), None)
        state = f"{100 * fit.progress:.0f} % fitted" if fit.progress < 1 else "decodes"
        shown = "" if score is None else f", {100 * score:.1f} % on the next"
        lines.append(f"rounds 1 to {fit.after_round}: {state}{shown}")
    if view.lag_ms is not None:
        lines.append(f"able hand {view.lag_ms:+.0f} ms behind the phantom")
    return Panel(Text("\n".join([*lines, view.advice])), title="decoder", title_align="left", width=44)


def _trials(view: CalibrationView) -> RenderableType:
    made = [trial for trial in view.trials if trial.state != "planned"][-N_TRIALS:]
    table = Table.grid(padding=(0, 2))
    for trial in made:
        agreement = "" if trial.agreement is None else f"{trial.agreement:+.2f}"
        state = Text(trial.state, STATE_STYLE.get(trial.state, ""))
        table.add_row(str(trial.number), trial.movement, state, agreement, "; ".join(trial.reasons))
    return table


def _below(view: CalibrationView, said: str) -> RenderableType:
    text = Text(HELP, "dim")
    for line in (view.notice, "masked: " + ", ".join(view.masked) if view.masked else "", said):
        if line:
            text.append(f"\n{line}", "yellow")
    return text
