"""Intan RHX's TCP protocol as bytes: blocks out of any stream, answers out of any text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.sources._intan_protocol import (
    DIGITAL_IN,
    FRAMES_PER_BLOCK,
    MAGIC,
    MAX_WORDS,
    FrameLayout,
    WaveformBlock,
    WaveformParser,
    answered_values,
    encode_block,
    request,
    split_answer,
)

TWO = FrameLayout(("A-000", "A-001"))


def words(n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, (FRAMES_PER_BLOCK, n)).astype(np.uint16)


def stream(n_blocks: int) -> bytes:
    return b"".join(encode_block(k * FRAMES_PER_BLOCK, words(seed=k)) for k in range(n_blocks))


def parsed(data: bytes, cuts: list[int]) -> tuple[list[WaveformBlock], WaveformParser]:
    parser = WaveformParser(TWO)
    found: list[WaveformBlock] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        found += parser.feed(data[begin:end])
    return found, parser


def encoded(blocks: list[WaveformBlock]) -> list[bytes]:
    return [encode_block(block.timestamp, block.words) for block in blocks]


def test_a_block_is_the_magic_and_128_frames_of_a_timestamp_and_words_little_endian() -> None:
    data = encode_block(258, np.full((FRAMES_PER_BLOCK, 1), 0x8001, np.uint16))
    assert len(data) == 4 + 128 * 6
    assert data[:16] == bytes.fromhex("087af02e 02010000 0180 03010000 0180")
    assert int.from_bytes(data[:4], "little") == MAGIC


def test_a_count_is_the_word_less_32768() -> None:
    sent = np.array([[0, 32768], [65535, 32767]], np.uint16)
    assert TWO.samples(sent).tolist() == [[-32768, 0], [32767, -1]]


def test_only_wideband_words_are_channels_and_digital_words_are_lines() -> None:
    layout = FrameLayout(("A-000", "A-000|LOW", "A-000|STIM", "A-AUX1", "B-127", DIGITAL_IN))
    sent = np.array([[32769, 1, 0x0001, 7, 32770, 0x8003], [32768, 1, 0x8100, 7, 32768, 0]], np.uint16)
    assert layout.channel_names == ("A-000", "B-127")
    assert layout.samples(sent).tolist() == [[1, 2], [0, 0]]
    lines = layout.digital(sent)
    assert lines is not None
    assert lines.tolist() == [0x18003, 0]  # a compliance limit and a sign without a current stimulate nothing
    assert FrameLayout(("A-000",)).digital(sent[:, :1]) is None


def test_a_frame_has_no_more_words_than_rhx_has_outputs() -> None:
    with pytest.raises(NervehandError, match="at most"):
        FrameLayout(tuple(str(i) for i in range(MAX_WORDS + 1)))


@given(st.lists(st.integers(0, 5000), max_size=12))
def test_any_cut_of_the_stream_gives_the_same_blocks(cuts: list[int]) -> None:
    data = b"junk" + stream(2) + b"\x08\x7a\xf0\x2e" + stream(2)
    whole, parser = parsed(data, [])
    found, cut_parser = parsed(data, cuts)
    assert encoded(found) == encoded(whole)
    assert len(whole) == 4
    assert (parser.skipped_bytes, parser.bad_frames) == (8, 1)
    assert (cut_parser.skipped_bytes, cut_parser.bad_frames) == (8, 1)


@given(st.data())
def test_damage_is_never_accepted_and_every_whole_block_is_found(data: st.DataObject) -> None:
    """A byte of a magic or of a timestamp is changed, or bytes are cut out or put in."""
    clean = stream(4)
    size = TWO.block_bytes
    hit = data.draw(st.integers(0, 3))
    frame_bytes = 8
    offset = data.draw(
        st.one_of(
            st.integers(0, 3),
            st.builds(lambda f, b: 4 + f * frame_bytes + b, st.integers(0, 127), st.integers(0, 3)),
        )
    )
    at = hit * size + offset
    kind = data.draw(st.sampled_from(["change", "cut", "insert"]))
    if kind == "change":
        damaged = clean[:at] + bytes([clean[at] ^ data.draw(st.integers(1, 255))]) + clean[at + 1 :]
    elif kind == "cut":
        damaged = clean[:at] + clean[at + data.draw(st.integers(1, size - offset)) :]
    else:
        damaged = clean[:at] + data.draw(st.binary(min_size=1, max_size=50)) + clean[at:]
    found, parser = parsed(damaged, data.draw(st.lists(st.integers(0, 5000), max_size=4)))
    untouched = [clean[k * size : (k + 1) * size] for k in range(4) if k != hit]
    good = [block for block in encoded(found) if block in untouched]
    assert good == untouched
    assert all(block in damaged for block in encoded(found))
    assert len(parser._buffer) < size


@given(
    st.lists(st.one_of(st.binary(max_size=3000), st.just(stream(1)), st.just(stream(1)[:700])), max_size=8)
)
def test_any_bytes_give_only_blocks_that_are_there_and_little_is_kept(pieces: list[bytes]) -> None:
    parser = WaveformParser(TWO)
    found: list[WaveformBlock] = []
    for piece in pieces:
        found += parser.feed(piece)
        assert len(parser._buffer) < TWO.block_bytes
    data = b"".join(pieces)
    assert all(block in data for block in encoded(found))
    n = len(found) * TWO.block_bytes
    assert n + parser.skipped_bytes + len(parser._buffer) == len(data)


def test_a_stream_of_other_frames_gives_nothing_and_says_how_much_was_skipped() -> None:
    other = b"".join(encode_block(k * 128, words(3, k)) for k in range(5))
    parser = WaveformParser(TWO)
    assert parser.feed(other) == []
    assert parser.since_good > 3 * TWO.block_bytes


def test_timestamps_go_round_within_a_block() -> None:
    data = encode_block(2**32 - 5, words())
    (block,) = WaveformParser(TWO).feed(data)
    assert block.timestamp == 2**32 - 5


def test_a_request_ends_with_the_question_for_the_run_mode() -> None:
    assert request(["get type", "set a-000.tcpdataoutputenabled true"]) == (
        b"get type;set a-000.tcpdataoutputenabled true;get runmode"
    )


def test_an_answer_has_come_when_the_run_mode_has() -> None:
    assert split_answer("Return: Type ControllerRecordUSB3Return: RunMode ") is None
    assert split_answer("Return: Type XReturn: RunMode StopReturn:") == ("Return: Type X", "Stop", "Return:")


def test_answers_come_in_order_and_unknown_names_have_none() -> None:
    text = "Return: TCPDataOutputEnabled TrueUnrecognized parameterReturn: SampleRateHertz 30000"
    assert answered_values(text, 3) == ("True", None, "30000")


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 1),
        ("Return: A 1", 2),
        ("Return: A 1Return: B 2", 1),
        ("Error - Command 1", 1),
        ("HTTP/1.1 400", 1),
    ],
)
def test_other_answers_are_refused(text: str, n: int) -> None:
    with pytest.raises(LinkError, match="answered"):
        answered_values(text, n)


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["Return: ", "A", " ", "1", "Unrecognized parameter"])).map("".join)
)
def test_any_answer_gives_as_many_values_as_were_asked_for_or_one_error(text: str) -> None:
    split_answer(text)
    try:
        values = answered_values(text, 2)
    except LinkError:
        return
    assert len(values) == 2
