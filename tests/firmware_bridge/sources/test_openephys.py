"""Open Ephys over ZMQ as a front-end, against a publisher of its messages on the loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import openephys
from firmware_bridge.sources._openephys_assembly import Heard
from firmware_bridge.stream import SignalBlock
from tests.firmware_bridge.sources import patterned

pytest.importorskip("zmq", reason="the extra openephys (pyzmq) is not installed")

from firmware_bridge.emulators.openephys import OpenEphysEmulator
from firmware_bridge.pacing import paced
from firmware_bridge.sources.openephys import OpenEphysDevice, open_device

LONG_S = 60.0
N = 4
SIZE = 200


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openephys, "TIMEOUT_S", LONG_S)


def emulator(is_paced: bool = False) -> OpenEphysEmulator:
    """Four channels and samples without end."""
    return OpenEphysEmulator(patterned.info(N), patterned.blocks(None, N), is_paced, SIZE)


HEARD_OF_N = Heard("nerve", 10_000.0, tuple(range(N)), patterned.info(N).channel_names)


def opened(gui: OpenEphysEmulator, stall_s: float = LONG_S) -> OpenEphysDevice:
    known = open_device(gui.address)
    return OpenEphysDevice("127.0.0.1", gui.port, known.info, HEARD_OF_N, stall_s, LONG_S)


def take(blocks: Iterator[SignalBlock], n_blocks: int) -> list[SignalBlock]:
    return [next(blocks) for _ in range(n_blocks)]


def take_until(blocks: Iterator[SignalBlock], is_done: Callable[[SignalBlock], bool]) -> list[SignalBlock]:
    taken = [next(blocks)]
    while not is_done(taken[-1]):
        taken.append(next(blocks))
    return taken


def microvolts(first: int, n: int) -> np.ndarray:
    return (patterned.samples(first, n, N) * np.float64(0.195)).astype(np.float32)


def assert_continuous(blocks: list[SignalBlock]) -> None:
    """Unchanged, in order, and everything missing said."""
    for block in blocks:
        assert block.samples.dtype == np.float32
        assert np.array_equal(block.samples, microvolts(block.first_sample, block.n_samples))
    for before, after in pairwise(blocks):
        assert after.first_sample == before.first_sample + before.n_samples + after.lost_before


def test_the_stream_is_known_before_connecting() -> None:
    with emulator() as gui:
        device = open_device(gui.address)
        assert device.info.rate_hz == 10_000.0
        assert device.info.channel_names == ("ch00", "ch01", "ch02", "ch03")
        assert device.info.kind == "nerve"
        assert device.counters.connections == 0


def test_every_sample_comes_once_unchanged_and_in_order() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        taken = take(device.blocks(), 50)
        assert_continuous(taken)
        assert all(block.lost_before == 0 and block.arrival_ns > 0 for block in taken)
        assert device.counters.frames == 50
        device.close()


def test_ttl_events_are_digital_lines_from_the_sample_on_at_which_they_came() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        for block in take(device.blocks(), 20):
            assert block.digital is not None
            assert np.array_equal(block.digital, patterned.digital(block.first_sample, block.n_samples))
        device.close()


def test_heartbeats_are_sent() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        give_up = time.monotonic() + LONG_S
        while not gui.n_heartbeats:
            assert time.monotonic() < give_up
            next(blocks)
        device.close()


def test_a_reset_connection_is_said_and_the_next_one_goes_on() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        taken: list[SignalBlock] = []
        blocks = device.blocks()
        taken += take(blocks, 10)
        gui.reset()
        with pytest.raises(SourceLostError, match="broke"):
            taken.extend(blocks)
        connect_until_there(device)
        after = take(device.blocks(), 10)
        assert_continuous(taken)
        assert_continuous(after)
        assert after[0].first_sample >= taken[-1].first_sample + taken[-1].n_samples
        assert device.counters.connections == 2
        device.close()


def test_a_gui_that_is_gone_is_not_there_until_it_is_back() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        take(blocks, 10)
        gui.unplug()
        with pytest.raises(SourceLostError):
            list(blocks)
        with pytest.raises(LinkError):
            device.connect()
        gui.plug()
        connect_until_there(device)
        assert_continuous(take(device.blocks(), 10))
        device.close()


def connect_until_there(device: OpenEphysDevice) -> None:
    give_up = time.monotonic() + LONG_S
    while True:
        try:
            device.connect()
        except LinkError:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        else:
            return


def test_silence_is_a_loss() -> None:
    with emulator() as gui:
        device = opened(gui, stall_s=0.3)
        device.connect()
        gui.stall()
        with pytest.raises(SourceLostError):
            list(device.blocks())
        gui.stall(False)
        device.connect()
        assert device.counters.connections == 2
        device.close()


def test_where_only_the_acquisition_stopped_it_is_said() -> None:
    with emulator() as gui:
        known = opened(gui)
        gui.stall()
        device = OpenEphysDevice("127.0.0.1", gui.port, known.info, HEARD_OF_N, timeout_s=1.0)
        give_up = time.monotonic() + LONG_S
        while True:
            with pytest.raises(LinkError, match=r"start its acquisition|nothing comes from") as raised:
                device.connect()
            if "start its acquisition" in str(raised.value):
                break
            assert time.monotonic() < give_up, "it never heard the answer to a heartbeat"


def test_messages_without_end_that_make_no_block_end_the_connection() -> None:
    is_wanted = threading.Event()

    def sent() -> Iterator[SignalBlock]:
        for block in patterned.blocks(None, N, SIZE):
            if is_wanted.is_set():
                for _ in range(100 * N + 1):  # all of them between two blocks
                    gui.insert(BAD[0])
            yield block

    gui = OpenEphysEmulator(patterned.info(N), sent(), False, SIZE)
    with gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 5)
        is_wanted.set()
        with pytest.raises(SourceLostError, match="no whole block"):
            taken.extend(blocks)
        assert_continuous(taken)


def test_twice_the_rate_is_taken_as_it_comes() -> None:
    """Whether it is too fast is judged by whoever supervises the source, with the host's clock. The sender waits where
    this machine stood still: what is overdue would come at once, and more than ZMQ keeps."""
    info = patterned.info(N)
    fast = paced(patterned.blocks(None, N, SIZE), 2 * info.rate_hz, threading.Event().wait)
    with OpenEphysEmulator(info, fast, False, SIZE) as gui:
        device = opened(gui)
        device.connect()
        assert_continuous(take(device.blocks(), 30))
        assert device.counters.lost_samples == 0
        device.close()


def test_repeated_blocks_are_dropped_and_counted() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 10)
        gui.repeat(3)
        taken += take_until(blocks, lambda block: device.counters.repeated_samples >= 3 * SIZE)
        assert_continuous(taken)
        assert device.counters.repeated_samples == 3 * SIZE
        assert device.counters.lost_samples == 0
        device.close()


def test_skipped_blocks_are_counted_and_said_in_the_next_block() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 10)
        gui.skip(2)
        taken += take_until(blocks, lambda block: block.lost_before > 0)
        assert taken[-1].lost_before == device.counters.lost_samples == 2 * SIZE
        assert_continuous(taken)
        device.close()


def test_a_block_that_lacks_a_channel_is_lost_and_no_other() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 10)
        gui.drop([1, 3])
        taken += take_until(blocks, lambda block: block.lost_before > 0)
        assert taken[-1].lost_before == device.counters.lost_samples == SIZE
        assert_continuous(taken)
        device.close()


@pytest.mark.parametrize("n_channels", [N - 1, N + 1])
def test_a_changed_channel_count_ends_the_connection_and_is_a_mismatch_afterwards(n_channels: int) -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        taken: list[SignalBlock] = []
        blocks = device.blocks()
        taken += take(blocks, 10)
        gui.change_channels(n_channels)
        with pytest.raises(SourceLostError, match="channels"):
            taken.extend(blocks)
        assert_continuous(taken)
        with pytest.raises(StreamMismatchError, match="channels changed"):
            device.connect()


BAD = [
    (b"DATA\0",),
    (b"", b""),
    (b"HELLO", b"{}", b""),
    (b"DATA\0", b"{", b""),
    (b"DATA\0", b"[]", b""),
    (b"DATA\0", b"[" * 60_000, b""),
    (b"DATA\0", b'{"type": "data", "content": 5, "data_size": 0}', b""),
    (b"EVENT\0", b'{"type": "event", "content": {"type": 3, "source_node": 1, "sample_num": 5}}'),
    (b"DATA\0", b"\xff\xfe", b"x" * 4),
]


def test_messages_that_are_none_are_counted_and_passed_over() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 5)
        for message in BAD:
            gui.insert(message)
        taken += take_until(blocks, lambda block: device.counters.bad_frames >= len(BAD))
        assert device.counters.bad_frames == len(BAD)
        assert_continuous(taken)
        assert device.counters.lost_samples == 0
        device.close()


def test_a_message_larger_than_any_of_open_ephys_ends_the_connection() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        blocks = device.blocks()
        taken = take(blocks, 5)
        gui.insert((b"DATA\0", b"{}", bytes(1 << 17)))
        with pytest.raises(SourceLostError, match="broke"):
            taken.extend(blocks)
        assert_continuous(taken)


@pytest.mark.slow
def test_what_is_dropped_while_nobody_reads_is_bounded_and_counted() -> None:
    """ZMQ and the system keep some thousands of messages; what comes after says how many samples the rest were."""
    n = 1_000_000
    is_connected, is_made, may_go_on = threading.Event(), threading.Event(), threading.Event()

    def sent() -> Iterator[SignalBlock]:
        first = 0
        while not is_connected.is_set():
            yield from patterned.blocks(SIZE, N, SIZE, first=first)
            first += SIZE
        yield from (replace(block, digital=None) for block in patterned.blocks(n, N, 20_000, first=first))
        is_made.set()
        may_go_on.wait(LONG_S)
        yield from patterned.blocks(None, N, SIZE, first=first + n)

    with OpenEphysEmulator(patterned.info(N), sent(), True, SIZE) as gui:
        device = opened(gui)
        device.connect()
        gui.set_speed(1e6)
        is_connected.set()
        assert is_made.wait(4 * LONG_S)
        gui.set_speed(1.0)
        may_go_on.set()
        blocks = device.blocks()
        taken = take_until(blocks, lambda block: block.lost_before > 0)
        taken += take(blocks, 5)
        for before, after in pairwise(taken):
            assert after.first_sample == before.first_sample + before.n_samples + after.lost_before
        assert device.counters.lost_samples == sum(block.lost_before for block in taken)
        kept = sum(block.n_samples for block in taken)
        assert kept < n  # how much exactly is the kernel's affair: its buffers grow as it likes
        device.close()


def test_close_from_another_thread_ends_a_waiting_iteration_without_a_block() -> None:
    with emulator() as gui:
        device = opened(gui, stall_s=600.0)
        device.connect()
        gui.stall()
        ended = threading.Event()

        def iterate() -> None:
            list(device.blocks())
            ended.set()

        thread = threading.Thread(target=iterate)
        thread.start()
        time.sleep(0.05)  # most likely it waits by now; where not, it must end all the same
        device.close()
        thread.join(LONG_S)
        assert ended.is_set()
        assert list(device.blocks()) == []
        gui.stall(False)
        device.connect()
        assert_continuous(take(device.blocks(), 5))
        device.close()


def test_close_interrupts_a_connect_that_waits() -> None:
    with emulator() as gui:
        known = open_device(gui.address).info
        gui.stall()
        device = OpenEphysDevice("127.0.0.1", gui.port, known, HEARD_OF_N, timeout_s=600.0)
        errors: list[Exception] = []

        def connect() -> None:
            try:
                device.connect()
            except LinkError as error:
                errors.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        give_up = time.monotonic() + LONG_S
        while thread.is_alive() and time.monotonic() < give_up:
            device.close()
            time.sleep(0.01)
        assert not thread.is_alive()
        assert len(errors) == 1


def test_a_device_that_is_dropped_without_a_close_holds_nothing_up() -> None:
    code = (
        "import gc, sys\n"
        "from firmware_bridge.sources import openephys\n"
        "from firmware_bridge.sources._interrupt import Patience\n"
        f"openephys.Patience = lambda seconds: Patience({LONG_S})\n"
        "open_device = openephys.open_device\n"
        "device = open_device(sys.argv[1]); device.connect(); next(device.blocks())\n"
        "device.itself = device; del device; gc.collect()\n"
        "left = open_device(sys.argv[1]); left.connect(); next(left.blocks()); print('done')"
    )
    with emulator() as gui:
        command = [sys.executable, "-c", code, gui.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LONG_S, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_iteration_may_be_left_and_taken_up_again() -> None:
    with emulator() as gui:
        device = opened(gui)
        device.connect()
        taken = take(device.blocks(), 2)
        taken += take(device.blocks(), 5)
        assert_continuous(taken)
        device.close()


def test_where_nothing_listens_it_is_said_with_the_remedy() -> None:
    with emulator() as gui:
        address = gui.address
    with pytest.raises(LinkError, match="nothing listens"):
        open_device(address)


@pytest.mark.parametrize("where", ["", ":5556", "host:", "host:port"])
def test_an_address_is_a_host_and_perhaps_a_port(where: str) -> None:
    with pytest.raises(NervehandError, match=r"write openephys:HOST\[:PORT\]"):
        open_device(where)


def test_it_is_found_by_its_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openephys, "_FIND_MS", round(LONG_S * 1000))
    with emulator() as gui:
        monkeypatch.setattr(openephys, "DATA_PORT", gui.port)
        assert [found.address for found in openephys.find()] == ["openephys:127.0.0.1"]
    monkeypatch.setattr(openephys, "_FIND_MS", 100)
    assert openephys.find() == ()


def test_without_the_extra_the_error_names_it_and_nothing_is_found() -> None:
    code = (
        "import sys; sys.modules['zmq'] = None\n"
        "from firmware_bridge.sources import openephys\n"
        "print(openephys.find())\n"
        "openephys.open_device('127.0.0.1')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "()\n"
    assert "NervehandError: Open Ephys needs pyzmq: pip install 'nervehand[openephys]'" in done.stderr


def test_importing_the_source_loads_no_zmq() -> None:
    code = "import sys, firmware_bridge.sources.openephys; print('zmq' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
