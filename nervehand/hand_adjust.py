"""`nervehand hand adjust`: a wearer's adjustments, changed while the hand of a run moves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_requests import ask
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.hand_config import read_hand_config
from firmware_bridge.plain import from_plain, to_plain
from nervehand.hand_picture import by_dof
from nervehand.output import print_json

Value = TypeVar("Value", float, bool)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a person asks for: numbers as "index=1.2", or "1.2" for all; locks by name; None leaves as it is.

    `file` is a hand's, whose adjustments come in place of those of now; the others change them.
    """

    file: Path | None = None
    gain: Sequence[str] = ()
    dead_band: Sequence[str] = ()
    max_speed: Sequence[str] = ()
    lock: Sequence[str] = ()
    unlock: Sequence[str] = ()
    hand_locked: bool | None = None

    def applied_to(self, now: Adjustments) -> Adjustments:
        """The adjustments then; NervehandError where something is no number, no name or out of its range."""
        start = now if self.file is None else read_hand_config(self.file).adjustments
        locks = dict.fromkeys(map(_dof, self.lock), True)
        both = [dof for dof in map(_dof, self.unlock) if dof in locks]
        if both:
            raise NervehandError(
                f"{both[0]} is to be locked and unlocked: give --lock or --unlock of it, not both"
            )
        locks |= dict.fromkeys(self.unlock, False)
        return replace(
            start,
            gain=_changed(start.gain, _numbers("gain", self.gain, 1.2)),
            dead_band=_changed(start.dead_band, _numbers("dead band", self.dead_band, 0.1)),
            max_speed_per_s=_changed(start.max_speed_per_s, _numbers("speed", self.max_speed, 2)),
            locked=_changed(start.locked, locks),
            hand_locked=start.hand_locked if self.hand_locked is None else self.hand_locked,
        )


def run_adjust(changes: Changes, guard: str, who: str, *, as_json: bool) -> None:
    """Change them at the guard of that name; without a change, show them."""
    answer = ask(guard, "status", who)
    now = from_plain(Adjustments, answer.get("adjustments"), "the guard's adjustments")
    then = changes.applied_to(now)
    changed = then.changes_from(now)
    if changed:
        ask(guard, "adjust", who, adjustments=to_plain(then))
    if as_json:
        print_json({"guard": guard, "changed": list(changed)} | adjustments_json(then))
        return
    for line in changed or _lines(then):
        print(line)


def adjustments_json(adjustments: Adjustments) -> dict[str, object]:
    """By name; None is no limit."""
    return {
        "gain": by_dof(adjustments.gain),
        "dead_band": by_dof(adjustments.dead_band),
        "max_speed_per_s": by_dof(adjustments.max_speed_per_s),
        "locked": [dof for dof, locked in zip(DOF_NAMES, adjustments.locked, strict=True) if locked],
        "hand_locked": adjustments.hand_locked,
    }


def _lines(adjustments: Adjustments) -> list[str]:
    """How the hand is adjusted, for a person."""
    rows = zip(
        DOF_NAMES, adjustments.gain, adjustments.dead_band, adjustments.max_speed_per_s, adjustments.locked,
        strict=True,
    )  # fmt: skip
    lines = [
        f"{dof:7} gain {gain:g}, dead band {band:g}, "
        + (f"at most {speed:g} /s" if math.isfinite(speed) else "no speed limit of its own")
        + (", locked" if locked else "")
        for dof, gain, band, speed, locked in rows
    ]
    return [*lines, "the whole hand is locked"] if adjustments.hand_locked else lines


def _dof(name: str) -> str:
    if name not in DOF_NAMES:
        raise NervehandError(f"there is no degree of freedom {name!r}: use {', '.join(DOF_NAMES)}")
    return name


def _numbers(what: str, said: Sequence[str], example: float) -> dict[str, float]:
    """By name; one number is for all of them."""
    found: dict[str, float] = {}
    for text in said:
        name, mark, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise NervehandError(f"{what} is {text!r}: write index={example}, or {example} for all") from None
        found |= {_dof(name): value} if mark else dict.fromkeys(DOF_NAMES, value)
    return found


def _changed(now: Sequence[Value], then: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(then.get(DOF_NAMES[i], now[i]) for i in range(N_DOF))
