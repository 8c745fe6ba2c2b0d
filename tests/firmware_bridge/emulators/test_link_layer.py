"""The link layer alone: PDUs between two controllers, at connection events that a test calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.emulators._link_layer import (
    EVENTS_TO_ESTABLISH,
    End,
    LinkLayer,
    RadioCounters,
    RadioSettings,
)
from firmware_bridge.errors import NervehandError


@dataclass
class Rig:
    """A connection whose ends note what they receive, and when."""

    settings: RadioSettings
    is_lost: Callable[[], bool] = lambda: False
    received: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: {"c": [], "p": []})
    acknowledged: dict[str, list[int]] = field(default_factory=lambda: {"c": [], "p": []})
    counters: RadioCounters = field(default_factory=RadioCounters)
    events: int = 0

    def __post_init__(self) -> None:
        self.central, self.peripheral = self._end("c"), self._end("p")
        self.link = LinkLayer(self.central, self.peripheral, self.is_lost, self.counters)

    def _end(self, name: str) -> End[int]:
        return End(
            lambda pdu, at_s: self.received[name].append((pdu, at_s)), self.acknowledged[name].append, 0.0
        )

    def run(self, events: int) -> None:
        for _ in range(events):
            self.events += 1
            self.link.event(self.events * self.settings.interval_s, self.settings)

    def numbers(self, name: str) -> list[int]:
        return [pdu for pdu, _ in self.received[name]]


def losing(probability: float, seed: int = 1) -> Callable[[], bool]:
    generator = np.random.default_rng(seed)
    return lambda: bool(generator.random() < probability)


def test_an_event_carries_so_many_pdus_in_each_direction_and_no_more() -> None:
    rig = Rig(RadioSettings(pdus_per_event=3))
    rig.central.queue.extend(range(10))
    rig.peripheral.queue.extend(range(100, 105))
    rig.run(1)
    assert rig.numbers("p") == [0, 1, 2]
    assert rig.numbers("c") == [100, 101, 102]
    rig.run(1)
    assert rig.numbers("p") == [0, 1, 2, 3, 4, 5]
    assert rig.numbers("c") == [100, 101, 102, 103, 104]
    rig.run(2)
    assert rig.numbers("p") == list(range(10))


def test_a_pdu_comes_at_the_next_event_and_is_acknowledged_to_whoever_sent_it() -> None:
    rig = Rig(RadioSettings(interval_s=0.03))
    rig.central.queue.append(7)
    rig.peripheral.queue.append(8)
    rig.run(1)
    assert rig.received == {"p": [(7, 0.03)], "c": [(8, 0.03)]}
    assert rig.acknowledged == {"c": [7], "p": []}  # the central acknowledges with its next PDU
    rig.run(1)
    assert rig.acknowledged == {"c": [7], "p": [8]}


def test_a_lost_answer_means_that_a_pdu_is_sent_again_and_not_received_again() -> None:
    answers = iter([False, True, False, False])  # the second PDU on the air, the peripheral's, is lost
    rig = Rig(RadioSettings(), lambda: next(answers))
    rig.central.queue.append(7)
    rig.run(1)
    assert rig.numbers("p") == [7]
    assert rig.acknowledged["c"] == []
    rig.run(1)
    assert rig.numbers("p") == [7]
    assert rig.acknowledged["c"] == [7]
    assert rig.counters == RadioCounters(events=2, pdus=4, lost=1)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from("cp"), st.integers(0, 5)), max_size=40),
    st.floats(0, 0.8),
    st.integers(1, 6),
    st.integers(0, 1000),
)
def test_nothing_is_lost_doubled_or_out_of_order_whatever_is_lost_on_the_air(
    queued: list[tuple[str, int]], loss: float, per_event: int, seed: int
) -> None:
    rig = Rig(RadioSettings(pdus_per_event=per_event), losing(loss, seed))
    sent: dict[str, list[int]] = {"c": [], "p": []}
    for number, (who, events) in enumerate(queued):
        sent[who].append(number)
        (rig.central if who == "c" else rig.peripheral).queue.append(number)
        rig.run(events)
    for _ in range(20_000):
        if not rig.central.queue and not rig.peripheral.queue:
            break
        rig.run(1)
    assert (rig.numbers("p"), rig.numbers("c")) == (sent["c"], sent["p"])
    assert rig.acknowledged == sent


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.6])
def test_the_delay_by_loss_is_geometric_in_events(loss: float) -> None:
    """A PDU of the central arrives with the k-th event with probability (1 - loss) loss^(k - 1)."""
    rig = Rig(RadioSettings(interval_s=0.0075), losing(loss))
    delays = []
    for number in range(4000):
        began = rig.events
        rig.central.queue.append(number)
        while rig.central.queue:
            rig.run(1)
        delays.append(round(rig.received["p"][-1][1] / rig.settings.interval_s) - began)
    n = len(delays)
    for k in (1, 2, 3):
        expected = (1 - loss) * loss ** (k - 1)
        spread = 5 * np.sqrt(expected * (1 - expected) / n)
        assert abs(delays.count(k) / n - expected) < spread
    assert abs(np.mean(delays) - 1 / (1 - loss)) < 5 * np.sqrt(loss) / (1 - loss) / np.sqrt(n)


def test_empty_pdus_keep_a_connection_without_data_alive() -> None:
    quiet = Rig(RadioSettings(interval_s=0.03, supervision_s=0.1))
    quiet.run(1000)
    assert not quiet.central.has_timed_out(30.0, quiet.settings)
    assert not quiet.peripheral.has_timed_out(30.0, quiet.settings)
    assert quiet.counters.pdus == 2000


def test_a_side_times_out_when_it_heard_nothing_for_that_long_and_not_sooner() -> None:
    deaf = False
    rig = Rig(RadioSettings(interval_s=0.01, supervision_s=0.2), lambda: deaf)
    rig.run(100)
    deaf = True
    while not rig.central.has_timed_out(rig.events * 0.01, rig.settings):
        rig.run(1)
    assert rig.events == 120
    assert rig.peripheral.has_timed_out(rig.events * 0.01, rig.settings)


def test_a_peripheral_hears_the_central_whose_answers_are_lost() -> None:
    """Only the other way is lost: every second PDU on the air."""
    turn = iter(range(10**9))
    rig = Rig(RadioSettings(interval_s=0.01, supervision_s=0.2), lambda: next(turn) % 2 == 1)
    rig.run(30)
    assert rig.central.has_timed_out(0.3, rig.settings)
    assert not rig.peripheral.has_timed_out(0.3, rig.settings)


def test_a_connection_in_which_nothing_was_ever_received_ends_after_six_events() -> None:
    rig = Rig(RadioSettings(interval_s=0.03), lambda: True)
    rig.run(EVENTS_TO_ESTABLISH - 1)
    assert not rig.central.has_timed_out(rig.events * 0.03, rig.settings)
    rig.run(1)
    assert rig.central.has_timed_out(rig.events * 0.03, rig.settings)


def test_settings_are_read_from_text_and_checked() -> None:
    made = RadioSettings().changed("interval=0.03,loss=0.3,queue=4")
    assert made == RadioSettings(interval_s=0.03, loss=0.3, queue=4)
    assert made.changed("") == made
    for text, wrong in {
        "loss=1.5": "loss is 1.5: give 0 to 1",
        "interval=0.001": r"interval_s is 0\.001",
        "speed=3": "'speed' is not known: use interval, loss",
        "queue=many": "queue is 'many': give a number",
        "interval=0.5,supervision=1": "more than two intervals",
        "loss=nan": "loss is nan",
    }.items():
        with pytest.raises(NervehandError, match=wrong):
            made.changed(text)
