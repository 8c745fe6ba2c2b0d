"""A bad serial line between an emulated front-end and its port: what it does to frames, and to which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from firmware_bridge.errors import NervehandError
from firmware_bridge.sources._serial_protocol import HEADER_SIZE, MAGIC, FrameType, ProtocolError, parse_data

Line = Callable[[bytes], bytes]
"""A whole frame in, the bytes that go out in its place: none, the same, damaged, or more."""

_TYPE_AT = 5
_LENGTH = slice(6, 8)


@dataclass(frozen=True, slots=True)
class LineFaults:
    """Shares of the frames, 0 to 1 each, and of the bits that are hit.

    `hit` frames are damaged in a way drawn by lot: bits flipped, bytes lost, bytes put in, cut short, or replaced
    by garbage. `dropped` ones vanish, `repeated` ones come twice, `swapped` ones come after their successor;
    `garbage` is put in before a frame, bytes that look like the beginning of one among it.
    """

    hit: float = 0.0
    dropped: float = 0.0
    repeated: float = 0.0
    swapped: float = 0.0
    garbage: float = 0.0
    bit_errors: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise NervehandError(f"line faults: {name} is {getattr(self, name)}: give a share in 0..1")


class BadLine:
    """A `Line` with seeded faults that remembers what it did, in ranges of sample indices.

    It is bad for its first `n_bad` frames with samples, and good from then on; None: always bad. `destroyed` are the
    samples of frames that did not go out whole, `late` of those that went out behind later ones, `repeated` of
    those that went out again. `n_frames` with samples went in, and in `n_lengths_hit` of them a bit error hit the
    length. Bit errors hit every frame, answers to requests too; the other faults only frames with samples.
    """

    def __init__(self, faults: LineFaults, seed: int, n_bad: int | None = None) -> None:
        self.destroyed: list[range] = []
        self.late: list[range] = []
        self.repeated: list[range] = []
        self.n_frames = self.n_lengths_hit = 0
        self._n_bad = n_bad
        self._faults = faults
        self._random = np.random.default_rng(seed)
        self._held: tuple[bytes, range] | None = None

    def __call__(self, frame: bytes) -> bytes:
        is_good = self._n_bad is not None and self.n_frames >= self._n_bad
        if frame[_TYPE_AT] != FrameType.DATA:
            return frame if is_good else self._with_bit_errors(frame)
        self.n_frames += 1
        if is_good:
            return self._with_held(frame, frame)
        faults, samples = self._faults, carried(frame)
        hit, dropped, repeated, swapped, garbage = self._random.random(5) < (
            faults.hit,
            faults.dropped,
            faults.repeated,
            faults.swapped,
            faults.garbage,
        )
        sent = b"" if dropped else frame
        if hit and not dropped:
            sent = self._damaged(frame)
        before = sent
        sent = self._with_bit_errors(before)
        self.n_lengths_hit += sent[_LENGTH] != before[_LENGTH]
        if frame not in sent:
            self.destroyed.append(samples)
        elif repeated:
            self.repeated.append(samples)
            sent += frame
        elif swapped and self._held is None:
            self._held = sent, samples
            return b""
        if garbage:
            sent = self._garbage() + sent
        return self._with_held(sent, frame)

    def _with_held(self, sent: bytes, frame: bytes) -> bytes:
        if self._held is None:
            return sent
        late, samples = self._held
        self._held = None
        if frame in sent:
            self.late.append(samples)
        return sent + late

    def _with_bit_errors(self, frame: bytes) -> bytes:
        if not self._faults.bit_errors:
            return frame
        n_bits = 8 * len(frame)
        n_errors = int(self._random.binomial(n_bits, self._faults.bit_errors))
        if not n_errors:
            return frame
        return self._flipped(frame, self._random.choice(n_bits, n_errors, replace=False).tolist())

    def _flipped(self, frame: bytes, bits: list[int]) -> bytes:
        out = bytearray(frame)
        for bit in bits:
            out[bit // 8] ^= 1 << bit % 8
        return bytes(out)

    def _damaged(self, frame: bytes) -> bytes:
        random, size = self._random, len(frame)
        at, n = int(random.integers(1, size)), int(random.integers(1, 65))
        match int(random.integers(6)):
            case 0:  # anywhere
                return self._flipped(frame, random.integers(0, 8 * size, n).tolist())
            case 1:  # in the header, its length among it
                return self._flipped(frame, random.integers(0, 8 * HEADER_SIZE, 1).tolist())
            case 2:
                return frame[: at - 1] + frame[at - 1 + n :]
            case 3:
                return frame[:at] + random.bytes(n) + frame[at:]
            case 4:
                return frame[:at]
            case _:
                return self._garbage()

    def _garbage(self) -> bytes:
        noise = self._random.bytes(int(self._random.integers(1, 200)))
        return noise + MAGIC[: int(self._random.integers(1, 5))] if self._random.random() < 0.5 else noise


def carried(frame: bytes) -> range:
    """The indices of the samples in a whole DATA frame."""
    try:
        data = parse_data(frame[HEADER_SIZE:-4])
    except ProtocolError as error:
        raise NervehandError(f"the line was given no whole DATA frame: {error}") from error
    return range(data.first_sample, data.first_sample + data.samples.shape[0])
