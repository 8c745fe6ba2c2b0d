"""Frames with a two-byte header, a length and a one-byte checksum, found in a stream of any bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameShape:
    """What every frame that is taken looks like.

    It begins with `start`; its byte `length_at` is a length n in the protocol's own count: the frame has n + `overhead`
    bytes, from `shortest` to `longest`. Its last byte is `checksum` of all from byte 2 to the one before.
    """

    start: bytes
    length_at: int
    overhead: int
    shortest: int
    longest: int
    checksum: Callable[[bytes], int]

    def sealed(self, body: bytes) -> bytes:
        """A frame without its checksum, with it."""
        return body + bytes([self.checksum(body[2:])])


class FrameStream:
    """Cuts a stream of bytes into frames of one shape; whatever is no frame is skipped and counted.

    A frame whose checksum fails counts as bad, and what follows its first byte is searched again, so that a whole frame
    inside a damaged one is found. `buffered` bytes wait for the rest of their frame, fewer than `shape.longest`.
    """

    def __init__(self, shape: FrameShape) -> None:
        self._shape = shape
        self._buffer = bytearray()
        self.bad_frames = 0
        self.skipped_bytes = 0

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def forget(self) -> None:
        """What has begun will not be finished: it is skipped."""
        self.skipped_bytes += len(self._buffer)
        self._buffer.clear()

    def feed(self, data: bytes) -> list[bytes]:
        """The whole frames, checksums right, that these bytes complete."""
        shape, buffer = self._shape, self._buffer
        buffer += data
        frames: list[bytes] = []
        at = 0
        while True:
            found = buffer.find(shape.start, at)
            if found < 0:
                found = len(buffer) - _begun(buffer, at, shape.start)
            self.skipped_bytes += found - at
            at = found
            if len(buffer) - at <= shape.length_at:
                break
            size = buffer[at + shape.length_at] + shape.overhead
            if not shape.shortest <= size <= shape.longest:
                at += 1
                self.skipped_bytes += 1
                continue
            if len(buffer) - at < size:
                break
            frame = bytes(buffer[at : at + size])
            if shape.checksum(frame[2:-1]) == frame[-1]:
                frames.append(frame)
                at += size
            else:
                self.bad_frames += 1
                self.skipped_bytes += 1
                at += 1
        del buffer[:at]
        return frames


def _begun(buffer: bytearray, at: int, start: bytes) -> int:
    """How many bytes at the end may begin a frame."""
    for n in range(min(len(start) - 1, len(buffer) - at), 0, -1):
        if buffer.endswith(start[:n]):
            return n
    return 0
