"""The simulated person as a front-end."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge import sources
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.sources.simulated import SimulatedSource, open_device
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
        assert next(source.blocks()).samples.tobytes() == expected.samples(0, 50).tobytes()
        source.close()


@pytest.mark.parametrize("where", ["default/one", "default/1/2/3", "medium", "default/-1"])
def test_an_address_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(NervehandError):
        open_device(where)


def test_empty_blocks_are_refused() -> None:
    with pytest.raises(NervehandError, match="blocks of 0"):
        SimulatedSource(SUBJECT, 0)
