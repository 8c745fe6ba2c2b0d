"""A session written to a file is the session read from it; what is not a whole session file is refused."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from decoder.session import Session, SessionMeta, iter_blocks, read_session, trials, write_session
from decoder.session import writer as writer_module
from decoder.session.layout import HEADER_PATH
from decoder.session.model import received_spans
from decoder.session.recorded import NOTHING_RECORDED
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo


def same(a: object, b: object) -> bool:
    """Equality that looks into dataclasses and arrays, NaN equal to NaN."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def assert_same(read: Session, written: Session) -> None:
    for field in fields(Session):
        if field.name != "signal":
            assert same(getattr(read, field.name), getattr(written, field.name)), field.name
    assert read.signal.dtype == written.signal.dtype
    assert read.signal.shape == written.signal.shape
    for start, stop in received_spans(written):
        assert np.array_equal(read.signal[start:stop], written.signal[start:stop], equal_nan=True)


def test_a_session_comes_back_whole(session: Session, written: Path) -> None:
    read = read_session(written)
    assert_same(read, session)
    assert trials(read) == trials(session)
    assert [b.lost_before for b in iter_blocks(read, 1000)] == [0, 50]


def test_the_smallest_session_comes_back(tmp_path: Path) -> None:
    signal = np.array([[np.nan, np.inf]], np.float32)
    session = Session(StreamInfo(0.5, ("a", "b"), "envelope"), SessionMeta("x"), signal)
    write_session(session, tmp_path / "s.nwb")
    assert_same(read_session(tmp_path / "s.nwb"), session)


def test_intents_at_odd_steps_keep_their_samples(session: Session, tmp_path: Path) -> None:
    intents = session.recorded.intents
    assert intents is not None
    odd = replace(intents, sample_index=np.cumsum(np.arange(40) % 7).astype(np.int64) + 10**11)
    changed = replace(session, recorded=replace(session.recorded, intents=odd))
    write_session(changed, tmp_path / "s.nwb")
    assert_same(read_session(tmp_path / "s.nwb"), changed)


def test_signal_only_leaves_the_rest_on_disk(session: Session, written: Path) -> None:
    read = read_session(written, signal_only=True)
    assert read.labels is None
    assert read.truth is None
    assert read.recorded == NOTHING_RECORDED
    assert read.gaps == session.gaps
    assert np.array_equal(read.microvolts(0, 250), session.microvolts(0, 250))


def test_a_file_is_private_and_replaces_the_old_one_whole(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "s.nwb"
    write_session(session, path)
    write_session(replace(session, meta=SessionMeta("second")), path)
    assert read_session(path).meta.identifier == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["s.nwb"]


def test_a_failed_write_leaves_nothing_and_keeps_the_old_file(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "s.nwb"
    write_session(session, path)
    before = path.read_bytes()

    class Broken:
        shape, dtype = (900, 3), np.dtype(np.int16)

        def __getitem__(self, key: slice) -> np.ndarray:
            raise NervehandError("the disk under the signal is gone")

    with pytest.raises(NervehandError, match="the disk under the signal is gone"):
        write_session(replace(session, signal=Broken()), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["s.nwb"]


def test_no_room_is_said_before_anything_is_written(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(NervehandError, match=r"s\.nwb: \d+ MiB are free and \d+ MiB are needed"):
        write_session(session, tmp_path / "s.nwb")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="does not exist"):
        write_session(session, tmp_path / "no" / "s.nwb")


def test_an_unreadable_start_time_is_said(session: Session, tmp_path: Path) -> None:
    bad = replace(session, meta=replace(session.meta, start_time="yesterday"))
    with pytest.raises(NervehandError, match="start time is 'yesterday'"):
        write_session(bad, tmp_path / "s.nwb")
    assert os.listdir(tmp_path) == []


def error_of(path: Path) -> str:
    with pytest.raises(NervehandError) as caught:
        read_session(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def test_a_file_cut_at_any_length_is_refused(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes()
    path = tmp_path / "cut.nwb"
    for length in np.linspace(0, len(content) - 1, 25).astype(int):
        path.write_bytes(content[:length])
        assert any(
            word in error_of(path) for word in ("empty", "not an NWB", "truncated", "cannot be opened")
        )


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_refused_or_reads_within_its_bounds(
    written: Path, tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(written.read_bytes())
    start = int(rng.integers(48, 60_000))
    content[start : start + 64] = rng.bytes(64)
    path = tmp_path / "bad.nwb"
    path.write_bytes(content)
    try:
        shape: tuple[int, ...] = read_session(path).microvolts().shape
    except NervehandError as error:
        shape = (900, 3) if str(error).startswith(str(path)) else ()
    assert shape == (900, 3)


def test_what_is_not_a_session_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in error_of(tmp_path / "none.nwb")
    for folder in (tmp_path, Path("."), Path("/")):
        assert "cannot be read (Is a directory" in error_of(folder)
    (tmp_path / "text.nwb").write_text("hello")
    assert "not an NWB file" in error_of(tmp_path / "text.nwb")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    assert "HDF5 file but not NWB" in error_of(tmp_path / "other.h5")


def test_foreign_nwb_is_refused_with_what_it_holds(written: Path, tmp_path: Path) -> None:
    path = shutil.copy(written, tmp_path / "s.nwb")
    with h5py.File(path, "r+") as file:
        del file[HEADER_PATH]
    assert "nervehand did not write (it has the ElectricalSeries 'signal' of shape (900, 3))" in error_of(
        path
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 2', "format is nervehand 2"),
        ('"rate_hz": 1000.0', '"rate_hz": -1000.0', "sampling rate is -1000.0"),
        ('"rate_hz": 1000.0', '"rate_hz": "fast"', "header is damaged (info.rate_hz"),
        ('"kind": "nerve"', '"kind": "brain"', "header is damaged (info.kind"),
        ('"dtype": "int16"', '"dtype": "float32"', "header describes float32"),
        ('"rest", "fist"', '"rest"', "postures have shape (3, 6)"),
        ('"deg", "deg"', '"deg"', "1 units"),
        ("{", "", "header is damaged"),
    ],
)
def test_a_header_that_lies_is_refused(
    written: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = shutil.copy(written, tmp_path / "s.nwb")
    with h5py.File(path, "r+") as file:
        text = file[HEADER_PATH].asstr()[()]
        assert old in text
        file[HEADER_PATH][()] = text.replace(old, new, 1)
    assert message in error_of(path)


def test_a_recording_that_is_not_closed_is_not_read(written: Path, tmp_path: Path) -> None:
    path = shutil.copy(written, tmp_path / "s.nwb")
    (tmp_path / "s.nwb.tail").touch()
    assert "still running or was cut off" in error_of(path)


def test_the_inspector_of_nwb_finds_nothing_critical(written: Path) -> None:
    inspector = pytest.importorskip("nwbinspector")
    found = list(inspector.inspect_nwbfile(nwbfile_path=str(written)))
    assert found
    worst = [m for m in found if m.importance.name not in ("BEST_PRACTICE_SUGGESTION",)]
    assert [(m.check_function_name, m.object_name, m.message) for m in worst] == []


def test_pynwb_reads_what_we_wrote(session: Session, written: Path) -> None:
    import pynwb

    with pynwb.NWBHDF5IO(written, "r") as io:
        nwb = io.read()
        series = nwb.acquisition["signal"]
        assert series.rate == 1000.0
        microvolts = series.data[:250] * series.conversion * 1e6
        assert np.allclose(microvolts, session.signal[0:250] * 0.195, rtol=1e-12)
        assert list(nwb.electrodes["contact"][:]) == ["median/1", "median/2", "ulnar/7"]
        assert [t.gesture for t in trials(session)] == list(nwb.trials["gesture"][:])
        assert nwb.subject.subject_id == "p07"
        assert list(nwb.analysis["notes"]["text"][:]) == ["gegrüßt\nsei", ""]
        assert nwb.processing["behavior"]["intent_outputs"].rate == pytest.approx(50.0)
