"""The file of a bundle: a ZIP archive to everybody, and in one spelling only to us."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nervehand
from decoder.bundle import pack, read_bundle
from decoder.bundle_archive import archived, members_in
from firmware_bridge.errors import NervehandError
from tests.decoder.archives import sealed, zipped

MEMBERS = {"manifest.json": b"{}", "step.onnx": b"graph" * 9, "arrays/a.npy": b"a", "arrays/b.npy": b"bb"}
DEMO = Path(nervehand.__file__).parent / "bundles" / "demo.nhb"

names = st.text("abcXYZ019._/-", min_size=1, max_size=20)


@given(st.dictionaries(names, st.binary(max_size=60), max_size=6))
def test_it_is_what_earlier_versions_wrote_and_comes_back_whole(members: dict[str, bytes]) -> None:
    data = archived(members)
    in_order, sha256 = members_in(data)
    assert data == zipped(list(in_order.items()))
    assert in_order == members
    assert sha256 == data[-64:].decode()


def test_a_decoder_from_before_signatures_is_the_same_bytes_again() -> None:
    assert pack(read_bundle(DEMO)) == DEMO.read_bytes()


def test_any_unzip_program_lists_it() -> None:
    with zipfile.ZipFile(io.BytesIO(archived(MEMBERS))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(MEMBERS)


def test_the_manifest_is_first_and_the_signature_last() -> None:
    found, _ = members_in(archived({"signature.json": b"", "zz": b"", "aa": b"", "manifest.json": b"{}"}))
    assert list(found) == ["manifest.json", "aa", "zz", "signature.json"]


def test_a_member_that_is_there_twice_is_named() -> None:
    with pytest.raises(NervehandError, match=r"holds step\.onnx twice"):
        members_in(zipped([*MEMBERS.items(), ("step.onnx", b"evil")]))


def on_windows(info: zipfile.ZipInfo) -> None:
    info.create_system = 0


def test_one_that_was_written_on_windows_is_read_unless_it_is_signed() -> None:
    assert members_in(zipped(list(MEMBERS.items()), on_windows))[0] == MEMBERS
    with pytest.raises(NervehandError, match="no decoder bundle"):
        members_in(zipped([*MEMBERS.items(), ("signature.json", b"{}")], on_windows))


def test_members_of_names_that_are_not_known_are_kept_for_later_versions() -> None:
    more = MEMBERS | {"notes.txt": b"hello"}
    assert members_in(archived(more))[0] == more


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_though_the_checksum_was_made_to_fit(data: st.DataObject) -> None:
    whole = archived(MEMBERS)
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 65))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NervehandError):
        members_in(sealed(bytes(changed)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_stretch_cut_out_moved_or_doubled_is_refused(data: st.DataObject) -> None:
    whole = archived(MEMBERS)
    end = len(whole) - 64
    a, b = sorted((data.draw(st.integers(0, end)), data.draw(st.integers(0, end))))
    rest = whole[:end] if data.draw(st.booleans()) else whole[:a] + whole[b:end]
    at = data.draw(st.integers(0, len(rest)))
    changed = rest[:at] + data.draw(st.sampled_from((whole[a:b], b"", b"PK\x05\x06" + bytes(18)))) + rest[at:]
    if changed == whole[:end]:
        return
    with pytest.raises(NervehandError):
        members_in(sealed(changed + bytes(64)))


def local(data: bytes, k: int) -> int:
    """Where the k-th local header begins."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.infolist()[k].header_offset


def directory(data: bytes) -> int:
    """Where the directory begins."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.start_dir


def shifted(data: bytes, at: int, hidden: bytes) -> bytes:
    """Bytes put in at `at`, and every offset behind it mended: a ZIP archive without a fault."""
    begin = directory(data)
    out = bytearray(data[:at] + hidden + data[at:])
    entry = begin + len(hidden)
    while out[entry : entry + 4] == b"PK\x01\x02":
        (offset,) = struct.unpack_from("<L", out, entry + 42)
        struct.pack_into("<L", out, entry + 42, offset + len(hidden) if offset >= at else offset)
        entry += 46 + sum(struct.unpack_from("<3H", out, entry + 28))
    struct.pack_into("<L", out, entry + 16, begin + len(hidden))
    return sealed(bytes(out))


def hidden_member() -> bytes:
    """A member in front of the first that the directory does not know."""
    member = archived({"manifest.json": b'{"evil": 1}'})
    return shifted(archived(MEMBERS), 0, member[: directory(member)])


def another_directory() -> bytes:
    """The directory says of one content that it is the other's."""
    data = bytearray(archived({"arrays/a.npy": b"one", "arrays/b.npy": b"two"}))
    first, second = (struct.pack("<L", local(bytes(data), k)) for k in (0, 1))
    begin = directory(bytes(data))
    data[begin + 42 : begin + 46] = second
    data[begin + 58 + 42 : begin + 58 + 46] = first
    return sealed(bytes(data))


def with_extra(info: zipfile.ZipInfo) -> None:
    info.extra = struct.pack("<2H4s", 0x9999, 4, b"evil")


def with_date(info: zipfile.ZipInfo) -> None:
    info.date_time = (2026, 1, 2, 3, 4, 6)


def compressed(info: zipfile.ZipInfo) -> None:
    info.compress_type = zipfile.ZIP_DEFLATED


def with_comment(info: zipfile.ZipInfo) -> None:
    info.comment = b"evil"


PAIRS = list(MEMBERS.items())
TRICKS: dict[str, Callable[[], bytes]] = {
    "one name twice": lambda: zipped([*PAIRS, ("step.onnx", b"evil")]),
    "one name twice, first": lambda: zipped([("step.onnx", b"evil"), *PAIRS]),
    "another order": lambda: zipped(PAIRS[::-1]),
    "the signature not last": lambda: zipped([("signature.json", b"{}"), *PAIRS]),
    "a date": lambda: zipped(PAIRS, with_date),
    "an extra field": lambda: zipped(PAIRS, with_extra),
    "a comment of a member": lambda: zipped(PAIRS, with_comment),
    "compressed": lambda: zipped(PAIRS, compressed),
    "something in front, offsets mended": lambda: shifted(archived(MEMBERS), 0, b"evil"),
    "something in front, offsets not mended": lambda: sealed(b"evil" + archived(MEMBERS)),
    "a member that the directory hides": hidden_member,
    "something between members": lambda: shifted(archived(MEMBERS), local(archived(MEMBERS), 2), b"evil"),
    "something before the directory": lambda: shifted(
        archived(MEMBERS), directory(archived(MEMBERS)), b"evil"
    ),
    "a directory that swaps two members": another_directory,
    "a name that ends early": lambda: zipped([*PAIRS, ("notes.txtx", b"")]).replace(b"txtx", b"txt\0"),
    "a name that climbs out in other letters": lambda: zipped([*PAIRS, ("arrays\\é", b"")]),
    "a file behind a file": lambda: sealed(archived({"step.onnx": b"evil"}) + archived(MEMBERS)),
    "nothing but the seal": lambda: sealed(b"nervehand-bundle-sha256:" + bytes(64)),
    "very many members": lambda: archived({f"m{k}": b"" for k in range(1001)}),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_what_two_readers_of_zip_could_read_differently_is_refused(trick: str) -> None:
    data = TRICKS[trick]()
    with pytest.raises(NervehandError, match=r"no decoder bundle|holds more than") as caught:
        members_in(sealed(data))
    assert "\n" not in str(caught.value)


def test_the_tricks_are_no_damage_python_s_own_reader_takes_most_of_them() -> None:
    taken = []
    for trick, make in TRICKS.items():
        try:
            with zipfile.ZipFile(io.BytesIO(make())) as archive:
                for info in archive.infolist():
                    archive.read(info)
        except zipfile.BadZipFile:
            continue
        taken.append(trick)
    assert len(taken) >= 14
