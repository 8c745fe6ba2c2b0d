"""docs/safety.md says what the gate does: its tables are those of the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np

from firmware_bridge.gate import GateLimits, GateState, SafeAction
from firmware_bridge.gate_rules import ALLOWED, RULES

TEXT = (Path(__file__).parents[2] / "docs" / "safety.md").read_text()


def table(first_heading: str) -> list[list[str]]:
    """The rows of a table, without its headings."""
    lines = TEXT[TEXT.index(f"| {first_heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_cause_has_its_answer_in_the_order_of_gravity() -> None:
    assert table("cause | action | state | ends") == [
        [cause.value, rule.action.value, rule.state.value, rule.recovery.value]
        for cause, rule in RULES.items()
    ]


def test_what_may_be_declared_otherwise() -> None:
    usual = {SafeAction.HOLD, SafeAction.RELAX, SafeAction.OPEN}
    assert [
        (cause, set(re.split(", ", what.split(":")[0]))) for cause, what in table("cause | may be declared")
    ] == [
        (cause.value, {action.value for action in allowed})
        for cause, allowed in ALLOWED.items()
        if allowed != usual
    ]


def test_every_state_is_described_and_drawn() -> None:
    assert {row[0] for row in table("state | what is sent")} == {state.value for state in GateState}
    drawn = TEXT[TEXT.index("stateDiagram") : TEXT.index("| state |")]
    for state in GateState:
        assert re.search(rf"\b{state.value}\b", drawn), state


def test_every_limit_is_listed_with_its_default() -> None:
    documented: dict[str, str] = {}
    for names, default, _ in table("limit | default | meaning"):
        documented.update(dict.fromkeys(re.findall(r"`(\w+)`", names), default))
    assert list(documented) == [one.name for one in fields(GateLimits)]
    for one in fields(GateLimits):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        said = documented[one.name]
        if default is None or isinstance(default, Mapping) or one.name == "max_acceleration_per_s2":
            assert said == "none", one.name
        elif isinstance(default, float):
            assert one.name == "max_command_rate_hz" or float(said) == default, one.name
        elif isinstance(default, np.ndarray):
            assert (said, default.any()) == ("rest", False), one.name
