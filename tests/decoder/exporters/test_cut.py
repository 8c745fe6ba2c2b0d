"""A cut is a stretch of a closed session; what cannot be one is refused in one line."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder.exporters.annotations import annotations_of, extent, plain_names
from decoder.exporters.cut import open_cut
from decoder.session import Gap, SessionWriter, iter_blocks, read_session, write_session
from decoder.session.layout import header_of
from decoder.session.recorded import HealthChanges, Recorded
from firmware_bridge.errors import NervehandError
from tests.decoder.exporters.conftest import Written, full, plain


@pytest.mark.parametrize(
    ("start_s", "seconds", "first", "stop"),
    [(0.0, None, 100, 1005), (0.5, None, 600, 1005), (0.1, 0.2, 200, 400),
     (0.9, 99.0, 1000, 1005), (0.0, 1e-9, 100, 101)],
)  # fmt: skip
def test_a_cut_is_counted_in_seconds_from_the_first_sample(
    everything: Written, start_s: float, seconds: float | None, first: int, stop: int
) -> None:
    with open_cut(everything.path, start_s, seconds) as cut:
        assert (cut.first, cut.stop, cut.n_samples) == (first, stop, stop - first)
        rows = everything.session.signal[slice(first - 100, stop - 100)]
        received = everything.received[first - 100 : stop - 100, None]
        np.testing.assert_array_equal(cut.rows(0, stop - first), np.where(received, rows, 0))
        assert sum(b - a for a, b in cut.received()) == received.sum()


def test_slabs_of_any_width_are_all_samples_in_order(everything: Written) -> None:
    with open_cut(everything.path) as cut:
        for width, multiple in ((1, 1), (3, 7), (10**7, 1), (10**7, 100)):
            slabs = list(cut.slabs(width, multiple))
            assert [a for a, _ in slabs] == [0, *(b for _, b in slabs[:-1])]
            assert slabs[-1][1] == 905
            assert all((b - a) % multiple == 0 for a, b in slabs[:-1])


@pytest.mark.parametrize(
    ("start_s", "seconds", "said"),
    [
        (0.905, None, "start is 0.905 s and the session has 0.905 s"),
        (-1.0, None, "choose a time within it"),
        (float("nan"), None, "choose a time within it"),
        (0.0, 0.0, "give a positive number"),
        (0.0, float("inf"), "give a positive number"),
        (0.25, 0.05, "nothing was received in samples 350..399: choose another stretch"),
    ],
)
def test_a_stretch_that_is_not_there_is_refused(
    everything: Written, start_s: float, seconds: float | None, said: str
) -> None:
    with (
        pytest.raises(NervehandError, match=said.replace(".", r"\.")),
        open_cut(everything.path, start_s, seconds),
    ):
        pass


def test_a_recording_that_is_not_closed_says_recover_it_first(tmp_path: Path) -> None:
    session = plain("emg", 2, "int16", 1000.0)
    path = tmp_path / "s.nwb"
    writer = SessionWriter(path, header_of(session))
    writer.append(next(iter_blocks(session, 100)))
    with pytest.raises(NervehandError, match="run `nervehand recover`"), open_cut(path):
        pass
    writer.close()


def test_damage_in_a_table_is_one_line_and_names_the_file(everything: Written, tmp_path: Path) -> None:
    path = tmp_path / "s.nwb"
    path.write_bytes(everything.path.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["processing/behavior/commands/targets"]
        del file["analysis/notes/text"]
        file["intervals/trials/gesture"][0] = 77
    with open_cut(path) as cut:
        with pytest.raises(NervehandError, match=r"s\.nwb: is damaged"):
            list(cut.stream("commands"))
        with pytest.raises(NervehandError, match=r"s\.nwb: is damaged"):
            cut.notes()
        with pytest.raises(NervehandError, match="label 77 is outside its names"):
            annotations_of(cut)


def test_what_is_in_a_gap_is_never_shown(tmp_path: Path) -> None:
    session = full("float32")
    session.signal[slice(None)][250:300] = 1e9  # rows of the gap, which a damaged file may hold
    write_session(session, tmp_path / "s.nwb")
    with h5py.File(tmp_path / "s.nwb", "r+") as file:
        file["acquisition/signal/data"][250:300] = 1e9
    with open_cut(tmp_path / "s.nwb") as cut:
        assert not cut.rows(240, 310)[10:60].any()
        assert np.isnan(cut.microvolts(240, 310)[10:60]).all()
        assert extent(cut).high_uv.max() < 1e9


@settings(max_examples=25)
@given(bad=st.lists(st.booleans(), min_size=1, max_size=60), slab=st.integers(0, 3))
def test_values_that_are_not_finite_are_told_in_few_stretches_that_hold_them_all(
    bad: list[bool], slab: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    session = plain("emg", 1, "float32", 30.0, n=len(bad))
    session.signal[slice(None)][bad, 0] = np.nan
    path = tmp_path_factory.mktemp("bad") / "s.nwb"
    write_session(session, path)
    with open_cut(path) as cut, pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoder.exporters.cut.SLAB_BYTES", 8 * (slab * 7 + 1))
        spans = extent(cut).not_finite
    told = np.zeros(len(bad), bool)
    for span in spans:
        assert bad[span.row]
        assert bad[span.row + span.n - 1]
        told[span.row : span.row + span.n] = True
    assert np.all(told[bad])
    assert all(b.row - a.row - a.n >= 3 for a, b in itertools.pairwise(spans))  # 0.1 s


@given(st.lists(st.text(max_size=30), unique=True, max_size=40), st.integers(8, 20))
def test_plain_names_are_ascii_short_and_unique(names: list[str], most: int) -> None:
    plain_ = plain_names(tuple(names), most)
    assert len(set(plain_)) == len(names)
    assert all(0 < len(name) <= most and name.isascii() and name.isprintable() for name in plain_)


def test_a_label_that_holds_on_is_one_stretch_whatever_else_changes(tmp_path: Path) -> None:
    labels, trial = np.zeros(400, np.int16), np.zeros(400, np.int32)
    labels[100:200], trial[50:150], trial[150:400] = 1, 1, 2
    session = replace(
        plain("emg", 2, "int16", 1000.0, n=400), labels=labels, trial=trial, gesture_names=("rest", "a")
    )
    write_session(session, tmp_path / "s.nwb")
    with open_cut(tmp_path / "s.nwb") as cut:
        found = [(a.row, a.n) for a in annotations_of(cut) if a.text == "label/a"]
    assert found == [(100, 100)]


def test_masks_are_told_by_channel_also_where_they_begin_before_the_cut(tmp_path: Path) -> None:
    mask = np.array([[False, True], [True, True], [True, False], [False, False]])
    recorded = Recorded(health=HealthChanges(np.array([0, 100, 200, 250]), mask))
    session = replace(plain("emg", 2, "int16", 1000.0, (Gap(5, 6),), n=400), recorded=recorded)
    write_session(session, tmp_path / "s.nwb")
    assert read_session(tmp_path / "s.nwb").recorded.health is not None
    with open_cut(tmp_path / "s.nwb", 0.15, 0.2) as cut:
        found = [(a.row, a.n, a.text, a.channel) for a in annotations_of(cut)]
    assert found == [(0, 100, "masked", 0), (0, 50, "masked", 1)]
