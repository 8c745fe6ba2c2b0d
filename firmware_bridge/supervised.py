"""A front-end that comes back: reconnected after a loss, its samples numbered on, everything said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from firmware_bridge.arrival import ArrivalRate
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.stream import Device, LinkCounters, SignalBlock, StreamInfo

SourceEventKind = Literal[
    "lost", "reconnected", "began anew", "repeated", "rate", "mismatch", "input", "intention"
]

_NEAR_S = 0.25
"""How far a counter may be from where the host's clock has it; going back by less is a repetition."""
_FAR_S = 2.0
"""A counter that goes back further than this began anew somewhere, whatever it begins with."""
_DRIFT = 0.01
"""How far the device's clock may be from the host's over an outage."""
_SAY_AGAIN_S = 1.0
_FIRST_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """Something that happened to a front-end at `sample_index`, the index of the next sample there.

    "lost": the link failed or fell silent. "reconnected": samples come again. "began anew": the device counts its
    samples from elsewhere; the index goes on, its loss estimated by the host's clock. "repeated": samples came
    again and were dropped. "rate": they come at another rate than the stream's. "mismatch": what came back is
    another stream. "input": a person moved the intent of a simulated one; `value` is the index of the gesture.
    "intention": likewise, a posture that is no such gesture: `text` holds its six positions, `value` their label.
    """

    sample_index: int
    kind: SourceEventKind
    text: str
    value: int = 0


@dataclass(slots=True)
class _Outage:
    """From the last block until the next: since when, why, and how often it was tried."""

    since_ns: int
    error: LinkError
    attempts: int = 0


class SupervisedSource:
    """Wraps a device and is one: its stream never goes back and says every sample that it lacks.

    Sample indices strictly increase over reconnects, and `lost_before` is always the gap to the block before. Where
    the device's counter went on plausibly by the host's clock, the loss is exact; where it began anew, it is
    estimated from the host's clock, and the event says so. Samples that were delivered already are dropped.

    `connect` raises what the device raises: nothing is there yet. Later losses are tried again with growing waits
    up to `longest_wait_s`, for ever or until `give_up_s` seconds have passed, then SourceLostError. `blocks` raises
    StreamMismatchError where another stream came back, or where the samples come at a rate that is off by more than
    `rate_tolerance` over `rate_window_s` (None: neither the rate nor the counter is compared with the clock, for a
    device that is not paced).

    `on_event` is called from the thread that takes the blocks. `clock_ns` is the host's clock, as in `arrival_ns`;
    `wait` takes seconds to wait and returns True at once where the source is closed meanwhile.
    """

    def __init__(
        self,
        device: Device,
        on_event: Callable[[SourceEvent], None],
        *,
        give_up_s: float | None = None,
        longest_wait_s: float = 1.0,
        rate_tolerance: float | None = 0.1,
        rate_window_s: float = 5.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        if give_up_s is not None and not give_up_s >= 0:
            raise NervehandError(f"give_up_s is {give_up_s}: give seconds, or None to try for ever")
        if not longest_wait_s > 0:
            raise NervehandError(f"longest_wait_s is {longest_wait_s}: give a positive number of seconds")
        if rate_tolerance is not None and not 0 < rate_tolerance < 1:
            raise NervehandError(f"rate_tolerance is {rate_tolerance}: give a share such as 0.1, or None")
        if not rate_window_s > 0:
            raise NervehandError(f"rate_window_s is {rate_window_s}: give a positive number of seconds")
        self._device, self._on_event = device, on_event
        self._give_up_s, self._longest_wait_s = give_up_s, longest_wait_s
        self._rate_tolerance, self._rate_window_s = rate_tolerance, rate_window_s
        self._clock_ns, self._wait = clock_ns, wait
        self._closed = threading.Event()
        self._closed.set()
        self._next: int | None = None  # index of the next sample, None before the first
        self._offset = 0  # from the device's counter to the index
        self._last_ns = 0  # when the last block came
        self._behind_s = 0.0  # how far its samples lay behind the host's clock
        self._lost = self._repeated = self._unsaid = 0
        self._said_ns: int | None = None
        self._rate = self._new_rate()

    @property
    def info(self) -> StreamInfo:
        return self._device.info

    @property
    def counters(self) -> LinkCounters:
        """The device's, with the losses and repetitions of the stream as it is delivered here."""
        of_device = self._device.counters
        repeated = of_device.repeated_samples + self._repeated
        return replace(of_device, lost_samples=self._lost, repeated_samples=repeated)

    def connect(self) -> None:
        closed = self._closed = threading.Event()
        self._device.connect()
        if closed.is_set():  # closed while it connected: nobody else would let it go
            self._device.close()

    def close(self) -> None:
        """End the blocks, also from another thread, and also while the device is waited for."""
        self._closed.set()
        self._device.close()

    def blocks(self) -> Iterator[SignalBlock]:
        return self._delivered(self._closed)

    def _delivered(self, closed: threading.Event) -> Iterator[SignalBlock]:
        outage: _Outage | None = None
        while not closed.is_set():
            held_ns, self._rate = 0, self._new_rate()
            try:
                for block in self._device.blocks():
                    if closed.is_set():
                        return
                    placed = self._placed(block, outage) if block.n_samples else None
                    if placed is None:
                        continue
                    outage = None
                    self._judge_rate(placed, held_ns)
                    yielded_ns = self._clock_ns()
                    yield placed
                    held_ns = self._clock_ns() - yielded_ns
                return
            except SourceLostError as error:
                if closed.is_set():
                    return
                if outage is None:
                    outage = _Outage(self._clock_ns(), error)
                    self._say("lost", str(error), self._next)
            self._device.close()
            if not self._reconnected(outage, closed):
                return

    def _reconnected(self, outage: _Outage, closed: threading.Event) -> bool:
        """Whether the device is connected again; False where it was closed. Waits longer with each attempt."""
        wait = self._wait or closed.wait
        while True:
            away_s = (self._clock_ns() - outage.since_ns) / 1e9
            wait_s = min(_FIRST_WAIT_S * 2.0 ** min(outage.attempts, 30), self._longest_wait_s)
            if self._give_up_s is not None and away_s + wait_s > self._give_up_s:
                raise SourceLostError(
                    f"the front-end did not come back within {self._give_up_s:g} s ({outage.attempts} attempts; "
                    f"first: {outage.error}): check its power and cable, then start again"
                ) from outage.error
            if wait(wait_s) or closed.is_set():
                return False
            outage.attempts += 1
            try:
                self._device.connect()
            except StreamMismatchError as error:
                self._say("mismatch", str(error), self._next)
                raise
            except LinkError as error:
                outage.error = error
                continue
            if closed.is_set():
                self._device.close()
                return False
            return True

    def _placed(self, block: SignalBlock, outage: _Outage | None) -> SignalBlock | None:
        """The block with its place in the stream, less what was delivered before; None where nothing is left."""
        now_ns = block.arrival_ns or self._clock_ns()
        if self._next is None:
            self._next = block.first_sample
        anew = ""
        if self._began_anew(block, now_ns):
            estimated = max(0, round((now_ns - self._last_ns) / 1e9 * self.info.rate_hz) - block.n_samples)
            was = self._next - self._offset
            anew = (
                f"the device counts from {block.first_sample} where {was} was next: "
                f"the loss of {estimated} samples is estimated by the host's clock"
            )
            self._offset = self._next + estimated - block.first_sample
            self._rate = self._new_rate()
        first = block.first_sample + self._offset
        behind = min(max(self._next - first, 0), block.n_samples)
        self._say_repeated(behind, now_ns)
        if behind == block.n_samples:
            return None
        lost = max(first - self._next, 0)
        if outage is not None:
            # by the clock, not by the block's arrival: a port delivers what came during the outage
            away_s = (self._clock_ns() - outage.since_ns) / 1e9
            text = f"after {away_s:.2f} s, {outage.attempts} attempts; {lost} samples lost"
            self._say("reconnected", text, first + behind)
        if anew:
            self._say("began anew", anew, first + behind)
        advanced_s = (first + block.n_samples - self._next) / self.info.rate_hz
        if self._last_ns:
            self._behind_s = max(0.0, self._behind_s + (now_ns - self._last_ns) / 1e9 - advanced_s)
        self._next, self._last_ns = first + block.n_samples, now_ns
        self._lost += lost
        return replace(
            block,
            samples=block.samples[behind:],
            digital=None if block.digital is None else block.digital[behind:],
            first_sample=first + behind,
            lost_before=lost,
        )

    def _began_anew(self, block: SignalBlock, now_ns: int) -> bool:
        """Whether the device's counter is another one than before, not that one gone on or gone back a little."""
        if self._next is None or not self._last_ns:
            return False
        rate_hz = self.info.rate_hz
        ahead = block.first_sample + self._offset - self._next
        since_s = (now_ns - self._last_ns) / 1e9
        if ahead >= 0:
            allowed_s = self._behind_s + since_s * (1 + _DRIFT) + _NEAR_S
            return self._rate_tolerance is not None and ahead > allowed_s * rate_hz
        if -ahead <= _NEAR_S * rate_hz:
            return False
        could_be_new = block.first_sample <= (since_s + _NEAR_S) * rate_hz
        return could_be_new or -ahead > _FAR_S * rate_hz

    def _say_repeated(self, n: int, now_ns: int) -> None:
        self._repeated += n
        self._unsaid += n
        if self._unsaid and (self._said_ns is None or now_ns - self._said_ns >= _SAY_AGAIN_S * 1e9):
            self._say("repeated", f"{self._unsaid} samples came again and were dropped", self._next)
            self._unsaid, self._said_ns = 0, now_ns

    def _judge_rate(self, block: SignalBlock, held_ns: int) -> None:
        if self._rate is None:
            return
        arrival_ns = block.arrival_ns or self._clock_ns()
        measured_hz = self._rate.add(block.first_sample + block.n_samples, arrival_ns, held_ns / 1e9)
        if measured_hz is None:
            return
        text = (
            f"samples come at about {measured_hz:.0f} Hz, not at {self.info.rate_hz:g} Hz: "
            "set the device and the stream to the same rate"
        )
        self._say("rate", text, self._next)
        self._device.close()
        raise StreamMismatchError(text)

    def _new_rate(self) -> ArrivalRate | None:
        if self._rate_tolerance is None:
            return None
        return ArrivalRate(self.info.rate_hz, self._rate_window_s, self._rate_tolerance)

    def _say(self, kind: SourceEventKind, text: str, index: int | None) -> None:
        self._on_event(SourceEvent(index or 0, kind, text))
