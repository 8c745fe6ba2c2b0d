"""What one operator changes of the wearer's adjustments, laid over the newest that the engine shows."""

from __future__ import annotations

from dataclasses import replace

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.hand import N_DOF
from firmware_bridge.plain import to_plain

OWN_S = 1.5
"""So long after this page moved a control, that one is not moved by what the engine shows."""
BY_DOF = ("gain", "dead_band", "locked")
Control = tuple[str, int]
"""The name of an adjustment, and which degree of freedom; 0 for the whole hand's lock."""
CONTROLS: tuple[Control, ...] = (
    *((name, dof) for name in BY_DOF for dof in range(N_DOF)),
    ("hand_locked", 0),
)


class OwnChanges:
    """Of one page. Others' changes are kept: only what was moved here and is not shown by the engine yet is laid over.

    Times are `time.monotonic`.
    """

    def __init__(self) -> None:
        self.now: Adjustments | None = None
        """What holds, as the engine showed it last."""
        self._under_way: dict[Control, tuple[float | bool, float]] = {}
        self._moved_s: dict[Control, float] = {}

    def show(self, adjustments: Adjustments, now_s: float) -> None:
        """The engine's newest word."""
        self.now = adjustments
        self._under_way = {
            control: (value, moved_s)
            for control, (value, moved_s) in self._under_way.items()
            if value_of(adjustments, control) != value and now_s - moved_s < OWN_S
        }

    def follows(self, control: Control, now_s: float) -> bool:
        """Whether that control is moved by what the engine shows."""
        return now_s - self._moved_s.get(control, -OWN_S) >= OWN_S

    def move(
        self, control: Control, value: float | bool, now_s: float
    ) -> tuple[Adjustments, dict[str, object]]:
        """What is to hold then, and what of it is to be sent: what has this control in it, and no more.

        Nothing is sent where that holds already and no other value is under way. NervehandError for a value that no
        adjustment has.
        """
        if self.now is None:
            raise ValueError("nothing is shown yet")
        is_again = control in self._under_way
        self._moved_s[control] = now_s
        self._under_way[control] = value, now_s
        then = self.now
        for one, (own, _) in self._under_way.items():
            then = _laid(then, one, own)
        name = control[0]
        if not is_again and getattr(then, name) == getattr(self.now, name):
            return then, {}
        return then, {name: to_plain(getattr(then, name))}

    def refused(self, control: Control) -> None:
        """It goes back to what holds."""
        self._under_way.pop(control, None)
        self._moved_s.pop(control, None)


def value_of(adjustments: Adjustments, control: Control) -> float | bool:
    """Where that control stands."""
    name, dof = control
    found = getattr(adjustments, name)
    value: float | bool = found if name == "hand_locked" else found[dof]
    return value


def _laid(over: Adjustments, control: Control, value: float | bool) -> Adjustments:
    name, dof = control
    if name == "hand_locked":
        return replace(over, hand_locked=bool(value))
    held = getattr(over, name)
    laid = (*held[:dof], value, *held[dof + 1 :])
    if name == "locked":
        return replace(over, locked=laid)
    return replace(over, gain=laid) if name == "gain" else replace(over, dead_band=laid)
