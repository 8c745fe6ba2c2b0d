"""All texts are in one place, each is used, and no page has words of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from calibration.paradigm import COMBINED_MOVEMENTS, KINDS
from calibration.truth.hand_joints import Pose
from calibration.view import COMMANDS, Phase
from firmware_bridge.hand import DOF_NAMES
from nervehand.console import texts
from nervehand.console.calibrate_setup import PACES, SETS
from nervehand.console.intending import POSTURES
from nervehand.console.layout import PAGES
from nervehand.console.style import COLOURS
from nervehand.console.texts import TEXTS, say
from nervehand.doctor import Level

FOLDER = Path(texts.__file__).parent
MODULES = [path for path in sorted(FOLDER.glob("*.py")) if path.name != "texts.py"]
NOT_SHOWN = {"classes", "style", "props", "append", "join", "encode", "info", "warning", "from_plain"}
"""Calls whose arguments are no words for people: of the page's structure, or of a log."""


def shown_literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Words between words that could reach a person: no docstring, no error's text, no markup, no class names."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        is_error = isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and name_of(node) in NOT_SHOWN)
        is_setting = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if is_error or is_setting or (isinstance(node, ast.Call) and name_of(node).endswith("Error")):
            skipped |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.keyword) and node.arg in ("classes", "replace", "name", "headers"):
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
            if re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", text) and not re.search(r"[<>={}#;/]|nh-|^--", text):
                yield node.lineno, text


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


ALLOWED = {
    "wrist flexion",
    "wrist extension",
    "console look",
    "console follow",
    "console rest",
    "console reading",
    "left out",
    "sample to",
}
"""Names of movements, states, stages and threads: keys, not words."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_of_the_console_has_words_of_its_own(path: Path) -> None:
    found = [
        (line, text) for line, text in shown_literals(ast.parse(path.read_text())) if text not in ALLOWED
    ]
    assert found == []


def used_keys() -> tuple[set[str], list[re.Pattern[str]]]:
    """Literal keys, and patterns of those that are put together."""
    literal: set[str] = set()
    patterns = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values
                ]
                if isinstance(node.values[0], ast.Constant) and "." in str(node.values[0].value):
                    patterns.append(re.compile("".join(parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                literal.add(node.value)
    return literal, patterns


def test_every_text_is_used() -> None:
    literal, patterns = used_keys()
    unused = [key for key in TEXTS if key not in literal and not any(p.fullmatch(key) for p in patterns)]
    assert unused == []


def test_every_key_that_a_page_asks_for_is_there() -> None:
    asked = {
        node.args[0].value
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and name_of(node) in ("say", "card", "button")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert asked - set(TEXTS) == set()
    assert len(asked) > 80


def test_everything_that_can_be_shown_has_a_text() -> None:
    phases = [phase.name.lower() for phase in Phase]
    keys = [
        *(f"phase.{name}" for name in phases),
        *(f"hint.{name}" for name in phases),
        *(f"dof.{name}" for name in DOF_NAMES),
        *(f"request.{name}" for name in COMMANDS),
        *(f"page.{name}" for name in PAGES),
        *(f"certainty.{name}" for name in COLOURS),
        *(f"certainty.{name}_of" for name in COLOURS),
        *(f"kind.{name}" for name in KINDS),
        *(f"set.{name}" for name in SETS),
        *(f"pace.{name}" for name in (*PACES, "own")),
        *(f"posture.{name}" for name in POSTURES),
        *(f"pose.{pose.value}" for pose in Pose),
        *(f"movement.{movement.name}" for movement in COMBINED_MOVEMENTS),
        *(f"level.{level.value}" for level in Level),
        *(f"trial.{state}" for state in ("now", "good", "bad", "accepted", "left out", "redone")),
    ]
    assert [key for key in keys if key not in TEXTS] == []


def test_a_text_takes_its_values_and_an_unknown_key_is_an_error() -> None:
    assert say("title", page="Live") == "Live · nervehand"
    with pytest.raises(KeyError):
        say("no.such.key")
