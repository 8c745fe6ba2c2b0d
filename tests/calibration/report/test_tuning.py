"""The tuning map: which channel speaks for which part of the hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.datasets import pieces
from calibration.evaluation import bundle_stream
from calibration.report.findings import TuningMap
from calibration.report.tuning import SPEAKS, best_channels, tuning_map
from decoder.session.model import Session
from tests.calibration.report import person


def tuning_of(session: Session) -> TuningMap:
    bundle = person.bundle()
    stream = bundle_stream(bundle, session)
    found = tuning_map(bundle, stream, pieces(stream))
    assert found is not None
    return found


def test_each_part_is_found_in_the_channel_that_speaks_for_it_in_both_directions_where_it_moved_both_ways() -> (
    None
):
    found = tuning_of(person.session())
    assert found.rows == ("thumb", "index", "middle", "ring", "little", "wrist", "wrist")
    assert found.signs == (1, 1, 1, 1, 1, 1, -1)
    for row in range(7):
        assert best_channels(found, row) == (f"e{row + 1}",)
        assert found.values[row][row] > 0.99


def test_a_channel_that_falls_silent_in_a_motion_speaks_for_it_too_with_a_negative_sign() -> None:
    session = person.session()
    signal = np.array(session.signal[slice(None)])
    assert session.labels is not None
    signal[:, 2] = np.where(session.labels == 1, 0.001, 0.8)
    found = tuning_of(replace(session, signal=signal.astype(np.float32)))
    value = found.values[0][2]
    assert value is not None
    assert value < -0.99
    assert best_channels(found, 0) == ("e1", "e3")


def test_a_channel_that_is_as_loud_in_every_movement_speaks_for_none_of_them() -> None:
    # Against rest alone it would look perfect for all; each other movement weighs as much as rest does.
    session = person.session()
    signal = np.array(session.signal[slice(None)])
    assert session.labels is not None
    rng = np.random.default_rng(0)
    signal[:, 2] = np.where(session.labels > 0, 1.0, 0.05) + 0.01 * rng.random(len(signal))
    found = tuning_of(replace(session, signal=signal.astype(np.float32)))
    assert all(abs(row[2] or 0.0) < SPEAKS for row in found.values)


def test_long_rest_does_not_hide_the_other_movements() -> None:
    short, long = (tuning_of(person.session(rest_s=s)) for s in (1.0, 4.0))
    np.testing.assert_allclose(
        np.array(long.values, float), np.array(short.values, float), atol=0.3
    )  # of unspecific channels only noise is left
    assert [best_channels(long, row) for row in range(7)] == [best_channels(short, row) for row in range(7)]


def test_a_masked_channel_says_nothing() -> None:
    session = person.session()
    signal = np.array(session.signal[slice(None)])
    signal[:, 0] = np.nan
    found = tuning_of(replace(session, signal=signal))
    assert [row[0] for row in found.values] == [None] * 7
    assert best_channels(found, 0) == ()


def test_without_a_trial_there_is_no_map() -> None:
    bundle = person.bundle()
    assert tuning_map(bundle, bundle_stream(bundle, person.session()), []) is None
