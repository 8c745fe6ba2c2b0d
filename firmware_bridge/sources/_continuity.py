"""What a device's sample counter says: the next samples, a gap, samples that came already, or another run."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.errors import SourceLostError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block belongs: the index of its first new sample, how many are missing before it, and how many
    of its own samples came already and are to be dropped from its front."""

    first_sample: int
    lost: int
    repeated: int


class Continuity:
    """The counter of one connection, unwrapped where it has `bits`, else taken as it is.

    A block that lies up to `repeat_samples` back is a repetition. One further back is another run of the device,
    whose counter began anew: that ends the connection (SourceLostError), since no index of it can be trusted.
    """

    def __init__(self, repeat_samples: int, bits: int | None = None) -> None:
        self._repeat_samples, self._bits = repeat_samples, bits
        self._expected: int | None = None

    def place(self, counter: int, n_samples: int) -> Place:
        """Where `n_samples` that begin at `counter` belong."""
        if self._expected is None:
            self._expected = counter
        ahead = counter - self._expected
        if self._bits is not None:
            half = 1 << (self._bits - 1)
            ahead = (ahead + half) % (1 << self._bits) - half
        if ahead < -max(self._repeat_samples, 0):
            raise SourceLostError(
                f"the sample counter went back by {-ahead}: the device began anew; connect to it again"
            )
        repeated = min(max(-ahead, 0), n_samples)
        first = self._expected + ahead + repeated
        if repeated < n_samples:
            self._expected = first + n_samples - repeated
        return Place(first, max(ahead, 0), repeated)
