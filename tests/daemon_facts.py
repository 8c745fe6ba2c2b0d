"""Prints what a daemon takes: `python -m tests.daemon_facts PYTHON` starts one with that interpreter, in real time.

Seconds from its start to its first decoded hop, by stage, and the memory (PSS) of each of its processes after a while
of decoding, with recording, port and metrics on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nervehand.status import Status, read_status

CONFIG = """
name = "facts"
[recording]
folder = "recordings"
reserve_mib = 1
[port]
listen = "127.0.0.1:0"
[metrics]
listen = "127.0.0.1:0"
"""
DECODED_S = 10.0
START_S = 300.0
MOST_MIB = {"guard": 80.0, "guard, decode and recorder": 350.0}
"""DESIGN.md's."""


def facts(python: str, folder: Path) -> Status:
    """What the daemon says of itself once it has decoded for DECODED_S."""
    (folder / "run" / "nervehand").mkdir(parents=True, mode=0o700)
    (folder / "daemon.toml").write_text(CONFIG)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder / "run")}
    command = [python, "-m", "nervehand", "run", "--config", str(folder / "daemon.toml")]
    with subprocess.Popen(command, env=environment, cwd=folder) as daemon:
        try:
            end_s = time.monotonic() + START_S
            while True:
                assert daemon.poll() is None, "it has ended"
                assert time.monotonic() < end_s, "it does not decode"
                time.sleep(0.2)
                path = folder / "run" / "nervehand" / "daemon-facts.json"
                status = read_status(path) if path.exists() else None
                if status is not None and status.decode is not None:
                    hop_s = status.decode.hop_s or 0.0
                    if status.decode.hops * hop_s > DECODED_S and status.machine is not None:
                        return status
        finally:
            daemon.terminate()
            daemon.wait(60)


def main() -> None:
    """Print them."""
    with tempfile.TemporaryDirectory(prefix="nervehand-facts-", ignore_cleanup_errors=True) as folder:
        status = facts(sys.argv[1], Path(folder))
    assert status.machine is not None
    start = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in status.stages_of_start.items())
    print(f"daemon, start to decoding: {sum(status.stages_of_start.values()):.1f} s ({start})")
    memory = dict(status.machine.memory_mib)
    print("daemon, PSS in MiB: " + ", ".join(f"{role} {mib:.0f}" for role, mib in memory.items()))
    together = sum(memory.get(role, 0.0) for role in ("guard", "decode", "recorder"))
    print(f"daemon, PSS of guard, decode and recorder: {together:.0f} MiB")
    assert memory["guard"] < MOST_MIB["guard"]
    assert together < MOST_MIB["guard, decode and recorder"]


if __name__ == "__main__":
    main()
