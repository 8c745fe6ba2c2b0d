"""Bleak's client over Bumble: Bluetooth LE through any HCI transport, without BlueZ and without root.

`BleakClient(address, backend=BumbleBackend, transport="tcp-client:127.0.0.1:6402")`; the transport is a Bumble moniker,
so `usb:0` and `hci-socket:0` drive a real adapter. An address is a random one, or a public one where it ends in "/P":
nothing but its advertisements tells which it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bumble.att import ATT_Error, ErrorCode
from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection, ConnectionParametersPreferences, Device, Peer
from bumble.gatt_client import CharacteristicProxy, DescriptorProxy, ServiceProxy
from bumble.hci import HCI_LE_1M_PHY, Address
from bumble.pairing import PairingConfig
from bumble.transport import open_transport
from bumble.transport.common import Transport

from firmware_bridge.bumble_bonds import Bonds

ATT_MTU = 247
ATT_HEADER = 3
INTERVAL_MS = (7.5, 15.0)
"""The connection interval that is asked for."""

REMEMBERED_S = 60.0
"""How long after a connection a peer is taken to have its services where they were."""

_NEEDS_BOND = (ErrorCode.INSUFFICIENT_ENCRYPTION, ErrorCode.INSUFFICIENT_AUTHENTICATION)
Result = TypeVar("Result")


@dataclass(slots=True)
class KnownServices:
    """What was found at a peer the last time, so that connecting again need not ask: most of the time it takes goes
    there. Forgotten after REMEMBERED_S, and where the peer answers that it has no such thing. A connection that cannot
    be set up says nothing about that: it is the radio's fault, mostly."""

    found: tuple[ServiceProxy, ...] = ()
    seen_s: float = 0.0

    def moved_to(self, peer: Peer) -> bool:
        """Give `peer` the services, if they are known still."""
        if not self.found or time.monotonic() - self.seen_s > REMEMBERED_S:
            return False
        peer.gatt_client.services = [_service_of(peer, known) for known in self.found]
        return True

    def remember(self, peer: Peer) -> None:
        self.found, self.seen_s = tuple(peer.services), time.monotonic()


class BumbleBackend(BaseBleakClient):
    """One connection: the transport is opened by `connect` and closed by `disconnect`.

    Without bonds each connection has an address of its own, so that a peer never takes it for the one before. With
    `bonds`, the file of their keys, `connect(pair=True)` encrypts the link, after pairing where there is no bond yet.

    Bumble waits for ever where a peer does not answer, so every step of `connect` shares one deadline of `timeout`
    seconds. A transport that closes counts as a disconnection.
    """

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        transport: str,
        services: set[str] | None = None,
        bonds: Path | None = None,
        known: KnownServices | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._moniker = transport
        self._wanted = services
        self._bonds = bonds
        self._known = KnownServices() if known is None else known
        self._transport: Transport | None = None
        self._connection: Connection | None = None
        self._peer: Peer | None = None

    @property
    def name(self) -> str:
        return self.address

    @property
    def mtu_size(self) -> int:
        return self._connection.att_mtu if self._connection is not None else 23

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **kwargs: object) -> None:
        if pair and self._bonds is None:
            raise BleakError("pairing needs a file for the bonds")
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect(pair)
        except (TimeoutError, OSError, BaseBumbleError) as error:
            await self.disconnect()
            why = repr(error)
            if isinstance(error, TimeoutError):
                why = f"not within {self._timeout:g} s: is it on and near, and connected to nobody else?"
            raise BleakError(f"no connection to {self.address} through {self._moniker}: {why}") from error
        except BaseException:
            await self.disconnect()
            raise

    async def _connect(self, pair: bool) -> None:
        self._transport = await open_transport(self._moniker)
        source, sink = self._transport
        keys = None if self._bonds is None else Bonds(self._bonds)
        own_address = Address.generate_static_address() if keys is None else keys.own_address
        device = Device.with_hci("nervehand", own_address, source, sink)
        if keys is not None:
            device.keystore = keys
            device.pairing_config_factory = lambda _connection: PairingConfig(
                sc=True, mitm=False, bonding=True
            )
        source.terminated.add_done_callback(lambda _: self._disconnected())
        await device.power_on()
        least_ms, most_ms = INTERVAL_MS
        self._connection = connection = await device.connect(
            Address(self.address),  # a string that is no address would be looked for as a name
            connection_parameters_preferences={
                HCI_LE_1M_PHY: ConnectionParametersPreferences(least_ms, most_ms)
            },
            timeout=self._timeout,
        )
        connection.on(Connection.EVENT_DISCONNECTION, lambda _reason: self._disconnected())
        if pair and keys is not None:
            await self._encrypt(connection, keys)
        peer = self._peer = Peer(connection)
        await peer.request_mtu(ATT_MTU)
        if not self._known.moved_to(peer):
            await self._discover(peer)
        self._known.remember(peer)
        self.services = self._described(peer)

    async def _encrypt(self, connection: Connection, keys: Bonds) -> None:
        """With the keys of the bond; a peer without one is paired with."""
        if await keys.get(str(connection.peer_address)) is None:
            await connection.pair()
            return
        try:
            await connection.encrypt()
        except BaseBumbleError as error:
            raise BleakError(
                f"{self.address} does not know its bond any more ({error}): take it out of {self._bonds},"
                " make the hand ready to be paired with, and connect again"
            ) from error

    async def _discover(self, peer: Peer) -> None:
        """The services that are wanted, or all, with their characteristics."""
        if self._wanted is None:
            await peer.discover_services()
        else:
            await peer.discover_services([UUID(uuid) for uuid in sorted(self._wanted)])
        for remote in peer.services:
            await peer.discover_characteristics(service=remote)

    def _described(self, peer: Peer) -> BleakGATTServiceCollection:
        services = BleakGATTServiceCollection()
        for remote in peer.services:
            service = BleakGATTService(remote, remote.handle, str(remote.uuid.to_hex_str("-").lower()))
            services.add_service(service)
            for proxy in remote.characteristics:
                properties = list(gatt_char_props_to_strs(int(proxy.properties)))
                uuid = proxy.uuid.to_hex_str("-").lower()
                services.add_characteristic(
                    BleakGATTCharacteristic(
                        proxy, proxy.handle, uuid, properties, lambda: self.mtu_size - ATT_HEADER, service
                    )
                )
        return services

    def _disconnected(self) -> None:
        if self._connection is None:
            return
        self._connection = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        transport, self._transport = self._transport, None
        try:
            if connection is not None:
                async with asyncio.timeout(0.5):
                    await connection.disconnect()
        except (TimeoutError, BaseBumbleError):
            pass  # the peer no longer answers: closing the transport ends the connection as surely
        finally:
            if transport is not None:
                await transport.close()

    async def _ask(self, operation: Coroutine[object, object, Result]) -> Result:
        try:
            return await operation
        except BaseBumbleError as error:
            if isinstance(error, ATT_Error):
                self._known.found = ()
            raise BleakError(_said(error)) from error

    def _proxy(self, characteristic: BleakGATTCharacteristic) -> CharacteristicProxy[bytes]:
        proxy = characteristic.obj
        if self._connection is None or not isinstance(proxy, CharacteristicProxy):
            raise BleakError("Not connected")
        return proxy

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: object
    ) -> bytearray:
        return bytearray(await self._ask(self._proxy(characteristic).read_value()))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        await self._ask(self._proxy(characteristic).write_value(bytes(data), with_response=response))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: object
    ) -> None:
        await self._ask(self._proxy(characteristic).subscribe(lambda value: callback(bytearray(value))))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await self._ask(self._proxy(characteristic).unsubscribe(force=True))

    async def pair(self, *args: object, **kwargs: object) -> None:
        raise BleakError("this backend pairs while it connects: BleakClient(..., pair=True, bonds=FILE)")

    async def unpair(self) -> None:
        raise BleakError("this backend forgets no bond: take it out of the file")

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: object
    ) -> bytearray:
        raise BleakError("descriptors are not offered by this backend")

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        raise BleakError("descriptors are not offered by this backend")


def _said(error: BaseBumbleError) -> str:
    """In one line."""
    if isinstance(error, ATT_Error) and error.error_code in _NEEDS_BOND:
        return "it wants an encrypted link: connect to it as bonded"
    return str(error).splitlines()[0] if str(error) else repr(error)


def _service_of(peer: Peer, known: ServiceProxy) -> ServiceProxy:
    """The same service, its characteristics and their descriptors, for another connection."""
    client = peer.gatt_client
    service = ServiceProxy(  # type: ignore[no-untyped-call]  # Bumble leaves it untyped
        client, known.handle, known.end_group_handle, known.uuid
    )
    for each in known.characteristics:
        proxy: CharacteristicProxy[bytes] = CharacteristicProxy(
            client, each.handle, each.end_group_handle, each.uuid, int(each.properties)
        )
        proxy.descriptors_discovered = each.descriptors_discovered
        proxy.descriptors = [DescriptorProxy(client, d.handle, d.type) for d in each.descriptors]
        service.characteristics.append(proxy)
    return service
