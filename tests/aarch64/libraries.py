"""Small ELF files, made of what a test is about."""

from __future__ import annotations

import struct

HEADERS, ENTRY = 56, 16
DT_STRTAB, DT_SONAME, DT_VERNEED, DT_VERNEEDNUM = 5, 14, 0x6FFFFFFE, 0x6FFFFFFF
LOADED_AT = 0x10000


def library(machine: int, wants: dict[str, list[str]], name: str = "") -> bytes:
    """A library named `name` that wants versions of the symbols of others; it is loaded at another address than its
    place in the file, as libraries are."""
    names = b"\0"
    at: dict[str, int] = {}
    for text in (name, *wants, *(version for versions in wants.values() for version in versions)):
        at[text] = len(names)
        names += text.encode() + b"\0"
    needs = b""
    versioned = {file: versions for file, versions in wants.items() if versions}
    for i, (file, versions) in enumerate(versioned.items()):
        following = 0 if i == len(versioned) - 1 else 16 + 16 * len(versions)
        needs += struct.pack("<HHIII", 1, len(versions), at[file], 16, following)
        for j, version in enumerate(versions):
            needs += struct.pack("<IHHII", 0, 0, 2, at[version], 0 if j == len(versions) - 1 else 16)
    names_at = 64 + 2 * HEADERS
    needs_at = names_at + len(names)
    entries = [(1, at[file]) for file in wants] + [(DT_STRTAB, LOADED_AT + names_at)]
    entries += [(DT_SONAME, at[name])] if name else []
    if needs:
        entries += [(DT_VERNEED, LOADED_AT + needs_at), (DT_VERNEEDNUM, len(versioned))]
    dynamic_at = needs_at + len(needs)
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in [*entries, (0, 0)])
    whole = dynamic_at + len(dynamic)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 3, machine, 1, 0, 64, 0)
    header += struct.pack("<IHHHHHH", 0, 64, HEADERS, 2, 0, 0, 0)
    segments = struct.pack("<IIQQQQQQ", 1, 4, 0, LOADED_AT, LOADED_AT, whole, whole, 0x1000)
    segments += struct.pack(
        "<IIQQQQQQ", 2, 4, dynamic_at, LOADED_AT + dynamic_at, 0, len(dynamic), len(dynamic), 8
    )
    return header + segments + names + needs + dynamic
