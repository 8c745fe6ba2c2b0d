"""Data that crosses between processes comes back as it went, and nothing else is taken for it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import Cause, SafeAction
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand import HandState
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.joint_map import Joint, JointMap
from firmware_bridge.plain import from_plain, to_plain
from firmware_bridge.preuse import CheckItem, PreUseReport
from firmware_bridge.stop_lines import LineAction, StopLine

LIMITS = GateLimits(
    [-1.0, -1, -1, -1, -1, 0],
    [1.0] * 6,
    [4.0] * 6,
    max_current_a=2.0,
    actions={Cause.SILENCE: SafeAction.HOLD},
    grips={"fist": "power"},
)
JOINTS = JointMap((Joint("thumb_rotator", "deg", 0.0, -100.0, None, {"thumb": 1.0, "index": -0.5}),))
SETTINGS = GuardSettings(
    "virtual:F5:4E:48:00:00:01",
    HandOptions("usb:0", True, JOINTS),
    LIMITS,
    Adjustments(gain=(2.0,) * 6, max_speed_per_s=(math.inf,) * 6),
    (StopLine("gpio:/sys/class/gpio/gpio79/value", LineAction.RELEASE),),
)


@pytest.mark.parametrize(
    "thing",
    [
        SETTINGS,
        LIMITS,
        VIRTUAL_HAND,
        PreUseReport(7, (CheckItem("side", True, "left"),)),
        HandState(np.full(6, np.nan, np.float32), 5, currents_a=np.ones(6, np.float32), battery=0.5),
    ],
)
def test_what_is_written_down_is_read_back_the_same(thing: object) -> None:
    text = json.dumps(to_plain(thing))
    again = from_plain(type(thing), json.loads(text))
    assert type(again) is type(thing)
    assert json.dumps(to_plain(again)) == text


def test_types_come_back_and_arrays_are_float32() -> None:
    again = from_plain(GuardSettings, json.loads(json.dumps(to_plain(SETTINGS))))
    assert again.limits is not None
    assert again.limits.lower.dtype == np.float32
    assert again.limits.actions == {Cause.SILENCE: SafeAction.HOLD}
    assert again.options.joint_map == JOINTS
    assert again.adjustments == SETTINGS.adjustments
    assert again.stop_lines == SETTINGS.stop_lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"speed": 3}, "settings has no speed"),
        ({"hand": 7}, "settings.hand is 7: give a str"),
        ({"rate_hz": True}, "settings.rate_hz is True"),
        ({"options": {"is_bonded": 1}}, "settings.options.is_bonded is 1"),
        ({"options": []}, "settings.options is []: give an object"),
        ({"limits": {"lower": [0.0] * 6}}, "settings.limits lacks upper, max_speed_per_s"),
        ({"stop_lines": {}}, "settings.stop_lines is {}: give a list"),
        (
            {"stop_lines": [{"address": "gpio:/x", "action": "jump"}]},
            r"stop_lines\[0\].action is 'jump': give one of stop",
        ),
        ({"adjustments": {"gain": [9.0] * 6}}, "adjustment gain"),
        ({"limits": {"lower": "low", "upper": [1.0], "max_speed_per_s": [1.0]}}, "limits.lower is 'low'"),
        ({"name": "../x"}, "cannot be called"),
        ({"release_s": 0.0}, "release_s is 0"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(change: dict[str, object], said: str) -> None:
    with pytest.raises(NervehandError, match=said.replace("[]", r"\[\]")):
        from_plain(GuardSettings, {"hand": "virtual:x"} | change, "settings")


def test_a_whole_number_is_a_float_where_one_is_wanted_and_what_has_a_default_may_be_left_out() -> None:
    made = from_plain(GuardSettings, {"hand": "virtual:x", "rate_hz": 200})
    assert isinstance(made.rate_hz, float)
    assert made.options == HandOptions()
