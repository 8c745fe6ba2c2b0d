"""Logs of the daemon's processes: text or JSON lines on standard error, without signals and without floods."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

from firmware_bridge.errors import NervehandError
from nervehand.log_queue import QueuedStream
from nervehand.log_scrubbing import one_line, scrubbed, scrubbed_text

LogFormat = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")
QUIET_S = 10.0
"""For so long a message that was written once is only counted when it comes again."""
MOST_VARIANTS = 20
"""So many different messages from one line of code are written within QUIET_S; more of them are counted."""
MOST_OF_AN_EXCEPTION = 20_000
"""Letters of a traceback, chained ones included."""
TALKATIVE = ("asyncio", "bleak", "bumble", "h5py", "matplotlib", "numba")
"""Other people's loggers, of which only warnings are of use here: some of them log what they send."""
_MOST_KEYS = 512
# systemd.journal-fields and sd-daemon(3): the levels of syslog
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))

logger = logging.getLogger(__name__)


def configure_logs(
    log_format: LogFormat = "text",
    level: str = "info",
    process: str = "",
    stream: TextIO | None = None,
    queued: bool = False,
) -> LogHandler:
    """From now on every logger of this process writes to `stream`, standard error by default; `process` is its role.

    `queued`: a thread writes, so that nobody who logs waits for a journal or a pipe that stands still; what is logged
    just before a process is killed may be lost then.
    What nobody catches is logged, too, and so are warnings. Under systemd (JOURNAL_STREAM names this very stream) text
    has a priority in front, and no time, which the journal knows. NervehandError for a format or level that is none.
    """
    if log_format not in ("text", "json"):
        raise NervehandError(f"log format {log_format!r}: give text or json")
    if level not in LEVELS:
        raise NervehandError(f"log level {level!r}: give one of {', '.join(LEVELS)}")
    out = sys.stderr if stream is None else stream
    form = JsonForm(process) if log_format == "json" else TextForm(process, for_journal=_is_journal(out))
    handler = LogHandler(QueuedStream(out) if queued else out, form)
    root = logging.getLogger()
    for one in list(root.handlers):
        root.removeHandler(one)
        one.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_of_thread
    return handler


class TextForm(logging.Formatter):
    """`2026-11-23T18:26:51.123Z warning decode nervehand.source_log: text`, a traceback on the lines below."""

    def __init__(self, process: str, for_journal: bool = False) -> None:
        super().__init__()
        self._process, self._for_journal = process, for_journal

    def format(self, record: logging.LogRecord) -> str:
        """One record; under systemd each of its lines begins with the priority."""
        name = f"{self._process} {record.name}" if self._process else record.name
        head = f"{record.levelname.lower()} {name}: {message_of(record)}"
        lines = [head, *exception_of(record).splitlines()]
        if self._for_journal:
            number = next(number for least, number in _PRIORITIES if record.levelno >= least)
            return "\n".join(f"<{number}>{one_line(line)}" for line in lines)
        return "\n".join(one_line(line) for line in [f"{utc(record.created)} {lines[0]}", *lines[1:]])


class JsonForm(logging.Formatter):
    """One JSON object a line: time, level, process, pid, logger, message, and exception where there is one."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        fields: dict[str, object] = {
            "time": utc(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": message_of(record),
        }
        exception = exception_of(record)
        if exception:
            fields["exception"] = exception
        return json.dumps(fields)


def message_of(record: logging.LogRecord) -> str:
    """The message without what may be a signal. Arguments that do not fit it are a fault of ours, and are said."""
    try:
        if isinstance(record.args, tuple):
            text = (
                str(record.msg) % tuple(map(scrubbed, record.args))
                if record.args
                else str(scrubbed(record.msg))
            )
        else:
            text = str(record.msg) % scrubbed(record.args)
    except Exception as error:  # noqa: BLE001 a message must never end who logs it
        text = f"{record.msg!r} cannot be formatted: {error}"
    return scrubbed_text(text)


def exception_of(record: logging.LogRecord) -> str:
    """The traceback that belongs to it, as lines, "" for none."""
    if record.exc_info and record.exc_info[0] is not None:
        text = logging.Formatter().formatException(record.exc_info)
    else:
        text = record.exc_text or ""
    return scrubbed_text(text, MOST_OF_AN_EXCEPTION)


def utc(unix_s: float) -> str:
    """ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class _Seen:
    """Since when a message is only counted, how often it came, and the newest of them."""

    since_s: float
    times: int = 0
    newest: logging.LogRecord | None = None


class LogHandler(logging.StreamHandler[TextIO | QueuedStream]):
    """Writes a message that comes again and again once, then how often it came; `close` says what is left to say."""

    def __init__(
        self,
        stream: TextIO | QueuedStream,
        form: logging.Formatter,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self.setFormatter(form)
        self._clock_s = clock_s
        self._seen: dict[tuple[str, int, str], _Seen] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        now_s = self._clock_s()
        self._tell(now_s - QUIET_S)
        if record.levelno < logging.CRITICAL and self._is_repeated(record, now_s):
            return
        super().emit(record)

    def flush_repeats(self) -> None:
        """Say now how often what was not written came."""
        self.acquire()
        try:
            self._tell(float("inf"))
        finally:
            self.release()

    def close(self) -> None:
        """At the end of the process."""
        self.flush_repeats()
        if isinstance(self.stream, QueuedStream):
            self.stream.drain()
        super().close()

    def _is_repeated(self, record: logging.LogRecord, now_s: float) -> bool:
        text = message_of(record)
        same, anything = (record.pathname, record.lineno, text), (record.pathname, record.lineno, "")
        variants = self._seen.setdefault(anything, _Seen(now_s))
        seen = self._seen.get(same)
        if seen is None and variants.times < MOST_VARIANTS:
            variants.times += 1
            self._seen[same] = _Seen(now_s)
            if len(self._seen) > _MOST_KEYS:  # whatever makes so many, memory stays bounded
                self._tell(float("inf"))
            return False
        one = seen or self._seen.setdefault((record.pathname, record.lineno, "\n"), _Seen(now_s))
        one.times, one.newest = one.times + 1, record
        return True

    def _tell(self, until_s: float) -> None:
        """Forget what began before `until_s`, and say how often it came meanwhile."""
        over = [(key, seen) for key, seen in self._seen.items() if seen.since_s <= until_s]
        for key, _ in over:
            del self._seen[key]
        for (_, _, text), seen in over:
            if seen.newest is not None:
                like = "more like it, the last one" if text == "\n" else "times more"
                super().emit(_counted(seen.newest, f"({seen.times} {like}) {message_of(seen.newest)}"))


def _counted(newest: logging.LogRecord, text: str) -> logging.LogRecord:
    return logging.LogRecord(newest.name, newest.levelno, newest.pathname, newest.lineno, "%s", (text,), None)


def _is_journal(stream: TextIO) -> bool:
    """Whether the journal reads it: JOURNAL_STREAM has its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, SystemExit):
        return
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logger.critical("nobody caught %s", kind.__name__, exc_info=(kind, error, traceback))


def _log_uncaught_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
