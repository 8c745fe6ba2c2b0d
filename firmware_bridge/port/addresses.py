"""Addresses of ports: HOST:PORT, as people write them."""

from __future__ import annotations

import ipaddress

from firmware_bridge.errors import NervehandError

LOOPBACK = "127.0.0.1"


def split(address: str) -> tuple[str, int]:
    """Host and port number; ":4711" and "4711" are on the loopback. NervehandError where it is no address."""
    host, _, number = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not number.isascii() or not number.isdecimal() or int(number) > 65535:
        raise NervehandError(
            f"{address!r} is no address of a port: give HOST:PORT, for example {LOOPBACK}:4711"
        )
    return host or LOOPBACK, int(number)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it: 127.0.0.0/8, ::1 and localhost. Other names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def joined(host: str, number: int) -> str:
    """As people write it."""
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
