"""FIF files are read back by MNE-Python with the values and times that went in."""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np
import pytest

from decoder.exporters import mne as exporter
from decoder.exporters.annotations import plain_names
from decoder.exporters.cut import Exported, open_cut
from decoder.session import write_session
from decoder.session.recorded import Note, Recorded
from firmware_bridge.errors import NervehandError
from tests.decoder.exporters.conftest import (
    GREEK,
    Written,
    full,
    plain,
    said_to_mne,
    spans_of,
    with_truth,
)


def exported(
    path: Path, out: Path, start_s: float = 0.0, seconds: float | None = None, **more: int
) -> Exported:
    with open_cut(path, start_s, seconds) as cut:
        return exporter.export(cut, out, **more)


def read(path: Path) -> mne.io.BaseRaw:
    return mne.io.read_raw_fif(path, verbose="error")


def test_mne_python_reads_the_samples_within_the_error_that_is_stated(
    written: Written, tmp_path: Path
) -> None:
    out = tmp_path / "o_raw.fif"
    done = exported(written.path, out)
    raw = read(out)
    c = written.session.info.n_channels
    found = raw.get_data(range(c)).T * 1e6
    assert found.shape == written.expected_uv.shape
    assert np.abs(found - written.expected_uv).max() <= done.largest_error_uv * 1.001 + 1e-12
    assert (
        done.largest_error_uv
        <= np.abs(written.expected_uv).max() * 2e-7 + 32768 * written.session.scale_uv * 1e-7
    )
    kind = {"nerve": "seeg", "emg": "emg", "envelope": "emg"}[written.session.info.kind]
    assert set(raw.get_channel_types(range(c))) == {kind}
    assert raw.info["sfreq"] == np.float32(written.session.info.rate_hz)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_counts_are_stored_as_they_are(everything: Written, tmp_path: Path) -> None:
    exported(everything.path, tmp_path / "o_raw.fif")
    raw = read(tmp_path / "o_raw.fif")
    assert raw.orig_format == "short"
    gain = raw.info["chs"][0]["cal"]
    counts = np.rint(raw.get_data(range(3)).T / gain)
    expected = np.where(everything.received[:, None], everything.session.signal[slice(None)], 0)
    np.testing.assert_array_equal(counts, expected)


def test_mne_python_finds_every_annotation_at_its_sample(written: Written, tmp_path: Path) -> None:
    out = tmp_path / "o_raw.fif"
    exported(written.path, out)
    raw = read(out)
    labels = plain_names(written.session.info.channel_names, 60)
    rate_hz = raw.info["sfreq"]
    found, exact = Counter(), Counter()
    for a, extra in zip(raw.annotations, raw.annotations.extras, strict=True):
        if not a["description"].startswith(("name of", "BAD_not_finite")):
            about = (a["description"], a.get("ch_names", ()))
            found[round(a["onset"] * rate_hz), round(a["duration"] * rate_hz), *about] += 1
            exact[extra["first_sample"], extra["samples"], *about] += 1
    expected = Counter(
        (s.row, s.n, said_to_mne(s.text), () if s.channel is None else (labels[s.channel],))
        for s in spans_of(written.session)
    )
    assert exact == expected
    assert found == expected


def test_what_is_known_of_the_stream_and_the_wearer_is_where_mne_python_looks(
    everything: Written, tmp_path: Path
) -> None:
    exported(everything.path, tmp_path / "o_raw.fif")
    info = read(tmp_path / "o_raw.fif").info
    assert info["subject_info"] == {"his_id": "p 07"}
    assert info["meas_date"] == datetime(2026, 1, 31, 11, 0, 0, 350_000, tzinfo=UTC)
    assert (info["line_freq"], info["description"]) == (60.0, "a test")
    assert (round(info["highpass"], 6), info["lowpass"]) == (0.1, 500.0)
    # Masked to the end; the first one only for a quarter of the time.
    assert info["bads"] == ["a very long name, of a channel"]
    assert info["ch_names"][1] == "u-zwei"


def test_without_a_start_a_subject_or_a_description_nothing_is_made_up(tmp_path: Path) -> None:
    write_session(plain("emg", 2, "int16", 1000.0), tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o_raw.fif")
    info = read(tmp_path / "o_raw.fif").info
    assert (info["meas_date"], info["subject_info"], info["description"]) == (None, None, None)


def test_samples_that_are_not_finite_are_0_and_named(tmp_path: Path) -> None:
    write_session(full("float32"), tmp_path / "s.nwb")
    done = exported(tmp_path / "s.nwb", tmp_path / "o_raw.fif")
    raw = read(tmp_path / "o_raw.fif")
    spans = [(a["first_sample"], a["samples"]) for a in raw.annotations.extras]
    named = [
        s for s, text in zip(spans, raw.annotations.description, strict=True) if text == "BAD_not_finite"
    ]
    assert named == [(20, 3), (600, 1)]
    assert "samples that are not finite are 0 in it, and named BAD_not_finite" in done.notes


def test_truth_and_digital_lines_are_channels(everything: Written, tmp_path: Path) -> None:
    session = with_truth()
    write_session(session, tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "truth_raw.fif")
    raw = read(tmp_path / "truth_raw.fif")
    assert raw.ch_names[2:] == ["a~2", "wrist flexion"]
    assert raw.get_channel_types()[2:] == ["misc", "misc"]
    np.testing.assert_array_equal(raw.get_data([2, 3]).T.astype(np.float32), session.truth)
    for name, top in (("short", 0x7FFF), ("single", 1 << 15), ("double", 0xFFFFFFFF)):
        digital = everything.session.digital
        assert digital is not None
        lines = replace(digital, lines=np.array([5, 0, top], np.uint32))
        write_session(replace(everything.session, digital=lines), tmp_path / "d.nwb")
        exported(tmp_path / "d.nwb", tmp_path / f"{name}_raw.fif")
        raw = read(tmp_path / f"{name}_raw.fif")
        assert raw.orig_format == name
        assert raw.get_channel_types()[3] == "stim"
        np.testing.assert_array_equal(raw.get_data([3])[0], lines.at(100, 905))


def test_a_piece_has_its_own_samples_gaps_and_time(everything: Written, tmp_path: Path) -> None:
    exported(everything.path, tmp_path / "o_raw.fif", 0.24, 0.3)
    raw = read(tmp_path / "o_raw.fif")
    np.testing.assert_allclose(raw.get_data(range(3)).T * 1e6, everything.expected_uv[240:540], rtol=1e-7)
    spans = {
        (a["first_sample"], a["samples"], text)
        for a, text in zip(raw.annotations.extras, raw.annotations.description, strict=True)
    }
    assert {(10, 50, "BAD_gap"), (160, 100, said_to_mne(f"label/{GREEK}"))} <= spans
    assert raw.info["meas_date"] == datetime(2026, 1, 31, 11, 0, 0, 590_000, tzinfo=UTC)


def test_a_recording_too_long_for_a_file_goes_on_in_the_next(tmp_path: Path) -> None:
    session = plain("emg", 300, "int16", 1000.0, n=9000)
    write_session(session, tmp_path / "s.nwb")
    out = tmp_path / "out"
    out.mkdir()
    done = exported(tmp_path / "s.nwb", out / "o_raw.fif", split_bytes=2_500_000)
    assert len(done.files) > 2
    assert [path.name for path in done.files[:3]] == ["o_raw.fif", "o_raw-1.fif", "o_raw-2.fif"]
    assert sorted(out.iterdir()) == sorted(done.files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in done.files} == {0o600}
    counts = np.rint(read(out / "o_raw.fif").get_data().T * 1e6 * 3)
    np.testing.assert_array_equal(counts, session.signal[slice(None)])


def test_where_32_bit_seconds_are_too_coarse_for_a_sample_it_says_so_and_the_extras_are_exact(
    tmp_path: Path,
) -> None:
    n = 17_000_001
    session = plain("emg", 1, "int16", 10_000.0, n=2)
    recorded = Recorded(notes=(Note(16_999_999, "late"),))
    write_session(replace(session, signal=np.zeros((n, 1), np.int16), recorded=recorded), tmp_path / "s.nwb")
    done = exported(tmp_path / "s.nwb", tmp_path / "o_raw.fif")
    assert any("onsets of annotations are up to 0.6 samples off" in note for note in done.notes)
    assert read(tmp_path / "o_raw.fif").annotations.extras == [{"first_sample": 16_999_999, "samples": 0}]


def test_what_cannot_be_written_leaves_nothing(
    everything: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NervehandError, match=r"name it \.fif"):
        exported(everything.path, tmp_path / "o.edf")

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mne.io.BaseRaw, "save", fails)
    with pytest.raises(NervehandError, match="cannot be written"):
        exported(everything.path, tmp_path / "o_raw.fif")
    assert list(tmp_path.iterdir()) == []


def test_without_mne_python_it_says_what_to_install(
    everything: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "find_spec", lambda name: None)
    with pytest.raises(NervehandError, match=r"install nervehand\[export\]"):
        exported(everything.path, tmp_path / "o_raw.fif")
