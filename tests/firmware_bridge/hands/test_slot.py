"""One position waits at most, the newest, and not for long."""

from __future__ import annotations

import numpy as np

from firmware_bridge.hands._slot import MAX_AGE_S, LinkCounters, Order, Slot

NS = 1_000_000_000


def order(value: float, put_s: float = 0.0) -> Order:
    return Order(np.full(6, value, np.float32), 0, round(put_s * NS))


def opened(woken: list[bool] | None = None) -> tuple[Slot, LinkCounters]:
    counters = LinkCounters()
    slot = Slot(counters)
    slot.open(lambda: (woken if woken is not None else []).append(True))
    return slot, counters


def test_the_newest_replaces_what_waits_which_is_counted() -> None:
    woken: list[bool] = []
    slot, counters = opened(woken)
    slot.put(order(0.1))
    slot.put(order(0.2))
    assert len(woken) == 1, "the link is awake already"
    taken = slot.take(0)
    assert taken is not None
    assert taken.positions is not None
    assert taken.positions[0] == np.float32(0.2)
    assert slot.take(0) is None
    assert (counters.submitted, counters.dropped, counters.expired) == (2, 1, 0)


def test_shut_it_takes_nothing_and_gives_up_what_waits() -> None:
    woken: list[bool] = []
    slot, counters = opened(woken)
    slot.put(order(0.1))
    slot.shut()
    assert slot.is_empty
    slot.put(order(0.2))
    assert len(woken) == 1
    slot.put_back(order(0.3))
    assert slot.is_empty
    assert (counters.submitted, counters.dropped) == (2, 2)


def test_what_waited_for_more_than_a_tenth_of_a_second_is_dropped() -> None:
    slot, counters = opened()
    slot.put(order(0.1, put_s=1.0))
    assert slot.take(round((1.0 + MAX_AGE_S) * NS)) is not None
    slot.put(order(0.1, put_s=1.0))
    assert slot.take(round((1.0 + MAX_AGE_S) * NS) + 1) is None
    assert (counters.submitted, counters.dropped, counters.expired) == (2, 1, 1)


def test_what_is_put_back_keeps_its_age_and_yields_to_what_is_newer() -> None:
    slot, counters = opened()
    old, new = order(0.1, put_s=1.0), order(0.2, put_s=1.05)
    slot.put_back(old)
    assert slot.take(round(1.2 * NS)) is None
    assert counters.expired == 1
    slot.put(new)
    slot.put_back(old)
    assert slot.take(round(1.1 * NS)) is new
