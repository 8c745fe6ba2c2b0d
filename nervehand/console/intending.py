"""What a steered simulated person means to do: six sliders, and a button for each common posture."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from nicegui.events import GenericEventArguments

from calibration.postures import KNOWN_POSTURES
from firmware_bridge.hand import DOF_NAMES
from nervehand.console.app import Console
from nervehand.console.layout import attempt, card
from nervehand.console.texts import say

RAMP_S = 0.25
"""How long the simulated person takes to get there."""
POSTURES = (
    "rest", "fist", "thumb", "index", "middle", "ring", "little", "wrist flexion", "wrist extension", "open", "pinch",
)  # fmt: skip


class IntendCard:
    """Its card, shown where the run's person is a simulated one that hears it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        with card("intend.title", "nh-live-intend") as self._box:
            ui.label(say("intend.hint")).classes("nh-note")
            with ui.element("div").classes("nh-postures"):
                for name in POSTURES:
                    made = ui.button(say(f"posture.{name}"), on_click=partial(self._take, name), color=None)
                    made.classes("nh-button").props("unelevated no-caps")
            with ui.element("div").classes("nh-intend"):
                self._sliders = [self._slider(dof) for dof in DOF_NAMES]
        self._box.visible = False

    def show(self) -> None:
        """Whether there is somebody to steer."""
        self._box.visible = self._console.watch.is_steered

    def _slider(self, dof: str) -> ui.slider:
        ui.label(say(f"dof.{dof}")).classes("nh-dof")
        made = ui.slider(min=-1.0, max=1.0, step=0.05, value=0.0).classes("nh-slider")
        made.props(f'label aria-label="{say("intend.of", dof=say(f"dof.{dof}"))}"')
        made.on("update:model-value", self._moved, throttle=0.1, leading_events=True)
        return made

    async def _take(self, name: str) -> None:
        for slider, position in zip(self._sliders, KNOWN_POSTURES[name], strict=True):
            slider.value = float(position)
        await self._send(say(f"posture.{name}"))

    async def _moved(self, _event: GenericEventArguments) -> None:
        await self._send("")

    async def _send(self, about: str) -> None:
        positions = [float(slider.value) for slider in self._sliders]
        who = self._console.who()
        given = {"positions": positions, "ramp_s": RAMP_S}
        if await attempt(lambda: self._console.watch.ask(who, "intend", given, about)):
            self._console.watch.intended = tuple(positions)
