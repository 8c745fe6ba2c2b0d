"""What a serial front-end says of itself: a bounded JSON object in a DESCRIPTION frame, checked field by field."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from firmware_bridge.errors import NervehandError
from firmware_bridge.sources._serial_protocol import (
    MAX_CHANNELS,
    REQUEST,
    FrameType,
    ProtocolError,
    encode_frame,
)
from firmware_bridge.stream import N_LINES, STREAM_KINDS, StreamInfo

MAX_NAME = 64
"""Characters of a channel's or electrode's name."""

MAX_TEXT = 200
"""Characters of the nerve and of the firmware's name."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a device says of itself: its stream, the name and version of its firmware, and the impedance of each
    electrode in ohms at 1 kHz, None where it measured none; empty where it measures none at all."""

    info: StreamInfo
    firmware: str
    impedance_ohm: tuple[float | None, ...] = ()


def encode_description(sequence: int, request: int, description: Description) -> bytes:
    info = description.info
    fields: dict[str, object] = {
        "firmware": description.firmware,
        "rate_hz": info.rate_hz,
        "kind": info.kind,
        "channels": info.channel_names,
        "electrodes": info.electrodes,
        "nerve": info.nerve,
        "full_scale_uv": info.full_scale_uv,
        "band_hz": info.hardware_band_hz,
        "mains_hz": info.mains_hz,
        "stimulation_lines": info.stimulation_lines,
        "impedance_ohm": description.impedance_ohm,
    }
    said = {key: value for key, value in fields.items() if value not in (None, (), "")}
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    return encode_frame(FrameType.DESCRIPTION, sequence, REQUEST.pack(request) + text.encode())


def parse_description(payload: bytes) -> Description:
    """The description in a DESCRIPTION frame; ProtocolError for anything that is not one."""
    try:
        fields = json.loads(payload[REQUEST.size :].decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ProtocolError(f"the device's description is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ProtocolError("the device's description is not a JSON object")
    kind = _text(fields, "kind", None)
    if kind not in STREAM_KINDS:
        raise ProtocolError(f"description: kind is {kind!r}, not one of {', '.join(STREAM_KINDS)}")
    channels = _names(fields, "channels")
    if not 1 <= len(channels) <= MAX_CHANNELS:
        raise ProtocolError(f"description: {len(channels)} channels, not 1 to {MAX_CHANNELS}")
    full_scale = None if fields.get("full_scale_uv") is None else _positive(fields, "full_scale_uv", None)
    try:
        info = StreamInfo(
            rate_hz=_positive(fields, "rate_hz", None),
            channel_names=channels,
            kind=kind,
            electrodes=_names(fields, "electrodes"),
            nerve=_text(fields, "nerve", ""),
            full_scale_uv=full_scale,
            hardware_band_hz=_band(fields.get("band_hz")),
            mains_hz=_positive(fields, "mains_hz", 50.0),
            stimulation_lines=_lines(fields.get("stimulation_lines", [])),
        )
    except ProtocolError:
        raise
    except NervehandError as error:
        raise ProtocolError(f"description: {error}") from error
    return Description(info, _text(fields, "firmware", None), _impedances(fields, len(channels)))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _text(fields: dict[str, object], key: str, default: str | None) -> str:
    value = fields.get(key, default)
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ProtocolError(
            f"description: {key} is {_shown(value)}, not a printable text of up to {MAX_TEXT}"
        )
    return value


def _positive(fields: dict[str, object], key: str, default: float | None) -> float:
    value = _number(fields.get(key, default))
    if value is None or not value > 0:
        raise ProtocolError(f"description: {key} is {_shown(fields.get(key))}, not a positive number")
    return value


def _number(value: object) -> float | None:
    """A finite number, or None; a whole number with too many digits for a float is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > 2**53:
        return None
    return float(value) if math.isfinite(value) else None


def _names(fields: dict[str, object], key: str) -> tuple[str, ...]:
    value = fields.get(key, [])
    if not isinstance(value, list):
        raise ProtocolError(f"description: {key} is {_shown(value)}, not a list of names")
    for name in value:
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise ProtocolError(f"description: {key} has {_shown(name)}, not a name of 1 to {MAX_NAME}")
    return tuple(value)


def _impedances(fields: dict[str, object], n_channels: int) -> tuple[float | None, ...]:
    value = fields.get("impedance_ohm", [])
    if not isinstance(value, list) or len(value) not in (0, n_channels):
        raise ProtocolError(
            f"description: impedance_ohm is {_shown(value)}, not a list with one entry for each channel"
        )
    found = [None if one is None else _number(one) for one in value]
    if any(ohm != one or (ohm is not None and ohm < 0) for ohm, one in zip(found, value, strict=True)):
        raise ProtocolError(
            "description: impedance_ohm has an entry that is neither null nor zero or more ohms"
        )
    return tuple(found)


def _band(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    corners = [_number(corner) for corner in value] if isinstance(value, list) else []
    if (
        len(corners) == 2
        and corners[0] is not None
        and corners[1] is not None
        and 0 <= corners[0] < corners[1]
    ):
        return corners[0], corners[1]
    raise ProtocolError(f"description: band_hz is {_shown(value)}, not two rising corners in Hz")


def _lines(value: object) -> tuple[int, ...]:
    lines = value if isinstance(value, list) else [None]
    if any(type(line) is not int or not 0 <= line < N_LINES for line in lines):
        raise ProtocolError(
            f"description: stimulation_lines is {_shown(value)}, not a list of 0 to {N_LINES - 1}"
        )
    return tuple(lines)


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
