"""Too much has come to be of use: all of it is recorded in its order, and the decoder begins anew behind it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from decoder.chain import compile_kernels
from decoder.intent import Intents
from firmware_bridge.port import Port
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.guarding import in_this_process
from nervehand.live import LiveOptions, LiveRun
from nervehand.recording import LiveRecorder
from nervehand.running import NoHand
from nervehand.screen import NoScreen
from tests.nervehand.test_live import bundle, subject

HOP = 100  # samples of the decoder of test_live


class Scripted:
    """Blocks of given lengths, some after a loss, and a backlog that is there from a block on."""

    def __init__(
        self, sizes: list[int], lost_before: dict[int, int], late_from: int, waiting: list[int]
    ) -> None:
        self._sizes, self._lost, self._late_from, self._waiting = sizes, lost_before, late_from, waiting
        self._at = 0
        self.backlog_s = 0.0
        self.is_filling = False

    @property
    def info(self) -> StreamInfo:
        return subject().info

    def connect(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Nothing to close."""

    def _block(self, n: int, lost: int = 0) -> SignalBlock:
        first = self._at + lost
        self._at = first + n
        samples = np.zeros((n, self.info.n_channels), np.int16)
        return SignalBlock(samples, first, time.monotonic_ns(), lost)

    def blocks(self) -> Iterator[SignalBlock]:
        for number, n in enumerate(self._sizes):
            self.backlog_s = 100.0 if number == self._late_from else 0.0
            yield self._block(n, self._lost.get(number, 0))

    def for_hops(self, hop: int, delay: int) -> None:
        """The run joins what waits for its hop."""

    def take_waiting(self, take: Callable[[SignalBlock], None]) -> None:
        for n in self._waiting:
            take(self._block(n))
        self.backlog_s = 0.0


class Noted:
    """What a recorder is told, in its order: the spans of samples."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.stopped = ""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given, **more: None

    def samples(self, block: SignalBlock) -> None:
        self.spans.append((block.first_sample, block.n_samples))

    def block(self, block: SignalBlock, intents: Intents, front_end: object) -> None:
        self.spans.append((block.first_sample, block.n_samples))


def run_of(source: Scripted, port: Port | None = None) -> tuple[Noted, LiveRun]:
    compile_kernels(bundle(), subject().info)
    noted = Noted()
    recorder: LiveRecorder = noted  # type: ignore[assignment]
    with in_this_process(NoHand(), lambda event: None, lambda sent: None) as guarded:
        live = LiveRun(
            "t", source, bundle(), guarded.guard, guarded.hand, NoScreen(), recorder=recorder,
            port=port, options=LiveOptions(backlog=source, restart_after_s=1.0),
        )  # fmt: skip
        live.run(threading.Event())
    return noted, live


def test_what_waits_for_its_hop_is_left_out_before_what_came_after_it() -> None:
    """A short block waits; one after a loss cannot be joined with it, and finds a backlog."""
    source = Scripted([HOP * 20, 30, HOP * 2, HOP], {2: 400}, late_from=2, waiting=[50, HOP, 70])
    noted, live = run_of(source)
    starts = [start for start, _ in noted.spans]
    assert starts == sorted(starts)
    assert sum(n for _, n in noted.spans) == live.samples == HOP * 20 + 30 + HOP * 2 + 50 + HOP + 70 + HOP
    assert live.lost_samples == 400
    assert live.restarts == 1


def test_a_port_gets_every_sample_in_its_order() -> None:
    source = Scripted([HOP * 5, HOP, HOP, HOP], {}, late_from=2, waiting=[HOP, HOP])
    served = Noted()
    port: Port = served  # type: ignore[assignment]
    recorded, _ = run_of(source, port)
    ends = list(itertools.accumulate([HOP * 5, HOP, HOP, HOP, HOP, HOP]))
    assert [first + n for first, n in served.spans] == [first + n for first, n in recorded.spans] == ends


def test_every_sample_is_recorded_once_wherever_the_backlog_is_found() -> None:
    for late_from in range(8):
        for lost_at in range(1, 8):
            source = Scripted([130, 30, 70, 100, 20, 250, 10, 400], {lost_at: 333}, late_from, [90, 1, 300])
            noted, live = run_of(source)
            spans = noted.spans
            assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(spans)), (
                late_from,
                lost_at,
            )
            assert sum(n for _, n in spans) == live.samples
