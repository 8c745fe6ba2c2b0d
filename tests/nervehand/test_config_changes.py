"""What another configuration changes: exactly what differs, each value in exactly one class."""

from __future__ import annotations

import pytest
from hypothesis import given

from firmware_bridge.hand_config import AdjustmentsConfig, LimitsConfig
from nervehand.config import DaemonConfig, DecisionConfig
from nervehand.config_changes import Change, changes, flat
from nervehand.config_errors import dotted
from tests.nervehand.configs import Keys, configs, put

DEFAULTS = DaemonConfig()
LIVE = {
    *(f"decision.{name}" for name in DecisionConfig.model_fields),
    *(f"hand.limits.{name}" for name in LimitsConfig.model_fields if name != "link_timeout_s"),
    *(f"hand.adjustments.{name}" for name in AdjustmentsConfig.model_fields),
}
"""All that may change without a stop."""
JOINT = {"unit": "angles", "rest": 0.0, "flexed": 1.0, "follows": {"index": 1.0}}


def another(keys: Keys, value: object) -> object:
    """A value of the same kind that is not the default."""
    if keys[0] == "decision" or keys[:2] == ("hand", "limits"):
        return 0.5
    others: dict[Keys, object] = {
        ("source", "mains_hz"): 50.0,
        ("hand", "side"): "left",
        ("hand", "transport"): "usb:0",
        ("hand", "adjustments", "locked"): ["index"],
        ("arming", "check"): False,
        ("decoder", "allowed_signers"): ["A" * 43 + "="],
        ("decoder", "engine"): "compiled",
        ("realtime", "policy"): "off",
        ("recording", "keep"): "pinned",
        ("log", "format"): "json",
        ("log", "level"): "debug",
    }
    if keys in others:
        return others[keys]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return 3.0
        case str():
            return f"{value}x"
        case tuple():
            return [1] if keys[-1].endswith("cpus") else ["x"]
    raise AssertionError(f"no other value for {keys}")


@pytest.mark.parametrize("keys", list(flat(DEFAULTS)), ids=dotted)
def test_one_value_that_differs_is_in_exactly_one_class_and_nothing_else_is(keys: Keys) -> None:
    table: dict[str, object] = {}
    put(table, keys, another(keys, flat(DEFAULTS)[keys]))
    after = DaemonConfig.model_validate(table)
    found, name = changes(DEFAULTS, after), dotted(keys)
    if name in LIVE:
        assert (found.applied, found.needs_restart) == ((name,), ())
    else:
        change = Change(name, flat(DEFAULTS)[keys], flat(after)[keys])
        assert (found.applied, found.needs_restart) == ((), (change,))


@pytest.mark.parametrize(
    ("hand", "names"),
    [
        ({"actions": {"silence": "open"}}, {"hand.actions.silence"}),
        ({"grips": {"one two": "power"}}, {'hand.grips."one two"'}),
        (
            {"joints": {"index": JOINT}},
            {f"hand.joints.index.{key}" for key in JOINT} | {"hand.joints.index.extended"},
        ),
    ],
)
def test_what_a_real_hand_has_more_of_needs_a_restart(hand: dict[str, object], names: set[str]) -> None:
    found = changes(DEFAULTS, DaemonConfig.model_validate({"hand": hand}))
    # What is not said on either side is no difference.
    assert {change.name for change in found.needs_restart} == names - {"hand.joints.index.extended"}
    assert found.applied == ()


@given(configs())
def test_equal_configurations_have_no_changes(config: DaemonConfig) -> None:
    found = changes(config, config.model_copy(deep=True))
    assert (found.applied, found.needs_restart) == ((), ())
    assert found.outcome == "applied: nothing has changed"


@given(configs(), configs())
def test_the_changes_are_all_that_makes_one_the_other(before: DaemonConfig, after: DaemonConfig) -> None:
    found = changes(before, after)
    restart = [change.name for change in found.needs_restart]
    named = [*found.applied, *restart]
    assert len(set(named)) == len(named)
    old = {dotted(keys): value for keys, value in flat(before).items()}
    new = {dotted(keys): value for keys, value in flat(after).items()}
    for name in old.keys() | new.keys():
        assert (name in named) == (old.get(name) != new.get(name))
        assert name not in found.applied or name in LIVE
        assert name not in restart or name not in LIVE
    for change in found.needs_restart:
        assert (change.before, change.after) == (old.get(change.name), new.get(change.name))
    assert (before == after) == (not named)


def test_a_change_that_needs_a_restart_is_refused_with_all_others_and_says_before_and_after() -> None:
    after = DaemonConfig.model_validate(
        {"source": {"address": "serial:/dev/ttyACM0", "mains_hz": 50.0}, "decision": {"hysteresis": 0.2}}
    )
    assert changes(DEFAULTS, after).outcome == (
        "refused: source.address ('simulated' -> 'serial:/dev/ttyACM0'), source.mains_hz (not said -> 50.0)"
        " need a restart"
    )
    one = DaemonConfig.model_validate({"log": {"level": "debug"}})
    assert changes(DEFAULTS, one).outcome == "refused: log.level ('info' -> 'debug') needs a restart"


def test_what_is_applied_is_named() -> None:
    after = DaemonConfig.model_validate(
        {"decision": {"hysteresis": 0.2}, "hand": {"adjustments": {"gain": 1.5}}}
    )
    assert changes(DEFAULTS, after).outcome == "applied: decision.hysteresis, hand.adjustments.gain"
