"""The simulated air between an emulated hand's controller and those of centrals, which are reached over TCP."""

from __future__ import annotations

import asyncio
from typing import Protocol

from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.hci import HCI_CONNECTION_TIMEOUT_ERROR, Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.ll import AdvertisingPdu
from bumble.transport.common import AsyncPipeSink, StreamPacketSource, TransportSink


class Air(Protocol):
    """Controllers on one link, and what can be ordered of it."""

    @property
    def link(self) -> LocalLink: ...

    def controller(
        self, name: str, source: object = None, sink: TransportSink | None = None
    ) -> Controller: ...

    def lost(self, controller: Controller) -> None:
        """Its host is gone: nothing is heard of it any more."""

    def obey(self, order: str) -> bool:
        """False for an order that is not the air's."""


class PerfectAir:
    """Nothing takes time or is lost, unless silence is ordered; who vanishes is missed at once."""

    def __init__(self) -> None:
        self.link = _SilentLink()

    def controller(self, name: str, source: object = None, sink: TransportSink | None = None) -> Controller:
        return Controller(name, host_source=source, host_sink=sink, link=self.link)

    def lost(self, controller: Controller) -> None:
        self.link.remove_controller(controller)
        for other in self.link.controllers:
            for connection in list(other.le_connections.values()):
                if connection.peer_address == controller.random_address:
                    other.on_le_disconnected(connection, HCI_CONNECTION_TIMEOUT_ERROR)

    def obey(self, order: str) -> bool:
        if order in ("silence", "resume"):
            self.link.is_silent = order == "silence"
            return True
        return False


def peripheral_host(air: Air, name: str, address: str = "") -> Host:
    """A host on a controller of its own, which has this address where it is a public one."""
    controller = air.controller(name)
    if address and Address(address).is_public:
        controller.public_address = Address(address)
    return Host(controller, AsyncPipeSink(controller))


async def offer_centrals(air: Air, port: int) -> int:
    """A controller for each central that connects to 127.0.0.1, for as long as that lasts; returns the port."""
    server = await asyncio.get_running_loop().create_server(lambda: _CentralPort(air), "127.0.0.1", port)
    return int(server.sockets[0].getsockname()[1])


class _SilentLink(LocalLink):
    """While `is_silent`, everything sent is lost, as with a hand out of reach.

    A controller that was taken away neither hears nor says what was still on its way: a peripheral connected to it
    would wait for ever, as nothing times out here.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Bumble leaves it untyped
        self.is_silent = False

    def send_advertising_pdu(self, sender_controller: Controller, packet: AdvertisingPdu) -> None:
        for controller in self.controllers - {sender_controller}:
            asyncio.get_running_loop().call_soon(self._advertise, sender_controller, controller, packet)

    def _advertise(self, sender: Controller, receiver: Controller, packet: AdvertisingPdu) -> None:
        if {sender, receiver} <= self.controllers:
            receiver.on_ll_advertising_pdu(packet)

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """From the address that the connection has: Bumble's own takes it for a random one."""
        receiver = self.find_le_controller(destination_address)
        connection = sender_controller.le_connections.get(destination_address)
        if not self.is_silent and receiver is not None and connection is not None:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, connection.self_address, transport, data
            )


class _CentralPort(StreamPacketSource):
    """One central's HCI over one TCP connection."""

    def __init__(self, air: Air) -> None:
        super().__init__()
        self._air = air

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._tcp = transport
        self._controller = self._air.controller("central", self, self)

    def on_packet(self, packet: bytes) -> None:
        """HCI from the controller to the central's host."""
        if not self._tcp.is_closing():
            self._tcp.write(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        self._air.lost(self._controller)
