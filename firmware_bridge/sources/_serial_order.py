"""Which samples of a serial stream are new, which came before, and which never came."""

from __future__ import annotations

_HALF = 2**31


class StreamOrder:
    """The account of one stream, from its first sample on.

    Samples are counted by their index alone. Sequence numbers, one per frame that the device sends, are the second
    witness: they tell of lost frames without samples, and where samples are missing though no frame is, those were
    lost before the link. A sequence that goes back says nothing and changes nothing.
    """

    def __init__(self, next_sequence: int, next_sample: int) -> None:
        self._next_sequence = next_sequence % 2**32
        self._next_sample = next_sample
        self._frames_missed = 0

    def frame(self, sequence: int) -> int:
        """Take note of a frame of any type; return how many frames before it never came."""
        gap = (sequence - self._next_sequence) % 2**32
        if gap >= _HALF:
            return 0
        self._frames_missed += gap
        self._next_sequence = (sequence + 1) % 2**32
        return gap

    def samples(self, first: int, n: int) -> tuple[int, int, int]:
        """(lost, of these lost in the device, repeated) for the samples of the frame just noted.

        `repeated` counts its first samples that came before or were given up as lost: all n in a late frame.
        """
        ahead = first - self._next_sample
        if ahead < 0:
            repeated = min(n, -ahead)
            self._next_sample = max(self._next_sample, first + n)
            return 0, 0, repeated
        in_device = 0 if self._frames_missed else ahead
        self._frames_missed = 0
        self._next_sample = first + n
        return ahead, in_device, 0
