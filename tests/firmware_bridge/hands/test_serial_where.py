"""Addresses and joint maps of the hands on a serial line: taken, or refused with one clear sentence."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands import HandOptions, inspire, load, rohand
from firmware_bridge.hands._serial_where import SerialWhere, check_joints, parse_where
from firmware_bridge.joint_map import JointMap


def parse(where: str) -> SerialWhere:
    return parse_where(where, rohand.ADDRESS, 2, range(2, 248))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("/dev/ttyUSB0", SerialWhere("/dev/ttyUSB0", 2)),
        ("COM3?id=7", SerialWhere("COM3", 7)),
        ("a?rs485=on&id=247", SerialWhere("a", 247, is_rs485=True)),
        ("a?rs485=off", SerialWhere("a", 2)),
    ],
)
def test_what_an_address_says(where: str, found: SerialWhere) -> None:
    assert parse(where) == found


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("", "address '' is not complete: write rohand:/dev/ttyUSB0?id=2"),
        ("?id=3", "address '?id=3' is not complete: write rohand:/dev/ttyUSB0?id=2"),
        ("a?", "address 'a?' is not complete: write rohand:/dev/ttyUSB0?id=2"),
        ("a?id=1", "id '1' in 'a?id=1' is none of a hand: write 2 to 247"),
        ("a?id=248", "id '248' in 'a?id=248' is none of a hand: write 2 to 247"),
        ("a?id=", "id '' in 'a?id=' is none of a hand: write 2 to 247"),
        ("a?id=-3", "id '-3' in 'a?id=-3' is none of a hand: write 2 to 247"),
        ("a?baud=9600", "baud in 'a?baud=9600' is nothing that can be set: use id, rs485"),
        ("a?rs485=yes", "rs485 is 'yes' in 'a?rs485=yes': write off or on"),
    ],
)
def test_what_is_wrong_with_an_address(where: str, why: str) -> None:
    with pytest.raises(NervehandError, match=f"^{re.escape(why)}$"):
        parse(where)


@pytest.mark.parametrize("name", ["rohand", "inspire"])
def test_a_joint_map_in_another_order_is_refused(name: str) -> None:
    module = load(name)
    turned = JointMap(module.JOINTS.joints[::-1])
    with pytest.raises(NervehandError, match=r"the joint map has .*: an .* needs .*, in this order, in "):
        module.open_hand("a", HandOptions(joint_map=turned))


def test_a_joint_map_may_use_less_of_a_joint() -> None:
    less = replace(inspire.JOINTS.joints[0], flexed=200.0)
    own = JointMap((less, *inspire.JOINTS.joints[1:]))
    assert check_joints(own, inspire.JOINTS, "RH56") is own
    assert inspire.open_hand("a", HandOptions(joint_map=own)).capabilities.upper.tolist() == [
        1,
        1,
        1,
        1,
        1,
        0,
    ]
