"""Decoders of the rounds so far, fitted in a process of their own while the person goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from calibration.records import FitRecord
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
                self.problem = f"the decoder of round {self._round} could not be fitted: {self._last_words()}"
            self._process = None
            self._begin()
        return [self._told.popleft() for _ in range(len(self._told))]

    def _begin(self) -> None:
        if self._process is not None or self._wanted <= self._round:
            return
        self._round, self._progress, self.problem = self._wanted, 0.0, ""
        self._words: deque[str] = deque(maxlen=1)
        command = [sys.executable, "-m", "calibration.refit", str(self._folder), str(self._round)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        self._reader = threading.Thread(target=self._listen, args=(self._process,), name="refit", daemon=True)
        self._reader.start()

    def _last_words(self) -> str:
        return self._words[-1] if self._words else "it said nothing"

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = threading.Thread(target=self._hear, args=(process,), daemon=True)
        errors.start()
        for line in process.stdout:
            said = json.loads(line)
            if "progress" in said:
                self._progress = float(said["progress"])
            else:
                self._told.append(from_plain(FitRecord, said["fit"], "fit"))
        errors.join()

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip():
                self._words.append(line.strip())
