"""NinaPro files, as published (.mat) and as scaled integers (.npz)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from decoder.importers import ninapro
from decoder.session import read_session, trials, write_session
from firmware_bridge.errors import NervehandError

REST, MOVE = 30, 50


def recording(movements: int = 12, repetitions: int = 2, channels: int = 10) -> dict[str, object]:
    """A file with the names and shapes of NinaPro: rests of 30 samples between movements of 50."""
    labels, counts = [0] * REST, [0] * REST
    for movement in range(1, movements + 1):
        for repetition in range(1, repetitions + 1):
            labels += [movement] * MOVE + [0] * REST
            counts += [repetition] * MOVE + [0] * REST
    rng = np.random.default_rng(0)
    column = np.array(labels, np.uint8)[:, None]
    return {
        "emg": rng.random((len(labels), channels)),
        "glove": rng.uniform(50, 200, (len(labels), 22)),
        "stimulus": np.roll(column, -10, axis=0),
        "restimulus": column,
        "repetition": np.roll(np.array(counts, np.uint8)[:, None], -10, axis=0),
        "rerepetition": np.array(counts, np.uint8)[:, None],
        "subject": np.array([[7]]),
        "exercise": np.array([[1]]),
    }


def test_a_published_file_becomes_an_envelope_session(tmp_path: Path) -> None:
    content = recording()
    savemat(tmp_path / "S7_A1_E1.mat", content, do_compression=True)
    session = ninapro.read(tmp_path / "S7_A1_E1.mat")
    assert (session.info.kind, session.info.rate_hz, session.info.n_channels) == ("envelope", 100.0, 10)
    assert np.allclose(session.microvolts(), np.asarray(content["emg"]) * 1e6, rtol=1e-6)
    assert session.meta.subject == "ninapro-db1-s07"
    assert session.gesture_names[1:3] == ("index flexion", "index extension")
    assert session.labels is not None
    assert np.array_equal(session.labels, np.ravel(content["restimulus"]))
    assert session.truth_names[4] == "index_mpj"
    assert session.truth is not None
    assert np.allclose(session.truth, content["glove"])


def test_every_movement_is_a_trial_with_half_of_its_rests(tmp_path: Path) -> None:
    savemat(tmp_path / "f.mat", recording())
    session = ninapro.read(tmp_path / "f.mat")
    cut = trials(session)
    assert [t.id for t in cut] == list(range(1, 25))
    assert [t.gesture for t in cut] == [g for g in range(1, 13) for _ in range(2)]
    assert [t.repetition for t in cut] == [1, 2] * 12
    assert (cut[0].start, cut[0].stop) == (0, REST + MOVE + REST // 2)
    assert all(t.stop - t.start == MOVE + REST for t in cut[1:-1])
    assert cut[-1].stop == session.n_samples
    assert session.repetition is not None
    assert set(session.repetition[cut[3].start : cut[3].stop]) == {2}


def test_an_npz_keeps_its_integers(tmp_path: Path) -> None:
    content = recording()
    rng = np.random.default_rng(1)
    content["emg"] = rng.integers(0, 2000, np.shape(content["emg"])).astype(np.int16)
    content["glove"] = rng.integers(1600, 13000, np.shape(content["glove"])).astype(np.int16)
    scales = {"emg_scale": np.float32(0.0024), "glove_scale": np.float32(1 / 64), "fs": np.float32(100)}
    flat = {k: np.ravel(v) if "stim" in k or "rep" in k else v for k, v in content.items() if k != "subject"}
    np.savez(tmp_path / "S09.npz", **flat, **scales)
    session = ninapro.read(tmp_path / "S09.npz")
    assert session.signal.dtype == np.int16
    assert session.scale_uv == pytest.approx(2400.0)
    assert session.meta.subject == "ninapro-db1-s09"
    assert session.truth is not None
    assert np.allclose(session.truth * 64, content["glove"])


def test_postures_follow_from_the_names() -> None:
    rows = ninapro.postures(("rest", "index flexion", "thumb extension", "thumb adduction", "movement 4"))
    assert rows[0].tolist() == [0] * 6
    assert rows[1].tolist() == [0, 1, 0, 0, 0, 0]
    assert rows[2].tolist() == [-1, 0, 0, 0, 0, 0]
    assert rows[3].tolist() == [1, 0, 0, 0, 0, 0]
    assert np.isnan(rows[4]).all()
    assert np.isfinite(ninapro.postures(ninapro.E1_NAMES)).all()


def test_another_exercise_is_named_by_number(tmp_path: Path) -> None:
    savemat(tmp_path / "f.mat", recording(movements=17) | {"exercise": np.array([[2]])})
    session = ninapro.read(tmp_path / "f.mat")
    assert session.gesture_names[17] == "exercise 2 movement 17"
    assert session.postures is not None
    assert np.isnan(session.postures[1:]).all()


def test_other_databases_are_known_by_their_channels(tmp_path: Path) -> None:
    savemat(tmp_path / "f.mat", recording(channels=12))
    raw = ninapro.read(tmp_path / "f.mat")
    assert (raw.info.kind, raw.info.rate_hz, raw.gesture_names[1]) == ("emg", 2000.0, "exercise 1 movement 1")
    content = recording(channels=16)
    content["emg"] = np.round(np.asarray(content["emg"]) * 200 - 100)
    savemat(tmp_path / "f.mat", content)
    assert ninapro.read(tmp_path / "f.mat").info.rate_hz == 200.0


def test_what_was_imported_is_a_session_file(tmp_path: Path) -> None:
    savemat(tmp_path / "f.mat", recording())
    session = ninapro.read(tmp_path / "f.mat")
    write_session(session, tmp_path / "out.nwb")
    read = read_session(tmp_path / "out.nwb")
    assert trials(read) == trials(session)
    assert np.array_equal(read.microvolts(), session.microvolts())
    assert read.meta == session.meta


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emg": None}, "lacks emg"),
        ({"restimulus": None, "stimulus": None}, "lacks stimulus"),
        ({"emg": np.zeros((0, 10))}, "emg has shape"),
        ({"emg": np.zeros((9, 7))}, "emg has 7 channels; known are 10"),
        ({"emg": np.zeros((1950, 16))}, "so it is not DB5"),
        ({"emg": np.array([["x"] * 10])}, "emg is <U1"),
        ({"restimulus": np.zeros((5, 1))}, "restimulus has 5 values for 1950 samples"),
        ({"restimulus": np.full((1950, 1), -1.0)}, "restimulus is -1 at sample 0"),
        ({"glove": np.full((1950, 22), np.nan)}, "truth column thumb_tmj is nan"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    content = {key: value for key, value in (recording() | change).items() if value is not None}
    path = tmp_path / "f.mat"
    savemat(path, content)
    with pytest.raises(NervehandError, match=message) as caught:
        ninapro.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_ninapro_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.mat"
    with pytest.raises(NervehandError, match="cannot be read"):
        ninapro.read(path)
    path.write_text("hello")
    with pytest.raises(NervehandError, match="neither a MATLAB 5"):
        ninapro.read(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "whole.mat", recording(repetitions=1), do_compression=True)
    content = (tmp_path / "whole.mat").read_bytes()
    path = tmp_path / "cut.mat"
    for length in np.linspace(8, len(content) - 100, 30).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(NervehandError, match=str(path)):
            ninapro.read(path)


def _data() -> Path:
    named = os.environ.get("NERVEHAND_DATA")
    beside = Path(__file__).parents[4] / "shared" / "data"
    return (Path(named) if named else beside) / "ninapro_db1_e1"


@pytest.mark.skipif(
    not _data().is_dir(), reason="the recordings are not here: set NERVEHAND_DATA to their folder"
)
@pytest.mark.parametrize("person", [1, 4, 14])
def test_a_real_recording_has_120_trials(person: int) -> None:
    session = ninapro.read(_data() / f"S{person:02d}.npz")
    cut = trials(session)
    assert len(cut) == 120
    assert sorted((t.gesture, t.repetition) for t in cut) == [
        (g, r) for g in range(1, 13) for r in range(1, 11)
    ]
    assert session.duration_s > 900
