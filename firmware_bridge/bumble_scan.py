"""Listening for advertisements through any HCI transport, by Bumble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Device
from bumble.hci import Address
from bumble.transport import open_transport

from firmware_bridge.errors import LinkError

OnHeard = Callable[[str, str, int | None, Iterable[str]], None]

_NAMES = (AdvertisingData.COMPLETE_LOCAL_NAME, AdvertisingData.SHORTENED_LOCAL_NAME)
_SERVICES = (
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
)
OPEN_S = 10.0
"""How long the transport may take to open and its adapter to get ready."""


async def listen(transport: str, timeout_s: float, on_heard: OnHeard) -> None:
    """Call `on_heard` with address, name, dBm and service UUIDs of each advertisement and scan response, for that time;
    "/P" ends an address that is a public one.

    LinkError where the transport does not open, or its adapter does not listen.
    """

    def on_advertisement(advertisement: Advertisement) -> None:
        data, rssi = advertisement.data, advertisement.rssi
        on_heard(
            advertisement.address.to_string(),
            next((str(name) for kind in _NAMES if (name := data.get(kind))), ""),
            None if rssi == Advertisement.RSSI_NOT_AVAILABLE else rssi,
            [uuid.to_hex_str("-").lower() for kind in _SERVICES for uuid in _uuids(data.get(kind))],
        )

    try:
        async with asyncio.timeout(OPEN_S):
            opened = await open_transport(transport)
    except (TimeoutError, OSError, BaseBumbleError, ValueError) as error:
        raise LinkError(f"transport {transport} does not open: {str(error) or repr(error)}") from error
    try:
        device = Device.with_hci("nervehand", Address.generate_static_address(), opened.source, opened.sink)
        device.on(Device.EVENT_ADVERTISEMENT, on_advertisement)
        async with asyncio.timeout(OPEN_S):
            await device.power_on()
            await device.start_scanning(filter_duplicates=False)
        await asyncio.sleep(timeout_s)
    except (TimeoutError, BaseBumbleError) as error:
        raise LinkError(f"the adapter at {transport} does not listen: {str(error) or repr(error)}") from error
    finally:
        await opened.close()


def _uuids(value: object) -> list[UUID]:
    return [uuid for uuid in value if isinstance(uuid, UUID)] if isinstance(value, list) else []
