"""One target under the fuzzer, in this process: `python -m tests.fuzz.one NAME FLAGS`, started by `tests.fuzz`."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

from tests.fuzz.registry import TARGETS, Target
from tests.proof.running import ROOT

ROOM_BYTES = 1 << 30
"""More memory than is there once everything is loaded is a finding, a MemoryError, however briefly it is asked for."""


def main() -> None:
    name, *flags = sys.argv[1:]
    (target,) = [each for each in TARGETS if each.name == name]
    packages = {module.partition(".")[0] for module in target.covered}
    others = {name for package in packages for name in modules_of(package)} - set(target.covered)
    # atheris chooses by whole packages; compiled kernels, for one, cannot be instrumented.
    with atheris.instrument_imports(include=sorted(packages), exclude=sorted(others)):
        module = target.load()
    write_seeds(target, Path(flags[-1]))
    for seed in module.seeds():
        module.check(seed)  # what loads only when it is used, and what must be accepted
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    atheris.Setup([sys.argv[0], *flags], module.check)
    atheris.Fuzz()


def modules_of(package: str) -> Iterator[str]:
    """The names of all modules of one of our packages."""
    for path in (ROOT / package).rglob("*.py"):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def write_seeds(target: Target, corpus: Path) -> None:
    for number, seed in enumerate(target.load().seeds()):
        (corpus / f"seed-{number:03d}").write_bytes(seed)


if __name__ == "__main__":
    main()
