"""The daemon as it is worn: ready and alive by its own word, reloaded, recorded, stopped, killed and back again."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from decoder.as_recorded import compared, replay_as_recorded
from decoder.bundle import read_bundle
from decoder.chain import joined
from decoder.recording.files import kept_in
from decoder.session import read_session
from decoder.session.source import SessionSource
from firmware_bridge.errors import NervehandError
from firmware_bridge.port.tls_files import own_tls_files
from nervehand.status import Status, read_status

BUNDLE = Path("nervehand/bundles/demo.nhb").absolute()
CONFIG = """
name = "worn"
[source]
address = "simulated"
[realtime]
policy = "off"
[recording]
folder = "recordings"
reserve_mib = 1
rotate_mib = 1
budget_mib = 100
"""

pytestmark = pytest.mark.slow


class Place:
    """Where a daemon runs: a folder of its own, and a socket to which it says that it lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        (self.runtime / "nervehand").mkdir(parents=True, mode=0o700)
        self.runtime.chmod(0o700)
        self.config = folder / "nervehand.toml"
        self.config.write_text(CONFIG)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))

    @property
    def environment(self) -> dict[str, str]:
        mine = {"XDG_RUNTIME_DIR": str(self.runtime), "XDG_CONFIG_HOME": str(self.folder / "config")}
        return {**os.environ, **mine, "NOTIFY_SOCKET": str(self.folder / "notify"), "PYTHONPATH": os.getcwd()}

    def heard(self, wanted: str, within_s: float = 60.0) -> float:
        """Wait for a line of that kind; when it came."""
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            if select.select([self.notify], [], [], left_s)[0] and wanted in self.notify.recv(4096).decode():
                return time.monotonic()
        raise AssertionError(f"{wanted} was not said")

    def silent(self, unwanted: str, for_s: float) -> bool:
        """Whether no such line comes for so long, from now on."""
        while select.select([self.notify], [], [], 0)[0]:
            self.notify.recv(4096)
        end_s = time.monotonic() + for_s
        while (left_s := end_s - time.monotonic()) > 0:
            if (
                select.select([self.notify], [], [], left_s)[0]
                and unwanted in self.notify.recv(4096).decode()
            ):
                return False
        return True

    def status(self) -> Status:
        return read_status(self.runtime / "nervehand" / "daemon-worn.json")

    def until(self, is_so: Callable[[Status], object], within_s: float = 40.0) -> Status:
        end_s = time.monotonic() + within_s
        while True:
            try:
                status = self.status()
                if is_so(status):
                    return status
            except NervehandError:  # it is just being started
                status = None
            assert time.monotonic() < end_s, status
            time.sleep(0.05)

    def decodes(self, beyond: int = 0) -> Status:
        """Wait until it has decoded more hops than that."""
        return self.until(lambda s: s.decode is not None and s.decode.hops > beyond and s.hand is not None)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nervehand", *words],
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
        )


@contextmanager
def running(place: Place, *command: str, watchdog_s: float | None = None) -> Iterator[subprocess.Popen[str]]:
    """A daemon, or its engine alone; what it says is in `log`."""
    environment = place.environment
    if watchdog_s is not None:
        environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
    with (place.folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stderr=log, stdout=log, text=True, env=environment
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(60)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.notify.close()
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert "Traceback" not in log, log


ENGINE = ("nervehand.daemon", "--config")


def settled(place: Place) -> list[Path]:
    """The recordings, once all of them are closed."""
    folder = place.folder / "recordings"
    end_s = time.monotonic() + 60
    while list(folder.glob("*.tail")):
        assert time.monotonic() < end_s
        time.sleep(0.1)
    return [one.path for one in kept_in(folder, "worn")]


def test_an_engine_says_that_it_is_ready_and_alive_and_a_loop_that_stands_still_says_nothing(
    place: Place,
) -> None:
    with running(place, *ENGINE, str(place.config), watchdog_s=1.5) as engine:
        place.heard("READY=1")
        status = place.decodes()
        for _ in range(3):
            place.heard("WATCHDOG=1", 2.0)
        assert status.stages_of_start
        assert status.config is not None
        assert status.config.path == str(place.config)
        engine.send_signal(signal.SIGSTOP)
        assert place.silent("WATCHDOG=1", 2.0)
        engine.send_signal(signal.SIGCONT)
        place.heard("WATCHDOG=1", 3.0)
        stalls = place.until(lambda s: s.hand is not None and s.hand.stalls > 0).hand
        assert stalls is not None
        engine.terminate()
        place.heard("STOPPING=1")
        assert engine.wait(30) == 0
    assert not list((place.runtime / "nervehand").glob("daemon-*.json"))


def test_a_configuration_read_again_is_applied_whole_or_not_at_all(place: Place) -> None:
    with running(place, "nervehand", "run", "--config", str(place.config)):
        place.decodes()
        changed = (
            CONFIG
            + "[decision]\nmin_hold_s = 0.4\n[hand.adjustments]\ngain = 0.5\n[hand.limits]\nmax_speed_per_s = 1.0\n"
        )
        place.config.write_text(changed)
        said = place.ask("config", "reload")
        assert said.returncode == 0, said.stderr
        assert (
            "applied: decision.min_hold_s, hand.limits.max_speed_per_s, hand.adjustments.gain" in said.stdout
        )
        place.config.write_text(changed.replace("rotate_mib = 1", "rotate_mib = 2"))
        said = place.ask("config", "reload")
        assert said.returncode == 2
        assert "recording.rotate_mib (1 -> 2) needs a restart" in said.stderr
        place.config.write_text(changed + "[decision]\n")
        said = place.ask("config", "reload")
        assert said.returncode == 2
        assert f"{place.config}" in said.stderr
        status = place.decodes(place.decodes().decode.hops)  # type: ignore[union-attr]
        assert status.config is not None
        assert (status.config.generation, status.config.refused) == (4, True)
    files = settled(place)
    decisions = [read_session(path).recorded.decision for path in files]
    assert decisions[0] is None
    assert decisions[-1] is not None
    assert decisions[-1]["min_hold_s"] == 0.4


def test_what_it_recorded_is_decoded_again_bit_for_bit(place: Place) -> None:
    with running(place, *ENGINE, str(place.config)):
        place.until(lambda s: s.recording is not None and s.recording.files >= 2)
    files = settled(place)
    assert len(files) >= 2
    bundle = read_bundle(BUNDLE)
    for path in files:
        session = read_session(path)
        source = SessionSource(session, 500, is_paced=False)
        source.connect()
        assert session.recorded.intents is not None
        again = joined(list(replay_as_recorded(session, bundle, source.blocks())))
        assert compared(again, session.recorded.intents).is_equal
        assert session.recorded.traces is not None
        times = session.recorded.traces.times_ns
        way = times[:, :9]
        assert (way[:, 1:] >= way[:, :-1]).all(), "each stage ends after the one before"


def test_a_killed_engine_is_back_and_the_hand_was_brought_to_rest_meanwhile(place: Place) -> None:
    with running(place, "nervehand", "run", "--config", str(place.config)):
        before = place.decodes()
        os.kill(before.process.pid, signal.SIGKILL)
        after = place.until(
            lambda s: s.process != before.process and s.decode is not None and s.decode.hops > 20
        )
        assert after.restarts == 1
        assert "SIGKILL" in after.last_exit
        assert after.hand is not None
        said = place.ask("status")
        assert said.returncode in (0, 1), said.stderr
        assert "1 time" in said.stdout or "restart" in said.stdout
        pins = place.ask("pin", "--why", "it fell")
        assert pins.returncode == 0, pins.stderr
        place.until(lambda s: s.recording is not None and (s.recording.pinned_mib or 0) > 0)
    assert len(settled(place)) >= 2


def test_an_engine_that_stands_still_is_aborted_and_started_again(place: Place) -> None:
    place.config.write_text(CONFIG + "[watchdog]\nstall_s = 1.5\n")
    with running(place, "nervehand", "run", "--config", str(place.config)):
        before = place.decodes()
        os.kill(before.process.pid, signal.SIGSTOP)
        after = place.until(
            lambda s: s.process != before.process and s.decode is not None and s.decode.hops > 5
        )
        assert "no sign of life" in after.last_exit


def test_a_source_that_is_not_there_is_waited_for_and_said(place: Place) -> None:
    place.config.write_text(CONFIG.replace('"simulated"', f'"serial:{place.folder}/board"'))
    with running(place, *ENGINE, str(place.config)) as engine:
        place.heard("READY=1")
        status = place.until(lambda s: s.source is not None and s.source.last_event)
        assert status.source is not None
        assert status.source.state == "connecting"
        assert str(place.folder / "board") in status.source.last_event
        engine.send_signal(signal.SIGUSR1)  # nobody answers it yet, and nothing ends
        time.sleep(0.2)
        assert engine.poll() is None
        engine.terminate()
        assert engine.wait(20) in (0, 1)


def test_a_wrong_configuration_ends_it_with_one_line(place: Place) -> None:
    place.config.write_text(CONFIG + "[decoder]\nbundel = 3\n")
    said = place.ask("run", "--config", str(place.config))
    assert said.returncode == 2
    (line,) = said.stderr.strip().splitlines()
    assert re.search(rf"{place.config}, line \d+", line), line


def test_nothing_listens_that_the_configuration_does_not_name(place: Place) -> None:
    with running(place, "nervehand", "run", "--config", str(place.config)) as daemon:
        place.decodes()
        mine = {daemon.pid}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[2]) in mine or int(words[1]) in mine:  # process group, parent
                mine.add(int(path.parent.name))
        said = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False)
        if said.returncode:
            pytest.skip("there is no ss here to ask who listens")
        listening = [line for line in said.stdout.splitlines() if any(f"pid={pid}," in line for pid in mine)]
    assert all("127.0.0.1" in line for line in listening), listening


def test_importing_the_daemon_loads_no_torch_and_its_start_is_told_by_stage(place: Place) -> None:
    code = (
        "import sys, nervehand.daemon\n"
        "print([n for n in ('torch', 'pynwb', 'mujoco', 'nicegui', 'sklearn', 'matplotlib', 'scipy.signal') "
        "if n in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    result = place.ask("run", "--seconds", "1", "--json", "--headless")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["hops"] >= 40


def test_a_decoder_that_nobody_allowed_has_signed_does_not_run(place: Place) -> None:
    key = place.ask("signer", "new", str(place.folder / "clinic.pem"), "--name", "clinic")
    assert key.returncode == 0, key.stderr
    line = re.search(r"[A-Za-z0-9+/]{43}=", key.stdout)
    assert line is not None, key.stdout
    place.config.write_text(CONFIG + f'[decoder]\nallowed_signers = ["{line[0]}"]\n')
    said = place.ask("run", "--config", str(place.config))
    assert said.returncode == 2
    assert "signed" in said.stderr
    signed = place.folder / "mine.nhb"
    done = place.ask("sign", str(BUNDLE), "--key", str(place.folder / "clinic.pem"), "-o", str(signed))
    assert done.returncode == 0, done.stderr
    place.config.write_text(
        CONFIG
        + f'[decoder]\nbundle = "mine.nhb"\nallowed_signers = ["{line[0]}"]\n[port]\nlisten = "127.0.0.1:0"\n'
    )
    with running(place, *ENGINE, str(place.config)):
        status = place.decodes()
        assert status.port is not None
        refused = place.ask("push", str(BUNDLE), f"port:{status.port.address}", "--as", "Ann")
        assert refused.returncode != 0
        assert "signed" in refused.stderr
        taken = place.ask("push", str(signed), f"port:{status.port.address}", "--as", "Ann")
        assert taken.returncode == 0, taken.stderr


def test_a_laptop_takes_samples_and_brings_a_decoder_by_tls(place: Place) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(place.folder / "config"))
        pair = own_tls_files()
    place.config.write_text(
        CONFIG
        + f'[port]\nlisten = "127.0.0.1:0"\ntls_certificate = "{pair.certificate}"\ntls_key = "{pair.key}"\n'
    )
    with running(place, *ENGINE, str(place.config)):
        status = place.decodes()
        assert status.port is not None
        address = f"port:{status.port.address}"
        recorded = place.ask("record", address, str(place.folder / "laptop.nwb"), "--seconds", "1")
        assert recorded.returncode == 0, recorded.stderr
        pushed = place.ask("push", str(BUNDLE), address, "--as", "Ann", "--switch", "--patience", "60")
        assert pushed.returncode == 0, pushed.stderr
        place.until(lambda s: s.shadow or (s.decode is not None and s.decode.hops > 0))
    assert read_session(place.folder / "laptop.nwb").n_samples >= 10_000
    log = (place.folder / "log").read_text()
    assert "with TLS, certificate sha256:" in log, log


def test_who_stopped_the_hand_is_not_overruled_by_an_engine_that_is_started_again(place: Place) -> None:
    with running(place, "nervehand", "run", "--config", str(place.config)):
        before = place.until(lambda s: s.hand is not None and s.hand.gate == "armed")
        assert place.ask("stop", "--as", "Ann").returncode == 0
        place.until(lambda s: s.hand is not None and s.hand.gate != "armed")
        os.kill(before.process.pid, signal.SIGKILL)
        after = place.until(
            lambda s: s.process != before.process and s.decode is not None and s.decode.hops > 50
        )
        assert after.hand is not None
        assert after.hand.gate == "disarmed"
        armed = place.ask("arm", "--as", "Bob")
        assert armed.returncode == 0, armed.stderr
        again = place.until(lambda s: s.hand is not None and s.hand.gate == "armed")
        os.kill(again.process.pid, signal.SIGKILL)  # what was armed since is armed again
        place.until(lambda s: s.process != again.process and s.hand is not None and s.hand.gate == "armed")
    assert not list((place.runtime / "nervehand").glob("rest-*.json"))


def test_a_second_daemon_of_that_name_does_not_start(place: Place) -> None:
    with running(place, *ENGINE, str(place.config)):
        first = place.decodes()
        said = place.ask("run", "--config", str(place.config))
        assert said.returncode == 2
        assert "a daemon called worn runs already" in said.stderr + said.stdout
        assert place.decodes(first.decode.hops).process == first.process  # type: ignore[union-attr]
