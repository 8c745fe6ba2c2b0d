"""Sessions, decoders and files as pages show them; nothing outside the console's folder is served."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.folder import CalibrationFolder, Plan
from decoder.session.writer import write_session
from firmware_bridge.errors import NervehandError
from nervehand.console import files
from nervehand.console.calibrate_setup import SETS, new_folder, paradigm_of
from nervehand.console.decoders_view import decoder_facts, lineage, role_of
from nervehand.console.device_page import who_arms
from nervehand.console.files import below, file_url
from nervehand.console.finding import files_below
from nervehand.console.launching import CalibrationPlan, RunPlan
from nervehand.console.resuming import left_below
from nervehand.console.session_view import COLUMN_S, WINDOW_S, facts_of, open_session, table_csv
from nervehand.console.shown import in_address, named_in, shown
from nervehand.console.views import NOWHERE, live_view
from nervehand.simulate import simulated_session

BUNDLE = Path(files.__file__).parents[1] / "bundles" / "demo.nhb"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sessions") / "one.nwb"
    write_session(simulated_session(1, 1, seconds=6.0), path)
    return path


def test_the_facts_of_a_session_come_from_its_header(session: Path) -> None:
    facts = facts_of(session)
    assert (facts.n_channels, facts.rate_hz, facts.problem) == (16, 10_000.0, "")
    assert facts.duration_s == pytest.approx(6.0)


def test_a_file_that_is_no_session_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.nwb").write_text("no")
    assert "HDF5" in facts_of(tmp_path / "bad.nwb").problem
    with pytest.raises(NervehandError):
        open_session(tmp_path / "none.nwb")


def test_a_moment_of_a_session_is_what_was_there_then(session: Path) -> None:
    view = open_session(session)
    first = view.trials[0]
    moved = view.at(first.start_s + first.duration_s / 2)
    assert moved.cue == first.movement
    assert max(map(abs, moved.truth)) > 0.5
    assert moved.decoded == NOWHERE
    assert view.at(0.0).cue == "rest"
    assert view.at(1e9).truth == view.at(view.duration_s).truth  # what lies after the end is the end


def test_signals_of_a_window_are_the_extremes_of_its_samples(session: Path) -> None:
    view = open_session(session)
    seen = view.channels_at(5.0)
    assert len(seen) == 16
    assert len(seen[3].low_uv) == round(WINDOW_S / COLUMN_S)
    samples = view.session.microvolts(0, view.session.n_samples)
    samples -= np.median(samples, axis=0)
    n = round(COLUMN_S * 10_000)
    last = samples[round(5.0 * 10_000) - n : round(5.0 * 10_000), 3]
    assert seen[3].low_uv[-1] == pytest.approx(last.min(), abs=1e-3)
    assert seen[3].high_uv[-1] == pytest.approx(last.max(), abs=1e-3)


def test_what_is_exported_is_what_is_seen(session: Path) -> None:
    view = open_session(session)
    rows = list(csv.DictReader(io.StringIO(table_csv(view.trials))))
    assert [row["movement"] for row in rows] == [trial.movement for trial in view.trials]
    arrays = np.load(io.BytesIO(view.positions_npz()))
    assert arrays["truth"].shape == (len(arrays["time_s"]), 6)
    assert tuple(arrays["truth"][100]) == pytest.approx(view.at(float(arrays["time_s"][100])).truth)


def test_hidden_files_are_left_out_and_the_newest_come_first(tmp_path: Path) -> None:
    for i, name in enumerate(("a.nhb", "sub/b.nhb", ".hidden.nhb", ".hidden/c.nhb")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (i, i))
    assert [path.name for path in files_below(tmp_path, ".nhb")] == ["b.nhb", "a.nhb"]


def test_a_decoder_tells_where_it_comes_from_and_where_it_runs() -> None:
    facts = decoder_facts(BUNDLE)
    assert facts.manifest is not None
    assert lineage(facts.manifest)
    live = live_view({"bundle": facts.sha256, "shadow": [{"sha256": "ab" * 32, "role": "candidate"}]})
    assert role_of(facts, live) == "deployed"
    assert role_of(facts, live_view({"bundle": "cd" * 32})) == ""
    other = live_view({"bundle": "cd" * 32, "shadow": [{"sha256": facts.sha256, "role": "candidate"}]})
    assert role_of(facts, other) == "candidate"
    assert role_of(facts, None) == ""


def test_a_file_that_is_no_decoder_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.nhb").write_text("no")
    assert "is not a decoder bundle" in decoder_facts(tmp_path / "bad.nhb").problem
    assert "cannot be read" in decoder_facts(tmp_path / "none.nhb").problem


def test_addresses_of_files_stay_below_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_folders", [tmp_path])
    assert file_url(tmp_path / "a b" / "report.html") == "/files/a%20b/report.html"
    assert file_url(Path("/etc/passwd")) == "/files/passwd"
    assert file_url(tmp_path / os.fsdecode(b"Jos\xe9.pdf")) == "/files/Jos%E9.pdf"


@pytest.mark.parametrize("name", ["\0", "a\0b.nwb", "..", "../x", "/etc/passwd", "x" * 5000, "none.nwb", "."])
def test_what_can_be_no_file_below_the_folder_is_none(name: str, tmp_path: Path) -> None:
    assert below(tmp_path, name) is None
    (tmp_path / "there.nwb").touch()
    assert below(tmp_path, "there.nwb") == (tmp_path / "there.nwb").resolve()


@given(name=st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_every_name_of_a_file_goes_through_an_address_and_can_be_shown(name: bytes) -> None:
    there = os.fsdecode(name)
    query = f"open={in_address(there)}&at=3".encode("ascii")
    assert named_in(query, "open") == there
    shown(there).encode("utf-8")
    assert len(shown(there)) == len(there)


@pytest.mark.parametrize("name", ["a+b", "a&b", "a#b", "a%20b", 'x" :onmouseover="alert(1)" y', "é"])
def test_names_with_signs_of_addresses_are_opened_as_they_are(name: str) -> None:
    assert named_in(f"open={in_address(name)}".encode("ascii"), "open") == name
    assert shown(name) == name


def test_a_calibration_without_its_report_can_be_gone_on_with(tmp_path: Path) -> None:
    plan = Plan("id", "S1", "left", "", "simulated", "simulated", "2026-03-04T05:06:07+00:00")
    for name in ("recording", "scoring", "done"):
        CalibrationFolder.create(tmp_path / name, plan)
    (tmp_path / "scoring" / "decoder.nhb").touch()
    for name in ("decoder.nhb", "report.json"):
        (tmp_path / "done" / name).touch()
    assert {left.path.name for left in left_below(tmp_path)} == {"recording", "scoring"}


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{}", "no", "", "null"])
def test_a_plan_that_is_none_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "plan.json").write_text(text)
    assert left_below(tmp_path) == []


def test_nobody_arms_a_real_hand_without_a_name() -> None:
    assert who_arms("serial:/dev/ttyUSB0", "Ada", "") == "Ada"
    assert who_arms("serial:/dev/ttyUSB0", "", "Grace") == "Grace"
    assert who_arms("serial:/dev/ttyUSB0", "Ada", "Grace") == "Ada"
    assert [who_arms(hand, "", name) for hand in ("virtual", "none") for name in ("", "Grace")] == [""] * 4
    with pytest.raises(NervehandError, match="type a name"):
        who_arms("serial:/dev/ttyUSB0", "", "")


def test_what_a_person_chose_is_a_paradigm_or_is_refused() -> None:
    chosen = paradigm_of("mirrored", "basic", 3, "own")
    assert (chosen.repetitions, len(chosen.movements), chosen.is_self_paced) == (3, len(SETS["basic"]), True)
    assert (
        paradigm_of("mirrored", "basic", 3, "fast").duration_s
        < paradigm_of("mirrored", "basic", 3, "slow").duration_s
    )
    with pytest.raises(NervehandError, match="repetitions"):
        paradigm_of("mirrored", "basic", 0, "normal")
    with pytest.raises(NervehandError, match="paradigm"):
        paradigm_of("dance", "basic", 1, "normal")


def test_a_calibrations_folder_is_named_after_subject_and_time_and_nothing_else(tmp_path: Path) -> None:
    when = time.struct_time((2026, 3, 4, 5, 6, 7, 0, 0, 0))
    assert new_folder(tmp_path, "../x y", when) == tmp_path / "calibration----x-y-20260304-050607"


def test_engines_are_started_with_a_port_and_without_a_screen(tmp_path: Path) -> None:
    run = RunPlan("simulated", tmp_path / "d.nhb").words()
    calibration = CalibrationPlan(
        "simulated", "simulated", "left", tmp_path / "p.toml", "S1", tmp_path / "out"
    ).words()
    for words in (run, calibration):
        assert words[-3:] == ["--port", "127.0.0.1:0", "--headless"]
    assert CalibrationPlan("serial:x", "", "left", tmp_path, "S1", tmp_path).words().count("--truth") == 0
