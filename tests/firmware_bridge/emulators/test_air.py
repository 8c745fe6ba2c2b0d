"""The air without a radio: whoever leaves it, at whatever moment, leaves the hand to the next."""

from __future__ import annotations

import asyncio
import time

import pytest
from bumble import ll
from bumble.controller import Controller
from bumble.device import Device
from bumble.hci import Address

from firmware_bridge.emulators.hands import virtual
from firmware_bridge.emulators.hands.air import PerfectAir, peripheral_host
from firmware_bridge.emulators.hands.gatt import GattServer
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND

ADDRESS = "F5:4E:48:00:00:01"
PATIENCE_S = 60.0


class LeavingAir(PerfectAir):
    """`leaves` loses the central named "first" as soon as a PDU of that kind is on its way to it, or from it."""

    def __init__(self, leaves: type[ll.AdvertisingPdu]) -> None:
        super().__init__()
        self.has_left = asyncio.Event()
        send = self.link.send_advertising_pdu

        def send_and_leave(sender: Controller, packet: ll.AdvertisingPdu) -> None:
            send(sender, packet)
            first = next((c for c in self.link.controllers if c.name == "first"), None)
            if isinstance(packet, leaves) and first is not None and first.pending_le_connection:
                self.lost(first)
                self.has_left.set()

        self.link.send_advertising_pdu = send_and_leave  # type: ignore[method-assign]


async def central(air: PerfectAir, name: str) -> Device:
    device = Device(name=name, address=Address.generate_static_address(), host=peripheral_host(air, name))
    await device.power_on()
    return device


@pytest.mark.parametrize("leaves", [ll.AdvExtInd, ll.ConnectInd])
def test_a_central_that_is_gone_while_it_connects_is_not_waited_for(leaves: type[ll.AdvertisingPdu]) -> None:
    async def scene() -> None:
        air = LeavingAir(leaves)
        device, peripheral = virtual.over_the_air(time.monotonic_ns(), None, capabilities=VIRTUAL_HAND)
        server = GattServer(device, peripheral, peripheral_host(air, "hand"), ADDRESS)
        await server.start()
        running = asyncio.create_task(server.run())
        first = asyncio.create_task((await central(air, "first")).connect(Address(ADDRESS)))
        await air.has_left.wait()
        await (await central(air, "second")).connect(Address(ADDRESS), timeout=PATIENCE_S)
        server.stop()
        await running
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(asyncio.wait_for(scene(), 2 * PATIENCE_S))
