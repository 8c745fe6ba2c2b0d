"""Bleak's client over Bumble: Bluetooth LE through any HCI transport, without BlueZ and without root.

`BleakClient(address, backend=BumbleBackend, transport="tcp-client:127.0.0.1:6402")`; the transport is a
Bumble moniker, so `usb:0` and `hci-socket:0` drive a real adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address
from bumble.transport import open_transport
from bumble.transport.common import Transport

ATT_MTU = 247
ATT_HEADER = 3
Result = TypeVar("Result")


class BumbleBackend(BaseBleakClient):
    """One connection: the transport is opened by `connect` and closed by `disconnect`.

    Each connection has an address of its own, so that a peer never takes it for the one before.

    Bumble waits for ever where a peer does not answer, so every step of `connect` shares one deadline of
    `timeout` seconds. A transport that closes counts as a disconnection.
    """

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        transport: str,
        **kwargs: object,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._moniker = transport
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
        if pair:
            raise BleakError("pairing is not offered by this backend")
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect()
        except (TimeoutError, OSError, BaseBumbleError) as error:
            await self.disconnect()
            raise BleakError(f"no connection to {self.address} through {self._moniker}: {error!r}") from error
        except BaseException:
            await self.disconnect()
            raise

    async def _connect(self) -> None:
        self._transport = await open_transport(self._moniker)
        source, sink = self._transport
        device = Device.with_hci("nervehand", Address.generate_static_address(), source, sink)
        source.terminated.add_done_callback(lambda _: self._disconnected())
        await device.power_on()
        self._connection = await device.connect(self.address, timeout=self._timeout)
        self._connection.on(Connection.EVENT_DISCONNECTION, lambda _reason: self._disconnected())
        peer = self._peer = Peer(self._connection)
        await peer.request_mtu(ATT_MTU)
        await peer.discover_services()
        for remote in peer.services:
            await peer.discover_characteristics(service=remote)
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
        self.services = services

    def _disconnected(self) -> None:
        if self._connection is None:
            return
        self._connection = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        transport, self._transport = self._transport, None
        if connection is not None:
            try:
                async with asyncio.timeout(0.5):
                    await connection.disconnect()
            except (TimeoutError, BaseBumbleError):
                pass  # the peer no longer answers: closing the transport ends the connection as surely
        if transport is not None:
            await transport.close()

    async def _ask(self, operation: Coroutine[object, object, Result]) -> Result:
        try:
            return await operation
        except BaseBumbleError as error:
            raise BleakError(str(error) or repr(error)) from error

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
        raise BleakError("pairing is not offered by this backend")

    async def unpair(self) -> None:
        raise BleakError("pairing is not offered by this backend")

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: object
    ) -> bytearray:
        raise BleakError("descriptors are not offered by this backend")

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        raise BleakError("descriptors are not offered by this backend")
