"""Unplugged and plugged in again, over every transport: it always recovers, always says so, and nothing stale comes.

Every sample's value tells when it was made, whatever the device's counter says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulators.intan import IntanEmulator
from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.sources import intan
from firmware_bridge.sources.serial import SerialDevice
from firmware_bridge.stream import Device, SignalBlock
from firmware_bridge.supervised import SourceEvent, SupervisedSource
from tests.firmware_bridge.sources import patterned
from tests.proof.patience import LIMIT_S, patiently
from tests.proof.plugin import Proof

STALL_S = 0.2


@dataclass
class Made:
    """The samples that an emulated device has taken to send, in order."""

    n_channels: int
    size: int
    rate_hz: float = 10_000.0
    end: int = 0  # one past the index of the last sample taken

    def blocks(self) -> Iterator[SignalBlock]:
        for block in patterned.blocks(None, self.n_channels, self.size):
            self.end = block.first_sample + block.n_samples
            yield block


@dataclass(frozen=True)
class Peer:
    """A device at the end of a real transport, and how its link is cut and mended."""

    device: Device
    cut: Callable[[], None]
    mend: Callable[[], None]
    scale_uv: float = 1.0  # of the values that come, where they are not the counts that were sent
    is_quick: bool = True  # to find out that nothing is there


@contextmanager
def serial(made: Made, folder: Path, fault: str) -> Iterator[Peer]:
    info = patterned.info(made.n_channels, made.rate_hz)
    with SerialEmulator(info, made.blocks(), folder / "port", speed=1.0) as emulator:
        device = SerialDevice(emulator.port, info, stall_s=STALL_S, answer_s=0.2)
        cuts = {"port closed": (emulator.unplug, emulator.plug), "stalled": (emulator.stall, emulator.resume)}
        yield Peer(device, *cuts[fault])


@contextmanager
def rhx(made: Made, folder: Path, fault: str) -> Iterator[Peer]:
    info = patterned.info(made.n_channels, made.rate_hz)
    with IntanEmulator(info, made.blocks(), is_paced=True) as emulator:
        host, port = emulator.address.split(":")
        described = patiently(lambda: intan.open_device(emulator.address))
        described.release()
        device = intan.IntanDevice(host, int(port), described.info, stall_s=STALL_S, timeout_s=1.0)
        cuts = {
            "connection reset": (emulator.reset, lambda: None),
            "host gone": (emulator.unplug, emulator.plug),
            "stalled": (emulator.stall, lambda: emulator.stall(False)),
        }
        try:
            yield Peer(device, *cuts[fault])
        finally:
            device.release()


@contextmanager
def open_ephys(made: Made, folder: Path, fault: str) -> Iterator[Peer]:
    pytest.importorskip("zmq", reason="the extra openephys (pyzmq) is not installed")
    from firmware_bridge.emulators.openephys import OpenEphysEmulator
    from firmware_bridge.sources import openephys

    info = patterned.info(made.n_channels, made.rate_hz)
    with OpenEphysEmulator(info, made.blocks(), block_samples=made.size) as emulator:
        device = patiently(lambda: openephys.open_device(emulator.address))
        cuts = {
            "connection reset": (emulator.reset, lambda: None),
            "host gone": (emulator.unplug, emulator.plug),
            "stalled": (emulator.stall, lambda: emulator.stall(False)),
        }
        yield Peer(device, *cuts[fault], scale_uv=0.195, is_quick=False)


Transport = Callable[[Made, Path, str], AbstractContextManager[Peer]]


@dataclass
class Watched:
    """What a consumer sees of one run."""

    events: list[SourceEvent] = field(default_factory=list)
    blocks: int = 0
    made_before: int = 0  # samples made before the link was cut last

    def kinds_since(self, n: int) -> list[str]:
        return [event.kind for event in self.events[n:]]


@pytest.mark.parametrize(
    ("transport", "fault"),
    [
        (serial, "port closed"),
        (serial, "stalled"),
        (rhx, "connection reset"),
        (rhx, "host gone"),
        (rhx, "stalled"),
        (open_ephys, "connection reset"),
        (open_ephys, "host gone"),
        (open_ephys, "stalled"),
    ],
)
def test_fifty_losses_of_the_link_are_recovered_and_said_and_nothing_stale_comes(
    proof: Proof, tmp_path: Path, transport: Transport, fault: str
) -> None:
    n_losses = proof.count(50)
    random = np.random.default_rng(proof.seed)
    made, seen = Made(n_channels=8, size=128), Watched()
    is_cut = threading.Event()
    tries_left = 0

    with transport(made, tmp_path, fault) as peer:

        def wait(seconds: float) -> bool:
            """Mends the link when it was tried to reconnect as often as drawn; waits a little, not as long as asked."""
            nonlocal tries_left
            if is_cut.is_set():
                tries_left -= 1
                if tries_left < 0:
                    peer.mend()
                    is_cut.clear()
            return stopped.wait(min(seconds, 0.02))

        stopped = threading.Event()
        source = SupervisedSource(peer.device, seen.events.append, wait=wait)
        patiently(source.connect)
        done, left, said, stale, last, last_index = 0, 3, 0, 0, -1, 0
        watchdog = threading.Timer(LIMIT_S, lambda: (stopped.set(), source.close()))
        watchdog.start()
        for block in source.blocks():
            counts = np.rint(block.samples / peer.scale_uv).astype(np.int16)
            index = patterned.index_of(counts)
            assert patterned.is_intact(counts)
            stale += index <= last
            assert block.first_sample >= last_index
            assert block.lost_before == (block.first_sample - last_index if seen.blocks else 0)
            kinds = seen.kinds_since(said)
            if "reconnected" in kinds:
                assert kinds.index("lost") < kinds.index("reconnected")
                stale += index < seen.made_before  # made before the link was cut
                done += seen.made_before > 0
                said, seen.made_before = len(seen.events), 0
                left = int(random.integers(1, 8))
                watchdog.cancel()
                watchdog = threading.Timer(LIMIT_S, lambda: (stopped.set(), source.close()))
                watchdog.start()
            last, last_index = index + block.n_samples - 1, block.first_sample + block.n_samples
            seen.blocks += 1
            if done == n_losses:
                break
            left -= 1
            if left == 0:
                tries_left = int(random.integers(0, 3) if peer.is_quick else random.random() < 0.1)
                seen.made_before = made.end
                is_cut.set()
                peer.cut()
        watchdog.cancel()
        source.close()

    kinds = seen.kinds_since(0)
    proof.record(
        losses=n_losses,
        recovered=done,
        said=kinds.count("lost"),
        stale_blocks=stale,
        began_anew=kinds.count("began anew"),
        samples_lost=source.counters.lost_samples,
    )
    assert (done, stale) == (n_losses, 0)
    assert kinds.count("lost") == kinds.count("reconnected") >= n_losses
    assert "rate" not in kinds
