"""What a shared library asks of others, read as the dynamic loader reads it: from its dynamic section.

System V ABI, "Program Header" and "Dynamic Section"; versions after the Linux Standard Base Core, "Symbol Versioning".
64-bit little-endian files only, as aarch64's and x86-64's are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

AARCH64 = 183
"""e_machine (System V ABI for the Arm 64-bit architecture)."""

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME = 0, 1, 5, 14
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_HEADER_BYTES = 64


@dataclass(frozen=True, slots=True)
class Library:
    """A processor's number, the libraries that must be there, and which versions of their symbols.

    `versions` holds pairs such as ("libc.so.6", "GLIBC_2.17"). A version belongs to its library: libgcc_s has
    symbols of version GLIBC_2.0 too, for it once was glibc that had them.
    """

    machine: int
    name: str
    needed: tuple[str, ...]
    versions: frozenset[tuple[str, str]]


def is_elf(data: bytes) -> bool:
    return data[:4] == b"\x7fELF"


def read(elf: bytes) -> Library:
    """ValueError where the bytes are no 64-bit little-endian ELF file, or one that ends too early."""
    if elf[:6] != b"\x7fELF\x02\x01" or len(elf) < _HEADER_BYTES:
        raise ValueError(f"begins with {elf[:6]!r}: no 64-bit little-endian ELF file")
    try:
        return _read(elf)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged ELF file: {error}") from None


def _read(elf: bytes) -> Library:
    (machine,) = struct.unpack_from("<H", elf, 0x12)
    (table_at,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    headers = [struct.unpack_from("<IIQQQQQQ", elf, table_at + i * size) for i in range(count)]
    segments = [(virtual, at, length) for kind, _, at, virtual, _, length, *_ in headers if kind == _PT_LOAD]
    entries = [entry for kind, _, at, *_ in headers if kind == _PT_DYNAMIC for entry in _entries(elf, at)]
    values = dict(entries)
    if not entries:
        return Library(machine, "", (), frozenset())
    names_at = _offset(segments, values[_DT_STRTAB])
    needed = tuple(_text(elf, names_at + value) for tag, value in entries if tag == _DT_NEEDED)
    name = _text(elf, names_at + values[_DT_SONAME]) if _DT_SONAME in values else ""
    versions: set[tuple[str, str]] = set()
    if _DT_VERNEED in values:
        at = _offset(segments, values[_DT_VERNEED])
        for _ in range(values[_DT_VERNEEDNUM]):
            _, n_versions, file, first, following = struct.unpack_from("<HHIII", elf, at)
            version_at = at + first
            for _ in range(n_versions):
                _, _, _, version, after = struct.unpack_from("<IHHII", elf, version_at)
                versions.add((_text(elf, names_at + file), _text(elf, names_at + version)))
                version_at += after
            at += following
    return Library(machine, name, needed, frozenset(versions))


def _entries(elf: bytes, at: int) -> list[tuple[int, int]]:
    """The dynamic section's tags and values, up to its end mark."""
    found: list[tuple[int, int]] = []
    while not found or found[-1][0] != _DT_NULL:
        found.append(struct.unpack_from("<QQ", elf, at + 16 * len(found)))
    return found[:-1]


def _offset(segments: list[tuple[int, int, int]], virtual: int) -> int:
    """Where in the file an address of the loaded library lies."""
    for begin, at, length in segments:
        if begin <= virtual < begin + length:
            return at + virtual - begin
    raise IndexError(f"address {virtual:#x} is in no segment")


def _text(elf: bytes, at: int) -> str:
    end = elf.find(b"\0", at)
    if end < 0:
        raise IndexError(f"the name at {at} has no end")
    return elf[at:end].decode()
