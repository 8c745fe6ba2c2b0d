"""Two hands side by side in one scene: what is decoded, coloured by how sure it is, and what it should be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nicegui import ui

from nervehand.console.hand3d import HandModel, hand_scene, send
from nervehand.console.style import COLOURS, TARGET, certainty
from nervehand.console.texts import say
from nervehand.console.views import Side, Six, is_there

_APART = 0.95
_SHARE = 0.55
"""Of what is left is done in a frame: nine tenths in three of them."""
_THERE = 0.01
_FIT_AT = (4, 20)
"""Frames after a scene has come into sight: made out of sight it has no size, and browsers do not tell of a change."""
RELAXED: Six = (0.0,) * 6


class TwoHands:
    """A card's content. `left_key` and `right_key` name the hands under which they stand."""

    def __init__(self, left_key: str, right_key: str, *, is_target_left: bool) -> None:
        self._is_target_left = is_target_left
        self._side: Side | None = None
        self._hands: tuple[HandModel, HandModel] | None = None
        self._seen = 0
        self._wanted = self._now = (RELAXED, RELAXED)
        with ui.element("div").classes("nh-hands"):
            self._scene = hand_scene(look_from=(14.2, 0.0, 1.9), look_at=(0.0, 0.0, 0.66))
            self._scene.classes("nh-scene").props(f'role="img" aria-label="{say("hands.described")}"')
            with ui.element("div").classes("nh-hand-names"):
                left, right = ui.label(say(left_key)), ui.label(say(right_key))
        self._names = (right, left) if is_target_left else (left, right)

    def show(self, decoded: Six, target: Six, side: Side, sureness: str) -> None:
        """Where both hands are to be from now on; one that is not there at all is hidden."""
        if side != self._side:
            self._build(side)
        assert self._hands is not None
        mine, other = self._hands
        self._wanted = decoded, target
        for label, positions in zip(self._names, (decoded, target), strict=True):
            label.classes(**{"remove" if is_there(positions) else "add": "nh-away"})
        calls = (
            mine.paint(COLOURS[sureness]) + mine.reveal(is_there(decoded)) + other.reveal(is_there(target))
        )
        send(self._scene, calls)

    def step(self, *, is_seen: bool = True) -> None:
        """Move on towards where they are to be; to be called every frame, which are more than views come."""
        self._seen = self._seen + 1 if is_seen else 0
        if self._seen in _FIT_AT:
            self._scene.run_method("resize")
        if self._hands is None:
            return
        self._now = _nearer(self._now[0], self._wanted[0]), _nearer(self._now[1], self._wanted[1])
        mine, other = self._hands
        send(self._scene, mine.to(self._now[0]) + other.to(self._now[1]))

    def _build(self, side: Side) -> None:
        self._side = side
        for hand in self._hands or ():
            hand.remove()
        at_target = (0.0, -_APART if self._is_target_left else _APART, 0.0)
        at_mine = (0.0, -at_target[1], 0.0)
        with self._scene:
            mine = HandModel(self._scene, side, COLOURS["unknown"], at_mine)
            other = HandModel(self._scene, side, TARGET, at_target)
        self._hands = mine, other


def _nearer(now: Six, wanted: Six) -> Six:
    return tuple(
        b if not math.isfinite(b) or not math.isfinite(a) or abs(b - a) < _THERE else a + _SHARE * (b - a)
        for a, b in zip(now, wanted, strict=True)
    )


def legend() -> None:
    """What the colours of a hand mean."""
    with ui.element("div").classes("nh-legend"):
        for key, colour in COLOURS.items():
            with ui.element("div").classes("nh-legend-item"):
                ui.element("span").classes("nh-swatch").style(f"background:{colour}")
                ui.label(say(f"certainty.{key}"))


def sureness(confidence: float, warming: bool, positions: Sequence[float]) -> str:
    """How sure, as a key of COLOURS; a decoder that warms up says nothing yet."""
    return certainty(confidence, not warming and is_there(tuple(positions)))
