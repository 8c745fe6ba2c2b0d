"""Rokoko Studio's live stream of a hand, as JSON over UDP to the loopback, with faults to order.

Forms 2 and 3, as Rokoko/rokoko-studio-live-blender reads them (core/live_data_manager.py). The hand is the one of
`physics/skeleton.py`, in Studio's frame: left-handed, y up, somewhere in the room. Rotations are there as in the real
stream, but say nothing here.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.gloves._worn import Posture
from firmware_bridge.emulators.worker import Worker
from firmware_bridge.errors import NervehandError
from firmware_bridge.physics.anatomy import Side
from firmware_bridge.physics.skeleton import bone_ends, bone_names, joint_angles

ORDERS = ("silent", "noise", "compressed", "no hand", "clear")

_BONES = {"Proximal": 0, "Medial": 1, "Distal": 2}
_OF_FINGER = ("proximal", "middle", "distal")
_OF_THUMB = ("metacarpal", "proximal", "distal")
_IN_ROOM = np.array([0.4, -0.1, 1.2])
_FOREARM_M = 0.25
_LZ4 = b"\x04\x22\x4d\x18\x64\x40\xa7"


def places(positions: NDArray[np.floating], side: Side) -> dict[str, NDArray[np.float64]]:
    """Where the bones of a hand begin, (3,) in metres in our right-handed frame, by Studio's names."""
    ends = dict(zip(bone_names(), bone_ends(joint_angles(positions.astype(np.float32)), side), strict=True))
    found = {"Hand": ends["palm"][0], "LowerArm": np.array([-_FOREARM_M, 0.0, 0.0])}
    for digit in ("thumb", "index", "middle", "ring", "little"):
        names = _OF_THUMB if digit == "thumb" else _OF_FINGER
        for studio, i in _BONES.items():
            found[f"{digit.capitalize()}{studio}"] = ends[f"{digit} {names[i]}"][0]
        found[f"{digit.capitalize()}Tip"] = ends[f"{digit} {names[2]}"][1]
    return {f"{side}{name}": place for name, place in found.items()}


def datagram(
    positions: NDArray[np.floating],
    time_s: float,
    side: Side,
    version: Literal[2, 3] = 3,
    actor: str = "Anna",
) -> bytes:
    """One frame of Studio's stream."""
    body = {
        name: {
            "position": dict(zip("xyz", (place[[0, 2, 1]] + _IN_ROOM).tolist(), strict=True)),
            "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0},
        }
        for name, place in places(positions, side).items()
    }
    if version == 2:
        message = {
            "version": "2.0", "timestamp": time_s, "playbackTimestamp": time_s, "props": [], "trackers": [],
            "faces": [], "actors": [{"name": actor, **body}],
        }  # fmt: skip
    else:
        has = dict.fromkeys(("hasGloves", "hasLeftGlove", "hasRightGlove", "hasBody"), True) | {
            "hasFace": False
        }
        message = {
            "version": "3.0", "fps": 100.0,
            "scene": {
                "timestamp": time_s, "props": [],
                "actors": [{"name": actor, "meta": has, "dimensions": {"hipHeight": 0.95}, "body": body}],
            },
        }  # fmt: skip
    return json.dumps(message).encode()


class RokokoStudio:
    """Sends to 127.0.0.1:`port` at `rate_hz` while the context lasts; Studio's time begins at 0.

    Faults to order: "silent", "noise" (every second datagram is none of Studio's), "compressed", "no hand" (the actor
    has no fingers), "clear". An error of its thread is raised when the context ends.
    """

    def __init__(
        self,
        posture: Posture,
        port: int,
        side: Side = "right",
        version: Literal[2, 3] = 3,
        rate_hz: float = 100.0,
    ) -> None:
        self.n_sent = 0
        self._posture, self._port, self._side, self._version = posture, port, side, version
        self._period_s = 1.0 / rate_hz
        self._fault = ""
        self._ended = threading.Event()
        self.worker = Worker(self._run)

    def __enter__(self) -> Self:
        self.worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.worker.join()
        self.worker.raise_error(error)

    def obey(self, order: str) -> None:
        if order not in ORDERS:
            raise NervehandError(f"order {order!r} is unknown: use one of {', '.join(ORDERS)}")
        self._fault = "" if order == "clear" else order

    def _run(self) -> None:
        begun_s = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            while not self._ended.is_set():
                due_s = begun_s + self.n_sent * self._period_s
                if self._ended.wait(max(0.0, due_s - time.monotonic())):
                    return
                data = self._data(self.n_sent * self._period_s)
                if data:
                    sending.sendto(data, ("127.0.0.1", self._port))
                self.n_sent += 1

    def _data(self, time_s: float) -> bytes:
        fault = self._fault
        if fault == "silent":
            return b""
        if fault == "compressed":
            return _LZ4
        if fault == "noise" and self.n_sent % 2:
            return b"\xff\x00noise"
        whole = datagram(self._posture(time.monotonic_ns()), time_s, self._side, self._version)
        return whole.replace(b"Medial", b"Nothing") if fault == "no hand" else whole
