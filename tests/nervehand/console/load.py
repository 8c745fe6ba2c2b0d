"""What open tabs cost: `python -m tests.nervehand.console.load`, on a machine that does nothing else.

A live run of the simulated person, decoded without a hand, is timed with no tab, with one, with twenty, and with twenty
in a browser that stands still; in turns, so that what else the machine does is the same for all. The browser yields to
everything (nice 19): it belongs on another computer. Of the console its processor time, its messages and their bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.nervehand.console.browsing import Browser, open_browser
from tests.nervehand.console.conftest import BUNDLE, Place, answers

CONDITIONS = {
    "no tab": (0, False),
    "1 tab": (1, False),
    "20 tabs": (20, False),
    "20 tabs that stand still": (20, True),
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def steal_s() -> float:
    return int(Path("/proc/stat").read_text().split("\n")[0].split()[8]) * TICK_S


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += family(int(child))
    return found


def timed(place: Place, seconds: float, console_pid: int) -> dict[str, float]:
    """One run's latencies in ms, and the console's share of a processor meanwhile."""
    words = ["-m", "nervehand", "run", "simulated:default/1/1", "--bundle", str(BUNDLE), "--hand", "none"]
    words += ["--port", "127.0.0.1:0", "--json", "--seconds", str(seconds)]
    with subprocess.Popen(
        [sys.executable, *words], env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as engine:
        while not place.engine_pids():
            time.sleep(0.05)
        before, since = processor_s(console_pid), time.monotonic()
        time.sleep(seconds * 0.8)
        share = (processor_s(console_pid) - before) / (time.monotonic() - since)
        assert engine.stdout is not None
        said = json.loads(engine.stdout.read())
    return {
        "p50": said["latency_decided_p50_us"] / 1e3, "p95": said["latency_decided_p95_us"] / 1e3,
        "p99": said["latency_decided_p99_us"] / 1e3, "console": 100 * share,
    }  # fmt: skip


def tabs(browser: Browser, n: int) -> None:
    """That many tabs at the live page; the first one is empty where there is none."""
    while len(browser.driver.window_handles) > max(n, 1):
        browser.driver.switch_to.window(browser.driver.window_handles[-1])
        browser.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    browser.driver.get("about:blank" if n == 0 else place_url(browser))
    while len(browser.driver.window_handles) < n:
        browser.driver.switch_to.new_window("tab")
        browser.driver.get(place_url(browser))


def place_url(browser: Browser) -> str:
    return browser.url + "/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary is not None
    assert driver is not None
    with tempfile.TemporaryDirectory() as temporary:
        runtime, folder = Path(temporary) / "runtime", Path(temporary) / "data"
        runtime.mkdir(mode=0o700)
        folder.mkdir()
        place = Place(folder, "http://127.0.0.1:8399", os.environ | {"XDG_RUNTIME_DIR": str(runtime)})
        try:
            console = place.start("-m", "tests.nervehand.console.serving", "8399", str(folder))
            answers(place.url)
            with open_browser(binary, driver, place.url, 1280, 900) as browser:
                measure(place, browser, console.pid, options.seconds, options.rounds)
        finally:
            place.end()


def measure(place: Place, browser: Browser, console_pid: int, seconds: float, rounds: int) -> None:
    driver_pid = browser.driver.service.process.pid
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONDITIONS}
    for _ in range(rounds):
        for name, (n, is_still) in CONDITIONS.items():
            tabs(browser, n)
            pids = family(driver_pid)
            for pid in pids:
                os.setpriority(os.PRIO_PROCESS, pid, 19)
            if is_still:
                for pid in pids[1:]:
                    os.kill(pid, signal.SIGSTOP)
            stolen = steal_s()
            row = timed(place, seconds, console_pid)
            row["steal"] = 100 * (steal_s() - stolen) / seconds
            found[name].append(row)
            for pid in pids[1:] if is_still else ():
                os.kill(pid, signal.SIGCONT)
            print(f"{name:26}", "  ".join(f"{key} {value:7.2f}" for key, value in row.items()), flush=True)
    print(
        f"\nmedians of {rounds} runs of {seconds:g} s; ms from a sample's arrival to its decision, and % of a processor"
    )
    for name, rows in found.items():
        medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        print(f"{name:26}", "  ".join(f"{key} {value:7.2f}" for key, value in medians.items()))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
