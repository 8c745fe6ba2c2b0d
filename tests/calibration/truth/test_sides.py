"""The able hand is the other one than the phantom hand, whatever measures it."""

from __future__ import annotations

import pytest

from calibration.truth import Side, load, names, open_able
from firmware_bridge.errors import NervehandError

OTHER: dict[Side, Side] = {"left": "right", "right": "left"}
SIDES: tuple[Side, ...] = ("left", "right")


@pytest.mark.parametrize("name", names())
def test_every_way_to_measure_a_hand_can_be_told_which_one(name: str) -> None:
    assert "side=left|right" in load(name).ADDRESS


@pytest.mark.parametrize("phantom", SIDES)
@pytest.mark.parametrize(
    "address",
    ["simulated", "simulated:default/3/1", "rokoko", "rokoko:14043?wrist=yes", "forte:/dev/x?rate=50", "rokoko:?"],
)  # fmt: skip
def test_an_address_that_names_no_side_measures_the_hand_that_is_no_phantom(
    address: str, phantom: Side
) -> None:
    assert open_able(address, phantom).info.side == OTHER[phantom]


@pytest.mark.parametrize("phantom", SIDES)
def test_a_side_that_is_named_is_taken(phantom: Side) -> None:
    opened = open_able(f"rokoko:14043?side={OTHER[phantom]}&wrist=yes", phantom)
    assert (opened.info.side, "wrist flexion" in opened.info.sensors) == (OTHER[phantom], True)


@pytest.mark.parametrize("phantom", SIDES)
@pytest.mark.parametrize("name", names())
def test_the_phantom_hand_cannot_be_measured(name: str, phantom: Side) -> None:
    with pytest.raises(
        NervehandError, match=f"measures the {phantom} hand, and the phantom hand is the {phantom} one"
    ):
        open_able(f"{name}:x?rate=50&side={phantom}", phantom)


def test_what_is_neither_side_is_refused_by_its_own_words() -> None:
    with pytest.raises(NervehandError, match="side=up: the able hand is left or right"):
        open_able("rokoko:?side=up", "left")
