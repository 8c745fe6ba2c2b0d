"""A radio under Bumble's simulated controllers: connection events, retransmission, flow control, supervision.

    radio = Radio(RadioSettings(interval_s=0.0075, loss=0.3))
    controller = RadioController("hand", radio)

Time is the event loop's. A loop that was late makes up for the connection events that it missed, each at its own time:
a controller is hardware, and goes on where a host stands still. A controller tells its host that it took something
(HCI Number Of Completed Packets) only once the other side has acknowledged it: a slow link fills the host's own queue.

Where this is simpler than a radio: the interval is the radio's, whatever the central asks for, and a host that
disconnects is told so at once, while the other side is told at one of the next connection events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.link import LocalLink
from bumble.transport.common import TransportSink

from firmware_bridge.emulators._link_layer import End, LinkLayer, RadioCounters, RadioSettings
from firmware_bridge.errors import NervehandError

__all__ = ["Radio", "RadioController", "RadioCounters", "RadioEvent", "RadioSettings"]

FIRST_EVENT_S = 0.00125
"""From the request for a connection to the earliest first event; it comes up to an interval later."""
ORDERS = "loss P, jitter S, interval MS, silence, supervision, resume"

Packet = hci.HCI_AclDataPacket | ll.ControlPdu


@dataclass(frozen=True, slots=True)
class RadioEvent:
    """Something that happened on the air, at the loop's time.

    `kind`: "advertisement" (received by a controller that waits for it), "connected", "disconnected" (`text` says which
    controller was told, and why).
    """

    time_s: float
    kind: str
    text: str


class RadioController(Controller):
    """A controller on a `Radio`: it keeps what its host gives it until the other side has acknowledged it."""

    def __init__(
        self,
        name: str,
        radio: Radio,
        host_source: object = None,
        host_sink: TransportSink | None = None,
    ) -> None:
        super().__init__(name, host_source, host_sink, link=radio)
        self.radio = radio
        self.le_acl_data_packet_length = radio.settings.pdu_octets
        self.total_num_le_acl_data_packets = radio.settings.queue

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        connection = self.find_le_connection_by_handle(packet.connection_handle)
        if connection is not None:  # else it has ended just now
            self.radio.send_data(connection, packet)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        super().on_le_disconnected(connection, reason)
        self.radio.said("disconnected", f"{self.name}: {hci.HCI_ErrorCode(reason).name}")


@dataclass(eq=False, slots=True)
class _Side:
    """A controller's side of a connection on the air."""

    controller: RadioController
    peer_address: hci.Address
    end: End[Packet]
    connection: Connection | None = None
    arriving: deque[Packet] = field(default_factory=deque)
    arrives_s: float = 0.0


@dataclass(eq=False, slots=True)
class _OnAir:
    """A connection, with the time of its next event."""

    link: LinkLayer[Packet]
    sides: tuple[_Side, _Side]
    next_s: float
    timer: asyncio.TimerHandle | None = None
    has_ended: bool = False


class Radio(LocalLink):
    """The air between `RadioController`s; `on_event` is told what happens on it. `obey` makes faults happen."""

    def __init__(
        self, settings: RadioSettings | None = None, on_event: Callable[[RadioEvent], None] | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Bumble leaves it untyped
        self.settings = settings or RadioSettings()
        self.counters = RadioCounters()
        self.is_silent = False
        """Data vanish, though they are acknowledged: nobody is told."""
        self.is_out_of_reach = False
        """Nothing is received, until every connection has timed out."""
        self._on_event = on_event
        self._generator = np.random.default_rng(self.settings.seed)
        self._on_air: list[_OnAir] = []

    def obey(self, order: str) -> None:
        """One of ORDERS; `resume` ends silence and supervision. NervehandError for any other."""
        word, _, value = order.partition(" ")
        match word, value:
            case "loss" | "jitter", _:
                self.settings = self.settings.changed(f"{word}={value}")
            case "interval", _:
                self.settings = replace(self.settings, interval_s=_milliseconds(value) / 1e3)
            case "silence", "":
                self.is_silent = True
            case "supervision", "":
                self.is_out_of_reach = bool(self._on_air)
            case "resume", "":
                self.is_silent = self.is_out_of_reach = False
            case _:
                raise NervehandError(f"radio: order {order!r} is unknown: use {ORDERS}")

    def said(self, kind: str, text: str) -> None:
        """Something happened."""
        if self._on_event is not None:
            self._on_event(RadioEvent(asyncio.get_running_loop().time(), kind, text))

    def add_controller(self, controller: Controller) -> None:
        if not isinstance(controller, RadioController):
            raise NervehandError(f"controller {controller.name} knows no radio: make a RadioController")
        super().add_controller(controller)

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        """Advertisements and requests for a connection: each receiver gets them or not, nobody repeats them."""
        if isinstance(packet, ll.ConnectInd):
            self._connect(sender_controller, packet)
            return
        for controller in sorted(self.controllers - {sender_controller}, key=lambda c: c.name):
            if not self._is_lost():
                asyncio.get_running_loop().call_soon(self._advertise, controller, packet)

    def send_data(self, connection: Connection, packet: hci.HCI_AclDataPacket) -> None:
        """Data of a host wait for a connection event."""
        for on_air in self._on_air:
            for side in on_air.sides:
                if side.connection is connection:
                    side.end.queue.append(packet)

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        """Control PDUs wait for a connection event like data; the request to end goes before what still waits."""
        for on_air in self._on_air:
            for side, other in (on_air.sides, on_air.sides[::-1]):
                if side.peer_address == receiver_address and other.peer_address == sender_address:
                    if isinstance(packet, ll.TerminateInd):
                        side.end.queue.clear()
                        side.end.head_arrived = False
                    side.end.queue.append(packet)

    def _is_lost(self) -> bool:
        lost = bool(self._generator.random() < self.settings.loss)  # drawn in any case
        return lost or self.is_out_of_reach

    def _advertise(self, controller: Controller, packet: ll.AdvertisingPdu) -> None:
        pending = controller.pending_le_connection
        if isinstance(packet, ll.AdvInd | ll.AdvExtInd) and (
            controller.le_scan_enable or (pending and pending.peer_address == packet.advertiser_address)
        ):
            self.said("advertisement", str(packet.advertiser_address))
        controller.on_ll_advertising_pdu(packet)

    def _connect(self, central: Controller, packet: ll.ConnectInd) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        peripheral = next((c for c in self.controllers if _advertises_as(c, packet.advertiser_address)), None)
        if not isinstance(peripheral, RadioController) or not isinstance(central, RadioController):
            return
        sides = (
            self._side(central, packet.advertiser_address, now_s),
            self._side(peripheral, packet.initiator_address, now_s),
        )
        link = LinkLayer(sides[0].end, sides[1].end, self._is_lost, self.counters)
        first_s = now_s + FIRST_EVENT_S + self._generator.random() * self.settings.interval_s
        on_air = _OnAir(link, sides, first_s)
        self._on_air.append(on_air)
        if not self._is_lost():
            peripheral.on_ll_advertising_pdu(packet)
            sides[1].connection = peripheral.le_connections.get(packet.initiator_address)
        sides[0].connection = central.le_connections.get(packet.advertiser_address)
        on_air.timer = loop.call_at(first_s, self._events, on_air)
        self.said("connected", f"{central.name} to {peripheral.name}")

    def _side(self, controller: RadioController, peer_address: hci.Address, now_s: float) -> _Side:
        side = _Side(
            controller,
            peer_address,
            End(lambda packet, at_s: None, lambda packet: None, now_s),
        )
        side.end.acknowledged = partial(self._acknowledged, side)
        side.end.receive = partial(self._received, side)
        return side

    def _events(self, on_air: _OnAir) -> None:
        """The connection events that are due."""
        loop = asyncio.get_running_loop()
        while on_air.next_s <= loop.time() and not on_air.has_ended:
            at_s = on_air.next_s
            on_air.next_s += self.settings.interval_s
            for side in on_air.sides:
                is_ending = bool(side.end.queue) and isinstance(side.end.queue[0], ll.TerminateInd)
                side.end.is_there = self._is_connected(side) or is_ending
            on_air.link.event(at_s, self.settings)
            for side in on_air.sides:
                if side.end.has_timed_out(at_s, self.settings):
                    self._time_out(side)
            if not any(side.end.is_there for side in on_air.sides):
                on_air.has_ended = True
        if on_air.has_ended:
            self._on_air.remove(on_air)
            self.is_out_of_reach = self.is_out_of_reach and bool(self._on_air)
        else:
            on_air.timer = loop.call_at(on_air.next_s, self._events, on_air)

    def _is_connected(self, side: _Side) -> bool:
        connection = side.connection
        return (
            connection is not None
            and side.controller in self.controllers
            and side.controller.le_connections.get(side.peer_address) is connection
        )

    def _time_out(self, side: _Side) -> None:
        side.end.is_there = False
        side.end.queue.clear()
        if side.connection is not None and self._is_connected(side):
            self.counters.timed_out += side.end.is_established
            side.controller.on_le_disconnected(
                side.connection,
                hci.HCI_CONNECTION_TIMEOUT_ERROR
                if side.end.is_established
                else hci.HCI_CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR,
            )

    def _acknowledged(self, side: _Side, packet: Packet) -> None:
        """The host has room for one more."""
        if side.connection is not None and isinstance(packet, hci.HCI_AclDataPacket):
            side.controller.send_hci_packet(
                hci.HCI_Number_Of_Completed_Packets_Event(
                    connection_handles=[side.connection.handle], num_completed_packets=[1]
                )
            )

    def _received(self, side: _Side, packet: Packet, at_s: float) -> None:
        if isinstance(packet, ll.TerminateInd):
            # It is answered no more, and who sent it needs no answer: its host was told.
            side.end.is_there = False
            for on_air in self._on_air:
                on_air.has_ended = on_air.has_ended or side in on_air.sides
        elif isinstance(packet, hci.HCI_AclDataPacket):
            if self.is_silent:
                self.counters.vanished += 1
                return
            self.counters.delivered += 1
        jitter_s = self.settings.jitter_s
        delay_s = float(self._generator.uniform(0.0, jitter_s)) if jitter_s else 0.0
        side.arrives_s = max(side.arrives_s, at_s + delay_s)
        side.arriving.append(packet)
        asyncio.get_running_loop().call_at(side.arrives_s, self._arrive, side)

    def _arrive(self, side: _Side) -> None:
        """The first of what is on its way, so that two times that are equal change no order."""
        packet = side.arriving.popleft()
        connection = side.connection
        if connection is None or not self._is_connected(side):
            return
        if isinstance(packet, hci.HCI_AclDataPacket):
            boundary = hci.HCI_ACL_PB_CONTINUATION if packet.pb_flag == hci.HCI_ACL_PB_CONTINUATION else 2
            side.controller.send_hci_packet(
                hci.HCI_AclDataPacket(connection.handle, boundary, 0, packet.data_total_length, packet.data)
            )
        else:
            side.controller.on_ll_control_pdu(side.peer_address, packet)


def _advertises_as(controller: Controller, address: hci.Address) -> bool:
    legacy, sets = controller.le_legacy_advertiser, controller.advertising_sets.values()
    return (legacy.enabled and legacy.address == address) or any(
        each.enabled and each.address == address for each in sets
    )


def _milliseconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise NervehandError(f"radio: interval is {text!r}: give milliseconds") from None
