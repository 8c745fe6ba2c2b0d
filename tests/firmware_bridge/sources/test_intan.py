"""Intan RHX as a front-end, against an emulator of its two TCP ports on the loopback."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.emulators.intan import IntanEmulator
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import intan
from firmware_bridge.sources._hosts import split_host
from firmware_bridge.sources.intan import IntanDevice, open_device
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources import patterned

LONG_S = 60.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intan, "TIMEOUT_S", LONG_S)


def emulator(
    outputs: Iterable[str] | None = None,
    kind: str = "ControllerRecordUSB3",
    is_paced: bool = False,
    first_timestamp: int = 0,
    is_relistening: bool = True,
) -> IntanEmulator:
    """RHX with four channels and samples without end."""
    blocks = patterned.blocks(None, 4)
    return IntanEmulator(patterned.info(4), blocks, is_paced, outputs, kind, first_timestamp, is_relistening)


@contextmanager
def opened(rhx: IntanEmulator, stall_s: float = LONG_S) -> Iterator[IntanDevice]:
    first = open_device(rhx.address)
    first.release()
    host, port = split_host(rhx.address, 5000, "")
    device = IntanDevice(host, port, first.info, stall_s, LONG_S)
    try:
        yield device
    finally:
        device.release()


def take(blocks: Iterator[SignalBlock], n_samples: int) -> list[SignalBlock]:
    taken: list[SignalBlock] = []
    while sum(block.n_samples for block in taken) < n_samples:
        taken.append(next(blocks))
    return taken


def take_until(blocks: Iterator[SignalBlock], is_done: Callable[[SignalBlock], bool]) -> list[SignalBlock]:
    taken = [next(blocks)]
    while not is_done(taken[-1]):
        taken.append(next(blocks))
    return taken


def assert_continuous(blocks: list[SignalBlock]) -> None:
    """Intact, in order, and everything missing said."""
    for block in blocks:
        assert patterned.is_intact(np.asarray(block.samples, np.int16))
    for before, after in pairwise(blocks):
        assert after.first_sample == before.first_sample + before.n_samples + after.lost_before


def test_the_stream_is_known_before_it_is_started() -> None:
    with emulator() as rhx:
        device = open_device(rhx.address)
        assert device.info.rate_hz == 10_000.0
        assert device.info.channel_names == ("A-000", "A-001", "A-002", "A-003")
        assert device.info.kind == "nerve"
        assert device.info.full_scale_uv == pytest.approx(32767 * 0.195)
        assert device.info.hardware_band_hz == pytest.approx((0.0945, 7603.8), abs=0.1)
        assert rhx.run_mode == "Stop"
        device.release()


def test_every_sample_comes_once_unchanged_and_in_order() -> None:
    with IntanEmulator(patterned.info(), patterned.blocks(12_800)) as rhx, opened(rhx) as device:
        device.connect()
        taken = take(device.blocks(), 12_800)
        assert taken[0].samples.dtype == np.int16
        assert taken[0].scale_uv == 0.195
        whole = np.concatenate([block.samples for block in taken])
        assert np.array_equal(whole, patterned.samples(0, 12_800))
        assert [block.first_sample for block in taken] == list(range(0, 12_800, 128))
        assert all(block.lost_before == 0 and block.arrival_ns > 0 for block in taken)
        assert device.counters.frames == 100


def test_digital_inputs_and_the_stimulator_are_lines() -> None:
    outputs = ["A-000|", "A-001|", "A-000|stim", "DIGITAL-IN-01|"]
    with emulator(outputs=outputs, kind="ControllerStimRecord") as rhx, opened(rhx) as device:
        assert device.info.channel_names == ("A-000", "A-001")
        assert device.info.stimulation_lines == (16,)
        device.connect()
        for block in take(device.blocks(), 1280):
            assert block.digital is not None
            assert np.array_equal(block.digital, patterned.digital(block.first_sample, block.n_samples))
            assert block.samples.shape == (128, 2)


def test_outputs_other_than_wideband_are_left_out() -> None:
    outputs = ["A-000|", "A-000|low", "A-001|high", "A-002|"]
    with emulator(outputs=outputs) as rhx, opened(rhx) as device:
        assert device.info.channel_names == ("A-000", "A-002")
        device.connect()
        (block,) = take(device.blocks(), 128)
        assert block.digital is None
        assert np.array_equal(block.samples, patterned.samples(0, 128, 4)[:, [0, 2]])


def test_where_nothing_is_enabled_all_amplifiers_are() -> None:
    with emulator(outputs=[]) as rhx, opened(rhx) as device:
        assert device.info.n_channels == 4


def test_a_setup_without_a_wideband_channel_is_refused_with_the_remedy() -> None:
    with emulator(outputs=["A-000|low"]) as rhx, pytest.raises(NervehandError, match="enable the channels"):
        open_device(rhx.address)


def test_the_channels_are_enabled_again_where_rhx_was_started_anew() -> None:
    with emulator() as rhx, opened(rhx) as device:
        rhx.enable([])
        device.connect()
        assert_continuous(take(device.blocks(), 1280))


def test_close_stops_a_run_that_was_started_here() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        assert rhx.run_mode == "Run"
        device.close()
        wait_for(lambda: rhx.run_mode == "Stop")


def test_a_run_that_somebody_else_started_is_joined_and_left_running() -> None:
    with emulator(is_paced=True) as rhx, opened(rhx) as device:
        rhx.press_run()
        device.connect()
        assert_continuous(take(device.blocks(), 1280))
        device.close()
        device.connect()
        assert rhx.run_mode == "Run"


def test_a_reset_connection_is_said_and_the_next_one_goes_on() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        before = take(blocks, 1280)
        rhx.reset()
        with pytest.raises(SourceLostError):
            before.extend(blocks)
        device.connect()
        after = take(device.blocks(), 1280)
        assert_continuous(before)
        assert_continuous(after)
        # The run went on: its counter says exactly what is missing, and nothing comes twice.
        assert after[0].first_sample >= before[-1].first_sample + before[-1].n_samples
        assert patterned.index_of(np.asarray(after[0].samples, np.int16)) == after[0].first_sample
        assert device.counters.connections == 2


def test_an_unplugged_rhx_is_not_there_until_it_is_back() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        take(blocks, 1280)
        rhx.unplug()
        with pytest.raises(SourceLostError):
            list(blocks)
        with pytest.raises(LinkError, match="press Connect"):
            device.connect()
        rhx.plug()
        device.connect()
        after = take(device.blocks(), 1280)
        assert_continuous(after)
        assert after[0].first_sample == 0  # another run


def test_silence_is_a_loss() -> None:
    with emulator() as rhx, opened(rhx, stall_s=0.1) as device:
        rhx.stall()
        blocks = connected_while_stalled(rhx, device)
        with pytest.raises(SourceLostError, match="sent nothing"):
            list(blocks)
        rhx.stall(False)
        device.connect()
        assert device.counters.connections == 2


def connected_while_stalled(rhx: IntanEmulator, device: IntanDevice) -> Iterator[SignalBlock]:
    rhx.stall(False)
    device.connect()
    rhx.stall()
    return device.blocks()


def test_connecting_to_an_rhx_that_sends_nothing_fails() -> None:
    with emulator() as rhx:
        info = open_device(rhx.address).info
        rhx.stall()
        device = IntanDevice(*split_host(rhx.address, 5000, ""), info, timeout_s=0.3)
        with pytest.raises(LinkError):
            device.connect()
        device.release()


def test_twice_the_rate_is_taken_as_it_comes() -> None:
    """Whether it is too fast is judged by whoever supervises the source, with the host's clock."""
    with emulator(is_paced=True) as rhx, opened(rhx) as device:
        rhx.set_speed(2.0)
        device.connect()
        assert_continuous(take(device.blocks(), 5120))
        assert device.counters.lost_samples == 0


def test_repeated_blocks_are_dropped_and_counted() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 1280)
        rhx.repeat(3)
        taken += take_until(blocks, lambda block: device.counters.repeated_samples >= 3 * 128)
        taken += take(blocks, 1280)
        assert_continuous(taken)
        assert device.counters.repeated_samples == 3 * 128
        assert all(block.lost_before == 0 for block in taken)


def test_an_rhx_that_sends_the_same_samples_over_and_over_is_lost() -> None:
    """More of them than would come while it may be silent."""
    rate_hz = 1000.0
    *new, last = patterned.blocks(64 * 128, 4, 128)
    n_enough = int(LONG_S * rate_hz // 128) + 1
    stuck = itertools.chain(new, itertools.repeat(last, 2 * n_enough))
    with IntanEmulator(patterned.info(4, rate_hz), stuck) as rhx, opened(rhx) as device:
        device.connect()
        taken: list[SignalBlock] = []
        with pytest.raises(SourceLostError, match="sent nothing new for"):
            taken.extend(device.blocks())
        assert_continuous(taken)
        assert sum(block.n_samples for block in taken) == 64 * 128
        assert device.counters.repeated_samples == n_enough * 128


def test_skipped_blocks_are_counted_and_said_in_the_next_block() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 1280)
        rhx.skip(2)
        taken += take_until(blocks, lambda block: block.lost_before > 0)
        assert taken[-1].lost_before == 2 * 128
        assert device.counters.lost_samples == 2 * 128
        assert_continuous(taken)


def test_garbage_between_blocks_is_skipped() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 1280)
        garbage = b"garbage \x08\x7a\xf0\x2e and a false beginning"
        rhx.insert(garbage)
        taken += take_until(blocks, lambda block: device.counters.skipped_bytes >= len(garbage))
        taken += take(blocks, 1280)
        assert device.counters.skipped_bytes == len(garbage)
        assert_continuous(taken)
        assert device.counters.bad_frames == 1
        assert device.counters.lost_samples == 0


def test_a_changed_channel_count_ends_the_connection_and_is_a_mismatch_afterwards() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 1280)
        rhx.enable(["A-000|", "A-001|", "A-002|"])
        with pytest.raises(SourceLostError, match="outputs enabled in RHX have changed"):
            taken.extend(blocks)
        assert_continuous(taken)
        with pytest.raises(StreamMismatchError, match="channels changed"):
            device.connect()


def test_a_run_begun_anew_ends_the_connection() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 20_000)
        rhx.begin_run_anew()
        with pytest.raises(SourceLostError, match="began anew"):
            taken.extend(blocks)
        assert_continuous(taken)
        device.connect()
        assert_continuous(take(device.blocks(), 1280))


def test_the_counter_goes_on_where_32_bits_end() -> None:
    with emulator(first_timestamp=2**32 - 300) as rhx, opened(rhx) as device:
        device.connect()
        taken = take(device.blocks(), 1280)
        assert_continuous(taken)
        assert [block.first_sample for block in taken] == [2**32 - 300 + k * 128 for k in range(10)]


def test_close_from_another_thread_ends_a_waiting_iteration_without_a_block() -> None:
    with emulator() as rhx, opened(rhx, stall_s=600.0) as device:
        device.connect()
        rhx.stall()
        ended: list[int] = []
        thread = threading.Thread(target=lambda: ended.append(len(list(device.blocks()))))
        thread.start()
        time.sleep(0.05)  # most likely it waits by now; where not, it must end all the same
        device.close()
        thread.join(LONG_S)
        assert not thread.is_alive()
        rhx.stall(False)
        assert list(device.blocks()) == []
        wait_for(lambda: rhx.run_mode == "Stop")  # RHX takes what one read gives it for one request
        device.connect()
        assert_continuous(take(device.blocks(), 1280))


def test_close_interrupts_a_connect_that_waits() -> None:
    with emulator() as rhx:
        info = open_device(rhx.address).info
        rhx.stall()
        device = IntanDevice(*split_host(rhx.address, 5000, ""), info, timeout_s=600.0)
        errors: list[Exception] = []

        def connect() -> None:
            try:
                device.connect()
            except LinkError as error:
                errors.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        wait_for(lambda: rhx.run_mode == "Run")
        device.close()
        thread.join(LONG_S)
        assert not thread.is_alive()
        assert len(errors) == 1
        device.release()


def test_iteration_may_be_left_and_taken_up_again() -> None:
    with emulator() as rhx, opened(rhx) as device:
        device.connect()
        taken = take(device.blocks(), 128)
        taken += take(device.blocks(), 1280)
        assert_continuous(taken)


def test_rhx_takes_one_program_for_each_press_of_connect() -> None:
    with emulator(is_relistening=False) as rhx:
        info = open_device(rhx.address).info
        rhx.press_connect()
        device = IntanDevice(*split_host(rhx.address, 5000, ""), info, LONG_S, LONG_S)
        for _ in range(2):
            device.connect()
            assert_continuous(take(device.blocks(), 256))
            device.close()
            wait_for(lambda: rhx.run_mode == "Stop")  # RHX takes what one read gives it for one request
        device.release()
        with pytest.raises(LinkError, match="press Connect"):
            open_device(rhx.address)
        rhx.press_connect()
        open_device(rhx.address).release()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\nReturn: RunMode Stop", b"", b"\xff" * 100_000]
)
def test_what_is_not_rhx_is_refused(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(LinkError):
            open_device(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join(LONG_S)


def test_a_third_of_10_khz_is_not_rounded_as_rhx_rounds_it() -> None:
    with IntanEmulator(patterned.info(2, 1e4 / 3), patterned.blocks(None, 2)) as rhx, opened(rhx) as device:
        assert device.info.rate_hz == 1e4 / 3


VALUES = st.sampled_from(
    [
        "True",
        "False",
        "0",
        "1",
        "128",
        "129",
        "-1",
        "30000",
        "nan",
        "1e400",
        "9" * 5000,
        "",
        "Stop",
        "0000000001234567890",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_values_in_the_answers_give_a_description_or_one_error(data: st.DataObject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        values = data.draw(st.lists(VALUES | st.none(), min_size=1, max_size=40))
        thread = threading.Thread(target=answer_with, args=(server, values))
        thread.start()
        with contextlib.suppress(NervehandError):
            info = open_device(f"127.0.0.1:{server.getsockname()[1]}").info
            assert info.rate_hz > 0
        thread.join(LONG_S)
        assert not thread.is_alive()


def answer_with(server: socket.socket, values: list[str | None]) -> None:
    """One client's questions, answered with these values in turn."""
    client, _ = server.accept()
    turn = itertools.cycle(values)
    with client:
        while data := client.recv(1 << 16):
            for command in data.decode("ascii").split(";")[:-1]:
                value = next(turn)
                if command.startswith("get "):
                    client.sendall(
                        b"Unrecognized parameter" if value is None else f"Return: X {value}".encode()
                    )
            client.sendall(b"Return: RunMode Stop")


@pytest.mark.parametrize("where", ["", ":5000", "host:", "host:port", "host:0", "host:99999999999999999999"])
def test_an_address_is_a_host_and_perhaps_a_port(where: str) -> None:
    with pytest.raises(NervehandError, match=r"write intan:HOST\[:PORT\]"):
        open_device(where)


def test_what_listens_on_the_command_port_is_found_without_being_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(intan, "COMMAND_PORT", server.getsockname()[1])
        assert intan.find() == ()
        server.listen()
        assert [found.address for found in intan.find()] == ["intan:127.0.0.1"]


def wait_for(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.005)
