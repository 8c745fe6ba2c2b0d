"""docs/hands.md says what is so: its file loads, and its hands are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firmware_bridge import hands
from firmware_bridge.hand_config import hand_config_in

DOC = (Path(__file__).resolve().parents[1] / "docs" / "hands.md").read_text(encoding="utf-8")


def test_the_wearers_file_loads_with_and_without_its_grips() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
    config = hand_config_in(text, "docs/hands.md")
    capabilities = config.open().capabilities
    assert config.limits(capabilities).upper.tolist()[0] == pytest.approx(0.9)
    assert config.adjustments.locked[3]
    with_grips = hand_config_in(text.replace("# [grips]\n# fist", "[grips]\nfist"), "docs/hands.md")
    assert with_grips.limits(capabilities).grips == {"fist": "power"}


@pytest.mark.parametrize("name", hands.names())
def test_every_hand_has_its_row_with_an_address_that_opens(name: str) -> None:
    addresses = re.findall(rf"\| `({name}:[^`]+)`", DOC)
    assert addresses
    for address in addresses:
        known = hands.open_hand(address.replace("XX:XX:XX:XX:XX:XX", "C8:00:84:00:00:01"))
        assert known.capabilities.name
