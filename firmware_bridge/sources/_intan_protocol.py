"""Intan RHX's TCP protocol as bytes: commands and their answers, and blocks of waveforms. No sockets here.

Read in Intan's RHX 3.4.0 (Intan-Technologies/Intan-RHX: commandparser.cpp, tcpdisplay.cpp, tcpcommunicator.cpp,
tcpdataoutputthread.cpp, channel.cpp):

- Commands are text: `get NAME`, `set NAME VALUE`, `execute ACTION`, several parted by ";". Only `get` answers,
  "Return: NAME VALUE"; everything else answers with an error text or not at all. Nothing ends an answer, so every
  request here ends with `get runmode`, whose four answers none of which begins another are its end.
- Waveforms: uint32 magic, then 128 frames of a uint32 timestamp and one uint16 word per output, little-endian.
  The order is the order of RHX's channels: the ports A to H (each channel's wide, low, high, DC and stimulation
  words; then auxiliary inputs and supply voltages), analog in, analog out, then one word for all digital inputs and
  one for all digital outputs. Nothing protects the words: a damaged sample cannot be told from a good one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, NervehandError

MAGIC = 0x2EF07A08
FRAMES_PER_BLOCK = 128
SCALE_UV = 0.195
"""Microvolts per count of an amplifier channel; the count is the word less 32768."""
COUNTER_BITS = 32
STIMULATION_LINE = 16
"""The digital line that is set while a stimulator's output is on, its amplifier settles or its charge is recovered:
above the 16 digital inputs."""
DIGITAL_IN, DIGITAL_OUT = "DIGITAL-IN-WORD", "DIGITAL-OUT-WORD"
MAX_WORDS = 8 * 128 * 5 + 128
"""Words of a frame at most: eight ports of 128 amplifiers with five outputs each, and what is not an amplifier."""

_MAGIC_BYTES = struct.pack("<I", MAGIC)
_STIM_SUFFIX = "|STIM"
_STIM_MASK = 0x60FF  # charge recovery, amplifier settle, and the magnitude of the current

END = "get runmode"
_END_OF_ANSWER = re.compile(r"Return: RunMode (Run|Record|Trigger|Stop)")
_ANSWER = re.compile(
    r"Return: (\w+) (.*?)(?=Return: |Unrecognized parameter|\Z)|Unrecognized parameter", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """What the words of a frame are: "A-000" is the wideband signal of an amplifier, "A-000|STIM" its stimulation
    word, "DIGITAL-IN-WORD" the digital inputs; every other name is an output that is not used here."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.words) > MAX_WORDS:
            raise NervehandError(f"a frame of {len(self.words)} words: RHX sends {MAX_WORDS} at most")

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.words if is_amplifier(name))

    @property
    def has_stimulation(self) -> bool:
        return any(name.endswith(_STIM_SUFFIX) for name in self.words)

    @property
    def block_bytes(self) -> int:
        return 4 + FRAMES_PER_BLOCK * (4 + 2 * len(self.words))

    def samples(self, words: NDArray[np.uint16]) -> NDArray[np.int16]:
        """(n, channels) counts of SCALE_UV from (n, words)."""
        columns = _amplifier_columns(self.words)
        picked = words if len(columns) == len(self.words) else words[:, columns]
        return (picked ^ np.uint16(0x8000)).view(np.int16)

    def digital(self, words: NDArray[np.uint16]) -> NDArray[np.uint32] | None:
        """(n,) lines: bits 0 to 15 the digital inputs, STIMULATION_LINE the stimulator; None where neither is sent."""
        stimulation = [i for i, name in enumerate(self.words) if name.endswith(_STIM_SUFFIX)]
        if DIGITAL_IN not in self.words and not stimulation:
            return None
        lines = np.zeros(words.shape[0], np.uint32)
        if DIGITAL_IN in self.words:
            lines |= words[:, self.words.index(DIGITAL_IN)]
        if stimulation:
            is_on = (words[:, stimulation] & np.uint16(_STIM_MASK)).any(axis=1)
            lines |= is_on.astype(np.uint32) << np.uint32(STIMULATION_LINE)
        return lines


def is_amplifier(name: str) -> bool:
    """Whether a word of that name is an amplifier's wideband signal."""
    return re.fullmatch(r"[A-H]-\d{3}", name) is not None


@lru_cache(maxsize=8)
def _amplifier_columns(words: tuple[str, ...]) -> list[int]:
    return [i for i, name in enumerate(words) if is_amplifier(name)]


def encode_block(timestamp: int, words: NDArray[np.uint16]) -> bytes:
    """A waveform block of (128, words), the first frame at `timestamp` (modulo 2**32)."""
    if words.shape[0] != FRAMES_PER_BLOCK:
        raise NervehandError(f"a block of {words.shape[0]} frames: RHX sends {FRAMES_PER_BLOCK}")
    frames = np.empty((FRAMES_PER_BLOCK, words.shape[1] + 2), "<u2")
    stamps = (timestamp + np.arange(FRAMES_PER_BLOCK)) % (1 << COUNTER_BITS)
    frames[:, 0], frames[:, 1] = stamps & 0xFFFF, stamps >> 16
    frames[:, 2:] = words
    return _MAGIC_BYTES + frames.tobytes()


@dataclass(frozen=True, slots=True)
class WaveformBlock:
    """The timestamp of the first frame, and (128, words) as sent."""

    timestamp: int
    words: NDArray[np.uint16]


class WaveformParser:
    """Blocks out of a byte stream, however it is cut.

    A block is good when it begins with the magic and its 128 timestamps follow one another. Where one is not, the
    search goes on one byte later, so that no good block after it is missed. `since_good` counts the bytes skipped
    since the last good block: a stream whose frames have another size never gives one. No more is kept than a
    block and what `feed` was given.
    """

    def __init__(self, layout: FrameLayout) -> None:
        self._block_bytes = layout.block_bytes
        self._n_words = len(layout.words)
        self._buffer = bytearray()
        self.bad_frames = 0
        self.skipped_bytes = 0
        self.since_good = 0

    def feed(self, data: bytes) -> list[WaveformBlock]:
        """The blocks that these bytes complete, in order."""
        self._buffer += data
        found: list[WaveformBlock] = []
        at, size = 0, self._block_bytes
        while len(self._buffer) - at >= size:
            if self._buffer.startswith(_MAGIC_BYTES, at):
                block = self._block(bytes(self._buffer[at + 4 : at + size]))
                if block is not None:
                    found.append(block)
                    at += size
                    self.since_good = 0
                    continue
                self.bad_frames += 1
            next_magic = self._buffer.find(_MAGIC_BYTES, at + 1)
            resume = next_magic if next_magic >= 0 else len(self._buffer) - len(_MAGIC_BYTES) + 1
            self.skipped_bytes += resume - at
            self.since_good += resume - at
            at = resume
        del self._buffer[:at]
        return found

    def _block(self, body: bytes) -> WaveformBlock | None:
        frames = np.frombuffer(body, "<u2").reshape(FRAMES_PER_BLOCK, self._n_words + 2)
        stamps: NDArray[np.uint32] = np.ndarray((FRAMES_PER_BLOCK,), "<u4", body, 0, (frames.strides[0],))
        if not (stamps[1:] - stamps[:-1] == 1).all():  # modulo 2**32, as the counter is
            return None
        return WaveformBlock(int(stamps[0]), frames[:, 2:])


def request(commands: Sequence[str]) -> bytes:
    """Commands as one request whose answer has an end."""
    return ";".join((*commands, END)).encode("ascii")


def split_answer(text: str) -> tuple[str, str, str] | None:
    """(what was answered, the run mode that ends it, what follows); None while the end has not come."""
    end = _END_OF_ANSWER.search(text)
    return None if end is None else (text[: end.start()], end.group(1), text[end.end() :])


def answered_values(text: str, n: int) -> tuple[str | None, ...]:
    """The values of `n` gets in order; None for a name that RHX does not know.

    Raises LinkError where the text is not exactly that.
    """
    values: list[str | None] = []
    at = 0
    for match in _ANSWER.finditer(text):
        if match.start() != at:
            break
        values.append(None if match.group(1) is None else match.group(2).strip())
        at = match.end()
    if at != len(text) or len(values) != n:
        raise LinkError(
            f"RHX answered {text[:120]!r} to {n} questions: check that Intan RHX 3 listens at that port"
        )
    return tuple(values)
