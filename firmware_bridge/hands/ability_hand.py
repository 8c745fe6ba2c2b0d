"""PSYONIC Ability Hand, at "ability_hand:PORT?baud=460800&reply=3&stuffing=on" or "ability_hand:BLUETOOTH ADDRESS".

On a serial port (UART, or RS485 with an adapter), with what may be said after the `?`: `baud`; `reply`, 1 to 3, what
the hand answers with (1 and 3 tell currents); `stuffing`, on or off, as the hand is set (We46 and We47 turn it on);
`address` of the hand, 0x50 unless changed; `rs485=on` where the port's driver switches the direction.

Over Bluetooth LE: `fingers=split` or `joined`, by the hand's firmware, and `after`, see `_ability_ble`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities, Quantity, WatchdogAction
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands._ability_ble import GATT, AbilityBleDialect
from firmware_bridge.hands._ability_frames import ADDRESS as HAND_ADDRESS
from firmware_bridge.hands._ability_frames import JOINT_NAMES, REPLY_LENGTHS
from firmware_bridge.hands._ability_grips import BLE_GRIPS, UART_GRIPS
from firmware_bridge.hands._ability_uart import WATCHDOG_S, AbilityUartDialect
from firmware_bridge.hands._ble_wire import BleWires, bonds_path, checked_address, is_address
from firmware_bridge.hands._linked import LinkedHand, within_reach
from firmware_bridge.hands._serial_wire import SerialWire
from firmware_bridge.joint_map import Joint, JointMap

ADDRESS = "ability_hand:/dev/ttyUSB0?baud=460800&reply=3&stuffing=on"
NAMES: tuple[str, ...] = ("PSYONIC",)

_FOLLOWS = ("index", "middle", "ring", "little", "thumb", "thumb")
JOINTS = JointMap(
    tuple(
        Joint(name, "deg", 0.0, -100.0 if name == "thumb rotator" else 100.0, None, {dof: 1.0})
        for name, dof in zip(JOINT_NAMES, _FOLLOWS, strict=True)
    )
)
"""0 is fully extended (ICD 1.8, 3.4.1): it is rest, and nothing extends beyond it. Travel by the vendor's client."""

BAUDS = (57600, 115200, 230400, 250000, 460800, 921600, 1000000)
"""Of the ICD's table 7, those at which the hand answers often enough for its watchdog and for a gate of 50 Hz."""

DEFAULT_BAUD, DEFAULT_REPLY = 460800, 3
COMMAND_BYTES = 17
"""A position with its flags, where nothing needs an escape."""

ANSWER_TIMEOUT_S = 0.05
"""Twenty exchanges and more, or three waits of a USB adapter that holds bytes back: what is so late was lost."""

FLEXIONS_PER_S = np.array([4.62, 4.62, 4.62, 4.62, 4.62, 0], np.float32)
"""The slowest joint's 8.068 rad/s (URDF/ability_hand_left_large.urdf of ability-hand-api), of 100 degrees."""

CAPABILITIES = HandCapabilities(
    name="PSYONIC Ability Hand",
    lower=JOINTS.lower,
    upper=JOINTS.upper,
    max_speed_per_s=FLEXIONS_PER_S,
    watchdog_s=WATCHDOG_S,
    watchdog_action=WatchdogAction.OWN_MODE,
    source=(
        "github.com/psyonicinc/ability-hand-api: ABILITY-HAND-ICD 1.8, section 3 (it leaves API mode 300 ms after the "
        "last valid frame, 'which may be accompanied by undesired finger movements') and 3.4; joints and rates: "
        "PyPI ability-hand 0.2.2"
    ),
    measures=frozenset({Quantity.POSITION, Quantity.CURRENT}),
    grips=tuple(UART_GRIPS),
    max_command_rate_hz=500.0,
)
"""On a serial port as it is set unless told otherwise. Its touch readings are not calibrated: no force."""

BLE_CAPABILITIES = replace(
    CAPABILITIES,
    watchdog_s=None,
    watchdog_action=WatchdogAction.UNKNOWN,
    source=(
        "github.com/psyonicinc/ability-hand-api: ABILITY-HAND-ICD 1.8, section 4, which does not say what the hand "
        "does when commands stop or the link ends; command rate: MATLAB/bluetooth/ble_finger_control_example.m"
    ),
    measures=frozenset({Quantity.POSITION}),
    grips=tuple(BLE_GRIPS),
    max_command_rate_hz=1 / 0.15,
)


def open_hand(where: str, options: HandOptions) -> LinkedHand:
    """The hand at a serial port or a Bluetooth address, not connected; NervehandError where `where` is malformed."""
    place, _, query = where.partition("?")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    if not place or (query and not settings):
        raise NervehandError(f"address {where!r} is not complete: write {ADDRESS}")
    joint_map = options.joint_map or JOINTS
    _check(joint_map)
    if is_address(place):
        return _over_bluetooth(checked_address(place), settings, joint_map, options)
    return _over_uart(place, settings, joint_map, options)


def rate_hz(baud: int, variant: int) -> float:
    """How often it can be told and answer: nine tenths of what the wire takes, and no more than its maker tried."""
    exchange_s = (COMMAND_BYTES + REPLY_LENGTHS[variant] + 2) * 10 / baud
    return min(500.0 if baud < 921600 else 750.0, 0.9 / exchange_s)


def _over_uart(
    port: str, settings: Mapping[str, str], joint_map: JointMap, options: HandOptions
) -> LinkedHand:
    _refuse_others(settings, ("baud", "reply", "stuffing", "address", "rs485"), "a serial port")
    baud = _number(settings, "baud", DEFAULT_BAUD, BAUDS)
    variant = _number(settings, "reply", DEFAULT_REPLY, tuple(REPLY_LENGTHS))
    hand_address = _number(settings, "address", HAND_ADDRESS, range(1, 256))
    is_stuffed = _choice(settings, "stuffing", ("on", "off")) == "on"
    is_rs485 = _choice(settings, "rs485", ("off", "on")) == "on"
    has_currents = variant != 2
    capabilities = replace(
        CAPABILITIES,
        measures=CAPABILITIES.measures if has_currents else frozenset({Quantity.POSITION}),
        max_command_rate_hz=rate_hz(baud, variant),
    )
    return LinkedHand(
        within_reach(capabilities, joint_map),
        joint_map,
        lambda: AbilityUartDialect(variant, is_stuffed, hand_address),
        lambda: SerialWire(port, baud, is_rs485),
        port,
        options.link_timeout_s,
        ANSWER_TIMEOUT_S,
    )


def _over_bluetooth(
    address: str, settings: Mapping[str, str], joint_map: JointMap, options: HandOptions
) -> LinkedHand:
    _refuse_others(settings, ("fingers", "after"), "Bluetooth")
    after = settings.get("after", "")
    if after and not re.fullmatch(r"0[0-9]", after):
        raise NervehandError(f"after is {after!r}: write a control mode of the hand, 01 say (ICD 1.8, 4.4)")
    dialect = AbilityBleDialect(_choice(settings, "fingers", ("split", "joined")) == "joined", after)
    bonds = bonds_path() if options.is_bonded else None
    return LinkedHand(
        within_reach(BLE_CAPABILITIES, joint_map),
        joint_map,
        lambda: dialect,
        BleWires(address, GATT, options.transport, bonds),
        address,
        options.link_timeout_s,
    )


def _check(joint_map: JointMap) -> None:
    joints = joint_map.joints
    if tuple(joint.name for joint in joints) != JOINT_NAMES or any(joint.unit != "deg" for joint in joints):
        raise NervehandError(
            f"the joint map has {', '.join(f'{joint.name} ({joint.unit})' for joint in joints)}: an Ability Hand needs "
            f"{', '.join(JOINT_NAMES)}, in this order, in deg"
        )


def _refuse_others(settings: Mapping[str, str], known: tuple[str, ...], what: str) -> None:
    others = sorted(set(settings) - set(known))
    if others:
        raise NervehandError(
            f"{', '.join(others)} is nothing that can be set over {what}: use {', '.join(known)}"
        )


def _number(settings: Mapping[str, str], key: str, default: int, among: range | tuple[int, ...]) -> int:
    if key not in settings:
        return default
    try:
        value = int(settings[key], 0)
    except ValueError:
        value = -1
    if value not in among:
        possible = f"{among[0]} to {among[-1]}" if isinstance(among, range) else ", ".join(map(str, among))
        raise NervehandError(f"{key} is {settings[key]!r}: use {possible}")
    return value


def _choice(settings: Mapping[str, str], key: str, among: tuple[str, ...]) -> str:
    """The first is the one unless said otherwise."""
    value = settings.get(key, among[0])
    if value not in among:
        raise NervehandError(f"{key} is {value!r}: use {' or '.join(among)}")
    return value
