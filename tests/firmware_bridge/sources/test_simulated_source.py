"""The simulated person as a front-end."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge import sources
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import Schedule, SteeredMotion
from firmware_bridge.nerve.physiology import DEFAULT
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.sources.simulated import SimulatedSource, open_device
from firmware_bridge.supervised import SourceEvent
from tests.closing import blocks_until_closed

SUBJECT = SimulatedSubject(4, n_channels=8, rate_hz=5000.0, schedule=Schedule(repetitions=2))


def test_the_source_paces_by_its_samples_without_drift() -> None:
    now_ns = 0

    def wait(seconds: float) -> bool:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)
        return False

    source = SimulatedSource(SUBJECT, 100, n_samples=250, clock_ns=lambda: now_ns, wait=wait)
    source.connect()
    blocks = list(source.blocks())
    assert [b.first_sample for b in blocks] == [0, 100, 200]
    assert [b.n_samples for b in blocks] == [100, 100, 50]
    assert [b.arrival_ns for b in blocks] == [20_000_000, 40_000_000, 50_000_000]
    assert np.concatenate([b.samples for b in blocks]).tobytes() == SUBJECT.samples(0, 250).tobytes()


def test_closing_the_source_ends_a_wait_for_its_next_block() -> None:
    assert blocks_until_closed(lambda clock: SimulatedSource(SUBJECT, 100, clock_ns=clock)) == []


def test_an_address_names_preset_subject_and_day() -> None:
    assert "simulated" in sources.schemes()
    for where, expected in (
        ("", SimulatedSubject()),
        ("hard", SimulatedSubject(preset="hard")),
        ("easy/3", SimulatedSubject(3, preset="easy")),
        ("default/2/5", SimulatedSubject(2, 5)),
    ):
        source = open_device(where)
        assert source.info == expected.info
        source.connect()
        assert next(source.blocks()).samples.tobytes() == expected.samples(0, 20).tobytes()
        source.close()


@pytest.mark.parametrize("where", ["default/one", "default/1/2/3", "medium", "default/-1"])
def test_an_address_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(NervehandError):
        open_device(where)


def test_empty_blocks_are_refused() -> None:
    with pytest.raises(NervehandError, match="blocks of 0"):
        SimulatedSource(SUBJECT, 0)


def test_what_a_person_steers_is_told_before_the_block_that_may_hold_it_and_can_be_given_again() -> None:
    said: list[SourceEvent] = []
    rate_hz = SUBJECT.info.rate_hz

    def steered() -> SimulatedSubject:
        motion = SteeredMotion(DEFAULT, 4, 0, rate_hz)
        return SimulatedSubject(4, n_channels=8, rate_hz=rate_hz, motion=motion)

    subject = steered()
    source = SimulatedSource(subject, 250, n_samples=10_000, is_paced=False, on_event=said.append)
    source.connect()
    live = []
    for number, block in enumerate(source.blocks()):
        live.append(block.samples)
        if number in (2, 20):
            source.steer(6 if number == 2 else 0)
    assert [(e.sample_index, e.kind, e.value, e.text) for e in said] == [
        (750, "input", 6, "fist"),
        (5250, "input", 0, "rest"),
    ]
    again = steered()
    for event in said:
        assert isinstance(again.motion, SteeredMotion)
        again.motion.ask(event.sample_index, event.value)
    assert again.samples(0, 10_000).tobytes() == np.concatenate(live).tobytes()
    moved = np.abs(again.truth(0, 10_000).positions).max(1)
    assert moved[:1500].max() == 0 < moved[4000:5000].min()


def test_a_cued_subject_cannot_be_steered_and_a_gesture_must_exist() -> None:
    with pytest.raises(NervehandError, match="follows cues"):
        SimulatedSource(SUBJECT, 100).steer(1)
    subject = SimulatedSubject(motion=SteeredMotion(DEFAULT, 1, 0, 10_000.0))
    with pytest.raises(NervehandError, match="gesture 9: use 0 to 8"):
        SimulatedSource(subject, 100).steer(9)
