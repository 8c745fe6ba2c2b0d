"""Bumble's own hosts over the radio, on a loop whose clock jumps: what a GATT connection sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from bumble.controller import Controller
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from firmware_bridge.emulators.radio import Radio, RadioController, RadioEvent, RadioSettings
from firmware_bridge.errors import NervehandError
from tests.firmware_bridge.emulators.fast_loop import run

SERVICE, WRITTEN, SAID = (f"6e657276-6568-4e44-8000-00000000010{i}" for i in range(3))
ADDRESS = "F5:4E:48:00:00:02"


@dataclass
class Air:
    """A peripheral and a central, connected, with what the peripheral got and what each host was told."""

    radio: Radio
    peripheral: Device
    central: Device
    events: list[RadioEvent] = field(default_factory=list)
    written: list[tuple[bytes, float]] = field(default_factory=list)
    connection: Connection | None = None
    command: CharacteristicProxy[bytes] | None = None
    reasons: dict[str, int] = field(default_factory=dict)

    async def connect(self) -> None:
        """Connected, and its services found."""
        self.connection = await self.central.connect(ADDRESS)
        self.connection.on("disconnection", lambda reason: self.reasons.update(central=reason))
        for at_peripheral in self.peripheral.connections.values():
            at_peripheral.on("disconnection", lambda reason: self.reasons.update(peripheral=reason))
        peer = Peer(self.connection)
        await peer.discover_service(SERVICE)
        await peer.discover_characteristics()
        self.command = peer.get_characteristics_by_uuid(WRITTEN)[0]

    async def write(self, data: bytes) -> None:
        assert self.command is not None
        await self.command.write_value(data)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if event.kind != "advertisement"]

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()


@asynccontextmanager
async def air(settings: RadioSettings | None = None, connect: bool = True) -> AsyncIterator[Air]:
    events: list[RadioEvent] = []
    radio = Radio(settings or RadioSettings(), events.append)
    devices = []
    for name, address in (("hand", ADDRESS), ("central", "F5:4E:48:00:00:03")):
        controller = RadioController(name, radio)
        host = Host(controller, AsyncPipeSink(controller))
        devices.append(Device(name=name, address=Address(address), host=host))
    made = Air(radio, *devices, events)
    written = Characteristic(
        WRITTEN,
        Characteristic.Properties.WRITE_WITHOUT_RESPONSE | Characteristic.Properties.READ,
        Characteristic.Permissions.WRITEABLE | Characteristic.Permissions.READABLE,
        CharacteristicValue(
            read=lambda _: b"x" * 100, write=lambda _, data: made.written.append((data, made.now_s()))
        ),
    )
    made.peripheral.gatt_server.max_mtu = radio.settings.mtu
    made.peripheral.add_service(Service(SERVICE, [written]))
    for device in devices:
        await device.power_on()
    await made.peripheral.start_advertising(
        auto_restart=True, advertising_interval_min=20, advertising_interval_max=20
    )
    if connect:
        await made.connect()
    yield made
    # Ends the timers of what is still connected.
    for controller in list(radio.controllers):
        radio.remove_controller(controller)
    await asyncio.sleep(60)


def test_what_is_written_arrives_in_order_at_connection_events_and_nothing_is_lost() -> None:
    async def main() -> None:
        async with air(RadioSettings(interval_s=0.03)) as made:
            made.radio.obey("loss 0.3")
            sent = [number.to_bytes(2, "big") for number in range(500)]
            for data in sent:
                await made.write(data)
                await asyncio.sleep(0.01)  # more than it can carry with this loss
            await asyncio.sleep(15)
            assert [data for data, _ in made.written] == sent
            first_s = made.written[0][1]
            events = [(at_s - first_s) / 0.03 for _, at_s in made.written]
            np.testing.assert_allclose(events, np.rint(events), atol=1e-6)
            assert made.radio.counters.vanished == 0
            assert made.radio.counters.lost > 0

    run(main())


def test_throughput_is_limited_by_the_pdus_of_an_event_and_the_host_waits_for_the_controller() -> None:
    async def main() -> None:
        settings = RadioSettings(interval_s=0.0075, pdus_per_event=2, queue=5)
        async with air(settings) as made:
            queue = made.central.host.le_acl_packet_queue
            assert queue is not None
            assert queue.max_in_flight == 5
            for number in range(200):
                await made.write(number.to_bytes(2, "big"))
            assert queue.pending >= 195  # the host keeps what the controller does not take
            (on_air,) = made.radio._on_air
            assert len(on_air.sides[0].end.queue) <= 5
            began_s = made.now_s()
            while len(made.written) < 200:
                assert made.now_s() - began_s < 5
                await asyncio.sleep(0.001)
                assert len(on_air.sides[0].end.queue) <= 5
            took_s = made.written[-1][1] - made.written[0][1]
            assert took_s == pytest.approx(99 * 0.0075, abs=0.008)
            assert [int.from_bytes(data, "big") for data, _ in made.written] == list(range(200))
            await asyncio.sleep(0.1)
            assert queue.pending == 0

    run(main())


def test_a_long_value_comes_in_pieces_at_the_smallest_mtu() -> None:
    async def main() -> None:
        async with air(RadioSettings(mtu=23)) as made:
            made.radio.obey("loss 0.2")
            assert made.connection is not None
            assert made.command is not None
            peer = Peer(made.connection)
            assert await peer.request_mtu(247) == 23
            assert await made.command.read_value() == b"x" * 100

    run(main())


def test_out_of_reach_both_hosts_are_told_of_the_timeout_after_the_supervision_time() -> None:
    async def main() -> None:
        async with air(RadioSettings(supervision_s=0.4)) as made:
            await asyncio.sleep(10)  # without data nothing ends
            assert made.kinds() == ["connected"]
            began_s = made.now_s()
            made.radio.obey("supervision")
            while len(made.reasons) < 2:
                await asyncio.sleep(0.001)
                assert made.now_s() - began_s < 1
            assert made.reasons == {"central": 0x08, "peripheral": 0x08}
            assert 0.4 - 0.016 <= made.now_s() - began_s <= 0.4 + 0.016
            assert made.radio.counters.timed_out == 2
            assert not made.radio.is_out_of_reach  # the air is free for the next connection
            await made.connect()
            await made.write(b"again")
            await asyncio.sleep(0.1)
            assert made.written[-1][0] == b"again"

    run(main())


def test_a_heavy_loss_alone_times_out_and_a_moderate_one_does_not() -> None:
    async def main(loss: float) -> int:
        async with air(RadioSettings(interval_s=0.03, supervision_s=0.4)) as made:
            made.radio.obey(f"loss {loss}")
            await asyncio.sleep(60)
            return made.radio.counters.timed_out

    assert run(main(0.3)) == 0
    assert run(main(0.9)) == 2


def test_silence_takes_the_data_and_tells_nobody() -> None:
    async def main() -> None:
        async with air() as made:
            made.radio.obey("silence")
            queue = made.central.host.le_acl_packet_queue
            assert queue is not None
            for number in range(50):
                await made.write(bytes([number]))
            await asyncio.sleep(10)
            assert queue.pending == 0
            assert made.written == []
            assert made.radio.counters.vanished == 50
            assert made.reasons == {}
            made.radio.obey("resume")
            await made.write(b"heard")
            await asyncio.sleep(0.1)
            assert [data for data, _ in made.written] == [b"heard"]

    run(main())


def test_a_peer_that_disconnects_is_told_at_a_connection_event_however_much_is_lost() -> None:
    async def main(loss: float) -> int:
        async with air() as made:
            made.radio.obey(f"loss {loss}")
            (at_peripheral,) = made.peripheral.connections.values()
            await at_peripheral.disconnect()
            while "central" not in made.reasons:
                await asyncio.sleep(0.001)
            return made.reasons["central"]

    assert run(main(0.3)) == 0x13  # remote user terminated
    assert run(main(1.0)) == 0x08  # never heard: it times out


def test_who_stops_advertising_is_not_found_until_it_advertises_again() -> None:
    async def main() -> None:
        async with air(connect=False) as made:
            await made.peripheral.stop_advertising()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await made.connect()
            made.central.host.controller.sink.pending_le_connection = None  # Bumble keeps it
            assert made.events == []
            await made.peripheral.start_advertising(auto_restart=True)
            await made.connect()
            assert [event.kind for event in made.events] == ["advertisement", "connected"]

    run(main())


def test_a_lost_request_to_connect_is_a_connection_that_was_not_established() -> None:
    async def main() -> None:
        async with air(connect=False) as made:
            lost = iter([False, True])  # the advertisement comes, the answer to it does not
            made.radio._is_lost = lambda: next(lost, False)  # type: ignore[method-assign]
            with pytest.raises((BaseBumbleError, asyncio.CancelledError)):
                await made.connect()
            assert [event.kind for event in made.events] == ["advertisement", "connected", "disconnected"]
            assert made.events[-1].text == "central: CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR"
            assert made.events[-1].time_s - made.events[1].time_s <= 7 * 0.015
            await made.connect()
            assert len(made.peripheral.connections) == 1

    run(main())


def test_jitter_delays_and_keeps_the_order() -> None:
    async def main() -> None:
        async with air(RadioSettings(interval_s=0.0075)) as made:
            made.radio.obey("jitter 0.05")
            began_s = made.now_s()
            for number in range(200):
                await made.write(bytes([number]))
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            assert [data[0] for data, _ in made.written] == list(range(200))
            late_s = [at_s - began_s - 0.01 * n for n, (_, at_s) in enumerate(made.written)]
            assert max(late_s) < 0.05 + 0.0075 + 0.001
            assert max(late_s) - min(late_s) > 0.03

    run(main())


def test_a_host_that_stood_still_finds_its_connection_alive() -> None:
    """The controllers go on where the process does not: its events are made up for, and nothing times out."""

    async def main() -> None:
        async with air(RadioSettings(supervision_s=0.4)) as made:
            before = made.radio.counters.events
            loop = asyncio.get_running_loop()
            loop._jumping.jumped_s += 5.0  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)
            assert made.kinds() == ["connected"]
            assert made.radio.counters.events - before >= 5.0 / 0.015

    run(main())


def test_orders_change_the_radio_while_it_runs() -> None:
    radio = Radio()
    for order in ("loss 0.3", "jitter 0.02", "interval 30", "silence"):
        radio.obey(order)
    assert radio.settings == RadioSettings(interval_s=0.03, loss=0.3, jitter_s=0.02)
    assert radio.is_silent
    for order in ("loss", "loss 2", "interval slow", "stop", "louder", "silence 3"):
        with pytest.raises(NervehandError, match="radio: "):
            radio.obey(order)


def test_a_seed_decides_everything() -> None:
    async def main(seed: int) -> list[tuple[bytes, float]]:
        async with air(RadioSettings(seed=seed)) as made:
            made.radio.obey("loss 0.3")
            for number in range(50):
                await made.write(bytes([number]))
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            return made.written

    assert run(main(1)) == run(main(1))
    assert run(main(1)) != run(main(2))


def test_a_controller_that_knows_no_radio_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(NervehandError, match="make a RadioController"):
            Controller("plain", link=Radio())

    run(main())


def test_a_disconnection_while_it_is_asked_something_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        async with air() as made:
            assert made.command is not None
            made.radio.obey("supervision")
            with pytest.raises((BaseBumbleError, asyncio.CancelledError, TimeoutError)):
                await made.command.read_value()

    run(main())
