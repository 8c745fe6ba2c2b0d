"""A hand in the terminal: what it measures is a number, what it does not is said, and what it lacks is not there."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from firmware_bridge.hand import HandCapabilities, HandState, LinkState
from firmware_bridge.hands import ability_hand
from nervehand.hand_picture import picture_of


@dataclass(frozen=True)
class Seen:
    """An Ability Hand, which has no wrist."""

    state: HandState | None
    link: LinkState = LinkState.CONNECTED
    capabilities: HandCapabilities = ability_hand.CAPABILITIES


def drawn(state: HandState | None) -> dict[str, str]:
    """The lines of the positions, by degree of freedom."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(picture_of(Seen(state), "left", "a title", np.full(6, 0.5, np.float32)))
    lines = [line.split("│", 3)[-1].split() for line in console.export_text().splitlines()]
    return {words[0]: " ".join(words) for words in lines if words}


def test_what_is_not_measured_is_said() -> None:
    state = HandState(np.array([0.25, *[math.nan] * 5], np.float32), 0)
    lines = drawn(state)
    assert "+0.25 +0.50" in lines["thumb"]
    assert lines["index"].startswith("index not measured - +0.50")
    assert lines["wrist"].startswith("wrist not there")


def test_a_hand_that_has_not_reported_has_no_positions() -> None:
    assert drawn(None)["thumb"].startswith("thumb not measured")
