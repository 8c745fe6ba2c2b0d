"""The server of metrics, by raw sockets: one page for who asks rightly, and nobody holds it up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.errors import NervehandError
from nervehand import metrics_server
from nervehand.metrics_server import MOST_CLIENTS, MOST_HEADER, MetricsServer, listener_at, loopback
from nervehand.status import path_of, write_status
from tests.firmware_bridge.guarding import own_guards, wait_for
from tests.nervehand.statuses import full_status

PATIENCE_S = 30.0
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Served:
    """A server in a thread, and its address."""

    def __init__(self, page: Callable[[], bytes]) -> None:
        self._listener = listener_at("127.0.0.1:0")
        self.address: tuple[str, int] = self._listener.getsockname()
        self.server = MetricsServer(page)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self.server.serve(self._listener))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE_S)

    def answer(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body."""
        with self.connect() as there:
            there.sendall(request)
            return answered(there)


def answered(there: socket.socket) -> tuple[int, bytes, bytes]:
    parts = []
    while part := there.recv(65536):
        parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert head, "an answer"
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split(b" ")[1]), head, body


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served(lambda: b"nervehand_up 1\n")
    yield one
    one.close()


def test_metrics_and_a_tiny_page_are_what_there_is(served: Served) -> None:
    status, head, body = served.answer(GET)
    assert (status, body) == (200, b"nervehand_up 1\n")
    assert b"text/plain; version=0.0.4" in head
    status, head, body = served.answer(b"GET / HTTP/1.0\r\n\r\n")
    assert status == 200
    assert b'href="/metrics"' in body
    assert len(body) < 500


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nhost: [::1]:9464\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421),
        (b"GET /metrics HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", 421),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET /metrics SPDY/3\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_every_other_request_is_refused(served: Served, request_bytes: bytes, status: int) -> None:
    found, _, body = served.answer(request_bytes)
    assert found == status
    assert (b"nervehand_up" in body) == (status == 200)


def test_a_header_of_a_megabyte_is_refused_and_its_sender_still_gets_the_answer(served: Served) -> None:
    with served.connect() as there:
        with contextlib.suppress(OSError):
            there.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * (1 << 20))
            there.shutdown(socket.SHUT_WR)
        assert answered(there)[0] == 431
    assert served.answer(GET)[0] == 200


def test_a_header_just_below_the_limit_is_read(served: Served) -> None:
    rest = MOST_HEADER - len(GET) - len(b"X: \r\n")
    assert served.answer(GET[:-2] + b"X: " + b"a" * rest + b"\r\n\r\n")[0] == 200


def test_who_goes_in_the_middle_leaves_nothing_behind(served: Served) -> None:
    for request in (b"", b"GET", GET):
        for _ in range(20):
            there = served.connect()
            there.sendall(request)
            there.close()
    assert served.answer(GET)[0] == 200
    wait_for(lambda: not served.server._clients)


def test_a_hundred_connections_that_say_nothing_keep_nobody_out(served: Served) -> None:
    silent = [served.connect() for _ in range(100)]
    try:
        started_s = time.monotonic()
        for _ in range(5):
            assert served.answer(GET)[0] == 200
        assert time.monotonic() - started_s < metrics_server.TIME_S
        assert len(served.server._clients) <= MOST_CLIENTS
        dropped = 0
        for there in silent[:50]:
            there.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                assert there.recv(1) == b""
            dropped += 1
        assert dropped == 50, "who was there for longest made room"
    finally:
        for there in silent:
            there.close()


def test_a_request_that_comes_drop_by_drop_is_cut_off_and_others_are_served_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_server, "TIME_S", 0.5)
    served = Served(lambda: b"x\n")
    try:
        with served.connect() as slow:
            started_s = time.monotonic()
            with contextlib.suppress(OSError):
                for letter in GET * 100:
                    slow.sendall(bytes([letter]))
                    assert served.answer(GET)[0] == 200
                    assert time.monotonic() - started_s < PATIENCE_S
                    if select_closed(slow):
                        break
            assert time.monotonic() - started_s >= 0.4
    finally:
        served.close()


def select_closed(there: socket.socket) -> bool:
    """Whether the other side has cut it off, after a moment."""
    there.settimeout(0.02)
    try:
        return there.recv(1) == b""
    except TimeoutError:
        return False


def test_who_never_reads_is_cut_off_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "TIME_S", 0.3)
    served = Served(lambda: b"x" * (32 << 20))
    try:
        deaf = served.connect()
        deaf.sendall(GET)
        assert served.answer(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200
        wait_for(lambda: not served.server._clients)
        deaf.close()
    finally:
        served.close()


def test_a_page_that_cannot_be_made_is_an_answer_too_and_the_next_may_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = iter([RuntimeError("no"), b"good\n"])

    def page() -> bytes:
        one = next(pages)
        if isinstance(one, Exception):
            raise one
        return one

    served = Served(page)
    try:
        assert served.answer(GET)[0] == 500
        assert served.answer(GET)[2] == b"good\n"
    finally:
        served.close()
    assert "could not be made" in caplog.text


def test_who_asks_all_the_time_costs_a_few_pages_a_second_only() -> None:
    made: list[int] = []
    now_s = [0.0]

    def page() -> bytes:
        made.append(1)
        return b"x\n"

    served = Served(page)
    served.server._clock_s = lambda: now_s[0]
    try:
        for _ in range(20):
            served.answer(GET)
        assert len(made) == 1
        now_s[0] = 1.0
        served.answer(GET)
        assert len(made) == 2
    finally:
        served.close()


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9464", "192.168.1.2:9464", "[::]:9464", "example.org:1", "[fe80::1]:1"]
)
def test_metrics_are_served_on_this_machine_only(address: str) -> None:
    with pytest.raises(NervehandError, match="this machine only"):
        loopback(address)


def test_an_address_on_the_loopback_is_taken_as_people_write_it() -> None:
    assert loopback("9464") == loopback(":9464") == loopback("localhost:9464") == ("127.0.0.1", 9464)
    assert loopback("[::1]:9464") == ("::1", 9464)


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with listener_at("127.0.0.1:0") as taken:
        host, number = taken.getsockname()
        with pytest.raises(NervehandError, match="choose another port"):
            listener_at(f"{host}:{number}")


@pytest.fixture
def process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    own_guards(tmp_path, monkeypatch)
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nervehand.metrics_process", *map(str, words)]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def address_of(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stderr is not None
    line = process.stderr.readline()
    host, _, number = line.rpartition("http://")[2].partition("/metrics")[0].rpartition(":")
    return host, int(number)


def test_the_process_serves_what_the_document_says_and_ends_by_sigterm(
    process: Callable[..., subprocess.Popen[str]],
) -> None:
    write_status(path_of("nervehand"), full_status())
    metrics = process("--status", path_of("nervehand"), "--listen", "127.0.0.1:0")
    with socket.create_connection(address_of(metrics), PATIENCE_S) as there:
        there.sendall(GET)
        assert b"nervehand_source_samples_total 3.6e+07" in answered(there)[2]
    metrics.terminate()
    assert metrics.wait(PATIENCE_S) == 0


def test_the_process_ends_with_the_one_that_started_it(process: Callable[..., subprocess.Popen[str]]) -> None:
    mine = process("--status", "x.json", "--listen", "127.0.0.1:0", "--parent", os.getpid())
    orphan = process(
        "--status", "x.json", "--listen", "127.0.0.1:0", "--parent", 1 if os.getpid() != 1 else 2
    )
    assert orphan.wait(PATIENCE_S) == 0
    assert mine.poll() is None


def test_a_listen_that_is_not_here_ends_it_with_one_line(
    process: Callable[..., subprocess.Popen[str]],
) -> None:
    there = process("--status", "x.json", "--listen", "0.0.0.0:9464")
    assert there.wait(PATIENCE_S) == 2
    assert there.stderr is not None
    assert there.stderr.read().count("\n") == 1


def test_the_process_loads_no_compiler_runtime_or_file_library() -> None:
    code = "import sys, nervehand.metrics_process, nervehand.metrics, nervehand.metrics_server; print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert loaded & {"numba", "onnxruntime", "h5py", "torch", "scipy", "pynwb", "rich", "typer"} == set()
