"""Frames of the port: whole however they are cut, and refused where they are none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.port.wire import MAGIC, Frame, FrameReader, encoded, text_in, whole_in

HEADERS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9) | st.none(), max_size=4)


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=5), st.data())
def test_frames_come_whole_and_in_order_however_their_bytes_are_cut(
    sent: list[tuple[dict[str, object], bytes]], data: st.DataObject
) -> None:
    raw = b"".join(encoded(header, payload) for header, payload in sent)
    reader, found, at = FrameReader(), [], 0
    while at < len(raw):
        n = data.draw(st.integers(1, 200))
        reader.feed(raw[at : at + n])
        found += list(reader.frames())
        at += n
    assert found == [Frame(header, payload) for header, payload in sent]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no frame of a port"),
        (b"X", "no frame of a port"),
        (struct.pack("<4sII", MAGIC, 4, 0) + b"{{{{", "not JSON"),
        (struct.pack("<4sII", MAGIC, 4, 0) + b"\xff\xfe\xfd\xfc", "not JSON"),
        (struct.pack("<4sII", MAGIC, 4, 0) + b"null", "not a JSON object"),
        (struct.pack("<4sII", MAGIC, 2000, 0), "2000 and 0 bytes: at most 1000 and 50"),
        (struct.pack("<4sII", MAGIC, 2, 51), "2 and 51 bytes: at most 1000 and 50"),
        (encoded({"a": 1})[:-1] + b"\0", "not JSON"),
    ],
)
def test_what_is_no_frame_is_refused_before_it_is_waited_for(raw: bytes, why: str) -> None:
    reader = FrameReader(1000, 50)
    reader.feed(raw)
    with pytest.raises(NervehandError, match=why):
        list(reader.frames())


def test_a_header_that_nests_too_deep_is_refused() -> None:
    text = b"[" * 100_000
    reader = FrameReader()
    reader.feed(struct.pack("<4sII", MAGIC, len(text), 0) + text)
    with pytest.raises(NervehandError, match="not JSON"):
        list(reader.frames())


def test_what_nobody_would_take_is_not_sent() -> None:
    with pytest.raises(NervehandError, match="too much for one message"):
        encoded({"text": "x" * 2_000_000})


@given(st.none() | st.booleans() | st.floats() | st.lists(st.integers()) | st.integers(min_value=1 << 63))
def test_a_value_of_another_type_is_named(value: object) -> None:
    with pytest.raises(NervehandError, match="name is"):
        text_in({"name": value}, "name")
    with pytest.raises(NervehandError, match="n is"):
        whole_in({"n": value}, "n")
