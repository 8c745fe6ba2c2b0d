"""Open Bionics' Hero RGD and Hero PRO over Bluetooth LE, at "hero:BLUETOOTH ADDRESS" (command set: `_hero`)."""

from __future__ import annotations

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF, HandCapabilities, WatchdogAction
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands._ble_wire import BleWires, bonds_path, checked_address
from firmware_bridge.hands._hero import DIGITS, GATT, GRIPS, HeroDialect
from firmware_bridge.hands._linked import LinkedHand, within_reach
from firmware_bridge.joint_map import Joint, JointMap

ADDRESS = "hero:C8:00:84:00:00:01"
NAMES: tuple[str, ...] = ("Hero",)
"""What the vendor's examples look for; its owner may have renamed it."""

SERVICES: tuple[str, ...] = (GATT.service,)

JOINTS = JointMap(
    tuple(
        Joint(digit, "closed", 0.0, 1.0, None, {"little" if digit == "pinky" else digit: 1.0})
        for digit in DIGITS
    )
)
"""0 is fully open, so it is rest; no wrist, and nothing extends."""

CAPABILITIES = HandCapabilities(
    name="Open Bionics Hero",
    lower=JOINTS.lower,
    upper=JOINTS.upper,
    max_speed_per_s=np.array([1] * (N_DOF - 1) + [0], np.float32),
    watchdog_s=None,
    watchdog_action=WatchdogAction.UNKNOWN,
    source=(
        "github.com/Open-Bionics/MyoLink: Docs/hand_control_protocol.md and myolink/device/hand.py, which do not say "
        "what the hand does when commands stop; speed and command rate are not stated either, and are chosen"
    ),
    grips=GRIPS,
    max_command_rate_hz=20.0,
)

ASK_S = 0.05
"""Its positions come in two answers."""


def open_hand(where: str, options: HandOptions) -> LinkedHand:
    """The hand at a Bluetooth address, not connected; NervehandError where that is none, or the joint map another's."""
    address = checked_address(where)
    joint_map = options.joint_map or JOINTS
    if tuple((joint.name, joint.unit) for joint in joint_map.joints) != tuple((d, "closed") for d in DIGITS):
        raise NervehandError(
            f"the joint map has {', '.join(f'{joint.name} ({joint.unit})' for joint in joint_map.joints)}:"
            f" a Hero hand needs {', '.join(DIGITS)}, in this order, in 'closed' (0 to 1)"
        )
    return LinkedHand(
        within_reach(CAPABILITIES, joint_map),
        joint_map,
        HeroDialect,
        BleWires(address, GATT, options.transport, bonds_path() if options.is_bonded else None),
        address,
        options.link_timeout_s,
        ask_s=ASK_S,
    )
