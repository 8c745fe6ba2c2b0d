"""Replies of the Ability Hand in a stream of any bytes: all good ones come, no bad one does, whatever the pieces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.hands import _ability_frames as frames
from firmware_bridge.hands._ability_stream import PlainStream, ReplyStream, StuffedStream

Make = Callable[[], ReplyStream]
LENGTHS = {0: 70, 1: 70, 2: 37}


def made(header: int, body: bytes) -> bytes:
    length = LENGTHS[header & 0x0F]
    return frames.sealed(bytes([header]) + (body * length)[:length])


replies = st.builds(made, st.sampled_from(sorted(frames.REPLY_HEADERS)), st.binary(min_size=1, max_size=70))


def in_pieces(stream: ReplyStream, data: bytes, sizes: list[int]) -> list[bytes]:
    found, at = [], 0
    for size in sizes:
        found += stream.feed(data[at : at + size])
        at += size
    return found + stream.feed(data[at:])


@given(st.lists(replies, max_size=5), st.lists(st.integers(0, 100), max_size=20))
def test_good_replies_come_whole_however_they_are_cut(sent: list[bytes], sizes: list[int]) -> None:
    stuffed = StuffedStream()
    assert in_pieces(stuffed, b"".join(map(frames.stuffed, sent)), sizes) == sent
    plain = PlainStream()
    assert in_pieces(plain, b"".join(sent), sizes) == sent
    for stream in (stuffed, plain):
        assert (stream.bad_frames, stream.skipped_bytes, stream.buffered) == (0, 0, 0)


@given(st.binary(max_size=400), replies, replies)
def test_after_any_garbage_the_next_reply_but_one_comes(garbage: bytes, first: bytes, second: bytes) -> None:
    """The first may go as well: garbage may look like the beginning of a frame that ends in it."""
    stream = StuffedStream()
    found = stream.feed(garbage + frames.stuffed(first) + frames.stuffed(second))
    assert found[-1] == second
    assert stream.buffered == 0
    mark = bytes([frames.FLAG])
    assert StuffedStream().feed(garbage + mark + frames.stuffed(first))[-1] == first


@given(st.binary(max_size=300), replies)
def test_without_stuffing_a_reply_comes_after_garbage_in_which_nothing_looks_like_one(
    garbage: bytes, reply: bytes
) -> None:
    clean = bytes(byte for byte in garbage if byte not in frames.REPLY_HEADERS)
    stream = PlainStream()
    assert stream.feed(clean + reply) == [reply]
    assert stream.skipped_bytes == len(clean)


def test_without_stuffing_false_headers_only_delay() -> None:
    """Every byte of the garbage is the header that is waited for: the reply is found once it is whole."""
    reply = made(0xA2, bytes(37))
    stream = PlainStream(frozenset({0x12, 0xA2}))
    found = [frame for byte in bytes([0xA2]) * 30 + reply for frame in stream.feed(bytes([byte]))]
    assert found == [reply]
    assert stream.skipped_bytes == 30


@given(st.binary(max_size=1000), st.lists(st.integers(0, 300), max_size=20))
def test_of_any_bytes_only_whole_frames_are_given_and_the_pieces_do_not_matter(
    data: bytes, sizes: list[int]
) -> None:
    makes: tuple[Make, ...] = (StuffedStream, PlainStream)
    for make in makes:
        at_once, cut = make(), make()
        found = at_once.feed(data)
        assert in_pieces(cut, data, sizes) == found
        assert cut.bad_frames == at_once.bad_frames
        assert cut.skipped_bytes + cut.buffered == at_once.skipped_bytes + at_once.buffered
        assert at_once.buffered <= 144
        for frame in found:
            assert sum(frame) % 256 == 0
            assert (frame if make is PlainStream else frames.stuffed(frame)[1:-1]) in data


@given(replies, st.integers(0, 1 << 16))
def test_no_reply_with_a_wrong_bit_is_accepted(reply: bytes, at: int) -> None:
    wire = bytearray(frames.stuffed(reply))
    wire[at % len(wire)] ^= 1 << at % 8
    assert all(frame == reply for frame in StuffedStream().feed(bytes(wire)))


@pytest.mark.parametrize("n", [1, 2])
def test_zeros_of_an_rs485_adapter_are_no_bad_frame(n: int) -> None:
    reply = made(0x10, b"\x7e\x7d")
    stream = StuffedStream()
    zeros = bytes(n)
    assert stream.feed(zeros + frames.stuffed(reply) + zeros + frames.stuffed(reply)) == [reply, reply]
    assert stream.bad_frames == 0
    assert stream.skipped_bytes == 2 * n


def test_what_is_refused_is_counted() -> None:
    reply = made(0x12, bytes(37))
    cut = frames.stuffed(reply)[:-9] + bytes([frames.FLAG])
    stream = StuffedStream()
    assert stream.feed(cut + frames.stuffed(reply)) == [reply]
    assert stream.bad_frames == 1
    assert stream.skipped_bytes == len(cut) - 2
    wrong = bytearray(reply)
    wrong[5] ^= 1
    plain = PlainStream()
    assert plain.feed(bytes(wrong) + reply) == [reply]
    assert plain.bad_frames == 1
    assert plain.skipped_bytes == len(reply)


def test_only_the_headers_that_can_come_are_taken() -> None:
    reply = made(0x12, bytes(37))
    only = frozenset({0x11, 0xA1})
    assert StuffedStream(only).feed(frames.stuffed(reply)) == []
    assert PlainStream(only).feed(reply) == []


def test_what_never_ends_is_not_kept() -> None:
    noise = np.random.default_rng(1).integers(0, 0x7D, 100_000).astype(np.uint8).tobytes()
    for stream in (StuffedStream(), PlainStream()):
        n_given = 0
        for start in range(0, len(noise), 1000):
            n_given += sum(map(len, stream.feed(noise[start : start + 1000])))
            assert stream.buffered <= 144
        assert stream.skipped_bytes + stream.buffered + n_given == len(noise)
