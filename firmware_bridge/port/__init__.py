"""The port of a running engine: where others subscribe to its samples and views, and ask it for things (docs/port.md).

The owner serves (`serving`); a laptop, a console or another process subscribes (`PortClient`, and `port:HOST:PORT` as a
source). The server is a process of its own, so that no client, however slow, costs the owner more than a copy.
"""

from __future__ import annotations

from firmware_bridge.port.client import PortClient
from firmware_bridge.port.entries import Entry, running
from firmware_bridge.port.owner import Port, Request, serving
from firmware_bridge.port.tls_files import TlsFiles, own_tls_files

__all__ = ["Entry", "Port", "PortClient", "Request", "TlsFiles", "own_tls_files", "running", "serving"]
