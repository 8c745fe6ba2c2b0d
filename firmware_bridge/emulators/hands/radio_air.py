"""The radio as the air of an emulated hand."""

from __future__ import annotations

from bumble.controller import Controller
from bumble.transport.common import TransportSink

from firmware_bridge.emulators.radio import Radio, RadioController, RadioEvent, RadioSettings

__all__ = ["Radio", "RadioAir", "RadioEvent", "RadioSettings"]


class RadioAir:
    """A `Radio`: who vanishes is missed after its supervision timeout."""

    def __init__(self, radio: Radio) -> None:
        self.link = radio

    def controller(self, name: str, source: object = None, sink: TransportSink | None = None) -> Controller:
        return RadioController(name, self.link, source, sink)

    def lost(self, controller: Controller) -> None:
        self.link.remove_controller(controller)

    def obey(self, order: str) -> bool:
        if order.split(" ")[0] in ("loss", "jitter", "interval", "silence", "supervision", "resume"):
            self.link.obey(order)
            return True
        return False
