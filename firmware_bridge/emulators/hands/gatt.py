"""Any emulated hand as a Bluetooth LE peripheral: a GATT server over a Bumble host, simulated or of a real adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address, OwnAddressType
from bumble.host import Host

from firmware_bridge.emulators.hands.device import HandDevice
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._ble_wire import Gatt

ADVERTISING_MS = 20.0
STEP_S = 0.01
"""The hand is moved on at least this often."""

ORDERS = "disconnect, stop advertising, advertise, mtu N"
_MTU = (23, 517)


@dataclass(frozen=True, slots=True)
class Peripheral:
    """What a hand shows of itself over the air.

    `read` gives the value of one of `gatt.reads` at a host time in ns. `needs_encryption`: nothing is read or written
    before the link is encrypted, which takes a bond.
    """

    name: str
    gatt: Gatt
    read: Callable[[str, int], bytes] = lambda _uuid, _now_ns: b""
    needs_encryption: bool = False


class GattServer:
    """`device` on `host`, whose radio `start` switches on; `run` advertises, and moves the hand on.

    `address` is a random one, or ends in "/P": then it is the public one of the host's controller.
    """

    def __init__(
        self, device: HandDevice, peripheral: Peripheral, host: Host, address: str, mtu: int = 247
    ) -> None:
        self._hand = device
        self._peripheral = peripheral
        self._host = host
        self._is_public = Address(address).is_public
        own_address = Address.generate_static_address() if self._is_public else Address(address)
        self._device = Device(name=peripheral.name, address=own_address, host=host)
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)
        self._is_over = False
        self._may_advertise = self._must_advertise = True
        self._set_mtu(mtu)
        gatt = peripheral.gatt
        characteristics = {
            uuid: self._characteristic(uuid)
            for uuid in dict.fromkeys((gatt.write, *filter(None, (gatt.notify,)), *gatt.reads))
        }
        self._notified = characteristics.get(gatt.notify or "")
        self._device.add_service(Service(gatt.service, list(characteristics.values())))
        flags = bytes([AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | 0x04])
        name = (AdvertisingData.COMPLETE_LOCAL_NAME, peripheral.name.encode()[:26])
        service = (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(UUID(gatt.service)))
        self._device.advertising_data = bytes(AdvertisingData([(AdvertisingData.FLAGS, flags), name]))
        self._device.scan_response_data = bytes(AdvertisingData([service]))  # both are 31 bytes at most

    async def start(self) -> None:
        """Switch the radio on."""
        await self._device.power_on()

    async def run(self) -> None:
        """Move the hand on until stopped, and advertise where nobody is connected.

        What it says unasked is left out while anything waits to be sent: a slow link would fall ever further behind.
        """
        while not self._is_over:
            spoken = self._hand.advance(time.monotonic_ns())
            queue = self._host.le_acl_packet_queue
            if spoken and (queue is None or not queue.pending):
                await self._notify(spoken)
            if self._must_advertise:
                self._must_advertise = False
                await self._advertise()
            await asyncio.sleep(STEP_S)

    def stop(self) -> None:
        """Let `run` end."""
        self._is_over = True

    async def obey(self, order: str) -> None:
        """One of ORDERS, or what the hand itself obeys; NervehandError for any other."""
        match order.split():
            case ["disconnect"]:
                for connection in list(self._device.connections.values()):
                    await connection.disconnect()
            case ["stop", "advertising"]:
                self._may_advertise = self._must_advertise = False
                await self._device.stop_advertising()
            case ["advertise"]:
                self._may_advertise = True
                self._must_advertise = not self._device.connections
            case ["mtu", mtu] if mtu.isdigit():
                self._set_mtu(int(mtu))
            case _:
                self._hand.obey(order, time.monotonic_ns())

    def _characteristic(self, uuid: str) -> Characteristic[bytes]:
        gatt = self._peripheral.gatt
        properties, permissions = Characteristic.Properties(0), Characteristic.Permissions(0)
        is_encrypted = self._peripheral.needs_encryption
        if uuid == gatt.write:
            properties |= Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE
            permissions |= Characteristic.Permissions.WRITEABLE
            if is_encrypted:
                permissions |= Characteristic.Permissions.WRITE_REQUIRES_ENCRYPTION
        if uuid == gatt.notify:
            properties |= Characteristic.Properties.NOTIFY
        if uuid in gatt.reads:
            properties |= Characteristic.Properties.READ
            permissions |= Characteristic.Permissions.READABLE
            if is_encrypted:
                permissions |= Characteristic.Permissions.READ_REQUIRES_ENCRYPTION
        value = CharacteristicValue(
            read=lambda _connection: self._peripheral.read(uuid, time.monotonic_ns()), write=self._on_write
        )
        return Characteristic(uuid, properties, permissions, value)

    def _set_mtu(self, mtu: int) -> None:
        """For connections to come."""
        if not _MTU[0] <= mtu <= _MTU[1]:
            raise NervehandError(f"ATT MTU is {mtu}: give {_MTU[0]} to {_MTU[1]}")
        self._device.gatt_server.max_mtu = mtu

    async def _advertise(self) -> None:
        await self._device.start_advertising(
            own_address_type=OwnAddressType.PUBLIC if self._is_public else OwnAddressType.RANDOM,
            auto_restart=False,  # ours, so that it can be stopped while a central is connected
            advertising_interval_min=ADVERTISING_MS,
            advertising_interval_max=ADVERTISING_MS,
        )

    def _on_connection(self, connection: Connection) -> None:
        self._hand.connected(True, time.monotonic_ns())
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)

    def _on_disconnection(self, _reason: int) -> None:
        self._hand.connected(False, time.monotonic_ns())
        self._must_advertise = self._may_advertise

    async def _on_write(self, _connection: Connection, data: bytes) -> None:
        await self._notify(self._hand.receive(data, time.monotonic_ns()))

    async def _notify(self, values: list[bytes]) -> None:
        if self._notified is not None:
            for value in values:
                await self._device.notify_subscribers(self._notified, value)
