"""Which simulated person an address names: PRESET/SUBJECT/DAY, of the nerve, of the able hand and of a calibration."""

from __future__ import annotations

from firmware_bridge.errors import NervehandError


def person_at(where: str, usage: str) -> tuple[str, int, int]:
    """Preset, subject and day of PRESET/SUBJECT/DAY; what is left out is default, 1 and 0.

    NervehandError, with `usage` as the form to give, for anything else; whether there is such a preset is not asked.
    """
    given = where.split("/") if where else []
    preset, number, day = [*given, *("default", "1", "0")[len(given) :]][:3]
    if len(given) > 3 or not (number.isdecimal() and day.isdecimal()):
        raise NervehandError(f"simulated:{where}: give {usage}, for example simulated:default/1/0")
    return preset, int(number), int(day)
