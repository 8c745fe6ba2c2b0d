"""`nervehand pin`: what a daemon has just recorded is kept, whatever its budget says.

The request lies in a file beside the status document, and SIGUSR2 says that it is there; who answers takes it away.
"""

from __future__ import annotations

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
class PinRequest:
    """Who wants the last `seconds` kept, and why; "" where nobody says."""

    who: str = "a signal"
    why: str = ""
    seconds: float = PIN_S

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
    return status.with_name(f"pin-{status.name.removeprefix('daemon-')}")


def taken_request(status: Path) -> PinRequest:
    """What is asked for, taken away; what a bare signal asks for where no request lies there. NervehandError where it
    is none."""
    path = request_of(status)
    try:
        text = path.read_text()
        path.unlink()
    except FileNotFoundError:
        return PinRequest()
    except (OSError, UnicodeDecodeError) as error:
        raise NervehandError(f"{path}: cannot be read ({error})") from None
    try:
        return from_plain(PinRequest, json.loads(text), "request")
    except ValueError as error:
        raise NervehandError(f"{path}: is no request ({error})") from None


def run_pin(name: str, request: PinRequest) -> None:
    """Have it kept; NervehandError where no daemon answers."""
    found = _running(name)
    status = found.status
    assert status is not None
    if status.recording is None or status.recording.state != "recording":
        why = "" if status.recording is None else status.recording.why
        raise NervehandError(
            f"daemon {status.name} records nothing{': ' + why if why else ''}: nothing can be kept"
        )
    path = request_of(found.path)
    part = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(to_plain(request), file)
        part.rename(path)
        os.kill(status.process.pid, signal.SIGUSR2)
    except OSError as error:
        raise NervehandError(
            f"daemon {status.name} cannot be asked ({error.strerror}): who started it?"
        ) from None
    end_s = time.monotonic() + ANSWER_S
    while path.exists():
        if time.monotonic() > end_s:
            path.unlink(missing_ok=True)
            raise NervehandError(
                f"daemon {status.name} did not answer within {ANSWER_S:g} s: see nervehand status"
            )
        time.sleep(LOOK_S)
    print(f"daemon {status.name}: the last {request.seconds:g} s are kept")


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
