"""A ground truth read in a thread of its own and connected again when it is lost; its readings wait to be taken."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from calibration.truth import TruthBlock, TruthInfo, TruthSource
from firmware_bridge.errors import LinkError, NervehandError

_FIRST_WAIT_S = 0.05


class TruthReader:
    """Reads `source` from `start` to `close`; a context does both.

    A source that is not there, or is lost, is tried again with growing waits up to `longest_wait_s`, for ever. At most
    `capacity_s` seconds of readings wait to be taken; then the oldest are dropped, and counted in
    `dropped_readings`. `problem` says in words what is wrong now, "" where nothing is: not connected, silent for
    `silent_after_s`, or connected without seeing the hand for as long. `silent_s` is the time since the last reading,
    or since `start`.

    `take`, `problem` and `close` may be called from any thread. An error of the source that is no NervehandError is
    raised by the next `take`. `clock_ns` is the host's clock; `wait` takes seconds and returns True at once where the
    reader is closed meanwhile.
    """

    def __init__(
        self,
        source: TruthSource,
        *,
        capacity_s: float = 60.0,
        longest_wait_s: float = 1.0,
        silent_after_s: float = 0.5,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        for name, seconds in (
            ("capacity_s", capacity_s),
            ("longest_wait_s", longest_wait_s),
            ("silent_after_s", silent_after_s),
        ):
            if not seconds > 0:
                raise NervehandError(f"{name} is {seconds}: give a positive number of seconds")
        self._source = source
        self._capacity = max(1, round(capacity_s * source.info.rate_hz))
        self._longest_wait_s, self._silent_after_s = longest_wait_s, silent_after_s
        self._clock_ns = clock_ns
        self._closed = threading.Event()
        self._wait = self._closed.wait if wait is None else wait
        self._lock = threading.Lock()  # around everything below
        self._waiting: deque[TruthBlock] = deque()
        self._n_waiting = 0
        self._trouble = "not connected yet"
        self._error: Exception | None = None
        self._heard_ns = self._seen_ns = clock_ns()
        self.dropped_readings = 0
        self.connections = 0
        self._thread = threading.Thread(target=self._run, name="ground truth", daemon=True)

    @property
    def info(self) -> TruthInfo:
        return self._source.info

    @property
    def source(self) -> TruthSource:
        return self._source

    def start(self) -> None:
        with self._lock:
            self._heard_ns = self._seen_ns = self._clock_ns()
        self._thread.start()

    def close(self) -> None:
        """End the reading and let the source go. What was read can still be taken."""
        self._closed.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> TruthReader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self) -> TruthBlock | None:
        """What came since the last time, in one block; None where nothing did."""
        with self._lock:
            if self._error is not None:
                raise self._error
            blocks, self._n_waiting = list(self._waiting), 0
            self._waiting.clear()
        if not blocks:
            return None
        return TruthBlock(
            np.concatenate([block.values for block in blocks]),
            np.concatenate([block.device_s for block in blocks]),
            np.concatenate([block.arrival_ns for block in blocks]),
        )

    @property
    def silent_s(self) -> float:
        with self._lock:
            return max(0.0, (self._clock_ns() - self._heard_ns) / 1e9)

    @property
    def problem(self) -> str:
        with self._lock:
            if self._trouble:
                return self._trouble
            now_ns, name = self._clock_ns(), self._source.info.name
            if (silent_s := (now_ns - self._heard_ns) / 1e9) >= self._silent_after_s:
                return f"{name} says nothing for {silent_s:.1f} s"
            if (unseen_s := (now_ns - self._seen_ns) / 1e9) >= self._silent_after_s:
                return f"{name} does not see the hand for {unseen_s:.1f} s: bring it into view"
            return ""

    def _run(self) -> None:
        attempts = 0
        try:
            while not self._closed.is_set():
                before = self.connections
                try:
                    if self._read():
                        return
                except LinkError as error:
                    self._say(str(error))
                    self._source.close()
                attempts = 0 if self.connections > before else attempts + 1
                if self._wait(min(_FIRST_WAIT_S * 2.0 ** min(attempts, 30), self._longest_wait_s)):
                    return
        except NervehandError as error:  # nothing that another attempt would mend
            self._say(str(error))
            self._source.close()
        except Exception as error:  # noqa: BLE001 - raised where the readings are taken
            with self._lock:
                self._error = error
            self._say(f"{self._source.info.name} failed: {error!r}")
            self._source.close()

    def _read(self) -> bool:
        """One connection's blocks; True where the source is exhausted or closed."""
        self._source.connect()
        if self._closed.is_set():  # closed while it connected: nobody else would let it go
            self._source.close()
            return True
        if not self.connections:
            self._say("")
        is_first = True
        for block in self._source.blocks():
            if is_first:
                is_first = False
                self.connections += 1
            if len(block):
                self._put(block)
            if self._closed.is_set():
                break
        if not self._closed.is_set():
            self._say(f"{self._source.info.name} has ended")
        return True

    def _put(self, block: TruthBlock) -> None:
        with self._lock:
            self._trouble = ""
            self._heard_ns = self._clock_ns()
            if np.isfinite(block.values[-1]).any():
                self._seen_ns = self._heard_ns
            self._waiting.append(block)
            self._n_waiting += len(block)
            while self._n_waiting > self._capacity:
                excess, oldest = self._n_waiting - self._capacity, self._waiting.popleft()
                dropped = min(excess, len(oldest))
                if dropped < len(oldest):
                    rest = slice(dropped, None)
                    self._waiting.appendleft(
                        TruthBlock(oldest.values[rest], oldest.device_s[rest], oldest.arrival_ns[rest])
                    )
                self._n_waiting -= dropped
                self.dropped_readings += dropped

    def _say(self, trouble: str) -> None:
        with self._lock:
            self._trouble = trouble
