"""Where a port listens, and what it needs to be listened to there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.addresses import is_loopback, split
from firmware_bridge.port.tls_files import Secured, TlsFiles, secured

WAITING = 64


@contextmanager
def listening(where: str) -> Iterator[socket.socket]:
    """A socket that listens at HOST:PORT; NervehandError where that cannot be."""
    host, number = split(where)
    try:
        family, kind, _, _, bound = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise NervehandError(
            f"{host} is no address of this machine ({error.strerror}): give another"
        ) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(bound)
            listener.listen(WAITING)
        except OSError as error:
            raise NervehandError(
                f"port {where} cannot be served ({error.strerror}): give another address, or port 0 for a free one"
            ) from None
        yield listener


@contextmanager
def secured_for(listener: socket.socket, files: TlsFiles | None) -> Iterator[Secured | None]:
    """What TLS needs while this lasts; None for plain text, which stays on the loopback."""
    if files is None and is_loopback(listener.getsockname()[0]):
        yield None
        return
    safe = secured(files)
    try:
        yield safe
    finally:
        os.close(safe.descriptor)
