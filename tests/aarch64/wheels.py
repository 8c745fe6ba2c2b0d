"""Do the wheels of a list run on the target's C library? Read from the wheels: `python -m tests.aarch64.wheels`.

pip fetches what nervehand/targets/<target>.txt names, each file by its SHA-256; then every library in them is asked for
its processor, for the libraries that it wants outside of its wheel, and for the versions of these libraries' symbols.
A wheel's name may say less than it needs; that is found too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename

from tests.aarch64 import elf
from tests.aarch64.lock import FOLDER, PYTHON, TARGETS, platforms

Version = tuple[int, ...]

GLIBC = {
    *("ld-linux-aarch64.so.1", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2"),
    *("librt.so.1", "libutil.so.1"),
}
CXX, GCC, ZLIB = "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1"
NEWEST: dict[str, dict[str, Version]] = {
    "jetson-nano": {"GLIBCXX": (3, 4, 25), "CXXABI": (1, 3, 11), "GCC": (7, 0, 0), "ZLIB": (1, 2, 9)},
    "orin": {"GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0), "ZLIB": (1, 2, 12)},
}
"""Of libstdc++, libgcc_s (GCC 8 and 12: GCC's manual, "ABI Policy and Guidelines"; libgcc's version scripts) and zlib
(1.2.11: zlib.map) of Ubuntu 18.04 and 22.04."""

ASKED_FOR = {
    ("libusb_package", "libatomic.so.1"): "libatomic1: for a Bluetooth adapter that Bumble drives over USB",
    (
        "numba",
        "libgomp.so.1.0.0",
    ): "libgomp1: only where kernels run in parallel by OpenMP, as none here does",
}
"""What a wheel wants of the system beyond glibc, libstdc++, libgcc_s and zlib: the package that has it, what for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A wheel's libraries: the newest version wanted of each kind, and where they are from outside of the wheel."""

    wheel: str
    n_libraries: int
    newest: dict[str, Version]
    outside: frozenset[str]
    wrong: tuple[str, ...]


def number(version: str) -> tuple[str, Version]:
    """ "GLIBC_2.17" as ("GLIBC", (2, 17)); (.., ()) where there is no number, as in GLIBC_PRIVATE."""
    kind, _, text = version.partition("_")
    parts = text.split(".")
    return kind, tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


def libraries(wheel: Path) -> dict[str, bytes]:
    """The shared libraries in a wheel, by their names."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if ".so" in Path(name).name}
    return {name: content for name, content in contents.items() if elf.is_elf(content)}


def claimed(wheel: str) -> Version | None:
    """The oldest glibc that a wheel's name promises to run on; None where it promises any machine (or musl)."""
    found = []
    for tag in parse_wheel_filename(wheel)[3]:
        if tag.platform.startswith("manylinux2014_"):
            found.append((2, 17))
        elif tag.platform.startswith("manylinux_"):
            _, major, minor, _ = tag.platform.split("_", 3)
            found.append((int(major), int(minor)))
    return min(found, default=None)


def look(wheel: Path, target: str) -> Found:
    """What a wheel wants, and what of it the target has not."""
    limits = {"GLIBC": (2, TARGETS[target].glibc_minor), **NEWEST[target]}
    contents = libraries(wheel)
    read = {name: elf.read(content) for name, content in contents.items()}
    bundled = {Path(name).name for name in read} | {library.name for library in read.values()}
    outside = {needed for library in read.values() for needed in library.needed} - bundled
    newest: dict[str, Version] = {}
    for file, version in sorted({pair for library in read.values() for pair in library.versions}):
        kind, value = number(version)
        own = GLIBC if kind == "GLIBC" else {CXX} if kind in ("GLIBCXX", "CXXABI") else {GCC, ZLIB}
        if file in own and kind in limits:
            newest[kind] = max(newest.get(kind, ()), value)
    package = wheel.name.split("-")[0]
    wrong = [f"wants {kind} {dotted(v)}" for kind, v in newest.items() if v > limits[kind]]
    known = {*GLIBC, CXX, GCC, ZLIB, *(file for name, file in ASKED_FOR if name == package)}
    wrong += [f"wants {file}, which is not in it" for file in sorted(outside - known)]
    wrong += [
        f"holds {name} for another processor" for name, lib in read.items() if lib.machine != elf.AARCH64
    ]
    if read and (promised := claimed(wheel.name) or (0,)) < newest.get("GLIBC", ()):
        wrong.append(f"its name promises glibc {dotted(promised)}, it wants {dotted(newest['GLIBC'])}")
    return Found(wheel.name, len(read), newest, frozenset(outside), tuple(f"{wheel.name} {w}" for w in wrong))


def dotted(version: Version) -> str:
    return ".".join(map(str, version)) or "-"


def fetch(target: str, folder: Path) -> None:
    """Download the wheels of a target's list, each checked against its SHA-256."""
    tags = [word for tag in platforms(TARGETS[target].glibc_minor) for word in ("--platform", tag)]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes",
            "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *abis, *tags,
            "-d", str(folder), "-r", str(FOLDER / f"{target}.txt"),
        ],
        check=True,
    )  # fmt: skip


def check(target: str, folder: Path) -> list[str]:
    """What does not fit, one line each; prints what each wheel wants."""
    found = [look(wheel, target) for wheel in sorted(folder.glob("*.whl"))]
    kinds = ("GLIBC", "GLIBCXX", "CXXABI", "GCC")
    print(f"{'wheel':34}{'libraries':>9}  " + "".join(f"{kind:9}" for kind in kinds) + "promised")
    for one in found:
        if one.n_libraries:
            name = "-".join(one.wheel.split("-")[:2])
            row = "".join(f"{dotted(one.newest.get(kind, ())):9}" for kind in kinds)
            print(f"{name:34}{one.n_libraries:9}  {row}{dotted(claimed(one.wheel) or ())}")
    for one in found:
        for (package, file), why in ASKED_FOR.items():
            if one.wheel.split("-")[0] == package and file in one.outside:
                print(f"{package} wants {file} of the system's {why}")
    return [line for one in found for line in one.wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="wheels that are there already")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS), default="jetson-nano")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        folder = arguments.folder or Path(room)
        if arguments.folder is None:
            fetch(arguments.target, folder)
        n_wheels = len(list(folder.glob("*.whl")))
        wrong = check(arguments.target, folder)
    print("\n".join(wrong) or f"{n_wheels} wheels fit {arguments.target}")
    return 1 if wrong or not n_wheels else 0


if __name__ == "__main__":
    sys.exit(main())
