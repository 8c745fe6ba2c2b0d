"""The simulated person's samples: the same person on the same day is the same bits, however they are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import Schedule, SteeredMotion
from firmware_bridge.nerve.physiology import DEFAULT
from firmware_bridge.nerve.subject import ALL_PARTS, SCALE_UV, Parts, SimulatedSubject

RATE_HZ = 10_000.0
AXONS, MUSCLES, REST = Parts(True, False, False), Parts(False, True, False), Parts(False, False, True)
CALM = replace(DEFAULT, movements_per_min=0.0, discharges_per_min=0.0)


def small(number: int = 4, day: int = 0, **more: object) -> SimulatedSubject:
    return SimulatedSubject(number, day, n_channels=8, rate_hz=5000.0, schedule=Schedule(2), **more)  # type: ignore[arg-type]


SUBJECT = small()


def in_microvolts(subject: SimulatedSubject, first: int, n: int) -> np.ndarray:
    return subject.samples(first, n) * SCALE_UV


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 20_000), st.integers(0, 3000))
def test_samples_are_a_function_of_their_index(first: int, n: int) -> None:
    whole = SUBJECT.samples(0, first + n)[first:]
    assert small().samples(first, n).tobytes() == whole.tobytes()


def test_blocks_of_any_size_and_order_are_the_same_bits() -> None:
    whole = small().samples(0, 5000)
    for size in (1, 7, 249, 250, 251, 5000):
        pieces = [SUBJECT.samples(first, min(size, 5000 - first)) for first in range(0, 5000, size)]
        assert np.concatenate(pieces).tobytes() == whole.tobytes()
    late = SUBJECT.samples(40_000, 100)
    SUBJECT.samples(0, 10)
    assert SUBJECT.samples(40_000, 100).tobytes() == late.tobytes()


def test_another_person_and_another_day_are_other_samples() -> None:
    samples = [s.samples(0, 500).tobytes() for s in (SUBJECT, small(number=5), small(day=1))]
    assert len(set(samples)) == 3


def test_the_parts_add_up_to_the_whole() -> None:
    parts = sum(small(parts=p).microvolts(3) for p in (AXONS, MUSCLES, REST))
    np.testing.assert_allclose(parts, small(parts=ALL_PARTS).microvolts(3), atol=1e-9)


def test_without_crosstalk_no_muscle_is_heard() -> None:
    assert not small(crosstalk=False, parts=MUSCLES).samples(0, 10_000).any()
    assert small(parts=MUSCLES).samples(0, 10_000).any()


def test_spikes_stand_out_of_the_noise_as_intrafascicular_units_do() -> None:
    """Units of 5 to 40 uV peak to peak over a noise of 2 to 6 uV: what longitudinal intrafascicular electrodes give in
    a band of 5 kHz (Malagodi et al. 1989; Lefurge et al. 1991; the noise is remembered, not printed)."""
    n = 100_000
    spikes = in_microvolts(SimulatedSubject(1, parts=AXONS, person=CALM), 0, n)
    noise = in_microvolts(
        SimulatedSubject(1, parts=REST, person=replace(CALM, baseline_uv=0.0, mains_uv=0.0)), 0, n
    )
    assert 3 < noise.std(0).min() < noise.std(0).max() < 6
    largest = np.ptp(spikes, axis=0)
    assert 10 < np.median(largest) < 60
    assert largest.max() < 120


def test_movement_is_in_the_spikes_and_in_the_muscles() -> None:
    subject = SimulatedSubject(2, schedule=Schedule(1))
    truth = subject.truth(0, 150_000)
    moving = np.abs(truth.positions).max(1) > 0.6
    for parts in (AXONS, MUSCLES):
        x = in_microvolts(SimulatedSubject(2, schedule=Schedule(1), parts=parts), 0, 150_000)
        assert x[moving].std(0).max() > 2 * x[truth.gesture == 0].std(0).max()


def test_muscles_are_below_600_hz_and_axons_above() -> None:
    for parts, low, high in ((MUSCLES, 0.99, 1.0), (AXONS, 0.0, 0.03)):
        x = SimulatedSubject(2, schedule=Schedule(1), parts=parts).samples(15_000, 65_536).astype(float)
        power = (np.abs(np.fft.rfft(x, axis=0)) ** 2).sum(1)
        share = power[np.fft.rfftfreq(65_536, 1 / RATE_HZ) < 600].sum() / power.sum()
        assert low <= share <= high


def test_stimulation_is_told_on_its_line_and_seen_in_the_samples() -> None:
    subject = SimulatedSubject(1, stimulation_hz=20.0, person=CALM)
    assert subject.info.stimulation_lines == (0,)
    block = subject.block(0, 5000)
    assert block.digital is not None
    pulsed = block.digital == 1
    assert np.count_nonzero(np.diff(pulsed.astype(int)) == 1) == 9  # every 50 ms, the first at sample 0
    x = np.abs(block.samples * SCALE_UV).min(1)
    assert x[pulsed].min() > 1000 > x[~pulsed].max()
    assert SUBJECT.block(0, 10).digital is None


def test_artefacts_are_where_they_are_said_to_be() -> None:
    often = replace(DEFAULT, movements_per_min=0.0, discharges_per_min=30.0, baseline_uv=0.0)
    subject = SimulatedSubject(1, person=often)
    x = np.median(np.abs(in_microvolts(subject, 0, 200_000)), axis=1)
    artefacts = subject.artefacts(0, 200_000)
    assert 5 <= len(artefacts) <= 20
    said = np.zeros(200_000, np.bool_)
    for artefact in artefacts:
        said[artefact.start : artefact.stop] = True
    assert x[~said].max() < 60 < min(x[a.start : a.stop].max() for a in artefacts)
    assert [a.start for a in subject.artefacts(artefacts[0].start, 1)] == [artefacts[0].start]


def test_a_steered_subject_has_the_same_bits_when_its_inputs_are_given_again() -> None:
    def run(ask_at: list[tuple[int, int]], block: int) -> bytes:
        motion = SteeredMotion(DEFAULT, 1, 0, 5000.0)
        subject = small(motion=motion)
        out, waiting = [], list(ask_at)
        for first in range(0, 20_000, block):
            while waiting and waiting[0][0] <= first:
                motion.ask(*waiting.pop(0))
            out.append(subject.samples(first, block))
        return np.concatenate(out).tobytes()

    asked = [(2000, 6), (8000, 0), (12_000, 2)]
    live = run(asked, 25)
    assert run(asked, 500) == live
    assert run([], 500) != live


@pytest.mark.parametrize("rate_hz", [5000.0, 20_000.0, 30_000.0])
def test_it_is_the_same_person_at_any_sampling_rate(rate_hz: float) -> None:
    subject = SimulatedSubject(1, rate_hz=rate_hz, parts=MUSCLES)
    slow = SimulatedSubject(1, parts=MUSCLES)
    levels = [in_microvolts(s, 0, round(10 * s.info.rate_hz)).std(0) for s in (subject, slow)]
    np.testing.assert_allclose(levels[0], levels[1], rtol=0.3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SimulatedSubject(-1), "number is -1"),
        (lambda: SimulatedSubject(1, -1), "day is -1"),
        (lambda: SimulatedSubject(1, 4_000_000), "day is 4000000: give 0 to 3650"),
        (lambda: SimulatedSubject(rate_hz=100.0), "sampling rate is 100"),
        (lambda: SimulatedSubject(n_channels=0), "0 channels"),
        (lambda: SimulatedSubject(n_channels=1025), "1025 channels: the simulated nerve takes 1 to 1024"),
        (lambda: SimulatedSubject(stimulation_hz=-1.0), "stimulation at -1"),
        (lambda: SimulatedSubject(preset="medium"), "'medium' is not known"),
    ],
)
def test_senseless_settings_are_refused_with_the_value(make: object, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        make()  # type: ignore[operator]
