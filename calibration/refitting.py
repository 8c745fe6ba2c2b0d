"""Decoders of the rounds so far, fitted in a process of their own while the person goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from calibration.records import FitRecord
from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import from_plain

ENDING_S = 5.0


class Refits:
    """`want` a decoder of the rounds up to one: it is fitted at once, or when the one under way is done, the newest
    wanted first. `take` gives what has come of it. A fit that fails is said in `problem`, and the next one is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wanted = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._told: deque[FitRecord] = deque()
        self._round = 0
        self._progress = 0.0
        self.problem = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A fit that is under way is given up: the last one learns from everything."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._reader is not None:
            self._reader.join(ENDING_S)

    @property
    def under_way(self) -> tuple[int, float] | None:
        """Up to which round a decoder is being fitted, and how far it is, 0..1."""
        return None if self._process is None else (self._round, self._progress)

    def want(self, round_number: int) -> None:
        """A decoder of the rounds up to this one."""
        self._wanted = max(self._wanted, round_number)
        self._begin()

    def take(self) -> list[FitRecord]:
        """Fits that are done since the last time, and scores of earlier ones; those without scores are new."""
        if self._process is not None and self._process.poll() is not None:
            assert self._reader is not None
            self._reader.join(ENDING_S)
            if self._process.returncode:
                why = self._why(self._process.returncode)
                self.problem = f"the decoder of round {self._round} could not be fitted: {why}"
            self._process = None
            self._begin()
        return [self._told.popleft() for _ in range(len(self._told))]

    def _begin(self) -> None:
        if self._process is not None or self._wanted <= self._round:
            return
        self._round, self._progress, self.problem = self._wanted, 0.0, ""
        self._words: deque[str] = deque(maxlen=1)
        self._strays: deque[str] = deque(maxlen=1)
        command = [sys.executable, "-m", "calibration.refit", str(self._folder), str(self._round)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._listen, args=(self._process,), name="refit", daemon=True)
        self._reader.start()

    def _why(self, code: int) -> str:
        """How it ended, and the last that it said."""
        ended = _signal_of(-code) if code < 0 else f"it ended with code {code}"
        said = (*self._words, *self._strays)[:1]
        return ": ".join((ended, *said)) if code < 0 or not said else said[0]

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = threading.Thread(target=self._hear, args=(process,), daemon=True)
        errors.start()
        for line in process.stdout:
            if line.strip() and not self._understood(line):
                self._strays.append(line.strip())
        errors.join()

    def _understood(self, line: str) -> bool:
        """Whether it was one of refit's own lines; a library may print others, and who stops reading stops the fit."""
        try:
            said = json.loads(line)
            if "progress" in said:
                self._progress = float(said["progress"])
            else:
                self._told.append(from_plain(FitRecord, said["fit"], "fit"))
        except (ValueError, TypeError, KeyError, NervehandError):
            return False
        return True

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip():
                self._words.append(line.strip())


def _signal_of(number: int) -> str:
    try:
        return f"it was ended by {signal.Signals(number).name}"
    except ValueError:  # a real-time signal has no name
        return f"it was ended by signal {number}"
