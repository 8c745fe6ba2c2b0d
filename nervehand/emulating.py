"""`nervehand emulate`: a simulated nerve or a recorded session behind the protocol of a real front-end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from firmware_bridge.emulators.worker import Worker
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, Source
from nervehand.sources import how_to_install, missing_extra, open_source
from nervehand.stopping import stop_on_signals

SERIAL_PORT = Path(tempfile.gettempdir()) / "nervehand-serial"
_FRAME_BYTES = 16384
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Served:
    """An emulator at work, and the address that reaches it."""

    address: str
    worker: Worker


def cut(blocks: Iterator[SignalBlock], most: int) -> Iterator[SignalBlock]:
    """The same samples in blocks of at most `most`."""
    for block in blocks:
        for at in range(0, block.n_samples, most):
            rows = slice(at, at + most)
            yield replace(
                block,
                samples=block.samples[rows],
                first_sample=block.first_sample + at,
                lost_before=0 if at else block.lost_before,
                digital=None if block.digital is None else block.digital[rows],
            )


@contextmanager
def serve_serial(source: Source, is_paced: bool, port: Path) -> Iterator[Served]:
    """On a pseudo-terminal, linked at `port`."""
    from firmware_bridge.emulators.serial import SerialEmulator

    blocks = source.blocks()
    first = next(blocks, None)
    if first is None or first.samples.dtype != np.int16:
        raise NervehandError(
            "the serial protocol carries 16-bit counts, this session holds microvolts: serve it as intan or openephys"
        )

    def all_blocks() -> Iterator[SignalBlock]:
        yield first
        yield from blocks

    most = max(1, _FRAME_BYTES // (2 * source.info.n_channels + 4))
    speed = 1.0 if is_paced else None
    with SerialEmulator(source.info, cut(all_blocks(), most), port, speed) as emulator:
        yield Served(f"serial:{emulator.port}", emulator.worker)


@contextmanager
def serve_intan(source: Source, is_paced: bool, port: Path) -> Iterator[Served]:
    """As Intan RHX's two TCP ports."""
    from firmware_bridge.emulators.intan import IntanEmulator

    with IntanEmulator(source.info, source.blocks(), is_paced) as emulator:
        yield Served(f"intan:{emulator.address}", emulator.worker)


@contextmanager
def serve_openephys(source: Source, is_paced: bool, port: Path) -> Iterator[Served]:
    """As the Open Ephys GUI's ZMQ Interface."""
    if extra := missing_extra("openephys"):
        raise NervehandError(f"emulating Open Ephys needs the extra {extra}: {how_to_install(extra)}")
    from firmware_bridge.emulators.openephys import OpenEphysEmulator

    with OpenEphysEmulator(source.info, source.blocks(), is_paced) as emulator:
        yield Served(f"openephys:{emulator.address}", emulator.worker)


KINDS: Mapping[str, Callable[[Source, bool, Path], AbstractContextManager[Served]]] = {
    "serial": serve_serial,
    "intan": serve_intan,
    "openephys": serve_openephys,
}


def run_emulate(kind: str, address: str, rate: str, port: Path, start_s: float) -> None:
    """Serve a source until Ctrl-C; says the address that reaches it. Raises what reading the source raises."""
    if kind not in KINDS:
        raise NervehandError(f"there is no emulator of {kind!r}: use one of {', '.join(KINDS)}")
    if rate not in ("1", "max"):
        raise NervehandError(f"rate is {rate!r}: use 1 (the source's own) or max (as fast as it is read)")
    source = open_source(address, is_paced=False, start_s=start_s)
    source.connect()
    with (
        stop_on_signals() as stop,
        contextlib.closing(source),
        KINDS[kind](source, rate == "1", port) as served,
    ):
        print(f"{address} is served as {served.address}\ntry: nervehand inspect {served.address}", flush=True)
        said = False
        while served.worker.error is None and not stop.wait(_LOOK_S):
            if served.worker.finished.is_set() and served.worker.error is None and not said:
                said = True
                print("all samples are sent; Ctrl-C ends it", flush=True)
