"""Replies of the Ability Hand in a stream of any bytes, cut anywhere: with byte stuffing, and without.

Both find the next good reply after any garbage, and give a frame only where its header, length and checksum are right.
`bad_frames` and `skipped_bytes` count what they refuse; what they keep is bounded.
"""

from __future__ import annotations

from typing import Protocol

from firmware_bridge.hands import _ability_frames as frames

_LONGEST = 2 * max(frames.REPLY_LENGTHS.values())
"""Of what is between two flags."""

_NOISE = 2
"""Bytes between two flags that are no frame: RS485 adapters put zeros there."""


class ReplyStream(Protocol):
    bad_frames: int
    skipped_bytes: int

    @property
    def buffered(self) -> int:
        """Bytes kept for a frame that is not whole yet."""

    def feed(self, data: bytes) -> list[bytes]:
        """The replies that these bytes complete, without stuffing, in their order."""


class StuffedStream:
    """Frames are between flags; only those with one of `headers` are taken."""

    def __init__(self, headers: frozenset[int] = frames.REPLY_HEADERS) -> None:
        self.bad_frames = self.skipped_bytes = 0
        self._headers = headers
        self._inside = b""
        self._is_too_long = False

    @property
    def buffered(self) -> int:
        return len(self._inside)

    def feed(self, data: bytes) -> list[bytes]:
        *ended, self._inside = (self._inside + data).split(bytes([frames.FLAG]))
        found = []
        for inside in ended:
            frame = self._frame(inside)
            if frame:
                found.append(frame)
        if len(self._inside) > _LONGEST:
            self._is_too_long = True
            self.skipped_bytes += len(self._inside)
            self._inside = b""
        return found

    def _frame(self, inside: bytes) -> bytes:
        """The frame that ends with a flag now; b"" where it is none."""
        was_too_long, self._is_too_long = self._is_too_long, False
        if not was_too_long and len(inside) <= _LONGEST:
            try:
                frame = frames.unstuffed(inside)
            except frames.FrameError:
                frame = b""
            if is_reply(frame, self._headers):
                return frame
        self.skipped_bytes += len(inside)
        self.bad_frames += was_too_long or len(inside) > _NOISE
        return b""


class PlainStream:
    """Frames follow each other without a mark. Its header says how long one would be, the checksum whether it is one.

    Eight bits of checksum pass one of 256 false frames: take only the `headers` that can come.
    """

    def __init__(self, headers: frozenset[int] = frames.REPLY_HEADERS) -> None:
        self.bad_frames = self.skipped_bytes = 0
        self._headers = headers
        self._bytes = b""

    @property
    def buffered(self) -> int:
        return len(self._bytes)

    def feed(self, data: bytes) -> list[bytes]:
        stream, at, found = self._bytes + data, 0, []
        while at < len(stream):
            if stream[at] in self._headers:
                end = at + frames.REPLY_LENGTHS[(stream[at] & 0x0F) + 1]
                if end > len(stream):
                    break
                if frames.is_whole(stream[at:end]):
                    found.append(stream[at:end])
                    at = end
                    continue
                self.bad_frames += 1
            self.skipped_bytes += 1
            at += 1
        self._bytes = stream[at:]
        return found


def is_reply(frame: bytes, headers: frozenset[int]) -> bool:
    """Whether it is one whole reply with one of these headers."""
    return (
        bool(frame)
        and frame[0] in headers
        and len(frame) == frames.REPLY_LENGTHS[(frame[0] & 0x0F) + 1]
        and frames.is_whole(frame)
    )
