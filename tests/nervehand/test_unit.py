"""The systemd unit of a daemon: as systemd reads it, and what must and must not be in it."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import assume, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from firmware_bridge.errors import NervehandError
from nervehand.supervised_process import LifeTimes
from nervehand.unit import OLDEST_SYSTEMD, add_unit_command, unit_text

FROM_VERSION = {
    "After": 183,
    "AmbientCapabilities": 229,
    "CapabilityBoundingSet": 183,
    "Description": 183,
    "Environment": 183,
    "ExecReload": 183,
    "ExecStart": 183,
    "ExecStop": 183,
    "KillMode": 187,
    "LimitMEMLOCK": 183,
    "LimitRTPRIO": 183,
    "LockPersonality": 235,
    "Nice": 183,
    "NoNewPrivileges": 187,
    "NotifyAccess": 183,
    "OOMScoreAdjust": 183,
    "PrivateTmp": 183,
    "ProtectControlGroups": 232,
    "ProtectKernelModules": 232,
    "ProtectKernelTunables": 232,
    "ProtectSystem": 214,
    "ReadWritePaths": 231,
    "Restart": 183,
    "RestartPreventExitStatus": 189,
    "RestartSec": 183,
    "RestrictAddressFamilies": 211,
    "RestrictNamespaces": 233,
    "RuntimeDirectory": 211,
    "RuntimeDirectoryMode": 234,
    "RuntimeDirectoryPreserve": 235,
    "StartLimitIntervalSec": 230,
    "StateDirectory": 235,
    "StateDirectoryMode": 235,
    "SystemCallArchitectures": 209,
    "TimeoutStartSec": 188,
    "TimeoutStopSec": 188,
    "Type": 183,
    "UMask": 183,
    "User": 183,
    "WantedBy": 183,
    "WatchdogSec": 183,
    "WatchdogSignal": 240,
    "WorkingDirectory": 183,
}
"""Since which version systemd knows a setting, 183 for what is older (systemd.directives(7) and systemd's NEWS)."""
ME = pwd.getpwuid(os.getuid()).pw_name
TEXTS = [
    {"home": "", "recordings": ""},
    {"home": "/home/me", "recordings": "/data/recordings"},
    {"home": "", "recordings": '/a b/100 % "it\'s" $HOME\\n', "has_adapter": True},
]


def a_unit(**options: object) -> str:
    return unit_text(Path("/etc/nervehand.toml"), sys.executable, ME, **options)  # type: ignore[arg-type]


def settings(text: str) -> list[tuple[str, str]]:
    pairs = [line.partition("=") for line in text.splitlines() if line and line[0] not in "[#"]
    return [(name, value) for name, _, value in pairs]


def single(text: str, doubled: str) -> str:
    """Each `doubled` once; an error where one stands alone, as it would mean something."""
    parts = text.split(2 * doubled)
    assert not [part for part in parts if doubled in part], text
    return doubled.join(parts)


def value(text: str, name: str) -> str:
    (found,) = [one for its_name, one in settings(text) if its_name == name]
    return found


@pytest.mark.parametrize("options", TEXTS)
@pytest.mark.parametrize("config", ["/etc/nervehand.toml", '/a $b %n "it\'s"/\\c d.toml'])
def test_systemd_has_nothing_to_say_about_it(tmp_path: Path, options: dict[str, object], config: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    file = tmp_path / "nervehand.service"
    file.write_text(unit_text(Path(config), sys.executable, ME, systemd=252, **options))  # type: ignore[arg-type]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert [line for line in said.splitlines() if "nervehand" in line or str(tmp_path) in line] == []


def test_systemd_says_something_about_a_unit_that_is_wrong(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    file = tmp_path / "nervehand.service"
    file.write_text(a_unit().replace("KillMode=", "KilMode="))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    assert "KilMode" in done.stdout + done.stderr


@pytest.mark.parametrize("options", TEXTS)
def test_the_oldest_systemd_knows_every_setting(options: dict[str, object]) -> None:
    assert OLDEST_SYSTEMD == 237
    for name, _ in settings(a_unit(**options)):
        assert FROM_VERSION[name] <= OLDEST_SYSTEMD, name


def test_the_watchdogs_signal_lets_the_guard_release_where_systemd_can_choose_it() -> None:
    assert value(a_unit(systemd=240), "WatchdogSignal") == "SIGTERM"
    assert "WatchdogSignal" not in a_unit(systemd=239)


def test_what_the_daemon_needs_is_not_forbidden() -> None:
    names = dict(settings(a_unit()))
    needed = {"PrivateDevices", "DevicePolicy", "DeviceAllow", "RestrictRealtime", "MemoryDenyWriteExecute"}
    needed |= {"PrivateNetwork", "SystemCallFilter", "ProtectHome", "LimitRTTIME", "ProtectClock"}
    assert needed & set(names) == set()
    assert {"AF_UNIX", "AF_INET", "AF_BLUETOOTH"} <= set(names["RestrictAddressFamilies"].split())
    assert names["LimitMEMLOCK"] == "infinity"
    assert names["LimitRTPRIO"] == "99"
    assert names["User"] == ME


def test_there_is_time_for_a_release_and_for_a_start_after_a_stall() -> None:
    times = LifeTimes()
    text = a_unit(stall_s=7.5, start_s=100.0)
    assert float(value(text, "TimeoutStopSec")) > times.end_s + times.leftovers_s
    again_s = 100.0 + times.abort_s + times.leftovers_s + times.longest_wait_s
    assert float(value(text, "TimeoutStartSec")) > again_s
    assert float(value(text, "WatchdogSec")) > 7.5 + again_s


def test_a_user_without_a_home_gets_a_folder_and_one_with_a_home_writes_there() -> None:
    without = settings(a_unit())
    assert ("StateDirectory", "nervehand") in without
    assert ("Environment", "HOME=/var/lib/nervehand") in without
    assert "ReadWritePaths" not in dict(without)
    assert value(a_unit(home="/home/me"), "ReadWritePaths") == "-/home/me"
    assert "HOME=" not in a_unit(home="/home/me")


def test_only_who_drives_an_adapter_has_capabilities() -> None:
    assert value(a_unit(), "CapabilityBoundingSet") == ""
    assert "CAP_NET_ADMIN" in value(a_unit(has_adapter=True), "AmbientCapabilities")


@given(st.text(st.characters(exclude_characters="\0"), min_size=1) | st.text("a %$\"\\'", min_size=1))
def test_any_path_is_one_word_or_an_error(text: str) -> None:
    path = f"/{text}"
    assume(str(Path(path)) == path)
    try:
        written = unit_text(Path(path), path, ME, recordings=path)
    except NervehandError:
        assert not path.isprintable()
        return
    program, *words = shlex.split(single(value(written, "ExecStart"), "%"))
    assert program == path
    assert words[:-1] == ["-m", "nervehand", "run", "--config"]
    assert single(words[-1], "$") == path
    assert shlex.split(single(value(written, "ReadWritePaths"), "%")) == [f"-{path}"]


@pytest.mark.parametrize(
    ("config", "python", "user", "recordings", "words"),
    [
        ("nervehand.toml", "/usr/bin/python3", ME, "", "not a whole path"),
        ("/nervehand.toml", "python3", ME, "", "not a whole path"),
        ("/nervehand.toml", "/usr/bin/python3", ME, "recordings", "not a whole path"),
        ("/nerve\nhand.toml", "/usr/bin/python3", ME, "", "cannot hold"),
        ("/nervehand.toml", "/usr/bin/python3", "me and you", "", "no user's name"),
        ("/nervehand.toml", "/usr/bin/python3", "", "", "no user's name"),
    ],
)
def test_what_a_unit_cannot_hold_is_an_error(
    config: str, python: str, user: str, recordings: str, words: str
) -> None:
    with pytest.raises(NervehandError, match=words):
        unit_text(Path(config), python, user, recordings=recordings)


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)  # so that the command has its name
    add_unit_command(made)
    return made


def test_the_command_writes_what_the_configuration_needs(app: typer.Typer, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(
        '[recording]\nfolder = "kept"\n[watchdog]\nstart_s = 200.0\n'
        '[hand]\naddress = "virtual:F0:F1:F2:F3:F4:F5"\nside = "left"\ntransport = "hci-socket:0"\n'
        '[arming]\nas = "Ann"\n'
    )
    out = tmp_path / "mine.service"
    done = CliRunner().invoke(app, ["unit", "--config", str(config), "--user", ME, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "systemctl enable --now mine" in done.output
    text = out.read_text()
    assert value(text, "ExecStart") == f"{sys.executable} -m nervehand run --config {config}"
    assert ("ReadWritePaths", f"-{tmp_path}/kept") in settings(text)
    assert float(value(text, "TimeoutStartSec")) > 200.0
    assert "CAP_NET_ADMIN" in value(text, "AmbientCapabilities")


def test_the_command_prints_it_and_how_to_install_it_apart(app: typer.Typer, tmp_path: Path) -> None:
    config = tmp_path / "nervehand.toml"
    config.write_text("")
    done = CliRunner().invoke(app, ["unit", "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("[Unit]\n")
    assert "/etc/systemd/system/nervehand.service" in done.stderr
    assert "/etc/systemd" not in done.stdout


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        (None, [], "cannot be read"),
        ("[watchdgo]\n", [], "watchdgo"),
        ("", ["--user", "nobody-has-this-name"], "no user 'nobody-has-this-name'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    app: typer.Typer, tmp_path: Path, text: str | None, arguments: list[str], words: str
) -> None:
    config, out = tmp_path / "nervehand.toml", tmp_path / "out.service"
    if text is not None:
        config.write_text(text)
    done = CliRunner().invoke(app, ["unit", "--config", str(config), "-o", str(out), *arguments])
    assert isinstance(done.exception, NervehandError)
    assert words in str(done.exception)
    assert not out.exists()


def test_a_unit_that_is_there_is_replaced_by_force_only(app: typer.Typer, tmp_path: Path) -> None:
    config, out = tmp_path / "nervehand.toml", tmp_path / "out.service"
    config.write_text("")
    out.write_text("mine")
    arguments = ["unit", "--config", str(config), "-o", str(out)]
    assert "exists already" in str(CliRunner().invoke(app, arguments).exception)
    assert out.read_text() == "mine"
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0
    assert out.read_text().startswith("[Unit]")
