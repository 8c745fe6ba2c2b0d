"""`nervehand pin` and `nervehand arm`: asked of a daemon, also of one that serves no port.

The request lies in a file beside the status document, and SIGUSR2 says that it is there. Who answers takes it away and
leaves the answer beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import from_plain, to_plain
from nervehand.status import Found, find_statuses

PIN_S = 60.0
"""What is kept where nobody says how much."""
MOST_S = 3600.0
MOST_NAME = 200
ANSWER_S = 5.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class DaemonRequest:
    """Who wants the last `seconds` kept, and why, "" where nobody says; or, where it is to `arm`, the hand armed as of
    `asked_ns` (host, `time.monotonic_ns`)."""

    who: str = "a signal"
    why: str = ""
    seconds: float = PIN_S
    arm: bool = False
    asked_ns: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MOST_S:
            raise NervehandError(
                f"{self.seconds:g} s cannot be kept: give more than 0, and at most {MOST_S:g}"
            )
        for text in (self.who, self.why):
            if len(text) > MOST_NAME or (text and not text.isprintable()):
                raise NervehandError(f"{text[:20]!r}...: give one line of at most {MOST_NAME} characters")


def request_of(status: Path) -> Path:
    """Where a request to the daemon of that status document lies."""
    return status.with_name(f"ask-{status.name.removeprefix('daemon-')}")


def answer_of(status: Path) -> Path:
    """Where its answer lies: what speaks against it, nothing where it is done."""
    return status.with_name(f"answer-{status.name.removeprefix('daemon-')}")


def leave_answer(status: Path, text: str) -> None:
    """For who waits; NervehandError where it cannot be written."""
    _write(answer_of(status), text)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        part.rename(path)
    except OSError as error:
        raise NervehandError(f"{path}: cannot be written ({error.strerror}): make room") from None


def taken_request(status: Path) -> DaemonRequest:
    """What is asked for, taken away; what a bare signal asks for where no request lies there. NervehandError where it
    is none."""
    path = request_of(status)
    try:
        text = path.read_text()
        path.unlink()
    except FileNotFoundError:
        return DaemonRequest()
    except (OSError, UnicodeDecodeError) as error:
        raise NervehandError(f"{path}: cannot be read ({error})") from None
    try:
        return from_plain(DaemonRequest, json.loads(text), "request")
    except ValueError as error:
        raise NervehandError(f"{path}: is no request ({error})") from None


def run_pin(name: str, request: DaemonRequest) -> None:
    """Have it kept; NervehandError where it is not."""
    found = _running(name)
    status = found.status
    assert status is not None
    if status.recording is None or status.recording.state != "recording":
        why = "" if status.recording is None else status.recording.why
        raise NervehandError(
            f"daemon {status.name} records nothing{': ' + why if why else ''}: nothing can be kept"
        )
    _asked(found, request)
    print(f"daemon {status.name}: the last {request.seconds:g} s are kept")


def run_arm(name: str, who: str) -> None:
    """Let the hand of a daemon move again; NervehandError with what speaks against it."""
    found = _running(name)
    _asked(found, DaemonRequest(who, arm=True, asked_ns=time.monotonic_ns()))
    print(f"daemon {found.name}: the hand is armed")


def _asked(found: Found, request: DaemonRequest) -> None:
    """Ask, one after the other, and wait for the answer."""
    status = found.status
    assert status is not None
    with (found.path.parent / f".asking-{found.name}").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        answer = answer_of(found.path)
        answer.unlink(missing_ok=True)
        _write(request_of(found.path), json.dumps(to_plain(request)))
        try:
            os.kill(status.process.pid, signal.SIGUSR2)
        except OSError as error:
            raise NervehandError(
                f"daemon {status.name} cannot be asked ({error.strerror}): who started it?"
            ) from None
        end_s = time.monotonic() + ANSWER_S
        while not answer.exists():
            if time.monotonic() > end_s:
                request_of(found.path).unlink(missing_ok=True)
                raise NervehandError(
                    f"daemon {status.name} did not answer within {ANSWER_S:g} s: see nervehand status"
                )
            time.sleep(LOOK_S)
        text = answer.read_text()
        answer.unlink(missing_ok=True)
    if text:
        raise NervehandError(f"daemon {status.name}: {text}")


def _running(name: str) -> Found:
    found = [
        one for one in find_statuses() if one.alive and one.status is not None and name in ("", one.name)
    ]
    if not found:
        raise NervehandError("no daemon is running for you: start one with nervehand run --config FILE")
    if len(found) > 1:
        raise NervehandError(
            f"several daemons are running: say which, {' or '.join(one.name for one in found)}"
        )
    return found[0]
