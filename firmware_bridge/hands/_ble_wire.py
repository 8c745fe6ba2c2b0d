"""Bluetooth LE as a hand's wire: bleak over the system's own adapter, or over Bumble where a transport is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakError

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hands._wire import WrongHandError

if TYPE_CHECKING:
    from firmware_bridge.bumble_backend import KnownServices

ATTEMPT_S = {True: 2.0, False: 10.0}
"""How long one attempt to connect may take, with and without a simulated or directly driven radio."""

PUBLIC = "/P"
"""Ends an address that is a public one: only Bumble has to be told, the system's Bluetooth knows by itself."""

_ADDRESS = re.compile(
    rf"(?:[0-9A-F]{{2}}:){{5}}[0-9A-F]{{2}}(?:{PUBLIC})?|[0-9A-F]{{8}}(?:-[0-9A-F]{{4}}){{3}}-[0-9A-F]{{12}}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Gatt:
    """Where a hand's bytes go: UUIDs of its service, of the characteristics that are written and that notify (None
    where nothing does), and of those that are read first; what was read is given on like a notification, in order."""

    service: str
    write: str
    notify: str | None
    reads: tuple[str, ...] = ()


def is_address(text: str) -> bool:
    """Whether it has the form of a Bluetooth address, of a public one (`PUBLIC` at its end), or of macOS's UUIDs."""
    return _ADDRESS.fullmatch(text) is not None


def checked_address(address: str) -> str:
    """A Bluetooth address (on macOS a UUID), in capitals; NervehandError for anything else, a name above all."""
    if not is_address(address):
        raise NervehandError(
            f"{address!r} is no Bluetooth address: give six pairs of hexadecimal digits, F5:4E:48:00:00:01 say,"
            f" and {PUBLIC} after a public one; a hand is never looked for by its name"
        )
    return address.upper()


def linked_address(address: str, transport: str | None) -> str:
    """What is connected to through `transport` (None: the system's own adapter); NervehandError where none can be."""
    address = checked_address(address)
    if transport is None:
        return address.removesuffix(PUBLIC)
    if ":" not in address:
        raise NervehandError(
            f"{address} is what macOS calls a hand, and is known to it alone: through transport {transport} give the"
            " hand's Bluetooth address, or leave the transport out"
        )
    return address


def bonds_path() -> Path:
    """Where the keys of bonded hands are kept, unless told otherwise."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "nervehand" / "bonds.json"


class BleWires:
    """Wires to one hand, as `BleWire` has it: what was found at it over Bumble once, the next need not look for."""

    def __init__(self, address: str, gatt: Gatt, transport: str | None, bonds: Path | None = None) -> None:
        self._arguments = (linked_address(address, transport), gatt, transport, bonds)
        self._known: KnownServices | None = None
        if transport is not None:
            from firmware_bridge.bumble_backend import KnownServices

            self._known = KnownServices()

    def __call__(self) -> BleWire:
        return BleWire(*self._arguments, self._known)


class BleWire:
    """The hand at `address`; `transport` is a Bumble moniker, None for the system's own adapter.

    `bonds` None is a link without a bond; else a hand that is not bonded yet is paired with, and the link encrypted,
    before anything is read or written. The file holds the keys where a transport is given; the system keeps its own.
    """

    def __init__(
        self,
        address: str,
        gatt: Gatt,
        transport: str | None,
        bonds: Path | None = None,
        known: KnownServices | None = None,
    ) -> None:
        self._address = linked_address(address, transport)
        self._gatt = gatt
        self._transport = transport
        self._bonds = bonds
        self._known = known
        self._client: BleakClient | None = None
        self._writable: BleakGATTCharacteristic | None = None

    @property
    def is_open(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def ending(self) -> str:
        return ""

    async def open(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._client = client = self._new_client(on_end)
        try:
            await client.connect()
            self._writable = self._find(self._gatt.write)
            for uuid in self._gatt.reads:
                on_data(bytes(await client.read_gatt_char(self._find(uuid))))
            if self._gatt.notify is not None:
                await client.start_notify(self._find(self._gatt.notify), lambda _, data: on_data(bytes(data)))
        except BleakError as error:
            raise LinkError(str(error) or repr(error)) from error

    async def write(self, frame: bytes, wait: bool) -> bool:
        if self._client is None or self._writable is None:
            raise LinkError("the link is not open")
        with_response = wait and "write" in self._writable.properties
        if not with_response and len(frame) > self._writable.max_write_without_response_size:
            raise WrongHandError(
                f"a frame of {len(frame)} bytes does not fit a write: the link leaves"
                f" {self._writable.max_write_without_response_size}; the hand must offer a larger ATT MTU"
            )
        try:
            await self._client.write_gatt_char(self._writable, frame, response=with_response)
        except BleakError as error:
            raise LinkError(str(error) or repr(error)) from error
        return with_response

    async def close(self) -> None:
        if self._client is not None:
            try:
                await self._client.disconnect()
            except BleakError as error:
                raise LinkError(f"the link did not end well: {error}") from error

    def _new_client(self, on_end: Callable[[], None]) -> BleakClient:
        timeout_s = ATTEMPT_S[self._transport is not None]
        services = [self._gatt.service]
        is_bonded = self._bonds is not None
        if self._transport is None:
            return BleakClient(self._address, lambda _: on_end(), services, timeout=timeout_s, pair=is_bonded)
        from firmware_bridge.bumble_backend import BumbleBackend  # a real adapter needs no Bumble

        return BleakClient(
            self._address,
            lambda _: on_end(),
            services,
            timeout=timeout_s,
            pair=is_bonded,
            backend=BumbleBackend,
            transport=self._transport,
            bonds=self._bonds,
            known=self._known,
        )

    def _find(self, uuid: str) -> BleakGATTCharacteristic:
        assert self._client is not None
        found = self._client.services.get_characteristic(uuid)
        if found is None:
            raise WrongHandError(f"it has no characteristic {uuid}: is it the right kind of hand?")
        return found
