"""A running engine as a source: sample-exact through links that are cut, and honest where something is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from firmware_bridge import sources
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.port import Port, serving
from firmware_bridge.port.entries import own_token
from firmware_bridge.sources.port import PortDevice, find, open_device
from firmware_bridge.stream import SignalBlock
from firmware_bridge.supervised import SourceEvent, SupervisedSource
from tests.firmware_bridge.port.proxy import proxied
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO, PATIENCE_S, RATE_HZ, until, values


class Sending:
    """An owner who has a block of 10 samples each 10 ms, as a front-end at RATE_HZ would."""

    def __init__(self, port: Port, first: int = 0, rate: float = 1.0) -> None:
        self.sent = first
        self._port, self._first, self._rate = port, first, rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._over.is_set():
            due = self._first + int((time.monotonic() - began_s) * RATE_HZ * self._rate) // 10 * 10
            while self.sent < due:
                samples = values(self.sent, 10)
                self._port.samples(SignalBlock(samples, self.sent, time.monotonic_ns()))
                self.sent += 10
            time.sleep(0.002)

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


class Taking:
    """All blocks of a source, taken by a thread of its own."""

    def __init__(self, source: SupervisedSource | PortDevice) -> None:
        self.blocks: list[SignalBlock] = []
        self.error: Exception | None = None
        self._source = source
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for block in self._source.blocks():
                self.blocks.append(block)
        except NervehandError as error:
            self.error = error

    @property
    def n_samples(self) -> int:
        return sum(block.n_samples for block in list(self.blocks))

    def __enter__(self) -> Taking:
        self._source.connect()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._source.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "closing did not end the blocks"


@contextmanager
def engine() -> Iterator[Port]:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        yield port


def supervised(address: str, token: str | None = None) -> tuple[SupervisedSource, list[SourceEvent]]:
    events: list[SourceEvent] = []
    return SupervisedSource(PortDevice(address, token), events.append), events


def assert_exact(blocks: list[SignalBlock]) -> None:
    """Every sample once, in order, and the right one."""
    first = blocks[0].first_sample
    joined = np.concatenate([block.samples for block in blocks])
    np.testing.assert_array_equal(joined, values(first, len(joined)))
    for before, block in pairwise(blocks):
        assert block.first_sample == before.first_sample + before.n_samples
        assert block.lost_before == 0
        assert block.arrival_ns >= before.arrival_ns


def test_it_is_found_and_opened_by_its_address() -> None:
    with engine() as port:
        (found,) = find()
        assert (found.address, found.description) == (f"port:{port.address}", "a test")
        device = sources.load("port").open_device(port.address)
        assert device.info == INFO
    assert find() == ()


def test_links_that_are_cut_in_the_middle_of_a_frame_lose_and_repeat_nothing() -> None:
    with engine() as port, proxied(port.address) as proxy, Sending(port):
        source, events = supervised(proxy.address)
        with Taking(source) as taking:
            for budget in (1, 5, 13, 300, 777, 1500, 4000, 9999):
                until(lambda: taking.blocks, "the first block")
                have = taking.n_samples
                proxy.budget = budget
                until(lambda have=have: proxy.budget is None and taking.n_samples > have + 50, "it goes on")
        assert taking.error is None
        assert_exact(taking.blocks)
        assert [event.kind for event in events].count("lost") >= 8
        assert source.counters.lost_samples == source.counters.repeated_samples == 0
        lost = [event.text for event in events if event.kind == "reconnected"]
        assert all("; 0 samples lost" in text for text in lost), lost


def test_an_outage_of_seconds_is_made_up_and_the_rate_is_still_believed() -> None:
    with engine() as port, proxied(port.address) as proxy, Sending(port) as sending:
        source, _ = supervised(proxy.address)
        with Taking(source) as taking:
            until(lambda: taking.n_samples > 200, "samples")
            proxy.cut(refusing=True)
            cut_at = taking.n_samples
            until(lambda: sending.sent > cut_at + 3000, "the outage")
            assert taking.n_samples < cut_at + 500
            proxy.restore()
            until(lambda: taking.n_samples > cut_at + 6000, "it has caught up")
        assert taking.error is None
        assert_exact(taking.blocks)
        arrivals = np.array([block.arrival_ns for block in taking.blocks])
        ends = np.array([block.first_sample + block.n_samples for block in taking.blocks])
        late_s = arrivals / 1e9 - ends / RATE_HZ
        # They carry the time at which they came to the engine, not that at which the link was back.
        assert np.percentile(late_s, 95) - late_s.min() < 1.0


def test_a_link_that_stands_still_is_given_up_and_made_up_for() -> None:
    with engine() as port, proxied(port.address) as proxy, Sending(port):
        source, events = supervised(proxy.address)
        with Taking(source) as taking:
            until(lambda: taking.n_samples > 100, "samples")
            proxy.is_stopped = True
            until(lambda: any(event.kind == "lost" for event in events), "silence is noticed")
            proxy.is_stopped = False
            have = taking.n_samples
            until(lambda: taking.n_samples > have + 500, "it goes on")
        assert_exact(taking.blocks)


def test_what_is_no_longer_kept_is_counted_as_lost_to_the_sample() -> None:
    slow = replace(INFO, rate_hz=1000.0)
    with serving("127.0.0.1:0", slow, ABOUT) as port, proxied(port.address) as proxy:
        source = SupervisedSource(PortDevice(proxy.address), lambda event: None, rate_tolerance=None)
        port.samples(SignalBlock(values(0, 10), 0, time.monotonic_ns()))
        with Taking(source) as taking:
            first = 10
            while not taking.blocks:  # until the subscription is there
                port.samples(SignalBlock(values(first, 10), first, time.monotonic_ns()))
                first += 10
                time.sleep(0.01)
            proxy.cut(refusing=True)
            for _ in range(300):
                port.samples(SignalBlock(values(first, 1000), first, time.monotonic_ns()))
                first += 1000
            proxy.restore()
            until(lambda: taking.blocks[-1].first_sample + taking.blocks[-1].n_samples == first, "the end")
        begin = taking.blocks[0].first_sample
        lost = sum(block.lost_before for block in taking.blocks[1:])
        assert lost > 100_000
        assert taking.n_samples + lost == first - begin
        for block in taking.blocks:
            np.testing.assert_array_equal(block.samples, values(block.first_sample, block.n_samples))


def test_an_engine_that_was_started_again_goes_on_under_ascending_indices() -> None:
    with engine() as port, Sending(port, 50_000):
        address = port.address
        source, events = supervised(address)
        taking = Taking(source)
        taking.__enter__()
        until(lambda: taking.n_samples > 300, "samples")
    with serving(address, INFO, ABOUT) as port, Sending(port):
        have = taking.n_samples
        until(lambda: taking.n_samples > have + 300, "samples of the new one")
        taking.__exit__()
    assert "began anew" in [event.kind for event in events]
    ends = [block.first_sample + block.n_samples for block in taking.blocks]
    assert all(
        block.first_sample == end + block.lost_before
        for end, block in zip(ends, taking.blocks[1:], strict=False)
    )


def test_another_stream_in_its_place_is_a_mismatch() -> None:
    with engine() as port:
        address = port.address
        device = PortDevice(address)
    with (
        serving(address, replace(INFO, rate_hz=2000.0), ABOUT),
        pytest.raises(StreamMismatchError, match="2000 Hz"),
    ):
        device.connect()


def test_an_engine_that_has_ended_is_lost_with_its_reason() -> None:
    with engine() as port:
        device = PortDevice(port.address)
        taking = Taking(device)
        taking.__enter__()
    until(lambda: taking.error is not None, "the end is noticed")
    assert isinstance(taking.error, SourceLostError)
    assert "has ended" in str(taking.error)
    with pytest.raises(LinkError, match="nothing answers"):
        device.connect()
    taking.__exit__()


def test_closing_ends_a_wait_at_once_and_it_works_again_afterwards() -> None:
    with engine() as port:
        device = PortDevice(port.address)
        for _ in range(2):
            with Taking(device) as taking:
                time.sleep(0.05)
                began_s = time.monotonic()
            assert time.monotonic() - began_s < 3
            assert (taking.blocks, taking.error) == ([], None)
        device.close()


def test_a_wrong_token_is_said_when_it_is_opened() -> None:
    with engine() as port, pytest.raises(NervehandError, match="token is not the one"):
        PortDevice(port.address, "ab" * 32)


def test_through_another_port_number_the_users_own_token_is_found() -> None:
    with engine() as port, proxied(port.address) as proxy:
        assert open_device(proxy.address).info == INFO
        own_token()[1].unlink()
        with pytest.raises(NervehandError, match="no token for the port"):
            open_device(proxy.address)


@pytest.mark.parametrize("where", ["", "x", "127.0.0.1:", "127.0.0.1:-1"])
def test_an_address_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(NervehandError, match="no address of a port"):
        open_device(where)
