"""Each fault as it is made to happen to a real daemon, and what must be so once it is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from decoder.as_recorded import compared, left_out, replay_as_recorded
from decoder.bundle import Bundle, pack
from decoder.chain import joined
from decoder.recording.files import kept_in
from decoder.session import read_session
from decoder.session.source import SessionSource
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.port import PortClient
from tests.chaos.faults import Fault
from tests.chaos.real_daemon import NAME, ROOT, STALL_LIMIT_S, RealDaemon, real_daemon, unhandled
from tests.chaos.real_story import violations
from tests.chaos.simulated_run import bundle

DECODES_S = 60.0
"""Until it decodes again, on a machine that does other things too: an engine that was killed is started anew, and the
guard of before brings the hand to rest first."""
FOLLOWS_S = 60.0
ABORTED = "Fatal Python error: Aborted"
"""What the supervisor has an engine that stands still print, before it ends it."""
TAKES_OVER_S = 90.0
BEHIND_S = 10.0
"""What a recorder may have before it, that has taken up where another one was killed."""


@dataclass
class Verdict:
    """What came of a list of faults in real time."""

    faults: int = 0
    decodes_again_s: dict[str, list[float]] = field(default_factory=dict)
    watchdogs: dict[int, bool] = field(default_factory=dict)
    began: list[tuple[int, str]] = field(default_factory=list)
    restarts: int = 0
    aborted: int = 0
    unhandled: list[str] = field(default_factory=list)
    violations: list[tuple[object, str]] = field(default_factory=list)
    targets: int = 0
    files: int = 0
    compared_hops: int = 0
    overloads: int = 0
    """Times that too many samples had come at once, and the decoder began anew behind them."""
    differing: list[str] = field(default_factory=list)


def run_faults(folder: Path, plan: list[Fault]) -> Verdict:
    """All of them in turn on one daemon, which is ended in order; judged by the oracle, its log, and its files."""
    verdict = Verdict()
    with real_daemon(folder) as daemon:
        for fault in plan:
            time.sleep(fault.after_s)
            verdict.began.append((time.monotonic_ns(), str(fault)))
            print(f"{fault}", file=sys.stderr, flush=True)
            happen(daemon, fault, verdict)
            took_s = daemon.decodes(DECODES_S)
            daemon.follows(FOLLOWS_S)
            verdict.decodes_again_s.setdefault(fault.kind, []).append(round(took_s, 2))
            verdict.faults += 1
        verdict.restarts = daemon.status().restarts
        verdict.began.append((time.monotonic_ns(), "the end"))
        # The disk goes with its holder, so that files are judged within.
        daemon.at_end = lambda: judge_files(daemon.disk.path, verdict)
    lines = unhandled(daemon.log())
    verdict.unhandled = [line for line in lines if ABORTED not in line]
    if len(lines) - len(verdict.unhandled) > verdict.aborted:
        verdict.unhandled += [line for line in lines if ABORTED in line]
    trace = daemon.trace()
    for violation in violations(daemon.folder, trace):
        before = [text for at_ns, text in verdict.began if at_ns <= violation.time_ns]
        verdict.violations.append((violation, before[-1] if before else "before any fault"))
    verdict.targets = sum(entry.kind == "target" for entry in trace)
    return verdict


def happen(daemon: RealDaemon, fault: Fault, verdict: Verdict) -> None:
    """The fault, from its beginning until it is over."""
    match fault.kind:
        case "decode stopped for a moment" | "decode stopped":
            stopped(daemon, daemon.pid("decode"), fault.for_s)
        case "decode stopped for good":
            engine = daemon.pid("decode")
            os.kill(engine, signal.SIGSTOP)
            verdict.aborted += 1
            daemon.until(
                lambda s: s.process.pid != engine, "it is ended and started again", STALL_LIMIT_S + 60
            )
        case "decode killed":
            engine = daemon.pid("decode")
            os.kill(engine, signal.SIGKILL)
            daemon.until(lambda s: s.process.pid != engine and s.decode is not None, "it is started again")
        case "recorder stopped" | "port stopped":
            stopped(daemon, daemon.pid(fault.kind.split()[0]), fault.for_s)
            answers(daemon)
        case "recorder killed" | "port killed" | "metrics killed":
            role = fault.kind.split()[0]
            before = daemon.pid(role)
            os.kill(before, signal.SIGKILL)
            within(30.0, lambda: daemon.pid(role) != before, f"the {role} is started again")
            answers(daemon)
        case "guard stopped":
            said = daemon.trace()
            stopped(daemon, daemon.pid("guard"), fault.for_s)
            watchdog_s = VIRTUAL_HAND.watchdog_s
            assert watchdog_s is not None
            if fault.for_s > watchdog_s + 0.2:
                time.sleep(0.1)
                acted = [entry for entry in daemon.trace()[len(said) :] if entry.kind == "watchdog"]
                verdict.watchdogs[fault.number] = bool(acted)
        case "guard killed":
            engine = daemon.pid("decode")
            os.kill(daemon.pid("guard"), signal.SIGKILL)
            daemon.until(lambda s: s.process.pid != engine and s.decode is not None, "it is started again")
        case "hand disconnects":
            daemon.hand.order("disconnect")
        case "hand silent":
            daemon.hand.order("silence")
            time.sleep(fault.for_s)
            daemon.hand.order("resume")
        case "hand away":
            daemon.hand.order("stop advertising")
            daemon.hand.order("disconnect")
            time.sleep(fault.for_s)
            daemon.hand.order("advertise")
        case "source unplugged":
            daemon.board.unplug()
            time.sleep(fault.for_s)
            daemon.board.plug()
        case "source stalled":
            daemon.board.stall()
            time.sleep(fault.for_s)
            daemon.board.resume()
        case "source reset":
            daemon.board.restart()
        case "another decoder takes over":
            takes_over(daemon, fault.seed)
        case "the decoder of before comes back":
            comes_back(daemon)
        case "configuration read again":
            text = f"{daemon.text}[decision]\nmin_hold_s = {0.1 + fault.seed % 10 / 100}\n"
            config = daemon.reload(text).config
            assert config is not None
            assert not config.refused, config
        case "wrong configuration read again":
            good = daemon.config.read_text()
            wrong = good.replace("rotate_mib = 8", "rotate_mib = 9" if fault.seed % 2 else "rotate_mib = -8")
            config = daemon.reload(wrong).config
            daemon.config.write_text(good)
            assert config is not None
            assert config.refused, config
        case "wall clock an hour on" | "wall clock an hour back":
            restarts, engine = daemon.status().restarts, daemon.pid("decode")
            daemon.step_wall(3600.0 if fault.kind.endswith("on") else -3600.0)
            time.sleep(fault.for_s)
            assert (daemon.status().restarts, daemon.pid("decode")) == (restarts, engine)
        case "disk full":
            if daemon.disk.can_be_full:
                disk_full(daemon, fault.for_s)
        case _:
            raise AssertionError(f"{fault.kind!r} is nothing that can happen here")


def within(limit_s: float, is_so: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end_s, f"not within {limit_s} s: {what}"
        time.sleep(0.05)


def stopped(daemon: RealDaemon, pid: int, for_s: float) -> None:
    """SIGSTOP, and SIGCONT after so long."""
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(for_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def answers(daemon: RealDaemon) -> None:
    """Its port, its metrics and its recorder do what they are there for."""

    def port() -> bool:
        try:
            client = PortClient(f"127.0.0.1:{daemon.port}", who="Ann")
            with client:
                client.connect(5.0)
                return "deployed" in client.request("shadow")
        except LinkError:
            return False

    def metrics() -> bool:
        try:
            return "nervehand" in daemon.metrics_text()
        except OSError:
            return False

    within(30.0, port, "the port answers")
    within(30.0, metrics, "metrics are served")
    seen: list[int] = []

    def records() -> bool:
        """The newest recorder's count grows."""
        recording = daemon.status().recording
        if recording is None or recording.state != "recording":
            return False
        seen.append(recording.samples)
        return any(0 < a < b for a, b in pairwise(seen)) and recording.ring_backlog_s < BEHIND_S

    try:
        within(60.0, records, "it records")
    except AssertionError:
        raise AssertionError(f"it does not record: {daemon.status().recording}") from None


def takes_over(daemon: RealDaemon, seed: int) -> None:
    """A decoder is pushed, and let in as soon as the daemon accepts it."""
    deployed = daemon.status().decode
    assert deployed is not None
    new = next(
        one for one in map(bundle, (1 + seed % 3, 1 + (seed + 1) % 3)) if one.sha256 != deployed.bundle_sha256
    )
    path = daemon.folder / f"{new.sha256[:12]}.nhb"
    path.write_bytes(pack(new))
    where = f"127.0.0.1:{daemon.port}"
    words = ["push", str(path), where, "--switch", "--as", "Ann", "--patience", str(TAKES_OVER_S)]
    said = subprocess.run(
        [sys.executable, "-m", "nervehand", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert said.returncode == 0, said.stdout + said.stderr
    daemon.until(lambda s: s.decode is not None and s.decode.bundle_sha256 == new.sha256, "it is deployed")


def comes_back(daemon: RealDaemon) -> None:
    """The decoder of before takes over again, where there is one."""
    with PortClient(f"127.0.0.1:{daemon.port}", who="Ann") as client:
        client.connect(5.0)
        beside = client.request("shadow")["shadow"]
        assert isinstance(beside, list)
        if not any(one["role"] == "previous" for one in beside):
            return
        end_s = time.monotonic() + TAKES_OVER_S
        while True:
            try:
                client.request("rollback", timeout_s=15.0)
                return
            except LinkError:
                raise
            except NervehandError:
                if time.monotonic() > end_s:
                    raise


def disk_full(daemon: RealDaemon, for_s: float) -> None:
    """Nothing is left but what recording may not take; then there is room again."""
    path = daemon.disk.path / "somebody-elses"
    room = os.statvfs(daemon.disk.path)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - (1 << 20))
    try:
        daemon.until(
            lambda s: s.recording is not None and s.recording.state == "stopped", "recording stops", 20.0
        )
        daemon.decodes(5.0)
        time.sleep(for_s)
    finally:
        path.unlink()
    daemon.until(
        lambda s: s.recording is not None and s.recording.state == "recording", "it records again", 30.0
    )


def judge_files(folder: Path, verdict: Verdict) -> None:
    """Every file opens, and gives the intents again that were decided live, as far as it holds them."""
    known: dict[str, Bundle] = {one.sha256: one for one in map(bundle, range(4))}
    for kept in kept_in(folder, NAME):
        session = read_session(kept.path)
        verdict.files += 1
        verdict.overloads += len(left_out(session))
        recorded = session.recorded.intents
        if recorded is None or not len(recorded):
            continue
        source = SessionSource(session, 500, is_paced=False)
        source.connect()
        again = joined(list(replay_as_recorded(session, known[session.recorded.bundle], source.blocks())))
        found = compared(again, recorded)
        verdict.compared_hops += found.hops
        if not found.is_equal:
            verdict.differing.append(f"{kept.path.name}: {found}")
