"""A guard process as it is used: started by decode, a virtual hand at the end of its link, and each of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.emulators.hands.device import read_trace
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import Cause, GateEvent, GateState
from firmware_bridge.guard import RELEASE_MARGIN_S, Sent
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_requests import ask, ask_for_rest
from firmware_bridge.guard_settings import GuardSettings, RealTimeSettings
from firmware_bridge.guard_sockets import running
from firmware_bridge.hand import HandCommand, LinkState
from firmware_bridge.hands import HandOptions
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from firmware_bridge.movement_trace import Moved
from firmware_bridge.preuse import overridden
from firmware_bridge.realtime import Policy
from firmware_bridge.stop_lines import StopLine
from tests.firmware_bridge.guarding import LONG_S, NS, PATIENCE_S, PATIENT_LIMITS, own_guards, wait_for

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numba", "llvmlite", "onnxruntime", "h5py", "scipy", "torch", "pynwb", "pydantic", "mujoco")

DECODE = """
import sys, time
from pathlib import Path
from firmware_bridge.guard_client import GuardClient
from tests.firmware_bridge.test_guard_client import following, patient

address, transport, name, told = sys.argv[1:]
with open(told, "w", buffering=1) as file:
    settings = patient(address, transport, name)
    with GuardClient(settings, lambda e: file.write(f"{e.time_ns} {e.kind} {e.text}\\n")) as guard:
        following(guard, 0.8)
        print("follows", flush=True)
        while True:
            following(guard, 0.8)
"""
"""A decode process that moves the hand until somebody ends it."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def hand() -> Iterator[VirtualHandProcess]:
    with virtual_hand_process() as process:
        yield process


def patient(address: str, transport: str, name: str = "", **more: Any) -> GuardSettings:
    """Nothing but the heartbeat is ever too old."""
    options = HandOptions(transport=transport, link_timeout_s=LONG_S)
    given = {"connect_s": PATIENCE_S, "release_s": PATIENCE_S, "orphaned_link_s": PATIENCE_S} | more
    return GuardSettings(f"virtual:{address}", options, PATIENT_LIMITS, name=name, **given)


def following(guard: GuardClient, target: float, sample_index: int = 0) -> None:
    """Arm if need be, and command until the gate follows and the target is sent."""
    while True:
        decision = guard.decision
        if decision is None or decision.state is GateState.DISARMED:
            guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
        elif np.allclose(decision.positions, target, atol=1e-3) and decision.state is GateState.ARMED:
            return
        goal = target if guard.state is GateState.ARMED else 0.0
        now_ns = time.monotonic_ns()
        expires_ns = now_ns + round(LONG_S * NS)
        with guard.working():
            guard.submit(HandCommand(np.full(6, goal, np.float32), sample_index, now_ns, expires_ns))
        time.sleep(0.01)


class Told:
    def __init__(self) -> None:
        self.events: list[GateEvent] = []
        self.sent: list[Sent] = []


@contextmanager
def guard_of(hand: VirtualHandProcess, **more: Any) -> Iterator[tuple[GuardClient, Told]]:
    told = Told()
    with GuardClient(
        patient(hand.address, hand.transport, **more), told.events.append, told.sent.append
    ) as guard:
        yield guard, told


@contextmanager
def decode(hand: VirtualHandProcess, told: Path) -> Iterator[subprocess.Popen[str]]:
    """That process, once its guard, called "worn", follows."""
    command = [sys.executable, "-c", DECODE, hand.address, hand.transport, "worn", str(told)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "follows\n"
            yield process
        finally:
            process.kill()


def status() -> dict[str, Any]:
    answer = ask("worn", "status", "test", timeout_s=PATIENCE_S)["status"]
    assert isinstance(answer, dict)
    return answer


def test_it_moves_the_hand_says_what_it_was_told_and_loads_nothing_heavy(hand: VirtualHandProcess) -> None:
    with guard_of(hand) as (guard, told):
        assert guard.hand.capabilities.name == "nervehand virtual hand"
        assert guard.hand.link is LinkState.CONNECTED
        following(guard, 0.6, sample_index=1234)
        wait_for(lambda: guard.hand.state is not None and guard.hand.state.positions.min() > 0.55)
        maps = Path(f"/proc/{guard.pid}/maps").read_text()
        assert not [name for name in HEAVY if f"/{name}" in maps]
        pss_kb = int(Path(f"/proc/{guard.pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0])
        assert pss_kb < 80 * 1024
        guard.request_stop("Bob")
        assert guard.state is GateState.HOLDING
        assert not guard.request_arm("Bob", overridden("", time.monotonic_ns()))
    assert {sent.sample_index for sent in told.sent} == {1234, -1}
    assert not told.sent[-1].positions.any()
    assert guard.counters.commands_applied > 0
    assert guard.undelivered == 0
    assert [event.who for event in told.events if event.kind == "stop"] == ["Bob"]
    assert [event.kind for event in told.events][-2:] == ["disarm", "disarmed"]
    assert "guard lost" not in {event.kind for event in told.events}
    assert guard.failure == ""


def test_the_process_imports_nothing_heavy_before_it_opens_a_hand() -> None:
    code = "import sys, firmware_bridge.guard_process; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {*HEAVY, "bleak", "bumble"}


def test_what_decode_asks_for_is_done_and_said(hand: VirtualHandProcess) -> None:
    locked = Adjustments(gain=(0.5,) * 6, hand_locked=True)
    with guard_of(hand) as (guard, told):
        following(guard, 0.6)
        with pytest.raises(NervehandError, match="runs already"):
            guard.start()
        guard.adjust("Ann", locked)
        assert guard.adjustments == locked
        wait_for(lambda: guard.decision is not None and guard.decision.cause is Cause.LOCKED)
        guard.report_fault("decoder", "OSError('gone')\nin two lines")
        assert guard.state is GateState.FAULTED
        guard.request_disarm("Bob")
        assert guard.state is GateState.DISARMED
        wait_for(lambda: "disarm" in {event.kind for event in told.events})
    said = {event.kind: (event.text, event.who) for event in told.events if event.who in ("decoder", "Ann")}
    assert said["fault"] == ("OSError('gone') in two lines", "decoder")
    assert said["adjust"][1] == "Ann"


def test_limits_are_changed_without_a_stop_or_refused_with_the_reason(hand: VirtualHandProcess) -> None:
    slow = replace(PATIENT_LIMITS, max_speed_per_s=0.5)
    with guard_of(hand, release_s=None) as (guard, told):
        following(guard, 0.6)
        assert guard.limits.changes_from(PATIENT_LIMITS) == ()
        assert guard.limit("Ann", slow).changes_from(slow) == ()
        assert guard.state is GateState.ARMED
        following(guard, 0.3)
        with pytest.raises(NervehandError, match=r"max_command_rate_hz is 1001: the hand's own is 1000"):
            guard.limit("Ann", replace(slow, max_command_rate_hz=1001.0))
        assert guard.limits.changes_from(slow) == ()
        assert guard._release_s == slow.time_to_rest_s + RELEASE_MARGIN_S > PATIENT_LIMITS.time_to_rest_s + 3
    said = [(event.kind, event.text, event.who) for event in told.events if event.kind.startswith("limits")]
    assert [kind for kind, _, _ in said] == ["limits", "limits refused"]
    assert said[0][1].startswith("max_speed_per_s 4 /s -> 0.5 /s")
    assert {who for _, _, who in said} == {"Ann"}
    with pytest.raises(LinkError, match="does not say which limits"):
        guard.limit("Ann", slow)


def test_each_command_has_its_times_and_a_movement_the_command_that_began_it(
    hand: VirtualHandProcess,
) -> None:
    sent: list[Sent] = []
    moved: list[Moved] = []
    settings = patient(hand.address, hand.transport)
    with GuardClient(settings, on_sent=sent.append, on_moved=moved.append) as guard:
        following(guard, 0.0)
        wait_for(lambda: guard.hand.state is not None and np.abs(guard.hand.state.positions).max() < 0.01)
        time.sleep(0.3)  # it stands still
        before_ns = time.monotonic_ns()
        following(guard, 0.7, sample_index=555)
        wait_for(lambda: moved)
    one = moved[0]
    first = next(one for one in sent if one.sample_index == 555)
    assert (one.sample_index, one.sent_ns) == (555, first.sent_ns)
    assert before_ns < first.taken_ns <= first.decided_ns <= first.sent_ns < one.reported_ns
    assert one.reported_ns < time.monotonic_ns()


@pytest.mark.parametrize("policy", ["auto", "off"])
def test_its_threads_have_the_class_that_it_says(hand: VirtualHandProcess, policy: Policy) -> None:
    """Whether this machine gives it or not."""
    wanted = RealTimeSettings(policy, priority=3, lock_memory=False)
    with guard_of(hand, real_time=wanted) as (guard, _):
        threads = [int(path.name) for path in Path(f"/proc/{guard.pid}/task").iterdir()]
        assert len(threads) >= 5  # main, steps, commands, requests, link
        classes = {os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK for thread in threads}
        if policy == "off":
            assert guard.real_time is None
            assert classes == {os.SCHED_OTHER}
            return
        assert guard.real_time is not None
        has_it = guard.real_time.scheduling == "SCHED_FIFO 3"
        assert has_it or guard.real_time.warnings
        assert classes == {os.SCHED_FIFO if has_it else os.SCHED_OTHER}
        following(guard, 0.4)


def test_real_time_that_cannot_be_had_is_an_error_before_anything_moves(hand: VirtualHandProcess) -> None:
    wanted = RealTimeSettings("required", cpus=(4095,))
    with pytest.raises(LinkError, match=r"real time is required, and .*4095"):
        GuardClient(patient(hand.address, hand.transport, real_time=wanted)).start()
    assert RealTimeSettings("auto", 0).is_off
    assert RealTimeSettings().is_off


def test_signals_stop_release_and_end_it(hand: VirtualHandProcess) -> None:
    with guard_of(hand) as (guard, told):
        following(guard, 0.6)
        os.kill(guard.pid, signal.SIGUSR1)
        wait_for(lambda: guard.state is GateState.HOLDING)
        os.kill(guard.pid, signal.SIGUSR2)
        wait_for(lambda: guard.state is GateState.RELEASED)
        wait_for(lambda: guard.decision is not None and not guard.decision.positions.any())
        assert guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
        following(guard, 0.6)
        os.kill(guard.pid, signal.SIGTERM)
        wait_for(lambda: guard.failure)
    assert not told.sent[-1].positions.any()
    assert told.sent[-1].state is GateState.RELEASED
    who = [event.who.split()[0] for event in told.events if event.kind in ("stop", "release")]
    assert who[:3] == ["SIGUSR1", "SIGUSR2", "SIGTERM"]
    assert "ended with status 0" in guard.failure


def test_a_stop_while_the_link_is_down_is_kept(hand: VirtualHandProcess) -> None:
    options = HandOptions(transport=hand.transport, link_timeout_s=0.5)
    settings = GuardSettings(
        f"virtual:{hand.address}", options, PATIENT_LIMITS, connect_s=PATIENCE_S, release_s=PATIENCE_S
    )
    sent: list[Sent] = []
    with GuardClient(settings, on_sent=sent.append) as guard:
        following(guard, 0.6)
        hand.order("silence")
        try:
            wait_for(lambda: guard.state is GateState.DISARMED)
            guard.request_stop("Ann")
            guard.request_release("Ann")
            assert guard.state is GateState.RELEASED
            assert guard.hand.link is not LinkState.CONNECTED
            wait_for(lambda: guard.decision is not None and guard.decision.cause is Cause.LINK_LOST)
            time.sleep(0.05)
            sent.clear()
        finally:
            hand.order("resume")
        wait_for(lambda: sent)
        wait_for(lambda: not sent[-1].positions.any())
    assert {one.state for one in sent} == {GateState.RELEASED}


def test_a_stopped_decode_is_found_and_relaxed_and_moves_the_hand_again_when_it_goes_on(
    hand: VirtualHandProcess, tmp_path: Path
) -> None:
    with decode(hand, tmp_path / "told") as process:
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: status()["stalls"] > 0)
        wait_for(lambda: not any(status()["positions"]))
        assert status()["state"] == "relaxing"
        assert status()["cause"] == Cause.SILENCE.value
        wait_for(lambda: max(status()["hand"]["positions"]) < 0.05)  # the hand itself has gone to rest
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: status()["state"] == "armed" and min(status()["positions"]) > 0.7)
        lines = (tmp_path / "told").read_text().splitlines()
    events = [line.split(" ", 2) for line in lines]
    stalled = next(i for i, event in enumerate(events) if event[1] == "silence")
    age_ms = float(events[stalled][2].split()[3])
    assert age_ms >= 70  # and less than 100 where the machine does not stand still itself: see docs/guard.md
    after = [event[1] for event in events[stalled:]]
    assert after.index("relaxing") < min(after.index("heartbeat"), after.index("armed"))
    relaxing = events[stalled + after.index("relaxing")]
    assert int(relaxing[0]) >= int(events[stalled][0])


def test_a_killed_decode_leaves_a_guard_that_releases_and_ends(tmp_path: Path) -> None:
    """Judged by what the hand itself was told: to rest, before its own watchdog had anything to do."""
    with virtual_hand_process(arguments=["--trace", str(tmp_path / "trace")]) as hand:
        with decode(hand, tmp_path / "told") as process:
            assert running() == ("worn",)
            killed_ns = time.monotonic_ns()
            process.kill()
            wait_for(lambda: running() == ())
        assert not list(tmp_path.glob("runtime/nervehand/*"))
    with open(tmp_path / "trace") as lines:
        trace = read_trace(lines)
    targets = [entry for entry in trace if entry.kind == "target" and entry.time_ns > killed_ns]
    thumb = [entry.joints[0] for entry in targets]
    assert thumb == sorted(thumb, reverse=True)
    assert not any(targets[-1].joints)
    assert "watchdog" not in [
        entry.kind for entry in trace if killed_ns < entry.time_ns < targets[-1].time_ns
    ]


def test_a_killed_guard_is_said_and_the_hands_own_watchdog_acts(hand: VirtualHandProcess) -> None:
    with guard_of(hand) as (guard, told):
        following(guard, 0.8)
        os.kill(guard.pid, signal.SIGKILL)
        wait_for(lambda: guard.failure)
        assert guard.hand.link is LinkState.LOST
        assert guard.state is GateState.DISARMED
        with pytest.raises(LinkError, match=r"killed by SIGKILL.*\(open after 0.3 s\)"):
            guard.submit(HandCommand(np.zeros(6, np.float32), 0, 0, 1))
        guard.request_stop("Ann")  # nobody is there to hear it; that is logged, not raised
        assert not guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
        looking = VirtualHand(hand.address, hand.transport, link_timeout_s=LONG_S)
        looking.connect(PATIENCE_S)
        try:
            wait_for(lambda: looking.state is not None and looking.state.watchdog_tripped)
            wait_for(lambda: looking.state is not None and np.abs(looking.state.positions).max() < 0.05)
        finally:
            looking.close()
    assert [event.kind for event in told.events].count("guard lost") == 1
    assert told.sent[-1].positions.min() > 0.7


def test_a_guard_that_stands_still_is_seen_and_a_stop_waits_for_it(hand: VirtualHandProcess) -> None:
    with guard_of(hand) as (guard, told):
        following(guard, 0.5)
        os.kill(guard.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: guard.hand.link is LinkState.LOST)
            guard.request_stop("Ann")  # unanswered: a signal is left for it as well
        finally:
            os.kill(guard.pid, signal.SIGCONT)
        wait_for(lambda: guard.hand.link is LinkState.CONNECTED)
        wait_for(lambda: len([event for event in told.events if event.kind == "stop"]) == 2)
        assert guard.state is not GateState.ARMED
    assert {event.who.split()[0] for event in told.events if event.kind == "stop"} == {"Ann", "SIGUSR1"}


def test_a_stop_from_another_terminal_goes_by_a_signal_where_the_guard_stands_still(
    hand: VirtualHandProcess,
) -> None:
    with guard_of(hand, name="worn") as (guard, told):
        following(guard, 0.5)
        os.kill(guard.pid, signal.SIGSTOP)
        said: list[str] = []
        try:
            answer = ask_for_rest("worn", "stop", "Bob", said.append, timeout_s=0.1)
        finally:
            os.kill(guard.pid, signal.SIGCONT)
        assert answer == {"ok": True, "state": "unknown", "way": f"SIGUSR1 was sent to process {guard.pid}"}
        assert len(said) == 1
        wait_for(lambda: {"SIGUSR1", "Bob"} <= {e.who.split()[0] for e in told.events if e.kind == "stop"})
        assert guard.state is not GateState.ARMED


def test_a_request_to_arm_does_not_overrule_who_asked_for_rest_since_it_was_decided(
    hand: VirtualHandProcess,
) -> None:
    with guard_of(hand) as (guard, _):
        decided_ns = time.monotonic_ns()
        guard.request_stop("Bob")
        report = overridden("Ann", time.monotonic_ns())
        assert not guard.request_arm("Ann", report, asked_ns=decided_ns)
        wait_for(lambda: guard.request_arm("Ann", report))


def test_the_process_is_left_the_time_that_a_slow_hand_needs(
    hand: VirtualHandProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(PATIENT_LIMITS, max_speed_per_s=0.001)
    settings = replace(patient(hand.address, hand.transport, release_s=None), limits=slow)
    waited: list[float | None] = []
    with GuardClient(settings) as guard:
        assert guard._process is not None
        wait = guard._process.wait

        def wait_so_long(timeout: float | None = None) -> int:
            waited.append(timeout)
            return wait(timeout)

        monkeypatch.setattr(guard._process, "wait", wait_so_long)
        guard.close(release_s=1.0)
    assert waited[0] is not None
    assert waited[0] >= slow.time_to_rest_s + RELEASE_MARGIN_S >= 1000


def test_a_decode_that_hangs_at_work_is_found_and_one_that_waits_for_samples_is_not(
    hand: VirtualHandProcess,
) -> None:
    with guard_of(hand) as (guard, told):
        following(guard, 0.5)
        beats = guard.status
        assert beats is not None
        stalls = beats.stalls
        with guard.working():
            wait_for(lambda: guard.status is not None and guard.status.stalls > stalls)
        wait_for(lambda: any(event.kind == "heartbeat" for event in told.events))
    assert any(event.kind == "silence" for event in told.events)


def test_a_hand_that_is_not_there_is_a_link_error_that_names_it() -> None:
    settings = patient("F5:4E:48:00:00:01", "tcp-client:127.0.0.1:9", connect_s=0.5)
    with pytest.raises(LinkError, match="no connection to the hand"):
        GuardClient(settings).start()
    with pytest.raises(LinkError, match="'nothing' is not known"):
        GuardClient(GuardSettings("nothing:x")).start()
    assert running() == ()


def test_a_stop_line_that_cannot_be_read_is_an_error_before_anything_moves(
    hand: VirtualHandProcess, tmp_path: Path
) -> None:
    lines = (StopLine(f"gpio:{tmp_path}/value"),)
    client = GuardClient(patient(hand.address, hand.transport, stop_lines=lines))
    with pytest.raises(LinkError, match=r"stop line gpio:.*/value cannot be read"):
        client.start()
    client.close()
    assert not list(tmp_path.glob("runtime/nervehand/*"))


def test_a_listener_that_fails_is_counted_and_stops_nothing(
    hand: VirtualHandProcess, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(what: object) -> None:
        raise RuntimeError("screen gone")

    with GuardClient(patient(hand.address, hand.transport), fail, fail) as guard:
        following(guard, 0.5)
    assert guard.counters.errors > 2
    assert "screen gone" in caplog.text
    assert guard.failure == ""


def test_before_its_start_it_says_so() -> None:
    guard = GuardClient(GuardSettings("virtual:x"))
    assert (guard.state, guard.decision, guard.hand.link) == (
        GateState.DISARMED,
        None,
        LinkState.DISCONNECTED,
    )
    assert guard.hand.state is None
    for use in (lambda: guard.capabilities, lambda: guard.pid):
        with pytest.raises(NervehandError, match="has not started"):
            use()
    guard.close()


def test_the_answer_to_a_request_of_somebody_else_is_json(hand: VirtualHandProcess) -> None:
    with guard_of(hand, name="left") as (guard, _):
        assert json.loads(json.dumps(ask("left", "status", "Ann")))["ok"]
        with pytest.raises(NervehandError, match="only the process that started the guard"):
            ask("left", "end", "Ann")
        assert guard.name == "left"
