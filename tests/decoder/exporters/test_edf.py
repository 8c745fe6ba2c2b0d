"""EDF+ and BDF+ files are read back by MNE-Python and by edfio with the values and times that went in."""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.exporters import edf
from decoder.exporters.annotations import plain_names
from decoder.exporters.cut import Exported, open_cut
from decoder.exporters.edf_layout import Width, annotation_bytes, count_range, eight, packed, records
from decoder.session import write_session
from decoder.session.recorded import Event, Note, Recorded
from firmware_bridge.errors import NervehandError
from tests.decoder.exporters.conftest import GREEK, Written, full, plain, said_to_mne, spans_of, with_truth


def exported(path: Path, out: Path, start_s: float = 0.0, seconds: float | None = None) -> Exported:
    with open_cut(path, start_s, seconds) as cut:
        return edf.export(cut, out)


def said_in_edf(text: str) -> str:
    """Without line breaks, and without what means a channel."""
    return said_to_mne(text).replace("\n", " ").replace("@@", "@ @")


def read(path: Path) -> mne.io.BaseRaw:
    reader = mne.io.read_raw_edf if path.suffix == ".edf" else mne.io.read_raw_bdf
    return reader(path, preload=True, verbose="error")


@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_mne_python_reads_the_samples_within_the_error_that_is_stated(
    written: Written, ending: str, tmp_path: Path
) -> None:
    out = tmp_path / f"o.{ending}"
    done = exported(written.path, out)
    raw = read(out)
    session, c = written.session, written.session.info.n_channels
    found = raw.get_data(range(c))[:, : session.n_samples].T * 1e6
    assert np.abs(found - written.expected_uv).max() <= done.largest_error_uv * (1 + 1e-6) + 1e-9
    assert np.all(raw.get_data(range(c))[:, session.n_samples :] * 1e6 <= done.largest_error_uv + 1e-9)
    assert done.largest_error_uv <= np.ptp(written.expected_uv) / (1 << int(done.form.split()[1])) or (
        done.largest_error_uv < 1e-5
    )
    assert abs(raw.info["sfreq"] / session.info.rate_hz - 1) * session.n_samples < 0.1
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_mne_python_finds_every_annotation_at_its_sample(
    written: Written, ending: str, tmp_path: Path
) -> None:
    out = tmp_path / f"o.{ending}"
    exported(written.path, out)
    raw = read(out)
    labels = plain_names(written.session.info.channel_names, 16)
    rate_hz = raw.info["sfreq"]
    found = Counter(
        (round(a["onset"] * rate_hz), round(a["duration"] * rate_hz), a["description"], a.get("ch_names", ()))
        for a in raw.annotations
        if not a["description"].startswith(("name of", "BAD_padding", "BAD_not_finite"))
    )
    expected = Counter(
        (
            s.row,
            s.n,
            said_in_edf(s.text),
            () if s.channel is None else (labels[s.channel],),
        )
        for s in spans_of(written.session)
    )
    assert found == expected
    onsets = raw.annotations.onset * rate_hz
    assert (
        np.abs(onsets - np.round(onsets)).max(initial=0.0) <= 1e-6 * rate_hz
    )  # MNE-Python keeps microseconds


def test_a_second_reader_finds_the_counts_themselves_and_a_recording_without_breaks(
    everything: Written, tmp_path: Path
) -> None:
    for reader, ending in ((edfio.read_edf, "edf"), (edfio.read_bdf, "bdf")):
        exported(everything.path, tmp_path / f"o.{ending}")
        found = reader(tmp_path / f"o.{ending}")
        assert found.is_continuous
        counts = np.stack([s.digital for s in found.signals[:3]], 1)[: everything.session.n_samples]
        expected = np.where(everything.received[:, None], everything.session.signal[slice(None)], 0)
        np.testing.assert_array_equal(counts, expected)
        assert found.signals[0].prefiltering == "HP:0.1Hz LP:7500Hz"
        assert found.signals[1].label == "u-zwei"
        assert found.signals[2].transducer_type == "nerve median ulnar/7 cuff 3"
        lines = found.signals[3].digital[: everything.session.n_samples]
        assert (lines[49], lines[50], lines[60], lines[700]) == (0, 5, 0, 0x7FFF)
        raw = read(tmp_path / f"o.{ending}")
        assert raw.get_channel_types(["Status"]) == ["stim"]
        np.testing.assert_array_equal(raw.get_data(["Status"])[0, : len(lines)], lines)
        texts = {a.text for a in found.annotations}
        assert {"name of u-zwei: µ-zwei", said_in_edf(f"note: {GREEK}"), "BAD_gap"} <= texts


def test_the_header_names_a_pseudonym_and_no_date_but_the_start_that_was_recorded(
    everything: Written, tmp_path: Path
) -> None:
    exported(everything.path, tmp_path / "o.edf")
    found = edfio.read_edf(tmp_path / "o.edf")
    assert found.local_patient_identification == "p_07 X X X"
    # Sample 100 of 1000 Hz, on the clock of the place.
    assert (found.startdate.isoformat(), found.starttime.isoformat()) == ("2026-01-31", "12:00:00.350000")
    raw = read(tmp_path / "o.edf")
    assert raw.info["subject_info"]["his_id"] == "p_07"
    path = tmp_path / "unknown.nwb"
    write_session(plain("emg", 2, "int16", 1000.0), path)
    exported(path, tmp_path / "unknown.edf")
    head = (tmp_path / "unknown.edf").read_bytes()[:256].decode()
    assert head[8:184] == "X X X X".ljust(80) + "Startdate X X X nervehand".ljust(80) + "01.01.8500.00.00"


def test_a_piece_has_its_own_samples_gaps_and_annotations(everything: Written, tmp_path: Path) -> None:
    exported(everything.path, tmp_path / "o.edf", 0.24, 0.3)  # rows 240 to 540, the gap is 250 to 300
    raw = read(tmp_path / "o.edf")
    found = raw.get_data(range(3)).T[:300] * 1e6
    np.testing.assert_allclose(found, everything.expected_uv[240:540], atol=1e-6)
    spans = {
        (round(a["onset"] * 1000), round(a["duration"] * 1000), a["description"]) for a in raw.annotations
    }
    assert {
        (10, 50, "BAD_gap"),
        (160, 60, "BAD_left_out"),
        (160, 100, said_in_edf(f"label/{GREEK}")),
    } <= spans
    assert not any(text.startswith("trial") for _, _, text in spans)  # none lies wholly inside
    assert not any("999" in text for _, _, text in spans)


def test_the_truth_is_a_signal_each_in_its_own_unit(tmp_path: Path) -> None:
    session = with_truth()
    write_session(session, tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o.edf")
    found = edfio.read_edf(tmp_path / "o.edf")
    assert session.truth is not None
    for signal, truth, label in zip(
        found.signals[2:], session.truth.T, ("a~2", "wrist flexion"), strict=True
    ):
        assert (signal.label, signal.physical_dimension) == (label, "deg")
        np.testing.assert_allclose(signal.data[:900], truth, atol=120 / 65535)


def test_names_that_mean_something_to_readers_are_not_given_to_channels(tmp_path: Path) -> None:
    session = plain("emg", 3, "int16", 1000.0)
    info = replace(session.info, channel_names=("Status", "trigger", "EDF Annotations"))
    recorded = Recorded(notes=(Note(3, "a@@trigger~2@@b"),))
    write_session(replace(session, info=info, recorded=recorded), tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o.edf")
    raw = read(tmp_path / "o.edf")
    assert raw.ch_names == ["Status~2", "trigger~2", "EDF Annotation~2"]
    assert "note: a@ @trigger~2@ @b" in raw.annotations.description
    np.testing.assert_allclose(raw.get_data()[:, :3001].T * 3e6, session.signal[slice(None)], atol=1e-4)


def test_digital_lines_that_do_not_fit_are_named(tmp_path: Path) -> None:
    session = full()
    assert session.digital is not None
    lines = replace(session.digital, lines=np.array([1 << 20, 3, 1 << 31], np.uint32))
    write_session(replace(session, digital=lines), tmp_path / "s.nwb")
    notes = exported(tmp_path / "s.nwb", tmp_path / "o.bdf").notes
    assert "digital lines from 23 on are not in it" in notes
    assert edfio.read_bdf(tmp_path / "o.bdf").signals[3].digital[50] == 1 << 20
    assert "digital lines from 15 on are not in it" in exported(tmp_path / "s.nwb", tmp_path / "o.edf").notes


def test_a_long_note_and_thousands_of_events_at_one_sample_are_all_there(tmp_path: Path) -> None:
    events = tuple(Event(59_000, 2, i) for i in range(3000))
    text = "längst " * 300
    recorded = Recorded(events=events, notes=(Note(2999, text),))
    session = replace(plain("emg", 4, "int16", 1000.0, n=60_000), recorded=recorded)
    write_session(session, tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o.edf")
    raw = read(tmp_path / "o.edf")
    found = [a for a in raw.annotations if a["description"].startswith("event")]
    assert {a["description"] for a in found} == {f"event/dropped_commands/{i}/0" for i in range(3000)}
    assert {a["onset"] for a in found} == {59.0}
    pieces = [a["description"] for a in raw.annotations if a["onset"] == 2.999]
    assert "".join(piece.rsplit(" (", 1)[0] for piece in pieces) == f"note: {text}"
    assert (tmp_path / "o.edf").stat().st_size < 60_000 * 8 * 1.5


def test_names_and_rates_that_the_format_cannot_hold_are_refused(everything: Written, tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match=r"name it \.edf \(16 bits a sample\) or \.bdf"):
        exported(everything.path, tmp_path / "o.fif")
    tiny = replace(plain("emg", 2, "int16", 1000.0), scale_uv=1e-12)
    write_session(tiny, tmp_path / "tiny.nwb")
    with pytest.raises(NervehandError, match="steps too small"):
        exported(tmp_path / "tiny.nwb", tmp_path / "tiny.edf")
    huge = plain("emg", 1, "float32", 1000.0)
    huge.signal[slice(None)][0, 0] = 1e20
    write_session(huge, tmp_path / "huge.nwb")
    with pytest.raises(NervehandError, match="eight characters"):
        exported(tmp_path / "huge.nwb", tmp_path / "huge.edf")
    with pytest.raises(NervehandError, match="export to nwb, xdf or mne"):
        records(3e13, 10**9, 1, Width(16))
    assert not (tmp_path / "tiny.edf").exists()


@given(st.floats(0.01, 200_000.0), st.integers(1, 10**9), st.integers(1, 400))
def test_records_keep_the_rate_and_a_bounded_size(rate_hz: float, n_samples: int, signals: int) -> None:
    layout = records(rate_hz, n_samples, signals, Width(24))
    assert len(layout.duration) <= 8
    assert layout.n == 1 or layout.n / rate_hz <= 10.1
    assert abs(layout.rate_hz / rate_hz - 1) <= 1e-6


@pytest.mark.parametrize("rate_hz", [100.0, 1000.0, 2000.0, 10_000.0, 30_000.0, 2048.0, 512.5])
def test_rates_of_front_ends_are_kept_exactly(rate_hz: float) -> None:
    for n_samples in (999_983, 10**6, 3600 * int(rate_hz)):
        layout = records(rate_hz, n_samples, 16, Width(16))
        assert layout.rate_hz == rate_hz
        assert layout.n * 16 * 2 <= 61440
    layout = records(10_000.0, 999_983, 16, Width(16))
    assert -999_983 % layout.n <= 1  # of many that keep the rate, one that needs hardly any padding


@given(st.floats(-9e6, 9e6))
def test_eight_characters_are_as_near_as_they_can_be(value: float) -> None:
    text = eight(value)
    assert len(text) <= 8
    assert abs(float(text) - value) <= max(5e-7 if value < 0 else 5e-8, abs(value) * 1e-4, 5e-6) or (
        abs(float(text) - value) <= 0.5
    )


@given(st.floats(1e-4, 100.0), st.integers(-32768, 0), st.integers(0, 32767))
def test_a_range_of_counts_holds_them_all(scale: float, low: int, high: int) -> None:
    physical, (least, greatest) = count_range(scale, low, high)
    assert least <= low <= high <= greatest
    assert float(physical[0]) < float(physical[1])


@given(st.lists(st.tuples(st.integers(0, 19), st.text(max_size=300)), max_size=60))
def test_annotations_of_any_text_and_place_are_packed_without_loss(texts: list[tuple[int, str]]) -> None:
    lists = [
        (record, piece)
        for record, text in sorted(texts)
        for piece in annotation_bytes(record * 0.5, 0.25, text.encode(errors="replace").decode())
    ]
    filled, size = packed(lists, 20, "0.5", Decimal("0.125"))
    assert max(map(len, filled)) <= size
    assert all(record.startswith(f"+{0.125 + 0.5 * i:g}".encode()) for i, record in enumerate(filled))
    found = Counter(part for record in filled for part in record.split(b"\0")[1:] if part)
    assert found == Counter(part[:-1] for _, part in lists)
