"""The list of faults: the same for the same seed, every kind in it, the first ones whatever its length."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.faults import IN_REAL_TIME, IN_SIMULATED_TIME, Kind, planned


@pytest.mark.parametrize("kinds", [IN_SIMULATED_TIME, IN_REAL_TIME])
def test_a_seed_and_a_number_give_a_fault_again(kinds: tuple[Kind, ...]) -> None:
    assert planned(950, 3, kinds)[:40] == planned(40, 3, kinds)
    assert planned(40, 3, kinds) != planned(40, 4, kinds)
    assert [fault.number for fault in planned(40, 3, kinds)] == list(range(40))


def test_every_kind_comes_as_often_and_lasts_as_long_as_it_may() -> None:
    plan = planned(950, 1, IN_SIMULATED_TIME)
    counts = Counter(fault.kind for fault in plan)
    assert set(counts) == {kind.name for kind in IN_SIMULATED_TIME}
    assert max(counts.values()) - min(counts.values()) <= 1
    lasts = {kind.name: (kind.least_s, kind.most_s) for kind in IN_SIMULATED_TIME}
    for fault in plan:
        least_s, most_s = lasts[fault.kind]
        assert least_s <= fault.for_s <= most_s or fault.for_s == most_s == 0
