"""The file of a bundle: a ZIP archive that can be written in one way only, sealed with its SHA-256.

Any unzip program lists it, but nothing here trusts what a ZIP archive may be. A ZIP file names its members twice, in
front of each and in a directory at the end, and readers disagree about which of the two holds, which of two members of
one name counts, and what may lie before, between and behind them. So a file is read by walking from its first byte,
written again from what was found, and refused where that is not the same bytes: what was read is all that is there.

Layout (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16; little-endian), without a gap: for each member a local
header (30 bytes), its name (ASCII) and its content, stored; for each member a directory entry (46 bytes) and its name;
the end record (22 bytes); the comment, `nervehand-bundle-sha256:` and the SHA-256, in hex, of the whole file with those
64 digits as zeros. Dates are ZIP's first one, so that the same content is the same bytes. Members come in the order of
`ordered`: the manifest, the step graph, the others by name, the signature.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Mapping

from firmware_bridge.errors import NervehandError

MANIFEST = "manifest.json"
STEP_GRAPH = "step.onnx"
SIGNATURE = "signature.json"

_COMMENT = b"nervehand-bundle-sha256:"
_ZEROS = b"0" * 64
_LOCAL, _ENTRY, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s4B4H3L5H2L"), struct.Struct("<4s4H2LH")
_LOCAL_MARK, _ENTRY_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_ZIP_VERSION = 20
_EPOCH = (0, 33)  # time and date, MS-DOS: 1980-01-01 00:00
_UNIX, _WINDOWS = 3, 0
_PRIVATE = 0o600 << 16
_NAME = re.compile(rb"[A-Za-z0-9._/-]{1,200}")
_MOST_MEMBERS = 1000


def ordered(names: Iterable[str]) -> list[str]:
    """The names of members in the order in which a file has them."""
    first = {MANIFEST: 0, STEP_GRAPH: 1, SIGNATURE: 3}
    return sorted(names, key=lambda name: (first.get(name, 2), name))


def archived(members: Mapping[str, bytes]) -> bytes:
    """The file of these members, by name: the same members are the same bytes."""
    body = _unsealed(members, _UNIX)
    return body + hashlib.sha256(body + _ZEROS).hexdigest().encode()


def members_in(data: bytes) -> tuple[dict[str, bytes], str]:
    """The members in a file's bytes, by name, and its SHA-256 in hex.

    NervehandError where a byte was changed, or anything is there that `archived` would not write.
    """
    if data[-64 - len(_COMMENT) : -64] != _COMMENT:
        raise NervehandError("is not a decoder bundle, or is cut short: copy it again, or export it again")
    sealed = data[-64:].decode("ascii", "replace")
    found = hashlib.sha256(data[:-64] + _ZEROS).hexdigest()
    if sealed != found:
        raise NervehandError(
            f"was changed after it was written (SHA-256 {found[:12]}, not {sealed[:12]}): copy it again"
        )
    members = _walked(data)
    # Earlier versions wrote on Windows which system they ran on; what is signed has one spelling only.
    systems = (_UNIX,) if SIGNATURE in members else (_UNIX, _WINDOWS)
    if not any(_unsealed(members, system) == data[:-64] for system in systems):
        raise NervehandError(
            "holds an archive that no decoder bundle is (something hidden, compressed, twice or in another order): "
            "export it again"
        )
    return members, found


def _walked(data: bytes) -> dict[str, bytes]:
    """The members from the first byte on, as their local headers tell."""
    members: dict[str, bytes] = {}
    at = 0
    while data.startswith(_LOCAL_MARK, at) and len(data) - at > _LOCAL.size:
        *_, size, n_name, _ = _LOCAL.unpack_from(data, at)
        at += _LOCAL.size
        name = data[at : at + n_name]
        at += n_name
        if _NAME.fullmatch(name) is None:
            raise NervehandError(
                f"holds a member named {name[:40]!r}, as no decoder bundle does: export it again"
            )
        if name.decode() in members:
            raise NervehandError(
                f"holds {name.decode()[:40]} twice, as no decoder bundle does: export it again"
            )
        if len(members) == _MOST_MEMBERS:
            raise NervehandError(f"holds more than {_MOST_MEMBERS} members: is this the right file?")
        members[name.decode()] = data[at : at + size]
        at += size
    return members


def _unsealed(members: Mapping[str, bytes], system: int) -> bytes:
    """The file up to the digits of its SHA-256."""
    parts: list[bytes] = []
    entries: list[bytes] = []
    at = 0
    for name in ordered(members):
        content, label = members[name], name.encode("ascii")
        # Flags and method 0 (stored), then what both headers share: date, checksum, size packed and unpacked, lengths.
        shared = (0, 0, *_EPOCH, zlib.crc32(content), len(content), len(content), len(label), 0)
        head = _LOCAL.pack(_LOCAL_MARK, _ZIP_VERSION, *shared)
        entries += (
            _ENTRY.pack(_ENTRY_MARK, _ZIP_VERSION, system, _ZIP_VERSION, 0, *shared, 0, 0, 0, _PRIVATE, at),
            label,
        )
        parts += (head, label, content)
        at += len(head) + len(label) + len(content)
    directory = b"".join(entries)
    n = len(members)
    end = _END.pack(_END_MARK, 0, 0, n, n, len(directory), at, len(_COMMENT) + len(_ZEROS))
    return b"".join((*parts, directory, end, _COMMENT))
