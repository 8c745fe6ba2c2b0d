"""An exported NWB file is a session, equal to what it was cut from, and any NWB tool reads it."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from nwbinspector import Importance, inspect_nwbfile

from decoder.exporters import nwb
from decoder.exporters.cut import Exported, open_cut
from decoder.session import Gap, Session, read_session
from decoder.session.recorded import EventKind, Note
from tests.decoder.exporters.conftest import GREEK, Written


def exported(path: Path, out: Path, start_s: float = 0.0, seconds: float | None = None) -> Exported:
    with open_cut(path, start_s, seconds) as cut:
        return nwb.export(cut, out)


def assert_same(a: object, b: object) -> None:
    """Equal to the last bit, through dataclasses, arrays and NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        np.testing.assert_array_equal(a, b)
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            if name != "signal":
                assert_same(getattr(a, name), getattr(b, name))
    else:
        assert a == b


def test_a_whole_copy_is_the_same_session(written: Written, tmp_path: Path) -> None:
    out = tmp_path / "o.nwb"
    done = exported(written.path, out)
    found, expected = read_session(out), read_session(written.path)
    assert_same(expected, found)
    assert_same(expected.signal[slice(None)], found.signal[slice(None)])
    assert (done.largest_error_uv, done.notes) == (0.0, ())
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("cut", [(0.0, None), (0.22, 0.5)])
def test_any_nwb_tool_reads_it_notes_included(
    everything: Written, tmp_path: Path, cut: tuple[float, float | None]
) -> None:
    out = tmp_path / "o.nwb"
    exported(everything.path, out, *cut)
    found = [
        m for m in inspect_nwbfile(out) if m.importance.value > Importance.BEST_PRACTICE_SUGGESTION.value
    ]
    assert found == []
    with pynwb.NWBHDF5IO(out, "r") as io:
        file = io.read()
        signal = file.acquisition["signal"]
        notes = file.analysis["notes"].to_dataframe()
        assert signal.starting_time == (100 + 220 * (cut[0] > 0)) / 1000
        assert signal.conversion == pytest.approx(0.195e-6)
        expected = [GREEK, "two\nlines", ""] if cut[1] is None else ["two\nlines"]
        assert notes["text"].tolist() == expected
        assert file.subject.subject_id == "p 07"


def piece(session: Session, a: int, b: int) -> Session:
    """Rows a to b of a session, as far as its arrays tell."""
    first = session.first_sample + a
    assert session.labels is not None
    assert session.repetition is not None
    gaps = (Gap(max(g.start, first), min(g.stop, session.first_sample + b)) for g in session.gaps)
    return replace(
        session,
        signal=session.signal[slice(a, b)],
        first_sample=first,
        labels=session.labels[a:b],
        repetition=session.repetition[a:b],
        gaps=tuple(g for g in gaps if g.start < g.stop),
    )


@pytest.mark.parametrize(("a", "b"), [(0, 300), (220, 720), (270, 905), (650, 651)])
def test_a_piece_has_its_samples_labels_and_gaps_at_the_same_indices(
    everything: Written, tmp_path: Path, a: int, b: int
) -> None:
    exported(everything.path, tmp_path / "o.nwb", a / 1000, (b - a) / 1000)
    found, expected = read_session(tmp_path / "o.nwb"), piece(read_session(everything.path), a, b)
    assert found.first_sample == 100 + a
    np.testing.assert_array_equal(found.signal[slice(None)], expected.signal[slice(None)])
    for name in ("labels", "repetition"):
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(np.zeros(b - a) if one is None else one, other)
    assert found.gaps == expected.gaps
    assert found.meta.identifier == f"s-1, samples {100 + a} to {99 + b}"
    assert found.digital is not None or a == 0
    if found.digital is not None and expected.digital is not None:
        np.testing.assert_array_equal(found.digital.at(100 + a, b - a), expected.digital.at(100 + a, b - a))
    assert bool(found.recorded.state) == (a == 0)


def test_a_piece_has_what_was_recorded_in_its_time_and_what_held_then(
    everything: Written, tmp_path: Path
) -> None:
    exported(everything.path, tmp_path / "o.nwb", 0.42, 0.3)  # samples 520 to 820
    found, whole = read_session(tmp_path / "o.nwb").recorded, everything.session.recorded
    assert whole.intents is not None
    assert found.intents is not None
    kept = (whole.intents.sample_index >= 520) & (whole.intents.sample_index < 820)
    np.testing.assert_array_equal(found.intents.outputs, whole.intents.outputs[kept])
    assert found.health is not None
    assert (found.health.sample_index.tolist(), found.health.mask.tolist()) == ([520], [[False, False, True]])
    # Samples 500 to 560 were left out: 40 of them are in the piece.
    assert [(e.sample_index, e.kind, e.first) for e in found.events] == [(520, EventKind.LEFT_OUT, 40)]
    assert (found.commands, found.sent, found.sensors, found.notes) == (None, None, None, ())


def test_ends_keep_what_was_noted_beyond_them(everything: Written, tmp_path: Path) -> None:
    exported(everything.path, tmp_path / "o.nwb", 0.7)
    found = read_session(tmp_path / "o.nwb").recorded
    assert [event.kind for event in found.events] == [999]
    assert found.notes == (Note(1004, ""),)


def test_trials_that_the_cut_goes_through_are_not_in_the_table(everything: Written, tmp_path: Path) -> None:
    def table(path: Path) -> list[tuple[float, float, int, int]]:
        with h5py.File(path) as file:
            if "intervals/trials" not in file:
                return []
            names = ("start_time", "stop_time", "gesture", "repetition")
            return list(zip(*(file[f"intervals/trials/{name}"][:].tolist() for name in names), strict=True))

    whole = table(everything.path)
    assert [row[2] for row in whole] == [1, 2, 1]
    exported(everything.path, tmp_path / "o.nwb", whole[1][0] - 0.1, 0.5)
    assert table(tmp_path / "o.nwb") == whole[1:2]
    exported(everything.path, tmp_path / "p.nwb", 0.1, 0.05)
    assert table(tmp_path / "p.nwb") == []
