"""An emulated hand as a Bluetooth LE peripheral, run as its own process.

`python -m firmware_bridge.hands.virtual_peripheral` advertises on a simulated radio (Bumble controllers on one link)
and offers a controller to each central that connects over TCP on 127.0.0.1; its first line on standard output is a JSON
object with `port` and `address`, or with `error` where it cannot start. `--adapter usb:0` advertises on a real adapter
instead, whatever Bumble can open (not tried on a real radio yet). docs/virtual-hand.md has the virtual hand's command
set, and the orders on standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from bumble.core import BaseBumbleError
from bumble.host import Host
from bumble.transport import open_transport

from firmware_bridge.emulators.hands.air import Air, PerfectAir, offer_centrals, peripheral_host
from firmware_bridge.emulators.hands.device import HandDevice, Trace
from firmware_bridge.emulators.hands.gatt import GattServer, Peripheral
from firmware_bridge.emulators.hands.tracing import Untraced, tracing
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._ble_wire import PUBLIC, linked_address
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND, with_watchdog

ADDRESS = "F5:4E:48:00:00:01"
SPEAKS = ("virtual", "ability_hand", "hero")
ADAPTER_S = 10.0
"""How long an adapter may take until its radio is on."""


def emulated(
    speaks: str,
    *,
    trace: Trace | None = None,
    has_physics: bool = False,
    watchdog_s: float | None = VIRTUAL_HAND.watchdog_s,
    needs_encryption: bool = False,
) -> tuple[HandDevice, Peripheral]:
    """The hand that speaks this command set, and what it shows of itself; body and watchdog are the virtual one's."""
    now_ns = time.monotonic_ns()
    trace = trace or Untraced()
    if has_physics and speaks != "virtual":
        raise NervehandError(f"the hand that speaks {speaks} has no physical body: only the virtual one has")
    device: HandDevice
    match speaks:
        case "virtual":
            from firmware_bridge import physics
            from firmware_bridge.emulators.hands import virtual

            capabilities = with_watchdog(watchdog_s)
            body = physics.make(capabilities, now_ns) if has_physics else None
            device, peripheral = virtual.over_the_air(now_ns, body, trace, capabilities)
        case "ability_hand":
            from firmware_bridge.emulators.hands import ability_hand_air

            device, peripheral = ability_hand_air.over_the_air(now_ns, trace=trace)
        case "hero":
            from firmware_bridge.emulators.hands import hero

            device, peripheral = hero.over_the_air(now_ns, trace=trace)
        case _:
            raise NervehandError(
                f"no emulated hand speaks {speaks!r} over Bluetooth: use one of {', '.join(SPEAKS)}"
            )
    return device, replace(peripheral, needs_encryption=needs_encryption)


async def serve(
    device: HandDevice,
    peripheral: Peripheral,
    air: Air | None,
    adapter: str | None,
    address: str,
    port: int,
    mtu: int,
    until_stdin_closes: bool,
) -> None:
    """Run the hand until its standard input closes, or for ever; on `adapter` where `air` is None."""
    async with contextlib.AsyncExitStack() as stack:
        if air is not None:
            server = GattServer(device, peripheral, peripheral_host(air, "hand", address), address, mtu)
            await server.start()
        else:
            server = await _on_adapter(stack, adapter or "", device, peripheral, address, mtu)
        started: dict[str, object] = {"address": address, "name": peripheral.name}
        if air is not None:
            started["port"] = await _offered(air, port)
        print(json.dumps(started), flush=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run())
            if until_stdin_closes:
                await _obey(server, air)
                server.stop()


async def _offered(air: Air, port: int) -> int:
    if not 0 <= port <= 65535:
        raise NervehandError(f"TCP port is {port}: give 1 to 65535, or 0 for any free one")
    try:
        return await offer_centrals(air, port)
    except OSError as error:
        raise NervehandError(
            f"TCP port {port} of 127.0.0.1 cannot be had ({os.strerror(error.errno or 0)}): end what has it, or choose"
            " another one"
        ) from error


async def _on_adapter(
    stack: contextlib.AsyncExitStack,
    adapter: str,
    device: HandDevice,
    peripheral: Peripheral,
    address: str,
    mtu: int,
) -> GattServer:
    """The hand on a real adapter, its radio on; NervehandError where that does not work."""
    try:
        async with asyncio.timeout(ADAPTER_S):
            source, sink = await stack.enter_async_context(await open_transport(adapter))
            server = GattServer(device, peripheral, Host(source, sink), address, mtu)
            await server.start()
    except NervehandError:
        raise
    except Exception as error:  # each kind of adapter has errors of its own
        why = (
            f"no answer in {ADAPTER_S:g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
        )
        raise NervehandError(
            f"adapter {adapter} cannot be used: {why}: give one as Bumble names it, usb:0 or"
            " hci-socket:0 say, which is plugged in, yours to use and used by nothing else"
        ) from error
    return server


async def _obey(server: GattServer, air: Air | None) -> None:
    """Orders, one a line, until there are no more; one that is not known is said, and the hand lives on."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        order = line.decode(errors="replace").strip()
        try:
            if air is None or not air.obey(order):
                await server.obey(order)
        except (NervehandError, BaseBumbleError) as error:  # a connection may end while it is ended
            print(f"order {order!r}: {str(error) or repr(error)}", file=sys.stderr, flush=True)


def _radio(settings_text: str, trace: Trace) -> tuple[Air, int]:
    """A radio that notes what happens on it, and the largest ATT MTU on it."""
    from firmware_bridge.emulators.hands.radio_air import Radio, RadioAir, RadioEvent, RadioSettings

    def note(event: RadioEvent) -> None:
        trace.add(round(event.time_s * 1e9), "radio", text=f"{event.kind}: {event.text}")

    settings = RadioSettings().changed(settings_text)
    return RadioAir(Radio(settings, note)), settings.mtu


def main() -> None:
    parser = argparse.ArgumentParser(
        description="An emulated hand, a Bluetooth LE peripheral on the loopback."
    )
    parser.add_argument("--speaks", choices=SPEAKS, default="virtual", help="its command set")
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1 (default: any free one)")
    parser.add_argument(
        "--adapter", help="a Bumble moniker, usb:0 say: a real adapter instead of a simulated radio"
    )
    parser.add_argument(
        "--address",
        default=ADDRESS,
        help="its Bluetooth address, a random static one, or a public one: AA:BB:CC:DD:EE:FF/P",
    )
    parser.add_argument("--radio", metavar="SETTINGS", help="a radio as it is: interval=0.015,loss=0.3 say")
    parser.add_argument("--mtu", type=int, default=247, help="the largest ATT MTU that it agrees to")
    parser.add_argument(
        "--bonded", action="store_true", help="nothing without an encrypted link, which takes a bond"
    )
    parser.add_argument("--physics", action="store_true", help="a physical hand (extra physics)")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write what is done to it, a JSON object a line"
    )
    parser.add_argument("--watchdog", type=float, default=VIRTUAL_HAND.watchdog_s, metavar="SECONDS")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="take orders from stdin; end with it"
    )
    options = parser.parse_args()
    # The simulated controller warns of every packet that was on its way when a connection ended.
    logging.getLogger("bumble.controller").setLevel(logging.ERROR)
    try:
        address = linked_address(options.address, "")
        if options.adapter is not None and address.endswith(PUBLIC):
            raise NervehandError(
                f"--address {options.address}: a public address is the adapter's own; give a random one"
            )
        with tracing(options.trace) as trace:
            device, peripheral = emulated(
                options.speaks,
                trace=trace,
                has_physics=options.physics,
                watchdog_s=options.watchdog,
                needs_encryption=options.bonded,
            )
            air: Air | None = None
            mtu = options.mtu
            if options.adapter is None and options.radio is None:
                air = PerfectAir()
            elif options.adapter is None:
                air, most = _radio(options.radio, trace)
                mtu = min(mtu, most)
            asyncio.run(
                serve(
                    device,
                    peripheral,
                    air,
                    options.adapter,
                    address,
                    options.port,
                    mtu,
                    options.until_stdin_closes,
                )
            )
    except NervehandError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
