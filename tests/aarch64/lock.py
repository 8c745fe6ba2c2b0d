"""The wheels of the base install on a Jetson: `python -m tests.aarch64.lock` writes nervehand/targets/<target>.txt.

pip resolves pyproject's dependencies for another machine: CPython 3.11, aarch64, no newer glibc than the target's,
wheels only. Versions are those of constraints.txt, which the tests ran with, but for the packages whose wheels ask for
a newer glibc: of these it is the newest that fits. pip looks at conditions (`; platform_machine == ...`) with the eyes
of the machine it runs on; so what it found is looked through again with the target's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "nervehand" / "targets"
PYTHON = "3.11"
OLDEST_GLIBC_MINOR = 17  # glibc 2.17: manylinux2014, the first with aarch64 (PEP 599)


@dataclass(frozen=True, slots=True)
class Target:
    """A machine's glibc 2.`glibc_minor`, and the packages whose constrained version has no wheel for it."""

    glibc_minor: int
    unconstrained: frozenset[str] = frozenset()


TARGETS = {
    "jetson-nano": Target(27, frozenset({"h5py", "onnxruntime"})),
    "orin": Target(35),
}
ENVIRONMENT = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
    "extra": "",
}


@dataclass(frozen=True, slots=True)
class Wheel:
    """One line of a list, and which packages the wheel needs there."""

    name: str
    version: str
    file: str
    sha256: str
    needs: frozenset[str]


def base_requirements() -> list[Requirement]:
    """pyproject's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def platforms(glibc_minor: int) -> list[str]:
    """Every tag that such a machine takes: pip takes none but those that are named."""
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(glibc_minor, OLDEST_GLIBC_MINOR - 1, -1)]
    return [*tags, "manylinux2014_aarch64", "linux_aarch64"]


def resolve(target: Target) -> list[Wheel]:
    """The wheels that pip chooses."""
    requirements = "\n".join(map(str, base_requirements()))
    constraints = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if canonicalize_name(line.split("==")[0]) not in target.unconstrained
    ]
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        (room / "in.txt").write_text(requirements)
        (room / "constraints.txt").write_text("\n".join(constraints))
        tags = [word for tag in platforms(target.glibc_minor) for word in ("--platform", tag)]
        abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
                "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *abis, *tags,
                "--target", str(room / "nowhere"), "--report", str(room / "report.json"),
                "-r", str(room / "in.txt"), "-c", str(room / "constraints.txt"),
            ],
            check=True,
        )  # fmt: skip
        report = json.loads((room / "report.json").read_text())
    return [wheel_of(item) for item in report["install"]]


def wheel_of(item: dict[str, dict[str, object]]) -> Wheel:
    """An item of pip's installation report; what it needs is judged with the target's eyes."""
    about, download = item["metadata"], item["download_info"]
    extras = {str(e) for e in item.get("requested_extras", [])} | {""}
    needs = [Requirement(str(text)) for text in about.get("requires_dist", [])]
    needed = {
        canonicalize_name(n.name)
        for n in needs
        if n.marker is None or any(n.marker.evaluate(ENVIRONMENT | {"extra": e}) for e in extras)
    }
    archive = download["archive_info"]
    return Wheel(
        canonicalize_name(str(about["name"])),
        str(about["version"]),
        str(download["url"]).rsplit("/", 1)[1],
        archive["hashes"]["sha256"],
        frozenset(needed),
    )


def needed(wheels: list[Wheel]) -> list[Wheel]:
    """Those that the target needs, by name. LookupError where one is missing: pip saw a condition differently."""
    by_name = {wheel.name: wheel for wheel in wheels}
    wanted = [canonicalize_name(r.name) for r in base_requirements()]
    found: dict[str, Wheel] = {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            if name not in by_name:
                raise LookupError(f"{name} is needed on aarch64, and pip did not find that here")
            found[name] = by_name[name]
            wanted += found[name].needs
    return [found[name] for name in sorted(found)]


def text(name: str, wheels: list[Wheel]) -> str:
    """The list as pip reads it, each wheel with its SHA-256 and file name."""
    target = TARGETS[name]
    lines = [
        f"# The base install of nervehand on {name}: CPython {PYTHON}, aarch64, glibc 2.{target.glibc_minor} or newer.",
        "# pip install --no-deps --require-hashes -r requirements-aarch64.txt",
        "# Made by python -m tests.aarch64.lock; the file that each hash is of stands behind it.",
        "--only-binary :all:",
    ]
    lines += [f"{w.name}=={w.version} --hash=sha256:{w.sha256}  # {w.file}" for w in wheels]
    return "\n".join(lines) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, target in TARGETS.items():
        wheels = needed(resolve(target))
        (FOLDER / f"{name}.txt").write_text(text(name, wheels))
        print(f"{FOLDER / name}.txt: {len(wheels)} wheels")


if __name__ == "__main__":
    main()
