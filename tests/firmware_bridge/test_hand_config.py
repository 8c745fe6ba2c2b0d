"""A wearer's hand in a TOML file: what it may say, what it is refused for and where, and its round trip."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import hands
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import ALLOWED, Cause, SafeAction
from firmware_bridge.hand import DOF_NAMES, HandCapabilities
from firmware_bridge.hand_config import (
    HandConfig,
    LimitsConfig,
    hand_config_in,
    hand_config_of,
    read_hand_config,
)
from firmware_bridge.hand_config_text import LIMITS, toml_of
from firmware_bridge.hands import virtual
from firmware_bridge.joint_map import Joint

ADDRESS = "virtual:F5:4E:48:00:00:01"
HEAD = f'address = "{ADDRESS}"\n'
HAND = virtual.CAPABILITIES


def loaded(text: str) -> HandConfig:
    return hand_config_in(HEAD + text, "hand.toml")


def error_of(text: str) -> str:
    with pytest.raises(NervehandError) as caught:
        loaded(text)
    said = str(caught.value)
    assert "\n" not in said
    return said


def same_limits(one: GateLimits, other: GateLimits) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(GateLimits)
    )


def test_an_address_alone_is_the_hand_as_it_is() -> None:
    config = loaded("")
    assert config.joint_map is None
    assert same_limits(config.limits(HAND), GateLimits.for_hand(HAND))
    assert config.adjustments == Adjustments()
    assert config.open().capabilities.name == HAND.name


def test_every_limit_of_the_gate_can_be_configured_and_has_its_meaning() -> None:
    of_gate = {field.name for field in fields(GateLimits)} - {"actions", "grips"}
    assert set(LimitsConfig.model_fields) == of_gate
    assert set(LIMITS) == of_gate


def test_a_limit_is_one_number_or_numbers_by_name() -> None:
    limits = loaded(
        "[limits]\nmax_speed_per_s = 2\nupper = { thumb = 0.5 }\nmax_current_a = { index = 0.7 }\n"
        "min_battery = 0.2\n"
    ).limits(HAND)
    assert limits.max_speed_per_s.tolist() == [2] * 6
    assert limits.upper.tolist() == [0.5, 1, 1, 1, 1, 1]
    assert limits.max_current_a is not None
    assert limits.max_current_a.tolist() == [math.inf, np.float32(0.7), *[math.inf] * 4]
    assert limits.min_battery == 0.2


def test_one_number_for_all_is_cut_to_the_hands_reach() -> None:
    no_wrist = HandCapabilities(
        HAND.name,
        np.zeros(6, np.float32),
        np.array([1, 1, 1, 1, 1, 0], np.float32),
        np.array([4, 4, 4, 4, 4, 0], np.float32),
        HAND.watchdog_s,
        HAND.watchdog_action,
        HAND.source,
    )
    limits = loaded("[limits]\nupper = 0.9\nlower = -0.5\nmax_speed_per_s = 100\n").limits(no_wrist)
    assert limits.upper.tolist() == [*[np.float32(0.9)] * 5, 0]
    assert limits.lower.tolist() == [0] * 6
    assert limits.max_speed_per_s.tolist()[:5] == [4] * 5


def test_an_action_is_declared_for_a_cause() -> None:
    limits = loaded('[actions]\nlow_battery = "open"\nhand_fault = "send nothing"\n').limits(HAND)
    assert limits.actions == {Cause.LOW_BATTERY: SafeAction.OPEN, Cause.HAND_FAULT: SafeAction.SILENT}


def test_a_joint_replaces_the_hands_own_and_the_others_stay() -> None:
    config = loaded(
        '[joints.ring]\nunit = "1"\nrest = 0.1\nflexed = 0.8\nfollows = { ring = 0.5, little = 0.5 }\n'
    )
    joint_map = config.joint_map
    assert joint_map is not None
    own = {joint.name: joint for joint in virtual.JOINTS.joints}
    found = {joint.name: joint for joint in joint_map.joints}
    assert list(found) == list(own)
    assert found["ring"] == Joint("ring", "1", 0.1, 0.8, None, {"ring": 0.5, "little": 0.5})
    assert {name: joint for name, joint in found.items() if name != "ring"} == {
        name: joint for name, joint in own.items() if name != "ring"
    }
    assert config.open().capabilities.lower[3] == 0  # it cannot extend any more


def test_adjustments_are_by_name_or_for_all() -> None:
    found = loaded('[adjustments]\ngain = 1.5\ndead_band = { index = 0.1 }\nlocked = ["wrist"]\n').adjustments
    assert found.gain == (1.5,) * 6
    assert found.dead_band == (0, 0.1, 0, 0, 0, 0)
    assert found.locked == (False, False, False, False, False, True)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[limits]\nuper = 1", 3, ("'uper'", "use lower, upper")),
        ("colour = 1", 2, ("'colour'", "use address")),
        ("[joints.index]\nunit = '1'\nrset = 0", 4, ("'rset'", "unit, rest, flexed")),
        ("[limits]\nupper = { pinky = 1 }", 3, ("pinky", "'little'")),
        ("[limits]\n\nupper = 'high'", 4, ("limits.upper is 'high'", "one number")),
        ("[limits]\nmin_confidence = 2", 3, ("min_confidence is 2", "from 0 to 1")),
        ("[limits]\nmin_confidence = 0.5\nmin_battery = true", 4, ("min_battery is True", "a number")),
        ("[limits]\nmax_speed_per_s = 0", 3, ("max_speed_per_s", "above 0")),
        ("[limits]\nmax_speed_per_s = { index = 40 }", 3, ("of index is 40", "at most 4")),
        ("[limits]\nlower = { index = 0.5 }", 3, ("keep -1 <= lower <= 0",)),
        ("[limits]\nupper = 0.2\nopen_positions = { index = 0.5 }", 2, ("inside lower and upper",)),
        ("side = 'up'", 2, ("'left', 'right'",)),
        ("bonded = 1", 2, ("bonded is 1", "true or false")),
        ("[actions]\nstale = 'silent'", 3, ("'silent'", "hold, relax")),
        ("[actions]\ntired = 'hold'", 3, ("'tired'", "link_lost")),
        ("[actions]\nlink_lost = 'hold'", 3, ("choose among send nothing",)),
        ("[actions]\nstopped = 'release'", 3, ("'release'", "use one of")),
        ("[grips]\npower = 'fist'", 3, ("no grip 'fist'", "leave it out")),
        ("[joints.tail]\nunit = '1'\nrest = 0\nflexed = 1\nfollows = {}", 2, ("no joint 'tail'", "thumb")),
        ("[joints.index]\nunit = 'deg'\nrest = 0\nflexed = 1\nfollows = {}", 2, ("'deg'", "unit = '1'")),
        ("[joints.index]\nunit = '1'\nrest = 0\nflexed = 2\nfollows = {}", 2, ("at 2 1", "-1 to 1")),
        ("[joints.index]\nunit = '1'\nrest = 0\nflexed = 0\nfollows = {}", 2, ("two places that differ",)),
        ("[joints.index]\nunit = '1'", 2, ("joints.index.rest is missing", "add it")),
        ("[adjustments]\ngain = { index = 7 }", 3, ("gain of index is 7.0", "from 0 to 4")),
        ("[adjustments]\ngain = { index = 'x' }", 3, ("adjustments.gain.index is 'x'", "a number")),
        ("[adjustments]\ngain = { pinky = 1 }", 3, ("pinky", "'little'")),
        ("[adjustments]\nmax_speed_per_s = { ring = -1 }", 3, ("of ring is -1.0", "above 0 /s")),
        ("[adjustments]\nlocked = 'wrist'", 3, ("'wrist'", "a list of names")),
        ("[adjustments]\nlocked = ['arm']", 3, ("'arm'", "'wrist'")),
        ("limits = 3", 2, ("limits is 3", "a table")),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place_and_what_to_do(
    text: str, line: int, words: tuple[str, ...]
) -> None:
    said = error_of(text)
    assert said.startswith(f"hand.toml, line {line}: ")
    for word in words:
        assert word in said


@pytest.mark.parametrize("address", ["rohand:/dev/x", "ability_hand:/dev/x?reply=3"])
@pytest.mark.parametrize("line", ["bonded = true", 'transport = "usb:0"'])
def test_what_is_said_of_bluetooth_is_refused_for_a_serial_hand(address: str, line: str) -> None:
    with pytest.raises(NervehandError, match=r"line 2: .* for a hand over Bluetooth, .* is on a serial port"):
        hand_config_in(f'address = "{address}"\n{line}\n', "hand.toml")
    assert hand_config_in(
        f'address = "ability_hand:F5:4E:48:00:00:01"\n{line}\n', "hand.toml"
    ).is_over_bluetooth


def test_a_hand_that_is_not_known_or_has_no_address_is_refused() -> None:
    with pytest.raises(
        NervehandError, match=r"hand\.toml, line 1: hand 'claw' is not known: use one of .*virtual"
    ):
        hand_config_in('address = "claw:1"', "hand.toml")
    with pytest.raises(NervehandError, match=r"hand\.toml, line 1: .*no Bluetooth address"):
        hand_config_in('address = "virtual:nowhere"', "hand.toml")
    with pytest.raises(NervehandError, match=r"hand\.toml: address is missing"):
        hand_config_in('side = "left"', "hand.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match=r"none\.toml: cannot be read"):
        read_hand_config(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NervehandError, match=r"bytes\.toml: cannot be read \(it is no text\)"):
        read_hand_config(tmp_path / "bytes.toml")


def test_a_larger_file_holds_one_in_a_table() -> None:
    text = f'name = "me"\n[hand]\naddress = "{ADDRESS}"\n[hand.limits]\nrest_band = 0.2\n'
    assert hand_config_in(text, "me.toml", ("hand",)).limits(HAND).rest_band == 0.2
    with pytest.raises(NervehandError, match=r"me\.toml, line 5: .*rest_band is 2"):
        hand_config_in(text.replace("0.2", "2"), "me.toml", ("hand",))
    with pytest.raises(NervehandError, match=r"me\.toml: has no table \[arm\]"):
        hand_config_in(text, "me.toml", ("arm",))


def test_it_is_a_model_of_a_table() -> None:
    config = HandConfig.model_validate({"address": ADDRESS, "limits": {"rest_band": 0.2}})
    assert config.limits(HAND).rest_band == 0.2


@pytest.mark.parametrize("name", hands.names())
def test_the_written_defaults_read_back_as_the_hand_itself(name: str) -> None:
    module = hands.load(name)
    config = hand_config_of(module.ADDRESS)
    again = hand_config_in(toml_of(config), "written.toml")
    capabilities = config.open().capabilities
    assert same_limits(again.limits(capabilities), config.limits(capabilities))
    assert again.joint_map == module.JOINTS
    assert again.adjustments == config.adjustments
    assert again.open().capabilities.name == capabilities.name
    assert toml_of(again) == toml_of(config)


fractions = st.floats(0, 1, width=32)
by_dof = st.dictionaries(st.sampled_from(DOF_NAMES), fractions)
allowed = st.sampled_from([(cause, action) for cause, actions in ALLOWED.items() for action in actions])


@settings(deadline=None, max_examples=40)
@given(
    upper=st.one_of(fractions, by_dof),
    gain=st.one_of(st.floats(0, 4), by_dof),
    speed=st.floats(0.125, 4, width=32),
    confidence=st.floats(0, 1),
    battery=st.none() | st.floats(0, 1),
    locked=st.lists(st.sampled_from(DOF_NAMES), unique=True),
    actions=st.lists(allowed),
    who=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_whatever_is_configured_is_written_so_that_it_reads_back(
    upper: object,
    gain: object,
    speed: float,
    confidence: float,
    battery: float | None,
    locked: list[str],
    actions: list[tuple[Cause, SafeAction]],
    who: str,
) -> None:
    limits = {"upper": upper, "max_speed_per_s": speed, "min_confidence": confidence}
    config = HandConfig.model_validate(
        {
            "address": ADDRESS,
            "watchdog_acknowledged_by": who,
            "limits": limits | ({} if battery is None else {"min_battery": battery}),
            "actions": dict(actions),
            "adjustments": {"gain": gain, "locked": locked},
        }
    )
    again = hand_config_in(toml_of(config), "written.toml")
    assert same_limits(again.limits(HAND), config.limits(HAND))
    assert again.adjustments == config.adjustments
    assert again.watchdog_acknowledged_by == who
