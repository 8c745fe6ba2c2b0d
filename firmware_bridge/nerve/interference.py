"""What an electrode records that is not the person's intent: noise, mains, slow wander, artefacts, stimulation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.nerve.anatomy import Contacts
from firmware_bridge.nerve.contact import anti_alias
from firmware_bridge.nerve.draws import NumberedDraws, Purpose, generator, smooth_noise
from firmware_bridge.nerve.physiology import Physiology

_NOISE_REFERENCE_HZ = 4500.0  # the band in which `noise_uv` is meant
_PINK_HZ = (3.0, 300.0)
_TAPS = 129
_BASELINE_S = 1.5
_SLOT_S = 1.0  # at most one artefact of each kind begins in a slot
_LONGEST_S = 0.5
_STIMULATION_S = 200e-6  # each phase of a pulse
_STIMULATION_UV = 3000.0  # at the amplifier, and how its charge decays; chosen
_DECAY_S = 0.8e-3


@dataclass(frozen=True, slots=True)
class Artefact:
    """Samples `start` up to and without `stop`; `kind` is "movement" or "discharge"; microvolts (n, c)."""

    start: int
    kind: str
    microvolts: NDArray[np.float64]

    @property
    def stop(self) -> int:
        return self.start + len(self.microvolts)


class Interference:
    """All of it, by frames of `frame` samples, each a pure function of its number."""

    def __init__(
        self,
        person: Physiology,
        contacts: Contacts,
        subject: int,
        day: int,
        frame: int,
        rate_hz: float,
        mains_hz: float,
        stimulation_hz: float,
    ) -> None:
        self._person, self._contacts, self._subject, self._day = person, contacts, subject, day
        self._frame, self._rate_hz, self._mains_hz = frame, rate_hz, mains_hz
        self._stimulation_hz = stimulation_hz
        self._n_channels = len(contacts.nerve)
        self._n_fft = _fast_length(frame + _TAPS - 1)  # what wraps round is not used
        self._colour = np.fft.rfft(self._filter().astype(np.float32), self._n_fft)
        draws = generator(subject, Purpose.BASELINE, day)
        harmonics = np.array([1.0, 0.15, 0.3, 0.05, 0.15])
        sizes = person.mains_uv * draws.uniform(0.4, 1.6, self._n_channels)
        numbers = np.arange(1, len(harmonics) + 1)
        self._mains_rad_s = 2 * np.pi * mains_hz * numbers
        seen = anti_alias(mains_hz * numbers.astype(np.float64), rate_hz)
        self._mains = np.sqrt(2) * np.outer(harmonics * seen, sizes)
        self._mains_phase = draws.uniform(0, 2 * np.pi, len(harmonics))
        self._noise = NumberedDraws(subject, Purpose.NOISE, day)
        self._white = lru_cache(maxsize=4)(self._draw_white)
        self._artefacts = lru_cache(maxsize=8)(self._draw_artefacts)

    def frame(self, number: int) -> NDArray[np.float64]:
        """Microvolts (frame, c)."""
        n, first = self._frame, number * self._frame
        white = np.concatenate([self._white(number - 1)[:, -(_TAPS - 1) :], self._white(number)], axis=1)
        coloured = np.fft.irfft(np.fft.rfft(white, self._n_fft) * self._colour, self._n_fft)
        out = coloured.T[_TAPS - 1 : _TAPS - 1 + n] * self._contacts.noise
        t_s = np.arange(first, first + n) / self._rate_hz
        out += np.sin(t_s[:, None] * self._mains_rad_s + self._mains_phase) @ self._mains
        edges_s = np.array([first, first + n]) / self._rate_hz
        before, after = self._person.baseline_uv * smooth_noise(
            edges_s, _BASELINE_S, self._n_channels, self._subject, Purpose.BASELINE, self._day
        )
        out += before + (after - before) * (np.arange(n) / n)[:, None]
        for artefact in self.artefacts(first, n):
            begin, end = max(artefact.start, first), min(artefact.stop, first + n)
            out[begin - first : end - first] += artefact.microvolts[
                begin - artefact.start : end - artefact.start
            ]
        if self._stimulation_hz > 0:
            out += self._stimulation(np.arange(first, first + n))[:, None]
        return out

    def artefacts(self, first: int, n: int) -> tuple[Artefact, ...]:
        """Those that touch samples first .. first + n - 1."""
        slot = _SLOT_S * self._rate_hz
        earliest = max(0, int((first - _LONGEST_S * self._rate_hz) // slot))
        return tuple(
            artefact
            for k in range(earliest, int((first + n - 1) // slot) + 1)
            for artefact in self._artefacts(k)
            if artefact.start < first + n and artefact.stop > first
        )

    def is_stimulating(self, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a stimulation pulse is delivered at these samples."""
        if self._stimulation_hz <= 0:
            return np.zeros(len(index), np.bool_)
        return self._since_pulse(index) < 2 * _STIMULATION_S

    def _since_pulse(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        period = max(1, round(self._rate_hz / self._stimulation_hz))
        return (index % period) / self._rate_hz

    def _stimulation(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        since_s = self._since_pulse(index)
        pulse = np.where(since_s < _STIMULATION_S, 1.0, np.where(since_s < 2 * _STIMULATION_S, -1.0, 0.0))
        tail = -0.15 * np.exp(-(since_s - 2 * _STIMULATION_S) / _DECAY_S) * (since_s >= 2 * _STIMULATION_S)
        return np.asarray(_STIMULATION_UV * (pulse + tail))

    def _draw_white(self, number: int) -> NDArray[np.float32]:
        # Frame -1 is only ever the filter's past.
        return self._noise.at(number + 1).standard_normal((self._n_channels, self._frame), dtype=np.float32)

    def _filter(self) -> NDArray[np.float64]:
        """Taps that colour white noise: amplifier and electrode, band-limited as the front-end does."""
        n = 4096
        f = np.arange(n // 2 + 1, dtype=np.float64) * (self._rate_hz / n)
        low, high = _PINK_HZ
        white = self._person.noise_uv**2 / _NOISE_REFERENCE_HZ
        pink = self._person.pink_uv**2 / np.log(high / low) / np.maximum(f, low) * (f < high)
        # White noise of unit variance has a density of 2 / rate.
        gain = np.sqrt((white + pink) * self._rate_hz / 2) * anti_alias(f, self._rate_hz)
        taps = np.roll(np.fft.irfft(gain, n), _TAPS // 2)[:_TAPS]
        return np.asarray(taps * np.hanning(_TAPS + 2)[1:-1])

    def _draw_artefacts(self, slot: int) -> tuple[Artefact, ...]:
        draws = generator(self._subject, Purpose.ARTEFACT, self._day, slot)
        found = []
        rate = self._rate_hz
        begins = slot * _SLOT_S * rate
        chance, place = draws.random(2), draws.random(2)
        movement, discharge = (
            self._person.movements_per_min * _SLOT_S / 60,
            self._person.discharges_per_min * _SLOT_S / 60,
        )
        if chance[0] < movement:  # a cable or a socket moves: slow, large, every channel in its own way
            length = round(draws.uniform(0.08, _LONGEST_S) * rate)
            wave = np.hanning(length) * np.sin(
                2 * np.pi * draws.uniform(4, 15) * np.arange(length) / rate + draws.uniform(0, 2 * np.pi)
            )
            size = 400.0 * np.exp(0.4 * draws.standard_normal()) * draws.uniform(-1, 1, self._n_channels)
            found.append(Artefact(int(begins + place[0] * _SLOT_S * rate), "movement", np.outer(wave, size)))
        if chance[1] < discharge:  # static electricity, a switch: within a millisecond on all channels
            length = max(2, round(0.8e-3 * rate))
            t_s = np.arange(length) / rate
            wave = np.exp(-t_s / 0.15e-3) - 0.4 * np.exp(-t_s / 0.3e-3)
            size = 800.0 * np.exp(0.5 * draws.standard_normal()) * draws.choice([-1.0, 1.0])
            each = size * draws.uniform(0.4, 1.0, self._n_channels)
            found.append(Artefact(int(begins + place[1] * _SLOT_S * rate), "discharge", np.outer(wave, each)))
        return tuple(found)


def _fast_length(least: int) -> int:
    """The smallest length of at least this much that has no prime factor above 5."""
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
