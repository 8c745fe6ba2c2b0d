"""The address of a simulated person who is calibrated: who it is, how late the able hand is, and how many mishaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from calibration.simulated_wearer import Wearer
from calibration.truth._where import number_of, parse_where
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.person_address import person_at

SIMULATED = "simulated"
ADDRESS = "simulated[:PRESET[/SUBJECT[/DAY]]][?lag_ms=MS][&drift_ppm=PPM][&mishaps=N]"
_DEFAULTS = {"lag_ms": "0", "drift_ppm": "0", "mishaps": "0"}


def is_simulated(address: str) -> bool:
    """Whether it names a simulated person."""
    return address.partition("?")[0].partition(":")[0] == SIMULATED


def wearer_of(address: str) -> tuple[Wearer, int]:
    """The simulated person there, whose phantom hand is the right one, and in how many trials something goes wrong.

    `lag_ms` is how much later the able hand moves, `drift_ppm` how much faster the glove's clock runs. NervehandError
    for what cannot be read.
    """
    place, options = parse_where(ADDRESS, address, _DEFAULTS)
    preset, number, day = person_at(place.partition(":")[2], ADDRESS)
    if not options["mishaps"].isdecimal():
        raise NervehandError(f"mishaps={options['mishaps']}: give how many trials go wrong")
    wearer = Wearer(number, day, preset)
    glove = replace(
        wearer.glove,
        lag_s=number_of("lag_ms", options["lag_ms"]) / 1e3,
        drift_ppm=number_of("drift_ppm", options["drift_ppm"]),
    )
    return replace(wearer, glove=glove), int(options["mishaps"])


def one_wearer(addresses: Sequence[str]) -> tuple[Wearer, int]:
    """Whom all of these name; one that says nothing of the person ("simulated") goes with any. NervehandError where two
    differ."""
    telling = [one for one in addresses if one != SIMULATED]
    found = {one: wearer_of(one) for one in telling or [SIMULATED]}
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise NervehandError(
                f"{first} and {other} are two simulated persons, or one in two ways: give one of them"
            )
    return found[first]


def address_of(wearer: Wearer, n_mishaps: int = 0) -> str:
    """What `wearer_of` reads, but for the side."""
    said = {"lag_ms": 1e3 * wearer.glove.lag_s, "drift_ppm": wearer.glove.drift_ppm, "mishaps": n_mishaps}
    options = "&".join(f"{name}={value!r}" for name, value in said.items() if value)
    return f"{SIMULATED}:{wearer.preset}/{wearer.number}/{wearer.day}{options and f'?{options}'}"
