"""The simulated person as a front-end: `simulated`, or `simulated:PRESET/SUBJECT/DAY`; with `?steered` it follows what
is asked of it (`SimulatedSource.intend`), not cues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import N_DOF
from firmware_bridge.nerve.motion import GESTURES, SteeredMotion
from firmware_bridge.nerve.person_address import person_at
from firmware_bridge.nerve.physiology import COHORT, PRESETS, person_of
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.pacing import paced
from firmware_bridge.sources import Found
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo
from firmware_bridge.supervised import SourceEvent

ADDRESS = "simulated[:PRESET[/SUBJECT[/DAY]]][?steered]"
STEERED = "?steered"
RATE_HZ = 10_000.0
BLOCK_S = 0.002  # what a front-end delivers at a time: no more than the delay line of channel health


@dataclass(frozen=True, slots=True)
class _Intention:
    posture: tuple[float, ...]
    label: int
    ramp_s: float | None


class SimulatedSource:
    """Blocks of the subject, paced by their own samples, or as fast as they are taken.

    Begins at `first_sample` of the subject's day. `is_paced` False drops the waiting; the samples are the same.
    `clock_ns` is the host's clock, and `wait` how its passing is waited for (see `paced`). `on_event` hears of what
    `steer` asked for, before the first block that may hold it.
    """

    def __init__(
        self,
        subject: SimulatedSubject,
        block_samples: int,
        n_samples: int | None = None,
        is_paced: bool = True,
        first_sample: int = 0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
        on_event: Callable[[SourceEvent], None] = lambda event: None,
    ) -> None:
        if block_samples < 1:
            raise NervehandError(f"blocks of {block_samples} samples: give at least one")
        self._subject, self._block_samples, self._n_samples = subject, block_samples, n_samples
        self._is_paced, self._clock_ns = is_paced, clock_ns
        self._first_sample = first_sample
        self._closed = threading.Event()
        self._closed.set()
        self._wait = self._closed.wait if wait is None else wait
        self.counters = LinkCounters()
        self._on_event = on_event
        self._asked: SimpleQueue[int | _Intention] = SimpleQueue()

    @property
    def info(self) -> StreamInfo:
        return self._subject.info

    def connect(self) -> None:
        self._closed.clear()
        self.counters.connections += 1

    def blocks(self) -> Iterator[SignalBlock]:
        blocks = self._unpaced()
        return paced(blocks, self.info.rate_hz, self._wait, self._clock_ns) if self._is_paced else blocks

    def _unpaced(self) -> Iterator[SignalBlock]:
        done = 0
        while not self._closed.is_set() and (self._n_samples is None or done < self._n_samples):
            n = self._block_samples
            if self._n_samples is not None:
                n = min(n, self._n_samples - done)
            first = self._first_sample + done
            self._take_inputs(first)
            block = self._subject.block(first, n)
            self.counters.frames += 1
            yield block
            done += n

    def steer(self, gesture: int) -> None:
        """From the next block on the subject intends this gesture (an index of GESTURES); from any thread.

        Raises NervehandError where the subject follows cues instead, or there is no such gesture.
        """
        self._require_steered()
        if not 0 <= gesture < len(GESTURES):
            raise NervehandError(f"gesture {gesture}: use 0 to {len(GESTURES) - 1}")
        self._asked.put(gesture)

    def intend(self, posture: Sequence[float], label: int = 0, ramp_s: float | None = None) -> None:
        """From the next block on the subject intends a posture of six positions in -1..1; from any thread.

        See `SteeredMotion.intend`. Raises NervehandError where the subject follows cues, or that is no posture.
        """
        self._require_steered()
        asked = tuple(float(position) for position in posture)
        if len(asked) != N_DOF or not all(-1 <= position <= 1 for position in asked):
            raise NervehandError(f"the posture is {asked}: give {N_DOF} positions in -1..1")
        self._asked.put(_Intention(asked, label, ramp_s))

    def _require_steered(self) -> None:
        if not isinstance(self._subject.motion, SteeredMotion):
            raise NervehandError(
                "this simulated subject follows cues: give it a SteeredMotion to move it by hand"
            )

    def _take_inputs(self, sample_index: int) -> None:
        motion = self._subject.motion
        while not self._asked.empty() and isinstance(motion, SteeredMotion):
            asked = self._asked.get()
            if isinstance(asked, _Intention):
                motion.intend(sample_index, asked.posture, asked.label, asked.ramp_s)
                text = ", ".join(f"{position:g}" for position in asked.posture)
                self._on_event(SourceEvent(sample_index, "intention", text, asked.label))
            else:
                motion.ask(sample_index, asked)
                self._on_event(SourceEvent(sample_index, "input", GESTURES[asked][0], asked))

    def close(self) -> None:
        """End the blocks, also from another thread while they are waited for."""
        self._closed.set()


def find() -> tuple[Found, ...]:
    """Always there."""
    return tuple(
        Found(f"simulated:{name}", f"simulated nerve, {name}; subjects {COHORT[0]} to {COHORT[-1]}")
        for name in PRESETS
    )


def open_device(
    where: str,
    is_paced: bool = True,
    on_event: Callable[[SourceEvent], None] = lambda event: None,
) -> SimulatedSource:
    """The subject at PRESET/SUBJECT/DAY; what is left out is default, 1 and 0. See SimulatedSource for the others."""
    is_steered = where.endswith(STEERED)
    preset, number, day = person_at(where.removesuffix(STEERED), ADDRESS)
    motion = SteeredMotion(person_of(preset), number, day, RATE_HZ) if is_steered else None
    subject = SimulatedSubject(number, day, preset, rate_hz=RATE_HZ, motion=motion)
    return SimulatedSource(
        subject, round(BLOCK_S * subject.info.rate_hz), is_paced=is_paced, on_event=on_event
    )
