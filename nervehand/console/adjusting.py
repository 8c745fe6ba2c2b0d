"""The wearer's adjustments: a slider for each, which moves what the gate does, and shows what others have moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from nicegui import ui
from nicegui.events import GenericEventArguments

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.plain import to_plain
from nervehand.console.app import Console
from nervehand.console.layout import attempt, card
from nervehand.console.texts import say
from nervehand.console.views import LiveView

OWN_S = 1.5
"""So long after this page moved a slider, it is not moved by what the engine shows."""
_SENT = ("gain", "dead_band", "locked", "hand_locked")
"""What of the adjustments is on the page; the rest stays as it is."""
_GAIN, _DEAD = (0.0, 2.0, 0.05), (0.0, 0.5, 0.01)


class AdjustCard:
    """Its card; `show` brings the engine's adjustments to it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._now: Adjustments | None = None
        self._moved_s = -OWN_S
        with card("adjust.title", "nh-live-adjust") as self._box:
            ui.label(say("adjust.hint")).classes("nh-note")
            with ui.element("div").classes("nh-adjust"):
                for key in ("joint", "gain", "dead_band", "lock"):
                    ui.label(say(f"adjust.{key}")).classes("nh-th")
                rows = [self._row(dof) for dof in range(len(DOF_NAMES))]
            self._gains, self._deads, self._locks = zip(*rows, strict=True)
            self._hand_lock = ui.switch(say("adjust.hand_locked")).classes("nh-switch")
            self._hand_lock.on("update:model-value", self._changed)
        self._box.visible = False

    def show(self, view: LiveView) -> None:
        """What the engine says holds now."""
        self._box.visible = view.adjustments is not None
        if view.adjustments is None or time.monotonic() - self._moved_s < OWN_S:
            return
        self._now = view.adjustments
        for dof in range(len(DOF_NAMES)):
            self._gains[dof].value = self._now.gain[dof]
            self._deads[dof].value = self._now.dead_band[dof]
            self._locks[dof].value = self._now.locked[dof]
        self._hand_lock.value = self._now.hand_locked

    def _row(self, dof: int) -> tuple[ui.slider, ui.slider, ui.switch]:
        name = say(f"dof.{DOF_NAMES[dof]}")
        ui.label(name).classes("nh-dof")
        gain = _slider(_GAIN, say("adjust.gain_of", dof=name), self._changed)
        dead = _slider(_DEAD, say("adjust.dead_band_of", dof=name), self._changed)
        lock = ui.switch().props(f'aria-label="{say("adjust.lock_of", dof=name)}"').classes("nh-switch")
        lock.on("update:model-value", self._changed)
        return gain, dead, lock

    async def _changed(self, _event: GenericEventArguments) -> None:
        if self._now is None:
            return
        self._moved_s = time.monotonic()
        then = replace(
            self._now,
            gain=tuple(float(one.value) for one in self._gains),
            dead_band=tuple(float(one.value) for one in self._deads),
            locked=tuple(bool(one.value) for one in self._locks),
            hand_locked=bool(self._hand_lock.value),
        )
        changes = then.changes_from(self._now)
        if not changes:
            return
        who, about = self._console.who(), "; ".join(changes[:2])
        given = {name: to_plain(getattr(then, name)) for name in _SENT}
        if await attempt(lambda: self._console.watch.ask(who, "adjust", given, about)):
            self._now = then
        else:
            self._moved_s = -OWN_S  # what was refused goes back to what holds


def _slider(
    bounds: tuple[float, float, float], name: str, changed: Callable[[GenericEventArguments], object]
) -> ui.slider:
    lowest, highest, step = bounds
    made = ui.slider(min=lowest, max=highest, step=step, value=lowest).classes("nh-slider")
    made.props(f'label aria-label="{name}"')
    made.on("update:model-value", changed, throttle=0.2, leading_events=False)
    return made
