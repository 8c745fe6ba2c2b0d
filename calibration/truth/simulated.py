"""The simulated subject's able hand, as a glove would measure it: `simulated[:PRESET[/SUBJECT[/DAY]]]`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.truth import Side, TruthBlock, TruthInfo
from calibration.truth._where import parse_where, side_of
from calibration.truth.hand_joints import BY_NAME, JOINT_NAMES, MIRROR
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.nerve.motion import CuedMotion, Motion, Schedule
from firmware_bridge.nerve.person_address import person_at
from firmware_bridge.nerve.physiology import COHORT, PRESETS, person_of
from firmware_bridge.physics import anatomy
from firmware_bridge.sources import Found

ADDRESS = "simulated[:PRESET[/SUBJECT[/DAY]]][?side=left|right]"
NERVE_RATE_HZ = 10_000.0
"""Of the simulated subject's front-end, by default."""

_POLL_S = 0.005
_DRAWN = 256  # readings whose noise is drawn at once
_KEY = 0x54525554  # beside the keys of the nerve's own draws (firmware_bridge.nerve.draws)
_SPREAD_RAD = math.radians(15.0)  # of an opened finger away from the middle one: chosen


@dataclass(frozen=True, slots=True)
class Imperfections:
    """What a real glove adds. Angles in radians; `noise_rad` is a standard deviation, `resolution_rad` the step of its
    converter, 0 for none.

    `lag_s` is how much later the able hand moves than the phantom. The device's clock runs `drift_ppm` faster than the
    nerve's samples, and stands at `offset_s` at sample 0. A reading takes `latency_s` to the host and up to `jitter_s`
    more, but never overtakes another.
    """

    noise_rad: float = math.radians(0.5)
    resolution_rad: float = math.radians(0.1)
    lag_s: float = 0.0
    drift_ppm: float = 0.0
    offset_s: float = 0.0
    latency_s: float = 0.0
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("noise_rad", "resolution_rad", "latency_s", "jitter_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise NervehandError(f"the simulated glove's {name} is {getattr(self, name)}: give 0 or more")
        for name in ("lag_s", "offset_s", "drift_ppm"):
            if not math.isfinite(getattr(self, name)):
                raise NervehandError(f"the simulated glove's {name} is {getattr(self, name)}: give a number")
        if not abs(self.drift_ppm) < 1e6:
            raise NervehandError(
                f"the simulated glove's drift is {self.drift_ppm} ppm: give less than a million"
            )


IMPERFECT = Imperfections()


_NOTHING = TruthBlock(np.zeros((0, len(JOINT_NAMES)), np.float32), np.zeros(0), np.zeros(0, np.int64))


class SimulatedTruth:
    """The able hand of whoever makes `motion`, as angles in radians of all JOINTS.

    Time is the nerve's: `nerve_rate_hz` samples a second, sample 0 the motion's index 0. Reading i (i = 0, 1, ...) is
    taken at t = i / rate_hz seconds of that time, of the posture that the phantom has `lag_s` before: the motion's
    position at sample round((t - lag_s) * nerve_rate_hz). Its `device_s` is t * (1 + drift_ppm / 1e6) + offset_s. It
    reaches the host at t plus its latency; values, stamps and latencies are functions of `seed` and i alone.

    `readings_until(sample_index, arrival_ns)` gives every reading that has reached the host, and was not given before,
    when the nerve has delivered the samples below `sample_index` and the host's clock says `arrival_ns`: those due
    at or before time sample_index / nerve_rate_hz. Its `arrival_ns` is as much before the argument as it was due
    before that time. So blocks are the same readings however they are cut, and arrive alike where the argument goes
    with the samples. The first call gives what was taken from sample `first_sample` on; nothing is given twice; the
    index may not go back.

    `blocks` rests on it. Its clock is `sample_clock`, which says how many samples the nerve has delivered by
    now; without one it is the host's clock, and sample `first_sample` is when `connect` was first called.
    """

    def __init__(
        self,
        motion: Motion,
        nerve_rate_hz: float = NERVE_RATE_HZ,
        *,
        rate_hz: float = 100.0,
        side: Side = "right",
        imperfections: Imperfections = IMPERFECT,
        seed: int = 0,
        first_sample: int = 0,
        sample_clock: Callable[[], int] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        for name, rate in (("nerve's", nerve_rate_hz), ("glove's", rate_hz)):
            if not 0 < rate < math.inf:
                raise NervehandError(f"the simulated {name} rate is {rate} Hz: give a positive number")
        if not 0 <= seed < 1 << 32 or first_sample < 0:
            raise NervehandError(f"seed {seed}, first sample {first_sample}: give 0 or more")
        self._motion, self._nerve_rate_hz, self._rate_hz = motion, nerve_rate_hz, rate_hz
        self._of, self._seed = imperfections, seed
        self._sample_clock, self._clock_ns = sample_clock, clock_ns
        d = len(JOINT_NAMES)
        self.info = TruthInfo("simulated glove", JOINT_NAMES, ("rad",) * d, JOINT_NAMES, rate_hz, side)
        self._signs = np.array(
            [1.0 if side == "right" else MIRROR[BY_NAME[joint].kind].sign for joint in JOINT_NAMES]
        )
        self._first_sample = self._last_index = first_sample
        self._next = math.ceil(first_sample * rate_hz / nerve_rate_hz)
        self._begun_ns: int | None = None
        self._frozen: tuple[tuple[int, int], ...] = ()
        self._hidden: tuple[tuple[int, int], ...] = ()
        self._closed = threading.Event()
        self._closed.set()
        self._wait = self._closed.wait if wait is None else wait
        self._drawn = lru_cache(maxsize=4)(self._draw)

    def connect(self) -> None:
        self._closed.clear()
        if self._begun_ns is None:
            self._begun_ns = self._clock_ns()

    def close(self) -> None:
        self._closed.set()

    def blocks(self) -> Iterator[TruthBlock]:
        while not self._closed.is_set():
            now_ns = self._clock_ns()
            block = self.readings_until(self._samples_by(now_ns), now_ns)
            if len(block):
                yield block
            elif self._wait(_POLL_S):
                return

    def freeze(self, from_sample: int, to_sample: int) -> None:
        """A reading taken from `from_sample` on and before `to_sample` is the one before it over again, bit for bit."""
        self._frozen = (*self._frozen, _span(from_sample, to_sample))

    def hide(self, from_sample: int, to_sample: int) -> None:
        """Readings taken then are NaN: nobody sees the hand."""
        self._hidden = (*self._hidden, _span(from_sample, to_sample))

    def readings_until(self, sample_index: int, arrival_ns: int) -> TruthBlock:
        """See the class."""
        if sample_index < self._last_index:
            raise NervehandError(
                f"the simulated glove stands at sample {self._last_index} and is asked for {sample_index}: "
                "ask in ascending order"
            )
        self._last_index = sample_index
        now_s = sample_index / self._nerve_rate_hz
        last = math.floor((now_s - self._of.latency_s) * self._rate_hz + 1e-9)
        if last < self._next:
            return _NOTHING
        number = np.arange(self._next, last + 1, dtype=np.int64)
        due_s = self._due_s(number)
        number = number[: int(np.searchsorted(due_s, now_s + 1e-12, side="right"))]
        if not len(number):
            return _NOTHING
        due_s = due_s[: len(number)]
        self._next += len(number)
        taken_s = number / self._rate_hz
        return TruthBlock(
            self._values(number),
            taken_s * (1 + self._of.drift_ppm / 1e6) + self._of.offset_s,
            arrival_ns - np.round((now_s - due_s) * 1e9).astype(np.int64),
        )

    def _samples_by(self, now_ns: int) -> int:
        if self._sample_clock is not None:
            return self._sample_clock()
        begun_ns = now_ns if self._begun_ns is None else self._begun_ns
        return self._first_sample + math.floor((now_ns - begun_ns) / 1e9 * self._nerve_rate_hz)

    def _due_s(self, number: NDArray[np.int64]) -> NDArray[np.float64]:
        """When readings reach the host (n,), ascending: none overtakes another.

        Those before `number` have reached it, so they hold none of these up.
        """
        delay_s = self._of.latency_s + self._of.jitter_s * self._of_readings(number)[:, -1]
        return np.asarray(np.maximum.accumulate(number / self._rate_hz + delay_s))

    def _values(self, number: NDArray[np.int64]) -> NDArray[np.float32]:
        sample = np.floor(number * self._nerve_rate_hz / self._rate_hz + 1e-9).astype(np.int64)
        shown = number.copy()
        for begin, end in self._frozen:
            before = math.ceil(begin * self._rate_hz / self._nerve_rate_hz - 1e-9) - 1
            shown[(sample >= begin) & (sample < end)] = max(0, before)
        moved = np.round((shown / self._rate_hz - self._of.lag_s) * self._nerve_rate_hz).astype(np.int64)
        angles = self._angles(self._motion.positions(moved))
        angles = angles + self._of.noise_rad * self._of_readings(shown)[:, :-1]
        if self._of.resolution_rad:
            angles = np.round(angles / self._of.resolution_rad) * self._of.resolution_rad
        for begin, end in self._hidden:
            angles[(sample >= begin) & (sample < end)] = np.nan
        return angles.astype(np.float32)

    def _angles(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, 6) positions as angles (k, n_joints) of the measured hand."""
        flexed, extended = np.maximum(positions, 0) @ _FLEXES, np.minimum(positions, 0) @ _EXTENDS
        return np.asarray((_AT_REST + flexed + extended) * self._signs)

    def _of_readings(self, number: NDArray[np.int64]) -> NDArray[np.float64]:
        """(k, n_joints + 1): standard normal noise by joint, and the jitter's part, 0..1."""
        out = np.empty((len(number), len(JOINT_NAMES) + 1))
        batch = number // _DRAWN
        for one in np.unique(batch).tolist():
            of_batch = batch == one
            out[of_batch] = self._drawn(one)[number[of_batch] % _DRAWN]
        return out

    def _draw(self, batch: int) -> NDArray[np.float64]:
        draws = np.random.Generator(np.random.Philox(key=[self._seed, _KEY], counter=[0, 0, batch, 0]))
        normal = draws.standard_normal((_DRAWN, len(JOINT_NAMES)))
        return np.column_stack([normal, draws.random(_DRAWN)])


def _span(begin: int, end: int) -> tuple[int, int]:
    if not 0 <= begin < end:
        raise NervehandError(f"samples {begin} to {end}: give an ascending range from 0 on")
    return begin, end


def _joint_map() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Angles at rest (n_joints,), and what a position 1 and a position -1 add to and take from them, (6, n_joints)."""
    rest, flexes, extends = (
        np.zeros(len(JOINT_NAMES)),
        np.zeros((6, len(JOINT_NAMES))),
        np.zeros((6, len(JOINT_NAMES))),
    )
    for joint in anatomy.JOINTS.joints:
        column = JOINT_NAMES.index("wrist flexion" if joint.name == "wrist" else joint.name)
        (dof,) = joint.follows
        row = DOF_NAMES.index(dof)
        rest[column] = joint.rest
        flexes[row, column] = joint.flexed - joint.rest
        extends[row, column] = 0.0 if joint.extended is None else joint.rest - joint.extended
    for finger, way in (("index", 1.0), ("ring", -1.0), ("little", -1.0)):  # opened fingers spread
        extends[DOF_NAMES.index(finger), JOINT_NAMES.index(f"{finger} abduction")] = -way * _SPREAD_RAD
    return rest, flexes, extends


_AT_REST, _FLEXES, _EXTENDS = _joint_map()


def find() -> tuple[Found, ...]:
    """Always there."""
    return tuple(
        Found(
            f"simulated:{name}", f"the able hand of a simulated subject, {name}; {COHORT[0]} to {COHORT[-1]}"
        )
        for name in PRESETS
    )


def open_truth(where: str) -> SimulatedTruth:
    """The able hand of the subject at PRESET/SUBJECT/DAY (default, 1 and 0), following its cues from sample 0 on."""
    place, options = parse_where(ADDRESS, where, {"side": "right"})
    side = side_of(options["side"])
    preset, number, day = person_at(place, ADDRESS)
    motion = CuedMotion(person_of(preset), number, day, NERVE_RATE_HZ, Schedule())
    return SimulatedTruth(motion, side=side, seed=number)
