"""Who lies where: motor neurons in their pools, axons in their fascicles, contacts among them, muscles around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.nerve.draws import Purpose, generator
from firmware_bridge.nerve.physiology import Physiology

N_POOLS = 2 * N_DOF
"""Pool d flexes degree of freedom d, pool N_DOF + d extends it."""
MEDIAN, ULNAR, RADIAL = 0, 1, 2
IMPLANTED = (MEDIAN, ULNAR)
NERVE_NAMES = ("median", "ulnar")

# The median nerve's share of each flexor pool; the ulnar has the rest. Long and short flexors and opposition of the
# thumb, flexors of index and middle finger: median; deep flexors of ring and little finger, interossei, hypothenar
# and the adductor of the thumb: ulnar; the wrist has a flexor of each (Standring, Gray's Anatomy, 41st edition).
_MEDIAN_SHARE = {"thumb": 0.75, "index": 0.8, "middle": 0.8, "ring": 0.4, "little": 0.2, "wrist": 0.5}
# How much of each flexor pool drives muscles that a transradial amputation leaves: the long ones in the forearm.
_MUSCLE_LEFT = {"thumb": 0.4, "index": 0.7, "middle": 0.8, "ring": 0.8, "little": 0.6, "wrist": 1.0}

_HOME = 0.8  # part of a muscle's axons in its main fascicle (Stewart, Muscle Nerve 2003)
_WIRE_UM = (
    30.0  # an axon's centre comes no nearer to the middle of the contact: the wire and its sheath of tissue
)
_MUSCLE_SIZES = 10.0  # largest motor-unit potential over the smallest (Fuglevand et al., J Neurophysiol 1993)


@dataclass(frozen=True, slots=True)
class Units:
    """Motor neurons, one entry each in every array (n,).

    `pool` 0..11; `threshold` the effort that recruits it; `peak_hz` its highest rate; its axon's `diameter_um`,
    `nerve`, `fascicle`, place across it (`x_um`, `y_um`) and where its nodes lie along it (`node_offset`, as a part
    of their distance); `muscle_size` of its motor-unit potential, 0 where its muscle is gone.
    """

    pool: NDArray[np.int64]
    threshold: NDArray[np.float64]
    peak_hz: NDArray[np.float64]
    diameter_um: NDArray[np.float64]
    nerve: NDArray[np.int64]
    fascicle: NDArray[np.int64]
    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    node_offset: NDArray[np.float64]
    muscle_size: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pool)


@dataclass(frozen=True, slots=True)
class Contacts:
    """The electrode's contacts on one day, (c,) each: where they lie, how they couple, how noisy they are.

    `gain` scales what the contact sees, 0 where it failed; `noise` multiplies its noise; `crosstalk` (c, N_POOLS) is
    what it sees of each muscle relative to a contact of its nerve.
    """

    nerve: NDArray[np.int64]
    fascicle: NDArray[np.int64]
    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    gain: NDArray[np.float64]
    noise: NDArray[np.float64]
    crosstalk: NDArray[np.float64]


def contact_nerves(n_channels: int) -> NDArray[np.int64]:
    """The nerve of each contact: the first half in the median, the rest in the ulnar."""
    return np.where(np.arange(n_channels) < (n_channels + 1) // 2, MEDIAN, ULNAR)


def units_of(person: Physiology, subject: int, day: int) -> Units:
    """The subject's motor neurons as they lie on a day: some axons are lost, others come into view."""
    birth = generator(subject, Purpose.ANATOMY)
    per_pool, n = person.units_per_pool, N_POOLS * person.units_per_pool
    pool = np.repeat(np.arange(N_POOLS), per_pool)
    rank = np.tile((np.arange(per_pool) + 0.5) / per_pool, N_POOLS)
    # Thresholds grow exponentially over the recruitment range (Fuglevand et al. 1993, eq. 1).
    threshold = person.last_recruited_at * person.recruitment_range ** (rank - 1)
    peak_hz = person.peak_rate_hz - person.peak_rate_range_hz * rank
    # Larger neurons have thicker axons (Henneman et al. 1965).
    middle_um = person.smallest_axon_um + (person.largest_axon_um - person.smallest_axon_um) * rank
    diameter_um = middle_um * np.exp(person.axon_spread * birth.standard_normal(n))
    names = DOF_NAMES + DOF_NAMES
    share = np.array([_MEDIAN_SHARE[names[p]] for p in pool])
    nerve = np.where(pool >= N_DOF, RADIAL, np.where(birth.random(n) < share, MEDIAN, ULNAR))
    left = np.array([_MUSCLE_LEFT[names[p]] for p in pool])
    has_muscle = (pool >= N_DOF) | (birth.random(n) < left)
    muscle_size = np.where(has_muscle, _MUSCLE_SIZES ** (rank - 1), 0.0)
    homes = np.array([birth.permutation(N_DOF) % person.fascicles_per_nerve for _ in IMPLANTED])
    centres = [
        _in_disc(birth, N_POOLS * person.fascicles_per_nerve, 0.35 * person.smallest_fascicle_um)
        for _ in IMPLANTED
    ]
    fascicle, x_um, y_um = _axons(person, birth, pool, nerve, homes, centres)
    node_offset = birth.random(n)
    for d in range(1, day + 1):
        today = generator(subject, Purpose.DAY, d)
        lost = np.flatnonzero(today.random(n) < person.units_lost)
        new = _axons(person, today, pool, nerve, homes, centres)
        for kept, fresh in zip((fascicle, x_um, y_um), new, strict=True):
            kept[lost] = fresh[lost]
    return Units(pool, threshold, peak_hz, diameter_um, nerve, fascicle, x_um, y_um, node_offset, muscle_size)


def contacts_of(person: Physiology, subject: int, day: int, n_channels: int) -> Contacts:
    """The contacts on a day: displaced, their coupling changed, some failed, all a little noisier."""
    birth = generator(subject, Purpose.ANATOMY, number=1)
    nerve = contact_nerves(n_channels)
    fascicle = np.arange(n_channels) % person.fascicles_per_nerve
    x_um, y_um = _in_disc(birth, n_channels, 0.35 * person.smallest_fascicle_um)
    log_gain = 0.15 * birth.standard_normal(n_channels)
    log_muscle = person.crosstalk_contrast * birth.standard_normal((n_channels, N_POOLS))
    failed = np.zeros(n_channels, np.bool_)
    for d in range(1, day + 1):
        today = generator(subject, Purpose.DAY, d, number=1)
        x_um += person.drift_um * today.standard_normal(n_channels)
        y_um += person.drift_um * today.standard_normal(n_channels)
        log_gain += person.gain_drift * today.standard_normal(n_channels)
        by_nerve = person.crosstalk_drift * today.standard_normal((len(IMPLANTED), N_POOLS))
        log_muscle += by_nerve[nerve]
        failed |= today.random(n_channels) < person.contact_fails
    # An open contact hears little but noise, more of it.
    gain = np.where(failed, 0.02, np.exp(log_gain))
    noise = np.where(failed, 3.0, 1 + person.impedance_rise * min(day, 120))
    return Contacts(nerve, fascicle, x_um, y_um, gain, noise, np.exp(log_muscle))


def muscle_distances_mm(person: Physiology, subject: int) -> NDArray[np.float64]:
    """Distances (N_POOLS, nerves) from each pool's muscle to the contacts of a nerve."""
    birth = generator(subject, Purpose.MUSCLE)
    spread = np.exp(0.25 * birth.standard_normal((N_POOLS, len(IMPLANTED))))
    gap = np.where(np.arange(N_POOLS) < N_DOF, person.muscle_gap_mm, person.extensor_gap_mm)
    return np.asarray(np.maximum(gap[:, None] * spread, 8.0))


def fascicles_of(person: Physiology, subject: int) -> NDArray[np.float64]:
    """Diameters (nerves, fascicles) in micrometres."""
    birth = generator(subject, Purpose.ANATOMY, number=2)
    shape = (len(IMPLANTED), person.fascicles_per_nerve)
    return birth.uniform(person.smallest_fascicle_um, person.largest_fascicle_um, shape)


def distance_um(units: Units, contacts: Contacts) -> NDArray[np.float64]:
    """(units, contacts): from each axon to each contact across their fascicle, infinite where they share none."""
    across = np.hypot(units.x_um[:, None] - contacts.x_um, units.y_um[:, None] - contacts.y_um)
    together = (units.nerve[:, None] == contacts.nerve) & (units.fascicle[:, None] == contacts.fascicle)
    return np.where(together, np.maximum(across, _WIRE_UM), np.inf)


def _axons(
    person: Physiology,
    draws: np.random.Generator,
    pool: NDArray[np.int64],
    nerve: NDArray[np.int64],
    homes: NDArray[np.int64],
    centres: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Fascicle and place of every axon; those of the radial nerve are near no contact, wherever they are put."""
    n = len(pool)
    own = homes[np.minimum(nerve, ULNAR), pool % N_DOF]
    other = draws.integers(0, person.fascicles_per_nerve, n)
    fascicle = np.where(draws.random(n) < _HOME, own, other)
    at = pool * person.fascicles_per_nerve + fascicle
    x_um, y_um = (
        np.where(nerve == MEDIAN, centres[0][axis][at], centres[1][axis][at])
        + person.bundle_um * draws.standard_normal(n)
        for axis in (0, 1)
    )
    # None outside the smallest fascicle.
    reach = np.hypot(x_um, y_um) / (person.smallest_fascicle_um / 2)
    return fascicle, x_um / np.maximum(reach, 1.0), y_um / np.maximum(reach, 1.0)


def _in_disc(
    draws: np.random.Generator, n: int, radius_um: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    radius, angle = radius_um * np.sqrt(draws.random(n)), draws.uniform(0, 2 * np.pi, n)
    return radius * np.cos(angle), radius * np.sin(angle)
