"""Inspire-Robots RH56 (DFX, BFX and their like) on a serial port, at "inspire:PORT?id=N", or "...&rs485=on" where
the port's driver switches the direction of the line."""

from __future__ import annotations

import numpy as np

from firmware_bridge.hand import HandCapabilities, Quantity, WatchdogAction
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands._inspire import BAUD, DEFAULT_ID, HAND_IDS, OPEN, InspireDialect
from firmware_bridge.hands._linked import LinkedHand, within_reach
from firmware_bridge.hands._serial_where import check_joints, parse_where
from firmware_bridge.hands._serial_wire import SerialWire
from firmware_bridge.joint_map import Joint, JointMap

ADDRESS = "inspire:/dev/ttyUSB0?id=1"
NAMES: tuple[str, ...] = ()

JOINTS = JointMap(
    tuple(
        Joint(name, "angles", OPEN, 0, None, {dof: 1.0})
        for name, dof in (
            ("little", "little"),
            ("ring", "ring"),
            ("middle", "middle"),
            ("index", "index"),
            ("thumb flexion", "thumb"),
            ("thumb rotation", "thumb"),
        )
    )
)
"""1000 is open, 0 closed: inspire_serial.py, perform_open and perform_close."""

CAPABILITIES = HandCapabilities(
    name="Inspire RH56",
    lower=JOINTS.lower,
    upper=JOINTS.upper,
    max_speed_per_s=np.array([1.25, 1.25, 1.25, 1.25, 1.25, 0], np.float32),
    watchdog_s=None,
    watchdog_action=WatchdogAction.UNKNOWN,
    source=(
        "github.com/TechShare-inc/inspire_demos, and the RH56 user manual as github.com/WiseZenn/pyrh56 and "
        "correlllab/rh56_controller quote it (0.8 s for the whole range at full speed, unloaded); what the hand does "
        "when commands stop is in none of them; command rate: 6.6 ms an exchange measured there, with room for readings"
    ),
    measures=frozenset({Quantity.POSITION, Quantity.CURRENT, Quantity.FORCE, Quantity.TEMPERATURE}),
    max_command_rate_hz=100.0,
)
"""29 bytes an exchange would be 397 a second at 115200 baud."""

ANSWER_TIMEOUT_S = 0.05
"""Ten exchanges and more: what is late by so much was lost."""

ASK_S = 0.03
"""Its state is told in two answers in turn: each is 60 ms old at most."""


def open_hand(where: str, options: HandOptions) -> LinkedHand:
    """The hand at a serial port, not connected; NervehandError where the address is malformed."""
    there = parse_where(where, ADDRESS, DEFAULT_ID, HAND_IDS)
    joint_map = check_joints(options.joint_map or JOINTS, JOINTS, CAPABILITIES.name)
    return LinkedHand(
        within_reach(CAPABILITIES, joint_map),
        joint_map,
        lambda: InspireDialect(there.hand_id),
        lambda: SerialWire(there.port, BAUD, there.is_rs485),
        there.port,
        options.link_timeout_s,
        ANSWER_TIMEOUT_S,
        ASK_S,
    )
