"""What a long proof is given: a seed, a size, and a place for what it counted.

Every test under tests/proof carries the marker `proof`. Plain pytest runs each at a twentieth of its size;
`python -m tests.proof` runs them in full (see docs/proof.md). A proof that measures time says
`@pytest.mark.proof(alone=True)` and is given the machine to itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

CI_SCALE = 0.05
SEED = 1
FOLDER = Path(__file__).parent

Figure = int | float | str


@dataclass(slots=True)
class Proof:
    """One proof's seed and size, 1 being the full one, and the figures that it reports."""

    seed: int = SEED
    scale: float = CI_SCALE
    figures: dict[str, Figure] = field(default_factory=dict)

    def count(self, full: int, least: int = 1) -> int:
        """How many to do where the full proof does `full`: never fewer than `least`."""
        return max(least, math.ceil(full * self.scale - 1e-9))

    def record(self, **figures: Figure | np.generic) -> None:
        """What was counted or measured, by name, for the report; a name said again takes the later value."""
        for name, value in figures.items():
            plain = value.item() if isinstance(value, np.generic) else value
            if not isinstance(plain, int | float | str):
                raise TypeError(f"figure {name} is {plain!r}: give a number or a text")
            self.figures[name] = plain


_PROOF = pytest.StashKey[Proof]()


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """The size and seed of this run, and where its figures go."""
    config = request.config
    made = Proof(config.getoption("--proof-seed"), config.getoption("--proof-scale"))
    request.node.stash[_PROOF] = made
    return made


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("proof", "long proofs")
    group.addoption(
        "--proof-scale", type=float, default=CI_SCALE, help="size of the proofs; 1 is the full one"
    )
    group.addoption("--proof-seed", type=int, default=SEED, help="what their random choices begin from")
    group.addoption("--proof-list", type=Path, help="write the proofs that were collected to this JSON file")
    group.addoption("--proof-result", type=Path, help="write a proof's outcome and figures to this JSON file")


def pytest_configure(config: pytest.Config) -> None:
    scale, seed = config.getoption("--proof-scale"), config.getoption("--proof-seed")
    if not 0 < scale <= 1:
        raise pytest.UsageError(f"--proof-scale is {scale}: give more than 0 and at most 1")
    if seed < 0:
        raise pytest.UsageError(f"--proof-seed is {seed}: give zero or a positive integer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents and item.get_closest_marker("proof") is None:
            item.add_marker("proof")


def pytest_collection_finish(session: pytest.Session) -> None:
    path: Path | None = session.config.getoption("--proof-list")
    if path is None:
        return
    found = []
    for item in session.items:
        marker = item.get_closest_marker("proof")
        if marker is not None:
            alone = bool(marker.kwargs.get("alone", False))
            test = f"{item.path}::{item.nodeid.partition('::')[2]}"
            found.append({"name": spoken(item.path.stem, item.name), "test": test, "alone": alone})
    path.write_text(json.dumps(found))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    path: Path | None = item.config.getoption("--proof-result")
    # The call decides, unless setting up or clearing away went wrong or skipped it.
    if path is not None and (report.when == "call" or not report.passed):
        made = item.stash.get(_PROOF, None)
        why = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
        said = {"outcome": report.outcome, "why": why, "figures": made.figures if made else {}}
        path.write_text(json.dumps(said))
    return report


def spoken(stem: str, name: str) -> str:
    """A test's name for people: ("test_serial", "test_no_frame_is_lost[9600]") is "serial: no frame is lost [9600]"."""
    of, _, parameters = name.removeprefix("test_").partition("[")
    text = f"{stem.removeprefix('test_')}: {of.replace('_', ' ')}"
    return f"{text} [{parameters}" if parameters else text
