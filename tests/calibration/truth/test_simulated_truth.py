"""The simulated able hand: its readings are a function of the nerve's samples, however they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.truth import TruthBlock, load
from calibration.truth.hand_angles import JOINT_NAMES
from calibration.truth.simulated import NERVE_RATE_HZ, Imperfections, SimulatedTruth, open_truth
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import SteeredMotion
from firmware_bridge.nerve.physiology import person_of
from tests.calibration.truth.held import Held, Ramp, calibrated

QUIET = Imperfections(noise_rad=0.0, resolution_rad=0.0)
REAL = Imperfections(lag_s=0.15, drift_ppm=20.0, offset_s=7.5, latency_s=0.004, jitter_s=0.03)
SECOND = round(NERVE_RATE_HZ)


def all_of(glove: SimulatedTruth, cuts: Sequence[int]) -> TruthBlock:
    """Everything up to the last cut, asked for at each of them; the host's clock goes with the samples."""
    blocks = [glove.readings_until(cut, cut * 100_000) for cut in cuts]
    return TruthBlock(
        *(np.concatenate([getattr(b, name) for b in blocks]) for name in ("values", "device_s", "arrival_ns"))
    )


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3 * SECOND), max_size=30), st.integers(0, 5), st.integers(0, SECOND))
def test_the_readings_are_the_same_however_the_samples_are_cut(
    cuts: list[int], seed: int, first: int
) -> None:
    def glove() -> SimulatedTruth:
        made = SimulatedTruth(Ramp(3 * SECOND), imperfections=REAL, seed=seed, first_sample=first)
        made.freeze(SECOND, SECOND + 3000)
        return made

    once = all_of(glove(), [3 * SECOND])
    often = all_of(glove(), [*sorted(max(cut, first) for cut in cuts), 3 * SECOND])
    for one, other in zip(
        (once.values, once.device_s, once.arrival_ns),
        (often.values, often.device_s, often.arrival_ns),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=2 if one.dtype == np.int64 else 0)


def test_reading_i_has_the_devices_time_of_its_instant_by_a_clock_that_drifts() -> None:
    glove = SimulatedTruth(
        Ramp(SECOND), imperfections=replace(QUIET, drift_ppm=20.0, offset_s=3.0), rate_hz=120.0
    )
    device_s = glove.readings_until(100 * SECOND, 0).device_s
    assert len(device_s) == 12_001
    np.testing.assert_allclose(device_s, np.arange(12_001) / 120.0 * (1 + 20e-6) + 3.0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("lag_s", [-0.05, 0.0, 0.15])
def test_the_able_hand_moves_lag_s_later_than_the_phantom(lag_s: float) -> None:
    motion, column = Ramp(2 * SECOND), JOINT_NAMES.index("index pip")
    still = SimulatedTruth(motion, imperfections=QUIET).readings_until(2 * SECOND, 0).values[:, column]
    late = (
        SimulatedTruth(motion, imperfections=replace(QUIET, lag_s=lag_s))
        .readings_until(2 * SECOND, 0)
        .values[:, column]
    )
    shift = round(lag_s * 100)
    np.testing.assert_allclose(late[50:150], still[50 - shift : 150 - shift], atol=1e-6)


def test_the_positions_come_back_from_the_angles_within_the_gloves_noise() -> None:
    glove = SimulatedTruth(Ramp(2 * SECOND), imperfections=Imperfections())
    found = calibrated().positions(glove.readings_until(2 * SECOND, 0).values)
    true = np.repeat(np.linspace(-1, 1, 201)[:, None], 6, axis=1)
    assert np.abs(found - true).max() < 0.1
    assert np.sqrt(np.mean((found - true) ** 2)) < 0.02


def test_arrivals_ascend_and_are_as_late_as_the_link_and_never_in_the_future() -> None:
    glove = SimulatedTruth(Ramp(SECOND), imperfections=replace(REAL, drift_ppm=0.0, offset_s=0.0))
    late = []
    for index in range(0, 20 * SECOND, 137):
        now_ns = index * 100_000
        block = glove.readings_until(index, now_ns)
        assert (block.arrival_ns <= now_ns).all()
        late.append(block.arrival_ns / 1e9 - block.device_s)
    lateness = np.concatenate(late)
    assert lateness.min() >= REAL.latency_s - 1e-6
    assert REAL.latency_s + REAL.jitter_s / 2 < lateness.max() <= REAL.latency_s + REAL.jitter_s + 1e-6
    arrivals = lateness + np.arange(len(lateness)) / 100.0
    assert (np.diff(arrivals) >= -1e-9).all()


def test_without_a_jitter_a_reading_is_there_once_its_sample_is() -> None:
    glove = SimulatedTruth(Ramp(SECOND), imperfections=QUIET)
    counts = [len(glove.readings_until(index, 0)) for index in (0, 99, 100, 101, 299, 300)]
    assert counts == [1, 0, 1, 0, 1, 1]


def test_a_frozen_glove_repeats_its_last_reading_bit_for_bit_and_goes_on_as_if_nothing_was() -> None:
    def of(*frozen: tuple[int, int]) -> TruthBlock:
        glove = SimulatedTruth(Ramp(2 * SECOND), imperfections=REAL)
        for span in frozen:
            glove.freeze(*span)
        return glove.readings_until(2 * SECOND, 0)

    whole, frozen = of(), of((5000, 12_000))
    np.testing.assert_array_equal(frozen.device_s, whole.device_s)
    np.testing.assert_array_equal(frozen.values[50:120], np.repeat(whole.values[49:50], 70, axis=0))
    np.testing.assert_array_equal(
        np.delete(frozen.values, slice(50, 120), 0), np.delete(whole.values, slice(50, 120), 0)
    )
    assert not np.array_equal(whole.values[50], whole.values[49])


def test_a_hidden_hand_is_not_a_number_and_its_times_go_on() -> None:
    glove = SimulatedTruth(Ramp(2 * SECOND), imperfections=REAL)
    glove.hide(5000, 12_000)
    block = glove.readings_until(2 * SECOND, 0)
    assert (
        np.isnan(block.values).all(axis=1) == ((np.arange(len(block)) >= 50) & (np.arange(len(block)) < 120))
    ).all()
    np.testing.assert_allclose(np.diff(block.device_s), 0.01, rtol=1e-4)


def test_noise_and_steps_are_those_asked_for() -> None:
    step = np.radians(1.0)
    glove = SimulatedTruth(Held([0.3] * 6), imperfections=Imperfections(noise_rad=step, resolution_rad=step))
    values = glove.readings_until(50 * SECOND, 0).values.astype(np.float64)
    steps = values / step
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), step * np.sqrt(1 + 1 / 12), rtol=0.05)
    assert np.abs(np.corrcoef(values.T) - np.eye(len(JOINT_NAMES))).max() < 0.07


def test_another_seed_is_another_noise_and_the_same_motion() -> None:
    one, other = (
        SimulatedTruth(Held([0.3] * 6), seed=seed).readings_until(20 * SECOND, 0).values for seed in (1, 2)
    )
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=0.002)


def test_a_motion_that_is_steered_while_it_is_measured_changes_no_reading_that_was_given() -> None:
    def measured(cuts: Sequence[int]) -> TruthBlock:
        motion = SteeredMotion(person_of("default"), 1, 0, NERVE_RATE_HZ)
        motion.intend(2000, (1, 1, 1, 1, 1, 0), 6)
        glove = SimulatedTruth(motion, imperfections=REAL)
        blocks = []
        for before, cut in pairwise([0, *cuts]):
            if before == SECOND:
                motion.intend(SECOND, (-1, -1, -1, -1, -1, 0), 0)
            blocks.append(glove.readings_until(cut, 0).values)
        return TruthBlock(np.concatenate(blocks), np.zeros(0), np.zeros(0, np.int64))

    coarse, fine = measured([SECOND, 3 * SECOND]), measured(list(range(20, 3 * SECOND + 1, 20)))
    np.testing.assert_array_equal(coarse.values, fine.values)


def test_a_left_hand_is_the_mirror_of_a_right_one() -> None:
    right, left = (
        SimulatedTruth(Held([-1.0] * 6), side=side, imperfections=QUIET).readings_until(100, 0).values[0]
        for side in ("right", "left")
    )
    flips = np.array(
        ["abduction" in joint or "deviation" in joint or "rotation" in joint for joint in JOINT_NAMES]
    )
    np.testing.assert_array_equal(left, np.where(flips, -right, right))
    assert right[JOINT_NAMES.index("index abduction")] > 0.1


def test_live_it_is_paced_by_the_hosts_clock_and_goes_on_after_it_was_closed() -> None:
    now_ns = 5_000_000_000

    def wait(seconds: float) -> bool:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)
        return False

    glove = SimulatedTruth(
        Ramp(SECOND), imperfections=QUIET, first_sample=2 * SECOND, clock_ns=lambda: now_ns, wait=wait
    )
    assert list(glove.blocks()) == []  # before it is connected
    glove.connect()
    taken = []
    for block in glove.blocks():
        assert (block.arrival_ns <= now_ns).all()
        taken.append(block)
        if now_ns >= 5_500_000_000:
            glove.close()
    device_s = np.concatenate([block.device_s for block in taken])
    arrival_s = np.concatenate([block.arrival_ns for block in taken]) / 1e9
    np.testing.assert_allclose(device_s, 2.0 + np.arange(len(device_s)) / 100)
    np.testing.assert_allclose(arrival_s - 5.0, device_s - 2.0, atol=1e-6)
    glove.connect()
    again = next(iter(glove.blocks()))
    assert again.device_s[0] == pytest.approx(device_s[-1] + 0.01)


def test_live_it_may_follow_the_nerves_own_sample_count() -> None:
    nerve = iter(range(0, 10 * SECOND, 250))
    glove = SimulatedTruth(
        Ramp(SECOND), imperfections=QUIET, sample_clock=lambda: next(nerve), wait=lambda _: False
    )
    glove.connect()
    blocks = glove.blocks()
    device_s = np.concatenate([next(blocks).device_s for _ in range(100)])
    np.testing.assert_allclose(device_s, np.arange(len(device_s)) / 100)


def test_going_back_and_values_that_make_no_sense_are_refused() -> None:
    glove = SimulatedTruth(Ramp(SECOND))
    glove.readings_until(1000, 0)
    with pytest.raises(NervehandError, match="stands at sample 1000 and is asked for 999"):
        glove.readings_until(999, 0)
    with pytest.raises(NervehandError, match="give an ascending range"):
        glove.freeze(5, 5)
    with pytest.raises(NervehandError, match="glove's rate is 0"):
        SimulatedTruth(Ramp(SECOND), rate_hz=0.0)
    with pytest.raises(NervehandError, match="jitter_s is -1"):
        Imperfections(jitter_s=-1.0)


def test_by_its_address_it_is_the_hand_of_a_subject_that_follows_its_cues() -> None:
    glove = open_truth("default/3/1")
    block = glove.readings_until(30 * SECOND, 0)
    assert np.ptp(block.values[:, JOINT_NAMES.index("index pip")]) > 1.0
    again = open_truth("default/3/1").readings_until(30 * SECOND, 0)
    np.testing.assert_array_equal(block.values, again.values)
    assert any(found.address == "simulated:default" for found in load("simulated").find())
    for wrong in ("nobody", "default/x", "default/1/2/3", "default/-1"):
        with pytest.raises(NervehandError):
            open_truth(wrong)
