"""An emulated CyberGlove on a serial line, to be served by `hands/pty.py`.

Bytes as in asr-ros/asr_cyberglove_lib src/gloveDevice.cc: G is answered by G, the sensors and 00; `? c` by
`? c value 00`; a setting (N, D, U and a value) by its name and 00; anything else by "e?".
"""

from __future__ import annotations

from firmware_bridge.emulators.gloves._worn import Posture, counts
from firmware_bridge.emulators.hands.device import Trace
from firmware_bridge.errors import NervehandError

_THUMB = ("thumb", "thumb", "thumb", "")  # roll, MPJ, IJ, abduction
_WRIST = ("", "wrist", "")  # palm arch, pitch, yaw
SENSORS: dict[int, tuple[str, ...]] = {
    22: (
        *_THUMB, "index", "index", "index", "middle", "middle", "middle", "",
        "ring", "ring", "ring", "", "little", "little", "little", "", *_WRIST,
    ),
    18: (
        *_THUMB, "index", "index", "middle", "middle", "",
        "ring", "ring", "", "little", "little", "", *_WRIST,
    ),
}  # fmt: skip
"""What bends each sensor, by how many the glove has."""

_LOW, _HIGH = 40, 220  # of 1..255: what a hand reaches
_SETTINGS = b"NDU"
ORDERS = ("silent", "unplugged", "short", "long", "old", "clear")


class CyberGlove:
    """Answers as a glove of 18 or 22 sensors on a hand that makes `posture`.

    Faults to order: "silent" (no more answers), "unplugged" (the interface answers, with its error "eg"), "short" and
    "long" (every third answer lacks a byte, or has one too many), "old" (a firmware without settings), "clear".
    """

    def __init__(self, posture: Posture, n_sensors: int = 22) -> None:
        self.trace = Trace()
        self.n_answers = 0
        self._posture, self._dofs = posture, SENSORS[n_sensors]
        self._fault = ""
        self._waiting = b""

    def receive(self, data: bytes, now_ns: int) -> list[bytes]:
        self._waiting += data
        answers = []
        while (taken := self._taken()) is not None:
            answer = self._answer(taken, now_ns)
            if self._fault != "silent":
                answers.append(answer)
        return answers

    def advance(self, now_ns: int) -> list[bytes]:
        return []

    def connected(self, is_connected: bool, now_ns: int) -> None:
        self._waiting = b""
        self.trace.add(now_ns, "connected" if is_connected else "disconnected")

    def obey(self, order: str, now_ns: int) -> None:
        if order not in ORDERS:
            raise NervehandError(f"order {order!r} is unknown to this glove: use one of {', '.join(ORDERS)}")
        self._fault = "" if order == "clear" else order
        self.trace.add(now_ns, "ordered", text=order)

    def _taken(self) -> bytes | None:
        """The next whole command of what came."""
        if not self._waiting:
            return None
        length = 2 if self._waiting[0] in _SETTINGS + b"?" else 1
        if len(self._waiting) < length:
            return None
        taken, self._waiting = self._waiting[:length], self._waiting[length:]
        return taken

    def _answer(self, command: bytes, now_ns: int) -> bytes:
        if command == b"G":
            return self._reading(now_ns)
        if command == b"?S":
            return b"?S" + bytes([len(self._dofs)]) + b"\0"
        if command[0] in _SETTINGS and self._fault != "old":
            return command[:1] + b"\0"
        self.trace.add(now_ns, "refused", text=command.hex())
        return b"e?"

    def _reading(self, now_ns: int) -> bytes:
        self.n_answers += 1
        sensors = counts(self._posture(now_ns), self._dofs, _LOW, _HIGH)
        if self._fault == "unplugged":
            return b"G" + sensors + b"eg\0"
        if self._fault in ("short", "long") and self.n_answers % 3 == 0:
            sensors = sensors[1:] if self._fault == "short" else sensors + b"\x64"
        return b"G" + sensors + b"\0"
