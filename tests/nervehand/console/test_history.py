"""The last seconds of signals, gathered from views that overlap, repeat, or are missed."""

from __future__ import annotations

from nervehand.console.history import JOINED, KEPT, SignalHistory


def parts(
    low: float, high: float, n: int = 16, channels: int = 2
) -> tuple[list[list[float]], list[list[float]]]:
    return [[low] * n for _ in range(channels)], [[high] * n for _ in range(channels)]


def test_parts_are_joined_to_their_lowest_and_highest() -> None:
    history = SignalHistory()
    history.add(1000, [[1, -7, 2, 3, 4, 4, 4, 4]], [[5, 5, 9, 5, 6, 6, 6, 6]])
    assert history.columns() == (((-7, 4),), ((9, 6),))


def test_a_view_that_is_seen_twice_counts_once() -> None:
    history = SignalHistory()
    for _ in range(3):
        history.add(1000, *parts(-1, 1))
    assert len(history.columns()[0][0]) == 16 // JOINED


def test_only_the_last_seconds_are_kept() -> None:
    history = SignalHistory()
    for i in range(200):
        history.add(1000 * i, *parts(-i, i))
    low, _ = history.columns()
    assert len(low[0]) == KEPT
    assert low[0][-1] == -199


def test_another_run_begins_anew() -> None:
    history = SignalHistory()
    history.add(5000, *parts(-1, 1))
    history.add(1000, *parts(-2, 2))  # its samples begin again
    assert set(history.columns()[0][0]) == {-2}
    history.add(2000, *parts(-3, 3, channels=4))  # it has other channels
    assert len(history.columns()[0]) == 4


def test_nothing_is_there_before_the_first_view() -> None:
    assert SignalHistory().columns() == ((), ())
