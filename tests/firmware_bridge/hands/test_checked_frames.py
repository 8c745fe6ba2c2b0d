"""Frames with a checksum are found in any stream, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.hands import _inspire, _rohand
from firmware_bridge.hands._checked_frames import FrameShape, FrameStream

SHAPES = {"rohand": _rohand.answer_shape(2), "inspire": _inspire.answer_shape(1)}


def made(shape: FrameShape, content: bytes) -> bytes:
    """A frame with as much of this content as fits."""
    between = shape.length_at - len(shape.start)
    n_head = shape.length_at + 1
    rest = content[between : between + shape.longest - n_head - 1]
    rest += bytes(max(0, shape.shortest - n_head - 1 - len(rest)))
    n = n_head + len(rest) + 1 - shape.overhead
    if n < 0:
        return made(shape, content + bytes(1))
    head = shape.start + (content + bytes(between))[:between] + bytes([n])
    return shape.sealed(head + rest)


CONTENTS = st.binary(min_size=4, max_size=30)


@pytest.mark.parametrize("name", SHAPES)
@given(contents=st.lists(CONTENTS, max_size=6), piece=st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    name: str, contents: list[bytes], piece: int
) -> None:
    frames = [made(SHAPES[name], content) for content in contents]
    whole = b"".join(frames)
    stream = FrameStream(SHAPES[name])
    found = [f for at in range(0, len(whole), piece) for f in stream.feed(whole[at : at + piece])]
    assert found == frames
    assert stream.bad_frames == stream.skipped_bytes == stream.buffered == 0


@pytest.mark.parametrize("name", SHAPES)
@given(noise=st.binary(max_size=60), content=CONTENTS)
def test_after_garbage_no_more_frames_are_lost_than_the_longest_one_may_swallow(
    name: str, noise: bytes, content: bytes
) -> None:
    shape = SHAPES[name]
    frame = made(shape, content)
    stream = FrameStream(shape)
    found = stream.feed(noise + frame * (shape.longest // len(frame) + 2))
    assert found[-1:] == [frame]
    assert stream.buffered < shape.longest


@pytest.mark.parametrize("name", SHAPES)
@given(noise=st.binary(max_size=60), content=CONTENTS)
def test_garbage_that_is_forgotten_loses_nothing(name: str, noise: bytes, content: bytes) -> None:
    stream = FrameStream(SHAPES[name])
    stream.feed(noise)
    stream.forget()
    frame = made(SHAPES[name], content)
    assert stream.feed(frame) == [frame]
    assert stream.buffered == 0


@pytest.mark.parametrize("name", SHAPES)
@given(content=CONTENTS, data=st.data())
def test_one_wrong_byte_behind_the_length_makes_a_bad_frame(
    name: str, content: bytes, data: st.DataObject
) -> None:
    shape = SHAPES[name]
    frame = bytearray(made(shape, content))
    at = data.draw(st.integers(shape.length_at + 1, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    stream = FrameStream(shape)
    assert stream.feed(bytes(frame)) == []
    assert stream.bad_frames >= 1


@pytest.mark.parametrize("name", SHAPES)
@given(stream=st.binary(max_size=200))
def test_every_byte_is_in_a_frame_skipped_or_waits(name: str, stream: bytes) -> None:
    found = FrameStream(SHAPES[name])
    frames = found.feed(stream)
    assert sum(map(len, frames)) + found.skipped_bytes + found.buffered == len(stream)


def test_a_whole_frame_inside_a_damaged_one_is_found() -> None:
    inner = made(SHAPES["inspire"], b"inside")
    outer = bytes.fromhex("90eb011e110a06") + inner + bytes(40)
    stream = FrameStream(SHAPES["inspire"])
    assert stream.feed(outer) == [inner]
    assert stream.bad_frames == 1


def test_a_length_that_no_frame_has_is_no_frame() -> None:
    stream = FrameStream(SHAPES["rohand"])
    assert stream.feed(bytes.fromhex("55aa01025fff") + made(SHAPES["rohand"], b"")) == [
        made(SHAPES["rohand"], b"")
    ]
    assert stream.bad_frames == 0


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_frame_too_short_for_its_fields_is_none(n: int) -> None:
    body = bytes([1, n, 0x11, 0x0A][: n + 2])
    dialect = _inspire.InspireDialect(1)
    assert dialect.receive(b"\x90\xeb" + body + bytes([sum(body) & 0xFF])) == []
    assert dialect.bad_frames == 0
    assert dialect.skipped_bytes > 0
