"""The Ability Hand's own grips by name, as its two command sets number them, and how fast they go."""

from __future__ import annotations

UART_GRIPS = {
    "open": 0x00,
    "power": 0x01,
    "key": 0x02,
    "pinch": 0x03,
    "tripod opened": 0x04,
    "sign of the horns": 0x05,
    "cylinder": 0x06,
    "mouse": 0x07,
    "power or key": 0x08,
    "point": 0x09,
    "rude point": 0x0A,
    "hook": 0x0B,
    "relax": 0x0C,
    "sleeve": 0x0D,
    "peace": 0x0E,
    "tripod closed": 0x0F,
    "hang loose": 0x10,
    "handshake": 0x11,
    "fixed pinch": 0x12,
    "trigger": 0x18,
    "finger wave": 0x20,
}
"""ICD 1.8, section 2.2; without the places for a user's own."""

BLE_GRIPS = {
    "open": -1,
    "power": 3,
    "key": 4,
    "pinch": 2,
    "sign of the horns": 9,
    "cylinder": 12,
    "mouse": 13,
    "point": 7,
    "rude point": 10,
    "hook": 14,
    "relax": 8,
    "sleeve": 15,
    "peace": 16,
    "hang loose": 17,
    "handshake": 5,
    "fixed pinch": 18,
    "trigger": 6,
    "finger wave": 31,
}
"""ICD 1.8, section 4.3.3, where the same names are. -1 is the open position of the grip that it is in."""

SLOWEST_S, FASTEST_S = 2.0, 0.2
"""How long each part of a grip takes."""


def speed_byte(speed: float) -> int:
    """A speed of 0 to 1 as the UART's 1 to 255: its 0 would stop the hand."""
    return 1 + round(speed * 254)


def period_s(speed: float) -> float:
    """A speed of 0 to 1 as the time for each part of a grip."""
    return SLOWEST_S - speed * (SLOWEST_S - FASTEST_S)
