"""One target under the fuzzer, in this process: `python -m tests.fuzz.one NAME FLAGS`, started by `tests.fuzz`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import atheris

from tests.fuzz.registry import TARGETS, Target

ROOM_BYTES = 1 << 30
"""More memory than is there once everything is loaded is a finding, a MemoryError, however briefly it is asked for."""


def main() -> None:
    name, *flags = sys.argv[1:]
    (target,) = [each for each in TARGETS if each.name == name]
    with atheris.instrument_imports(include=list(target.covered)):
        module = target.load()
    write_seeds(target, Path(flags[-1]))
    for seed in module.seeds():
        module.check(seed)  # what loads only when it is used, and what must be accepted
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    atheris.Setup([sys.argv[0], *flags], module.check)
    atheris.Fuzz()


def write_seeds(target: Target, corpus: Path) -> None:
    for number, seed in enumerate(target.load().seeds()):
        (corpus / f"seed-{number:03d}").write_bytes(seed)


if __name__ == "__main__":
    main()
