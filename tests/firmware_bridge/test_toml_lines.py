"""Where something stands in a TOML file."""

from __future__ import annotations

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.toml_lines import line_of, place, read_toml

TEXT = """\
# A comment
address = "x"   # line 2

[limits]
upper = { thumb = 0.5, index = 0.7 }

# about the list
names = [
  "a",
  "b",
]
[joints.index]
text = '''
several
lines'''
rest = 0
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("address",), 2),
        (("limits",), 4),
        (("limits", "upper"), 5),
        (("limits", "upper", "index"), 5),
        (("limits", "names"), 8),
        (("joints",), 12),
        (("joints", "index"), 12),
        (("joints", "index", "text"), 13),
        (("joints", "index", "rest"), 16),
    ],
)
def test_a_value_stands_where_its_key_does(keys: tuple[str, ...], line: int) -> None:
    assert line_of(TEXT, keys) == line


def test_an_item_of_a_list_stands_where_the_list_begins() -> None:
    assert line_of(TEXT, ("limits", "names", 1)) == 8


def test_what_is_not_there_is_looked_for_in_the_innermost_table_that_is() -> None:
    assert line_of(TEXT, ("joints", "index", "flexed")) == 12
    assert line_of(TEXT, ("limits", "upper", "wrist", "x")) == 5
    assert line_of(TEXT, ("nothing",)) is None


def test_a_place_without_a_line_is_the_file() -> None:
    assert place(TEXT, "hand.toml", ("limits", "upper")) == "hand.toml, line 5"
    assert place(TEXT, "hand.toml", ("nothing",)) == "hand.toml"


def test_what_is_no_toml_is_said_with_its_line() -> None:
    with pytest.raises(NervehandError, match=r"hand\.toml: .*line 2"):
        read_toml("a = 1\nb = = 2\n", "hand.toml")
