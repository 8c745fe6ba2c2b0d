"""A hand that is away is tried often at first, then patiently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.hands._backoff import Backoff


def test_pauses_double_from_a_twentieth_of_a_second_to_a_half() -> None:
    backoff = Backoff(100.0)
    assert [backoff.pause_s(100.0 + i) for i in range(6)] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


@given(seconds=st.floats(0, 59.99))
def test_in_the_first_minute_none_is_longer_than_half_a_second(seconds: float) -> None:
    backoff = Backoff(7.0)
    for _ in range(100):
        pause_s = backoff.pause_s(7.0 + seconds)
    assert pause_s == 0.5


@pytest.mark.parametrize("seconds", [60.0, 3600.0])
def test_after_a_minute_it_is_five_seconds_until_the_hand_was_there_again(seconds: float) -> None:
    backoff = Backoff(7.0)
    assert backoff.pause_s(7.0 + seconds) == 5.0
    backoff.reset(7.0 + seconds)
    assert backoff.pause_s(7.0 + seconds) == 0.05
