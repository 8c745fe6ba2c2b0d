"""A front-end that comes back: indices go on, losses are said, nothing comes twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo
from firmware_bridge.supervised import SourceEvent, SupervisedSource
from tests.firmware_bridge.scripted import INFO, RATE_HZ, Clock, Lose, ScriptedDevice, Send


def supervised(
    *connections: list[Send | Lose] | NervehandError,
    give_up_s: float | None = None,
    rate_tolerance: float | None = 0.1,
) -> tuple[SupervisedSource, list[SourceEvent], Clock, ScriptedDevice]:
    clock, events = Clock(), list[SourceEvent]()
    device = ScriptedDevice(clock, *connections)
    source = SupervisedSource(
        device,
        events.append,
        give_up_s=give_up_s,
        rate_tolerance=rate_tolerance,
        clock_ns=clock.ns,
        wait=clock.wait,
    )
    source.connect()
    return source, events, clock, device


def spans(blocks: list[SignalBlock]) -> list[tuple[int, int, int]]:
    """(first sample, samples, lost before) of each block."""
    return [(b.first_sample, b.n_samples, b.lost_before) for b in blocks]


def kinds(events: list[SourceEvent]) -> list[str]:
    return [event.kind for event in events]


def test_what_a_device_sends_passes_with_its_own_indices() -> None:
    source, events, *_ = supervised([Send(500, 10), Send(510, 20), Send(535, 5)])
    blocks = list(source.blocks())
    assert spans(blocks) == [(500, 10, 0), (510, 20, 0), (535, 5, 5)]
    assert np.array_equal(blocks[1].samples[:, 0], np.arange(510, 530))
    assert events == []
    assert source.counters.lost_samples == 5
    assert source.info is INFO


def test_nothing_there_at_the_first_start_is_the_callers_to_know() -> None:
    clock = Clock()
    source = SupervisedSource(ScriptedDevice(clock, LinkError("nothing answers")), [].append)
    with pytest.raises(LinkError, match="nothing answers"):
        source.connect()
    assert clock.waits == []


def test_a_counter_that_went_on_gives_the_exact_loss() -> None:
    # 0.3 s away: 300 samples went by, of which the device's counter knows.
    source, events, clock, _ = supervised(
        [Send(0, 1000), Lose()], [Send(1301, 10, after_s=0.26), Send(1311, 10)]
    )
    assert spans(list(source.blocks())) == [(0, 1000, 0), (1301, 10, 301), (1311, 10, 0)]
    assert kinds(events) == ["lost", "reconnected"]
    assert events[0] == SourceEvent(1000, "lost", "the cable was pulled")
    assert events[1].sample_index == 1301
    assert "301 samples lost" in events[1].text
    assert source.counters.lost_samples == 301
    assert source.counters.connections == 2
    assert clock.waits == [0.05]


def test_a_counter_that_began_anew_goes_on_by_the_hosts_clock_and_says_so() -> None:
    source, events, *_ = supervised([Send(7000, 1000), Lose()], [Send(0, 10, after_s=0.45), Send(10, 10)])
    assert spans(list(source.blocks())) == [(7000, 1000, 0), (8490, 10, 490), (8500, 10, 0)]
    assert kinds(events) == ["lost", "reconnected", "began anew"]
    assert "counts from 0 where 8000 was next" in events[2].text
    assert "490 samples is estimated" in events[2].text


def test_a_device_that_restarts_behind_an_open_link_is_followed() -> None:
    source, events, *_ = supervised([Send(7000, 1000), Send(0, 10, after_s=0.21), Send(10, 10)])
    assert spans(list(source.blocks())) == [(7000, 1000, 0), (8200, 10, 200), (8210, 10, 0)]
    assert kinds(events) == ["began anew"]


def test_a_counter_far_ahead_of_the_clock_is_not_believed() -> None:
    source, events, *_ = supervised([Send(0, 1000), Lose()], [Send(50_000_000, 10, after_s=0.45)])
    assert spans(list(source.blocks())) == [(0, 1000, 0), (1490, 10, 490)]
    assert kinds(events) == ["lost", "reconnected", "began anew"]


def test_what_a_buffer_lost_while_the_host_stood_still_is_believed() -> None:
    # 3 s without reading: what was buffered comes at once, then a gap with no time between.
    source, events, *_ = supervised(
        [Send(0, 1000), Send(1000, 500, after_s=3.0), Send(3900, 100, after_s=0.0)]
    )
    assert spans(list(source.blocks())) == [(0, 1000, 0), (1000, 500, 0), (3900, 100, 2400)]
    assert events == []


def test_samples_that_come_again_are_dropped_trimmed_and_counted() -> None:
    source, events, *_ = supervised([Send(0, 100), Send(50, 50), Send(80, 50), Send(0, 100), Send(130, 5)])
    blocks = list(source.blocks())
    assert spans(blocks) == [(0, 100, 0), (100, 30, 0), (130, 5, 0)]
    assert np.array_equal(blocks[1].samples[:, 1], np.arange(100, 130))
    assert blocks[1].digital is not None
    assert np.array_equal(blocks[1].digital, np.arange(100, 130))
    assert source.counters.repeated_samples == 50 + 20 + 100
    assert kinds(events) == ["repeated"]  # at most once a second


def test_a_stale_block_after_a_reconnect_is_not_delivered() -> None:
    stale = Send(900, 100, after_s=0.0)
    source, events, *_ = supervised([Send(0, 5000), Lose()], [Send(4800, 200, after_s=0.0), Send(5100, 10)])
    assert spans(list(source.blocks())) == [(0, 5000, 0), (5100, 10, 100)]
    assert kinds(events) == ["lost", "repeated", "reconnected"]
    # Older, from a counter that could not have come so far since: also not.
    source, events, *_ = supervised([Send(0, 2000), Lose()], [stale, Send(2100, 10)])
    assert spans(list(source.blocks())) == [(0, 2000, 0), (2100, 10, 100)]


def test_it_tries_again_with_growing_waits_for_ever() -> None:
    gone = [LinkError("no such port") for _ in range(12)]
    source, events, clock, _ = supervised([Send(0, 10), Lose()], *gone, [Send(9000, 10)])
    assert [b.n_samples for b in source.blocks()] == [10, 10]
    assert clock.waits[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert set(clock.waits[5:]) == {1.0}
    assert kinds(events) == ["lost", "reconnected"]
    assert "13 attempts" in events[1].text


def test_a_link_that_fails_again_at_once_is_one_outage_with_growing_waits() -> None:
    source, events, clock, _ = supervised([Send(0, 10), Lose()], [Lose()], [Lose()], [Send(400, 10)])
    assert len(list(source.blocks())) == 2
    assert clock.waits == [0.05, 0.1, 0.2]
    assert kinds(events) == ["lost", "reconnected"]


def test_it_gives_up_where_that_was_asked_for() -> None:
    gone = [LinkError("no such port") for _ in range(12)]
    source, _, clock, device = supervised([Send(0, 10), Lose()], *gone, give_up_s=2.0)
    with pytest.raises(SourceLostError, match=r"did not come back within 2 s \(5 attempts"):
        list(source.blocks())
    assert sum(clock.waits) <= 2.0
    assert not device.is_open


def test_another_stream_coming_back_ends_it() -> None:
    other = StreamMismatchError("8 channels where 16 were")
    source, events, *_ = supervised([Send(0, 10), Lose()], LinkError("not yet"), other)
    with pytest.raises(StreamMismatchError, match="8 channels"):
        list(source.blocks())
    assert kinds(events) == ["lost", "mismatch"]


@pytest.mark.parametrize("factor", [2.0, 1.25, 0.8, 0.5])
def test_a_device_at_another_rate_is_said_and_ends_the_stream(factor: float) -> None:
    steps: list[Send | Lose] = [Send(k * 20, 20, after_s=0.02 / factor) for k in range(3000)]
    source, events, clock, device = supervised(steps)
    begun_ns = clock.now_ns
    with pytest.raises(StreamMismatchError, match=f"about {RATE_HZ * factor:.0f} Hz, not at 1000 Hz"):
        list(source.blocks())
    assert kinds(events) == ["rate"]
    assert (clock.now_ns - begun_ns) / 1e9 < 8.0
    assert not device.is_open


@pytest.mark.parametrize("factor", [1.05, 1.0, 0.95])
def test_a_rate_within_its_tolerance_passes(factor: float) -> None:
    steps: list[Send | Lose] = [Send(k * 20, 20, after_s=0.02 / factor) for k in range(3000)]
    source, events, *_ = supervised(steps)
    assert len(list(source.blocks())) == 3000
    assert events == []


def test_a_rate_that_is_not_judged_passes() -> None:
    steps: list[Send | Lose] = [Send(k * 20, 20, after_s=0.0001) for k in range(2000)]
    source, events, *_ = supervised([*steps, Send(500_000, 10)], rate_tolerance=None)
    blocks = list(source.blocks())
    assert len(blocks) == 2001
    assert blocks[-1].lost_before == 500_000 - 40_000
    assert events == []


def test_connecting_again_after_a_close_goes_on_with_the_indices() -> None:
    source, events, clock, _ = supervised([Send(0, 3000)], [Send(0, 10)])
    assert spans(list(source.blocks())) == [(0, 3000, 0)]
    source.close()
    clock.now_ns += 1_000_000_000
    source.connect()
    assert spans(list(source.blocks())) == [(4000, 10, 1000)]
    assert kinds(events) == ["began anew"]


def test_closing_ends_the_waiting_for_a_device_that_is_gone() -> None:
    events: list[SourceEvent] = []
    device = ScriptedDevice(Clock(), [Send(0, 10), Lose()], *[LinkError("no such port")] * 1000)
    source = SupervisedSource(device, events.append, longest_wait_s=3600.0)
    source.connect()
    taken: list[SignalBlock] = []
    thread = threading.Thread(target=lambda: taken.extend(source.blocks()))
    thread.start()
    while not events:
        thread.join(0.01)
    source.close()
    thread.join(60.0)
    assert not thread.is_alive()
    assert len(taken) == 1


def test_a_device_that_comes_back_after_the_close_is_let_go() -> None:
    class ClosedWhileItConnects(ScriptedDevice):
        def connect(self) -> None:
            super().connect()
            if self.counters.connections == 2:
                source.close()
                self.is_open = True  # the closing came before the link was up

    clock = Clock()
    device = ClosedWhileItConnects(clock, [Send(0, 10), Lose()], [Send(10, 10)])
    source = SupervisedSource(device, [].append, clock_ns=clock.ns, wait=clock.wait)
    source.connect()
    assert len(list(source.blocks())) == 1
    assert not device.is_open


def test_an_error_of_another_kind_is_not_swallowed() -> None:
    class Broken(ScriptedDevice):
        def blocks(self) -> Iterator[SignalBlock]:
            raise ValueError("a mistake in the program")
            yield

    source = SupervisedSource(Broken(Clock(), []), [].append)
    source.connect()
    with pytest.raises(ValueError, match="a mistake"):
        list(source.blocks())


@pytest.mark.parametrize(
    "wrong",
    [{"give_up_s": -1.0}, {"longest_wait_s": 0.0}, {"rate_tolerance": 2.0}, {"rate_window_s": 0.0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(NervehandError, match=next(iter(wrong))):
        SupervisedSource(ScriptedDevice(Clock()), [].append, **wrong)  # type: ignore[arg-type]  # one of several


# What a device may do next, as (what, how much).
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "skip", "repeat", "unplug", "restart", "reboot", "stall"]),
        st.integers(1, 240),
    ),
    max_size=40,
)


@given(ACTIONS, st.sampled_from([None, 0.1]))
@settings(max_examples=200, deadline=None)
def test_whatever_a_device_does_no_sample_comes_twice_and_every_gap_is_said(
    actions: list[tuple[str, int]], rate_tolerance: float | None
) -> None:
    """Each sample's value is its number in the device's life, which no restart of its counter changes."""
    made = counter = 0
    links: list[list[Send | Lose]] = [[]]
    for what, n in actions:
        if what == "send":
            links[-1].append(Send(counter, n, value=made))
        elif what == "repeat":  # what it sent before, in one block, with something new or without
            back = min(n, counter, made)
            again = Send(counter - back, back + n % 3, value=made - back)
            links[-1].append(again)
            n %= 3
        elif what == "stall":  # the host stands still, then what was buffered comes at once
            links[-1].append(Send(counter, n, after_s=2 * n / RATE_HZ, value=made))
            links[-1].append(Send(counter + n, n, after_s=0.0, value=made + n))
            n *= 2
        if what in ("unplug", "restart"):
            links[-1].append(Lose(n / RATE_HZ))
            links.append([])
        made += n
        counter = 0 if what in ("restart", "reboot") else counter + n
    source, events, *_ = supervised(*links, rate_tolerance=rate_tolerance)
    blocks = list(source.blocks())
    assert_continuous(blocks, source.counters)
    values = np.concatenate([b.samples[:, 0] for b in blocks]) if blocks else np.empty(0)
    assert np.all(np.diff(values) > 0)
    assert kinds(events).count("lost") >= kinds(events).count("reconnected")


@given(
    st.lists(
        st.lists(
            st.builds(
                Send,
                st.integers(0, 2**63) | st.integers(0, 3000),
                st.integers(0, 300),
                st.floats(0, 4) | st.just(0.0),
                st.just(0),
            ),
            max_size=12,
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=200, deadline=None)
def test_any_counters_at_all_give_a_stream_that_goes_on(links: list[list[Send]]) -> None:
    steps = [[*link, Lose()] for link in links[:-1]] + [list(links[-1])]
    source, *_ = supervised(*steps)
    blocks: list[SignalBlock] = []
    with suppress(StreamMismatchError):  # nobody sends at a steady rate here
        blocks.extend(source.blocks())
    assert_continuous(blocks, source.counters)


def assert_continuous(blocks: list[SignalBlock], counters: LinkCounters) -> None:
    """Indices strictly increase, and `lost_before` is always the gap."""
    assert all(b.n_samples for b in blocks)
    for before, block in pairwise(blocks):
        assert block.first_sample >= before.first_sample + before.n_samples
        assert block.lost_before == block.first_sample - before.first_sample - before.n_samples
    assert counters.lost_samples == sum(b.lost_before for b in blocks)


def test_the_stream_is_described_before_it_starts() -> None:
    described: StreamInfo = SupervisedSource(ScriptedDevice(Clock()), [].append).info
    assert described.n_channels == 2
