"""Which simulated person an address names."""

from __future__ import annotations

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.person_address import person_at


@pytest.mark.parametrize(
    ("where", "person"),
    [
        ("", ("default", 1, 0)),
        ("hard", ("hard", 1, 0)),
        ("hard/3", ("hard", 3, 0)),
        ("easy/3/12", ("easy", 3, 12)),
    ],
)
def test_what_is_left_out_is_the_first_person_on_the_first_day(
    where: str, person: tuple[str, int, int]
) -> None:
    assert person_at(where, "FORM") == person


@pytest.mark.parametrize(
    "where", ["hard/x", "hard/1/x", "hard/-1", "hard/1/-1", "hard/", "hard/1/0/2", "hard/1/0?y"]
)
def test_what_names_nobody_is_refused_with_the_form_to_give(where: str) -> None:
    with pytest.raises(NervehandError) as refused:
        person_at(where, "FORM")
    assert str(refused.value) == f"simulated:{where}: give FORM, for example simulated:default/1/0"
