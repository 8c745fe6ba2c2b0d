"""CyberGlove II and III with 18 or 22 sensors on a serial port: `cyberglove:PORT`.

The bytes, as public drivers have them (asr-ros/asr_cyberglove_lib src/gloveDevice.cc; OrebroUniversity/cyberglove
src/serial_glove.c; intellsensing/cyberglove cyberglove/cyberglove.py), at 115200 baud, 8N1:

    ask for a reading   G              answered by  G v1 .. vn [e s | e g] 00
    ask for a setting   ? c            answered by  ? c value 00
    set one             c value        answered by  c 00

A value v is 1 to 255, never 0, so that 00 ends an answer only. "e s" says that the glove's own clock is too fast for
it, "e g" that no glove is plugged in; an unknown command is answered by "e ?". Settings used: S (sensors of the glove,
read only), N (how many of them are sent), D (time stamps), U (a status byte). The order of the sensors is
that of asr_cyberglove_lib (include/gloveConstants.h); 18 have no DIP sensors (OrebroUniversity/cyberglove).
"""

from __future__ import annotations

import math
import time

from calibration.truth import Side, TruthInfo
from calibration.truth._serial_glove import SerialGlove, opened
from calibration.truth._serial_glove import find as find_gloves
from calibration.truth._where import parse_where, rate_of, side_of
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.sources import Found
from firmware_bridge.sources._serial_port import SerialPort

ADDRESS = "cyberglove:PORT[?side=left|right&sensors=18|22&rate=HZ]"
BAUD = 115200
RATE_HZ = 100.0
"""How often it is asked by default; an answer of 24 bytes takes 2 ms."""

SENSORS_22: tuple[tuple[str, str], ...] = (
    ("thumb roll", "thumb rotation"),
    ("thumb MPJ", "thumb mcp"),
    ("thumb IJ", "thumb ip"),
    ("thumb abduction", "thumb abduction"),
    ("index MPJ", "index mcp"),
    ("index PIJ", "index pip"),
    ("index DIJ", "index dip"),
    ("middle MPJ", "middle mcp"),
    ("middle PIJ", "middle pip"),
    ("middle DIJ", "middle dip"),
    ("index-middle abduction", "index abduction"),
    ("ring MPJ", "ring mcp"),
    ("ring PIJ", "ring pip"),
    ("ring DIJ", "ring dip"),
    ("middle-ring abduction", "ring abduction"),
    ("little MPJ", "little mcp"),
    ("little PIJ", "little pip"),
    ("little DIJ", "little dip"),
    ("ring-little abduction", "little abduction"),
    ("palm arch", ""),
    ("wrist pitch", "wrist flexion"),
    ("wrist yaw", "wrist deviation"),
)
"""The glove's sensors with the joint that bends each."""
SENSORS_18 = tuple(sensor for sensor in SENSORS_22 if not sensor[0].endswith("DIJ"))
_BY_NUMBER = {len(sensors): sensors for sensors in (SENSORS_18, SENSORS_22)}

_SETTING_S, _ATTEMPTS = 0.3, 4


class Replies:
    """The answers to G among bytes of any kind. An answer that is too short or too long is dropped and counted."""

    def __init__(self, n_sensors: int) -> None:
        self.bad_frames = 0
        self._n_sensors = n_sensors
        self._waiting = b""

    def feed(self, data: bytes) -> list[list[float]]:
        """The readings that these bytes complete; NaN where the interface says that no glove is plugged in."""
        *answers, self._waiting = (self._waiting + data).split(b"\0")
        # What never ends is no answer: the longest one may still be in its last bytes.
        self._waiting = self._waiting[-(self._n_sensors + 3) :]
        readings = [self._reading(answer) for answer in answers]
        self.bad_frames += readings.count(None)
        return [reading for reading in readings if reading is not None]

    def _reading(self, answer: bytes) -> list[float] | None:
        n = self._n_sensors
        whole = answer[-(n + 1) :]
        if len(whole) == n + 1 and whole[:1] == b"G":
            return [float(value) for value in whole[1:]]
        whole, error = answer[-(n + 3) : -2], answer[-2:]
        if len(whole) == n + 1 and whole[:1] == b"G" and error in (b"es", b"eg"):
            return [math.nan] * n if error == b"eg" else [float(value) for value in whole[1:]]
        return None


class CyberGloveWire:
    """The bytes of one connection to a glove of `n_sensors`."""

    request = b"G"

    def __init__(self, n_sensors: int) -> None:
        self._n_sensors = n_sensors
        self.replies = Replies(n_sensors)

    def begin(self, port: SerialPort) -> None:
        there = sensors_of(port)
        if there != self._n_sensors:
            raise LinkError(
                f"the CyberGlove at {port.path} has {there} sensors, and {self._n_sensors} are expected: "
                f"give sensors={there}"
            )
        for name, value in ((b"N", there), (b"D", 0), (b"U", 0)):
            _set(port, name, value)

    def feed(self, data: bytes) -> list[list[float]]:
        return self.replies.feed(data)


def sensors_of(port: SerialPort) -> int:
    """How many sensors the glove at that port has; LinkError where nothing answers, or no CyberGlove does."""
    answer = _answer(port, b"?S", b"?S", 4)
    if answer[3:] != b"\0":
        raise LinkError(
            f"what answers at {port.path} is no CyberGlove ({answer.hex(' ')}): give another port"
        )
    return answer[2]


def _set(port: SerialPort, name: bytes, value: int) -> None:
    """Set it; a glove that does not know the setting cannot have it on."""
    answer = _answer(port, name + bytes([value]), name, 2)
    if answer != name + b"\0" and answer != b"e?":
        raise LinkError(
            f"the CyberGlove at {port.path} answers {answer.hex(' ')} to {name.decode()}: switch it on anew"
        )


def _answer(port: SerialPort, asked: bytes, begins: bytes, length: int) -> bytes:
    """The bytes of that length that begin so, or "e?", asked for a few times; what comes before is thrown away."""
    for _ in range(_ATTEMPTS):
        while port.read(0.0):  # what an earlier user asked for
            pass
        port.write(asked)
        came, end_s = b"", time.monotonic() + _SETTING_S
        while (left_s := end_s - time.monotonic()) > 0:
            came += port.read(left_s)
            at = came.find(begins)
            if at >= 0 and len(came) >= at + length:
                return came[at : at + length]
            if b"e?" in came:
                return b"e?"
    raise LinkError(
        f"no CyberGlove answers at {port.path} ({_ATTEMPTS} x {_SETTING_S:g} s): switch it on, and check the port"
    )


def described(n_sensors: int, side: Side, rate_hz: float = RATE_HZ) -> TruthInfo:
    """A glove of 18 or 22 sensors; NervehandError for another number."""
    sensors = _BY_NUMBER.get(n_sensors)
    if sensors is None:
        raise NervehandError(f"a CyberGlove of {n_sensors} sensors is not known: there are 18 and 22")
    names, joints = zip(*sensors, strict=True)
    return TruthInfo(f"CyberGlove {n_sensors}", names, ("raw",) * n_sensors, joints, rate_hz, side)


def find() -> tuple[Found, ...]:
    """The serial ports that may have one."""
    return find_gloves("cyberglove", "a CyberGlove")


def open_truth(where: str) -> SerialGlove:
    """The glove at PORT, asked how many sensors it has unless the address says so."""
    port, options = parse_where(ADDRESS, where, {"side": "right", "sensors": "", "rate": f"{RATE_HZ:g}"})
    if not port:
        raise NervehandError(f"a CyberGlove needs the port that it is on: {ADDRESS}")
    side, rate_hz, said = side_of(options["side"]), rate_of(options["rate"]), options["sensors"]
    if said and not said.isdecimal():
        raise NervehandError(f"sensors={said}: give 18 or 22")
    n_sensors = int(said) if said else _asked(port)
    return SerialGlove(described(n_sensors, side, rate_hz), port, BAUD, lambda: CyberGloveWire(n_sensors))


class _Asked:
    """Asks a glove for no more than what it has."""

    request = b""
    n_sensors = 0

    def begin(self, port: SerialPort) -> None:
        self.n_sensors = sensors_of(port)

    def feed(self, data: bytes) -> list[list[float]]:
        return []


def _asked(path: str) -> int:
    asked = _Asked()
    opened(path, BAUD, asked).close()
    return asked.n_sensors
