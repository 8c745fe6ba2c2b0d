"""A simulated subject: six degrees of freedom moved by cue, motor units that fire for them, 16 electrodes.

A stand-in for a person until one is there, for demonstrations and tests: units recruited by position and
speed, spikes of axons and of nearby muscle, amplifier noise and mains. Every value is a pure function of the
seed and of the sample index (counter-based generators), so any cutting into blocks gives the same bits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.pacing import paced
from firmware_bridge.stream import SignalBlock, StreamInfo

GESTURES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("rest", (0, 0, 0, 0, 0, 0)),
    ("thumb", (1, 0, 0, 0, 0, 0)),
    ("index", (0, 1, 0, 0, 0, 0)),
    ("middle", (0, 0, 1, 0, 0, 0)),
    ("ring", (0, 0, 0, 1, 0, 0)),
    ("little", (0, 0, 0, 0, 1, 0)),
    ("fist", (1, 1, 1, 1, 1, 0)),
    ("wrist flexion", (0, 0, 0, 0, 0, 1)),
    ("wrist extension", (0, 0, 0, 0, 0, -1)),
)
"""Gesture names with their posture in the order of DOF_NAMES."""

SCALE_UV = 0.195
"""Microvolts per count, as Intan's RHD amplifiers deliver them."""

_FRAME_S = 0.1  # the unit of generation: each frame is a pure function of (seed, frame number)
_UNITS_PER_DIRECTION = 6
_PEAK_RATE_HZ = 60.0  # upper end of motor-unit rates in strong contractions
_NOISE_UV = 4.0  # amplifier and thermal noise, r.m.s.
_MAINS_UV = 2.0
_AXON_S, _MUSCLE_S = 0.0015, 0.008  # duration of an axonal spike and of a motor-unit potential far off


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cued trials: rest, a ramp, a hold and a ramp back, for each gesture in each repetition, shuffled."""

    repetitions: int = 10
    rest_s: float = 1.5
    ramp_s: float = 0.3
    hold_s: float = 1.2

    def __post_init__(self) -> None:
        if self.repetitions < 1:
            raise NervehandError(f"{self.repetitions} repetitions: give at least one")
        for name in ("rest_s", "ramp_s", "hold_s"):
            if not getattr(self, name) > 0:
                raise NervehandError(
                    f"schedule.{name} is {getattr(self, name)}: give a positive number of seconds"
                )

    @property
    def trial_s(self) -> float:
        return self.rest_s + 2 * self.ramp_s + self.hold_s


@dataclass(frozen=True, slots=True)
class Truth:
    """What the subject really does, per sample: positions (n, 6) float32 in -1..1; gesture (n,) int16;
    trial (n,) int32 from 1, each a movement with half of the rest on either side; repetition (n,) int16."""

    positions: NDArray[np.float32]
    gesture: NDArray[np.int16]
    trial: NDArray[np.int32]
    repetition: NDArray[np.int16]


class SimulatedSubject:
    """A seeded person. `samples` and `truth` are pure functions of the sample range asked for."""

    def __init__(
        self,
        seed: int = 1,
        n_channels: int = 16,
        rate_hz: float = 10_000.0,
        schedule: Schedule | None = None,
        mains_hz: float = 50.0,
    ) -> None:
        if seed < 0:
            raise NervehandError(f"seed is {seed}: give zero or a positive integer")
        if rate_hz < 2000.0:
            raise NervehandError(f"sampling rate is {rate_hz} Hz: the simulated nerve needs at least 2000")
        self.seed = seed
        self.schedule = schedule or Schedule()
        self.info = StreamInfo(
            rate_hz=rate_hz,
            channel_names=tuple(f"ch{i:02d}" for i in range(n_channels)),
            kind="nerve",
            electrodes=tuple(
                f"{'median' if i < n_channels // 2 else 'ulnar'}/{i:02d}" for i in range(n_channels)
            ),
            nerve="median, ulnar",
            full_scale_uv=32767 * SCALE_UV,
            mains_hz=mains_hz,
        )
        self._frame = round(_FRAME_S * rate_hz)
        self._units = _units(seed, n_channels, rate_hz)
        self._order = _trial_order(seed, self.schedule.repetitions)
        self._cached = lru_cache(maxsize=4)(self._make_frame)
        self._cached_spikes = lru_cache(maxsize=4)(self._spikes)

    @property
    def n_session_samples(self) -> int:
        """How long the cued session is; afterwards the cues begin again."""
        return round(len(self._order) * self.schedule.trial_s * self.info.rate_hz)

    def truth(self, first: int, n: int) -> Truth:
        """Positions and labels of samples first .. first + n - 1."""
        return self._truth_at(np.arange(first, first + n))

    def _truth_at(self, index: NDArray[np.int64]) -> Truth:
        s = self.schedule
        t_s = (index % self.n_session_samples) / self.info.rate_hz
        number = np.minimum((t_s / s.trial_s).astype(np.int64), len(self._order) - 1)
        in_trial_s = t_s - number * s.trial_s - s.rest_s / 2
        up = _minimum_jerk(in_trial_s / s.ramp_s)
        down = _minimum_jerk((in_trial_s - s.ramp_s - s.hold_s) / s.ramp_s)
        cued = self._order[number]
        postures = np.array([posture for _, posture in GESTURES], np.float64)
        positions = postures[cued] * (up - down)[:, None]
        moving = (in_trial_s >= 0) & (in_trial_s < 2 * s.ramp_s + s.hold_s)
        n_movements = len(GESTURES) - 1
        return Truth(
            positions.astype(np.float32),
            np.where(moving, cued, 0).astype(np.int16),
            (number + 1).astype(np.int32),
            (number // n_movements + 1).astype(np.int16),
        )

    def samples(self, first: int, n: int) -> NDArray[np.int16]:
        """(n, n_channels) int16 counts of SCALE_UV microvolts."""
        out = np.empty((n, self.info.n_channels), np.int16)
        done = 0
        while done < n:
            frame, offset = divmod(first + done, self._frame)
            take = min(n - done, self._frame - offset)
            out[done : done + take] = self._cached(frame)[offset : offset + take]
            done += take
        return out

    def _make_frame(self, frame: int) -> NDArray[np.int16]:
        first, n, c = frame * self._frame, self._frame, self.info.n_channels
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, frame]))
        out = generator.standard_normal((n, c), dtype=np.float32) * np.float32(_NOISE_UV)
        phase = 2 * np.pi * self.info.mains_hz * np.arange(first, first + n) / self.info.rate_hz
        out += (_MAINS_UV * np.sin(phase)).astype(np.float32)[:, None]
        # A spike of the frame before reaches into this one.
        for of_frame in (frame - 1, frame) if frame else (frame,):
            for start, waveform in self._cached_spikes(of_frame):
                begin, end = max(start, first), min(start + waveform.shape[0], first + n)
                if begin < end:
                    out[begin - first : end - first] += waveform[begin - start : end - start]
        counts: NDArray[np.int16] = np.clip(np.rint(out / np.float32(SCALE_UV)), -32768, 32767).astype(
            np.int16
        )
        return counts

    def _spikes(self, frame: int) -> list[tuple[int, NDArray[np.float32]]]:
        """(first sample, waveform) of every spike that starts in a frame: one chance per unit and slot."""
        n_slots = round(_FRAME_S * _PEAK_RATE_HZ * 2)
        slot = self._frame / n_slots
        generator = np.random.Generator(np.random.Philox(key=self.seed + (1 << 64), counter=[0, 0, 0, frame]))
        chance = generator.random((n_slots, len(self._units)))
        jitter = generator.random((n_slots, len(self._units)))
        first = frame * self._frame
        # Intent leads motion: units follow position and the speed towards it.
        instants = first + (np.arange(n_slots) * slot).astype(np.int64)
        now = self._truth_at(instants).positions
        later = self._truth_at(instants + round(0.05 * self.info.rate_hz)).positions
        drive = now + 0.5 * (later - now)
        found: list[tuple[int, NDArray[np.float32]]] = []
        for u, unit in enumerate(self._units):
            effort = np.clip(unit.direction * drive[:, unit.dof], 0.0, 1.0)
            recruited = np.clip((effort - unit.threshold) / (1 - unit.threshold), 0.0, 1.0)
            rate_hz = np.where(effort > unit.threshold, 8.0 + (_PEAK_RATE_HZ - 8.0) * recruited, unit.idle_hz)
            fires = chance[:, u] < rate_hz * slot / self.info.rate_hz
            for k in np.flatnonzero(fires):
                found.append((first + int((k + 0.5 * jitter[k, u]) * slot), unit.waveform))
        return found


@dataclass(frozen=True, slots=True)
class _Unit:
    dof: int
    direction: int
    threshold: float
    idle_hz: float
    waveform: NDArray[np.float32]  # (samples, channels) in microvolts


def _units(seed: int, n_channels: int, rate_hz: float) -> tuple[_Unit, ...]:
    generator = np.random.Generator(np.random.Philox(key=seed + (2 << 64)))
    units: list[_Unit] = []
    directions = [(dof, 1) for dof in range(N_DOF)] + [(DOF_NAMES.index("wrist"), -1)]
    for dof, direction in directions:
        centre = generator.uniform(0, n_channels)
        for k in range(_UNITS_PER_DIRECTION):
            axonal = k % 2 == 0
            distance = np.abs(np.arange(n_channels) - centre - generator.normal(0, 0.7))
            distance = np.minimum(distance, n_channels - distance)
            reach = 1.2 if axonal else 2.5
            amplitude = generator.lognormal(np.log(30.0 if axonal else 18.0), 0.3)
            tuning = amplitude * np.exp(-0.5 * (distance / reach) ** 2)
            shape = _waveform(_AXON_S if axonal else _MUSCLE_S, rate_hz)
            waveform = (shape[:, None] * tuning * generator.choice([-1.0, 1.0])).astype(np.float32)
            threshold = float(0.05 + 0.6 * k / _UNITS_PER_DIRECTION)
            units.append(_Unit(dof, direction, threshold, 0.3, waveform))
    return tuple(units)


def _waveform(duration_s: float, rate_hz: float) -> NDArray[np.float64]:
    """A biphasic spike with a longer, lower return: the derivative of a Gaussian under a decay; peak 1."""
    t = np.arange(round(duration_s * rate_hz)) / (duration_s * rate_hz)
    shape = -(t - 0.3) * np.exp(-0.5 * ((t - 0.3) / 0.12) ** 2)
    return np.asarray(shape / np.abs(shape).max())


def _trial_order(seed: int, repetitions: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(key=seed + (3 << 64)))
    movements = np.arange(1, len(GESTURES))
    return np.concatenate([generator.permutation(movements) for _ in range(repetitions)])


def _minimum_jerk(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 to 1 over x in 0..1 (Flash and Hogan, J. Neurosci. 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))


class SimulatedSource:
    """The subject as a front-end: blocks paced by their own samples, or as fast as asked for.

    Begins at `first_sample` of the subject's life. `is_paced` False drops the waiting; the samples are the
    same. `clock_ns` is the host's clock, and `wait` how its passing is waited for (see `paced`).
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
    ) -> None:
        if block_samples < 1:
            raise NervehandError(f"blocks of {block_samples} samples: give at least one")
        self._subject, self._block_samples, self._n_samples = subject, block_samples, n_samples
        self._is_paced, self._clock_ns = is_paced, clock_ns
        self._first_sample = first_sample
        self._closed = threading.Event()
        self._closed.set()
        self._wait = self._closed.wait if wait is None else wait

    @property
    def info(self) -> StreamInfo:
        return self._subject.info

    def connect(self) -> None:
        self._closed.clear()

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
            yield SignalBlock(self._subject.samples(first, n), first, scale_uv=SCALE_UV)
            done += n

    def close(self) -> None:
        """End the blocks, also from another thread while they are waited for."""
        self._closed.set()
