"""Do the wheels of a list run on the target's C library? Read from the wheels: `python -m tests.aarch64.wheels`.

pip fetches what nervehand/targets/<target>.txt names, each file by its SHA-256; then every library in them is asked
which versions of the C and C++ libraries' symbols it wants. A wheel's name may say less than it needs.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.aarch64.lock import FOLDER, PYTHON, TARGETS, platforms

SHT_GNU_VERNEED = 0x6FFFFFFE
AARCH64 = 183
NEWEST_GLIBCXX = {"jetson-nano": (3, 4, 25), "orin": (3, 4, 30)}
"""Of the libstdc++ of Ubuntu 18.04 (GCC 8) and 22.04 (GCC 12): the GCC manual, ABI policy and guidelines."""


def needed_versions(elf: bytes) -> set[str]:
    """The symbol versions that a library wants of others, as "GLIBC_2.17" (System V ABI; Linux Standard Base, 2.7).

    ValueError where the bytes are no 64-bit little-endian ELF file.
    """
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"begins with {elf[:6]!r}: no 64-bit little-endian ELF file")
    table_at, size, count = *struct.unpack_from("<Q", elf, 0x28), *struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table_at + i * size) for i in range(count)]
    found: set[str] = set()
    for _, kind, _, _, at, _, link, n_files, _, _ in sections:
        if kind != SHT_GNU_VERNEED:
            continue
        names_at = sections[link][4]
        for _ in range(n_files):
            _, n_versions, _, first, following = struct.unpack_from("<HHIII", elf, at)
            version_at = at + first
            for _ in range(n_versions):
                _, _, _, name, after = struct.unpack_from("<IHHII", elf, version_at)
                start = names_at + name
                found.add(elf[start : elf.index(b"\0", start)].decode())
                version_at += after
            at += following
    return found


def machine_of(elf: bytes) -> int:
    """The processor that a library is for."""
    number: int = struct.unpack_from("<H", elf, 0x12)[0]
    return number


def newest(versions: set[str], library: str) -> tuple[int, ...]:
    """The newest of a library's versions that are wanted; () where none is."""
    numbers = [v.removeprefix(f"{library}_") for v in versions if v.startswith(f"{library}_")]
    return max((tuple(map(int, n.split("."))) for n in numbers if n.replace(".", "").isdigit()), default=())


def libraries(wheel: Path) -> dict[str, bytes]:
    """The shared libraries in a wheel, by their names."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if ".so" in Path(name).name}
    return {name: content for name, content in contents.items() if content[:4] == b"\x7fELF"}


def fetch(target: str, folder: Path) -> None:
    """Download the wheels of a target's list, each checked against its SHA-256."""
    tags = [word for tag in platforms(TARGETS[target].glibc_minor) for word in ("--platform", tag)]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
            "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *abis, *tags,
            "-d", str(folder), "-r", str(FOLDER / f"{target}.txt"),
        ],
        check=True,
    )  # fmt: skip


def check(target: str, folder: Path) -> list[str]:
    """What does not fit, one line each; prints what each wheel wants."""
    glibc, glibcxx = (2, TARGETS[target].glibc_minor), NEWEST_GLIBCXX[target]
    wrong = []
    for wheel in sorted(folder.glob("*.whl")):
        found = libraries(wheel)
        wanted = set().union(*(needed_versions(content) for content in found.values()))
        newest_of = newest(wanted, "GLIBC"), newest(wanted, "GLIBCXX")
        if newest_of[0] > glibc or newest_of[1] > glibcxx:
            wrong.append(f"{wheel.name} wants GLIBC {newest_of[0]}, GLIBCXX {newest_of[1]}")
        if any(machine_of(content) != AARCH64 for content in found.values()):
            wrong.append(f"{wheel.name} holds a library for another processor")
        if found:
            c, cxx = (".".join(map(str, n)) or "-" for n in newest_of)
            print(f"{wheel.name.split('-')[0]:20} {len(found):4} libraries  GLIBC {c:6} GLIBCXX {cxx}")
    return wrong


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
