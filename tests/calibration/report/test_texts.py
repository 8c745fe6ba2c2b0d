"""Sentences in one place: every one is used, and numbers are said as people would say them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.report import texts
from calibration.report.texts import TEXTS, counted, duration, listed, percent, points, shortened, squeezed

SOURCES = "\n".join(
    path.read_text() for path in Path(texts.__file__).parent.glob("*.py") if path.name != "texts.py"
)
MADE_UP = ("score.", "learning.", "verdict.", "rule.", "remedy.", "done.side.", "kind.", "measure.", "tuning.",
           "traces.", "trials.", "compare.", "big.", "reason.", "confusion.", "channels.", "pdf.")  # fmt: skip


def test_every_text_that_the_program_names_is_there_and_none_is_left_over() -> None:
    named = set(re.findall(r'TEXTS\[\s*"([a-z_.]+)"', SOURCES)) | set(
        re.findall(r't\["([a-z_.]+)"\]', SOURCES)
    )
    assert named <= set(TEXTS)
    quoted = {key for key in TEXTS if f'"{key}"' in SOURCES}
    left_over = [key for key in TEXTS if key not in quoted and not key.startswith(MADE_UP)]
    assert left_over == []


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100 %"), (0.999, "99 %"), (0.996, "99 %"), (0.5, "50 %"), (0.004, "<1 %"), (0.0, "0 %")],
)
def test_a_hundred_percent_is_said_only_of_all_and_none_only_of_nothing(share: float, said: str) -> None:
    assert percent(share) == said


@given(st.floats(0, 1), st.integers(0, 2))
def test_a_percentage_is_never_further_off_than_its_last_digit(share: float, digits: int) -> None:
    value = float(percent(share, digits).removeprefix("<").removesuffix(" %"))
    assert abs(value - 100 * share) <= 10.0**-digits + 1e-9


def test_numbers_with_their_nouns() -> None:
    assert [counted(1, "trial"), counted(2, "trial"), counted(1.4, "time"), counted(1000, "hour")] == [
        "1 trial", "2 trials", "1.4 times", "1,000 hours",
    ]  # fmt: skip
    assert [points(0.01), points(0.0001), points(0.034), points(0.034, unit=False)] == [
        "1.0 percentage point", "less than 0.1 percentage points", "3.4 percentage points", "3.4",
    ]  # fmt: skip
    assert [duration(0.7), duration(18), duration(126), duration(7200)] == [
        "0.7 s",
        "18 s",
        "2.1 min",
        "2.0 h",
    ]
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(list("abcd"), 2)] == [
        "",
        "a",
        "a and b",
        "a, b and 2 more",
    ]


@given(st.text(), st.integers(4, 40))
def test_what_is_shortened_fits_on_its_line(text: str, most: int) -> None:
    for made in (shortened(text, most), squeezed(text, most)):
        assert len(made) <= most
        assert made.isprintable()


def test_names_that_differ_at_their_ends_still_differ() -> None:
    assert len({squeezed(f"electrode of the median nerve {i}", 8) for i in range(60)}) == 60
