"""What open pages cost: `python -m tests.nervehand.console.load`, on a machine that does nothing else.

A live run of the simulated person, decoded without a hand, is timed without a page, with one, with twenty, and with
twenty that take nothing (their process is stopped), in turns, so that what else the machine does is the same for all.
A page here is its socket: it is loaded, connects and takes all messages as a browser does, and draws nothing, because a
browser belongs on another computer, or on a processor for graphics. Of the console: its processor time. Of one page in
a real Chromium: messages, bytes and drawn frames.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

from tests.nervehand.console.browsing import open_browser
from tests.nervehand.console.conftest import BUNDLE, Place, answers

if TYPE_CHECKING:
    import socketio

CONDITIONS = {
    "no page": (0, False),
    "1 page": (1, False),
    "20 pages": (20, False),
    "20 pages, stopped": (20, True),
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PORT = 8399
MOST_TRIES = 10


async def page(url: str, connected: asyncio.Queue[None]) -> None:
    """One page at the live run, which tells once it is connected."""
    import socketio

    for _ in range(MOST_TRIES):
        try:
            socket = await connect(url)
        except (
            socketio.exceptions.ConnectionError,
            OSError,
        ):  # the console is still clearing the last ones away
            await asyncio.sleep(1.0)
            continue
        connected.put_nowait(None)
        await socket.wait()
        return
    raise AssertionError("a page was not taken")


async def connect(url: str) -> socketio.AsyncClient:
    """As a browser connects: the page's text names its client and its scene."""
    import socketio

    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    found = re.search(r"'client_id': '([^']+)'", text)
    assert found is not None
    client_id = found[1]
    scenes = re.findall(r'"(\d+)":\{"tag":"[^"]*scene[^"]*".*?"listener_id":"([^"]+)","type":"init"', text)
    assert scenes
    socket = socketio.AsyncClient(reconnection=False)
    query = f"client_id={client_id}&tab_id={uuid.uuid4()}&document_id={uuid.uuid4()}&next_message_id=0"
    await socket.connect(
        f"{url}?{query}&implicit_handshake=true",
        transports=["websocket"],
        socketio_path="/_nicegui_ws/socket.io",
    )
    for element, listener in scenes:
        await socket.emit(
            "event", {"id": int(element), "client_id": client_id, "listener_id": listener, "args": []}
        )
    return socket


def pages(url: str, n: int, is_open: Event) -> None:
    """A process of that many pages."""

    async def all_of_them() -> None:
        connected: asyncio.Queue[None] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(page(url, connected))
            for _ in range(n):
                await connected.get()
            is_open.set()

    asyncio.run(all_of_them())


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def timed(place: Place, seconds: float, console_pid: int, n: int, is_stopped: bool) -> dict[str, float]:
    """One run's latencies in ms, and the console's share of a processor meanwhile."""
    words = ["-m", "nervehand", "run", "simulated:default/1/1", "--bundle", str(BUNDLE), "--hand", "none"]
    words += ["--port", "127.0.0.1:0", "--json", "--seconds", str(seconds)]
    is_open = multiprocessing.Event()
    viewers = multiprocessing.Process(target=pages, args=(place.url + "/", n, is_open))
    if n:
        viewers.start()
        assert is_open.wait(60)
    with subprocess.Popen(
        [sys.executable, *words], env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as engine:
        while not place.engine_pids():
            time.sleep(0.05)
        if is_stopped and viewers.pid is not None:
            os.kill(viewers.pid, signal.SIGSTOP)
        before, since = processor_s(console_pid), time.monotonic()
        time.sleep(seconds * 0.8)
        share = (processor_s(console_pid) - before) / (time.monotonic() - since)
        assert engine.stdout is not None
        said = json.loads(engine.stdout.read())
    if n:
        viewers.kill()
        viewers.join()
    times = {name: said[f"latency_decided_{name}_us"] / 1e3 for name in ("p50", "p95", "p99")}
    return times | {"console": 100 * share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runtime, folder = Path(temporary) / "runtime", Path(temporary) / "data"
        runtime.mkdir(mode=0o700)
        folder.mkdir()
        place = Place(folder, f"http://127.0.0.1:{PORT}", os.environ | {"XDG_RUNTIME_DIR": str(runtime)})
        try:
            console = place.start("-m", "tests.nervehand.console.serving", str(PORT), str(folder))
            answers(place.url)
            measure(place, console.pid, options.seconds, options.rounds)
            one_page(place, options.seconds)
        finally:
            place.end()


def measure(place: Place, console_pid: int, seconds: float, rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONDITIONS}
    for _ in range(rounds):
        for name, (n, is_stopped) in CONDITIONS.items():
            found[name].append(timed(place, seconds, console_pid, n, is_stopped))
            print(described(name, found[name][-1]), flush=True)
    print(f"\nmedians of {rounds} runs of {seconds:g} s: ms from arrival to decision, and % of a processor")
    for name, rows in found.items():
        print(described(name, {key: statistics.median(row[key] for row in rows) for key in rows[0]}))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def described(name: str, row: dict[str, float]) -> str:
    return f"{name:18}" + "".join(f"  {key} {value:8.2f}" for key, value in row.items())


def one_page(place: Place, seconds: float) -> None:
    """What a page receives of a hand that moves, and how often its browser draws."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        print("no chromium here")
        return
    engine = place.run("simulated:default/1/1")
    with open_browser(binary, driver, place.url, 1280, 900) as browser:
        browser.go("/")
        browser.reads("armed", ".nh-facts")
        browser.received()
        time.sleep(seconds)
        n, n_bytes = browser.received()
        drawn = browser.frames_per_s()
        print(
            f"a page: {n / seconds:.0f} messages, {n_bytes / seconds / 1e3:.0f} kB, {drawn:.0f} frames a second"
        )
    engine.terminate()


if __name__ == "__main__":
    main()
