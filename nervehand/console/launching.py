"""Engines started from a page: child processes in sessions of their own, which the console's end does not end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.errors import NervehandError

ANY_PORT = "127.0.0.1:0"
_LAST_LINES = 3


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A live run as a person chose it."""

    source: str
    bundle: Path
    hand: str = "virtual"
    arm_as: str = ""
    override_check: str = ""
    any_wearer: bool = False

    def words(self) -> list[str]:
        """The command's words after `nervehand`."""
        words = ["run", self.source, "--bundle", str(self.bundle), "--hand", self.hand]
        words += ["--arm-as", self.arm_as] if self.arm_as else []
        words += ["--override-check", self.override_check] if self.override_check else []
        words += ["--any-wearer"] if self.any_wearer else []
        return [*words, "--port", ANY_PORT, "--headless"]


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """A calibration as a person chose it."""

    source: str
    truth: str
    side: str
    paradigm: Path
    subject: str
    out: Path
    steps: int | None = None
    """Of training, None as many as the data ask for."""

    def words(self) -> list[str]:
        """The command's words after `nervehand`."""
        words = ["calibrate", "--source", self.source, *(["--truth", self.truth] if self.truth else [])]
        words += ["--side", self.side, "--paradigm", str(self.paradigm), "--subject", self.subject]
        words += [] if self.steps is None else ["--steps", str(self.steps)]
        return [*words, "--out", str(self.out), "--port", ANY_PORT, "--headless"]


def resume_words(folder: Path) -> list[str]:
    """The words that take a calibration up again."""
    return ["calibrate", "--resume", str(folder), "--port", ANY_PORT, "--headless"]


@dataclass(slots=True)
class Started:
    """An engine that was started here: its process, and where it writes what it has to say."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def has_failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def last_words(self) -> str:
        """The last lines that it wrote."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(lines[-_LAST_LINES:])


@dataclass(slots=True)
class Engines:
    """What was started from pages."""

    started: list[Started] = field(default_factory=list)

    def start(self, words: Sequence[str]) -> Started:
        """Start `nervehand` with these words; NervehandError where that cannot be."""
        handle, name = tempfile.mkstemp(prefix="nervehand-engine-", suffix=".log")
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "nervehand", *words],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise NervehandError(
                f"nervehand {words[0]} cannot be started ({error}): is it installed?"
            ) from None
        finally:
            os.close(handle)
        self.started.append(Started(process, Path(name)))
        return self.started[-1]

    def reap(self) -> Started | None:
        """The one that was started last, if it has failed; what ended is not kept as a zombie."""
        for one in self.started:
            one.process.poll()
        return self.started[-1] if self.started and self.started[-1].has_failed else None
