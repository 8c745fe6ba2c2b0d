"""Whether a device still is what it was when it was opened."""

from __future__ import annotations

from collections.abc import Iterable

from firmware_bridge.errors import StreamMismatchError
from firmware_bridge.stream import StreamInfo

_WORDS = {
    "rate_hz": "sampling rate (Hz)",
    "channel_names": "channels",
    "full_scale_uv": "full scale (µV)",
    "hardware_band_hz": "hardware band (Hz)",
    "mains_hz": "mains (Hz)",
}


def check_same(
    device: str, was: StreamInfo, now: StreamInfo, said: Iterable[str] = ("rate_hz", "channel_names")
) -> None:
    """Raise StreamMismatchError with the first difference in the fields that the device itself says; others may be
    what a person knows of it. `device` begins the sentence."""
    for name in said:
        before, after = getattr(was, name), getattr(now, name)
        if before != after:
            raise changed(device, _WORDS.get(name, name.replace("_", " ")), _text(before), _text(after))


def changed(device: str, what: str, was: str, now: str) -> StreamMismatchError:
    """The error that says so."""
    return StreamMismatchError(
        f"{device}: its {what} changed from {was} to {now}: change it back, or open the device anew"
    )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
