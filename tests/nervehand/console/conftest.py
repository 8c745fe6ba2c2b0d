"""A console in a process of its own, engines beside it, and real browsers that look at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.nervehand.console.browsing import Browser, open_browser

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "nervehand" / "bundles" / "demo.nhb"
START_S = 30.0


@dataclass
class Place:
    """A console, and what runs beside it; all of it ends with the test."""

    folder: Path
    url: str
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Python with these words, as a child that ends with the test."""
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=(self.folder.parent / "said.log").open("ab"),
        )  # fmt: skip
        self.processes.append(process)
        return process

    def engine(self, *words: str) -> subprocess.Popen[bytes]:
        """`nervehand` with these words, served at a free port."""
        return self.start("-m", "nervehand", *words, "--port", "127.0.0.1:0", "--headless")

    def run(self, source: str = "simulated:default/1/1", hand: str = "none") -> subprocess.Popen[bytes]:
        """A live run."""
        return self.engine("run", source, "--bundle", str(BUNDLE), "--hand", hand)

    def engine_pids(self) -> list[int]:
        """Of the engines that noted themselves here, those included that a page has started."""
        names = (self.runtime / "nervehand").glob("port-*.json")
        return [int(path.name.split("-")[1]) for path in names]

    @property
    def runtime(self) -> Path:
        return Path(self.environment["XDG_RUNTIME_DIR"])

    def end(self) -> None:
        """End all of it, engines that pages have started included."""
        for pid in self.engine_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A console that serves, with an empty folder."""
    runtime, folder = tmp_path / "runtime", tmp_path / "data"
    runtime.mkdir(mode=0o700)
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"XDG_RUNTIME_DIR": str(runtime), "OMP_NUM_THREADS": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Place(folder, f"http://127.0.0.1:{port}", environment)
    try:
        made.start("-m", "tests.nervehand.console.serving", str(port), str(folder))
        answers(made.url)
        yield made
    finally:
        made.end()


def answers(url: str) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/device", timeout=5).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Paths of the browser and of its driver; skipped where one of them is absent."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip(
            "chromium or chromedriver is not installed (Debian: apt install chromium chromium-driver)"
        )
    return browser, driver


@pytest.fixture
def open_page(place: Place, chromium: tuple[str, str]) -> Iterator[Callable[..., Browser]]:
    """open_page("/device", width, height): a browser of its own at that page."""
    with contextlib.ExitStack() as opened:

        def at(path: str = "/", width: int = 1280, height: int = 900) -> Browser:
            browser = opened.enter_context(open_browser(*chromium, place.url, width, height))
            browser.go(path)
            return browser

        yield at


@pytest.fixture
def picture(place: Place) -> Callable[[Browser, str], None]:
    """picture(browser, "live"): docs/console-live.png, where NERVEHAND_SCREENSHOTS asks for it; paths left out."""

    def take(browser: Browser, name: str) -> None:
        if os.environ.get("NERVEHAND_SCREENSHOTS"):
            browser.driver.execute_script(
                "for (const note of document.querySelectorAll('.nh-note'))"
                " if (!note.childElementCount) note.textContent = note.textContent.replace(arguments[0], '~/patients')",
                str(place.folder),
            )
            browser.picture(ROOT / "docs" / f"console-{name}.png")

    return take
