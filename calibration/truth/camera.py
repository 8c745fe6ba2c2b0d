"""A camera that sees the able hand, through MediaPipe's hand model in an environment of its own: `camera`.

mediapipe 0.10.21 (on aarch64 0.10.18) is the last with the model in its wheel, and needs numpy < 2: it runs in a
process of its own environment's interpreter (`_camera_process.py`), from which landmarks come here to become angles.
It sees no forearm, so the wrist is not measured. `camera:FILE` takes a film, or a folder of pictures, instead.
"""

from __future__ import annotations

import json
import os
import platform
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from calibration.truth import Side, TruthBlock, TruthInfo
from calibration.truth._hand_points import JOINTS, N_POINTS, joint_angles
from calibration.truth._where import number_of, parse_where, side_of, yes_or_no
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.sources import Found

ADDRESS = "camera[:NUMBER|PATH|FILE|FOLDER][?side=left|right&mirrored=yes|no&confidence=0..1]"
PYTHON_VARIABLE = "NERVEHAND_CAMERA_PYTHON"
"""The interpreter of the camera's environment."""
RATE_HZ = 30.0
"""Of most cameras, nominal."""

_PROGRAM = Path(__file__).with_name("_camera_process.py")
_START_S = 30.0
"""For loading the model, on a slow machine from a cold disk."""
_END_S = 2.0
_STALL_S = 2.0
_GULP = 65536


def environment() -> Path:
    """Where the camera's environment is unless PYTHON_VARIABLE says so: in the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "nervehand" / "camera"


def interpreter() -> Path:
    """The Python of the camera's environment; NervehandError, with the commands that make it, where there is none."""
    said = os.environ.get(PYTHON_VARIABLE)
    python = Path(said) if said else environment() / "bin" / "python"
    if not python.exists():
        wrong = (
            f"{PYTHON_VARIABLE} names {said}, which is not there" if said else "its environment is not there"
        )
        raise NervehandError(f"the camera needs an environment with mediapipe, and {wrong}: {how_to_make()}")
    return python


def how_to_make() -> str:
    """The two commands that make the environment."""
    version = "0.10.18" if platform.machine() == "aarch64" else "0.10.21"
    folder = environment()
    return f"make it by `python3.11 -m venv {folder}` and `{folder}/bin/pip install mediapipe=={version}`"


class CameraSource:
    """A `TruthSource`: the hand of `info.side` in the pictures of `where`: a camera's number or path, a film, a folder.

    A hand that is not seen is NaN. Times are those of the pictures: a camera's by the host's monotonic clock, a
    file's from 0 on, as fast as they can be looked at. `stall_s` without a picture is a lost source.
    """

    def __init__(
        self,
        info: TruthInfo,
        where: str,
        python: Path,
        is_mirrored: bool = False,
        confidence: float = 0.5,
        stall_s: float = _STALL_S,
    ) -> None:
        self.info = info
        self._command = [str(python), "-I", "-u", str(_PROGRAM), where, "--side", info.side]
        self._command += ["--confidence", f"{confidence:g}", *(["--mirrored"] if is_mirrored else [])]
        self._where, self._stall_s = where, stall_s
        self._process: _Process | None = None

    def connect(self) -> None:
        """Start the process and wait until it has a picture."""
        self.close()
        process = self._process = _Process(self._command)
        message = process.next_message(_START_S)
        if not process.closed.is_set() and (message is None or "ready" not in message):
            process.close()
            raise LinkError(f"camera {self._where}: {_reason(message) or process.last_words(_START_S)}")

    def blocks(self) -> Iterator[TruthBlock]:
        process = self._process
        while process is not None and not process.closed.is_set():
            try:
                message = process.next_message(self._stall_s)
            except LinkError as error:
                process.close()
                raise SourceLostError(str(error)) from error
            if process.closed.is_set():
                return
            if message is not None and "end" in message:
                process.close()
                return
            if message is None or "time_s" not in message:
                process.close()
                raise SourceLostError(
                    f"camera {self._where} is lost: {_reason(message) or process.last_words(self._stall_s)}"
                )
            yield self._block(message)

    def close(self) -> None:
        process = self._process
        if process is not None:
            process.close()

    def _block(self, message: dict[str, object]) -> TruthBlock:
        arrival = np.array([time.monotonic_ns()], np.int64)
        values = np.full((1, len(JOINTS)), np.nan, np.float32)
        if message["points"] is not None:
            points = np.array(message["points"], np.float64).reshape(1, N_POINTS, 3)
            values = joint_angles(points, self.info.side).astype(np.float32)
        return TruthBlock(values, np.array([message["time_s"]], np.float64), arrival)


class _Process:
    """The camera's process, and its lines. `close` may come from any thread, and ends a wait for a line."""

    def __init__(self, command: list[str]) -> None:
        self.closed = threading.Event()
        self._using = threading.Lock()  # around the pipes, so that nobody reads a closed one
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise NervehandError(
                f"{command[0]} does not start ({error.strerror}): {how_to_make()}"
            ) from error
        self._waiting = self._errors = b""
        self._is_at_end = False

    def next_message(self, timeout_s: float) -> dict[str, object] | None:
        """The next line's object; None after the timeout, at the end, or once closed."""
        with self._using:
            if self.closed.is_set():
                return None
            line = self._next_line(time.monotonic() + timeout_s)
        if line is None or self.closed.is_set():
            return None
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise LinkError(
                f"the camera's process says {line[:80]!r}: is its environment the one of mediapipe?"
            )
        return message

    def _next_line(self, end_s: float) -> bytes | None:
        output, errors = self._process.stdout, self._process.stderr
        assert output is not None
        assert errors is not None
        open_pipes = [output, errors]
        while b"\n" not in self._waiting and not self._is_at_end:
            ready, _, _ = select.select(open_pipes, [], [], max(0.0, end_s - time.monotonic()))
            if not ready:
                return None
            if errors in ready:  # taken as it comes, or a full pipe would stop the process
                said = os.read(errors.fileno(), _GULP)
                self._errors = (self._errors + said)[-_GULP:]
                if not said:
                    open_pipes.remove(errors)
            if output in ready:
                data = os.read(output.fileno(), _GULP)
                self._waiting += data
                self._is_at_end = not data
        line, newline, self._waiting = self._waiting.partition(b"\n")
        return line if newline else None

    def last_words(self, silent_s: float) -> str:
        """Why nothing comes, where it said nothing itself: the last line of its standard error, if it ended."""
        if not self._is_at_end:
            return f"silent for {silent_s:g} s"
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()
        return f"its process ended ({lines[-1] if lines else 'without a word'})"

    def close(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self._process.terminate()  # its end of the pipe closes, which wakes whoever waits for a line
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._using:
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()


def _reason(message: dict[str, object] | None) -> str:
    """What the process says is wrong, "" where it does not say."""
    if message is None or "error" not in message:
        return ""
    return f"{message['error']}: {how_to_make()}" if message.get("missing") else str(message["error"])


def described(side: Side, rate_hz: float = RATE_HZ) -> TruthInfo:
    return TruthInfo("camera", JOINTS, ("rad",) * len(JOINTS), JOINTS, rate_hz, side)


def find() -> tuple[Found, ...]:
    """The cameras of this machine, and whether there is an environment to look through them."""
    try:
        interpreter()
        note = "a camera"
    except NervehandError as error:
        note = str(error)
    return tuple(Found(f"camera:{path}", note) for path in sorted(map(str, Path("/dev").glob("video*"))))


def open_truth(where: str) -> CameraSource:
    """The first camera, or the one of that number or path, or a film, or a folder of pictures."""
    defaults = {"side": "right", "mirrored": "no", "confidence": "0.5"}
    place, options = parse_where(ADDRESS, where, defaults)
    confidence = number_of("confidence", options["confidence"])
    if not 0 <= confidence <= 1:
        raise NervehandError(f"confidence={options['confidence']}: give 0 to 1")
    info = described(side_of(options["side"]))
    return CameraSource(
        info, place or "0", interpreter(), yes_or_no("mirrored", options["mirrored"]), confidence
    )
