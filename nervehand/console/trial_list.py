"""The list of trials: what was found of each, and a person's word against it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from calibration.view import CalibrationView, TrialView
from nervehand.console.calibrating import buttons_of, lag_words, movement_words
from nervehand.console.layout import labelled
from nervehand.console.texts import say

MOST = 60
"""So many of the newest are in the list; those before are in the report."""
_ACTIONS = {
    "good": ("leave_out", "redo"),
    "accepted": ("leave_out", "redo"),
    "bad": ("accept", "redo"),
    "left out": ("accept", "redo"),
    "redone": (),
    "planned": (),
    "now": (),
}


class TrialList:
    """The newest first. `ask` gets a command and the trial's number."""

    def __init__(self, ask: Callable[[str, int], Awaitable[None]]) -> None:
        self._ask = ask
        self._counts = ui.label("").classes("nh-note")
        self._rows: dict[int, tuple[tuple[TrialView, bool], ui.element]] = {}
        with (
            ui.element("div")
            .classes("nh-trials")
            .props(f'role="list" aria-label="{say("calibrate.trials")}"')
        ):
            self._list = ui.element("div").classes("nh-trial-rows")

    def show(self, view: CalibrationView) -> None:
        """Bring the list to these trials; rows that have not changed stay, with the focus in them."""
        made = [trial for trial in view.trials if trial.state != "planned"]
        good = sum(trial.state in ("good", "accepted") for trial in made)
        self._counts.text = say(
            "trials.counts", good=good, bad=sum(trial.state == "bad" for trial in made),
            out=sum(trial.state in ("left out", "redone") for trial in made),
        )  # fmt: skip
        shown = made[-MOST:]
        can_change = bool(buttons_of(view))
        for number in self._rows.keys() - {trial.number for trial in shown}:
            self._rows.pop(number)[1].delete()
        for trial in shown:
            kept = self._rows.get(trial.number)
            if kept is not None and kept[0] == (trial, can_change):
                continue
            if kept is None:
                with self._list:
                    row = ui.element("div")
                    row.move(self._list, 0)
            else:
                row = kept[1]
                row.clear()
            row.classes(replace=f"nh-trial nh-trial-{trial.state.replace(' ', '-')}").props('role="listitem"')
            with row:
                self._fill(trial, can_change=can_change)
            self._rows[trial.number] = (trial, can_change), row

    def _fill(self, trial: TrialView, *, can_change: bool) -> None:
        ui.label(str(trial.number)).classes("nh-trial-number")
        with ui.element("div").classes("nh-trial-what"):
            ui.label(movement_words(trial.movement)).classes("nh-trial-name")
            ui.label("; ".join(trial.reasons) or lag_words(trial.lag_ms)).classes("nh-trial-why")
        ui.label(say(f"trial.{trial.state}")).classes("nh-pill")
        with ui.element("div").classes("nh-trial-actions"):
            for name in _ACTIONS.get(trial.state, ()) if can_change else ():
                made = ui.button(
                    say(f"trial.{name}"), on_click=partial(self._ask, name, trial.number), color=None
                )
                made.classes("nh-button nh-button-small").props("unelevated no-caps")
                labelled(made, say(f"command.{name}_of", number=trial.number))
