"""A Debian of another processor in a folder, with Python 3.11 and nervehand's base install, run by QEMU.

The folder is `NERVEHAND_AARCH64_ROOT`: the root file system in `root`, what pip fetched in `wheels`. What is there
already is used again. Needs root's rights, for chroot and mounts; mounts live in a namespace of their own and end with
the command.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.aarch64.lock import ROOT as REPOSITORY
from tests.aarch64.lock import platforms
from tests.aarch64.wheels import ASKED_FOR, FOLDER, TARGETS, fetch

VARIABLE = "NERVEHAND_AARCH64_ROOT"
TARGET = "jetson-nano"
CPU = "cortex-a57"
SUITE = "bookworm"
"""Debian 12: the one whose own Python is 3.11. Its glibc is newer than the target's, so it says nothing about that."""
PACKAGES = (
    "python3.11",
    *sorted(why.split(":")[0] for (name, _), why in ASKED_FOR.items() if name != "numba"),
)
TOOLS = ("debootstrap", "update-binfmts", "qemu-aarch64-static")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PREFIX = Path("/opt/nervehand")
PYTHON = PREFIX / "bin" / "python"
SITE_PACKAGES = PREFIX / "lib" / "python3.11" / "site-packages"
WORK = Path("/work")
"""Inside: the tests, without the packages that they test, which are installed."""
PACKAGED = ("firmware_bridge", "decoder", "calibration", "nervehand")
TEST_PACKAGES = (
    "hypothesis",
    "iniconfig",
    "pluggy",
    "pygments",
    "pytest",
    "pytest-timeout",
    "sortedcontainers",
)

CPUINFO = "\n".join(
    f"""processor\t: {core}
model name\t: ARMv8 Processor rev 1 (v8l)
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd07
CPU revision\t: 1
"""
    for core in range(4)
)
"""What the kernel of a Cortex-A57 says of it, 0xd07 being that (Arm's MIDR_EL1): LLVM and ONNX Runtime read it, and
QEMU 7 shows the host's."""


class MissingError(Exception):
    """What is not there, and how it comes to be."""


def folder() -> Path:
    """Where it is cached."""
    if VARIABLE not in os.environ:
        raise MissingError(f"{VARIABLE} is not set: name a folder for about 2 GB")
    return Path(os.environ[VARIABLE]).resolve()


def make(into: Path) -> None:
    """The root file system, where it is not there: Debian's packages, unpacked and then configured under QEMU."""
    root = into / "root"
    _require_tools()
    if root.exists():
        return
    part = into / "root.part"
    shutil.rmtree(part, ignore_errors=True)
    into.mkdir(parents=True, exist_ok=True)
    with (into / "debootstrap.log").open("w") as log:
        first = [
            "--foreign",
            "--arch=arm64",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            str(part),
        ]
        for command in (
            ["debootstrap", *first],
            ["unshare", "--mount", "chroot", str(part), "/debootstrap/debootstrap", "--second-stage"],
        ):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "QEMU_CPU": CPU}
            done = subprocess.run(command, stdout=log, stderr=log, env=environment)
            if done.returncode:
                raise MissingError(f"{command[0]} ended with {done.returncode}: see {log.name}")
    part.rename(root)


def _require_tools() -> None:
    """QEMU must be what the kernel runs aarch64's programs by, the children of such programs too."""
    if os.geteuid() != 0:
        raise MissingError("chroot and mounts need root's rights: run it as root")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise MissingError(
            f"{', '.join(missing)} missing: apt-get install debootstrap qemu-user-static binfmt-support"
        )
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    if not (BINFMT / "qemu-aarch64").exists():
        subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=True)


def run(into: Path, *command: str | Path) -> int:
    """Run a command inside and give its exit status."""
    root = into / "root"
    (root / "etc" / "cpuinfo").write_text(CPUINFO)
    script = (
        'mount -t proc proc "$0/proc" && mount --bind "$0/etc/cpuinfo" "$0/proc/cpuinfo" && '
        'mount --rbind -o ro /sys "$0/sys" && mount --rbind /dev "$0/dev" && '
        'cd / && exec chroot "$0" "$@"'
    )
    environment = {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "NUMBA_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{PREFIX}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONUNBUFFERED": "1",
        "QEMU_CPU": CPU,
    }
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root)]
    return subprocess.run([*words, *map(str, command)], env=environment).returncode


def install(into: Path) -> None:
    """The base install by the target's list, then this repository's packages, each where it has changed; the tests."""
    root, wheels = into / "root", into / "wheels"
    wheels.mkdir(exist_ok=True)
    listed = (FOLDER / f"{TARGET}.txt").read_text()
    if _changed(root / "wheels.stamp", listed + " ".join(TEST_PACKAGES)):
        shutil.rmtree(wheels)
        wheels.mkdir()
        fetch(TARGET, wheels)
        tools = Path(tempfile.mkdtemp(dir=into))
        _fetch_test_packages(tools)
        shutil.rmtree(root / PREFIX.relative_to("/"), ignore_errors=True)
        inside = root / "wheels"
        shutil.rmtree(inside, ignore_errors=True)
        shutil.copytree(wheels, inside)
        shutil.copytree(tools, inside, dirs_exist_ok=True)
        shutil.rmtree(tools)
        (root / "requirements-aarch64.txt").write_text(listed)
        _must(run(into, "/usr/bin/python3.11", "-m", "venv", "--without-pip", PREFIX))
        _pip(into, "--require-hashes", "-r", "/requirements-aarch64.txt")
        _pip(into, *TEST_PACKAGES)
        (root / "wheels.stamp").write_text(_digest(listed + " ".join(TEST_PACKAGES)))
        (root / "packages.stamp").unlink(missing_ok=True)
    sources = "".join(
        f"{path.relative_to(REPOSITORY)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for name in PACKAGED
        for path in sorted((REPOSITORY / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    )
    sources += (REPOSITORY / "pyproject.toml").read_text()
    if _changed(root / "packages.stamp", sources):
        _pip(into, "--force-reinstall", f"/wheels/{_own_wheel(root / 'wheels')}")
        _forget_machine_code(root)
        (root / "packages.stamp").write_text(_digest(sources))
    work = root / WORK.relative_to("/")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(REPOSITORY / "tests", work / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, work / name)
    for name in ("docs", "nervehand/bundles"):
        shutil.copytree(REPOSITORY / name, work / name)


def _fetch_test_packages(into: Path) -> None:
    """pip itself, and what runs the tests: in the versions of constraints.txt, none of which the base install needs."""
    tags = [word for tag in platforms(TARGETS[TARGET].glibc_minor) for word in ("--platform", tag)]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    lines = [*(REPOSITORY / "constraints.txt").read_text().splitlines()]
    wanted = [line for line in lines if line.split("==")[0].lower() in TEST_PACKAGES]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:",
            "--implementation", "cp", "--python-version", "3.11", *abis, *tags, "-d", str(into), "pip", *wanted,
        ],
        check=True,
    )  # fmt: skip


def _own_wheel(into: Path) -> str:
    """This repository's packages as a wheel, built from a copy; its name."""
    for old in into.glob("nervehand-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as room:
        for name in PACKAGED:
            shutil.copytree(
                REPOSITORY / name, Path(room) / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(REPOSITORY / name, room)
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(into), room], check=True
        )
    (found,) = into.glob("nervehand-*.whl")
    return found.name


def _forget_machine_code(root: Path) -> None:
    """Numba keeps what it compiled until a kernel's own file changes; how all are compiled is said in another one."""
    packages = root / SITE_PACKAGES.relative_to("/")
    rules, stamp = (packages / "decoder" / "kernels.py").read_text(), root / "kernels.stamp"
    if _changed(stamp, rules):
        for index in packages.glob("decoder/**/*.nbi"):
            index.unlink()
        stamp.write_text(_digest(rules))


def _pip(into: Path, *words: str) -> None:
    """pip inside, by itself a wheel: nothing but the wheels that lie there."""
    (pip,) = (into / "root" / "wheels").glob("pip-*.whl")
    options = ("--quiet", "--no-index", "--find-links", "/wheels", "--no-deps", "--no-compile")
    options += ("--root-user-action", "ignore")
    _must(run(into, PYTHON, f"/wheels/{pip.name}/pip", "install", *options, *words))


def _must(status: int) -> None:
    if status:
        raise MissingError(f"the command above ended with {status}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _changed(stamp: Path, text: str) -> bool:
    return not stamp.exists() or stamp.read_text() != _digest(text)
