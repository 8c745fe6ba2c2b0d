"""Arrays files: the door for any lab's data, and the one clear error for each way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decoder.importers import arrays
from decoder.session import trials
from firmware_bridge.errors import NervehandError

N = 12


def whole() -> dict[str, object]:
    return {
        "signal": np.arange(2 * N, dtype=np.float64).reshape(N, 2),
        "rate": 1000,
        "kind": "raw",
        "labels": np.array([0, 1, 1, 0, 0, 2, 2, 0, 0, 1, 1, 0]),
        "names": np.array(["rest", "fist", "point"]),
        "trial": np.repeat([1, 2, 3], 4),
        "repetition": np.repeat([1, 1, 2], 4),
        "truth": np.ones((N, 3)),
        "truth_names": np.array(["a", "b", "c"]),
    }


def save(path: Path, content: dict[str, object]) -> Path:
    np.savez(path, **content)
    return path


def test_all_keys_are_read(tmp_path: Path) -> None:
    session = arrays.read(save(tmp_path / "f.npz", whole()))
    assert session.info.kind == "emg"
    assert session.info.rate_hz == 1000.0
    assert session.signal.dtype == np.float32
    assert np.array_equal(session.microvolts(), np.arange(2 * N, dtype=np.float32).reshape(N, 2))
    assert session.gesture_names == ("rest", "fist", "point")
    assert session.truth_names == ("a", "b", "c")
    assert [(t.id, t.gesture, t.repetition) for t in trials(session)] == [(1, 1, 1), (2, 2, 1), (3, 1, 2)]
    assert session.recorded.notes == ()


@pytest.mark.parametrize("kind", ["nerve", "emg", "envelope"])
def test_signal_rate_and_kind_are_enough(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "f.npz", {"signal": np.zeros((3, 4), np.int16), "rate": 0.5, "kind": kind})
    session = arrays.read(path)
    assert session.info.kind == kind
    assert session.signal.dtype == np.int16
    assert session.labels is session.trial is session.truth is None


def test_the_same_file_has_the_same_identity_and_another_has_not(tmp_path: Path) -> None:
    first = arrays.read(save(tmp_path / "f.npz", whole())).meta.identifier
    assert arrays.read(save(tmp_path / "g.npz", whole())).meta.identifier == first
    assert arrays.read(save(tmp_path / "g.npz", whole() | {"rate": 999})).meta.identifier != first


def test_values_that_are_not_finite_stay_and_are_counted(tmp_path: Path) -> None:
    signal = np.zeros((N, 2))
    signal[3, 0], signal[5, 0] = np.nan, np.inf
    session = arrays.read(save(tmp_path / "f.npz", whole() | {"signal": signal}))
    assert np.isnan(session.microvolts()[3, 0])
    (note,) = session.recorded.notes
    assert note.sample_index == 3
    assert note.text.startswith("2 signal values in 1 channels are not finite")


def test_a_key_that_is_not_known_is_named(tmp_path: Path) -> None:
    session = arrays.read(save(tmp_path / "f.npz", whole() | {"lable": np.zeros(N)}))
    assert [note.text for note in session.recorded.notes] == ["keys not used: lable"]


def test_labels_without_names_are_named_by_number(tmp_path: Path) -> None:
    content = whole()
    del content["names"]
    assert arrays.read(save(tmp_path / "f.npz", content)).gesture_names == ("rest", "gesture 1", "gesture 2")


def test_ids_from_zero_on_are_all_trials_and_scattered_zeros_are_none(tmp_path: Path) -> None:
    from_zero = arrays.read(save(tmp_path / "f.npz", whole() | {"trial": np.repeat([0, 1, 2], 4)}))
    assert [t.id for t in trials(from_zero)] == [1, 2, 3]
    scattered = np.array([0, 1, 1, 0, 0, 2, 2, 0, 0, 3, 3, 0])
    none = arrays.read(save(tmp_path / "f.npz", whole() | {"trial": scattered}))
    assert [(t.start, t.stop) for t in trials(none)] == [(1, 3), (5, 7), (9, 11)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": None}, "lacks signal"),
        ({"rate": None, "kind": None}, "lacks rate, kind"),
        ({"signal": np.zeros((0, 2))}, "the session is empty"),
        ({"signal": np.zeros(N)}, r"signal has shape \(12,\)"),
        ({"signal": np.zeros((N, 0))}, "no channels"),
        ({"signal": np.zeros((N, 2), complex)}, "signal is complex128"),
        ({"signal": np.array([["x", "y"]] * N)}, "signal is <U1"),
        ({"signal": np.array([[None, {}]] * N)}, "array of objects"),
        ({"rate": -1000.0}, "sampling rate is -1000.0 Hz"),
        ({"rate": np.nan}, "sampling rate is nan"),
        ({"rate": "fast"}, "rate is <U4"),
        ({"rate": np.array([1.0, 2.0])}, r"rate is float64 of shape \(2,\)"),
        ({"kind": "eeg"}, "kind is 'eeg': use nerve, emg, raw"),
        ({"kind": 3}, "kind is int64: give text"),
        ({"labels": np.zeros(N - 1, int)}, r"labels has shape \(11,\) for 12 samples"),
        ({"labels": np.full(N, 10**12), "names": None}, "label 1000000000000 is too large"),
        ({"labels": np.full(N, 3)}, r"label 3 at sample 0 is outside the 3 names \(rest, fist, point\)"),
        ({"labels": np.full(N, -1)}, "label -1 at sample 0 is outside"),
        ({"labels": np.full(N, 0.5)}, "labels is 0.5 at sample 0: give whole numbers"),
        ({"labels": np.full(N, np.nan)}, "labels is nan at sample 0"),
        ({"labels": np.array(["rest"] * N)}, "labels is <U4: give whole numbers"),
        ({"names": np.array(["rest", "rest", "x"])}, "gesture names are"),
        ({"trial": np.zeros((N, 1), int)}, r"trial has shape \(12, 1\)"),
        ({"repetition": np.full(N, -2)}, "repetition holds -2"),
        ({"truth": np.zeros((N - 1, 3))}, r"truth has shape \(11, 3\) for 12 samples"),
        ({"truth": np.zeros(N)}, r"truth has shape \(12,\)"),
        ({"truth": np.full((N, 3), np.inf)}, "truth column a is inf at sample 0"),
        ({"truth_names": np.array(["a", "b"])}, "3 columns, 2 names"),
        ({"truth_names": np.array(["a", "a", "b"])}, "truth names repeat"),
        ({"side": "both"}, "side is 'both'"),
        ({"electrodes": np.array(["x"])}, "1 electrodes for 2 channels"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    content = {key: value for key, value in (whole() | change).items() if value is not None}
    path = save(tmp_path / "f.npz", content)
    with pytest.raises(NervehandError, match=message) as caught:
        arrays.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_arrays_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    with pytest.raises(NervehandError, match="cannot be read"):
        arrays.read(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    for content in (b"", b"hello", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(NervehandError, match=r"is not an \.npz file"):
            arrays.read(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    content = save(tmp_path / "f.npz", whole()).read_bytes()
    path = tmp_path / "cut.npz"
    for length in range(2, len(content) - 1, 97):
        path.write_bytes(content[:length])
        with pytest.raises(NervehandError, match="truncated or damaged"):
            arrays.read(path)
