"""The simulated person's constants: frozen, so that scores of different days speak of the same people."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from dataclasses import asdict

import pytest

from firmware_bridge import nerve
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.physiology import COHORT, PRESETS, VERSION, person_of

FROZEN = (1, "f5eacf416828bd2d")


def constants() -> dict[str, object]:
    """Every preset, and every number that a module of the person names in capitals."""
    found: dict[str, object] = {name: asdict(person) for name, person in PRESETS.items()}
    for module in pkgutil.iter_modules(nerve.__path__):
        content = vars(importlib.import_module(f"{nerve.__name__}.{module.name}"))
        for name, value in content.items():
            if name.strip("_").isupper() and isinstance(value, int | float | tuple | dict):
                found[f"{module.name}.{name}"] = repr(value)
    return found


def test_the_constants_are_those_that_every_printed_score_was_made_with() -> None:
    # Who changes one on purpose raises VERSION, says why in the commit, and runs the tables of docs/results.md again.
    digest = hashlib.sha256(json.dumps(constants(), sort_keys=True, default=repr).encode()).hexdigest()
    assert (VERSION, digest[:16]) == FROZEN


def test_ten_subjects_in_each_of_three_presets() -> None:
    assert list(PRESETS) == ["easy", "default", "hard"]
    assert len(COHORT) == len(set(COHORT)) == 10


def test_a_preset_that_is_none_is_refused_with_the_names() -> None:
    with pytest.raises(NervehandError, match="'medium' is not known: use one of easy, default, hard"):
        person_of("medium")
