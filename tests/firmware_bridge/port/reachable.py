"""A port at an address that is not the loopback's: run within a network of its own, which no other machine has.

    unshare --user --map-root-user --net python -m tests.firmware_bridge.port.reachable

prints as JSON what happened. The address is one for documentation (RFC 5737), on this network's loopback device.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct

from firmware_bridge.errors import NervehandError
from firmware_bridge.port import PortClient, serving
from firmware_bridge.port.face_process import FaceProcess
from firmware_bridge.port.listening import listening
from firmware_bridge.port.sample_ring import RingSize, make_memory
from firmware_bridge.port.wire import encoded
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO, until

ADDRESS = "192.0.2.7"
SIOCSIFFLAGS, SIOCSIFADDR = 0x8914, 0x8916
IFF_UP = 1


def bring_up() -> None:
    """The loopback device, with ADDRESS too (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(any_socket, SIOCSIFADDR, struct.pack("16s16s", b"lo:1", address))


def refusal(address: str, token: str) -> str:
    """Why a client is refused; "" where it is not."""
    try:
        with PortClient(address, token) as client:
            client.connect(10)
    except NervehandError as error:
        return str(error)
    return ""


def without_tls() -> int:
    """How the server ends that is to serve ADDRESS in plain text, whoever started it."""
    size = RingSize.of(INFO)
    first = {"token": "t", "stream": "s", "info": {}, "about": {}, "fingerprint": ""}
    first |= {"sample_bytes": size.sample_bytes, "n_entries": size.n_entries}
    descriptor = make_memory(size)
    with listening(f"{ADDRESS}:0") as listener:
        face = FaceProcess(encoded(first), listener, descriptor)
        return face._process.wait(60)


def main() -> None:
    """See the module."""
    bring_up()
    found: dict[str, object] = {"without_tls": without_tls()}
    for where in (f"{ADDRESS}:0", "0.0.0.0:0"):
        with serving(where, INFO, ABOUT) as port:
            number = port.address.rpartition(":")[2]
            with PortClient(f"{ADDRESS}:{number}") as client:
                client.connect(10)
                port.show("live", {"a": 1})
                until(lambda client=client: client.newest("live"), "a view")
            with socket.create_connection((ADDRESS, int(number)), 10) as stranger:
                said = stranger.recv(4096).decode(errors="replace")
            found[where] = {
                "fingerprint": port.fingerprint, "file": port.token_path.read_text().split()[1],
                "without": refusal(f"{ADDRESS}:{number}", port.token_path.read_text().split()[0]), "said": said,
            }  # fmt: skip
    os.environ["XDG_CONFIG_HOME"] = "/proc/none"
    try:
        with serving(f"{ADDRESS}:0", INFO, ABOUT):
            found["without_a_home"] = "served"
    except NervehandError as error:
        found["without_a_home"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
