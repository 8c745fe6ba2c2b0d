"""What a traced program did to the files of one folder (shim.c), and what a power cut may leave of it.

The model, for each file: all that was written before its last sync that returned is there. Of what came later, each
sector of 512 bytes is in any of the states that it went through since, and so is the file's size; what lies between is
zeros. For the folder: of the names made, changed and removed since its own last sync, any are. A sector is what disks
promise to write whole; a page of 4 KiB, the least that Linux writes, would be kinder.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
SHIM = Path(__file__).with_name("shim.c")
MARKERS = "said"
"""A file of the folder into which the traced program writes what it may rely on from then on; in no image."""
_RECORD = struct.Struct("=cQqIII")


@dataclass(frozen=True, slots=True)
class Operation:
    """One record of shim.c."""

    kind: str
    inode: int
    offset: int
    name: str
    other: str
    content: bytes


def compiled(folder: Path) -> Path | None:
    """The shim as a library; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


def traced(command: Sequence[str], library: Path, folder: Path, log: Path) -> list[Operation]:
    """What the command, and what it starts, does to the files of `folder`."""
    more = {"LD_PRELOAD": str(library), "NH_TRACE": str(log), "NH_FOLDER": str(folder), "PYTHONPATH": "."}
    subprocess.run(list(command), check=True, env={**os.environ, **more}, timeout=300)
    return read(log)


def read(log: Path) -> list[Operation]:
    """The operations of a log, in their order."""
    raw, at, found = log.read_bytes(), 0, []
    while at < len(raw):
        kind, inode, offset, *lengths = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        parts = []
        for length in lengths:
            parts.append(raw[at : at + length])
            at += length
        found.append(Operation(kind.decode(), inode, offset, parts[0].decode(), parts[1].decode(), parts[2]))
    return found


@dataclass(slots=True)
class _File:
    """A file's content as it was synced, as it is now, and for each sector what it went through since."""

    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    sizes: list[int] = field(default_factory=list)
    sectors: dict[int, list[tuple[bytes, int]]] = field(default_factory=dict)  # and the bytes of the write

    def write(self, offset: int, content: bytes) -> None:
        end = offset + len(content)
        if end > len(self.now):
            self.now.extend(bytes(end - len(self.now)))
            self.sizes.append(end)
        self.now[offset:end] = content
        for number in range(offset // SECTOR, -(-end // SECTOR)):
            whole = bytes(self.now[number * SECTOR : (number + 1) * SECTOR]).ljust(SECTOR, b"\0")
            self.sectors.setdefault(number, []).append((whole, len(content)))

    def resize(self, size: int) -> None:
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))
        self.sizes.append(size)

    def sync(self) -> None:
        self.synced = bytes(self.now)
        self.sizes.clear()
        self.sectors.clear()

    def left(self, keeps: Callable[[int], bool], chance: random.Random) -> bytes:
        """What is on the disk; `keeps` says of a write of so many bytes to a sector whether it reached it."""
        size = chance.choice([len(self.synced), *self.sizes])
        content = bytearray(self.synced)
        content.extend(
            bytes(max(max([size, *self.sizes]), (max(self.sectors, default=-1) + 1) * SECTOR) - len(content))
        )
        for number, states in self.sectors.items():
            reached = [whole for whole, n in states if keeps(n)]
            if reached:
                content[number * SECTOR : (number + 1) * SECTOR] = reached[-1]
        return bytes(content[:size])


class Disk:
    """Goes through a trace, and can be cut off after any of its operations."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._number: dict[int, int] = {}  # of the file that has an inode now: inodes are used again
        self._names: dict[str, int] = {}
        self._changes: list[dict[str, int | None]] = []  # of names, since the folder's last sync
        self._synced_names: dict[str, int] = {}
        self._markers = -2
        self.said: list[str] = []
        """What the program relied on so far."""

    def do(self, operation: Operation) -> None:
        """Go on by one operation."""
        o = operation
        if o.kind == "C":
            self._number[o.inode] = len(self._files)
            self._files[len(self._files)] = _File()
        number = self._number.get(o.inode, -1)
        if o.kind == "W" and number == self._markers:
            self.said += o.content.decode().splitlines()
            return
        match o.kind:
            case "C" if o.name == MARKERS:
                self._markers = number
            case "C" | "L":
                self._change({o.name: number})
            case "R":
                self._change({o.other: number} | ({o.name: None} if o.name else {}))
            case "U":
                self._change({o.name: None})
            case "W":
                self._files[number].write(o.offset, o.content)
            case "T":
                self._files[number].resize(o.offset)
            case "S":
                self._files[number].sync()
            case "D":
                self._synced_names = dict(self._names)
                self._changes.clear()

    def present(self) -> dict[str, bytes]:
        """The folder as programs see it."""
        return {name: bytes(self._files[inode].now) for name, inode in self._names.items()}

    def cut(self, chance: random.Random) -> dict[str, bytes]:
        """The folder as a power cut may leave it here."""
        keeps = _choice(chance)
        names = dict(self._synced_names)
        share = chance.choice([0.0, 0.5, 1.0])
        for change in self._changes:
            if chance.random() < share:
                _apply(names, change)
        return {name: self._files[inode].left(keeps, chance) for name, inode in names.items()}

    def _change(self, change: dict[str, int | None]) -> None:
        _apply(self._names, change)
        self._changes.append(change)


def _apply(names: dict[str, int], change: dict[str, int | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _choice(chance: random.Random) -> Callable[[int], bool]:
    """Which writes reach the disk: of all or of some kinds few, half, most, all or none."""
    small, large = (chance.choice([0.0, 0.05, 0.5, 0.95, 1.0]) for _ in range(2))
    limit = chance.choice([100, SECTOR + 1, 5000])
    return lambda n: chance.random() < (small if n < limit else large)


def images(
    operations: Sequence[Operation], n: int, seed: int, *, first: int = 0
) -> list[tuple[int, list[str], dict[str, bytes]]]:
    """`n` cuts: after how many operations, what the program relied on by then, and the folder that is left."""
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(first, len(operations) + 1) for _ in range(n))
    disk, found, done = Disk(), [], 0
    for cut in cuts:
        for operation in operations[done:cut]:
            disk.do(operation)
        done = cut
        found.append((cut, list(disk.said), disk.cut(chance)))
    return found
