"""LSL streams from a sender in another process, over liblsl on the loopback."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import lsl
from firmware_bridge.sources._units import microvolts_per
from firmware_bridge.stream import SignalBlock, StreamInfo
from firmware_bridge.supervised import SupervisedSource
from tests.lsl_sender import Sender, lsl_sender, values

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mne_lsl") is None, reason="mne-lsl is not installed (the extra lsl)"
)

RATE_HZ = 1000.0
N_CHANNELS = 4
LIMIT_S = 60.0
INFO = StreamInfo(RATE_HZ, ("ch00", "ch01", "ch02", "ch03"), "emg")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is there is waited for, which takes no longer where it answers; and what it sent is kept."""
    monkeypatch.setattr(lsl, "_RESOLVE_KNOWN_S", LIMIT_S)
    monkeypatch.setattr(lsl, "_CONNECT_S", LIMIT_S)
    monkeypatch.setattr(lsl, "_BUFFER_S", round(2 * LIMIT_S))


@pytest.fixture(scope="module")
def process() -> Iterator[Sender]:
    with lsl_sender() as sender:
        yield sender


@pytest.fixture
def sender(process: Sender) -> Iterator[Sender]:
    yield process
    process.close()


@pytest.fixture
def device(sender: Sender, request: pytest.FixtureRequest) -> Iterator[lsl.LslDevice]:
    """Connected to a stream of that test's own."""
    source_id = f"id of {request.node.name}"
    sender.open(request.node.name, N_CHANNELS, RATE_HZ, source_id=source_id)
    device = lsl.LslDevice(INFO, request.node.name, source_id, stall_s=LIMIT_S)
    device.connect()
    yield device
    device.close()


def description(
    n_channels: int,
    dtype: str = "float32",
    rate_hz: float = RATE_HZ,
    stype: str = "EMG",
    labels: list[str] | None = None,
    units: list[str] | None = None,
    types: list[str] | None = None,
) -> lsl._Description:
    """What a sender says of its stream, as the library hands it on."""
    from mne_lsl.lsl import StreamInfo as Description

    said: lsl._Description = Description("described", stype, n_channels, rate_hz, dtype, "")
    for method, entries in (("names", labels), ("units", units), ("types", types)):
        if entries is not None:
            getattr(said, f"set_channel_{method}")(entries)
    return said


def expected(first: int, end: int) -> np.ndarray:
    return values(np.arange(first, end), N_CHANNELS).astype(np.float32)


def taken(blocks: Iterator[SignalBlock], n_samples: int) -> list[SignalBlock]:
    """Blocks until so many samples have come; a source that stops short of it raises."""
    got: list[SignalBlock] = []
    while sum(block.n_samples for block in got) < n_samples:
        got.append(next(blocks))
    return got


def opened(where: str) -> lsl.LslDevice:
    """Asked for again where its sender, which stood still, did not answer in time; and patient."""
    give_up = time.monotonic() + LIMIT_S
    while True:
        try:
            found = lsl.open_device(where)
        except LinkError:
            assert time.monotonic() < give_up
        else:
            return lsl.LslDevice(found.info, found._name, found._source_id, stall_s=LIMIT_S)


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except NervehandError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, raised


@pytest.mark.slow
def test_a_stream_is_found_by_what_it_says_of_itself(sender: Sender) -> None:
    sender.open("amplifier", 3, 2000.0, labels=["median/1", "median/2", "ulnar/1"], units=["uV"] * 3)
    info = opened("amplifier").info
    give_up = time.monotonic() + LIMIT_S
    while not (found := [item for item in lsl.find() if item.address == "lsl:amplifier"]):
        assert time.monotonic() < give_up
    assert [item.description.split(", from")[0] for item in found] == ["EMG, 3 channels at 2000 Hz"]
    assert info.rate_hz == 2000.0
    assert info.channel_names == ("median/1", "median/2", "ulnar/1")
    assert info.kind == "emg"
    assert opened("amplifier?kind=nerve").info.kind == "nerve"


def test_every_sample_arrives_once_in_order_and_with_the_bits_that_were_sent(
    sender: Sender, device: lsl.LslDevice
) -> None:
    sender.send([(0, 5000)])
    got = taken(device.blocks(), 5000)
    assert np.array_equal(np.concatenate([block.samples for block in got]), expected(0, 5000))
    assert [block.first_sample for block in got] == list(np.cumsum([0] + [b.n_samples for b in got[:-1]]))
    assert all(block.samples.flags["C_CONTIGUOUS"] and block.samples.dtype == np.float32 for block in got)
    assert device.counters.lost_samples == 0
    assert device.counters.connections == 1


@pytest.mark.parametrize(
    ("dtype", "unit", "scale_uv", "factor"),
    [("int16", None, 1.0, 1.0), ("int16", "mV", 1000.0, 1.0), ("int32", "nanovolts", 1.0, 1e-3),
     ("float64", "volts", 1.0, 1e6), ("float32", "-6", 1.0, 1.0), ("float32", "mV", 1.0, 1e3)],
)  # fmt: skip
def test_values_become_microvolts(dtype: str, unit: str | None, scale_uv: float, factor: float) -> None:
    _, layout = lsl.described(description(4, dtype, units=None if unit is None else [unit] * 4))
    sent = values(np.arange(100), 4)
    samples = layout.samples(sent.astype(dtype))
    kind = {"int16": np.int16, "float32": np.float32}.get(dtype, np.float64)
    assert layout.scale_uv == scale_uv
    assert samples.dtype == kind
    assert np.array_equal(samples, sent.astype(kind) * np.array(factor, kind))


def test_whole_numbers_stay_so_on_the_way(sender: Sender) -> None:
    sender.open("whole", 4, RATE_HZ, "int16", units=["mV"] * 4)
    device = opened("whole")
    assert device.info.full_scale_uv == 32767e3
    device.connect()
    sender.send([(0, 100)])
    got = taken(device.blocks(), 100)
    device.close()
    assert {block.scale_uv for block in got} == {1000.0}
    assert np.array_equal(np.concatenate([block.samples for block in got]), values(np.arange(100), 4))


def test_channels_without_a_voltage_and_triggers_are_left_out() -> None:
    info, layout = lsl.described(
        description(4, labels=["a", "b", "acceleration", "trigger"], units=["uV", "mV", "g", "uV"],
                    types=["emg", "emg", "misc", "stim"])
    )  # fmt: skip
    assert info.channel_names == ("a", "b")
    sent = values(np.arange(100), 4).astype(np.float32)
    assert np.array_equal(layout.samples(sent), sent[:, :2] * np.array([1, 1000], np.float32))


def test_what_a_description_does_not_say() -> None:
    """No labels: numbers. No units: microvolts. No type that says so: nerve."""
    info, layout = lsl.described(description(3, stype=""))
    assert info == StreamInfo(RATE_HZ, ("ch00", "ch01", "ch02"), "nerve")
    assert layout.factors_uv == (1.0, 1.0, 1.0)
    repeated, _ = lsl.described(description(2, labels=["electrode", "electrode"]))
    assert repeated.channel_names == ("electrode/0", "electrode/1")


def test_streams_that_cannot_be_decoded_are_refused() -> None:
    with pytest.raises(NervehandError, match="irregular rate"):
        lsl.described(description(1, rate_hz=0.0))
    with pytest.raises(NervehandError, match="text"):
        lsl.described(description(1, dtype="string"))
    with pytest.raises(NervehandError, match=r"no channel .* unit of voltage .*celsius"):
        lsl.described(description(2, units=["celsius", "celsius"]))


def test_addresses_that_lead_nowhere_are_refused() -> None:
    with pytest.raises(LinkError, match=r"no LSL stream is called 'nobody' \(there now: none\)"):
        lsl.open_device("nobody")
    with pytest.raises(NervehandError, match="stream kind is 'eeg'"):
        lsl.open_device("amplifier?kind=eeg")
    with pytest.raises(NervehandError, match="needs the stream's name"):
        lsl.open_device("")


def test_stamps_that_skip_are_lost_samples_at_their_place(sender: Sender, device: lsl.LslDevice) -> None:
    sender.send([(0, 1500), (1501, 1700), (1950, 2400), (2400, 3000)])
    got = taken(device.blocks(), 1500 + 199 + 450 + 600)
    assert {b.first_sample: b.lost_before for b in got if b.lost_before} == {1501: 1, 1950: 250}
    assert device.counters.lost_samples == 251
    for block in got:
        assert np.array_equal(
            block.samples, expected(block.first_sample, block.first_sample + block.n_samples)
        )


def test_samples_sent_again_are_dropped_and_counted(sender: Sender, device: lsl.LslDevice) -> None:
    sender.send([(0, 2000), (1900, 2100), (2050, 2500)])
    got = taken(device.blocks(), 2500)
    assert np.array_equal(np.concatenate([block.samples for block in got]), expected(0, 2500))
    assert device.counters.repeated_samples == 150
    assert device.counters.lost_samples == 0


def test_other_samples_with_stamps_seen_before_are_not_taken_for_repeats(
    sender: Sender, device: lsl.LslDevice
) -> None:
    """A device at twice its nominal rate: nothing is dropped, so that the rate shows."""
    sender.send([(0, 1500)])
    n = 1000
    sender.tell(
        do="stamped", index=list(range(1500, 1500 + n)), stamps_s=[1.5 + i / 2 / RATE_HZ for i in range(n)]
    )
    got = taken(device.blocks(), 1500 + n)
    assert np.array_equal(np.concatenate([block.samples for block in got]), expected(0, 1500 + n))
    assert device.counters.repeated_samples == 0


@pytest.mark.parametrize("stamps", ["counted", "when sent"])
def test_a_sender_at_twice_the_rate_is_another_stream(
    sender: Sender, device: lsl.LslDevice, stamps: str
) -> None:
    source = SupervisedSource(device, lambda event: None, rate_window_s=1.0)
    source.connect()
    n = round(2 * RATE_HZ * LIMIT_S)  # a second or two of them will do, unless the machine stands still
    sender.begin(do="paced", n=n, chunk=20, dropped=[], stamps=stamps, pace_hz=2 * RATE_HZ)
    got: list[SignalBlock] = []
    with pytest.raises(StreamMismatchError, match="rate"):
        got.extend(source.blocks())
    sender.begin(do="nothing")  # which ends it
    sender.finish()
    sender.finish()
    assert device.counters.lost_samples == device.counters.repeated_samples == 0


def test_a_sender_that_stamps_when_it_sends_loses_nothing_by_its_jitter(
    sender: Sender, device: lsl.LslDevice
) -> None:
    """Pieces of 20 samples, sent up to 15 ms late; a sender stamps the last of them, and LSL the others before it."""
    n, chunk = 3000, 20
    late_s = np.repeat(np.random.default_rng(1).uniform(0.0, 0.015, n // chunk), chunk)
    stamps_s = np.arange(n) / RATE_HZ + late_s
    sender.begin(do="stamped", index=list(range(n)), stamps_s=stamps_s.tolist())
    got = taken(device.blocks(), n)
    sender.finish()
    assert np.array_equal(np.concatenate([block.samples for block in got]), expected(0, n))
    assert device.counters.lost_samples == 0


@pytest.mark.slow
def test_a_sender_that_vanishes_is_a_lost_source_and_comes_back(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.open("again", N_CHANNELS, RATE_HZ, source_id="id of again")
    device = lsl.LslDevice(INFO, "again", "id of again")
    for number in range(1, 4):
        device._polling._stall_s = LIMIT_S
        device.connect()
        sender.send([(0, 300)])
        blocks = device.blocks()
        got = taken(blocks, 300)
        assert got[0].first_sample == 0
        assert np.array_equal(np.concatenate([block.samples for block in got]), expected(0, 300))
        sender.close()
        device._polling._stall_s = 5.0
        # liblsl closes its connections at once, or now and then not before the next sample.
        with pytest.raises(SourceLostError, match=r"'again' is (lost|silent)"):
            list(blocks)
        assert list(device.blocks()) == []
        assert device.counters.connections == number
        if number == 1:
            with monkeypatch.context() as impatient:
                impatient.setattr(lsl, "_RESOLVE_KNOWN_S", 2.0)
                with pytest.raises(LinkError, match="is not there"):
                    device.connect()
        sender.open("again", N_CHANNELS, RATE_HZ, source_id="id of again")


@pytest.mark.slow
def test_a_sender_that_is_killed_is_a_lost_source(process: Sender) -> None:
    with lsl_sender() as other:
        other.open("killed", N_CHANNELS, RATE_HZ)
        device = opened("killed")
        device.connect()
        other.send([(0, 300)])
        blocks = device.blocks()
        taken(blocks, 300)
        os.kill(other.pid, 9)
        device._polling._stall_s = 5.0
        with pytest.raises(SourceLostError):
            list(blocks)


def test_a_silent_sender_is_a_lost_source(sender: Sender) -> None:
    sender.open("silent", N_CHANNELS, RATE_HZ)
    device = lsl.LslDevice(INFO, "silent", stall_s=1.0)
    device.connect()
    with pytest.raises(SourceLostError, match="silent for 1 s"):
        list(device.blocks())
    sender.send([(0, 100)])
    assert list(device.blocks()) == []


def test_nothing_sent_before_connecting_arrives(sender: Sender, device: lsl.LslDevice) -> None:
    device.close()
    n = round(2 * LIMIT_S * RATE_HZ)  # more than are needed, until it is told to end
    sender.begin(do="paced", n=n, chunk=20, dropped=[], stamps="counted")
    device.connect()
    blocks = device.blocks()
    first = next(blocks)
    index = next(i for i in range(n) if np.array_equal(first.samples[0], expected(i, i + 1)[0]))
    rest = np.concatenate([first.samples, *(block.samples for block in taken(blocks, 500))])
    sender.begin(do="nothing")  # which ends it
    sender.finish()
    sender.finish()
    assert index > 0  # the connection took its time
    assert np.array_equal(rest, expected(index, index + rest.shape[0]))


def test_another_stream_of_the_same_name_is_refused_where_this_one_was(
    sender: Sender, device: lsl.LslDevice, request: pytest.FixtureRequest
) -> None:
    sender.close()
    sender.open(request.node.name, N_CHANNELS + 1, RATE_HZ, source_id=f"id of {request.node.name}")
    with pytest.raises(
        StreamMismatchError,
        match="from ch00, ch01, ch02, ch03 to ch00, ch01, ch02, ch03, ch04",
    ):
        device.connect()
    sender.close()
    sender.open(request.node.name, N_CHANNELS, 2 * RATE_HZ, source_id=f"id of {request.node.name}")
    with pytest.raises(StreamMismatchError, match=r"sampling rate \(Hz\) changed from 1000\.0 to 2000\.0"):
        device.connect()


def test_closing_from_another_thread_ends_a_waiting_iteration(sender: Sender, device: lsl.LslDevice) -> None:
    got: list[SignalBlock] = []
    thread, raised = in_background(lambda: got.extend(device.blocks()))
    sender.send([(0, 200)])
    deadline = time.monotonic() + LIMIT_S
    while sum(block.n_samples for block in got) < 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    device.close()
    device.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert raised == []
    assert sum(block.n_samples for block in got) == 200


@pytest.mark.parametrize(
    ("unit", "microvolts"),
    [("uV", 1), ("µV", 1), ("μV", 1), ("microvolts", 1), ("Microvolt", 1), ("-6", 1), ("mV", 1e3), ("millivolts", 1e3),
     ("V", 1e6), ("volts", 1e6), ("0", 1e6), ("nV", 1e-3), ("-9", 1e-3), ("MV", None), ("celsius", None), ("g", None),
     ("", None), ("counts", None), ("3", None), ("--6", None), ("²", None)],
)  # fmt: skip
def test_units(unit: str, microvolts: float | None) -> None:
    assert microvolts_per(unit) == (None if microvolts is None else pytest.approx(microvolts))
