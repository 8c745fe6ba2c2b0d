"""The serial protocol: what docs/serial-protocol.md says is what the code does, and any bytes are survived."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from firmware_bridge.sources._serial_description import Description, encode_description, parse_description
from firmware_bridge.sources._serial_order import StreamOrder
from firmware_bridge.sources._serial_protocol import (
    DATA_SIZE,
    HEADER_SIZE,
    MAGIC,
    MAX_PAYLOAD,
    OVERHEAD,
    Data,
    DeviceError,
    Frame,
    FrameParser,
    FrameType,
    ProtocolError,
    Started,
    answered_request,
    encode_data,
    encode_error,
    encode_frame,
    encode_start,
    encode_started,
    encode_stopped,
    max_samples,
    parse_data,
    parse_error,
    parse_start,
    parse_started,
)
from firmware_bridge.stream import SignalBlock, StreamInfo

DOC = (Path(__file__).resolve().parents[3] / "docs" / "serial-protocol.md").read_text()
VECTORS = {
    name: bytes.fromhex("".join(digits.split()))
    for name, digits in re.findall(r"\*\*(.+?)\*\*: .*\n\n```hex\n([0-9a-f\n]+)```", DOC)
}
COUNTS = np.array([[0, 1], [-1, 32767], [-32768, 256]], np.int16)
INFO = StreamInfo(
    rate_hz=10_000.0,
    channel_names=("m1", "u1"),
    kind="nerve",
    electrodes=("median/1", "ulnar/1"),
    nerve="median, ulnar",
    full_scale_uv=6389.565,
    hardware_band_hz=(0.1, 7500.0),
    mains_hz=50.0,
    stimulation_lines=(0,),
)
ENCODED = {
    "DESCRIBE": encode_frame(FrameType.DESCRIBE, 1),
    "STOP": encode_frame(FrameType.STOP, 2),
    "START": encode_start(3, 0x01020304),
    "STARTED": encode_started(8, Started(3, 0x01020304, 1000)),
    "STOPPED": encode_stopped(7, 2),
    "ERROR": encode_error(9, DeviceError(4, 1, "unknown type 0x55")),
    "DESCRIPTION": encode_description(6, 1, Description(INFO, "example 1.0")),
    "DATA without lines": encode_data(10, 0x01020304, SignalBlock(COUNTS, 1000, scale_uv=0.195)),
    "DATA with lines": encode_data(
        0xFFFFFFFF,
        0xFFFFFFFE,
        SignalBlock(COUNTS, 2**40 + 5, scale_uv=0.195, digital=np.array([0, 1, 0x80], np.uint32)),
        digital_bytes=1,
    ),
}


def parsed(data: bytes) -> list[Frame]:
    return FrameParser().feed(data)


# The document


def test_the_document_has_a_vector_for_each_type() -> None:
    assert VECTORS.keys() == ENCODED.keys()
    assert {parsed(frame)[0].type for frame in VECTORS.values()} == set(FrameType)


@pytest.mark.parametrize("name", ENCODED)
def test_the_document_s_vectors_are_what_is_encoded(name: str) -> None:
    assert VECTORS[name].hex() == ENCODED[name].hex()


def test_the_document_s_vectors_are_parsed_to_what_the_document_says() -> None:
    frames = {name: parsed(data) for name, data in VECTORS.items()}
    assert all(len(found) == 1 and found[0].version == 1 for found in frames.values())
    payloads = {name: found[0].payload for name, found in frames.items()}
    sequences = {name: found[0].sequence for name, found in frames.items()}
    assert list(sequences.values()) == [1, 2, 3, 8, 7, 9, 6, 10, 0xFFFFFFFF]
    assert parse_start(payloads["START"]) == 0x01020304
    assert parse_started(payloads["STARTED"]) == Started(3, 0x01020304, 1000)
    assert answered_request(frames["STOPPED"][0]) == 2
    assert parse_error(payloads["ERROR"]) == DeviceError(4, 1, "unknown type 0x55")
    assert parse_description(payloads["DESCRIPTION"]) == Description(INFO, "example 1.0")
    plain, lined = parse_data(payloads["DATA without lines"]), parse_data(payloads["DATA with lines"])
    assert (plain.stream, plain.first_sample, plain.scale_uv) == (0x01020304, 1000, 0.195)
    assert (lined.stream, lined.first_sample, lined.scale_uv) == (0xFFFFFFFE, 2**40 + 5, 0.195)
    assert plain.digital is None
    assert lined.digital is not None
    assert lined.digital.tolist() == [0, 1, 0x80]
    np.testing.assert_array_equal(plain.samples, COUNTS)
    np.testing.assert_array_equal(lined.samples, COUNTS)


def test_the_document_s_example_of_a_description_is_its_vector() -> None:
    match = re.search(r"```json\n(.*?)```", DOC, re.DOTALL)
    assert match is not None
    assert json.loads(match[1]) == json.loads(VECTORS["DESCRIPTION"][HEADER_SIZE + 4 : -4])


C_MAIN = r"""
#include <stdio.h>
static void print(const uint8_t *p, size_t n) { while (n--) printf("%02x", *p++); printf("\n"); }
int main(void)
{
    static const int16_t counts[6] = {0, 1, -1, 32767, -32768, 256};
    static uint8_t frame[128];
    static struct nvh_receiver receiver;
    int byte;
    print(frame, nvh_data(frame, 10, 0x01020304, 1000, 0.195, counts, 2, 3));
    put32(frame + 16, 2);
    print(frame, nvh_seal(frame, 0x83, 7, 4));
    while ((byte = getchar()) != EOF) {
        int type = nvh_receive(&receiver, (uint8_t)byte);
        if (type) printf("request %d number %u\n", type, (unsigned)get32(receiver.bytes + 8));
    }
    return 0;
}
"""


def test_the_document_s_c_code_makes_the_vectors_and_finds_requests_in_garbage(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler here")
    match = re.search(r"```c\n(.*?)```", DOC, re.DOTALL)
    assert match is not None
    (tmp_path / "nvh.c").write_text(match[1] + C_MAIN)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
    subprocess.run([compiler, *flags, "nvh.c", "-o", "nvh"], cwd=tmp_path, check=True)
    start, stop = VECTORS["START"], VECTORS["STOP"]
    heard = b"".join(
        (b"\x00NH", VECTORS["DESCRIBE"], start[:17], MAGIC, start, stop, bytes([*stop[:-1], 0]), start)
    )
    done = subprocess.run([tmp_path / "nvh"], input=heard, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == [
        VECTORS["DATA without lines"].hex(),
        VECTORS["STOPPED"].hex(),
        "request 1 number 1",
        "request 2 number 3",
        "request 3 number 2",
        "request 2 number 3",
    ]


# The parser

FRAMES = st.builds(
    encode_frame,
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=60),
    st.integers(0, 255),
)


def garbage(frame: bytes) -> st.SearchStrategy[bytes]:
    """Noise, magics, and the frame cut short, without its beginning, or with a wrong bit."""
    return st.one_of(
        st.binary(max_size=40),
        st.sampled_from([MAGIC, MAGIC[:1], MAGIC[:3], MAGIC * 3]),
        st.integers(0, len(frame) - 1).map(lambda n: frame[:n]),
        st.integers(1, len(frame)).map(lambda n: frame[n:]),
        st.integers(0, 8 * len(frame) - 1).map(lambda bit: flipped(frame, bit)),
    )


def flipped(frame: bytes, bit: int) -> bytes:
    return frame[: bit // 8] + bytes([frame[bit // 8] ^ 1 << bit % 8]) + frame[bit // 8 + 1 :]


GARBAGE = FRAMES.flatmap(garbage)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream of good frames among garbage, and the good frames."""
    frames = draw(st.lists(FRAMES, max_size=12))
    is_good = [draw(st.booleans()) for _ in frames]
    pieces = [frame if good else draw(garbage(frame)) for frame, good in zip(frames, is_good, strict=True)]
    data, sent = b"".join(pieces), list(itertools.compress(frames, is_good))
    # A magic and a frame without its own are a frame again, and so may a cut one be with what comes behind it.
    behind = bytes(max(map(len, frames), default=0))
    assume(sum(map((data + behind).count, set(frames))) == len(sent))
    return data, sent


def encoded(frame: Frame) -> bytes:
    return encode_frame(frame.type, frame.sequence, frame.payload, frame.version)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(streams())
def test_good_frames_among_any_garbage_are_all_delivered_and_nothing_else(
    case: tuple[bytes, list[bytes]],
) -> None:
    data, good = case
    parser = FrameParser()
    found = parser.feed(data)
    found += parser.feed(bytes(MAX_PAYLOAD))  # so that no cut frame still waits for its end
    assert [encoded(frame) for frame in found] == good
    assert parser.frames == len(good)
    fed = len(data) + MAX_PAYLOAD
    assert parser.skipped_bytes + parser.buffered + sum(map(len, good)) == fed


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cutting_of_the_bytes_gives_the_same_frames(
    case: tuple[bytes, list[bytes]], places: list[int]
) -> None:
    data, _ = case
    whole, pieces, single = FrameParser(), FrameParser(), FrameParser()
    expected = whole.feed(data)
    assert [frame for piece in cut(data, places) for frame in pieces.feed(piece)] == expected
    assert [frame for k in range(len(data)) for frame in single.feed(data[k : k + 1])] == expected
    for parser in (pieces, single):
        assert (parser.frames, parser.bad_frames, parser.skipped_bytes, parser.buffered) == (
            whole.frames,
            whole.bad_frames,
            whole.skipped_bytes,
            whole.buffered,
        )


@given(st.lists(st.one_of(st.binary(max_size=200), st.just(MAGIC), GARBAGE, FRAMES), max_size=20))
def test_no_bytes_crash_the_parser_and_what_it_accepts_is_in_them(pieces: list[bytes]) -> None:
    data, parser, at = b"".join(pieces), FrameParser(), 0
    for piece in pieces:
        for frame in parser.feed(piece):
            at = data.index(encoded(frame), at) + len(encoded(frame))
        assert parser.buffered <= MAX_PAYLOAD + OVERHEAD


def test_no_flipped_bit_is_accepted_and_none_hides_the_frames_around_it() -> None:
    before, frame, after = ENCODED["STOPPED"], ENCODED["DATA with lines"], ENCODED["STARTED"]
    for bit in range(8 * len(frame)):
        bad = bytearray(frame)
        bad[bit // 8] ^= 1 << bit % 8
        parser = FrameParser()
        found = parser.feed(before + bytes(bad) + after)
        assert [encoded(f) for f in found] == [before, after], f"bit {bit}"
        assert parser.skipped_bytes == len(frame)
        assert parser.bad_frames >= (bit >= 32)  # a frame without its magic is only bytes


def test_a_payload_behind_another_frame_s_header_is_refused() -> None:
    """As when bytes are lost from the middle of one frame to the middle of the next, of the same length."""
    one, other = encode_frame(0x90, 1, b"first payload"), encode_frame(0x90, 2, b"other payload")
    assert parsed(one[:HEADER_SIZE] + other[HEADER_SIZE:]) == []


def test_a_frame_inside_the_extent_that_a_damaged_one_claims_is_delivered() -> None:
    inner = encode_frame(0x90, 5, b"inside")
    outer = bytearray(encode_frame(0x90, 4, b"x" * 10 + inner + b"x" * 10))
    outer[-1] ^= 1
    assert [frame.payload for frame in parsed(bytes(outer))] == [b"inside"]
    outer[-1] ^= 1
    assert [frame.sequence for frame in parsed(bytes(outer))] == [4]


def header(length: int) -> bytes:
    fields = struct.pack("<4sBBHI", MAGIC, 1, FrameType.DATA, length, 0)
    return fields + struct.pack("<I", zlib.crc32(fields))


def test_a_length_beyond_the_limit_is_refused_before_any_payload_is_awaited() -> None:
    parser = FrameParser()
    parser.feed(header(MAX_PAYLOAD + 1))
    assert (parser.bad_frames, parser.buffered) == (1, 0)
    parser.feed(header(MAX_PAYLOAD))
    assert (parser.bad_frames, parser.buffered) == (1, HEADER_SIZE)


def test_a_frame_of_the_largest_size_goes_through() -> None:
    payload = bytes(MAX_PAYLOAD)
    assert parsed(encode_frame(0x55, 1, payload)) == [Frame(1, 0x55, 1, payload)]
    with pytest.raises(ProtocolError, match="32769"):
        encode_frame(0x55, 1, bytes(MAX_PAYLOAD + 1))


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        (MAGIC, 4),  # magics only
        (header(0)[:12] + b"\0\0\0\0", 1),  # headers with a wrong checksum
        (encode_frame(1, 1)[:-1] + b"\0", 1),  # whole frames with a wrong checksum
        (header(MAX_PAYLOAD), MAX_PAYLOAD // HEADER_SIZE),  # right headers that each claim most
    ],
)
def test_work_grows_with_the_bytes_however_hostile(
    unit: bytes, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in bytes summed, since checksums are what could be computed over and over."""
    real, summed = zlib.crc32, [0]

    def counting(data: memoryview, start: int = 0) -> int:
        summed[0] += len(data)
        return real(data, start)

    monkeypatch.setattr(zlib, "crc32", counting)
    for n in (40_000, 80_000):
        summed[0] = 0
        parser = FrameParser()
        data = unit * (n // len(unit))
        for k in range(0, len(data), 4096):
            parser.feed(data[k : k + 4096])
            assert parser.buffered <= MAX_PAYLOAD + OVERHEAD
        assert summed[0] <= (most + 1) * len(data)


# The content of frames


@given(st.integers(1, 20), st.integers(1, 40), st.sampled_from([0, 1, 2, 4]), st.data())
def test_data_comes_back_bit_for_bit(
    n_channels: int, n_samples: int, digital_bytes: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    samples = random.integers(-32768, 32768, (n_samples, n_channels)).astype(np.int16)
    digital = (
        random.integers(0, 2 ** (8 * digital_bytes), n_samples).astype(np.uint32) if digital_bytes else None
    )
    scale_uv = data.draw(st.floats(1e-6, 1e6))
    first = data.draw(st.integers(0, 2**62))
    block = SignalBlock(samples, first, scale_uv=scale_uv, digital=digital)
    (frame,) = parsed(encode_data(3, 7, block, digital_bytes or 4))
    got = parse_data(frame.payload)
    assert (got.stream, got.first_sample, got.scale_uv) == (7, first, scale_uv)
    assert got.samples.dtype == np.int16
    np.testing.assert_array_equal(got.samples, samples)
    assert (got.digital is None) == (digital is None)
    if digital is not None:
        np.testing.assert_array_equal(got.digital, digital)


@given(
    st.one_of(
        st.binary(max_size=100),
        st.builds(
            lambda fields, rest: struct.pack("<IHHQdI", *fields) + rest,
            st.tuples(
                st.integers(0, 3),
                st.integers(0, 3),
                st.integers(0, 3),
                st.integers(0, 2**64 - 1),
                st.floats(),
                st.integers(0, 5),
            ),
            st.binary(max_size=30),
        ),
    )
)
def test_data_of_any_bytes_is_refused_or_consistent(payload: bytes) -> None:
    try:
        got = parse_data(payload)
    except ProtocolError:
        return
    assert got.samples.size > 0
    assert got.scale_uv > 0
    assert got.first_sample + len(got.samples) < 2**63
    digital_bytes = (len(payload) - DATA_SIZE - 2 * got.samples.size) // len(got.samples)
    block = SignalBlock(got.samples, got.first_sample, scale_uv=got.scale_uv, digital=got.digital)
    assert parsed(encode_data(0, got.stream, block, digital_bytes))[0].payload == payload


@pytest.mark.parametrize(
    ("block", "digital_bytes", "said"),
    [
        (SignalBlock(COUNTS.astype(np.float32), 0), 4, "float32"),
        (SignalBlock(COUNTS, 0, digital=np.array([0, 0, 256], np.uint32)), 1, "0x100"),
        (SignalBlock(COUNTS, 0, digital=np.array([0, 0, 1], np.uint32)), 3, "3 bytes"),
    ],
)
def test_a_block_that_no_frame_can_carry_is_refused(
    block: SignalBlock, digital_bytes: int, said: str
) -> None:
    with pytest.raises(ProtocolError, match=said):
        encode_data(0, 1, block, digital_bytes)


def test_an_index_goes_to_the_end_of_63_bits_and_no_further() -> None:
    last = 2**63 - 1 - len(COUNTS)
    (frame,) = parsed(encode_data(0, 1, SignalBlock(COUNTS, last)))
    assert parse_data(frame.payload).first_sample == last
    (frame,) = parsed(encode_data(0, 1, SignalBlock(COUNTS, last + 1)))
    with pytest.raises(ProtocolError, match=r"beyond 2\^63"):
        parse_data(frame.payload)
    with pytest.raises(ProtocolError, match=r"beyond 2\^63"):
        parse_started(parsed(encode_started(0, Started(1, 1, 2**63)))[0].payload)


def test_the_most_samples_fill_a_frame() -> None:
    n = max_samples(16, 4)
    lines = np.zeros(n + 1, np.uint32)
    full = SignalBlock(np.zeros((n, 16), np.int16), 0, digital=lines[:n])
    assert len(parse_data(parsed(encode_data(0, 1, full))[0].payload).samples) == n
    with pytest.raises(ProtocolError, match="at most"):
        encode_data(0, 1, SignalBlock(np.zeros((n + 1, 16), np.int16), 0, digital=lines))


@pytest.mark.parametrize("parse", [parse_start, parse_started, parse_error, parse_description, parse_data])
@given(payload=st.binary(max_size=64))
def test_any_payload_is_parsed_or_refused(parse: Callable[[bytes], object], payload: bytes) -> None:
    try:
        parse(payload)
    except ProtocolError as error:
        assert str(error)  # noqa: PT017 - most payloads are refused, and some are not


NAMES = st.text('abzAZ09 ./_-µéß漢"\\', min_size=1, max_size=8)


@given(
    st.lists(NAMES, min_size=1, max_size=5, unique=True),
    st.floats(1e-3, 1e7),
    st.sampled_from(["nerve", "emg", "envelope"]),
    st.none() | st.floats(1e-3, 1e7),
    st.none() | st.tuples(st.floats(0, 10), st.floats(11, 1e5)),
    st.lists(st.integers(0, 31), max_size=3),
    NAMES,
    st.data(),
)
def test_a_description_comes_back_as_it_was(
    names: list[str],
    rate_hz: float,
    kind: str,
    full_scale_uv: float | None,
    band_hz: tuple[float, float] | None,
    lines: list[int],
    text: str,
    data: st.DataObject,
) -> None:
    n = data.draw(st.sampled_from([0, len(names)]))
    impedance_ohm = tuple(data.draw(st.lists(st.none() | st.floats(0, 1e12), min_size=n, max_size=n)))
    info = StreamInfo(
        rate_hz,
        tuple(names),
        kind,  # type: ignore[arg-type] # drawn from the kinds
        electrodes=tuple(names),
        nerve=text,
        full_scale_uv=full_scale_uv,
        hardware_band_hz=band_hz,
        stimulation_lines=tuple(lines),
    )
    description = Description(info, text, impedance_ohm)
    (frame,) = parsed(encode_description(0, 1, description))
    assert parse_description(frame.payload) == description


TEXT = st.text("ab0é\n\ud800", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=5,
)
KEYS = [
    "firmware",
    "rate_hz",
    "kind",
    "channels",
    "electrodes",
    "nerve",
    "full_scale_uv",
    "band_hz",
    "mains_hz",
]


@given(st.dictionaries(st.sampled_from([*KEYS, "stimulation_lines", "impedance_ohm"]), JSON, max_size=4))
def test_a_description_with_any_values_is_refused_or_right(changes: dict[str, object]) -> None:
    fields = {"firmware": "f", "rate_hz": 1000, "kind": "emg", "channels": ["a"]} | changes
    try:
        description = parse_description(b"\0\0\0\0" + json.dumps(fields).encode())
    except ProtocolError:
        return
    assert description.info.rate_hz > 0
    assert description.info.n_channels >= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rate_hz": 0}, "rate_hz is 0"),
        ({"rate_hz": True}, "rate_hz is True"),
        ({"rate_hz": 10**400}, "rate_hz"),
        ({"kind": "ecg"}, "ecg"),
        ({"channels": []}, "0 channels"),
        ({"channels": ["a", "a"]}, "repeat"),
        ({"channels": [f"c{i}" for i in range(1025)]}, "1025"),
        ({"channels": ["a" * 65]}, "1 to 64"),
        ({"electrodes": ["x", "y"]}, "2 electrodes"),
        ({"band_hz": [500, 20]}, "band_hz"),
        ({"stimulation_lines": [32]}, "stimulation_lines"),
        ({"impedance_ohm": 4.7e4}, "impedance_ohm is 47000.0"),
        ({"impedance_ohm": [4.7e4, None]}, "one entry for each channel"),
        ({"impedance_ohm": [-1]}, "neither null nor zero or more"),
        ({"impedance_ohm": [True]}, "neither null nor zero or more"),
        ({"firmware": None}, "firmware"),
    ],
)
def test_a_description_is_refused_by_the_field_that_is_wrong(changes: dict[str, object], said: str) -> None:
    fields = {"firmware": "f", "rate_hz": 1000, "kind": "emg", "channels": ["a"]} | changes
    with pytest.raises(ProtocolError, match=said):
        parse_description(b"\0\0\0\0" + json.dumps(fields).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b'{"rate_hz":NaN}', b"[" * 30_000, b"9" * 5_000])
def test_what_is_no_description_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="description"):
        parse_description(b"\0\0\0\0" + text)


# The order of samples


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.lists(st.sampled_from(["send", "drop", "repeat", "device loses"]), min_size=30, max_size=30),
    st.just([False] * 60) | st.lists(st.booleans(), min_size=60, max_size=60),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**60),
)
def test_every_sample_is_delivered_once_in_order_or_counted_as_lost(
    sizes: list[int], fates: list[str], swaps: list[bool], sequence: int, start: int
) -> None:
    order, sent, first, number = StreamOrder(sequence, start), [], start, sequence
    by_device = 0
    for size, fate in zip(sizes, fates, strict=False):
        if fate != "device loses":
            sent += [(number, first, size)] * {"send": 1, "drop": 0, "repeat": 2}[fate]
            number += 1
        else:
            by_device += size
        first += size
    for k in range(len(sent) - 1):
        if swaps[k]:
            sent[k], sent[k + 1] = sent[k + 1], sent[k]
    next_sample, delivered, lost, missing, in_device = start, 0, 0, 0, 0
    for number_, first_, size in sent:
        missing += order.frame(number_ % 2**32)
        gone, gone_in_device, repeated = order.samples(first_, size)
        assert 0 <= repeated <= size
        if repeated < size:
            assert first_ + repeated == next_sample + gone
            next_sample = first_ + size
        lost, in_device, delivered = lost + gone, in_device + gone_in_device, delivered + size - repeated
    assert delivered + lost == next_sample - start
    assert in_device <= by_device
    if "drop" not in fates[: len(sizes)] and not any(swaps):
        assert missing == 0
        assert in_device == lost


def test_a_late_frame_is_dropped_and_a_partly_new_one_cut() -> None:
    order = StreamOrder(0, 100)
    assert (order.frame(0), order.samples(100, 10)) == (0, (0, 0, 0))
    assert (order.frame(2), order.samples(120, 10)) == (1, (10, 0, 0))
    assert (order.frame(1), order.samples(110, 10)) == (0, (0, 0, 10))
    assert (order.frame(3), order.samples(125, 10)) == (0, (0, 0, 5))
    assert (order.frame(4), order.samples(140, 10)) == (0, (5, 5, 0))


def test_a_lost_frame_without_samples_is_no_lost_sample_and_no_device_s_loss() -> None:
    order = StreamOrder(2**32 - 1, 0)
    assert (order.frame(2**32 - 1), order.samples(0, 10)) == (0, (0, 0, 0))
    assert (order.frame(1), order.samples(10, 10)) == (1, (0, 0, 0))
    # A frame of samples is lost; an answer comes between the gap and the samples that show it.
    assert order.frame(3) == 1
    assert (order.frame(4), order.samples(30, 10)) == (0, (10, 0, 0))


def test_views_of_a_frame_cannot_be_changed() -> None:
    data: Data = parse_data(parsed(ENCODED["DATA with lines"])[0].payload)
    with pytest.raises(ValueError, match="read-only"):
        data.samples[0, 0] = 1
