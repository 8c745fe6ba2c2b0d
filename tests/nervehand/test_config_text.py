"""A daemon's configuration written as text: it holds every key, says what each means, and reads back as the same."""

from __future__ import annotations

import re
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from nervehand.config import DaemonConfig
from nervehand.config_changes import flat
from nervehand.config_errors import dotted
from nervehand.config_file import config_in
from nervehand.config_text import MEANINGS, toml_of
from tests.nervehand.configs import TEXTS, configs

DEFAULTS = toml_of(DaemonConfig())
TABLES_OF_A_REAL_HAND = ("hand.joints", "hand.actions", "hand.grips")
REAL = {
    "hand": {
        "address": "inspire:/dev/ttyUSB0",
        "side": "left",
        "watchdog_acknowledged_by": "Ann",
        "joints": {"index": {"unit": "angles", "rest": 900.0, "flexed": 100.0, "follows": {"index": 1.0}}},
        "actions": {"silence": "open"},
        "adjustments": {"gain": {"index": 1.5}},
    },
    "arming": {"as": "Ann"},
}


def uncommented(text: str) -> str:
    """With every key that stands behind a comment mark, and an example with it; not what is for a real hand alone."""
    return re.sub(r"(?m)^# (?!transport|bonded|watchdog_ack)(\w+ = [^#\s])", r"\1", text)


def test_what_init_writes_is_the_defaults() -> None:
    assert config_in(DEFAULTS, "new.toml") == DaemonConfig()


def test_every_key_stands_in_it_with_what_it_means_and_no_other_does() -> None:
    leaves = {dotted(keys) for keys in flat(DaemonConfig())}
    assert set(MEANINGS) == {name for name in leaves if not name.startswith(TABLES_OF_A_REAL_HAND)}
    for name, meaning in MEANINGS.items():
        key = name.rpartition(".")[2]
        assert re.search(rf"(?m)^(# )?{key} = [^#]*.*# {re.escape(meaning)}$", DEFAULTS), name


def test_every_time_size_and_rate_says_its_unit() -> None:
    for unit, word in (("_s", "s"), ("_mib", "MiB"), ("_hz", "Hz")):
        names = [name for name in MEANINGS if name.endswith(unit) and not name.startswith("hand.")]
        assert names
        for name in names:
            assert MEANINGS[name].startswith(f"{word}: "), name


def test_no_line_is_longer_than_a_screen() -> None:
    assert max(map(len, DEFAULTS.splitlines())) <= 120


def test_what_is_behind_a_comment_mark_is_a_key_that_could_stand_there() -> None:
    config = config_in(uncommented(DEFAULTS), "all.toml")
    assert config.decision.said.keys() == type(config.decision).model_fields.keys()
    assert config.source.mains_hz == 50.0
    assert config.arming.check is True


def test_a_real_hand_is_written_with_its_tables() -> None:
    config = DaemonConfig.model_validate(REAL)
    assert config_in(toml_of(config), "real.toml") == config


@given(configs())
def test_a_configuration_that_is_written_reads_back_as_the_same(config: DaemonConfig) -> None:
    assert config_in(toml_of(config), "written.toml") == config


@given(st.dictionaries(TEXTS.filter(bool), TEXTS))
def test_names_that_people_give_survive_their_quotes(grips: dict[str, str]) -> None:
    config = DaemonConfig.model_validate({"hand": {"grips": grips}, "arming": {"as": '"\\\x7f\n\t'}})
    assert DaemonConfig.model_validate(tomllib.loads(toml_of(config))) == config
