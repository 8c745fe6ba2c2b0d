"""Addresses of front-ends on a network."""

from __future__ import annotations

from firmware_bridge.errors import NervehandError


def split_host(where: str, default_port: int, address: str) -> tuple[str, int]:
    """HOST and PORT of "HOST[:PORT]"; raises NervehandError, naming the form `address`, where it is not that."""
    host, colon, port = where.rpartition(":") if ":" in where else (where, "", "")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not host or (colon and not is_port):
        raise NervehandError(f"address {where!r} is not complete: write {address}")
    return host, int(port) if colon else default_port
