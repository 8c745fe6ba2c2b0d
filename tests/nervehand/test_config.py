"""A daemon's configuration in a TOML file: what it may say, what it is refused for, on which line, and the remedy."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.bundle import read_bundle
from decoder.decision import DecisionSettings
from firmware_bridge.errors import NervehandError
from firmware_bridge.toml_lines import line_of
from nervehand.config import DaemonConfig, DecisionConfig
from nervehand.config_changes import flat
from nervehand.config_checks import is_loopback
from nervehand.config_errors import dotted, model_at, quoted
from nervehand.config_file import config_in, line_in, lines_of, read_config
from nervehand.config_text import toml_of
from tests.nervehand.configs import TEXTS, configs
from tests.nervehand.test_config_text import uncommented

KEY = "A" * 43 + "="
ALL = uncommented(toml_of(DaemonConfig()))
"""A text with every key in it that a configuration may have."""
LINES = ALL.splitlines()
KINDS: dict[str, tuple[str, ...]] = {
    "number": ('"10s"', "true", "[1.0]", "1979-05-27", "01:00:00", "nan"),
    "whole": ('"10"', "true", "[1]", "1.5", "{ a = 1 }"),
    "text": ("5", "1.5", "false", "[]", "{ a = 1 }", "1979-05-27T07:32:00Z"),
    "flag": ('"yes"', "0", "1.0", "[true]", "{}"),
    "list": ('"wrist"', "5", "{ a = 1 }", "true", "[[1]]", "[1979-05-27]"),
}


def loaded(text: str, folder: Path | None = None) -> DaemonConfig:
    return config_in(text, "f.toml", folder)


def error_of(text: str) -> str:
    """The one line that is said of it."""
    with pytest.raises(NervehandError) as caught:
        loaded(text)
    said = str(caught.value)
    assert "\n" not in said
    return said


def kind_of(value: object) -> str:
    kinds = {bool: "flag", int: "whole", float: "number", str: "text", list: "list"}
    return kinds[type(value)]


def leaves() -> Iterator[tuple[int, str, str]]:
    """Line (from 1), key and kind of each key in ALL."""
    table = tomllib.loads(ALL)
    for keys, line in lines_of(ALL).items():
        value: object = table
        for key in keys:
            assert isinstance(value, dict)
            value = value[key]
        if not isinstance(value, dict) and keys[:2] != ("hand", "actions"):
            yield line, str(keys[-1]), kind_of(value)


def headers() -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line (from 1) and keys of each table in ALL, and of the top; grips take any key."""
    yield 0, ()
    for n, line in enumerate(LINES, 1):
        if line.startswith("[") and not line.startswith("[hand.grips]"):
            yield n, tuple(line[1 : line.index("]")].split("."))


LEAVES, HEADERS = list(leaves()), list(headers())


def test_nothing_said_is_the_simulated_subject_and_the_virtual_hand() -> None:
    config = loaded("")
    assert config == DaemonConfig()
    assert (config.source.address, config.hand.address, config.decoder.bundle) == ("simulated", "virtual", "")
    assert (config.port.listen, config.metrics.listen, config.recording.folder) == ("", "", "")
    assert not config.is_worn
    assert not config.is_checked


@given(configs(), st.data())
def test_where_each_value_begins_is_found_for_all_at_once_as_for_one(
    config: DaemonConfig, data: st.DataObject
) -> None:
    text = toml_of(config)
    keys = data.draw(st.sampled_from(list(flat(config))))
    assert (line_in(lines_of(text), keys) or None) == line_of(text, keys)


def test_a_value_of_several_lines_begins_on_its_first_one() -> None:
    wires = "[guard] # wires\n\nstop_lines = [\n  'a', # one\n  'b',\n]\n"
    text = f'{wires}name = """\na = 1\n"""\n\n[hand.limits]\nupper = 1\n'
    lines = lines_of(text)
    found = {("guard",): 1, ("guard", "stop_lines"): 3, ("guard", "name"): 7, ("hand", "limits", "upper"): 12}
    assert {keys: lines[keys] for keys in found} == found
    assert all(line == line_of(text, keys) for keys, line in lines.items())
    assert ("a",) not in lines


@given(st.data())
def test_an_unknown_key_anywhere_is_one_line_that_names_its_own(data: st.DataObject) -> None:
    line, way = data.draw(st.sampled_from(HEADERS))
    key = data.draw(st.from_regex(r"[a-z][a-z_]{0,11}", fullmatch=True) | TEXTS)
    model = model_at(DaemonConfig, way)
    taken = {field.alias or name for name, field in model.model_fields.items()} if model else set()
    if key not in taken:
        value = data.draw(st.sampled_from(["1", '"1h"', "true", "[]", "{ a = 1 }", "2.5", "01:00:00"]))
        text = "\n".join([*LINES[:line], f"{quoted(key)} = {value}", *LINES[line:]])
        said = error_of(text)
        assert said.startswith(f"f.toml, line {line + 1}: there is no "), said
        assert re.search(r": (use|write|say which|.* belongs in)", said), said


@given(st.data())
def test_a_value_of_another_kind_is_one_line_that_names_its_own_and_the_value(data: st.DataObject) -> None:
    line, key, kind = data.draw(st.sampled_from(LEAVES))
    value = data.draw(st.sampled_from(KINDS[kind]))
    said = error_of("\n".join([*LINES[: line - 1], f"{key} = {value}", *LINES[line:]]))
    assert said.startswith(f"f.toml, line {line}: "), said
    assert key in said
    assert re.search(r": (give|make)", said), said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[recording]\nrotate_min = 60",
            "line 2: there is no key 'rotate_min' in [recording]: write rotate_s = 3600.0",
        ),
        ("[recording]\nbudget_gb = 20", "write budget_mib = 19073 (MiB)"),
        ("[recording]\nbudget_gib = 20", "write budget_mib = 20480 (MiB)"),
        ("[recording]\nreserve_bytes = 268435456", "write reserve_mib = 256 (MiB)"),
        ('[recording]\nrotate = "1h"', "write rotate_s = 3600.0 (seconds)"),
        ('[recording]\nrotate = "1GiB"', "write rotate_mib = 1024 (MiB)"),
        ("[recording]\nrotate = 01:30:00", "write rotate_s = 5400.0 (seconds)"),
        (
            "[recording]\nrotate = 10",
            "say which, rotate_mib (a number of MiB) or rotate_s (a number of seconds)",
        ),
        ("[watchdog]\nstall_ms = 500", "write stall_s = 0.5 (seconds)"),
        ("[watchdog]\nstallMs = 500", "write stall_s = 0.5 (seconds)"),
        ("[overload]\nrestart_after = 10", "write restart_after_s = 10.0 (seconds)"),
        ('[overload]\nrestart_after = "10s"', "write restart_after_s = 10.0 (seconds)"),
        ('[overload]\nrestart_after = "soon"', "use restart_after_s (a number of seconds)"),
        ("[hand.limits]\nsilence_after_ms = 200", "write silence_after_s = 0.2 (seconds)"),
        ("[hand.limits]\nmax_current_ma = 700", "write max_current_a = 0.7 (amperes)"),
        ("[hand.limits]\nmax_speed_per_min = 60", "in [hand.limits]: use max_speed_per_s"),
        ("[source]\nmains_khz = 0.05", "write mains_hz = 50.0 (Hz)"),
        ("[watchdog]\nrestart_after_s = 3", "restart_after_s belongs in [overload]"),
        ("[recordings]\nfolder = ''", "there is no table [recordings]: use [recording]"),
        ("[limits]\nupper = 1", "there is no table [limits]: limits belongs in [hand]"),
        ("[hand.limts]\nupper = 1", "there is no table [hand.limts]: use [hand.limits]"),
        ("[decoder]\nbundel = ''", "there is no key 'bundel' in [decoder]: use bundle"),
        ("listen = ':0'", "line 1: there is no key 'listen': listen belongs in [port] or [metrics]"),
        ("[log]\nxyzzy = 1", "there is no key 'xyzzy' in [log]: use one of format, level"),
        (
            "[metrics]\nport = 9464",
            """there is no key 'port' in [metrics]: write listen = "127.0.0.1:9464\"""",
        ),
        (
            "[metrics]\nhost = 'localhost'",
            "there is no key 'host' in [metrics]: use listen, HOST:PORT in quotes",
        ),
        ("[port]\naddress = 70000", "there is no key 'address' in [port]: use listen, HOST:PORT"),
        ("[log]\nmetrics = 1", "there is no key 'metrics' in [log]: use one of format, level"),
        ("[log]\nrecordin = 1", "there is no key 'recordin' in [log]: use one of format, level"),
        ("[log.metrics]\nlisten = ''", "there is no table [log.metrics]: use [metrics]"),
        ("[arming]\narm_as = 'Ann'", "there is no key 'arm_as' in [arming]: use "),
    ],
)
def test_what_is_written_in_another_way_is_told_how_to_write_it(text: str, said: str) -> None:
    assert said in error_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[recording]\nrotate_s = "10m"', "recording.rotate_s is '10m': give a number of seconds"),
        ('[recording]\nrotate_s = "1h"', "rotate_s is '1h': give a number of seconds, rotate_s = 3600.0"),
        ("[recording]\nrotate_s = 01:00:00", "is 01:00:00: give a number of seconds, rotate_s = 3600.0"),
        ('[recording]\nbudget_mib = "20 GiB"', "give a whole number of MiB, budget_mib = 20480"),
        ("[recording]\nreserve_mib = 256.0", "is 256.0: give a whole number of MiB, reserve_mib = 256"),
        (
            "[recording]\nreserve_mib = 268435456",
            "recording.reserve_mib is 268435456: that looks like bytes, give MiB from 1 to 1048576: 256",
        ),
        (
            "[recording]\nrotate_s = 3600000",
            "recording.rotate_s is 3600000: that looks like milliseconds, give seconds from 1 to 604800: 3600.0",
        ),
        ("[watchdog]\nstall_s = 5000", "that looks like milliseconds, give seconds from 0.1 to 600: 5.0"),
        ("[decision]\nmin_hold_s = 100", "that looks like milliseconds, give seconds from 0 to 10: 0.1"),
        ("[hand.limits]\nsilence_after_s = 200", "hand.limits.silence_after_s is 200.0: that looks like milliseconds"),
        ("[watchdog]\nstall_s = 0", "watchdog.stall_s is 0: give seconds from 0.1 to 600"),
        ("[watchdog]\nstall_s = inf", "watchdog.stall_s is inf: give a finite number"),
        ("[recording]\nrotate_mib = -1", "recording.rotate_mib is -1: give MiB from 1 to 65536"),
        ("[source]\nmains_hz = 55", "give 50.0 or 60.0"),
        ("[realtime]\npriority = 100", "realtime.priority is 100: give a priority of SCHED_FIFO, 1 to 99"),
        ("[realtime]\ndecode_cpus = [1, 1]", "from 0 and each once"),
        ("[realtime]\nguard_cpus = [-1]", "realtime.guard_cpus is [-1]: give numbers of processors, from 0"),
        ("[realtime]\ndecode_cpus = [1, 2.0]", "realtime.decode_cpus[1] is 2.0: give a whole number"),
        ("[realtime]\ndecode_cpus = 1", "realtime.decode_cpus is 1: give a list such as [1]"),
        ('[realtime]\nguard_cpus = "3"', "realtime.guard_cpus is '3': give a list such as [3]"),
        ("[realtime]\nguard_cpus = true", "realtime.guard_cpus is true: give a list such as [2, 3]"),
        (
            "[guard]\nstop_lines = 'gpio:/f'",
            """guard.stop_lines is 'gpio:/f': give a list such as ["gpio:/f"]""",
        ),
        ("[guard]\nstop_lines = 1", 'guard.stop_lines is 1: give a list such as ["..."]'),
        ("[decision]\nhysteresis = 2", "decision.hysteresis is 2.0: give a probability from 0 to 1"),
        ("[decision]\nmin_cutoff_hz = 0", "decision.min_cutoff_hz is 0.0: give a positive number of Hz"),
        ("[hand.adjustments]\ngain = 5", "adjustment gain of thumb is 5.0: give a number from 0 to 4"),
        ("[hand.limits]\nupper = { thumb = 2 }", "gate limit upper of thumb is 2: stay within -1 to 1"),
        ('[hand.limits]\nupper = "1"', "is '1': give one number, or numbers by name, { index = 0.5 }"),
        ('[hand.actions]\nsilence = "wave"', "there is no safe action 'wave': use one of hold"),
        ('name = "a b"', """name is 'a b': use letters, digits, "-" and "_", at most 40"""),
        ('name = ""', "give a name"),
        ('source = "simulated"', "line 1: source is 'simulated': make it a table, [source]"),
        ('[source]\naddress = "nowhere"', "line 2: source 'nowhere' is not known: use one of"),
        ("[source]\nstart_s = 5", "source.start_s is 5 and simulated cannot begin later, which only a session can"),
        ('[decoder]\nengine = "fast"', "engine is 'fast': give 'auto', 'compiled', 'onnxruntime' or 'tensorrt'"),
        ('[decoder]\nbundle = "~/my.nhb"', "give the whole path"),
        ('[decoder]\nallowed_signers = ["abc"]', "line 2: decoder.allowed_signers[0] is 'abc': give an Ed25519"),
        (f'[decoder]\nallowed_signers = ["{KEY[:42]}B="]', "the last characters are not what such a key ends in"),
        (f'[decoder]\nallowed_signers = ["{KEY}",\n"{KEY[:40]}"]', "allowed_signers[1]"),
        ('[guard]\nstop_lines = ["cts"]', "line 2: guard.stop_lines: there is no stop line 'cts': use serial:"),
        ("[log]\nlevel = 3", "log.level is 3: give 'debug', 'info', 'warning' or 'error'"),
        ("a = \n", "f.toml: Invalid value (at line 1, column 5)"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_the_remedy(text: str, said: str) -> None:
    assert said in error_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[recording]\nreserve_mib = 20480", "line 2: recording.reserve_mib is 20480 and recording.budget_mib 20480"),
        ("[recording]\nbudget_mib = 512", "line 2: recording.rotate_mib is 1024 and recording.budget_mib 512"),
        ("[recording]\nrotate_mib = 30000", "line 2: recording.rotate_mib is 30000"),
        ('[port]\ntls_key = "/k.pem"', "line 2: port.tls_key is '/k.pem' and port.tls_certificate is missing"),
        (
            '[port]\nlisten = "0.0.0.0:1"\ntls_certificate = "/c.pem"',
            "line 3: port.tls_certificate is '/c.pem' and port.tls_key is missing: give both, or neither",
        ),
        ('[port]\nlisten = "here"', "line 2: port.listen: 'here' is no address of a port: give HOST:PORT"),
        (
            '[port]\nlisten = "4711"',
            "line 2: port.listen is '4711' and has no host: give HOST:PORT, 127.0.0.1:4711 say",
        ),
        (
            '[metrics]\nlisten = "9464"',
            "line 2: metrics.listen is '9464' and has no host: give HOST:PORT, 127.0.0.1:9464 say",
        ),
        ('[port]\nlisten = "127.0.0.1:99999"', "line 2: port.listen: '127.0.0.1:99999' is no address of a port"),
        ('[metrics]\nlisten = "127.0.0.1:-1"', "127.0.0.1:4711, numbers from 0 (any free one) to 65535"),
        ('[port]\nlisten = "127.0.0.1:"', "is no address of a port: give HOST:PORT"),
        ('[port]\nlisten = "127.0.0.1:80:81"', "'127.0.0.1:80' is no host: give an address or a name, 127.0.0.1:81"),
        ('[port]\nlisten = " 127.0.0.1:80"', "' 127.0.0.1' is no host"),
        ('[port]\nlisten = "300.1.1.1:80"', "'300.1.1.1' is no host"),
        ('[port]\nlisten = "*:80"', "'*' is no host"),
        ('[metrics]\nlisten = "my host:80"', "line 2: metrics.listen is 'my host:80' and 'my host' is no host"),
        ('[metrics]\nlisten = "0.0.0.0:9464"', "line 2: metrics.listen is '0.0.0.0:9464' and metrics are for this"),
        ('[metrics]\nlisten = "nano.local:9464"', "give 127.0.0.1:9464"),
        (
            '[port]\nlisten = "127.0.0.1:80"\n[metrics]\nlisten = "localhost:80"',
            "line 4: metrics.listen is 'localhost:80' and port.listen '127.0.0.1:80': give one of them another number",
        ),
        ('[hand]\naddress = "inspire:/dev/ttyUSB0"', "line 2: nobody answers for arming inspire:/dev/ttyUSB0"),
        ('[hand]\naddress = "inspire:/dev/tty0"\n[arming]\nas = ""', "line 4: nobody answers"),
        ("[arming]\ncheck = true\noverride_check = 'Ann'", "line 2: arming.check is true and arming.override_check"),
        (
            '[hand]\naddress = "inspire:/dev/ttyUSB0"\n[arming]\nas = "Ann"\ncheck = false',
            "line 5: arming.check is false and inspire:/dev/ttyUSB0 is checked before use",
        ),
        ('[hand]\ntransport = "usb:0"', 'line 2: hand.transport is for a real hand, and address is "virtual"'),
        ('[hand]\naddress = "none"\n[hand.grips]\none = "power"', "line 3: hand.grips is for a real hand"),
        (
            '[arming]\nas = "Ann"\n[hand]\naddress = "inspire:/dev/ttyUSB0"\n[hand.limits]\nupper = { index = 2 }',
            "line 6: gate limit upper of index is 2",
        ),
        ('[hand]\naddress = "inspire:/dev/ttyUSB0?id=x"\n[arming]\nas = "Ann"', "line 2: "),
        ("[hand]\naddress = 'claw:1'", "line 2: hand 'claw' is not known: use one of"),
        ("[hand.limits]\nmin_battery = 2\nsilence_after_s = 1", "line 2: gate limit min_battery is 2.0"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_told_where_one_of_them_stands(text: str, said: str) -> None:
    assert said in error_of(text)


@pytest.mark.parametrize(
    "text",
    [
        '[port]\nlisten = "0.0.0.0:4711"',
        '[port]\nlisten = "192.168.1.5:4711"\ntls_certificate = "/c"\ntls_key = "/k"',
        '[port]\nlisten = "nano_1.local.:4711"',
        '[port]\nlisten = "[fe80::1%eth0]:4711"',
        '[port]\nlisten = ":0"\n[metrics]\nlisten = ":0"',
        '[source]\naddress = "session:a.nwb"\nstart_s = 5',
        '[hand]\naddress = "none"\nside = "left"\n[hand.actions]\nsilence = "open"\n[arming]\ncheck = true',
        '[hand]\naddress = "inspire:/dev/ttyUSB0"\n[arming]\nas = "Ann"\noverride_check = "Bob"\ncheck = false',
        "[hand.limits]\ncheck_valid_s = 86400",
        "[recording]\nrotate_s = 604800\nring_s = 1",
    ],
)
def test_what_is_unusual_and_right_is_taken(text: str) -> None:
    loaded(text)


@pytest.mark.parametrize(
    ("table", "key"), [("arming", "as"), ("arming", "override_check"), ("decoder", "any_wearer")]
)
@pytest.mark.parametrize("blank", [" ", "\t ", "\u2003", "\u200b", "\u00a0"])
def test_nobody_is_called_by_blanks(table: str, key: str, blank: str) -> None:
    said = error_of(f"[{table}]\n{key} = {quoted(blank)}")
    assert f"line 2: {table}.{key} is {blank!r}: that is nobody's name: give the name" in said
    loaded(f'[{table}]\n{key} = "Ann Ä. Müller"')


def test_an_unknown_key_comes_before_what_it_leaves_out_and_else_the_first_line_does() -> None:
    joint = '[hand.joints.index]\nunit = "counts"\nrst = 1.0\nflexed = 0.0\nfollows = { index = 1.0 }\n'
    assert "line 3: there is no key 'rst' in [hand.joints.index]: use rest" in error_of(joint)
    assert "line 1: hand.joints.index.rest is missing: add it" in error_of(joint.replace("rst = 1.0\n", ""))
    assert "line 2: " in error_of("[watchdog]\nstall_s = 0\n[log]\nlevel = 3\n")


def test_paths_begin_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "nervehand.toml"
    path.write_text(
        '[source]\naddress = "session:rest/a.nwb"\n[decoder]\nbundle = "mine.nhb"\n[recording]\nfolder = "/abs"\n'
        '[port]\ntls_certificate = "c.pem"\ntls_key = "../k.pem"\n'
    )
    monkeypatch.chdir(tmp_path)
    config = read_config(Path("etc/nervehand.toml")).config
    assert config.source.address == f"session:{folder}/rest/a.nwb"
    assert config.decoder.bundle == f"{folder}/mine.nhb"
    assert config.recording.folder == "/abs"
    assert (config.port.tls_certificate, config.port.tls_key) == (f"{folder}/c.pem", f"{folder}/../k.pem")


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        NervehandError, match=r"gone\.toml: cannot be read \(No such file or directory\): give a"
    ):
        read_config(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(NervehandError, match="it is no text"):
        read_config(tmp_path / "bytes.toml")


def test_a_file_is_known_by_its_digest_and_no_file_by_none(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\n')
    assert read_config(path).sha256 == hashlib.sha256(b'name = "a"\n').hexdigest()
    assert read_config(None).sha256 == ""


def test_every_setting_of_a_decision_may_be_said_and_replaces_the_decoders(small_decoder: Path) -> None:
    assert set(DecisionConfig.model_fields) == {field.name for field in fields(DecisionSettings)}
    bundle = read_bundle(small_decoder)
    assert DaemonConfig().decision_for(bundle) == bundle.manifest.decision
    decided = loaded("[decision]\nhysteresis = 0.25\nmin_hold_s = 0").decision_for(bundle)
    assert (decided.hysteresis, decided.min_hold_s) == (0.25, 0.0)
    assert decided.reject_below == bundle.manifest.decision.reject_below


def test_files_that_are_named_are_looked_at_when_that_is_asked_for(
    tmp_path: Path, small_decoder: Path
) -> None:
    path = tmp_path / "f.toml"

    def checked(text: str) -> str:
        path.write_text(text)
        with pytest.raises(NervehandError) as caught:
            read_config(path).check_files()
        return str(caught.value)

    assert checked('[decoder]\nbundle = "gone.nhb"').startswith(f"{path}, line 2: ")
    decoder = f'[decoder]\nbundle = "{small_decoder}"\n'
    missing = checked(f'{decoder}[port]\ntls_certificate = "c"\ntls_key = "k"')
    assert missing.startswith(
        f"{path}, line 4: port.tls_certificate is '{tmp_path}/c' and cannot be read (No such"
    )
    (tmp_path / "c").touch()
    (tmp_path / "k").touch()
    path.write_text(f'{decoder}[port]\ntls_certificate = "c"\ntls_key = "k"')
    read_config(path).check_files()


def test_a_grip_for_a_gesture_that_the_decoder_does_not_know_is_told(
    tmp_path: Path, small_decoder: Path
) -> None:
    path = tmp_path / "f.toml"
    path.write_text(
        f'[decoder]\nbundle = "{small_decoder}"\n[hand]\naddress = "ability_hand:/dev/ttyUSB0"\n'
        '[arming]\nas = "Ann"\n[hand.grips]\none = "power"\nwave = "power"\n'
    )
    with pytest.raises(
        NervehandError, match=r"line 9: hand\.grips names 'wave', which the decoder cannot decide"
    ):
        read_config(path).check_files()


def test_the_defaults_need_no_file_and_have_the_decoder_of_the_demo() -> None:
    assert read_config(None).check_files().manifest.subject


def test_the_hand_is_checked_where_somebody_wears_it_unless_somebody_overrides_that() -> None:
    worn = '[hand]\naddress = "inspire:/dev/ttyUSB0"\n[arming]\nas = "Ann"\n'
    assert loaded(worn).is_checked
    assert not loaded(f'{worn}override_check = "Bob"\n').is_checked
    assert loaded("[arming]\ncheck = true\n").is_checked


def test_the_guard_is_called_like_the_daemon_unless_it_has_a_name() -> None:
    assert loaded('name = "left"').guard_name == "left"
    assert loaded('name = "left"\n[guard]\nname = "g"').guard_name == "g"


def test_loopback_is_what_nobody_else_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "nano", "localhost.example", "")))


def test_a_place_is_written_as_toml_has_it() -> None:
    assert dotted(("hand", "joints", "a b", "rest")) == 'hand.joints."a b".rest'
    assert dotted(("guard", "stop_lines", 0)) == "guard.stop_lines[0]"


def test_reading_a_configuration_loads_no_compiler_runtime_or_file_library() -> None:
    modules = ", ".join(
        f"nervehand.config{part}" for part in ("", "_file", "_text", "_changes", "_commands", "_reload")
    )
    code = f"import sys, {modules}; nervehand.config_file.config_in('[hand.limits]', 'f'); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "numba",
        "onnxruntime",
        "h5py",
        "torch",
        "scipy",
        "onnx",
        "pynwb",
        "bleak",
        "bumble",
        "rich.console",
    }
    assert set(done.stdout.split()) & heavy == set()


@pytest.mark.parametrize(
    ("line", "text"),
    [(31, "rotate_min = 60"), (32, 'rotate_s = "1h"'), (33, "reserve_mib = 268435456")],
)
def test_the_errors_of_the_documentation_are_what_is_said(line: int, text: str) -> None:
    said = error_of("\n" * (line - 2) + f"[recording]\n{text}").replace("f.toml", "nervehand.toml")
    documented = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert f"    {said}\n" in documented.read_text()
