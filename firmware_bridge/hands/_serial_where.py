"""Addresses of hands on a shared serial line: "PORT?id=N&rs485=on"."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from firmware_bridge.errors import NervehandError
from firmware_bridge.joint_map import JointMap


@dataclass(frozen=True, slots=True)
class SerialWhere:
    """`is_rs485`: the port's driver switches the direction of the line, which many adapters do by themselves."""

    port: str
    hand_id: int
    is_rs485: bool = False


def parse_where(where: str, address: str, default_id: int, ids: range) -> SerialWhere:
    """NervehandError, which names the form `address`, where it is not that, or what may be said instead."""
    port, mark, query = where.partition("?")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    if not port or (mark and not settings):
        raise NervehandError(f"address {where!r} is not complete: write {address}")
    others = sorted(set(settings) - {"id", "rs485"})
    if others:
        raise NervehandError(f"{', '.join(others)} in {where!r} is nothing that can be set: use id, rs485")
    number = settings.get("id", str(default_id))
    if not (number.isascii() and number.isdigit() and len(number) <= 3 and int(number) in ids):
        raise NervehandError(
            f"id {number!r} in {where!r} is none of a hand: write {ids.start} to {ids.stop - 1}"
        )
    rs485 = settings.get("rs485", "off")
    if rs485 not in ("off", "on"):
        raise NervehandError(f"rs485 is {rs485!r} in {where!r}: write off or on")
    return SerialWhere(port, int(number), rs485 == "on")


def check_joints(joint_map: JointMap, own: JointMap, name: str) -> JointMap:
    """`joint_map`, if its joints have the names, order and units of the hand's own; NervehandError if not."""
    found, needed = ([(joint.name, joint.unit) for joint in one.joints] for one in (joint_map, own))
    if found != needed:
        said = ", ".join(f"{joint} ({unit})" for joint, unit in found)
        raise NervehandError(
            f"the joint map has {said}: an {name} needs {', '.join(joint for joint, _ in needed)}, in this order,"
            f" in {needed[0][1]}"
        )
    return joint_map
