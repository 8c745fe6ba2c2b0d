"""Whatever comes to the guard's socket is a whole request or one clear error."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.guard_requests import KINDS, Request, parse

NAMES = (
    "request",
    "who",
    "id",
    "report",
    "acknowledgement",
    "what",
    "adjustments",
    "limits",
    "lower",
    "gain",
    "finished_ns",
    "items",
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner),
    max_leaves=20,
)


def outcome(line: bytes) -> Request | str:
    try:
        return parse(line)
    except NervehandError as error:
        return str(error)


@given(st.binary(max_size=300))
def test_any_bytes(line: bytes) -> None:
    assert outcome(line)


@given(PLAIN)
def test_any_json(value: object) -> None:
    assert outcome(json.dumps(value).encode())


@given(st.fixed_dictionaries({"request": st.sampled_from(KINDS), "who": st.text(min_size=1)}, optional={
    "id": st.integers(), "report": PLAIN, "acknowledgement": PLAIN, "what": PLAIN, "adjustments": PLAIN,
    "limits": PLAIN,
}))  # fmt: skip
def test_what_passes_is_whole_and_nothing_else(value: dict[str, object]) -> None:
    found = outcome(json.dumps(value).encode())
    if isinstance(found, Request):
        assert found.who == value["who"]
        assert found.who.isprintable()
        assert (found.report is not None) == (found.request == "arm")
        assert (found.adjustments is not None) == (found.request == "adjust")
        assert (found.limits is not None) == (found.request == "limits")
        assert bool(found.what) == (found.request == "fault")
