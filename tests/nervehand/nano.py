"""A run that is served, as a process of another interpreter: the small computer beside the laptop that tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.port import running
from tests.firmware_bridge.port.serving_rig import until


@dataclass
class Nano:
    """`address` is host:port of its port; `summary` what it said at its end."""

    process: subprocess.Popen[str]
    address: str
    summary: dict[str, object] = field(default_factory=dict)

    def end(self) -> None:
        """As Ctrl-C would."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err
        self.summary = json.loads(out)


WITH_TLS = """
from firmware_bridge.port import own_tls_files, serving
from nervehand import cli, live_port
live_port.serving = lambda *where, **more: serving(*where, **more | {"tls": own_tls_files()})
cli.main()
"""


@contextmanager
def nano(
    bundle: Path,
    record: Path,
    python: str = sys.executable,
    cwd: Path | None = None,
    config: Path | None = None,
) -> Iterator[Nano]:
    """`nervehand run` of a steered simulated person, recorded, without a hand, until the block is left.

    With a folder `config` for what that computer's user keeps, its port speaks TLS.
    """
    words = [
        python, *(("-m", "nervehand") if config is None else ("-c", WITH_TLS)),
        "run", "simulated:default/1/1?steered", "--bundle", str(bundle),
        "--hand", "none", "--port", "127.0.0.1:0", "--record", str(record), "--json",
    ]  # fmt: skip
    environment = os.environ | {"TMPDIR": tempfile.gettempdir()}
    if config is not None:
        environment["XDG_CONFIG_HOME"] = str(config)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=cwd
    ) as process:
        try:

            def is_there() -> bool:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                return bool(running())

            until(is_there, "the run is served", 180)
            yield Nano(process, running()[0].address)
        finally:
            if process.poll() is None:
                process.kill()
