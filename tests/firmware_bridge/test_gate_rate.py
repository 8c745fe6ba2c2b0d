"""Never more commands a second than the hand takes, and no motion lost or gained by it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.gate import GateState
from tests.firmware_bridge.gate_rig import LIMITS, MS, NS, Rig


def at_rate(rate_hz: float, **changes: object) -> Rig:
    rig = Rig(replace(LIMITS, max_command_rate_hz=rate_hz, **changes))  # type: ignore[arg-type]
    rig.arm()
    for _ in range(10):
        rig.step(rig.command(0.0), dt_ns=100 * MS)
    assert rig.last.state is GateState.ARMED
    rig.now_ns += NS
    return rig


@pytest.mark.parametrize(
    ("dt_ns", "sent"),
    [(0, False), (1, False), (20 * MS - 1, False), (20 * MS, True), (20 * MS + 1, True), (-1, True)],
)
def test_the_next_is_not_sent_before_its_slot(dt_ns: int, sent: bool) -> None:
    rig = at_rate(50.0)
    assert rig.step(rig.command(0.1), dt_ns=0).send
    assert rig.gate.next_slot_ns == rig.now_ns + 20 * MS
    decision = rig.step(rig.command(0.1), dt_ns=dt_ns)
    assert (decision.send, decision.state, decision.cause) == (sent, GateState.ARMED, None)


@pytest.mark.parametrize("rate_hz", [7.0, 30.0, 50.0, 99.9])
@pytest.mark.parametrize("step_ms", [1, 3, 10])
def test_no_second_has_more_than_it_may(rate_hz: float, step_ms: int) -> None:
    rig = at_rate(rate_hz)
    sent = [
        i * step_ms for i in range(3000 // step_ms) if rig.step(rig.command(0.4), dt_ns=step_ms * MS).send
    ]
    assert all(sum(start <= at < start + 1000 for at in sent) <= rate_hz + 0.999 for start in sent)
    assert all(b - a >= 1000 / rate_hz for a, b in itertools.pairwise(sent))
    assert len(sent) >= 3000 // (1000 / rate_hz + step_ms) - 1


def test_what_is_left_out_is_made_up_for_at_the_same_speed_and_no_more() -> None:
    rig = at_rate(20.0)
    rig.step(rig.command(0.0), dt_ns=0)
    places = [float(rig.step(rig.command(0.4), dt_ns=10 * MS).positions[2]) for _ in range(10)]
    np.testing.assert_allclose(places, [0, 0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.4], atol=1e-6)


@pytest.mark.parametrize(("rate_hz", "moved"), [(100.0, 0.05), (20.0, 0.05), (10.0, 0.1), (5.0, 0.2)])
def test_a_slot_that_is_longer_than_the_longest_step_is_made_up_for(rate_hz: float, moved: float) -> None:
    rig = at_rate(rate_hz, max_step_s=0.05, silence_after_s=5.0, stale_after_s=5.0)
    rig.step(rig.command(0.0), dt_ns=0)
    rig.step(rig.command(0.5), dt_ns=NS)
    assert rig.last.positions[0] == pytest.approx(moved, abs=1e-6)


def test_a_stop_goes_out_in_the_next_slot() -> None:
    rig = at_rate(50.0)
    rig.step(rig.command(0.5), dt_ns=20 * MS)
    rig.step(rig.command(0.5), dt_ns=20 * MS)
    here = rig.last.positions
    rig.gate.stop(rig.now_ns, "Bo")
    assert not rig.step(dt_ns=10 * MS).send
    assert rig.last.state is GateState.HOLDING
    assert rig.step(dt_ns=10 * MS).send
    np.testing.assert_array_equal(rig.last.positions, here)


def test_nothing_sent_is_no_slot_taken() -> None:
    assert Rig().gate.next_slot_ns == 0


def test_a_hand_that_waits_for_the_first_slot_starts_from_where_it_says_it_is_then() -> None:
    rig = at_rate(10.0)
    rig.step(rig.command(0.0), dt_ns=0)
    rig.positions = np.full(6, 0.2, np.float32)
    rig.arm()
    assert not rig.step(dt_ns=50 * MS).send
    rig.positions = np.full(6, 0.3, np.float32)
    assert rig.step(dt_ns=50 * MS).send
    np.testing.assert_array_equal(rig.positions, np.float32(0.3))
