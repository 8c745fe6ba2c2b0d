"""The virtual hand itself: a GATT peripheral around a `KinematicHand`, run as its own process.

`python -m firmware_bridge.hands.virtual_peripheral` advertises on a simulated radio (Bumble controllers on
one link) and offers a controller to each central that connects over TCP on 127.0.0.1. Its first line on
standard output is a JSON object with `port` and `address`. docs/virtual-hand.md has the command set.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import sys
import time

from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, PhysicalTransport
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import HCI_CONNECTION_TIMEOUT_ERROR, Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink, StreamPacketSource

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.kinematics import KinematicHand

ADDRESS = "F5:4E:48:00:00:01"
ADVERTISING_MS = 20.0
HEARTBEAT_S = 0.02
"""The state is notified at least this often, and after every accepted frame."""


class Link(LocalLink):
    """The simulated radio. While `silent`, everything sent is lost, as with a hand out of reach."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Bumble leaves it untyped
        self.silent = False

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        if not self.silent:
            super().send_acl_data(sender_controller, destination_address, transport, data)


class CentralPort(StreamPacketSource):
    """One central's HCI over one TCP connection: a controller on the link for as long as it lasts."""

    def __init__(self, link: Link, hand_controller: Controller) -> None:
        super().__init__()
        self._link = link
        self._hand_controller = hand_controller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._tcp = transport
        self._controller = Controller("central", host_source=self, host_sink=self, link=self._link)

    def on_packet(self, packet: bytes) -> None:
        """HCI from the controller to the central's host."""
        if not self._tcp.is_closing():
            self._tcp.write(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.remove_controller(self._controller)
        for connection in list(self._hand_controller.le_connections.values()):
            if connection.peer_address == self._controller.random_address:
                self._hand_controller.on_le_disconnected(connection, HCI_CONNECTION_TIMEOUT_ERROR)


class VirtualPeripheral:
    """The GATT server: accepts frames, moves the joints, notifies the state."""

    def __init__(self, capabilities: HandCapabilities) -> None:
        self._capabilities = capabilities
        self._hand = KinematicHand(capabilities, time.monotonic_ns())
        self._sequence = 0
        self._accepted = 0
        self._rejected = 0
        self._fault = False
        self._link = Link()
        self._controller = Controller("hand", link=self._link)
        host = Host(self._controller, AsyncPipeSink(self._controller))
        self._device = Device(name=capabilities.name, address=Address(ADDRESS), host=host)
        readable = Characteristic.Permissions.READABLE
        self._state: Characteristic[bytes] = Characteristic(
            protocol.STATE_UUID,
            Characteristic.Properties.READ | Characteristic.Properties.NOTIFY,
            readable,
            CharacteristicValue(read=lambda _connection: self._state_frame()),
        )
        command: Characteristic[bytes] = Characteristic(
            protocol.COMMAND_UUID,
            Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
            Characteristic.Permissions.WRITEABLE,
            CharacteristicValue(write=self._on_write),
        )
        info: Characteristic[bytes] = Characteristic(
            protocol.INFO_UUID, Characteristic.Properties.READ, readable, protocol.encode_info(capabilities)
        )
        self._device.add_service(Service(protocol.SERVICE_UUID, [command, self._state, info]))
        flags = bytes([AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | 0x04])
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    (AdvertisingData.FLAGS, flags),
                    (
                        AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
                        bytes(UUID(protocol.SERVICE_UUID)),
                    ),
                ]
            )
        )

    async def start(self, port: int) -> int:
        """Advertise, and offer the central's controller on 127.0.0.1; returns the port."""
        await self._device.power_on()
        await self._device.start_advertising(
            auto_restart=True,
            advertising_interval_min=ADVERTISING_MS,
            advertising_interval_max=ADVERTISING_MS,
        )
        server = await asyncio.get_running_loop().create_server(
            lambda: CentralPort(self._link, self._controller), "127.0.0.1", port
        )
        return int(server.sockets[0].getsockname()[1])

    async def beat(self) -> None:
        """Notify the state for ever, moving or not."""
        while True:
            await self._notify()
            await asyncio.sleep(HEARTBEAT_S)

    async def obey(self, order: str) -> None:
        """An order of whoever started the process, to make happen what can happen to a hand."""
        match order:
            case "disconnect":
                for connection in list(self._device.connections.values()):
                    await connection.disconnect()
            case "silence" | "resume":
                self._link.silent = order == "silence"
            case "fault" | "clear":
                self._fault = order == "fault"
            case _:
                raise NervehandError(
                    f"order {order!r} is unknown: use disconnect, silence, resume, fault or clear"
                )

    def _state_frame(self) -> bytes:
        self._hand.advance(time.monotonic_ns())
        return protocol.encode_state(
            protocol.StateFrame(
                self._sequence,
                self._hand.positions,
                self._hand.watchdog_tripped,
                self._fault,
                self._accepted,
                self._rejected,
            )
        )

    async def _notify(self) -> None:
        await self._device.notify_subscribers(self._state, self._state_frame())

    async def _on_write(self, _connection: Connection, data: bytes) -> None:
        try:
            frame = protocol.decode_command(data)
        except protocol.FrameError:
            self._rejected += 1
            return
        self._accepted += 1
        self._sequence = frame.sequence
        if frame.positions is not None and not self._fault:
            self._hand.command(frame.positions, time.monotonic_ns())
        await self._notify()


async def serve(capabilities: HandCapabilities, port: int, until_stdin_closes: bool) -> None:
    """Run the hand until its standard input closes, or for ever."""
    hand = VirtualPeripheral(capabilities)
    port = await hand.start(port)
    print(json.dumps({"port": port, "address": ADDRESS}), flush=True)
    async with asyncio.TaskGroup() as tasks:
        beat = tasks.create_task(hand.beat())
        if until_stdin_closes:
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
            )
            while line := await reader.readline():
                await hand.obey(line.decode().strip())
            beat.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="The virtual hand, a Bluetooth LE peripheral on the loopback."
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--watchdog", type=float, default=protocol.VIRTUAL_HAND.watchdog_s, metavar="SECONDS")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="take orders from stdin; end with it"
    )
    options = parser.parse_args()
    # The simulated controller warns of every packet that was on its way when a connection ended.
    logging.getLogger("bumble.controller").setLevel(logging.ERROR)
    capabilities = dataclasses.replace(protocol.VIRTUAL_HAND, watchdog_s=options.watchdog)
    asyncio.run(serve(capabilities, options.port, options.until_stdin_closes))


if __name__ == "__main__":
    main()
