"""`nervehand config init`, `check` and `show` as a person uses them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import typer

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hands import ability_hand, hero, inspire
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from nervehand.config import DaemonConfig
from nervehand.config_changes import flat
from nervehand.config_commands import add_config_commands
from nervehand.config_errors import dotted
from nervehand.config_file import read_config
from nervehand.config_show import OF_THE_HAND


def call(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the command prints; errors come through."""
    app = typer.Typer()
    add_config_commands(app)
    app(["config", *map(str, words)], standalone_mode=False)
    return capsys.readouterr().out


def test_init_writes_a_file_that_checks_and_is_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nervehand.toml"
    assert call(capsys, "init", "-o", path) == (
        f"{path}: edit it, then check it: nervehand config check {path}\n"
    )
    assert call(capsys, "check", path).startswith(f"{path}: right; hand virtual, decoder ")
    assert read_config(path).config == DaemonConfig()
    assert call(capsys, "init") == path.read_text()


def test_init_replaces_a_file_only_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nervehand.toml"
    path.write_text("mine")
    with pytest.raises(NervehandError, match="exists already"):
        call(capsys, "init", "-o", path)
    assert path.read_text() == "mine"
    call(capsys, "init", "-o", path, "--force")
    assert read_config(path).config == DaemonConfig()
    with pytest.raises(NervehandError, match="--force replaces a file: name it with -o"):
        call(capsys, "init", "--force")


def test_check_names_line_and_remedy_of_a_value_and_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.toml"
    path.write_text("[recording]\nrotate_min = 5\n")
    with pytest.raises(NervehandError, match=r"f\.toml, line 2: .*write rotate_s = 300\.0"):
        call(capsys, "check", path)
    path.write_text('[decoder]\n\nbundle = "gone.nhb"\n')
    with pytest.raises(NervehandError, match=r"f\.toml, line 3: .*gone\.nhb"):
        call(capsys, "check", path)


def test_check_warns_of_what_this_machine_lacks_and_show_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_decoder: Path
) -> None:
    path = tmp_path / "f.toml"
    path.write_text(f'[decoder]\nbundle = "{small_decoder}"\n[realtime]\ndecode_cpus = [4095]\n')
    app = typer.Typer()
    add_config_commands(app)
    app(["config", "check", str(path)], standalone_mode=False)
    said = capsys.readouterr()
    assert said.out.startswith(f"{path}: right; ")
    (line,) = said.err.splitlines()
    assert line.startswith(
        f"warning: {path}, line 4: realtime.decode_cpus is [4095] and this machine has no processor"
    )
    with pytest.raises(NervehandError, match=r"line 4: realtime\.decode_cpus is \[4095\]"):
        read_config(path).check_files()
    assert "realtime.decode_cpus = [4095]" in call(capsys, "show", path)


def test_show_says_of_each_value_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.toml"
    path.write_text(
        "[decision]\nhysteresis = 0.25\n[hand.limits]\nmax_speed_per_s = 100\nupper = { thumb = 0.5 }\n"
        '[recording]\nfolder = "rec"\n'
    )
    lines = [line.split("  # ") for line in call(capsys, "show", path).splitlines()]
    shown = {text.strip(): origin for text, origin in lines}
    assert shown["decision.hysteresis = 0.25"] == "line 2"
    assert shown["decision.min_hold_s = 0.1"] == "the decoder"
    # No faster than the hand can be.
    assert shown["hand.limits.max_speed_per_s = 4.0"] == "line 4"
    upper = "thumb = 0.5, index = 1.0, middle = 1.0, ring = 1.0, little = 1.0, wrist = 1.0"
    assert shown[f"hand.limits.upper = {{ {upper} }}"] == "line 5"
    assert shown["hand.limits.lower = -1.0"] == "the hand"
    assert shown["hand.limits.silence_after_s = 0.2"] == "default"
    assert shown["hand.limits.min_battery = -"] == "default"
    assert shown[f'recording.folder = "{tmp_path}/rec"'] == "line 7"
    assert shown["recording.rotate_s = 3600.0"] == "default"
    assert shown["arming.check = false"] == "default"


def test_what_is_told_to_be_the_hands_own_is_what_differs_between_hands() -> None:
    hands = (VIRTUAL_HAND, inspire.CAPABILITIES, hero.CAPABILITIES, ability_hand.CAPABILITIES)
    limits = [GateLimits.for_hand(hand) for hand in hands]
    others = {field.name for field in fields(GateLimits)} - {"actions", "grips", *OF_THE_HAND}
    for name in others:
        assert all(np.array_equal(getattr(one, name), getattr(limits[0], name)) for one in limits), name
    for name in OF_THE_HAND:
        assert any(not np.array_equal(getattr(one, name), getattr(limits[0], name)) for one in limits), name


def test_show_without_a_file_is_the_defaults_every_one_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(call(capsys, "show", "--json"))
    assert shown["file"] is None
    assert list(shown["values"]) == [dotted(keys) for keys in flat(DaemonConfig())]
    assert {one["from"] for one in shown["values"].values()} == {"default", "the decoder", "the hand"}
    assert shown["values"]["hand.adjustments.max_speed_per_s"] == {
        "value": None,
        "from": "default",
        "line": None,
    }


def test_show_as_json_has_file_digest_and_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.toml"
    path.write_text('[log]\nlevel = "debug"\n')
    shown = json.loads(call(capsys, "show", path, "--json"))
    assert (shown["file"], shown["sha256"]) == (str(path), read_config(path).sha256)
    assert shown["values"]["log.level"] == {"value": "debug", "from": "line 2", "line": 2}
