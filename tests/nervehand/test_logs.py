"""Logs: one line each, for people or for programs, without signals in them and without floods."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock
from nervehand.log_queue import MOST_WAITING
from nervehand.log_scrubbing import MOST_LETTERS, MOST_NUMBERS, scrubbed_text
from nervehand.logs import (
    MOST_VARIANTS,
    QUIET_S,
    TALKATIVE,
    JsonForm,
    LogHandler,
    TextForm,
    configure_logs,
    utc,
)

logger = logging.Logger("tests.logs", logging.DEBUG)
"""Of nobody's: what pytest catches by the root does not hear of it."""
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    before = {name: logging.getLogger(name).level for name in TALKATIVE}
    level = root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    logging.captureWarnings(False)
    for name, one in before.items():
        logging.getLogger(name).setLevel(one)
    for handler in list(root.handlers):
        if isinstance(handler, LogHandler):
            root.removeHandler(handler)
    logger.handlers.clear()
    root.setLevel(level)


class Logged:
    """Everything that was logged since, and a clock that stands still."""

    def __init__(self, form: logging.Formatter) -> None:
        self.stream, self.now_s = io.StringIO(), 0.0
        self.handler = LogHandler(self.stream, form, lambda: self.now_s)
        logger.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def text() -> Logged:
    return Logged(TextForm("decode"))


@pytest.fixture
def lines() -> Logged:
    return Logged(JsonForm("decode"))


def test_a_line_of_text_has_time_level_process_logger_and_message(text: Logged) -> None:
    logger.warning("source %s is lost", "serial:/dev/ttyACM0")
    (line,) = text.lines
    assert re.fullmatch(rf"{TIME} warning decode tests\.logs: source serial:/dev/ttyACM0 is lost", line)


def test_a_line_of_json_has_the_same_by_name(lines: Logged) -> None:
    logger.info("%d hops", 7)
    said = json.loads(lines.lines[0])
    assert re.fullmatch(TIME, said.pop("time"))
    assert said.pop("pid") > 0
    assert said == {"level": "info", "process": "decode", "logger": "tests.logs", "message": "7 hops"}


def test_times_are_utc() -> None:
    assert utc(0.0) == "1970-01-01T00:00:00.000Z"
    assert utc(1_795_455_791.4474) == "2026-11-23T17:43:11.447Z"


def failing() -> None:
    raise ValueError("first\nsecond")


def test_an_exception_is_one_line_of_json_with_its_traceback(lines: Logged) -> None:
    try:
        failing()
    except ValueError:
        logger.exception("it failed")
    (line,) = lines.lines
    said = json.loads(line)
    assert said["message"] == "it failed"
    assert said["exception"].startswith("Traceback")
    assert "in failing" in said["exception"]
    assert said["exception"].endswith("ValueError: first\nsecond")


def test_a_message_from_outside_cannot_add_lines_or_colours(text: Logged) -> None:
    logger.info("device %s", "x\n2026-01-01T00:00:00.000Z error forged\x1b[31m\u2028")
    (line,) = text.stream.getvalue().split("\n")[:-1]
    assert "\x1b" not in line
    assert "\\n2026" in line


@dataclass(frozen=True)
class Holder:
    """As many of ours hold samples."""

    name: str
    samples: np.ndarray
    hidden: np.ndarray = field(default_factory=lambda: np.arange(100.0) + 0.125, repr=False)


SIGNAL = np.linspace(-123.456, 123.456, 64).reshape(16, 4)


@pytest.mark.parametrize(
    "log",
    [
        lambda: logger.info("%s", SIGNAL),
        lambda: logger.info("%r", SIGNAL),
        lambda: logger.info(SIGNAL),
        lambda: logger.info(f"{SIGNAL}"),
        lambda: logger.info(f"{SIGNAL!r}"),
        lambda: logger.info("%s", SIGNAL.tolist()),
        lambda: logger.info(f"{SIGNAL.tolist()}"),
        lambda: logger.info("%s", [list(row) for row in SIGNAL[:8, :4]]),
        lambda: logger.info(f"{[list(row) for row in SIGNAL]}"),
        lambda: logger.info("%s", {"a": SIGNAL, "b": (SIGNAL, [SIGNAL])}),
        lambda: logger.info("%(signal)s", {"signal": SIGNAL}),
        lambda: logger.info("%s", Holder("x", SIGNAL)),
        lambda: logger.info("%s", [Holder("x", SIGNAL)]),
        lambda: logger.info("%s", SignalBlock(SIGNAL.astype(np.float32), 0, 0)),
        lambda: logger.info(f"{SignalBlock(SIGNAL.astype(np.float32), 0, 0)}"),
        lambda: logger.info("%s", SIGNAL.tobytes()),
        lambda: logger.info(f"{SIGNAL.tobytes()!r}"),
        lambda: logger.info(SIGNAL.tobytes().hex()),
        lambda: logger.info("%s", memoryview(SIGNAL)),
        lambda: logger.info("%s", (SIGNAL * 1000).astype(np.int16)),
        lambda: logger.info("%s %s", "bad", (SIGNAL * 1000).astype(np.int16).ravel().tolist()),
        lambda: logger.info("%d", SIGNAL),
        lambda: logger.error("x", exc_info=ValueError(f"bad samples: {SIGNAL}")),
        lambda: logger.error("x", exc_info=ValueError(SIGNAL)),
    ],
)
@pytest.mark.parametrize("form", [TextForm("decode"), JsonForm("decode")])
def test_no_signal_gets_into_a_log_in_any_way(log: Callable[[], None], form: logging.Formatter) -> None:
    logged = Logged(form)
    log()
    said = re.sub(rf'{TIME}|"pid": \d+', "", logged.stream.getvalue())
    assert said
    for number in SIGNAL.ravel():
        assert f"{number:.2f}" not in said
        assert abs(number) < 1 or f"{number * 1000:.0f}" not in said
    assert SIGNAL.tobytes()[:16].hex() not in said
    assert len(said) < MOST_LETTERS


def test_of_an_array_its_shape_and_type_are_said(text: Logged) -> None:
    logger.info("got %s and %s", SIGNAL.astype(np.float32), np.float32(1.5))
    assert text.lines[0].endswith("got <array 16x4 float32> and 1.5")


def test_a_few_numbers_a_hash_and_a_time_are_left_as_they_are(text: Logged) -> None:
    positions = [0.1, -0.2, 0.3, 1.0, 0.0, -1.0]
    logger.info("at %s, %s of %s", "2026-11-23T18:26:51.123Z", positions, "0123456789abcdef" * 4)
    assert text.lines[0].endswith(f"at 2026-11-23T18:26:51.123Z, {positions} of {'0123456789abcdef' * 4}")


numbers = st.lists(
    st.one_of(st.integers(-(2**15), 2**15), st.floats(allow_nan=True, allow_infinity=True)),
    min_size=MOST_NUMBERS + 1,
)


@given(numbers, st.sampled_from([", ", " ", "\n", "; ", "], [", "  \t"]))
def test_a_row_of_numbers_however_it_is_written_is_only_counted(row: list[float], between: str) -> None:
    assert scrubbed_text(f"x [{between.join(map(str, row))}] y") == f"x [<{len(row)} numbers>] y"


@given(st.text(max_size=3 * MOST_LETTERS))
def test_no_text_is_an_exception_and_none_is_long(text: str) -> None:
    assert len(scrubbed_text(text)) <= MOST_LETTERS + 100


def test_arguments_that_do_not_fit_are_said_and_not_raised(text: Logged) -> None:
    logger.info("%d of %d", 1)
    logger.info("%d", "x")
    assert all("cannot be formatted" in line for line in text.lines)


def test_a_message_that_comes_again_is_written_once_and_then_counted(text: Logged) -> None:
    def complain() -> None:
        logger.warning("late")

    for _ in range(1000):
        complain()
    assert len(text.lines) == 1
    text.now_s = QUIET_S
    complain()
    assert [line.rpartition(": ")[2] for line in text.lines] == ["late", "(999 times more) late", "late"]


def test_what_was_only_counted_is_said_when_anything_else_is_logged_or_at_the_end(text: Logged) -> None:
    for _ in range(3):
        logger.warning("late")
    text.now_s = QUIET_S
    logger.info("another")
    assert [line.rpartition(": ")[2] for line in text.lines] == ["late", "(2 times more) late", "another"]
    for _ in range(2):
        logger.info("again")
    text.handler.close()
    assert text.lines[-1].endswith("(1 times more) again")


def test_messages_of_one_line_of_code_that_differ_are_written_up_to_a_number(text: Logged) -> None:
    for hop in range(500):
        logger.warning("hop %d is late", hop)
    assert len(text.lines) == MOST_VARIANTS
    text.handler.flush_repeats()
    assert text.lines[-1].endswith(f"({500 - MOST_VARIANTS} more like it, the last one) hop 499 is late")


def test_different_places_that_say_the_same_are_both_heard(text: Logged) -> None:
    logger.warning("late")
    logger.warning("late")
    assert len(text.lines) == 2


def test_memory_stays_bounded_whatever_is_logged(text: Logged) -> None:
    code = "\n".join(f"logger.info('m{i}')" for i in range(3000))
    exec(compile(code, "many_lines.py", "exec"), {"logger": logger})
    assert len(text.handler._seen) < 1100
    assert len(text.lines) == 3000


def test_what_ends_a_process_is_never_only_counted(text: Logged) -> None:
    for _ in range(5):
        logger.critical("the end")
    assert len(text.lines) == 5


def test_two_threads_may_log_at_once(text: Logged) -> None:
    def chatter(number: int) -> None:
        for i in range(200):
            logger.info("thread %d says %d", number, i)

    threads = [threading.Thread(target=chatter, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text.handler.flush_repeats()
    assert all(line.startswith("20") and " info decode tests.logs: " in line for line in text.lines)


def child(code: str, tmp_path: Path, under_journal: bool = False) -> str:
    """What a process writes to its standard error; as if the journal read that, where told so."""
    path = tmp_path / "stderr"
    set_stream = (
        "import os; found = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{found.st_dev}:{found.st_ino}'\n"
    )
    with path.open("w") as stderr:
        program = (set_stream if under_journal else "") + "import logging, threading\n" + code
        subprocess.run([sys.executable, "-c", program], stderr=stderr, check=False)
    return path.read_text()


SETUP = "from nervehand.logs import configure_logs\nconfigure_logs({!r}, 'info', 'decode')\n"


def test_under_systemd_each_line_has_a_priority_and_no_time(tmp_path: Path) -> None:
    code = SETUP.format("text") + "logging.getLogger('a').warning('x')\nlogging.info('y')\n1/0"
    first, second, *rest = child(code, tmp_path, under_journal=True).splitlines()
    assert first == "<4>warning decode a: x"
    assert second == "<6>info decode root: y"
    assert len(rest) > 2
    assert all(line.startswith("<2>") for line in rest)
    assert rest[-1].startswith("<2>ZeroDivisionError")


def test_json_has_no_priority_even_there_and_a_stream_that_is_not_the_journals_has_a_time(
    tmp_path: Path,
) -> None:
    (line,) = child(SETUP.format("json") + "logging.info('y')", tmp_path, under_journal=True).splitlines()
    assert json.loads(line)["message"] == "y"
    (line,) = child(SETUP.format("text") + "logging.info('y')", tmp_path).splitlines()
    assert re.match(TIME, line)


@pytest.mark.parametrize("thread", [False, True])
def test_what_nobody_catches_is_one_line_of_json(tmp_path: Path, thread: bool) -> None:
    run = "t = threading.Thread(target=f); t.start(); t.join()" if thread else "f()"
    code = SETUP.format("json") + f"def f(): raise RuntimeError('boom')\n{run}\n"
    (line,) = child(code, tmp_path).splitlines()
    said = json.loads(line)
    assert (said["level"], said["message"]) == ("critical", "nobody caught RuntimeError")
    assert said["exception"].endswith("RuntimeError: boom")


def test_counts_that_are_left_are_written_as_the_process_ends(tmp_path: Path) -> None:
    code = SETUP.format("text") + "for _ in range(50): logging.warning('late')"
    first, last = child(code, tmp_path).splitlines()
    assert last.endswith("(49 times more) late")
    assert first.endswith(": late")


def test_other_peoples_loggers_say_only_warnings() -> None:
    stream = io.StringIO()
    configure_logs("text", "debug", "decode", stream)
    logging.getLogger("bumble.hci").debug("packet 01 02")
    logging.getLogger("bleak.backends").info("sent")
    logging.getLogger("nervehand.x").debug("ours")
    assert [line.rpartition(": ")[2] for line in stream.getvalue().splitlines()] == ["ours"]


def test_to_configure_anew_replaces_what_was() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logs("text", "info", "", first)
    configure_logs("text", "warning", "", second)
    logging.getLogger("tests.configured").info("no")
    logging.getLogger("tests.configured").warning("yes")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


@pytest.mark.parametrize(("log_format", "level"), [("xml", "info"), ("text", "loud")])
def test_what_is_no_format_or_level_is_refused(log_format: str, level: str) -> None:
    with pytest.raises(NervehandError, match="give"):
        configure_logs(log_format, level)  # type: ignore[arg-type]


def test_who_logs_does_not_wait_for_a_pipe_that_nobody_reads_and_the_loss_is_said() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        handler = configure_logs("text", "info", "decode", stream, queued=True)
        talker = logging.getLogger("tests.talker")
        for number in range(MOST_WAITING * 2):
            handler._seen.clear()  # every one of them is to be written
            talker.info("%d %s", number, "x" * 200)
        handler.close()  # does not wait for ever either
        logging.getLogger().removeHandler(handler)
        os.set_blocking(reading, False)
        deadline_s = time.monotonic() + 30
        got = b""
        while b"were lost" not in got:
            got += reader.read() or b""
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        said = got.decode().splitlines()
    assert " 0 xxx" in said[0]
    lost = next(int(line.split()[0][1:]) for line in said if line.endswith("read too slowly)"))
    assert lost + len(said) - 1 == MOST_WAITING * 2


def test_a_queued_log_is_written_to_its_end_when_the_process_ends(tmp_path: Path) -> None:
    setup = (
        "from nervehand.logs import configure_logs\nconfigure_logs('json', 'info', 'decode', queued=True)\n"
    )
    written = child(setup + "for i in range(15): logging.info('%d', i)\n1/0", tmp_path).splitlines()
    assert [json.loads(line)["message"] for line in written] == [
        *map(str, range(15)),
        "nobody caught ZeroDivisionError",
    ]


def test_logs_need_nothing_but_the_standard_library() -> None:
    code = "import sys, nervehand.logs; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "typer", "rich"} & set(loaded)
