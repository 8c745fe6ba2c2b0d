"""BrainFlow's boards: the synthetic one, and recordings made here that its playback board plays."""

from __future__ import annotations

import importlib.util
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import brainflow
from firmware_bridge.sources._brainflow_boards import COUNTERS, SYNTHETIC
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.brainflow_recording import STAMP, microvolts, write_recording

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("brainflow") is None,
    reason="BrainFlow is not installed (the extra brainflow, x86-64 only)",
)

LIMIT_S = 60.0
FAST_HZ = 20_000.0  # how fast a recording's stamps let it play
ROOMY = 100_000  # samples in the ring: whatever comes while nobody reads


def recording(path: Path, packages: NDArray[np.int64], rate_hz: float = FAST_HZ) -> NDArray[np.float64]:
    """Written to `path`; the microvolts (16, n) of its lines, of which equal packages have equal ones."""
    samples = microvolts(0, int(packages.max()) + 1)[:, packages]
    write_recording(path, samples, packages, rate_hz)
    return samples


def played(path: Path) -> tuple[list[SignalBlock], brainflow.BrainflowDevice]:
    device = patient(f"playback/{path}")
    device.connect()
    got = list(device.blocks())
    device.close()
    return got, device


def patient(where: str, ring_samples: int = ROOMY) -> brainflow.BrainflowDevice:
    """It is not called silent, and loses nothing, where this machine stands still."""
    opened = brainflow.open_device(where)
    return brainflow.BrainflowDevice(opened.info, opened.board, stall_s=LIMIT_S, ring_samples=ring_samples)


def taken(device: brainflow.BrainflowDevice, end: int) -> list[SignalBlock]:
    """The blocks up to the sample before `end`."""
    got: list[SignalBlock] = []
    for block in device.blocks():
        got.append(block)
        if block.first_sample + block.n_samples >= end:
            break
    return got


def joined(blocks: list[SignalBlock]) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(block.samples, np.float64) for block in blocks]).T


def test_the_synthetic_board_is_found_and_described() -> None:
    assert [item.address for item in brainflow.find()] == ["brainflow:synthetic"]
    info = brainflow.open_device("synthetic").info
    assert info == StreamInfo(250.0, tuple(f"emg{i:02d}" for i in range(1, 17)), "emg")
    assert brainflow.open_device("synthetic?kind=nerve").info.kind == "nerve"


def test_the_synthetic_board_streams_in_order_until_closed_and_again() -> None:
    device = patient("synthetic")
    for number in (1, 2):
        device.connect()
        place = 0
        for block in device.blocks():
            assert block.first_sample == place
            assert block.samples.shape[1] == 16
            assert block.samples.dtype == np.float64
            place += block.n_samples
            if place >= 300:  # beyond one turn of its package numbers
                break
        device.close()
        assert device.counters.connections == number
    assert device.counters.lost_samples == device.counters.repeated_samples == 0


def test_a_recording_arrives_bit_for_bit_and_ends(tmp_path: Path) -> None:
    samples = recording(tmp_path / "r.csv", np.arange(4000))
    got, device = played(tmp_path / "r.csv")
    assert np.array_equal(joined(got), samples)
    assert [block.first_sample for block in got] == list(np.cumsum([0] + [b.n_samples for b in got[:-1]]))
    assert all(block.samples.flags["C_CONTIGUOUS"] for block in got)
    assert device.counters.lost_samples == 0


def test_packages_that_are_missing_are_lost_samples_at_their_place(tmp_path: Path) -> None:
    index = np.delete(np.arange(3000), [*range(500, 507), 1000, *range(2000, 2200)])
    samples = recording(tmp_path / "r.csv", index)
    got, device = played(tmp_path / "r.csv")
    assert np.array_equal(joined(got), samples)
    assert {b.first_sample: b.lost_before for b in got if b.lost_before} == {507: 7, 1001: 1, 2200: 200}
    assert device.counters.lost_samples == 208


def test_packages_that_come_again_are_dropped_and_counted(tmp_path: Path) -> None:
    index = np.concatenate([np.arange(1000), np.arange(980, 1500), [1499, 1499], np.arange(1500, 1600)])
    recording(tmp_path / "r.csv", index)
    got, device = played(tmp_path / "r.csv")
    assert np.array_equal(joined(got), microvolts(0, 1600))
    assert device.counters.repeated_samples == 22
    assert device.counters.lost_samples == 0


def until_lost(device: brainflow.BrainflowDevice, said: str) -> list[SignalBlock]:
    """What comes before the source is lost, which it is soon."""
    device._polling._stall_s = 0.1
    got: list[SignalBlock] = []
    try:
        for block in device.blocks():
            got.append(block)
    except SourceLostError as lost:
        error = str(lost)
    else:
        error = "nothing was said"
    assert re.search(said, error)
    return got


def wait_until_played(device: brainflow.BrainflowDevice, index: int) -> None:
    """Until BrainFlow has that sample of a recording at 250 Hz, or a later one."""
    connection = device._polling._connection
    assert isinstance(connection, brainflow._Connection)
    give_up = time.monotonic() + LIMIT_S
    while True:
        newest = connection.board.get_current_board_data(1)[STAMP]  # which stays in the ring
        if newest.size and newest[-1] >= 1_700_000_000 + index / 250.0:
            return
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_ring_buffer_that_overflows_is_counted_as_lost_with_whole_turns_of_the_counter(
    tmp_path: Path,
) -> None:
    samples = recording(tmp_path / "r.csv", np.arange(1000), rate_hz=250.0)  # plays for 4 s
    device = patient(f"playback/{tmp_path / 'r.csv'}", ring_samples=50)
    device.connect()
    got = taken(device, 21)
    wait_until_played(device, 700)  # nobody reads
    got += taken(device, 1000)
    got += until_lost(device, r"silent for 0.1 s; \d+ lines of its file did not come")
    for block in got:
        end = block.first_sample + block.n_samples
        assert np.array_equal(np.asarray(block.samples).T, samples[:, block.first_sample : end])
    assert device.counters.lost_samples == 1000 - sum(block.n_samples for block in got) > 256


def test_a_board_that_falls_silent_is_lost_and_connects_again(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    recording(path, np.arange(300))
    lines = path.read_text().splitlines()
    values = lines[-1].split("\t")
    values[STAMP] = f"{float(values[STAMP]) + 3:.6f}"
    path.write_text("\n".join([*lines, "\t".join(values)]) + "\n")
    device = patient(f"playback/{path}")
    for number in (1, 2):
        device._polling._stall_s = LIMIT_S
        device.connect()
        got = taken(device, 300)
        got += until_lost(device, "silent for 0.1 s; 1 lines of its file did not come")
        assert np.array_equal(joined(got), microvolts(0, 300))
        assert got[0].first_sample == 0
        assert list(device.blocks()) == []
        assert device.counters.connections == number


def test_a_board_that_sends_the_same_package_over_and_over_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    recording(path, np.concatenate([np.arange(300), np.full(3000, 299)]))
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    for i, values in enumerate(lines):
        values[STAMP] = (
            f"{1_700_000_000 + (i / 1000 if i < 300 else 0.3 + (i - 300) / 50):.6f}"  # for a minute
        )
    path.write_text("".join("\t".join(values) + "\n" for values in lines))
    device = patient(f"playback/{path}")
    device.connect()
    got = taken(device, 300)
    got += until_lost(device, r"silent for 0.1 s; \d+ lines of its file did not come")
    assert np.array_equal(joined(got), microvolts(0, 300))


def test_closing_from_another_thread_ends_a_waiting_iteration(tmp_path: Path) -> None:
    n = 1000
    recording(tmp_path / "r.csv", np.arange(n), rate_hz=1 / 4)  # the next line is due in four seconds
    device = brainflow.open_device(f"playback/{tmp_path / 'r.csv'}")
    device = brainflow.BrainflowDevice(device.info, device.board, stall_s=1e9)
    device.connect()
    blocks = device.blocks()
    assert next(blocks).n_samples
    got: list[SignalBlock] = []
    thread = threading.Thread(target=lambda: got.extend(blocks), daemon=True)
    thread.start()
    device.close()
    device.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert sum(block.n_samples for block in got) < n // 2


def test_a_package_number_that_is_none_is_a_bad_frame_and_its_sample_lost(tmp_path: Path) -> None:
    recording(tmp_path / "r.csv", np.arange(100))
    lines = (tmp_path / "r.csv").read_text().splitlines()
    lines[50] = "nan\t" + lines[50].split("\t", 1)[1]
    (tmp_path / "r.csv").write_text("\n".join(lines) + "\n")
    got, device = played(tmp_path / "r.csv")
    assert device.counters.bad_frames == 1
    assert device.counters.lost_samples == 1
    assert np.array_equal(joined(got), np.delete(microvolts(0, 100), 50, axis=1))


@pytest.mark.parametrize(
    ("where", "said"),
    [("-2", "multicasts"), ("-2?serial_port=x", "multicasts"), ("-3", "needs a file"), ("playback/", "needs a file"),
     ("playback/a.csv@-2", "records nothing"), ("playback/a.csv?ip_port=1", "takes no parameter"),
     ("cyton", "is no BrainFlow board"), ("--1", "is no BrainFlow board"),
     ("0?port=x", "no parameter 'port'"), ("0?file=x", "no parameter 'file'"),
     ("0?ip_port=x", "ip_port is 'x'"), ("synthetic?kind=eeg", "kind is 'eeg'"),
     ("12345", "does not know board 12345")],
)  # fmt: skip
def test_addresses_that_are_wrong_are_refused(where: str, said: str) -> None:
    with pytest.raises(NervehandError, match=said):
        brainflow.open_device(where)


def test_files_that_cannot_be_played_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="No such file"):
        brainflow.open_device(f"playback/{tmp_path / 'none.csv'}")
    (tmp_path / "other.csv").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(StreamMismatchError, match=r"none of the 2 lines .* has the 32 values"):
        brainflow.open_device(f"playback/{tmp_path / 'other.csv'}")
    recording(tmp_path / "r.csv", np.arange(10))
    with pytest.raises(StreamMismatchError, match="has the 24 values"):
        brainflow.open_device(f"playback/{tmp_path / 'r.csv'}@0")
    recording(tmp_path / "r.csv", np.arange(10), rate_hz=0.1)
    with pytest.raises(NervehandError, match=r"line 2 of .* comes 10 s after the one before"):
        brainflow.open_device(f"playback/{tmp_path / 'r.csv'}")


def test_a_real_board_that_is_not_there_does_not_connect(tmp_path: Path) -> None:
    device = brainflow.open_device(f"0?serial_port={tmp_path / 'ttyUSB7'}")
    assert device.info.n_channels == 8
    with pytest.raises(LinkError, match=r"BrainFlow board 0 \(serial_port=.*ttyUSB7\) does not connect"):
        device.connect()


def test_the_package_numbers_of_every_board_listed_are_in_its_descriptor() -> None:
    from brainflow.board_shim import BoardShim

    assert SYNTHETIC in COUNTERS
    for board in COUNTERS:
        assert BoardShim.get_package_num_channel(board) == 0


@pytest.fixture(autouse=True)
def _no_session_left() -> Iterator[None]:
    yield
    from brainflow.board_shim import BoardShim

    BoardShim.release_all_sessions()
