"""What a library asks of others is read from the library itself, as the loader reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aarch64 import elf
from tests.aarch64.libraries import library

LIBRARY = Path(np._core._multiarray_umath.__file__)
X86_64 = 62

names = st.text("abcdefghijklmnopqrstuvwxyz-._0123456789", min_size=1, max_size=12)


@given(wants=st.dictionaries(names, st.lists(names, unique=True, max_size=4), max_size=4), name=names)
def test_all_that_is_wanted_is_found(wants: dict[str, list[str]], name: str) -> None:
    found = elf.read(library(elf.AARCH64, wants, name))
    pairs = {(file, version) for file, versions in wants.items() for version in versions}
    assert found == elf.Library(elf.AARCH64, name, tuple(wants), frozenset(pairs))


def libraries_here() -> list[Path]:
    """Those of NumPy that is installed here: its own, and what its wheel brings along."""
    beside = LIBRARY.parents[2] / "numpy.libs"
    return [LIBRARY, *sorted(beside.glob("*.so*"))]


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
@pytest.mark.parametrize("path", libraries_here(), ids=lambda path: path.name.split("-")[0])
def test_it_is_what_readelf_finds(path: Path) -> None:
    words = ["readelf", "--dynamic", "--version-info", "--wide", str(path)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    versions, file = set(), ""
    _, _, wanted = said.partition("Version needs section")
    for line in wanted.splitlines():
        if match := re.search(r" File: (\S+)", line):
            file = match[1]
        elif match := re.search(r" Name: (\S+)", line):
            versions.add((file, match[1]))
    found = elf.read(path.read_bytes())
    assert found.versions == versions
    assert len(versions) > 2
    assert found.needed == tuple(re.findall(r"\(NEEDED\).*\[(.*)\]", said))
    assert [found.name] == (re.findall(r"\(SONAME\).*\[(.*)\]", said) or [""])


def test_a_program_that_wants_nothing_says_so() -> None:
    assert elf.read(library(X86_64, {})) == elf.Library(X86_64, "", (), frozenset())


@pytest.mark.parametrize("data", [b"", b"MZ\x90", b"\x7fELF\x01\x01" + bytes(60), b"\x7fELF\x02\x01"])
def test_what_is_no_library_of_that_kind_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no 64-bit little-endian ELF file"):
        elf.read(data)


def test_a_library_that_is_cut_off_is_refused_wherever_it_ends() -> None:
    whole = library(elf.AARCH64, {"libc.so.6": ["GLIBC_2.17"]}, "it.so")
    for end in range(len(whole) - 16):  # the last 16 bytes are the end mark itself
        with pytest.raises(ValueError, match="ELF file"):
            elf.read(whole[:end])
