"""How the console looks: colours that the colour-blind tell apart, and the one style sheet."""

from __future__ import annotations

from pathlib import Path

# Okabe and Ito, Color Universal Design, 2008: eight colours that people with any common colour blindness tell apart.
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
INK, MUTED, LINE, GROUND, CARD = "#17212B", "#52606D", "#D9E0E7", "#F4F6F8", "#FFFFFF"
ACCENT = BLUE
STOP = "#B23A00"
"""Vermilion, darkened until white on it has a contrast of more than 6 to 1."""
UNKNOWN, FOREARM, TARGET = "#8A97A5", "#DCE3E9", "#C3CDD6"

SURE, FAIR = 0.8, 0.5
"""A gesture at least that probable is sure; fair; below, unsure."""


def certainty(confidence: float, is_known: bool = True) -> str:
    """The text's key for how sure a decoder is."""
    if not is_known:
        return "unknown"
    return "sure" if confidence >= SURE else "fair" if confidence >= FAIR else "unsure"


COLOURS = {"sure": BLUE, "fair": SKY, "unsure": ORANGE, "unknown": UNKNOWN}
"""Of a hand, by how sure its decoder is."""


def style_sheet() -> str:
    """The whole of it."""
    return (Path(__file__).parent / "console.css").read_text(encoding="utf-8")
