"""XDF files are read back by pyxdf, as it does by itself, with the values and times that went in."""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from hypothesis import given
from hypothesis import strategies as st

from decoder.exporters import xdf
from decoder.exporters.cut import Exported, open_cut
from decoder.exporters.xdf import BOUNDARY_MARK, chunk, counted
from decoder.session import write_session
from decoder.session.recorded import Note, Recorded
from tests.decoder.exporters.conftest import GREEK, Written, plain, spans_of, with_truth

Streams = dict[str, dict[str, object]]


def exported(path: Path, out: Path, start_s: float = 0.0, seconds: float | None = None) -> Exported:
    with open_cut(path, start_s, seconds) as cut:
        return xdf.export(cut, out)


def read(path: Path) -> Streams:
    streams, _ = pyxdf.load_xdf(path)
    return {stream["info"]["name"][0]: stream for stream in streams}


def channels(stream: dict[str, object]) -> list[tuple[str, str]]:
    return [(c["label"][0], c["unit"][0]) for c in stream["info"]["desc"][0]["channels"][0]["channel"]]


def test_pyxdf_reads_the_samples_and_their_times(written: Written, tmp_path: Path) -> None:
    out = tmp_path / "o.xdf"
    done = exported(written.path, out)
    signal = read(out)["signal"]
    session = written.session
    found, received = signal["time_series"].astype(np.float64), written.received
    assert found.shape == written.expected_uv.shape
    assert np.all(np.isnan(found[~received]))
    expected = np.asarray(session.signal[slice(None)]).astype(np.float64)[received] * (
        session.scale_uv if session.signal.dtype == np.int16 else 1.0
    )
    np.testing.assert_allclose(found[received], expected, rtol=0, atol=done.largest_error_uv)
    at_s = (session.first_sample + np.arange(session.n_samples)) / session.info.rate_hz
    np.testing.assert_allclose(signal["time_stamps"], at_s, rtol=0, atol=1e-3 / session.info.rate_hz)
    assert float(signal["info"]["nominal_srate"][0]) == session.info.rate_hz
    assert channels(signal) == [(name, "microvolts") for name in session.info.channel_names]
    assert signal["info"]["type"] == [{"nerve": "ENG", "emg": "EMG", "envelope": "EMG"}[session.info.kind]]
    assert signal["footer"]["info"]["sample_count"] == [str(session.n_samples)]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_markers_say_where_what_begins_and_ends(written: Written, tmp_path: Path) -> None:
    exported(written.path, tmp_path / "o.xdf")
    session, streams = written.session, read(tmp_path / "o.xdf")
    expected: Counter[tuple[int, str]] = Counter()
    for span in spans_of(session):
        text = (
            span.text if span.channel is None else f"{span.text} {session.info.channel_names[span.channel]}"
        )
        if span.n:
            expected[span.row, f"begin {text}"] += 1
            expected[span.row + span.n, f"end {text}"] += 1
        else:
            expected[span.row, text] += 1
    if not expected:
        assert "markers" not in streams
        return
    markers = streams["markers"]
    at_s = np.array(markers["time_stamps"])
    rows = np.rint(at_s * session.info.rate_hz).astype(int) - session.first_sample
    texts = [row[0] for row in markers["time_series"]]
    assert Counter(zip(rows.tolist(), texts, strict=True)) == expected
    assert np.all(np.diff(at_s) >= 0)


def test_all_that_was_recorded_live_has_a_stream_with_its_own_times(
    everything: Written, tmp_path: Path
) -> None:
    exported(everything.path, tmp_path / "o.xdf")
    streams, recorded = read(tmp_path / "o.xdf"), everything.session.recorded
    named = {
        "signal",
        "digital",
        "able_hand",
        "intents",
        "commands",
        "sent",
        "traces",
        "hand_states",
        "masked",
    }
    assert set(streams) == named | {"markers"}
    assert recorded.intents is not None
    assert recorded.commands is not None
    assert recorded.sent is not None
    assert recorded.sensors is not None
    assert recorded.traces is not None

    def samples(name: str) -> list[int]:
        return np.rint(np.array(streams[name]["time_stamps"]) * 1000).astype(int).tolist()

    intents = streams["intents"]["time_series"]
    assert samples("intents") == recorded.intents.sample_index.tolist()
    np.testing.assert_array_equal(intents[:, :2], recorded.intents.outputs)
    np.testing.assert_array_equal(intents[:, 2:8], recorded.intents.positions)
    np.testing.assert_array_equal(intents[:, 8], recorded.intents.gesture)
    np.testing.assert_array_equal(intents[:, 9], recorded.intents.probability)
    np.testing.assert_array_equal(intents[:, 10], recorded.intents.warming)
    np.testing.assert_array_equal(intents[:, 11], recorded.intents.healthy_fraction)
    assert channels(streams["intents"])[0] == ("output u", None)
    assert streams["intents"]["info"]["desc"][0]["gesture_2"] == [GREEK]

    commands = streams["commands"]["time_series"]
    assert samples("commands") == [119, 139]
    np.testing.assert_array_equal(commands[:, :6], recorded.commands.targets)
    np.testing.assert_allclose(commands[:, 6:8] * 1e9, recorded.commands.times_ns, rtol=1e-12)
    np.testing.assert_array_equal(commands[:, 8:], recorded.commands.quality)

    sent = streams["sent"]["time_series"]
    assert samples("sent") == [119, 119, 139]  # what followed no command comes where the one before it was
    np.testing.assert_array_equal(sent[:, 0], recorded.sent.sample_index)
    np.testing.assert_array_equal(sent[:, 2:8], recorded.sent.positions)
    assert streams["sent"]["info"]["desc"][0]["gate_state_1"] == ["held"]

    hand = streams["able_hand"]["time_series"]
    assert samples("able_hand") == [102, 102, 140]
    np.testing.assert_array_equal(hand[:, 0], recorded.sensors.device_s)
    np.testing.assert_allclose(hand[:, 1] * 1e9, recorded.sensors.arrival_ns, rtol=1e-12)
    np.testing.assert_array_equal(hand[:, 2:], recorded.sensors.values)
    assert channels(streams["able_hand"])[2:] == [("index mcp", "rad"), ("wrist", "raw")]

    np.testing.assert_allclose(streams["traces"]["time_series"] * 1e9, recorded.traces.times_ns)
    assert (samples("digital"), streams["digital"]["time_series"][:, 0].tolist()) == (
        [150, 160, 800],
        [5, 0, 32767],
    )
    assert samples("masked") == [100, 333]
    np.testing.assert_array_equal(streams["masked"]["time_series"], [[1, 0, 1], [0, 0, 1]])
    assert streams["hand_states"]["time_series"].shape == (1, 8)


def test_the_truth_has_a_sample_at_every_sample(tmp_path: Path) -> None:
    session = with_truth()
    write_session(session, tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o.xdf")
    truth = read(tmp_path / "o.xdf")["truth"]
    np.testing.assert_array_equal(truth["time_series"], session.truth)
    assert channels(truth) == [("a", "deg"), ("wrist flexion", "deg")]


def test_a_piece_keeps_the_times_of_its_session_and_what_held_when_it_begins(
    everything: Written, tmp_path: Path
) -> None:
    exported(everything.path, tmp_path / "o.xdf", 0.055, 0.3)  # samples 155 to 455
    streams = read(tmp_path / "o.xdf")
    np.testing.assert_allclose(streams["signal"]["time_stamps"], np.arange(155, 455) / 1000, atol=1e-9)
    found = [(round(s * 1000), row[0]) for s, row in zip(
        streams["digital"]["time_stamps"], streams["digital"]["time_series"], strict=True)]  # fmt: skip
    assert found == [(155, 5), (160, 0)]
    assert np.array(streams["masked"]["time_stamps"]).round(3).tolist() == [0.155, 0.333]
    assert "able_hand" not in streams
    assert min(streams["intents"]["time_stamps"]) == 0.159


def test_text_that_xml_cannot_hold_is_replaced_and_markers_keep_all_of_it(tmp_path: Path) -> None:
    session = plain("emg", 1, "int16", 1000.0)
    info = replace(session.info, channel_names=("a\x01<b>&",))
    recorded = Recorded(notes=(Note(5, "line\nx\ty\x01 <&> " + GREEK), Note(7, "n" * 70_000)))
    write_session(replace(session, info=info, recorded=recorded), tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o.xdf")
    streams = read(tmp_path / "o.xdf")
    assert channels(streams["signal"]) == [("a\N{REPLACEMENT CHARACTER}<b>&", "microvolts")]
    texts = [row[0] for row in streams["markers"]["time_series"]]
    assert texts == ["note: line\nx\ty\x01 <&> " + GREEK, "note: " + "n" * 70_000]


def test_after_damage_reading_goes_on_at_the_next_boundary(tmp_path: Path) -> None:
    write_session(plain("emg", 1, "int16", 100.0, n=6000), tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "o.xdf")
    data = bytearray((tmp_path / "o.xdf").read_bytes())
    assert data.count(BOUNDARY_MARK) == 6
    first = data.index(BOUNDARY_MARK)
    data[first + len(BOUNDARY_MARK)] = 7  # how many bytes the length of the next chunk has
    (tmp_path / "damaged.xdf").write_bytes(data)
    streams, _ = pyxdf.load_xdf(tmp_path / "damaged.xdf", dejitter_timestamps=False)
    assert 4900 <= len(streams[0]["time_series"]) < 6000


@given(st.binary(max_size=70_000))
def test_a_length_says_how_long_what_follows_is(content: bytes) -> None:
    data = counted(content)
    size = data[0]
    assert int.from_bytes(data[1 : 1 + size], "little") == len(content)
    assert data[1 + size :] == content
    assert size in (1, 4)
    assert chunk(3, content) == counted(b"\x03\x00" + content)


def test_the_start_is_in_the_file_header_only_where_it_was_recorded(
    everything: Written, tmp_path: Path
) -> None:
    exported(everything.path, tmp_path / "o.xdf")
    _, header = pyxdf.load_xdf(tmp_path / "o.xdf")
    assert header["info"]["datetime"] == ["2026-01-31T12:00:00.25+01:00"]
    assert header["info"]["version"] == ["1.0"]
    write_session(plain("emg", 1, "int16", 100.0), tmp_path / "s.nwb")
    exported(tmp_path / "s.nwb", tmp_path / "p.xdf")
    _, header = pyxdf.load_xdf(tmp_path / "p.xdf")
    assert set(header["info"]) == {"version"}


@pytest.mark.parametrize("cut", [(0.0, None), (0.1, 0.2)])
def test_the_same_session_gives_the_same_bytes(
    everything: Written, tmp_path: Path, cut: tuple[float, float | None]
) -> None:
    exported(everything.path, tmp_path / "a.xdf", *cut)
    exported(everything.path, tmp_path / "b.xdf", *cut)
    assert (tmp_path / "a.xdf").read_bytes() == (tmp_path / "b.xdf").read_bytes()
