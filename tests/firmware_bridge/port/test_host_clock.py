"""Times of another process by this host's clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.port.host_clock import HostClock

S = 1_000_000_000


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, S), min_size=1, max_size=50))
def test_a_time_is_never_later_than_its_receipt_and_never_early_by_more_than_the_way(
    offset: int, ways_ns: list[int]
) -> None:
    clock, least = HostClock(), None
    for i, way_ns in enumerate(ways_ns):
        theirs = i * S // 100
        received = theirs + offset + way_ns
        ours = clock.ours(theirs, received)
        least = way_ns if least is None else min(least, way_ns)
        assert theirs + offset <= ours == theirs + offset + least <= received


def test_what_comes_late_in_one_go_keeps_the_times_at_which_it_was_made() -> None:
    clock = HostClock()
    for i in range(100):
        clock.ours(i * S // 100, i * S // 100 + 1000)
    late = [clock.ours(S + i * S // 100, 9 * S) for i in range(800)]
    assert late == [S + i * S // 100 + 1000 for i in range(800)]


def test_a_clock_that_drifts_is_followed() -> None:
    clock = HostClock()
    for i in range(7200):
        theirs = i * S
        ours_now = round(theirs * (1 + 50e-6))
        ours = clock.ours(theirs, ours_now)
    assert ours_now - ours < 1_000_000  # 0.36 s, had it not been


def test_a_link_that_became_slower_is_believed_after_a_while() -> None:
    clock = HostClock()
    clock.ours(0, 0)
    for i in range(1, 1300):
        ours = clock.ours(i * S // 100, i * S // 100 + S)
    assert ours == 1299 * S // 100 + S
