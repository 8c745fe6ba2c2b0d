"""The simulated person as samples: what an amplifier at the electrodes would deliver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.anatomy import (
    IMPLANTED,
    N_POOLS,
    NERVE_NAMES,
    Contacts,
    Units,
    contact_nerves,
    contacts_of,
    distance_um,
    fascicles_of,
    muscle_distances_mm,
    units_of,
)
from firmware_bridge.nerve.axon import solve_spike
from firmware_bridge.nerve.contact import axon_waveforms
from firmware_bridge.nerve.draws import Purpose, generator
from firmware_bridge.nerve.firing import Drive, Firing, Spikes
from firmware_bridge.nerve.interference import Artefact, Interference
from firmware_bridge.nerve.motion import CuedMotion, Motion, Schedule, Truth
from firmware_bridge.nerve.muscle import motor_unit_potential
from firmware_bridge.nerve.physiology import Physiology, person_of
from firmware_bridge.nerve.sheath import sheath_waveforms
from firmware_bridge.stream import SignalBlock, StreamInfo

SCALE_UV = 0.195
"""Microvolts per count, as Intan's RHD amplifiers deliver them."""

STIMULATION_LINE = 0
# The unit of generation: shorter than a person's reaction, so that what is asked for now changes no frame made already.
_FRAME_S = 0.05
_PHASES = 8  # of a spike between two samples
_MUSCLE_DELAY_S = 0.003  # electrode to muscle, 10 cm at 50 m/s, and its endplates, 1 ms
_MUSCLE_PLACES = 6  # along its fibres, at which a muscle's units lie
_LEAST_UV = 0.1  # a spike that is nowhere larger is left out: a fortieth of the noise


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the person reaches the electrodes: for taking the signal apart."""

    axons: bool = True
    muscles: bool = True
    interference: bool = True


ALL_PARTS = Parts()


class SimulatedSubject:
    """Subject `number` of a preset on a day, moved by a schedule or by any `Motion`.

    `samples` and `truth` are pure functions of the sample range asked for: the same bits whatever was asked before.
    `crosstalk` False takes the muscles away; `parts` takes the signal apart further. With `stimulation_hz` pulses come
    at that rate and are told on the digital line STIMULATION_LINE.
    """

    def __init__(
        self,
        number: int = 1,
        day: int = 0,
        preset: str = "default",
        n_channels: int = 16,
        rate_hz: float = 10_000.0,
        schedule: Schedule | None = None,
        mains_hz: float = 50.0,
        crosstalk: bool = True,
        stimulation_hz: float = 0.0,
        motion: Motion | None = None,
        parts: Parts = ALL_PARTS,
        person: Physiology | None = None,
    ) -> None:
        # Ten years of days: what each changes is added up from the first one on.
        for what, value, most in (("number", number, (1 << 32) - 1), ("day", day, 3650)):
            if not 0 <= value <= most:
                raise NervehandError(f"the subject's {what} is {value}: give 0 to {most}")
        # The waves of each unit at each contact are made beforehand: 1.3 GB of memory for 1024.
        if not 1 <= n_channels <= 1024:
            raise NervehandError(f"{n_channels} channels: the simulated nerve takes 1 to 1024")
        if not 2000.0 <= rate_hz <= 100_000.0:
            raise NervehandError(f"sampling rate is {rate_hz} Hz: the simulated nerve takes 2000 to 100000")
        if not stimulation_hz >= 0:
            raise NervehandError(f"stimulation at {stimulation_hz} Hz: give zero or a positive number")
        self.number, self.day, self.preset = number, day, preset
        self.schedule = schedule or Schedule()
        person = person_of(preset) if person is None else person
        self.person = person if crosstalk else replace(person, crosstalk=0.0)
        self._parts = parts
        self.info = _describe(n_channels, rate_hz, mains_hz, stimulation_hz)
        self._frame = round(_FRAME_S * rate_hz)
        cued = CuedMotion(person, number, day, rate_hz, self.schedule)
        self._cued_samples = cued.n_samples
        self._motion: Motion = cued if motion is None else motion
        self.units = units_of(person, number, day)
        self.contacts = contacts_of(person, number, day, n_channels)
        drive = Drive(person, number, day, rate_hz, self._motion)
        self.firing = Firing(person, self.units, drive, number, day, self._frame, rate_hz)
        self.interference = Interference(
            person, self.contacts, number, day, self._frame, rate_hz, mains_hz, stimulation_hz
        )
        self._axons = _AxonWaves(self.units, self.contacts, fascicles_of(person, number), rate_hz)
        self._muscles = _MuscleWaves(self.person, self.units, self.contacts, number, rate_hz)
        self._cached = lru_cache(maxsize=4)(self._make_frame)

    @property
    def motion(self) -> Motion:
        """What moves the subject: it drives the motor neurons, so it is given once, when the subject is made."""
        return self._motion

    @property
    def n_session_samples(self) -> int:
        """How long the cued session is; afterwards the cues begin again."""
        return self._cued_samples

    def truth(self, first: int, n: int) -> Truth:
        """Positions and labels of samples first .. first + n - 1."""
        return self._motion.truth(np.arange(first, first + n))

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

    def digital(self, first: int, n: int) -> NDArray[np.uint32] | None:
        """The digital lines (n,), None where the front-end has none."""
        if not self.info.stimulation_lines:
            return None
        return self.interference.is_stimulating(np.arange(first, first + n)).astype(np.uint32) << np.uint32(
            STIMULATION_LINE
        )

    def block(self, first: int, n: int) -> SignalBlock:
        """Samples first .. first + n - 1 as a front-end delivers them."""
        return SignalBlock(self.samples(first, n), first, scale_uv=SCALE_UV, digital=self.digital(first, n))

    def artefacts(self, first: int, n: int) -> tuple[Artefact, ...]:
        """What is not nerve and not noise in these samples."""
        return self.interference.artefacts(first, n)

    def microvolts(self, frame: int) -> NDArray[np.float64]:
        """A frame (n, c) before the converter."""
        out = np.zeros((self._frame, self.info.n_channels))
        if self._parts.axons:
            out += self._axons.frame(self.firing, frame, self._frame)
        if self._parts.muscles and self.person.crosstalk:
            out += self._muscles.frame(self.firing, frame, self._frame)
        out *= self.contacts.gain
        if self._parts.interference:
            out += self.interference.frame(frame)
        return out

    def _make_frame(self, frame: int) -> NDArray[np.int16]:
        counts = np.rint(self.microvolts(frame) / SCALE_UV)
        return np.clip(counts, -32768, 32767).astype(np.int16)


class _AxonWaves:
    """Every axon's spike at the contacts of its fascicle, and their sum."""

    def __init__(
        self, units: Units, contacts: Contacts, fascicle_um: NDArray[np.float64], rate_hz: float
    ) -> None:
        distance = distance_um(units, contacts)
        pairs = np.argwhere(np.isfinite(distance))
        unit, contact = pairs[:, 0], pairs[:, 1]
        self._n_channels = len(contacts.nerve)
        self._waves: list[NDArray[np.float64]] = [np.zeros((0, 0, 0))] * len(units)
        self._is_heard = np.zeros(len(units), np.bool_)
        self._channels: list[slice] = [slice(0)] * len(units)
        # Contacts of one fascicle side by side, so that a spike is added to all of them at once.
        self._order = np.lexsort((contacts.fascicle, contacts.nerve))
        place = np.argsort(self._order)
        if not len(pairs):
            self._length = 1
            return
        waveforms = axon_waveforms(
            solve_spike(), units.diameter_um[unit], distance[unit, contact], units.node_offset[unit], rate_hz,
            n_phases=_PHASES,
        )  # fmt: skip
        shared = sheath_waveforms(
            solve_spike(), units.diameter_um[unit], fascicle_um[units.nerve[unit], units.fascicle[unit]], rate_hz,
            n_phases=_PHASES,
        )  # fmt: skip
        seen = waveforms.microvolts + shared.microvolts
        self._length = seen.shape[-1]
        for u in np.unique(unit):
            of_unit = np.flatnonzero(unit == u)
            of_unit = of_unit[np.argsort(place[contact[of_unit]])]
            wave = seen[of_unit]  # (contacts, phases, samples)
            if np.ptp(wave, axis=-1).max() >= _LEAST_UV:
                self._is_heard[u] = True
                first = int(place[contact[of_unit[0]]])
                self._waves[u] = np.ascontiguousarray(wave.transpose(1, 2, 0))
                self._channels[u] = slice(first, first + len(of_unit))

    def frame(self, firing: Firing, frame: int, n: int) -> NDArray[np.float64]:
        spikes = _reaching(firing, frame, n, self._length, self._is_heard)
        whole = np.floor(spikes.at)
        phase = ((spikes.at - whole) * _PHASES).astype(np.int64)
        start = whole.astype(np.int64) - frame * n + self._length
        sums = np.zeros((n + 2 * self._length, self._n_channels))
        for u, p, at in zip(spikes.unit.tolist(), phase.tolist(), start.tolist(), strict=True):
            sums[at : at + self._length, self._channels[u]] += self._waves[u][p]
        out = np.empty((n, self._n_channels))
        out[:, self._order] = sums[self._length : self._length + n]
        return out


class _MuscleWaves:
    """Every motor unit's potential at each nerve, and their sum at its contacts."""

    def __init__(
        self, person: Physiology, units: Units, contacts: Contacts, subject: int, rate_hz: float
    ) -> None:
        draws = generator(subject, Purpose.MUSCLE, number=1)
        distance_mm = muscle_distances_mm(person, subject)
        along_mm = draws.uniform(-30.0, 60.0, (N_POOLS, _MUSCLE_PLACES))
        shapes = np.array(
            [
                [
                    [
                        motor_unit_potential(distance_mm[pool, nerve], along_mm[pool, place], rate_hz)
                        for nerve in IMPLANTED
                    ]
                    for place in range(_MUSCLE_PLACES)
                ]
                for pool in range(N_POOLS)
            ]
        )
        place = draws.integers(0, _MUSCLE_PLACES, len(units))
        self._waves = person.crosstalk * units.muscle_size[:, None, None] * shapes[units.pool, place]
        self._is_heard = units.muscle_size > 0
        self._pool = units.pool
        self._length = shapes.shape[-1]
        self._delay = round(_MUSCLE_DELAY_S * rate_hz)
        # (N_POOLS * nerves, c): each contact listens to the sums of its own nerve.
        own = contacts.nerve == np.array(IMPLANTED)[:, None]
        self._mix = (contacts.crosstalk.T[:, None] * own).reshape(-1, len(contacts.nerve))

    def frame(self, firing: Firing, frame: int, n: int) -> NDArray[np.float64]:
        reach = self._length + self._delay
        spikes = _reaching(firing, frame, n, reach, self._is_heard)
        start = np.rint(spikes.at).astype(np.int64) - frame * n + reach + self._delay
        sums = np.zeros((N_POOLS, len(IMPLANTED), n + 2 * reach))
        for u, pool, at in zip(
            spikes.unit.tolist(), self._pool[spikes.unit].tolist(), start.tolist(), strict=True
        ):
            sums[pool, :, at : at + self._length] += self._waves[u]
        return np.asarray(sums[:, :, reach : reach + n].reshape(len(self._mix), n).T @ self._mix)


def _reaching(firing: Firing, frame: int, n: int, reach: int, is_heard: NDArray[np.bool_]) -> Spikes:
    """The spikes of the units that are heard, whose `reach` samples end in a frame of n samples or later."""
    earliest = (frame * n - reach) // n
    found = [firing.spikes(number) for number in range(earliest, frame + 1)]
    unit, at = np.concatenate([s.unit for s in found]), np.concatenate([s.at for s in found])
    kept = is_heard[unit] & (at >= frame * n - reach)
    return Spikes(unit[kept], at[kept])


def _describe(n_channels: int, rate_hz: float, mains_hz: float, stimulation_hz: float) -> StreamInfo:
    nerves = contact_nerves(n_channels)
    return StreamInfo(
        rate_hz=rate_hz,
        channel_names=tuple(f"ch{i:02d}" for i in range(n_channels)),
        kind="nerve",
        electrodes=tuple(f"{NERVE_NAMES[nerve]}/{i:02d}" for i, nerve in enumerate(nerves)),
        nerve=", ".join(NERVE_NAMES),
        full_scale_uv=32767 * SCALE_UV,
        hardware_band_hz=(0.1, 0.45 * rate_hz),
        mains_hz=mains_hz,
        stimulation_lines=(STIMULATION_LINE,) if stimulation_hz > 0 else (),
    )
