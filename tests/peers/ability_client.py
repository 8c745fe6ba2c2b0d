"""Runs PSYONIC's own client, in a process and a folder of its own: `python ability_client.py SITE`.

SITE is where it is installed; orders are a JSON object on standard input, and what came of them is printed as JSON, on
the last line. It imports nothing of ours. Orders: "encode": commands by name with their arguments, answered with the
client's bytes; "parse": replies without stuffing, answered with what the client reads in them; "drive": a port to be
driven.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from typing import Any


def encode(commands: list[list[Any]]) -> list[str]:
    from ah_wrapper import ah_api

    return [bytes(getattr(ah_api, name)(*arguments)).hex() for name, *arguments in commands]


def parse(replies: list[str]) -> list[dict[str, Any] | None]:
    from ah_wrapper.ah_parser import parse_packet

    found: list[dict[str, Any] | None] = []
    for reply in replies:
        packet = parse_packet(bytearray.fromhex(reply))
        if packet is None or not packet.valid:
            found.append(None)
        else:
            found.append({name: getattr(packet, name) for name in ("pos", "cur", "vel", "fsr", "hot_cold")})
    return found


def drive(port: str, baud: int, reply_mode: int, exchanges: int, limit_s: float) -> dict[str, Any]:
    """Send new positions all the time until so many replies came; counts what the client makes of every frame."""
    from ah_wrapper import ah_serial_client

    counts = {"frames": 0, "bad": 0}
    vendors_parse = ah_serial_client.parse_packet

    def counting(byte_array: bytearray) -> Any:
        packet = vendors_parse(byte_array)
        counts["frames"] += 1
        counts["bad"] += packet is None or not packet.valid
        return packet

    ah_serial_client.parse_packet = counting
    begun_s, client = time.monotonic(), None
    while client is None:
        try:
            client = ah_serial_client.AHSerialClient(
                port=port, baud_rate=baud, reply_mode=reply_mode, rate_hz=500, write_timeout=limit_s
            )
        except SystemExit:  # it asks once, and ends the process where a machine is too slow to answer in time
            if time.monotonic() - begun_s > limit_s:
                raise
    begun_s, step = time.monotonic(), 0
    while counts["frames"] < exchanges and time.monotonic() - begun_s < limit_s:
        step += 1
        client.set_position(
            [float(10 + (7 * step + 13 * i) % 80) for i in range(5)] + [-float(10 + step % 80)]
        )
        time.sleep(0.02)
    seconds = time.monotonic() - begun_s
    frames = counts["frames"]
    hand, last = client.hand, [10.0, 20.0, 30.0, 40.0, 50.0, -60.0]
    client.set_position(last)
    while max(abs(is_at - at) for is_at, at in zip(hand.get_position(), last, strict=True)) > 0.5:
        if time.monotonic() - begun_s > limit_s:
            break
        time.sleep(0.02)
    told = {
        "position": hand.get_position(),
        "current": hand.get_current(),
        "velocity": hand.get_velocity(),
        "touch": hand.get_fsr(),
    }
    client.close()
    return {
        **counts,
        "rate_hz": frames / seconds,
        "writes": client._conn.n_writes - 1,
        "told": told,
    }


def main() -> None:
    site, orders = sys.argv[1], json.load(sys.stdin)
    sys.path.insert(0, site)
    done: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # it talks
        if "encode" in orders:
            done["encode"] = encode(orders["encode"])
        if "parse" in orders:
            done["parse"] = parse(orders["parse"])
        if "drive" in orders:
            done["drive"] = drive(**orders["drive"])
    print(json.dumps(done))


if __name__ == "__main__":
    main()
