"""Who lies where, and what a day changes."""

from __future__ import annotations

import numpy as np

from firmware_bridge.hand import N_DOF
from firmware_bridge.nerve.anatomy import (
    MEDIAN,
    N_POOLS,
    RADIAL,
    ULNAR,
    contacts_of,
    distance_um,
    fascicles_of,
    muscle_distances_mm,
    units_of,
)
from firmware_bridge.nerve.axon import conduction_velocity_m_per_s
from firmware_bridge.nerve.physiology import DEFAULT, HARD


def test_motor_axons_conduct_as_fast_as_they_were_measured_to() -> None:
    velocity = [conduction_velocity_m_per_s(d) for d in units_of(DEFAULT, 1, 0).diameter_um]
    assert 25 < min(velocity) < 40  # single thenar motor axons: 34 to 66 m/s, 50 most often
    assert 60 < max(velocity) < 85
    assert 45 < np.median(velocity) < 60


def test_larger_units_have_higher_thresholds_and_thicker_axons() -> None:
    units = units_of(DEFAULT, 1, 0)
    for pool in range(N_POOLS):
        of_pool = units.pool == pool
        assert (np.diff(units.threshold[of_pool]) > 0).all()
        assert np.corrcoef(units.threshold[of_pool], units.diameter_um[of_pool])[0, 1] > 0.5
    assert 20 < units.threshold.max() / units.threshold.min() < 40


def test_extensors_are_the_radial_nerves_and_no_contact_is_near_them() -> None:
    units, contacts = units_of(DEFAULT, 1, 0), contacts_of(DEFAULT, 1, 0, 16)
    np.testing.assert_array_equal(units.nerve == RADIAL, units.pool >= N_DOF)
    distance = distance_um(units, contacts)
    assert np.isinf(distance[units.nerve == RADIAL]).all()
    near = np.isfinite(distance)
    assert (near.sum(1)[units.nerve != RADIAL] == 2).all()  # the two contacts of its fascicle
    assert distance[near].min() >= 30
    assert distance[near].max() < DEFAULT.largest_fascicle_um


def test_both_nerves_carry_every_finger_in_their_shares() -> None:
    units = units_of(DEFAULT, 1, 0)
    thumb, little = units.pool == 0, units.pool == 4
    assert (units.nerve[thumb] == MEDIAN).mean() > 0.5 > (units.nerve[little] == MEDIAN).mean()
    assert (units.nerve[little] == ULNAR).any()


def test_a_day_moves_contacts_and_takes_a_few_axons_and_the_next_goes_on_from_there() -> None:
    days = [(units_of(HARD, 3, d), contacts_of(HARD, 3, d, 16)) for d in (0, 1, 2, 30)]
    moved = [np.hypot(c.x_um - days[0][1].x_um, c.y_um - days[0][1].y_um).mean() for _, c in days]
    assert moved[0] == 0 < moved[1] < moved[2] < moved[3]
    kept = [(u.x_um == days[0][0].x_um).mean() for u, _ in days]
    assert kept[0] == 1 > kept[1] > kept[2] > kept[3]
    assert 0.9 < kept[1] < 1
    assert days[3][1].noise.min() > days[0][1].noise.min()


def test_contacts_fail_in_the_end_and_stay_failed() -> None:
    failed = [contacts_of(HARD, 1, d, 64).gain < 0.1 for d in (0, 10, 40)]
    assert failed[0].sum() == 0 < failed[1].sum() < failed[2].sum()
    assert (failed[2][failed[1]]).all()


def test_sizes_are_those_of_a_forearm() -> None:
    width = fascicles_of(DEFAULT, 1)
    assert width.shape == (2, DEFAULT.fascicles_per_nerve)
    assert ((width > 200) & (width < 600)).all()
    distance_mm = muscle_distances_mm(DEFAULT, 1)
    assert ((distance_mm >= 8) & (distance_mm < 90)).all()
