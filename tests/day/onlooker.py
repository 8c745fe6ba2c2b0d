"""Somebody at the port of a long run: takes views, and samples slower than they come; brings decoders and switches.

    python -m tests.day.onlooker HOST:PORT SAMPLES BUNDLE BUNDLE

Each time that so many samples are over, the other of the two decoders is pushed and asked to take over. It ends with
the port, and prints what it did.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

from decoder.bundle import read_bundle
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import PortClient
from firmware_bridge.port.entries import own_token
from firmware_bridge.port.link import Link

LOOK_S = 0.05
"""Of what the link holds it takes one part each time: less than comes at this speed, so that it is overtaken."""
PATIENCE_S = 30.0
AGAIN_S = 0.2


def main(address: str, each: int, paths: list[Path]) -> dict[str, int]:
    """Until the port is gone."""
    shas = [read_bundle(path).sha256 for path in paths]
    done = {"frames": 0, "pushes": 0, "switches": 0, "refusals": 0, "given up": 0}
    link = Link(address, own_token()[0], "onlooker", 20.0)
    link.send({"kind": "samples", "stream": link.stream, "from": None})
    with PortClient(address, None, "onlooker") as client:
        client.connect(20.0)
        due, deadline_s, wanted, asked_s = each // 3, 0.0, -1, 0.0
        is_pushed = False
        while True:
            try:
                done["frames"] += len(link.receive(LOOK_S))
            except LinkError:
                return done
            time.sleep(LOOK_S)
            view = client.newest("live")
            if view is None:
                continue
            now_s = time.monotonic()
            at = view[1].get("sample_index")
            if wanted < 0 and isinstance(at, int) and at >= due:
                due += each
                wanted = 1 - shas.index(str(view[1].get("bundle")))
                is_pushed, deadline_s = False, now_s + PATIENCE_S
            if wanted < 0 or now_s - asked_s < AGAIN_S:
                continue
            asked_s = now_s
            try:
                if not is_pushed:
                    client.request("push", {}, paths[wanted].read_bytes(), PATIENCE_S)
                    done["pushes"] += 1
                    is_pushed = True
                    continue
                client.request("switch", {"sha256": shas[wanted]}, timeout_s=PATIENCE_S)
                done["switches"] += 1
                wanted = -1
            except LinkError:
                return done
            except NervehandError:
                done["refusals"] += 1
                if now_s > deadline_s:
                    done["given up"] += 1
                    wanted = -1
                    with contextlib.suppress(NervehandError):
                        client.request("drop")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), [Path(one) for one in sys.argv[3:]])), flush=True)
