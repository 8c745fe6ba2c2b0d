"""The spellings of a voltage that senders use."""

from __future__ import annotations

import re

_VOLTS = ("v", "volt", "volts")
_POWERS = {
    "": 0, "d": -1, "deci": -1, "c": -2, "centi": -2, "m": -3, "milli": -3, "u": -6, "micro": -6,
    "\N{MICRO SIGN}": -6, "\N{GREEK SMALL LETTER MU}": -6, "n": -9, "nano": -9, "p": -12, "pico": -12,
}  # fmt: skip


def microvolts_per(unit: str) -> float | None:
    """Microvolts in one `unit`: "volts", "mV", "microvolt", "\N{MICRO SIGN}V", ...; None for what is no voltage.

    A whole number from -12 to 0 is the power of ten of a volt, as MNE-LSL writes it (-6: microvolts).
    """
    said = unit.strip()
    if re.fullmatch("-?[0-9]{1,3}", said):
        power = int(said)
        return 10.0 ** (6 + power) if -12 <= power <= 0 else None
    lower = said.lower().replace(" ", "")
    for volts in _VOLTS:
        if lower.endswith(volts) and (prefix := lower.removesuffix(volts)) in _POWERS:
            if said[:2] == "MV":
                return None  # megavolts; nobody's signal
            return 10.0 ** (6 + _POWERS[prefix])
    return None
