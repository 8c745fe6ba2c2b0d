"""A wheel that does not run on the target is found, whatever its name says."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from tests.aarch64 import elf
from tests.aarch64.libraries import library
from tests.aarch64.wheels import check, claimed, libraries, look, number

X86_64 = 62
NAME = "some-1-cp311-cp311-manylinux_2_27_aarch64.whl"
C, CXX, GCC = "libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"


def wheel(folder: Path, *contents: bytes, name: str = NAME) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for i, content in enumerate(contents):
            archive.writestr(f"some/_some{i}.so", content)
        archive.writestr("some/__init__.py", "")
        archive.writestr("some/no.so.txt", "text")
    return path


def aarch64(**wants: list[str]) -> bytes:
    return library(elf.AARCH64, {{"c": C, "cxx": CXX, "gcc": GCC}[file]: v for file, v in wants.items()})


def test_versions_are_compared_as_numbers() -> None:
    assert number("GLIBC_2.9") < number("GLIBC_2.17")
    assert number("GLIBCXX_3.4.22") == ("GLIBCXX", (3, 4, 22))
    assert number("GLIBC_PRIVATE") == ("GLIBC", ())


@pytest.mark.parametrize(
    ("name", "oldest"),
    [
        ("a-1-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl", (2, 17)),
        ("a-1-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", (2, 27)),
        ("a-1-py3-none-any.whl", None),
    ],
)
def test_a_name_promises_the_oldest_glibc_that_it_names(name: str, oldest: tuple[int, int] | None) -> None:
    assert claimed(name) == oldest


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (aarch64(c=["GLIBC_2.17", "GLIBC_2.27"], cxx=["GLIBCXX_3.4.25", "CXXABI_1.3.11"]), ""),
        (aarch64(c=["GLIBC_2.28", "GLIBC_2.9"]), "wants GLIBC 2.28"),
        (aarch64(c=["GLIBC_2.17"], cxx=["GLIBCXX_3.4.26"]), "wants GLIBCXX 3.4.26"),
        (aarch64(cxx=["CXXABI_1.3.12"]), "wants CXXABI 1.3.12"),
        (aarch64(gcc=["GCC_3.0", "GCC_12.0.0"]), "wants GCC 12.0.0"),
        (aarch64(c=["GLIBC_2.17"], gcc=["GLIBC_2.99"]), ""),
        (library(X86_64, {C: ["GLIBC_2.17"]}), "holds some/_some0.so for another processor"),
        (library(elf.AARCH64, {"libssl.so.3": []}), "wants libssl.so.3, which is not in it"),
    ],
)
def test_what_the_target_has_not_is_named(tmp_path: Path, content: bytes, wrong: str) -> None:
    path = wheel(tmp_path, content)
    assert list(libraries(path)) == ["some/_some0.so"]
    found = check("jetson-nano", tmp_path)
    assert [re.sub(r"; .*", "", line).removeprefix(f"{NAME} ") for line in found if wrong in line] == (
        [wrong] if wrong else found
    )
    assert bool(found) == bool(wrong)


def test_a_newer_target_takes_more(tmp_path: Path) -> None:
    path = wheel(tmp_path, aarch64(c=["GLIBC_2.34"]), name=NAME.replace("2_27", "2_34"))
    assert look(path, "orin").wrong == ()
    assert len(look(path, "jetson-nano").wrong) == 1


@pytest.mark.parametrize("promise", ["manylinux_2_17_aarch64", "any"])
def test_a_name_that_promises_more_than_the_libraries_keep_is_a_lie(tmp_path: Path, promise: str) -> None:
    path = wheel(tmp_path, aarch64(c=["GLIBC_2.27"]), name=f"some-1-cp311-cp311-{promise}.whl")
    [line] = look(path, "jetson-nano").wrong
    assert "its name promises glibc" in line


def test_what_a_wheel_brings_along_is_not_asked_of_the_system(tmp_path: Path) -> None:
    theirs = library(elf.AARCH64, {C: ["GLIBC_2.17"]}, "libown-1.so.5")
    path = wheel(tmp_path, theirs, library(elf.AARCH64, {"libown-1.so.5": ["OWN_1"], "_some0.so": []}))
    found = look(path, "jetson-nano")
    assert (found.outside, found.wrong, found.n_libraries) == ({C}, (), 2)


def test_only_the_named_wheel_may_ask_for_more_of_the_system(tmp_path: Path) -> None:
    content = library(elf.AARCH64, {"libatomic.so.1": []})
    tail = "-1-py3-none-manylinux_2_17_aarch64.whl"
    assert look(wheel(tmp_path, content, name=f"libusb_package{tail}"), "jetson-nano").wrong == ()
    assert len(look(wheel(tmp_path, content, name=f"other{tail}"), "jetson-nano").wrong) == 1


def test_a_wheel_without_libraries_runs_anywhere(tmp_path: Path) -> None:
    path = wheel(tmp_path, name="some-1-py3-none-any.whl")
    assert look(path, "jetson-nano").wrong == ()
