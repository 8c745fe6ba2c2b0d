"""The virtual hand's command set as a dialect (docs/virtual-hand.md; the frames are `virtual_protocol`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, HandCapabilities
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands._ble_wire import Gatt
from firmware_bridge.hands._dialect import Report
from firmware_bridge.joint_map import Joint, JointMap

JOINTS = JointMap(tuple(Joint(name, "1", 0.0, 1.0, -1.0, {name: 1.0}) for name in DOF_NAMES))
"""Its joints are the degrees of freedom themselves."""

GATT = Gatt(
    protocol.SERVICE_UUID,
    protocol.COMMAND_UUID,
    protocol.STATE_UUID,
    (protocol.INFO_UUID, protocol.STATE_UUID),
)


class VirtualDialect:
    """For a hand that says of itself what `capabilities` say; another one is refused.

    The info comes first, then states. The first state says with which sequence number to go on, so that a state that
    was on its way is not taken for an answer. More than three frames on their way would only be older when they come:
    each takes a connection event or more, as does its answer.
    """

    window = 3

    def __init__(self, capabilities: HandCapabilities = protocol.VIRTUAL_HAND) -> None:
        self._capabilities = capabilities
        self.bad_frames = 0
        self.skipped_bytes = 0
        self.begin()

    def begin(self) -> tuple[bytes, ...]:
        self._knows_hand = False
        self._said: int | None = None  # the sequence of the first state
        self._ahead: int | None = None  # sequence - number, of every frame of this connection
        self._last = 0
        return ()

    def end(self) -> tuple[bytes, ...]:
        return ()

    def move(self, joints: NDArray[np.float64], number: int, now_ns: int) -> bytes:
        positions = joints.astype(np.float32)
        return protocol.encode_command(
            protocol.CommandFrame(self._sequence(number), positions, _milliseconds(now_ns))
        )

    def ask(self, number: int, now_ns: int) -> bytes:
        return protocol.encode_command(
            protocol.CommandFrame(self._sequence(number), None, _milliseconds(now_ns))
        )

    def grip(self, name: str, speed: float, number: int, now_ns: int) -> bytes:
        raise NervehandError(f"the virtual hand has no grip {name!r}: it has none of its own")

    def receive(self, data: bytes) -> Iterable[Report]:
        if not self._knows_hand:
            self._knows_hand = True
            misfit = self._misfit(data)
            return (Report(is_answer=False, misfit=misfit),) if misfit else ()
        try:
            state = protocol.decode_state(data)
        except protocol.FrameError:
            self.bad_frames += 1
            return ()
        number = self._number(state.sequence)
        return (
            Report(
                joints=state.positions.astype(np.float64),
                is_answer=number is not None,
                answers=number,
                hot=state.hot,
                stalled=state.stalled,
                watchdog_tripped=state.watchdog_tripped,
                fault="the hand reports a fault" if state.fault else "",
            ),
        )

    def _misfit(self, info: bytes) -> str:
        """Why its limits would be wrong; "" for the hand described."""
        try:
            found = protocol.decode_info(info, self._capabilities.source)
        except protocol.FrameError as error:
            return str(error)
        if protocol.encode_info(found) != protocol.encode_info(self._capabilities):
            return f"it says that it is {found}, not {self._capabilities}: use the right capabilities"
        return ""

    def _sequence(self, number: int) -> int:
        if self._ahead is None:
            self._ahead = 1 + (self._said or 0) - number
        self._last = number
        return (number + self._ahead) % 65536

    def _number(self, sequence: int) -> int | None:
        """The frame, the last one or one before it, that has this sequence."""
        if self._ahead is None:
            self._said = sequence
            return None
        return self._last - (self._last + self._ahead - sequence) % 65536


def _milliseconds(now_ns: int) -> int:
    return now_ns // 1_000_000 % 65536
