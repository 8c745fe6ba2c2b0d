"""Whether a device still is what it was when it was opened."""

from __future__ import annotations

from dataclasses import fields

from firmware_bridge.errors import StreamMismatchError
from firmware_bridge.stream import StreamInfo

_WORDS = {
    "rate_hz": "sampling rate (Hz)",
    "channel_names": "channels",
    "full_scale_uv": "full scale (µV)",
    "hardware_band_hz": "hardware band (Hz)",
}


def check_same(device: str, was: StreamInfo, now: StreamInfo) -> None:
    """Raise StreamMismatchError with the first difference; `device` begins its sentence. The mains are the room's."""
    for field in fields(StreamInfo):
        before, after = getattr(was, field.name), getattr(now, field.name)
        if before != after and field.name != "mains_hz":
            raise changed(
                device, _WORDS.get(field.name, field.name.replace("_", " ")), _text(before), _text(after)
            )


def changed(device: str, what: str, was: str, now: str) -> StreamMismatchError:
    """The error that says so."""
    return StreamMismatchError(
        f"{device}: its {what} changed from {was} to {now}: change it back, or open the device anew"
    )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
