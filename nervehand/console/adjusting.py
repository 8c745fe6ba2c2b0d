"""The wearer's adjustments: a slider for each, which moves what the gate does, and shows what others have moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from nicegui import ui
from nicegui.events import GenericEventArguments

from firmware_bridge.hand import DOF_NAMES
from nervehand.console.app import Console
from nervehand.console.layout import attempt, card, labelled
from nervehand.console.own_changes import CONTROLS, Control, OwnChanges, value_of
from nervehand.console.texts import say
from nervehand.console.views import LiveView

_GAIN, _DEAD = (0.0, 2.0, 0.05), (0.0, 0.5, 0.01)
Changed = Callable[[GenericEventArguments], object]


class AdjustCard:
    """Its card; `show` brings the engine's adjustments to it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._changes = OwnChanges()
        self._controls: dict[Control, ui.slider | ui.switch] = {}
        with card("adjust.title", "nh-live-adjust") as self._box:
            ui.label(say("adjust.hint")).classes("nh-note")
            with ui.element("div").classes("nh-adjust"):
                for key in ("joint", "gain", "dead_band", "lock"):
                    ui.label(say(f"adjust.{key}")).classes("nh-th")
                for dof in range(len(DOF_NAMES)):
                    self._row(dof)
            self._switch(("hand_locked", 0), ui.switch(say("adjust.hand_locked")))
        self._box.visible = False

    def show(self, view: LiveView) -> None:
        """What the engine says holds now."""
        self._box.visible = view.adjustments is not None
        if view.adjustments is None:
            return
        now_s = time.monotonic()
        self._changes.show(view.adjustments, now_s)
        for control in CONTROLS:
            if self._changes.follows(control, now_s):
                self._controls[control].value = value_of(view.adjustments, control)

    def _row(self, dof: int) -> None:
        name = say(f"dof.{DOF_NAMES[dof]}")
        ui.label(name).classes("nh-dof")
        for adjusted, bounds in (("gain", _GAIN), ("dead_band", _DEAD)):
            control = adjusted, dof
            made = _slider(bounds, say(f"adjust.{adjusted}_of", dof=name), partial(self._changed, control))
            self._controls[control] = made
        self._switch(("locked", dof), labelled(ui.switch(), say("adjust.lock_of", dof=name)))

    def _switch(self, control: Control, made: ui.switch) -> None:
        made.classes("nh-switch").on("update:model-value", partial(self._changed, control))
        self._controls[control] = made

    async def _changed(self, control: Control, _event: GenericEventArguments) -> None:
        before = self._changes.now
        if before is None:
            return
        given = self._controls[control].value
        value = float(given) if control[0] in ("gain", "dead_band") else bool(given)
        then, sent = self._changes.move(control, value, time.monotonic())
        if not sent:
            return
        who, about = self._console.who(), "; ".join(then.changes_from(before)[:2])
        if not await attempt(lambda: self._console.watch.ask(who, "adjust", sent, about)):
            self._changes.refused(control)


def _slider(bounds: tuple[float, float, float], name: str, changed: Changed) -> ui.slider:
    lowest, highest, step = bounds
    made = labelled(ui.slider(min=lowest, max=highest, step=step, value=lowest), name)
    made.classes("nh-slider").props("label")
    made.on("update:model-value", changed, throttle=0.2, leading_events=False)
    return made
