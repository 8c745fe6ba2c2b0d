"""Rokoko Smartgloves: Rokoko Studio's live stream as JSON over UDP, to this machine: `rokoko`.

In Studio: livestream, custom, JSON v3 (or v2), this machine's address and port 14043, not compressed. The form is what
Rokoko's own plugin reads (Rokoko/rokoko-studio-live-blender, core/live_data_manager.py): v3 has "version", "fps" and
"scene": {"timestamp", "actors": [{"name", "body": {BONE: {"position": {x, y, z}, "rotation": ...}}}]}; v2 (and 2.5,
which says version 3 too) has "timestamp" and "actors" beside each other, and the bones in the actor itself. A bone's
position is where it begins, in metres, in a left-handed frame with y up (Rokoko/rokoko-studio-live-unreal-engine takes
it over into another left-handed one); a finger's are "leftIndexProximal", "...Medial", "...Distal" and "...Tip".
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calibration.truth import Side, TruthBlock, TruthInfo
from calibration.truth._hand_points import JOINTS, joint_angles, wrist_angles
from calibration.truth._where import parse_where, rate_of, side_of, yes_or_no
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.sources import Found

ADDRESS = "rokoko[:[HOST:]PORT][?side=left|right&actor=NAME&wrist=yes|no&rate=HZ]"
HOST, PORT = "127.0.0.1", 14043
RATE_HZ = 100.0
"""Of Studio's live stream with gloves, nominal."""

BONES: tuple[str, ...] = (
    "Hand",
    *(
        f"{digit}{bone}"
        for digit in ("Thumb", "Index", "Middle", "Ring", "Little")
        for bone in ("Proximal", "Medial", "Distal", "Tip")
    ),
)
"""Where they begin are the 21 points of `_hand_points`, in its order."""
WRIST_JOINTS = ("wrist flexion", "wrist deviation")

_DATAGRAM = 65536
_LZ4 = b"\x04\x22\x4d\x18"  # the magic number of its frames (lz4_Frame_format.md)
_WAIT_S = 0.05


class NotRokokoError(LinkError):
    """A datagram that is not what this reads."""


def hand_of(
    data: bytes, side: Side, actor: str = ""
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """One datagram: Studio's time in seconds, the hand's points (21, 3) and the elbow (3,) in a right-handed frame.

    NaN where the actor, or one of its bones, is missing. `actor` "" takes the first one. Raises NotRokokoError.
    """
    if data.startswith(_LZ4):
        raise NotRokokoError(
            "Rokoko Studio sends compressed data: choose JSON v3 (custom) in its livestream settings"
        )
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise NotRokokoError(
            "what comes is no JSON: choose JSON v3 in Rokoko Studio's livestream settings"
        ) from None
    scene = _field(message, "scene", message)
    actors, time_s = _field(scene, "actors"), _number(_field(scene, "timestamp"))
    if not isinstance(actors, list) or math.isnan(time_s):
        raise NotRokokoError(
            "what comes has no actors or no time: choose JSON v3 in Rokoko Studio's settings"
        )
    mine = next((one for one in actors if actor in ("", _field(one, "name"))), None)
    bones = _field(mine, "body", mine)
    places = (_field(_field(bones, side + bone), "position") for bone in (*BONES, "LowerArm"))
    points = np.array([[_number(_field(place, axis)) for axis in "xyz"] for place in places])
    points[:, 0] *= -1  # left-handed to right-handed
    return time_s, points[:-1], points[-1]


def _field(value: object, name: str, default: object = None) -> object:
    """What an object has by that name."""
    return value.get(name, default) if isinstance(value, dict) else None


def _number(value: object) -> float:
    """NaN for what is no finite number."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e9 else math.nan


class RokokoSource:
    """A `TruthSource`: what Studio sends to `host`:`port`. `stall_s` without a datagram is a lost source.

    `device_s` is Studio's own clock. Datagrams that are not Studio's are counted in `bad_frames`; where nothing else
    comes, the last one's reason is why the source is lost.
    """

    def __init__(
        self, info: TruthInfo, host: str = HOST, port: int = PORT, actor: str = "", stall_s: float = 1.0
    ) -> None:
        self.info = info
        self.bad_frames = 0
        self._host, self._port, self._actor, self._stall_s = host, port, actor, stall_s
        self._has_wrist = WRIST_JOINTS[0] in info.joints
        self._socket: socket.socket | None = None
        self._closed = threading.Event()
        self._using = threading.Lock()

    def connect(self) -> None:
        """Listen, and hear Studio once."""
        self.close()
        self._closed = closed = threading.Event()
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listening.settimeout(_WAIT_S)
        try:
            listening.bind((self._host, self._port))
        except OSError as error:
            listening.close()
            raise LinkError(
                f"UDP port {self._host}:{self._port} cannot be listened to ({error.strerror}): end the other program "
                "that does, or choose another port here and in Rokoko Studio"
            ) from error
        self._socket = listening
        try:
            heard = self._next(listening, closed)
        except NotRokokoError:
            self.close()
            raise
        if heard is None and not closed.is_set():
            self.close()
            raise LinkError(
                f"Rokoko Studio sends nothing to {self._host}:{self._port}: start its livestream to this address"
            )

    def blocks(self) -> Iterator[TruthBlock]:
        listening, closed = self._socket, self._closed
        while listening is not None and not closed.is_set():
            try:
                taken = self._next(listening, closed)
            except NotRokokoError as error:
                self.close()
                raise SourceLostError(str(error)) from error
            if closed.is_set():
                return
            if taken is None:
                self.close()
                raise SourceLostError(
                    f"Rokoko Studio is silent for {self._stall_s:g} s: is its livestream on?"
                )
            yield taken

    def close(self) -> None:
        self._closed.set()
        with self._using:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _next(self, listening: socket.socket, closed: threading.Event) -> TruthBlock | None:
        """The next reading; None after `stall_s` of silence, or once closed."""
        wrong: NotRokokoError | None = None
        heard_s = time.monotonic()
        while not closed.is_set() and time.monotonic() - heard_s < self._stall_s:
            with self._using:
                if closed.is_set():
                    return None
                try:
                    data = listening.recv(_DATAGRAM)
                except TimeoutError:
                    continue
            arrival_ns = time.monotonic_ns()
            try:
                time_s, points, elbow = hand_of(data, self.info.side, self._actor)
            except NotRokokoError as error:
                self.bad_frames += 1
                wrong = error
                continue
            values = joint_angles(points[None], self.info.side)
            if self._has_wrist:
                wrist = wrist_angles(points[None], elbow[None], self.info.side)
                values = np.concatenate([values, wrist], axis=1)
            return TruthBlock(values.astype(np.float32), np.array([time_s]), np.array([arrival_ns], np.int64))
        if wrong is not None and not closed.is_set():
            raise wrong
        return None


def described(side: Side, has_wrist: bool, rate_hz: float = RATE_HZ) -> TruthInfo:
    joints = JOINTS + (WRIST_JOINTS if has_wrist else ())
    return TruthInfo("Rokoko glove", joints, ("rad",) * len(joints), joints, rate_hz, side)


def find() -> tuple[Found, ...]:
    """What Studio sends to this machine now, by listening for a moment."""
    source = RokokoSource(described("right", False), stall_s=0.3)
    try:
        source.connect()
    except NervehandError:
        return ()
    source.close()
    return (Found("rokoko", f"Rokoko Studio's livestream to {HOST}:{PORT}"),)


def open_truth(where: str) -> RokokoSource:
    """Studio's stream to HOST:PORT, 127.0.0.1:14043 unless given; another HOST listens to the network."""
    place, options = parse_where(
        ADDRESS, where, {"side": "right", "actor": "", "wrist": "no", "rate": f"{RATE_HZ:g}"}
    )
    host, _, port = place.rpartition(":")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise NervehandError(f"rokoko:{where} names no port: give {ADDRESS}")
    info = described(side_of(options["side"]), yes_or_no("wrist", options["wrist"]), rate_of(options["rate"]))
    return RokokoSource(info, host or HOST, int(port or PORT), options["actor"])
