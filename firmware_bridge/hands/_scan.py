"""Which hands advertise nearby. A hand is connected to by its address, which this is for finding out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from bleak import BleakScanner
from bleak.exc import BleakError

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hands import load, names

HINT = "is Bluetooth there and switched on? An adapter without BlueZ is reached by a transport, usb:0 say"


@dataclass(frozen=True, slots=True)
class FoundHand:
    """What advertises: `kind` is the name of its module, "" for what is no hand that is known here.

    `rssi` is how strongly it was received, in dBm; None where that is not told.
    """

    address: str
    name: str
    rssi: int | None
    kind: str


@dataclass(slots=True)
class _Heard:
    name: str = ""
    rssi: int | None = None
    services: set[str] = field(default_factory=set)


def scan(transport: str | None, timeout_s: float, everything: bool = False) -> tuple[FoundHand, ...]:
    """What is heard in that time, the strongest first; `everything`: also what is no hand.

    `transport` is a Bumble moniker, None for the system's own adapter. LinkError where it cannot be listened with.
    """
    if not timeout_s > 0:
        raise NervehandError(f"the time to listen is {timeout_s} s: give a time above 0")
    heard = asyncio.run(_by_system(timeout_s) if transport is None else _by_bumble(transport, timeout_s))
    kinds = _Kinds()
    found = (FoundHand(address, h.name, h.rssi, kinds.of(h)) for address, h in heard.items())
    return tuple(
        sorted(
            (hand for hand in found if hand.kind or everything),
            key=lambda hand: (-200 if hand.rssi is None else hand.rssi, hand.address),
            reverse=True,
        )
    )


class _Kinds:
    """The hands here, by what they advertise."""

    def __init__(self) -> None:
        self._by_name: dict[str, str] = {}
        self._by_service: dict[str, str] = {}
        for kind in names():
            module = load(kind)
            self._by_name |= dict.fromkeys(module.NAMES, kind)
            self._by_service |= dict.fromkeys(getattr(module, "SERVICES", ()), kind)

    def of(self, heard: _Heard) -> str:
        for service in sorted(heard.services & self._by_service.keys()):
            return self._by_service[service]
        return next((kind for name, kind in self._by_name.items() if heard.name.startswith(name)), "")


async def _by_system(timeout_s: float) -> dict[str, _Heard]:
    try:
        devices = await BleakScanner.discover(timeout=timeout_s, return_adv=True)
    except (BleakError, OSError) as error:
        raise LinkError(f"no scan: {error}: {HINT}") from error
    return {
        device.address: _Heard(
            advertisement.local_name or device.name or "",
            advertisement.rssi,
            set(advertisement.service_uuids),
        )
        for device, advertisement in devices.values()
    }


async def _by_bumble(transport: str, timeout_s: float) -> dict[str, _Heard]:
    from firmware_bridge.bumble_scan import listen  # the system's own adapter needs no Bumble

    heard: dict[str, _Heard] = {}

    def on_heard(address: str, name: str, rssi: int | None, services: Iterable[str]) -> None:
        one = heard.setdefault(address, _Heard())
        one.name = name or one.name
        one.rssi = rssi if rssi is not None else one.rssi
        one.services |= set(services)

    await listen(transport, timeout_s, on_heard)
    return heard
