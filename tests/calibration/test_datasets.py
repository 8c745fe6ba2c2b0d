"""Feature streams, the pieces they are cut into, and the orders these are met in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.datasets import (
    LEFT_OUT,
    FeatureStream,
    concatenate,
    feature_stream,
    in_order,
    pieces,
    renamed,
    session_stream,
    shuffled,
    unconnected,
)
from decoder.chain import FrontEnd
from decoder.conditioning import ConditioningSettings
from decoder.conditioning_design import design
from decoder.features import FeatureSettings
from decoder.session import read_session, write_session
from decoder.session.model import Gap, Session, SessionMeta, left_out_spans, trials
from decoder.session.recorded import Event, EventKind, Recorded
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo

HOP_S = 0.02


def stream_of(
    label: list[int] | NDArray[np.int64] | None,
    trial: list[int] | None = None,
    repetition: list[int] | None = None,
    truth: NDArray[np.float32] | None = None,
    n: int | None = None,
    sample_index: NDArray[np.int64] | None = None,
    left_out: Sequence[tuple[int, int]] = (),
) -> FeatureStream:
    """One hop per sample; the feature is the row number."""
    k = n if label is None else len(label)
    assert k is not None
    return feature_stream(
        np.arange(k, dtype=np.float32)[:, None],
        np.zeros((k, 1), np.bool_),
        np.arange(k) if sample_index is None else sample_index,
        hop_samples=1,
        rate_hz=1.0 / HOP_S,
        label=None if label is None else np.asarray(label),
        trial=None if trial is None else np.asarray(trial),
        repetition=None if repetition is None else np.asarray(repetition),
        truth=truth,
        left_out=left_out,
    )


def spans(stream: FeatureStream) -> list[tuple[int, int, int, int]]:
    return [(p.start, p.stop, p.gesture, p.repetition) for p in pieces(stream)]


def test_a_piece_is_a_movement_with_half_of_the_rest_on_either_side() -> None:
    label = [0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0, 1, 1, 0]
    assert spans(stream_of(label)) == [(0, 6, 1, 1), (6, 10, 2, 1), (10, 14, 1, 2)]


def test_without_rest_between_two_movements_the_cut_is_at_the_change() -> None:
    assert spans(stream_of([1, 1, 2, 2, 2, 0, 1])) == [(0, 2, 1, 1), (2, 5, 2, 1), (5, 7, 1, 2)]


def test_what_is_left_out_belongs_to_no_piece_and_the_rest_is_cut_as_without_it() -> None:
    label = [0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0, 1, 1, 0]
    stream = stream_of(label, left_out=[(6, 10)])
    assert spans(stream) == [(0, 6, 1, 1), (10, 14, 1, 2)]
    assert stream.trial[6:10].tolist() == [LEFT_OUT] * 4
    assert spans(stream_of(label, left_out=[(0, 14)])) == []
    both = concatenate([stream, stream])
    assert spans(both) == [(0, 6, 1, 1), (10, 14, 1, 2), (14, 20, 1, 1), (24, 28, 1, 2)]


def test_a_trial_that_holds_several_gestures_is_cut_at_each_rest() -> None:
    label = [0, 1, 0, 0, 2, 0, 0, 1, 0, 0, 2, 0]
    trial = [1] * 6 + [2] * 6
    found = pieces(stream_of(label, trial, repetition=[1] * 6 + [2] * 6))
    assert [(p.start, p.stop, p.gesture, p.repetition) for p in found] == [
        (0, 3, 1, 1), (3, 6, 2, 1), (6, 9, 1, 2), (9, 12, 2, 2),
    ]  # fmt: skip
    assert len({p.trial for p in found}) == 4


def test_the_same_movement_twice_without_rest_is_two_pieces_where_the_trials_say_so() -> None:
    assert spans(stream_of([1, 1, 1, 1], trial=[4, 4, 9, 9])) == [(0, 2, 1, 1), (2, 4, 1, 2)]


def test_trials_that_mark_only_the_movements_still_give_pieces_with_rest() -> None:
    assert spans(stream_of([0, 1, 0, 0, 1, 0], trial=[0, 1, 0, 0, 2, 0])) == [(0, 3, 1, 1), (3, 6, 1, 2)]


def test_without_labels_a_piece_is_a_trial() -> None:
    found = pieces(stream_of(None, trial=[0, 1, 1, 0, 0, 2, 2, 0], n=8))
    assert [(p.start, p.stop) for p in found] == [(0, 4), (4, 8)]


def test_without_labels_and_trials_pieces_last_five_seconds() -> None:
    truth = np.zeros((600, 2), np.float32)
    assert spans(stream_of(None, truth=truth, n=600)) == [(0, 250, 0, 0), (250, 500, 0, 0), (500, 600, 0, 0)]


def test_a_recording_of_rest_is_one_piece() -> None:
    assert spans(stream_of([0] * 5)) == [(0, 5, 0, 0)]


def test_given_repetitions_are_kept_and_choose_pieces() -> None:
    label = [0, 1, 0, 1, 0, 1, 0]
    stream = stream_of(label, repetition=[0, 5, 0, 6, 0, 7, 0])
    assert [p.repetition for p in pieces(stream)] == [5, 6, 7]
    assert [p.start for p in pieces(stream, [7, 5])] == [0, 4]


def test_an_unknown_repetition_names_those_there_are() -> None:
    with pytest.raises(NervehandError, match=r"repetition 9: choose among 1, 2"):
        pieces(stream_of([0, 1, 0, 1, 0]), [2, 9])
    with pytest.raises(NervehandError, match="leave --repetitions out"):
        pieces(stream_of(None, n=10, truth=np.zeros((10, 1), np.float32)), [1])


def test_a_gap_parts_segments_and_no_piece_crosses_it() -> None:
    index = np.array([0, 1, 2, 3, 8, 9, 10])
    label = np.zeros(11, np.int64)
    label[[1, 9]] = 1
    stream = feature_stream(
        np.zeros((7, 1), np.float32),
        np.zeros((7, 1), np.bool_),
        index,
        hop_samples=1,
        rate_hz=50.0,
        label=label,
    )
    assert [(p.start, p.stop, p.segment, p.alone) for p in pieces(stream)] == [
        (0, 4, 0, True),
        (4, 7, 1, True),
    ]


def test_labels_and_truth_are_those_of_the_hops_last_sample() -> None:
    label = np.array([0, 0, 1, 1, 1, 0])
    truth = np.arange(6, dtype=np.float32)[:, None]
    stream = feature_stream(
        np.zeros((2, 1), np.float32), np.zeros((2, 1), np.bool_), np.array([102, 105]),
        hop_samples=3, rate_hz=100.0, first_sample=100, label=label, truth=truth,
    )  # fmt: skip
    assert stream.label.tolist() == [1, 0]
    assert stream.truth is not None
    assert stream.truth.ravel().tolist() == [2.0, 5.0]
    assert stream.hop_s == pytest.approx(0.03)


def test_labels_that_do_not_cover_the_signal_are_refused() -> None:
    with pytest.raises(NervehandError, match="cover 0 to 2"):
        stream_of([0, 1, 0], sample_index=np.array([1, 2, 3]))


def test_trials_put_side_by_side_are_unconnected_and_a_recording_is_not() -> None:
    motions = np.repeat([0, 1, 2, 3], 4)
    ids = np.repeat([1, 2, 3, 4], 4)
    assert unconnected(motions, ids)
    assert not unconnected(np.repeat([0, 1, 0, 2], 4), ids)
    assert not unconnected(motions, np.zeros(16, np.int64))
    found = pieces(stream_of(motions.tolist(), trial=ids.tolist()))
    assert [(len(p), p.gesture, p.alone) for p in found] == [(4, g, True) for g in range(4)]


def test_recordings_are_joined_with_unique_trials_and_segments() -> None:
    one = stream_of([0, 1, 0, 1, 0])
    joined = concatenate([one, one])
    assert len(joined) == 10
    assert joined.trial.tolist() == [0, 1, 0, 2, 0, 0, 3, 0, 4, 0]
    assert joined.segment.tolist() == [0] * 5 + [1] * 5
    assert [(p.start, p.stop, p.trial) for p in pieces(joined)] == [
        (0, 2, 0),
        (2, 5, 1),
        (5, 7, 2),
        (7, 10, 3),
    ]


def test_recordings_that_do_not_go_together_are_refused() -> None:
    with_truth = stream_of([0, 1], truth=np.zeros((2, 3), np.float32))
    with pytest.raises(NervehandError, match="0 truth columns and another 3"):
        concatenate([stream_of([0, 1]), with_truth])
    with pytest.raises(NervehandError, match="at least one session"):
        concatenate([])


def test_a_shuffle_belongs_to_its_seed() -> None:
    found = pieces(stream_of([0, 1] * 50))
    assert shuffled(found, 3) == shuffled(found, 3)
    assert shuffled(found, 3) != shuffled(found, 4)
    assert sorted(shuffled(found, 3), key=lambda p: p.start) == found


def test_an_order_lists_the_hops_of_its_pieces_and_leaves_out_the_first_of_each() -> None:
    first, second = pieces(stream_of([0, 1, 0, 0, 2, 0, 0]))
    order = in_order([second, first], 2)
    assert order.rows.tolist() == [3, 4, 5, 6, 0, 1, 2]
    assert order.piece.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert order.scored.tolist() == [False, False, True, True, False, False, True]


def test_gestures_are_matched_by_name() -> None:
    label = np.array([0, 2, 1, 0])
    assert renamed(label, ("rest", "fist", "point"), ("relax", "point", "fist")).tolist() == [0, 1, 2, 0]
    with pytest.raises(NervehandError, match="'fist', which the decoder does not know"):
        renamed(label, ("rest", "fist", "point"), ("rest", "point"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=30))
def test_pieces_cover_the_stream_once_and_hold_one_movement_each(runs: list[tuple[int, int]]) -> None:
    label = np.repeat([r[0] for r in runs], [r[1] for r in runs])
    found = pieces(stream_of(label))
    assert np.array_equal(np.concatenate([np.arange(p.start, p.stop) for p in found]), np.arange(len(label)))
    for piece in found:
        inside = label[piece.start : piece.stop]
        assert set(inside.tolist()) <= {0, piece.gesture}
        if label.any():
            moving = np.flatnonzero(inside)
            assert np.array_equal(moving, np.arange(moving[0], moving[-1] + 1))


def envelope_session(n: int = 400, **parts: object) -> Session:
    rng = np.random.default_rng(0)
    label = np.zeros(n, np.int16)
    label[50:100], label[150:200], label[300:350] = 1, 2, 1
    return Session(
        info=StreamInfo(rate_hz=100.0, channel_names=("a", "b"), kind="envelope"),
        meta=SessionMeta(identifier="one"),
        signal=rng.random((n, 2)).astype(np.float32),
        labels=label,
        gesture_names=("rest", "fist", "point"),
        truth=np.arange(2 * n, dtype=np.float32).reshape(n, 2),
        truth_names=("x", "y"),
        truth_units=("deg", "deg"),
        **parts,  # type: ignore[arg-type]  # the caller names fields of Session
    )


def front_end(session: Session) -> FrontEnd:
    coefficients = design(ConditioningSettings(decimation=1, band_hz=None), session.info)
    return FrontEnd(session.info, coefficients, "envelope", FeatureSettings(2, 2, ("root",)))


def test_a_session_becomes_a_stream_of_hops() -> None:
    session = envelope_session(first_sample=1000)
    stream = session_stream(session, front_end(session), 2)
    assert len(stream) == 200
    assert stream.sample_index[:2].tolist() == [1001, 1003]
    assert session.labels is not None
    assert session.truth is not None
    assert np.array_equal(stream.label, session.labels[1::2])
    assert stream.truth is not None
    assert np.array_equal(stream.truth, session.truth[1::2])
    signal = np.asarray(session.signal[0:2])
    np.testing.assert_allclose(stream.features[0], np.sqrt(signal).mean(0), rtol=1e-6)


def test_a_sessions_pieces_are_its_trials() -> None:
    session = envelope_session()
    stream = session_stream(session, front_end(session), 2)
    found, named = pieces(stream), trials(session)
    assert [(p.gesture, p.repetition) for p in found] == [(t.gesture, t.repetition) for t in named]
    assert all(abs(2 * p.start - t.start) <= 2 for p, t in zip(found, named, strict=True))


def test_a_session_is_read_in_the_decoders_own_order() -> None:
    session = envelope_session()
    stream = session_stream(session, front_end(session), 2, ("rest", "point", "fist"), ("y",))
    assert session.labels is not None
    assert np.array_equal(stream.label, np.array([0, 2, 1])[session.labels[1::2]])
    assert stream.truth is not None
    assert stream.truth[:2].ravel().tolist() == [3.0, 7.0]
    assert session_stream(session, front_end(session), 2, None, ("y", "z")).truth is None


def test_a_gap_in_a_session_parts_its_stream() -> None:
    session = envelope_session(gaps=(Gap(120, 131),))
    stream = session_stream(session, front_end(session), 2)
    assert np.unique(stream.segment).tolist() == [0, 1]
    after = stream.sample_index[stream.segment == 1]
    assert after[0] > 131


def test_a_session_says_by_its_events_what_is_left_out(tmp_path: Path) -> None:
    events = Recorded(events=(Event(1120, EventKind.LEFT_OUT, 130),))
    write_session(envelope_session(first_sample=1000, recorded=events), tmp_path / "s.nwb")
    session = read_session(tmp_path / "s.nwb")
    assert left_out_spans(session) == [(1120, 1250)]
    stream = session_stream(session, front_end(session), 2)
    out = stream.sample_index[stream.trial == LEFT_OUT]
    assert (out[0], out[-1], len(out)) == (1121, 1249, 65)
    assert [(p.gesture, p.repetition) for p in pieces(stream)] == [(1, 1), (1, 2)]


def test_a_session_shorter_than_a_window_is_refused() -> None:
    session = Session(
        info=StreamInfo(rate_hz=100.0, channel_names=("a",), kind="envelope"),
        meta=SessionMeta(identifier="short"),
        signal=np.ones((1, 1), np.float32),
    )
    with pytest.raises(NervehandError, match="too short for one feature window"):
        session_stream(session, front_end(session), 2)
