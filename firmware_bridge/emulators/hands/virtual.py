"""The virtual hand as a device (docs/virtual-hand.md): frames in, states out, and a body that moves."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.emulators.hands.gatt import Peripheral
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands._virtual import GATT
from firmware_bridge.kinematics import KinematicHand

HEARTBEAT_NS = 20_000_000
"""It tells its state where it said nothing for so long."""

STRAY = 0.5
"""Where a hand that moves by itself goes: this share of its reach."""

ORDERS = ("fault", "hot", "stall", "stray", "clear")


class Body(Protocol):
    """Six joints with a watchdog, as `KinematicHand` has them; time is the caller's."""

    @property
    def watchdog_tripped(self) -> bool: ...

    @property
    def positions(self) -> NDArray[np.float32]: ...

    def command(self, targets: NDArray[np.float32], now_ns: int) -> None: ...

    def advance(self, now_ns: int) -> None: ...


class VirtualDevice:
    """A `HandDevice` with `capabilities`; `body` None is kinematic. `trace` keeps everything unless it is given."""

    def __init__(
        self,
        capabilities: HandCapabilities,
        now_ns: int,
        body: Body | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.trace = Trace() if trace is None else trace
        self._capabilities = capabilities
        self._body = KinematicHand(capabilities, now_ns) if body is None else body
        self._has_tripped = False
        self._said_ns = now_ns
        self._sequence = 0
        self._accepted = 0
        self._rejected = 0
        self._fault = self._hot = False
        self._stuck: NDArray[np.float32] | None = None
        self._strays = False

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        try:
            frame = protocol.decode_command(data)
        except protocol.FrameError as error:
            self._rejected += 1
            self.trace.add(now_ns, "refused", text=str(error))
            return []
        self._accepted += 1
        self._sequence = frame.sequence
        self._move_on(now_ns)
        if frame.positions is not None:
            self.trace.add(now_ns, "target", tuple(frame.positions.tolist()), sent_ms=frame.sent_ms)
            if not self._fault and not self._strays and self._stuck is None:
                self._body.command(frame.positions, now_ns)
                self._has_tripped = False
        return [self._say(now_ns)]

    def advance(self, now_ns: int) -> list[bytes]:
        self._move_on(now_ns)
        return [self._say(now_ns)] if now_ns - self._said_ns >= HEARTBEAT_NS else []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")

    def obey(self, order: str, now_ns: int) -> None:
        match order:
            case "fault":
                self._fault = True
            case "hot":
                self._hot = True
            case "stall":
                self._move_on(now_ns)
                self._stuck = self._body.positions.copy()
            case "stray":
                self._strays = True
            case "clear":
                self._fault = self._hot = self._strays = False
                self._stuck = None
            case _:
                raise NervehandError(f"order {order!r} is unknown: use {', '.join(ORDERS)}")
        self.trace.add(now_ns, "ordered", text=order)

    def read(self, uuid: str, now_ns: int) -> bytes:
        """The value of one of its characteristics that can be read."""
        if uuid == protocol.INFO_UUID:
            return protocol.encode_info(self._capabilities)
        self._move_on(now_ns)
        return self._state()

    def _move_on(self, now_ns: int) -> None:
        own = self._stuck
        if self._strays:
            own = (STRAY * self._capabilities.upper).astype(np.float32)
        if own is not None:
            self._body.command(own, now_ns)
        self._body.advance(now_ns)
        self.trace.add(now_ns, "position", tuple(self._body.positions.tolist()))
        if self._body.watchdog_tripped and not self._has_tripped:
            self.trace.add(now_ns, "watchdog")
        self._has_tripped = self._body.watchdog_tripped

    def _say(self, now_ns: int) -> bytes:
        self._said_ns = now_ns
        return self._state()

    def _state(self) -> bytes:
        return protocol.encode_state(
            protocol.StateFrame(
                self._sequence,
                np.clip(self._body.positions, -1, 1),
                self._body.watchdog_tripped,
                self._fault,
                self._accepted,
                self._rejected,
                self._hot,
                self._stuck is not None,
            )
        )


def over_the_air(
    now_ns: int,
    body: Body | None = None,
    trace: Trace | None = None,
    capabilities: HandCapabilities = protocol.VIRTUAL_HAND,
) -> tuple[VirtualDevice, Peripheral]:
    """The device, and what it shows of itself over Bluetooth LE."""
    device = VirtualDevice(capabilities, now_ns, body, trace)
    return device, Peripheral(capabilities.name, GATT, device.read)
