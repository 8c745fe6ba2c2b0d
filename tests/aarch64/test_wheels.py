"""What a library wants of the C library is read from the library itself."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.aarch64 import wheels
from tests.aarch64.wheels import check, libraries, machine_of, needed_versions, newest

LIBRARY = Path(np._core._multiarray_umath.__file__)


def test_the_versions_that_numpy_wants_here_are_found() -> None:
    found = needed_versions(LIBRARY.read_bytes())
    assert newest(found, "GLIBC") >= (2, 4)
    assert all("_" in version and version.isprintable() for version in found)


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
def test_they_are_those_that_readelf_finds() -> None:
    said = subprocess.run(
        ["readelf", "--version-info", "-W", LIBRARY], capture_output=True, text=True, check=True
    ).stdout
    theirs = {
        line.split("Name: ")[1].split()[0]
        for line in said.splitlines()
        if "Name: " in line and "Flags" in line
    }
    assert needed_versions(LIBRARY.read_bytes()) == theirs


def test_what_is_no_library_of_that_kind_is_refused() -> None:
    for data in (b"", b"MZ\x90", b"\x7fELF\x01\x01" + bytes(60)):
        with pytest.raises(ValueError, match="no 64-bit little-endian ELF file"):
            needed_versions(data)


def test_versions_are_ordered_by_their_numbers() -> None:
    versions = {"GLIBC_2.9", "GLIBC_2.17", "GLIBC_PRIVATE", "GLIBCXX_3.4.22", "GLIBCXX_3.4"}
    assert newest(versions, "GLIBC") == (2, 17)
    assert newest(versions, "GLIBCXX") == (3, 4, 22)
    assert newest(set(), "GLIBC") == ()


def library(machine: int, version: str) -> bytes:
    """A library of three sections, which wants one version of one other."""
    names = b"\0" + version.encode() + b"\0"
    need = struct.pack("<HHIII", 1, 1, 0, 16, 0) + struct.pack("<IHHII", 0, 0, 2, 1, 0)
    at = 64
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQ", 3, machine, 1, 0, 0, at + len(names) + len(need))
    )
    header += struct.pack("<IHHHHHH", 0, 64, 0, 0, 64, 3, 0)
    sections = struct.pack("<IIQQQQIIQQ", *[0] * 10)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at, len(names), 0, 0, 1, 0)
    sections += struct.pack(
        "<IIQQQQIIQQ", 0, wheels.SHT_GNU_VERNEED, 0, 0, at + len(names), len(need), 1, 1, 8, 0
    )
    return header + names + need + sections


@pytest.mark.parametrize(
    ("machine", "version", "wrong"),
    [
        (wheels.AARCH64, "GLIBC_2.27", ""),
        (wheels.AARCH64, "GLIBC_2.28", r"wants GLIBC \(2, 28\)"),
        (wheels.AARCH64, "GLIBCXX_3.4.26", r"GLIBCXX \(3, 4, 26\)"),
        (62, "GLIBC_2.17", "another processor"),
    ],
)
def test_a_wheel_that_does_not_fit_is_named_whatever_its_tag_says(
    tmp_path: Path, machine: int, version: str, wrong: str
) -> None:
    made = library(machine, version)
    assert needed_versions(made) == {version}
    assert machine_of(made) == machine
    path = tmp_path / "some-1-cp311-cp311-manylinux_2_17_aarch64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some/_some.so", made)
        archive.writestr("some/__init__.py", "")
        archive.writestr("some/no.so.txt", "text")
    assert list(libraries(path)) == ["some/_some.so"]
    found = check("jetson-nano", tmp_path)
    if not wrong:
        assert found == []
    else:
        [line] = found
        assert re.search(wrong, line)
