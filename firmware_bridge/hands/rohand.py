"""OYMotion ROHand (ROH-A001, ROH-A002) on a serial port, at "rohand:PORT?id=N", or "...&rs485=on" where the port's
driver switches the direction of the line."""

from __future__ import annotations

import numpy as np

from firmware_bridge.hand import HandCapabilities, Quantity, WatchdogAction
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands._linked import LinkedHand, within_reach
from firmware_bridge.hands._rohand import BAUD, DEFAULT_ID, FULL, HAND_IDS, RohandDialect
from firmware_bridge.hands._serial_where import check_joints, parse_where
from firmware_bridge.hands._serial_wire import SerialWire
from firmware_bridge.joint_map import Joint, JointMap

ADDRESS = "rohand:/dev/ttyUSB0?id=2"
NAMES: tuple[str, ...] = ()

JOINTS = JointMap(
    tuple(
        Joint(name, "positions", 0, FULL, None, {dof: 1.0})
        for name, dof in (
            ("thumb flexion", "thumb"),
            ("index", "index"),
            ("middle", "middle"),
            ("ring", "ring"),
            ("little", "little"),
            ("thumb rotation", "thumb"),
        )
    )
)
"""0 is open (rotation: beside the palm), 65535 closed (rotation: opposed, 90 degrees): FAQs_EN.md, Software 1."""

CAPABILITIES = HandCapabilities(
    name="OYMotion ROHand",
    lower=JOINTS.lower,
    upper=JOINTS.upper,
    max_speed_per_s=np.array([1, 1, 1, 1, 1, 0], np.float32),
    watchdog_s=None,
    watchdog_action=WatchdogAction.UNKNOWN,
    source=(
        "github.com/oymotion/roh_firmware: protocol/OHandSerialProtocol_EN.md and UserManual (ROH-A001: full range in "
        "1.0 s; the ROH-A002's 0.7 s is more than its command set can ask for); what the hand does when commands stop "
        "is in none of its documents; command rate: FAQs/FAQs_EN.md, Software 6"
    ),
    measures=frozenset({Quantity.POSITION, Quantity.CURRENT}),
    max_command_rate_hz=90.0,
)
"""57 bytes an exchange would be 202 a second at 115200 baud; the maker says 90 to 100 for commands of this kind."""

ANSWER_TIMEOUT_S = 0.05
"""Of the order of ten exchanges: what is late by so much was lost."""


def open_hand(where: str, options: HandOptions) -> LinkedHand:
    """The hand at a serial port, not connected; NervehandError where the address is malformed."""
    there = parse_where(where, ADDRESS, DEFAULT_ID, HAND_IDS)
    joint_map = check_joints(options.joint_map or JOINTS, JOINTS, CAPABILITIES.name)
    return LinkedHand(
        within_reach(CAPABILITIES, joint_map),
        joint_map,
        lambda: RohandDialect(there.hand_id),
        lambda: SerialWire(there.port, BAUD, there.is_rs485),
        there.port,
        options.link_timeout_s,
        ANSWER_TIMEOUT_S,
    )
