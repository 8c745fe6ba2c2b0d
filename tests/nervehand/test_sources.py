"""Sources by address, and what is there: every kind opens by its address, and one that hangs stops no other."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from decoder.session.model import Session
from decoder.session.source import SessionSource
from firmware_bridge import sources as modules
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import Found
from firmware_bridge.supervised import SupervisedSource
from nervehand import source_table, sources
from nervehand.sources import open_device, open_source, schemes, search, split_address
from tests.nervehand.conftest import Run

FOREVER_S = 3600.0


def test_every_kind_of_source_has_an_address_that_begins_with_its_name() -> None:
    known = schemes()
    assert {scheme.name for scheme in known} == {*modules.schemes(), "session"}
    assert all(scheme.address.startswith(scheme.name) for scheme in known)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("simulated", ("simulated", "")),
        ("simulated:hard/2/1", ("simulated", "hard/2/1")),
        ("serial:/dev/ttyACM0", ("serial", "/dev/ttyACM0")),
        ("intan:host:5000", ("intan", "host:5000")),
        ("session:a:b.nwb", ("session", "a:b.nwb")),
    ],
)
def test_an_address_is_a_scheme_and_what_follows_its_first_colon(
    address: str, expected: tuple[str, str]
) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("recording.nwb", "session:recording.nwb"),
        ("/data/a.nwb", "session:/data/a.nwb"),
        ("/dev/ttyUSB0", "serial:/dev/ttyUSB0"),
        ("usb:0", "'usb' is not known"),
        ("simulated1", "'simulated1' is not known"),
        ("", "no source given"),
        (" ", "no source given"),
        (__file__, "is a file, not a source"),
    ],
)
def test_what_is_no_address_is_refused_with_what_was_meant(address: str, said: str) -> None:
    with pytest.raises(NervehandError, match=r"use one of|is session:|is serial:") as refused:
        split_address(address)
    assert said in str(refused.value)


def test_a_session_opens_at_any_time_of_it(small_session: Session, small_file: Path) -> None:
    source = open_source(f"session:{small_file}", is_paced=False, start_s=1.5)
    assert isinstance(source, SessionSource)
    assert source.meta.subject == small_session.meta.subject
    source.connect()
    first = next(source.blocks()).first_sample
    assert first == small_session.first_sample + round(1.5 * small_session.info.rate_hz)
    for start_s in (-1.0, small_session.duration_s, 1e9):
        with pytest.raises(NervehandError, match="cannot begin"):
            open_source(f"session:{small_file}", start_s=start_s)
    with pytest.raises(NervehandError, match="not a device"):
        open_device(f"session:{small_file}")


def test_a_session_that_is_not_there_and_one_that_is_not_named_are_said(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match=r"none\.nwb"):
        open_source(f"session:{tmp_path / 'none.nwb'}")
    with pytest.raises(NervehandError, match=r"session:FILE\.nwb"):
        open_source("session:")


def test_a_device_is_supervised_and_only_what_can_wait_comes_without_pace() -> None:
    source = open_source("simulated:easy/2/1")
    assert isinstance(source, SupervisedSource)
    source.connect()
    block = next(iter(source.blocks()))
    source.close()
    assert block.samples.shape[1] == source.info.n_channels
    unpaced = open_source("simulated:easy/2/1", is_paced=False)
    unpaced.connect()
    assert next(iter(unpaced.blocks())).samples.tobytes() == block.samples.tobytes()
    with pytest.raises(NervehandError, match="only a session"):
        open_source("simulated", start_s=1.0)
    with pytest.raises(NervehandError, match="its own pace"):
        open_source("serial:/dev/nothing", is_paced=False)


def test_a_missing_extra_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda name: None if name == "mne_lsl" else object())
    with pytest.raises(NervehandError, match=r'pip install "nervehand\[lsl\]"'):
        open_source("lsl:anything")
    monkeypatch.setattr(source_table, "find_all", lambda: ())
    said = json.loads(run("sources", "--json").out)
    missing = {row["scheme"]: row["install"] for row in said["schemes"] if row["missing_extra"]}
    assert missing == {"lsl": 'python -m pip install "nervehand[lsl]"'}


def test_a_search_that_hangs_or_fails_keeps_no_other_from_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    there = (Found("a:1", "one"),)
    times_s = iter((0.0, 1.0, 1.0, 1.0))

    def monotonic() -> float:
        """A second passes once the searches that end have ended."""
        time_s = next(times_s)
        for thread in threading.enumerate():
            if time_s and thread.name in ("find-fails", "find-a"):
                thread.join(120)
        return time_s

    def hangs() -> tuple[Found, ...]:
        over.wait(FOREVER_S)
        return there

    def fails() -> tuple[Found, ...]:
        raise OSError("no such bus")

    def answers() -> tuple[Found, ...]:
        return there

    monkeypatch.setattr(sources, "time", SimpleNamespace(monotonic=monotonic))
    try:
        found = {one.scheme: one for one in search({"hangs": hangs, "fails": fails, "a": answers}, 1.0)}
    finally:
        over.set()
    assert found["a"].found == there
    assert not found["a"].problem
    assert found["fails"].problem == "no such bus"
    assert "no answer within 1 s" in found["hangs"].problem
    assert not found["hangs"].found


def test_the_command_shows_the_simulated_nerve_and_the_form_of_every_address(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_table, "find_all", partial(sources.find_all, 120.0))
    said = json.loads(run("sources", "--json").out)
    assert any(row["address"].startswith("simulated") for row in said["sources"]), said
    assert {row["scheme"] for row in said["schemes"]} == {scheme.name for scheme in schemes()}
    text = run("sources")
    assert text.status == 0
    assert "simulated" in text.out
    assert "session:FILE.nwb" in text.out
    assert "serial:PORT[@BAUD]" in text.out
