"""Which Bluetooth addresses there are, and what is connected to through which transport."""

from __future__ import annotations

import pytest

from firmware_bridge import hands
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands import HandOptions, ability_hand
from firmware_bridge.hands._ble_wire import checked_address, linked_address

RANDOM, PUBLIC = "F5:4E:48:00:00:01", "00:1A:7D:DA:71:13/P"
UUID = "5B2C4A1E-0F3D-4E7A-9C11-2D6B8E4F7A90"
BLUETOOTH_HANDS = ("virtual", "hero", "ability_hand")


@pytest.mark.parametrize("address", [RANDOM, PUBLIC, UUID])
def test_an_address_is_written_in_either_case(address: str) -> None:
    assert checked_address(address) == checked_address(address.lower()) == address


@pytest.mark.parametrize(
    "text", ["", "Hero", RANDOM[:-3], RANDOM + "/R", PUBLIC + "/P", RANDOM + "P", UUID + "/P"]
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(
        NervehandError, match=r"is no Bluetooth address: give six pairs.*, and /P after a public one"
    ):
        checked_address(text)


def test_bumble_is_told_which_addresses_are_public_and_the_system_is_not() -> None:
    assert linked_address(PUBLIC, "usb:0") == PUBLIC
    assert linked_address(PUBLIC, None) == PUBLIC.removesuffix("/P")
    assert linked_address(RANDOM, "usb:0") == linked_address(RANDOM, None) == RANDOM
    assert linked_address(UUID, None) == UUID


@pytest.mark.parametrize("kind", BLUETOOTH_HANDS)
def test_a_hand_known_to_macos_alone_is_not_looked_for_as_a_name_through_a_transport(kind: str) -> None:
    hands.open_hand(f"{kind}:{UUID}")
    with pytest.raises(NervehandError, match=f"{UUID} is what macOS calls a hand.* through transport usb:0"):
        hands.open_hand(f"{kind}:{UUID}", HandOptions("usb:0"))


@pytest.mark.parametrize("transport", [None, "usb:0"])
@pytest.mark.parametrize("kind", BLUETOOTH_HANDS)
def test_every_hand_over_bluetooth_may_have_a_public_address(kind: str, transport: str | None) -> None:
    hands.open_hand(f"{kind}:{PUBLIC.lower()}", HandOptions(transport))


def test_an_ability_hand_with_a_public_address_is_no_serial_port() -> None:
    hand = hands.open_hand(f"ability_hand:{PUBLIC}?after=01")
    assert hand.capabilities.max_command_rate_hz == ability_hand.BLE_CAPABILITIES.max_command_rate_hz
