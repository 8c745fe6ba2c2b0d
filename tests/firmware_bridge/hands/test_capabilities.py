"""What every hand says of itself before it is connected: complete, with its source, and what its reports then hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.hero import HeroHand
from firmware_bridge.emulators.hands.inspire import InspireDevice
from firmware_bridge.emulators.hands.rohand import RohandDevice
from firmware_bridge.emulators.hands.virtual import VirtualDevice
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF, LinkState, Quantity, WatchdogAction
from firmware_bridge.hands import HandModule, load, names, open_hand
from firmware_bridge.hands import virtual_protocol as protocol
from firmware_bridge.hands._ability_uart import AbilityUartDialect
from firmware_bridge.hands._dialect import Report
from firmware_bridge.hands._hero import HeroDialect
from firmware_bridge.hands._inspire import InspireDialect
from firmware_bridge.hands._rohand import RohandDialect
from firmware_bridge.hands._virtual import VirtualDialect
from tests.firmware_bridge.hands.serial_talk import Talk

HANDS = names()


@pytest.fixture(params=HANDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def module(name: str) -> HandModule:
    return load(name)


def test_it_says_who_it_is_and_where_that_was_read(module: HandModule) -> None:
    says = module.CAPABILITIES
    assert says.name
    assert "github.com/" in says.source or "docs/" in says.source
    assert not {"\n", "\t"} & set(says.name + says.source)


def test_its_reach_is_within_full_flexion_and_extension_and_holds_rest(module: HandModule) -> None:
    says = module.CAPABILITIES
    assert says.lower.shape == says.upper.shape == says.max_speed_per_s.shape == (N_DOF,)
    assert (says.lower >= -1).all()
    assert (says.lower <= 0).all()
    assert (says.upper >= 0).all()
    assert (says.upper <= 1).all()
    assert (says.upper > says.lower).any()


def test_every_degree_of_freedom_that_moves_has_a_speed(module: HandModule) -> None:
    says = module.CAPABILITIES
    assert np.isfinite(says.max_speed_per_s).all()
    np.testing.assert_array_equal(says.max_speed_per_s > 0, says.upper > says.lower)
    assert 0 < says.max_command_rate_hz <= 1000


def test_what_it_does_when_commands_stop_has_a_time_or_is_called_unknown(module: HandModule) -> None:
    says = module.CAPABILITIES
    if says.watchdog_action is WatchdogAction.UNKNOWN:
        assert says.watchdog_s is None
        assert "when commands stop" in says.source
    else:
        assert says.watchdog_s is not None
        assert says.watchdog_s > 0


def test_its_joints_reach_what_it_says(module: HandModule) -> None:
    says, joints = module.CAPABILITIES, module.JOINTS
    np.testing.assert_array_equal(joints.lower, says.lower)
    np.testing.assert_array_equal(joints.upper, says.upper)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_positions_through_its_joints_and_back_are_the_same(module: HandModule, share: float) -> None:
    says = module.CAPABILITIES
    for end in (says.lower, says.upper):
        positions = (share * end).astype(np.float32)
        back = module.JOINTS.to_positions(module.JOINTS.to_joints(positions))
        has_joint = says.upper > says.lower
        np.testing.assert_allclose(back[has_joint], positions[has_joint], atol=1e-6)
        assert np.isnan(back[~has_joint]).all()


def test_grips_and_names_are_each_said_once(module: HandModule) -> None:
    assert len(set(module.CAPABILITIES.grips)) == len(module.CAPABILITIES.grips)
    assert all(module.CAPABILITIES.grips)
    assert len(set(module.NAMES)) == len(module.NAMES)


def test_its_own_address_opens_it_and_nothing_is_connected(name: str, module: HandModule) -> None:
    assert module.ADDRESS.startswith(f"{name}:")
    hand = open_hand(module.ADDRESS)
    assert hand.link is LinkState.DISCONNECTED
    assert hand.state is None
    assert hand.capabilities.name == module.CAPABILITIES.name
    np.testing.assert_array_equal(hand.capabilities.upper, module.CAPABILITIES.upper)


@pytest.mark.parametrize("where", ["", "?", "?id=1"])
def test_an_address_that_is_none_is_one_clear_error(name: str, where: str) -> None:
    with pytest.raises(NervehandError, match=r"^[^\n]+: [^\n]+$"):
        open_hand(f"{name}:{where}")


@pytest.mark.parametrize("address", ["", "glove:1", "_rohand:x", "virtual_process:x"])
def test_a_hand_that_is_not_there_is_one_clear_error(address: str) -> None:
    with pytest.raises(NervehandError, match=r"^hand '[^\n]*' is not known: use one of .*rohand"):
        open_hand(address)


def test_a_virtual_hand_with_another_watchdog_is_addressed_so() -> None:
    assert open_hand("virtual:F5:4E:48:00:00:01?watchdog=0.6").capabilities.watchdog_s == 0.6


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("watchdog=soon", "watchdog is 'soon': give seconds"),
        ("watchdog=70", r"watchdog is 70\.0 s: give 0\.001 to 65"),
        ("watchdog=nan", "watchdog is nan s: give"),
        ("speed=2", "'speed=2' is nothing that can be set of a virtual hand: use watchdog=SECONDS"),
    ],
)
def test_what_cannot_be_set_of_a_virtual_hand_is_one_clear_error(query: str, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        open_hand(f"virtual:F5:4E:48:00:00:01?{query}")


def virtual() -> Talk:
    device = VirtualDevice(protocol.VIRTUAL_HAND, 0)
    dialect = VirtualDialect()
    dialect.receive(device.read(protocol.INFO_UUID, 0))
    return Talk(dialect, device)


TALKS: dict[str, Callable[[], Talk]] = {
    "ability_hand": lambda: Talk(AbilityUartDialect(), AbilityDevice(0)),
    "hero": lambda: Talk(HeroDialect(), HeroHand(0)),
    "inspire": lambda: Talk(InspireDialect(1), InspireDevice(0)),
    "rohand": lambda: Talk(RohandDialect(2), RohandDevice(0)),
    "virtual": virtual,
}
"""The command set of each hand, as it is set unless told otherwise, with the emulated hand at its other end."""

SAID: dict[Quantity, Callable[[Report], object]] = {
    Quantity.POSITION: lambda told: told.joints,
    Quantity.CURRENT: lambda told: told.currents_a,
    Quantity.FORCE: lambda told: told.forces_n,
    Quantity.TEMPERATURE: lambda told: told.temperature_c,
    Quantity.BATTERY: lambda told: told.battery,
}


def test_it_measures_what_its_reports_hold_and_nothing_else(name: str, module: HandModule) -> None:
    talk = TALKS[name]()
    talk.greet()
    talk.ask(4)
    found = {quantity for quantity, said in SAID.items() if said(talk.told) is not None}
    assert found == module.CAPABILITIES.measures
