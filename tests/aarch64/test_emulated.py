"""Outputs of two processors are the same within the bound, or the array that is not is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.aarch64 import emulated, root
from tests.aarch64.emulated import SUBSET, TOLERANCE, compared, difference


def test_real_numbers_are_compared_by_their_size_and_never_finer_than_one() -> None:
    small, large = np.array([0.5, 0.1], np.float32), np.array([400.0, 0.0], np.float32)
    assert not difference("a", small, small + np.float32(0.9 * TOLERANCE)).is_wrong
    assert difference("a", small, small + np.float32(1.2 * TOLERANCE)).is_wrong
    assert not difference("a", large, large + np.float32(300 * TOLERANCE)).is_wrong
    assert difference("a", large, large + np.float32(500 * TOLERANCE)).is_wrong


def test_one_gesture_in_a_thousand_may_differ_and_no_other_whole_number() -> None:
    here = np.zeros(2000, np.int16)
    there = here.copy()
    there[:2] = 1
    assert not difference("replay/gesture", here, there).is_wrong
    assert difference("replay/sample_index", here, there).is_wrong
    there[2] = 1
    assert difference("replay/gesture", here, there).is_wrong


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_never_the_same(bad: float) -> None:
    here = np.zeros(3, np.float32)
    there = np.array([0, bad, 0], np.float32)
    assert difference("a", here, there).is_wrong
    with pytest.raises(ValueError, match="not finite"):
        difference("a", there, there)


def test_other_shapes_kinds_or_names_are_no_matter_of_rounding() -> None:
    here = np.zeros(3, np.float32)
    for there in (np.zeros(4, np.float32), np.zeros(3)):
        with pytest.raises(ValueError, match="there"):
            difference("a", here, there)
    with pytest.raises(ValueError, match="only one of both has b"):
        compared({"a": here}, {"a": here, "b": here})


def test_a_probability_is_compared_where_the_gesture_is_the_same() -> None:
    gesture, probability = np.zeros(2000, np.int16), np.full(2000, 0.5, np.float32)
    here = {"r/gesture": gesture, "r/probability": probability}
    there = {"r/gesture": gesture.copy(), "r/probability": probability.copy()}
    there["r/gesture"][7], there["r/probability"][7] = 1, 0.9
    assert not any(one.is_wrong for one in compared(here, there))
    there["r/probability"][8] = 0.9
    assert [one.name for one in compared(here, there) if one.is_wrong] == ["r/probability"]


def test_every_file_of_the_subset_is_there() -> None:
    assert [path for path in SUBSET if not (root.REPOSITORY / path).exists()] == []


def test_without_a_root_file_system_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["emulated"])
    monkeypatch.delenv(root.VARIABLE, raising=False)
    assert emulated.main() == 2
    assert f"{root.VARIABLE} is not set" in capsys.readouterr().err
    monkeypatch.setenv(root.VARIABLE, str(tmp_path))
    assert emulated.main() == 2
    assert "--make makes it" in capsys.readouterr().err
