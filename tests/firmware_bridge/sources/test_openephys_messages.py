"""Messages of Open Ephys' ZMQ Interface, the blocks put together from them, and the digital lines beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import SourceLostError
from firmware_bridge.sources._openephys_assembly import Assembler, DigitalLines, Heard, Listener
from firmware_bridge.sources._openephys_protocol import (
    BadMessageError,
    Data,
    Ttl,
    encode_data,
    encode_ttl,
    parse,
)


def data(channel: int = 0, sample_num: int = 0, n: int = 3) -> Data:
    values = np.arange(n, dtype=np.float32) + np.float32(channel)
    return Data("s", channel, f"CH{channel + 1}", sample_num, 30_000.0, values)


def test_a_data_message_is_as_the_plugin_sends_it() -> None:
    header = (
        b'{\r\n  "message_num": 7,\r\n  "type": "data",\r\n  "content": {\r\n    "stream": "example_data",\r\n'
        b'    "channel_num": 2,\r\n    "channel_name": "CH3",\r\n    "num_samples": 2,\r\n    "sample_num": 123456,\r\n'
        b'    "sample_rate": 40000.0\r\n  },\r\n  "data_size": 8,\r\n  "timestamp": 1700000000000\r\n}'
    )
    parts = (b"DATA\0", header, np.array([1.5, -2.0], "<f4").tobytes())
    message = parse(parts)
    assert isinstance(message, Data)
    assert (message.stream, message.channel_num, message.channel_name) == ("example_data", 2, "CH3")
    assert (message.sample_num, message.sample_rate, message.samples.tolist()) == (
        123456,
        40000.0,
        [1.5, -2.0],
    )
    assert (
        parse((parts[0], header.replace(b'"channel_name": "CH3",', b""), parts[2])) is not None
    )  # before 1.0


def test_a_ttl_event_holds_all_lines_of_its_processor() -> None:
    header = b'{"message_num": 8, "type": "event", "content": {"stream": "s", "source_node": 100, "type": 3, '
    header += b'"sample_num": 500}, "data_size": 10, "timestamp": 1}'
    assert parse((b"EVENT\0", header, bytes([2, 1, 5, 0, 0, 0, 0, 0, 0, 0]))) == Ttl("s", 100, 500, 5)


def test_spikes_and_texts_are_not_used() -> None:
    assert parse((b"EVENT\0", b'{"type": "spike", "spike": {}}', b"123")) is None
    assert parse((b"EVENT\0", b'{"type": "event", "content": {"type": 5}, "data_size": 0}')) is None


@given(st.data())
def test_a_message_with_a_wrong_size_or_field_is_refused(draw: st.DataObject) -> None:
    envelope, raw, values = encode_data(data(), 1)
    header = json.loads(raw)
    name, wrong = draw.draw(
        st.sampled_from(
            [
                ("num_samples", 4),
                ("num_samples", 0),
                ("num_samples", -3),
                ("num_samples", 3.0),
                ("num_samples", True),
                ("num_samples", 10**30),
                ("channel_num", -1),
                ("channel_num", 10**9),
                ("channel_num", None),
                ("sample_num", -1),
                ("sample_num", "0"),
                ("sample_rate", 0),
                ("sample_rate", float("nan")),
                ("sample_rate", float("inf")),
                ("stream", None),
                ("stream", "x" * 1000),
                ("channel_name", ["CH1"]),
            ]
        )
    )
    header["content"][name] = wrong
    with pytest.raises(BadMessageError):
        parse((envelope, json.dumps(header).encode(), values))
    with pytest.raises(BadMessageError):
        parse((envelope, raw, values + draw.draw(st.binary(min_size=1, max_size=9))))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from([b"DATA\0", b"EVENT\0"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["type", "content", "stream", "num_samples", "data_size"]), inner
                    )
                ),
                max_leaves=8,
            ).map(lambda value: json.dumps(value).encode()),
        ),
        max_size=4,
    )
)
def test_any_parts_give_a_message_or_one_error(parts: list[bytes]) -> None:
    try:
        message = parse(parts)
    except BadMessageError:
        return
    if isinstance(message, Data):
        assert message.samples.nbytes == len(parts[2])


@given(st.integers(0, 2), st.integers(0, 3000), st.integers(1, 255))
def test_a_damaged_message_is_refused_or_says_something_within_bounds(
    part: int, at: int, change: int
) -> None:
    parts = [bytearray(one) for one in encode_data(data(n=20), 1)]
    at %= len(parts[part])
    parts[part][at] ^= change
    try:
        message = parse([bytes(one) for one in parts])
    except BadMessageError:
        return
    assert isinstance(message, Data)
    assert message.samples.shape == (20,)
    assert 0 <= message.channel_num < 1024


HEARD = Heard("s", 30_000.0, (0, 1), ("CH1", "CH2"))


def assembled(messages: Sequence[Data]) -> list[tuple[int, np.ndarray]]:
    assembler = Assembler(HEARD)
    return [block for message in messages if (block := assembler.take(message)) is not None]


def test_a_block_is_there_when_its_last_channel_is_in_any_order() -> None:
    ((first, samples),) = assembled([data(1, 60), data(0, 60)])
    assert first == 60
    assert samples.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_a_block_that_never_was_whole_is_dropped() -> None:
    blocks = assembled([data(0, 0), data(0, 3), data(1, 3), data(1, 6), data(0, 9), data(1, 9)])
    assert [first for first, _ in blocks] == [3, 9]


def test_a_channel_that_comes_twice_is_refused() -> None:
    with pytest.raises(BadMessageError, match="twice"):
        assembled([data(0), data(0)])


@pytest.mark.parametrize(
    "other", [data(2), replace(data(0), stream="t"), replace(data(0), sample_rate=20_000.0)]
)
def test_another_stream_ends_the_connection(other: Data) -> None:
    with pytest.raises(SourceLostError, match="settings changed"):
        assembled([other])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 4)), max_size=60))
def test_any_order_of_messages_gives_only_whole_blocks(order: list[tuple[int, int, int]]) -> None:
    assembler = Assembler(HEARD)
    for channel, sample_num, n in order:
        try:
            block = assembler.take(data(channel, sample_num, n))
        except BadMessageError:
            continue
        except SourceLostError:
            return
        if block is not None:
            assert block[0] == sample_num
            assert block[1].tolist() == [[i, i + 1] for i in range(n)]


def test_a_stream_is_learned_from_two_blocks_alike_after_the_first() -> None:
    listener = Listener()
    heard = [listener.take(data(c, k * 3)) for k in range(4) for c in ((1,) if k == 0 else (0, 1))]
    assert [one for one in heard if one is not None] == [HEARD]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(0, 2**64 - 1)), max_size=30))
def test_digital_lines_are_those_of_the_last_event_of_each_processor(
    events: list[tuple[int, int, int]],
) -> None:
    lines = DigitalLines()
    events = sorted(events, key=lambda event: event[1])
    for node, at, word in events:
        lines.take(Ttl("s", node, at, word))
    found = np.concatenate([lines.lines(first, 50) for first in range(0, 300, 50)])
    for i in range(300):
        words = {node: word for node, at, word in events if at <= i}
        expected = 0
        for word in words.values():
            expected |= word & 0xFFFFFFFF
        assert found[i] == expected


def test_events_that_wait_for_a_block_are_bounded() -> None:
    lines = DigitalLines()
    for i in range(10_000):
        lines.take(Ttl("s", i, 1 << 60, 1))
    assert len(lines._pending) <= 4096
    assert len(lines._words) <= 64


def test_an_event_message_is_what_was_encoded() -> None:
    ttl = Ttl("s", 100, 77, 6)
    assert parse(encode_ttl(ttl, 1, 3)) == ttl
