"""The virtual hand over Bluetooth LE, at "virtual:ADDRESS": our own command set (docs/virtual-hand.md).

"virtual:ADDRESS?watchdog=SECONDS" is one that was started with another watchdog time than 0.3 s.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands._ble_wire import BleWires, bonds_path, checked_address
from firmware_bridge.hands._linked import LinkedHand, within_reach
from firmware_bridge.hands._virtual import GATT, JOINTS, VirtualDialect
from firmware_bridge.joint_map import JointMap

__all__ = ["ADDRESS", "CAPABILITIES", "JOINTS", "NAMES", "SERVICES", "VirtualHand", "open_hand"]

ADDRESS = "virtual:F5:4E:48:00:00:01"
CAPABILITIES = protocol.VIRTUAL_HAND
NAMES: tuple[str, ...] = (protocol.VIRTUAL_HAND.name,)
SERVICES: tuple[str, ...] = (protocol.SERVICE_UUID,)


class VirtualHand(LinkedHand):
    """The hand at `address`; `transport` is a Bumble moniker, or None for the system's own adapter.

    It is refused where it says of itself something else than `capabilities`. `bonds` is the file of the keys of
    bonded hands; None leaves the link without a bond.
    """

    def __init__(
        self,
        address: str,
        transport: str | None = None,
        capabilities: HandCapabilities = protocol.VIRTUAL_HAND,
        link_timeout_s: float = 0.3,
        joint_map: JointMap = JOINTS,
        bonds: Path | None = None,
    ) -> None:
        address = checked_address(address)
        super().__init__(
            within_reach(capabilities, joint_map),
            joint_map,
            lambda: VirtualDialect(capabilities),
            BleWires(address, GATT, transport, bonds),
            address,
            link_timeout_s,
        )


def open_hand(where: str, options: HandOptions) -> VirtualHand:
    """The hand at a Bluetooth address, not connected; NervehandError where that is none."""
    address, mark, query = where.partition("?")
    return VirtualHand(
        address,
        options.transport,
        _described(query) if mark else CAPABILITIES,
        link_timeout_s=options.link_timeout_s,
        joint_map=options.joint_map or JOINTS,
        bonds=bonds_path() if options.is_bonded else None,
    )


def _described(query: str) -> HandCapabilities:
    settings = dict(parse_qsl(query, keep_blank_values=True))
    if set(settings) != {"watchdog"}:
        raise NervehandError(f"{query!r} is nothing that can be set of a virtual hand: use watchdog=SECONDS")
    try:
        watchdog_s = float(settings["watchdog"])
    except ValueError:
        raise NervehandError(f"watchdog is {settings['watchdog']!r}: give seconds, 0.5 say") from None
    return protocol.with_watchdog(watchdog_s)
