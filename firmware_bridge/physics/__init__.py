"""A hand with mass, contact and motors that give way: the virtual hand's physical body. Needs the extra `physics`.

Nothing here imports MuJoCo until `make` is called; `skeleton` draws a hand without it. docs/physical-hand.md tells what
the model rests on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities
from firmware_bridge.physics.anatomy import Side
from firmware_bridge.physics.objects import GraspObject

if TYPE_CHECKING:
    from firmware_bridge.physics.body import PhysicalHand

__all__ = ["GraspObject", "Side", "make"]


def make(
    capabilities: HandCapabilities,
    now_ns: int,
    side: Side = "right",
    thing: GraspObject | None = None,
) -> PhysicalHand:
    """A physical hand at rest, with `thing` before its palm; NervehandError where the extra is not installed."""
    try:
        from firmware_bridge.physics.body import PhysicalHand
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "mujoco":
            raise
        raise NervehandError(
            "a physical hand needs MuJoCo, which is not installed: pip install 'nervehand[physics]',"
            " or use the kinematic hand (without --physics)"
        ) from error
    return PhysicalHand(capabilities, now_ns, side, thing)
