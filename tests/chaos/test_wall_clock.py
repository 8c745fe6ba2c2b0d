"""The wall clock may be stepped at any time: only what people read has it, and nothing is decided by it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = (
    "nervehand.daemon", "nervehand.supervising", "nervehand.metrics_process", "decoder.recording.process",
    "decoder.session.settle", "firmware_bridge.guard_process", "firmware_bridge.port.face_process",
)  # fmt: skip
WALL = {
    ("time", "time"), ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"), ("time", "ctime"),
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
    ("time", "CLOCK_REALTIME"),
}  # fmt: skip
SAYS = {
    "decoder.recording.keeper": "a file's name and its start",
    "nervehand.recording": "a file's start",
    "nervehand.supervising": "a line of its log",
    "nervehand.daemon_status": "the status document's time",
    "nervehand.status": "the status document's time, and its age for people",
    "firmware_bridge.port.tls_files": "how long a certificate is valid, which only the wall clock can say",
}


def modules_of(*processes: str) -> dict[str, Path]:
    """Ours that these load as they begin."""
    code = (
        "import json, sys, importlib\n"
        f"for name in {processes!r}: importlib.import_module(name)\n"
        "ours = ('nervehand', 'decoder', 'firmware_bridge', 'calibration')\n"
        "print(json.dumps({n: m.__file__ for n, m in sys.modules.items()\n"
        "                  if n.split('.')[0] in ours and getattr(m, '__file__', None)}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name: Path(path) for name, path in json.loads(said.stdout).items()}


def uses(source: str) -> list[str]:
    """Where it asks for the time of day."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (of, node.attr) in WALL:
                found.append(f"line {node.lineno}: {of}.{node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"line {node.lineno}: {a.name}" for a in node.names if ("time", a.name) in WALL]
    return found


def test_only_what_people_read_has_the_time_of_day() -> None:
    asking = {
        name: found for name, path in modules_of(*PROCESSES).items() if (found := uses(path.read_text()))
    }
    assert set(asking) <= set(SAYS), {name: asking[name] for name in set(asking) - set(SAYS)}
    assert {"decoder.recording.keeper", "nervehand.daemon_status"} <= set(asking)


def test_a_use_of_it_is_found() -> None:
    assert uses("import time\nx = time.time() + 1") == ["line 2: time.time"]
    assert uses("import datetime\ndatetime.datetime.now()") == ["line 2: datetime.now"]
    assert uses("from time import time_ns") == ["line 1: time_ns"]
    assert uses("import time\ntime.monotonic()") == []
