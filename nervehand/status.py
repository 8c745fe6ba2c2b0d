"""The file that holds a daemon's status document: written by its engine, found, read and judged by anybody."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nervehand
from firmware_bridge import guard_sockets
from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import from_plain, to_plain
from nervehand.latency import BOUNDS_S
from nervehand.status_document import (
    FORMAT,
    STALE_S,
    ConfigStatus,
    DecodeStatus,
    HandStatus,
    LatencySummary,
    MachineStatus,
    PortStatus,
    ProcessMark,
    RealtimeStatus,
    RecordingStatus,
    ShadowStatus,
    SourceStatus,
    StageLatency,
    Status,
    latency_summary,
    stage_latency,
)

__all__ = [
    "STALE_S", "ConfigStatus", "DecodeStatus", "Found", "HandStatus", "LatencySummary", "MachineStatus", "PortStatus",
    "ProcessMark", "RealtimeStatus", "RecordingStatus", "ShadowStatus", "SourceStatus", "StageLatency", "Status",
    "StatusFile", "boot_id", "find_statuses", "judged", "latency_summary", "mark_of", "new_status", "path_of",
    "read_status", "stage_latency", "write_status",
]  # fmt: skip

MOST_BYTES = 1 << 20
"""A document is some 10 kB; what is larger is none."""
_MOST = 1 << 62
_PREFIX, _SUFFIX = "daemon-", ".json"
_PROC = Path("/proc")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A status document as of now. `problem` says why it could not be read, `status` is None then.

    `age_s` is since it was written. `alive`: its engine runs; `supervised`: so does what starts that again.
    """

    path: Path
    status: Status | None
    problem: str = ""
    age_s: float | None = None
    alive: bool = False
    supervised: bool = False

    @property
    def name(self) -> str:
        """The daemon's."""
        return self.path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)

    @property
    def stale(self) -> bool:
        """Whether it says nothing about now, though it may be there."""
        return self.age_s is None or self.age_s > STALE_S

    @property
    def running(self) -> bool:
        """Whether the daemon runs, or is about to again."""
        return self.alive or self.supervised


class StatusFile:
    """Where a daemon writes its document; a problem is logged when it begins and when it ends, not once a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problem = ""

    def write(self, status: Status) -> str:
        """What went wrong in words, "" where nothing did: never raises for what a disk does."""
        problem = write_status(self.path, status)
        if bool(problem) != bool(self._problem):
            logger.warning("%s", problem or f"the status is written to {self.path} again")
        self._problem = problem
        return problem

    def remove(self) -> None:
        """At the end of a daemon that nobody starts again."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def path_of(name: str) -> Path:
    """Where a daemon of that name writes its document; NervehandError where nothing can be called so."""
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise NervehandError(f"{name!r} cannot be the name of a daemon: give letters, digits, - and _")
    return guard_sockets.folder() / f"{_PREFIX}{name}{_SUFFIX}"


def new_status(name: str, started_unix_s: float, supervisor_pid: int | None = None) -> Status:
    """What is known of this very process, written now; the parts are added by `dataclasses.replace`."""
    mine = mark_of(os.getpid())
    assert mine is not None, "this process runs"
    supervisor = None if supervisor_pid is None else mark_of(supervisor_pid)
    return Status(
        name=name,
        version=nervehand.__version__,
        process=mine,
        boot_id=boot_id(),
        started_unix_s=started_unix_s,
        written_unix_s=time.time(),
        written_monotonic_s=time.monotonic(),
        supervisor=supervisor,
    )


def write_status(path: Path, status: Status) -> str:
    """Write it whole, or not at all: whoever reads sees the document before or this one, for its owner only (0600).

    What went wrong in words, "" where nothing did. Not synced: it is worth nothing after a power loss, and once a
    second would wear a memory card.
    """
    text = json.dumps(_finite(to_plain(status)), allow_nan=False, separators=(",", ":"))
    unborn = path.with_name(f".{path.name}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(unborn, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            left = memoryview(text.encode())
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        unborn.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unborn.unlink()
        return f"the status cannot be written to {path} ({error.strerror}): make room or set XDG_RUNTIME_DIR"
    return ""


def read_status(path: Path) -> Status:
    """NervehandError, one line, where it is not there, not a whole document, or of another version's kind."""
    try:
        plain = json.loads(_text(path), parse_constant=_refuse)
        _check_format(plain)
        _check_values(plain)
        status = from_plain(Status, plain, "status")
    except FileNotFoundError:
        raise NervehandError(f"{path} is not there: is the daemon running?") from None
    except OSError as error:
        raise NervehandError(f"{path} cannot be read ({error.strerror}): who owns it?") from None
    except (ValueError, OverflowError, RecursionError, NervehandError) as error:
        what = " ".join(str(error).split())[:200]
        raise NervehandError(f"{path} is no status of a daemon: {what}; start the daemon again") from None
    problem = _implausible(status)
    if problem:
        raise NervehandError(f"{path} is no status of a daemon: {problem}; start the daemon again")
    return status


def find_statuses() -> list[Found]:
    """Of every daemon of this user that has left one, by name; of one name the one that runs, or the newest."""
    here = [path for where in guard_sockets.folders() for path in where.glob(f"{_PREFIX}*{_SUFFIX}")]
    found: dict[str, Found] = {}
    for one in map(judged, here):
        if one.name not in found or _rank(one) > _rank(found[one.name]):
            found[one.name] = one
    return [found[name] for name in sorted(found)]


def judged(path: Path, proc: Path = _PROC) -> Found:
    """What it says, and whether it says so of now. `proc` is where the kernel tells of processes."""
    try:
        status = read_status(path)
    except NervehandError as error:
        return Found(path, None, str(error))
    if status.name != Found(path, None).name:
        return Found(path, None, f"{path} is the status of {status.name!r}: start the daemon again")
    this_boot = status.boot_id == boot_id(proc)
    age_s = time.monotonic() - status.written_monotonic_s
    if not this_boot or age_s < 0:
        age_s = max(time.time() - status.written_unix_s, 0.0)
    return Found(
        path,
        status,
        age_s=age_s,
        alive=this_boot and _runs(status.process, proc),
        supervised=this_boot and status.supervisor is not None and _runs(status.supervisor, proc),
    )


def mark_of(pid: int, proc: Path = _PROC) -> ProcessMark | None:
    """Which process has that number now; None where none runs. Field 22 of /proc/PID/stat (proc(5)) is its start."""
    try:
        text = (proc / str(pid) / "stat").read_bytes().decode("ascii", "replace")
        state, *fields = text.rpartition(")")[2].split()
        return None if state in "ZXx" else ProcessMark(pid, int(fields[18]))
    except (OSError, ValueError, IndexError):
        return None


def boot_id(proc: Path = _PROC) -> str:
    """Of this boot of the machine, "" where the kernel does not say."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return ""


def _runs(mark: ProcessMark, proc: Path) -> bool:
    return mark_of(mark.pid, proc) == mark


def _rank(found: Found) -> tuple[bool, bool, bool, float]:
    readable = found.status is not None
    return found.alive, found.supervised, readable, -math.inf if found.age_s is None else -found.age_s


def _text(path: Path) -> str:
    # A pipe under that name must not hold up who looks; nor may a link lead to what is not ours.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    return data.decode()


def _check_format(plain: object) -> None:
    """Before anything else is looked at: another version's has other fields."""
    if not isinstance(plain, dict):
        raise ValueError("it is not an object")
    if plain.get("format") != FORMAT:
        raise ValueError(
            f"it has format {plain.get('format')!r}, of nervehand {plain.get('version')!r}, this is {FORMAT}, of "
            f"nervehand {nervehand.__version__}"
        )


def _check_values(plain: object) -> None:
    """Nothing that could not be counted, measured or printed."""
    if isinstance(plain, dict):
        for name, one in plain.items():
            _check_values(name)
            _check_values(one)
    elif isinstance(plain, list):
        for one in plain:
            _check_values(one)
    elif isinstance(plain, str):
        plain.encode()
    elif isinstance(plain, int | float) and not -_MOST < plain < _MOST:
        raise ValueError(f"it has the number {str(plain)[:20]}")


def _implausible(status: Status) -> str:
    for mark in (status.process, status.supervisor):
        if mark is not None and not 0 < mark.pid < 1 << 31:
            return f"{mark.pid} is no process"
    for stage, row in status.latency.items():
        if len(row.buckets) not in (0, len(BOUNDS_S)) or list(row.buckets) != sorted(row.buckets):
            return f"the buckets of {stage!r} do not add up"
    return ""


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a number of JSON")


def _finite(plain: object) -> object:
    """As JSON has it: what is not finite was not measured, and NumPy's numbers are numbers."""
    if isinstance(plain, Mapping):
        return {name: _finite(one) for name, one in plain.items()}
    if isinstance(plain, list):
        return [_finite(one) for one in plain]
    if isinstance(plain, np.generic):
        return _finite(plain.item())
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
