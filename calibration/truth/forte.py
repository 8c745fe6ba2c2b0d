"""BeBop Forte data glove, two flex sensors a finger, on its USB or Bluetooth serial port: `forte:PORT`.

Bytes (sofwerx/dataglove, dataglove.py and test_scripts/readme.md), at 460800 baud, 8N1: B0 73 01 switches the data on,
B0 76 01 sends them over USB, B0 76 02 over Bluetooth. A frame is F0, the kind, how many bytes follow, these bytes, F7;
kind 01 has ten sensors (thumb to little finger, the one at the knuckle first) and the battery, 11 bytes of 0 to 127.
Other kinds (02 is the inertial sensor) are passed over.
"""

from __future__ import annotations

import time

from calibration.truth import Side, TruthInfo
from calibration.truth._serial_glove import SerialGlove
from calibration.truth._serial_glove import find as find_gloves
from calibration.truth._where import parse_where, rate_of, side_of
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.sources import Found
from firmware_bridge.sources._serial_port import SerialPort

ADDRESS = "forte:PORT[?side=left|right&mode=usb|bluetooth&rate=HZ]"
BAUD = 460800
RATE_HZ = 100.0
"""Of its frames, nominal: its maker states none in the sources above; what comes is what counts."""

SENSORS: tuple[tuple[str, str], ...] = (
    ("thumb 1", "thumb mcp"),
    ("thumb 2", "thumb ip"),
    *(
        (f"{finger} {number}", f"{finger} {joint}")
        for finger in ("index", "middle", "ring", "little")
        for number, joint in ((1, "mcp"), (2, "pip"))
    ),
)
"""The glove's sensors with the joint that bends each."""
MODES = {"usb": 1, "bluetooth": 2}

_START, _STOP, _FLEX = 0xF0, 0xF7, 1
_PAYLOAD = len(SENSORS) + 1
_DATA_ON = b"\xb0\x73\x01"
_LONGEST = 64
_FIRST_FRAME_S = 1.0


class Frames:
    """The frames among bytes of any kind. One that is of a wrong length, or holds a byte above 127, is dropped and
    counted; the next F0 begins another."""

    def __init__(self) -> None:
        self.bad_frames = 0
        self._frame: bytearray | None = None

    def feed(self, data: bytes) -> list[list[float]]:
        readings = []
        for byte in data:
            if byte == _START:
                self.bad_frames += self._frame is not None
                self._frame = bytearray()
            elif self._frame is None:
                continue
            elif byte == _STOP:
                reading, is_flex = _reading(bytes(self._frame))
                self._frame = None
                if reading is not None:
                    readings.append(reading)
                self.bad_frames += is_flex and reading is None
            elif byte > 0x7F or len(self._frame) >= _LONGEST:
                self.bad_frames += 1
                self._frame = None
            else:
                self._frame.append(byte)
        return readings


def _reading(frame: bytes) -> tuple[list[float] | None, bool]:
    """The ten sensors, None where they are not whole; and whether the frame is of the kind that has them."""
    is_flex = frame[:1] == bytes([_FLEX])
    if not is_flex or len(frame) != 2 + _PAYLOAD or frame[1] != _PAYLOAD:
        return None, is_flex or not frame
    return [float(value) for value in frame[2 : 2 + len(SENSORS)]], True


class ForteWire:
    """The bytes of one connection."""

    request = b""

    def __init__(self, mode: int) -> None:
        self.frames = Frames()
        self._mode = mode

    def begin(self, port: SerialPort) -> None:
        port.write(_DATA_ON + bytes([0xB0, 0x76, self._mode]))
        end_s = time.monotonic() + _FIRST_FRAME_S
        while (left_s := end_s - time.monotonic()) > 0:
            if self.frames.feed(port.read(left_s)):
                return
        raise LinkError(
            f"no Forte glove sends at {port.path} ({_FIRST_FRAME_S:g} s): switch it on, and check port and mode"
        )

    def feed(self, data: bytes) -> list[list[float]]:
        return self.frames.feed(data)


def described(side: Side, rate_hz: float = RATE_HZ) -> TruthInfo:
    names, joints = zip(*SENSORS, strict=True)
    return TruthInfo("Forte glove", names, ("raw",) * len(names), joints, rate_hz, side)


def find() -> tuple[Found, ...]:
    """The serial ports that may have one."""
    return find_gloves("forte", "a Forte glove")


def open_truth(where: str) -> SerialGlove:
    """The glove at PORT."""
    port, options = parse_where(ADDRESS, where, {"side": "right", "mode": "usb", "rate": f"{RATE_HZ:g}"})
    if not port:
        raise NervehandError(f"a Forte glove needs the port that it is on: {ADDRESS}")
    mode = MODES.get(options["mode"])
    if mode is None:
        raise NervehandError(f"mode={options['mode']}: give one of {', '.join(MODES)}")
    info = described(side_of(options["side"]), rate_of(options["rate"]))
    return SerialGlove(info, port, BAUD, lambda: ForteWire(mode))
