"""Mutation testing of the safety gate: every change that no test notices is listed with the reason, or this fails.

    python -m tests.mutants

makes mutmut's mutants of MODULES in a folder of its own, runs TESTS against each (tests/mutant_runner.py), and compares
what survives with tests/firmware_bridge/gate_survivors.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents

ROOT = Path(__file__).resolve().parents[1]
SURVIVORS = ROOT / "tests" / "firmware_bridge" / "gate_survivors.txt"
MODULES = (
    "adjustments",
    "arming",
    "gate",
    "gate_limits",
    "gate_rules",
    "hand_watch",
    "ramp",
    "whereabouts",
)
TESTS = (
    "test_adjustments",
    "test_gate_adjust",
    "test_gate_arming",
    "test_gate_causes",
    "test_gate_grips",
    "test_gate_hand",
    "test_gate_limit_changes",
    "test_gate_limits",
    "test_gate_pairs",
    "test_gate_rate",
    "test_gate_release",
    "test_hand_watch",
    "test_ramp",
    "test_whereabouts",
)


@dataclass(frozen=True)
class Mutant:
    """A change: the function it is in, and the lines that go and come."""

    place: str
    change: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.place, *self.change))


def main() -> None:
    """Exit status 1 where a survivor is not listed, or what is listed does not survive."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--processes", type=int, default=os.cpu_count() or 2, help="mutants at once")
    options.add_argument("--module", action="append", choices=MODULES, help="only this one, and so on")
    asked = options.parse_args()
    modules = asked.module or MODULES
    with tempfile.TemporaryDirectory(prefix="mutants-") as room:
        place = Path(room)
        fill(place, modules)
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "MUTANT_PROCESSES": str(asked.processes),
        }
        run = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-s",
            "--assert=plain",
            "-p",
            "no:cacheprovider",
            "tests",
        ]
        if subprocess.run(run, cwd=place, env=environment, check=False).returncode:
            sys.exit("the mutants were not run to the end: see above")
        results = json.loads((place / "mutants.json").read_text())
    alive = [Mutant(one["place"], tuple(one["change"])) for one in results if one["survives"]]
    known = [one for one in listed(SURVIVORS.read_text()) if one.place.split(".")[1] in modules]
    sys.exit(report(len(results), alive, known))


def fill(place: Path, modules: Sequence[str]) -> None:
    """A checkout of nothing but the mutated gate, what it imports, its fast tests and what runs them."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "firmware_bridge", place / "firmware_bridge", ignore=skip)
    shutil.copytree(ROOT / "docs", place / "docs", ignore=skip)
    tests = place / "tests" / "firmware_bridge"
    tests.mkdir(parents=True)
    for name in ("gate_rig", *TESTS):
        shutil.copy(ROOT / "tests" / "firmware_bridge" / f"{name}.py", tests)
    shutil.copy(ROOT / "tests" / "mutant_runner.py", place / "conftest.py")
    (place / "pyproject.toml").write_text(
        '[tool.mutmut]\nsource_paths = ["firmware_bridge"]\n'
        '[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = "--import-mode=importlib"\n'
    )
    with contextlib.chdir(place):  # where mutmut looks for its settings
        for name in modules:
            path = Path("firmware_bridge", f"{name}.py")
            path.write_text(mutate_file_contents(str(path), path.read_text()).code)


def listed(text: str) -> list[Mutant]:
    """The mutants of the list: paragraphs of a place, its lines that go and come, and `#` lines that say why."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if line and not line.startswith("#")]
        if lines:
            if not any(line.startswith("#") for line in paragraph.splitlines()):
                sys.exit(f"{SURVIVORS.name} does not say why this survives:\n{paragraph}")
            found.append(Mutant(lines[0], tuple(lines[1:])))
    return found


def report(n_mutants: int, alive: list[Mutant], known: list[Mutant]) -> int:
    """Prints what was found; the exit status."""
    unlisted, gone = list(alive), []
    for mutant in known:
        if mutant in unlisted:
            unlisted.remove(mutant)
        else:
            gone.append(mutant)
    for mutant in unlisted:
        print(f"survives, and is not listed:\n{mutant}\n")
    for mutant in gone:
        print(f"is listed, but does not survive, or is no longer there:\n{mutant}\n")
    print(f"{n_mutants} mutants, {len(alive)} survive; {SURVIVORS.name} says why {len(known)} may")
    return int(bool(unlisted or gone))


if __name__ == "__main__":
    main()
