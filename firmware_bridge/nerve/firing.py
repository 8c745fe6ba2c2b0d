"""Which motor neurons fire when: effort by pool from what the person does, recruitment by size, irregular intervals."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.nerve.anatomy import N_POOLS, Units
from firmware_bridge.nerve.draws import NumberedDraws, Purpose, smooth_noise
from firmware_bridge.nerve.motion import Motion
from firmware_bridge.nerve.physiology import Physiology

_SLOW_S, _FAST_S = 3.0, 0.4  # how fast the effort at one posture, and the common drive, wander
_SPEED_S = 0.02  # over which speed is taken
_FINGERS = [DOF_NAMES.index(name) for name in ("thumb", "index", "middle", "ring", "little")]
_STEPS = 5  # of the effort within a frame
_CHECKPOINT_FRAMES = 200
_KEPT_FRAMES = 16


@dataclass(frozen=True, slots=True)
class Spikes:
    """Spikes that begin in a frame: which unit, (k,) int64, and the sample index, (k,) float64, between samples."""

    unit: NDArray[np.int64]
    at: NDArray[np.float64]


class Drive:
    """The effort of every pool at sample indices: a pure function of what the person does."""

    def __init__(self, person: Physiology, subject: int, day: int, rate_hz: float, motion: Motion) -> None:
        self._person, self._subject, self._day, self._rate_hz = person, subject, day, rate_hz
        self._motion = motion
        neighbours = np.eye(N_DOF)
        for a, b in itertools.pairwise(_FINGERS):
            neighbours[a, b] = neighbours[b, a] = person.enslaving
        self._enslaved = neighbours

    def effort(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, N_POOLS), 0 at rest but for the tone, 1 the largest; `index` ascends."""
        p, rate = self._person, self._rate_hz
        ahead = index + round(p.lead_s * rate)  # the nerve leads the hand
        h = round(_SPEED_S / 2 * rate)
        before, position, after = np.split(
            self._motion.positions(np.concatenate([ahead - h, ahead, ahead + h])), 3
        )
        speed = (after - before) / _SPEED_S
        wanted = np.concatenate([position, -position], axis=1).clip(min=0) * p.effort_at_full
        hurried = np.concatenate([speed, -speed], axis=1).clip(min=0) * p.effort_per_speed_s
        agonist = wanted + hurried
        agonist[:, :N_DOF] = agonist[:, :N_DOF] @ self._enslaved
        seconds = index / rate
        slow, fast = (
            smooth_noise(seconds, period_s, N_POOLS, self._subject, Purpose.WANDER, 2 * self._day + k)
            for k, period_s in enumerate((_SLOW_S, _FAST_S))
        )
        agonist *= np.exp(p.effort_spread * slow) * (1 + p.wander * fast)
        antagonist = np.concatenate([agonist[:, N_DOF:], agonist[:, :N_DOF]], axis=1)
        # Tone yields to the antagonist: reciprocal inhibition.
        tone = p.resting_tone * (1 - antagonist / (0.1 * p.effort_at_full)).clip(0, 1)
        return np.asarray((agonist + p.co_contraction * antagonist + tone).clip(0, 1))


class Firing:
    """The spikes of every frame, each in turn: intervals carry over from frame to frame.

    Any frame may be asked for; one that lies further back is worked out again from a checkpoint before it, so the
    answer never depends on what was asked before.
    """

    def __init__(
        self,
        person: Physiology,
        units: Units,
        drive: Drive,
        subject: int,
        day: int,
        frame: int,
        rate_hz: float,
    ) -> None:
        self._person, self._units, self._drive = person, units, drive
        self._subject, self._day, self._frame, self._rate_hz = subject, day, frame, rate_hz
        self._edges = np.rint(np.linspace(0, frame, _STEPS + 1)).astype(np.int64)
        self._draws = NumberedDraws(subject, Purpose.FIRING, day)
        first = self._draws.at(0)
        self._checkpoints = {0: first.random(len(units))}
        self._left = self._checkpoints[
            0
        ].copy()  # what is left of each unit's interval, as a part of a mean one
        self._next = 0
        self._kept: OrderedDict[int, Spikes] = OrderedDict()

    def spikes(self, frame: int) -> Spikes:
        """The spikes that begin in samples frame * n .. (frame + 1) * n - 1; none before frame 0."""
        if frame < 0:
            return _NONE
        if frame in self._kept:
            return self._kept[frame]
        nearest = max(k for k in self._checkpoints if k <= frame)
        if frame < self._next or nearest > self._next:
            self._next, self._left = nearest, self._checkpoints[nearest].copy()
        while self._next <= frame:
            self._advance()
        return self._kept[frame]

    def _advance(self) -> None:
        p, u, number = self._person, self._units, self._next
        if number % _CHECKPOINT_FRAMES == 0:
            self._checkpoints.setdefault(number, self._left.copy())
        start = number * self._frame
        edges = self._edges
        effort = self._drive.effort(start + (edges[:-1] + edges[1:]) // 2)
        over = effort[:, u.pool] - u.threshold
        rate_hz = np.where(over > 0, np.minimum(p.first_rate_hz + p.rate_gain_hz * over, u.peak_hz), 0.0)
        # Mean intervals that pass from the frame's start to each edge, (edges, units).
        passed = np.zeros((_STEPS + 1, len(u)))
        np.cumsum(rate_hz * (np.diff(edges) / self._rate_hz)[:, None], axis=0, out=passed[1:])
        draws = self._draws.at(number + 1)
        due = self._left.copy()  # of the next spike, counted like `passed`
        found_unit, found_at = [], []
        while len(fires := np.flatnonzero((due <= passed[-1]) & (passed[-1] > 0))):
            course, target = passed[:, fires], due[fires]
            step = np.argmax(course[1:] >= target, axis=0)
            column = np.arange(len(fires))
            before, after = course[step, column], course[step + 1, column]
            part = (target - before) / (after - before)
            found_unit.append(fires)
            found_at.append(start + edges[step] + part * (edges[step + 1] - edges[step]))
            interval = 1 + p.interval_cv * draws.standard_normal(len(u))[fires]
            shortest = p.shortest_interval_s * rate_hz[step, fires]
            due[fires] += np.maximum(interval, shortest)
        self._left = np.maximum(due - passed[-1], 0.0)
        spikes = Spikes(np.concatenate(found_unit), np.concatenate(found_at)) if found_unit else _NONE
        self._kept[number] = spikes
        while len(self._kept) > _KEPT_FRAMES:
            self._kept.popitem(last=False)
        self._next = number + 1


_NONE = Spikes(np.zeros(0, np.int64), np.zeros(0))
