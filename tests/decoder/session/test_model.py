"""What a session is, how it is cut into blocks, and how into trials."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.session import Gap, Session, SessionMeta, Trial, iter_blocks, trials
from decoder.session.model import received_spans, runs
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

INFO = StreamInfo(1000.0, ("a", "b"), "emg")


def plain(n: int, **more: object) -> Session:
    signal = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return replace(Session(INFO, SessionMeta("x"), signal), **more)


def labelled(labels: list[int], **more: object) -> Session:
    return plain(
        len(labels), labels=np.array(labels, np.int16), gesture_names=("rest", "one", "two", "three"), **more
    )


def test_blocks_of_any_size_are_the_recording() -> None:
    session = plain(1000, first_sample=40)
    for size in (1, 7, 64, 1000, 5000):
        blocks = list(iter_blocks(session, size))
        assert np.array_equal(np.concatenate([b.samples for b in blocks]), session.signal[0:1000])
        assert [b.first_sample for b in blocks] == list(range(40, 1040, size))
        assert all(b.lost_before == 0 for b in blocks)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 12), st.booleans())
def test_blocks_skip_gaps_and_say_what_was_lost(lengths: list[int], size: int, gap_first: bool) -> None:
    edges = np.concatenate(([0], np.cumsum(lengths)))
    gaps = tuple(Gap(int(a), int(b)) for i, (a, b) in enumerate(pairwise(edges)) if i % 2 != gap_first)
    session = plain(int(edges[-1]), gaps=gaps)
    received = np.ones(session.n_samples, bool)
    for gap in gaps:
        received[gap.start : gap.stop] = False
    at = 0
    seen = np.zeros(session.n_samples, bool)
    for block in iter_blocks(session, size):
        assert 1 <= block.n_samples <= size
        assert block.lost_before == block.first_sample - at
        at = block.first_sample + block.n_samples
        assert np.array_equal(block.samples, session.signal[block.first_sample : at])
        seen[block.first_sample : at] = True
    assert np.array_equal(seen, received)
    assert sum(b - a for a, b in received_spans(session)) == received.sum()


def test_blocks_cannot_be_changed() -> None:
    block = next(iter_blocks(plain(10), 4))
    with pytest.raises(ValueError, match="read-only"):
        block.samples[0, 0] = 1


def test_a_block_holds_at_least_one_sample() -> None:
    with pytest.raises(NervehandError, match="block size is 0"):
        next(iter_blocks(plain(10), 0))


def test_a_trial_is_a_movement_with_half_of_the_rest_on_either_side() -> None:
    session = labelled([0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0, 1, 1, 1, 0])
    assert trials(session) == [Trial(1, 1, 0, 6, 1), Trial(2, 1, 6, 10, 2), Trial(3, 2, 10, 15, 1)]


def test_without_a_rest_between_movements_the_cut_is_at_the_change() -> None:
    assert trials(labelled([1, 1, 2, 2])) == [Trial(1, 1, 0, 2, 1), Trial(2, 1, 2, 4, 2)]


def test_the_repetition_of_a_movement_is_kept() -> None:
    session = labelled([0, 1, 1, 0, 0, 1, 0], repetition=np.array([0, 7, 7, 0, 0, 9, 0], np.int16))
    assert [t.repetition for t in trials(session)] == [7, 9]


def test_named_trials_of_one_movement_stay_as_they_are() -> None:
    ids = np.array([5, 5, 5, 0, 9, 9, 9, 9], np.int32)
    session = labelled([0, 1, 0, 0, 2, 0, 2, 0], trial=ids)
    assert trials(session) == [Trial(5, 1, 0, 3, 1), Trial(9, 1, 4, 8, 2)]


def test_named_trials_of_several_movements_are_cut() -> None:
    ids = np.array([5] * 6 + [6] * 4, np.int32)
    session = labelled([0, 1, 0, 0, 2, 0, 0, 3, 3, 1], trial=ids, repetition=ids.astype(np.int16))
    assert trials(session) == [
        Trial(1, 5, 0, 3, 1),
        Trial(2, 5, 3, 6, 2),
        Trial(3, 6, 6, 9, 3),
        Trial(4, 6, 9, 10, 1),
    ]


def test_a_trial_that_is_only_rest_is_one() -> None:
    assert trials(labelled([0, 0, 0])) == [Trial(1, 1, 0, 3, 0)]


def test_without_labels_the_named_trials_or_the_whole_are_trials() -> None:
    assert trials(plain(5)) == [Trial(1, 0, 0, 5, 0)]
    ids = np.array([0, 3, 3, 4, 4], np.int32)
    assert trials(plain(5, trial=ids)) == [Trial(3, 0, 1, 3, 0), Trial(4, 0, 3, 5, 0)]


def test_a_trial_id_used_twice_is_an_error() -> None:
    with pytest.raises(NervehandError, match="trial 3 starts twice, at samples 0 and 2"):
        trials(plain(3, trial=np.array([3, 0, 3], np.int32)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_unnamed_trials_cover_the_session_without_overlap(labels: list[int]) -> None:
    session = labelled(labels)
    cut = trials(session)
    assert cut[0].start == 0
    assert cut[-1].stop == len(labels)
    assert all(a.stop == b.start for a, b in pairwise(cut))
    for trial in cut:
        assert set(labels[trial.start : trial.stop]) <= {0, trial.gesture}


@given(st.lists(st.integers(0, 2), max_size=30))
def test_runs_put_together_are_the_values(values: list[int]) -> None:
    stretches = runs(np.array(values, np.int16))
    assert [v for v, a, b in stretches for _ in range(a, b)] == values
    assert all(a[0] != b[0] for a, b in pairwise(stretches))


def test_microvolts_applies_the_scale() -> None:
    session = plain(4, signal=np.array([[1, -2]] * 4, np.int16), scale_uv=0.5)
    assert np.array_equal(session.microvolts(1, 3), np.array([[0.5, -1.0]] * 2, np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": np.empty((0, 2), np.float32)}, "the session is empty"),
        ({"signal": np.zeros((4, 3), np.float32)}, "signal has 3 channels, the stream describes 2"),
        ({"signal": np.zeros(4, np.float32)}, r"signal has shape \(4,\)"),
        ({"signal": np.zeros((4, 2), np.float64)}, "signal is float64"),
        ({"scale_uv": -1.0}, "scale is -1.0"),
        ({"first_sample": -1}, "first sample is -1"),
        ({"labels": np.zeros(3, np.int16)}, r"labels has shape \(3,\) for 4 samples"),
        ({"labels": np.array([0, 0, 5, 0], np.int16)}, "label 5 at sample 2 is outside the names"),
        ({"repetition": np.array([0, -3, 0, 0], np.int16)}, "repetition holds -3"),
        ({"gesture_names": ("rest", "rest")}, "gesture names are"),
        ({"postures": np.zeros((2, 6), np.float32)}, r"postures have shape \(2, 6\)"),
        ({"postures": np.full((1, 6), 2, np.float32)}, "outside -1..1"),
        ({"truth_names": ("x",)}, "truth is named but absent"),
        ({"truth": np.zeros((3, 1), np.float32)}, r"truth has shape \(3, 1\) for 4 samples"),
        ({"truth": np.zeros((4, 1), np.float32)}, "truth has 1 columns, 0 names"),
        (
            {
                "truth": np.array([[0], [0], [np.nan], [0]], np.float32),
                "truth_names": ("x",),
                "truth_units": ("deg",),
            },
            "truth column x is nan at sample 2",
        ),
        ({"gaps": (Gap(2, 2),)}, "gap 2..2 is empty"),
        ({"gaps": (Gap(2, 9),)}, "gap 2..9"),
    ],
)
def test_what_contradicts_itself_is_no_session(change: dict[str, object], message: str) -> None:
    with pytest.raises(NervehandError, match=message):
        replace(plain(4), **change)


def test_a_session_needs_a_name_and_a_known_side() -> None:
    with pytest.raises(NervehandError, match="no identifier"):
        SessionMeta("")
    with pytest.raises(NervehandError, match="side is 'both'"):
        SessionMeta("x", side="both")
