"""The address of a simulated person says all that makes them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calibration.simulated_address import address_of, is_simulated, one_wearer, wearer_of
from calibration.simulated_wearer import Wearer
from firmware_bridge.errors import NervehandError


@pytest.mark.parametrize("address", ["simulated", "simulated:default", "simulated:default/1/0"])
def test_who_is_not_described_is_the_first_person_on_the_first_day(address: str) -> None:
    assert wearer_of(address) == (Wearer(), 0)
    assert is_simulated(address)


def test_an_address_says_all_that_it_is_read_for() -> None:
    wearer = Wearer(7, 2, "hard")
    late = replace(wearer, glove=replace(wearer.glove, lag_s=0.15, drift_ppm=-20.5))
    assert address_of(wearer) == "simulated:hard/7/2"
    assert address_of(late, 10) == "simulated:hard/7/2?lag_ms=150.0&drift_ppm=-20.5&mishaps=10"
    for one, n_mishaps in ((wearer, 0), (late, 10)):
        assert wearer_of(address_of(one, n_mishaps)) == (one, n_mishaps)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("simulated:default/x", "give simulated"),
        ("simulated:default/1/0/9", "give simulated"),
        ("simulated:default/-1", "give simulated"),
        ("simulated?mishaps=-1", "mishaps=-1: give how many"),
        ("simulated?mishaps=many", "mishaps=many: give how many"),
        ("simulated?lag_ms=late", "lag_ms=late: give a number"),
        ("simulated?lag=3", "option 'lag=3' is not known"),
        ("simulated?drift_ppm=1e7", "less than a million"),
    ],
)
def test_what_cannot_be_read_is_refused(address: str, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        wearer_of(address)


def test_addresses_that_go_together_name_one_person() -> None:
    assert one_wearer(["simulated"]) == (Wearer(), 0)
    assert one_wearer(["simulated", "simulated:hard/3/0?mishaps=2"]) == (Wearer(3, 0, "hard"), 2)
    assert one_wearer(["simulated:easy/2", "simulated:easy/2/0", "simulated"]) == (Wearer(2, 0, "easy"), 0)
    with pytest.raises(NervehandError, match="two simulated persons"):
        one_wearer(["simulated:hard/3", "simulated:hard/3?lag_ms=80"])


def test_another_address_is_not_of_a_simulated_person() -> None:
    assert not is_simulated("simulator:1")
    assert not is_simulated("lsl:simulated")
