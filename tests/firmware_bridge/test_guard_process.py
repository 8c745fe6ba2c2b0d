"""What runs in the guard's process: commands, heartbeat, requests and its end, around a hand in this process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge import guard_requests, guard_sockets
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import Cause, GateLimits, GateState
from firmware_bridge.guard_requests import (
    MOST_BYTES,
    MOST_CONNECTIONS,
    RequestServer,
    ask,
    ask_for_rest,
    parse,
)
from firmware_bridge.guard_settings import GuardSettings
from firmware_bridge.hand import LinkState
from firmware_bridge.plain import from_plain, to_plain
from firmware_bridge.preuse import overridden
from firmware_bridge.stop_lines import StopLine
from tests.firmware_bridge.guarding import (
    PATIENCE_S,
    PATIENT_LIMITS,
    Rig,
    own_guards,
    signals_to,
    wait_for,
)

UNASKED = (GateState.ARMED, GateState.RELAXING)
"""What an armed gate is in while nobody asks for anything; relaxing where this test itself was kept from beating."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


def connected(rig: Rig) -> socket.socket:
    """Somebody else at the guard's socket."""
    return guard_sockets.connected(Path(rig.ready["socket"]), PATIENCE_S)


def line_of(there: socket.socket) -> dict[str, object]:
    with there.makefile("rb") as lines:
        answer: dict[str, object] = json.loads(lines.readline())
    return answer


def test_a_command_reaches_the_hand_and_is_told_with_its_sample() -> None:
    with Rig() as rig:
        assert rig.ready["error"] == ""
        assert rig.ready["capabilities"]["name"] == rig.hand.capabilities.name
        rig.follow(0.5)
        wait_for(lambda: rig.hear() and any(sent.sample_index == 7 for sent in rig.sent))
        assert rig.status.link is LinkState.CONNECTED
        assert rig.status.counters.commands_applied >= 2
    rig.hear()
    told = [sent.positions.tobytes() for sent in rig.sent]
    assert told == [positions.tobytes() for positions in rig.hand.sent]
    assert [event.who for event in rig.events if event.kind == "arm"] == ["Ann"]


def test_of_several_commands_the_newest_is_applied_and_the_others_are_counted() -> None:
    rig = Rig()
    for i in range(5):
        rig.write(0.0, sample_index=i)
    with rig:
        wait_for(lambda: rig.status.overwritten == 4)
        rig.arm()
        rig.submit(0.0, 5)
        wait_for(lambda: rig.status.counters.commands_applied == 1)
        rig.hear()
        assert rig.status.overwritten == 4
        assert {sent.sample_index for sent in rig.sent} <= {-1, 4, 5}


def test_a_torn_command_is_refused_and_counted_and_the_one_before_stays_in_force() -> None:
    with Rig() as rig:
        rig.follow(0.5)
        rig.tear()
        wait_for(lambda: rig.status.refused == 1)
        rig.submit(0.25, sample_index=8)
        wait_for(lambda: rig.hear() and any(sent.sample_index == 8 for sent in rig.sent))
    assert {sent.sample_index for sent in rig.sent} <= {-1, 0, 7, 8}
    assert min(float(sent.positions.min()) for sent in rig.sent) >= 0


def test_a_stalled_decode_relaxes_the_hand_and_commands_that_come_again_move_it() -> None:
    with Rig() as rig:
        rig.follow(0.8)
        rig.beat(False)
        wait_for(lambda: "silence" in rig.kinds())
        text = next(event.text for event in rig.events if event.kind == "silence")
        assert text.startswith("decode's heartbeat is ")
        assert float(text.split()[3]) >= 70
        wait_for(lambda: rig.status.cause is Cause.SILENCE)
        wait_for(lambda: not rig.status.positions.any())
        assert rig.status.state is GateState.RELAXING
        assert rig.status.stalls == 1
        rig.beat(True)
        wait_for(lambda: "heartbeat" in rig.kinds())
        rig.submit_until(0.4, lambda: rig.status.state is GateState.ARMED)
    moves = [float(sent.positions[0]) for sent in rig.sent if sent.state is GateState.RELAXING]
    assert moves == sorted(moves, reverse=True)


def test_a_decode_that_stalls_without_a_command_in_force_is_only_said() -> None:
    with Rig() as rig:
        wait_for(lambda: rig.memory.last_beat()[0] > 3)
        rig.beat(False)
        wait_for(lambda: "silence" in rig.kinds())
        assert rig.status.counters.commands_applied == rig.status.counters.commands_late == 0


def test_a_decode_that_has_not_begun_to_beat_has_not_stalled() -> None:
    rig = Rig()
    rig.beat(False)
    with rig:
        before = rig.status.time_ns
        wait_for(lambda: rig.status.time_ns - before > 10**9)
        assert rig.status.stalls == 0


def test_requests_are_answered_and_named() -> None:
    with Rig() as rig:
        rig.follow(0.5)
        assert rig.ask("stop", "Bob", id=5) == {"ok": True, "state": "holding", "link": "connected", "id": 5}
        assert rig.status.cause is Cause.STOPPED
        assert rig.ask("adjust", adjustments=to_plain(Adjustments(hand_locked=True)))["ok"]
        assert rig.ask("release", "Cy")["state"] == "released"
        wait_for(lambda: not rig.status.positions.any())
        assert rig.ask("fault", what="broke")["ok"]
        assert rig.ask("disarm", "Di")["state"] == "disarmed"
        status = rig.ask("status")["status"]
        assert status["link"] == "connected"
        assert status["counters"]["commands_applied"] >= 2
    rig.hear()
    named: dict[str, str] = {}
    for event in rig.events:
        named.setdefault(event.kind, event.who)
    assert (named["stop"], named["release"], named["disarm"], named["adjust"]) == ("Bob", "Cy", "Di", "Ann")
    assert named["fault"] == "Ann"


def test_the_owner_may_change_the_limits_without_a_stop_and_hears_which_are_in_force() -> None:
    slow = replace(PATIENT_LIMITS, max_speed_per_s=1.0, upper=0.25)
    with Rig() as rig:
        rig.follow(0.5)
        answer = rig.ask("limits", "Bob", limits=to_plain(slow))
        assert answer["ok"]
        assert from_plain(GateLimits, answer["limits"]).changes_from(slow) == ()
        assert answer["time_to_rest_s"] == 1.0  # from full extension; from 0.5 it is less
        assert rig.status.state in UNASKED
        rig.submit_until(0.5, lambda: abs(float(rig.status.positions[0]) - 0.25) < 1e-6)
        assert rig.ask("status")["limits"] == answer["limits"]
    rig.hear()
    said = [(event.text, event.who) for event in rig.events if event.kind == "limits"]
    assert said[0][1] == "Bob"
    assert said[0][0].startswith("upper 1 -> 0.25; max_speed_per_s 4 /s -> 1 /s; limits laxer than usual: ")
    change = next(i for i, sent in enumerate(rig.sent) if sent.positions[0] == np.float32(0.5))
    way = [float(sent.positions[0]) for sent in rig.sent[change:] if sent.state is GateState.ARMED]
    assert min(np.diff(way)) >= -PATIENT_LIMITS.max_step_s * 1.0 - 1e-6


def test_limits_that_the_hand_cannot_have_are_refused_with_the_reason_and_nothing_changes() -> None:
    with Rig() as rig:
        fast = replace(PATIENT_LIMITS, max_speed_per_s=4.5, silence_after_s=0.1)
        answer = rig.ask("limits", limits=to_plain(fast))
        error = "gate limit max_speed_per_s of thumb is 4.5: the hand's own is 4"
        assert (answer["ok"], answer["error"]) == (False, error)
        assert rig.ask("status")["limits"] == to_plain(PATIENT_LIMITS)


def test_nobody_but_the_owner_changes_the_limits() -> None:
    with Rig() as rig, connected(rig) as there:
        slow = replace(PATIENT_LIMITS, max_speed_per_s=1.0)
        request = {"request": "limits", "who": "Bob", "limits": to_plain(slow)}
        there.sendall(json.dumps(request).encode() + b"\n")
        assert "only the process that started the guard" in str(line_of(there)["error"])
        assert rig.ask("status")["limits"] == to_plain(PATIENT_LIMITS)


def test_a_movement_is_told_with_the_command_that_began_it_and_its_times() -> None:
    with Rig() as rig:
        rig.follow(0.0)
        wait_for(lambda: rig.status.hand is not None and not rig.status.hand.positions.any())
        time.sleep(0.2)  # it stands still
        rig.submit_until(0.6, lambda: bool(rig.hear() and rig.moved), sample_index=77)
    moved = rig.moved[0]
    first = next(sent for sent in rig.sent if sent.sample_index == 77)
    assert moved.sample_index == 77
    assert 0 < first.taken_ns <= first.decided_ns <= first.sent_ns == moved.sent_ns < moved.reported_ns
    assert all(sent.taken_ns == 0 for sent in rig.sent if sent.sample_index == -1)


def test_arming_is_refused_with_the_gates_own_reason() -> None:
    with Rig() as rig:
        answer = rig.ask("arm", report={"finished_ns": 1, "items": []})
        assert not answer["ok"]
        assert "check" in answer["error"]
        assert rig.status.state is GateState.DISARMED


GOOD_REPORT = {"finished_ns": 1, "items": [], "overridden_by": "Ann"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"stop", "not one line of JSON"),
        (b"\xff\xfe", "not one line of JSON"),
        (b"[" * 50000, "not one line of JSON"),
        (b"1" * 5000, "not one line of JSON"),
        (b"[]", "give an object"),
        (b"{}", "lacks request, who"),
        (b'{"request": "stop"}', "lacks who"),
        (b'{"request": "stop", "who": ""}', "nobody is named"),
        (b'{"request": "stop", "who": "a\\nb"}', "printable"),
        (b'{"request": "stop", "who": "\\ud800"}', "printable"),
        (b'{"request": "stop", "who": 5}', "request.who is 5: give a str"),
        (b'{"request": "jump", "who": "A"}', "use one of arm"),
        (b'{"request": "stop", "who": "A", "now": true}', "request has no now"),
        (b'{"request": "stop", "who": "A", "what": "x"}', "stop takes no what"),
        (b'{"request": "arm", "who": "A"}', "arm lacks report"),
        (b'{"request": "fault", "who": "A"}', "fault lacks what"),
        (b'{"request": "adjust", "who": "A", "adjustments": {"gain": [NaN,1,1,1,1,1]}}', "adjustment gain"),
        (b'{"request": "adjust", "who": "A", "adjustments": {"gain": [1]}}', "adjustment gain"),
        (b'{"request": "limits", "who": "A"}', "limits lacks limits"),
        (b'{"request": "limits", "who": "A", "limits": {"lower": 0}}', "limits lacks upper, max_speed_per_s"),
        (
            b'{"request": "limits", "who": "A", "limits": {"lower": [0.5], "upper": [1], "max_speed_per_s": [1]}}',
            "gate limit lower",
        ),
        (b'{"request": "stop", "who": "A", "limits": {}}', "request.limits lacks"),
        (
            b'{"request": "arm", "who": "A", "report": {"finished_ns": 1.5, "items": []}}',
            "finished_ns is 1.5",
        ),
        (b'{"request": "stop", "who": "' + b"a" * 1001 + b'"}', "at most 1000"),
    ],
)
def test_a_malformed_request_gets_one_clear_error(line: bytes, said: str) -> None:
    with pytest.raises(NervehandError, match=said) as raised:
        parse(line)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 2000


def test_a_malformed_request_changes_nothing_and_the_next_one_is_heard() -> None:
    with Rig() as rig:
        rig.follow(0.5)
        with connected(rig) as there:
            there.sendall(b'{"request": "stop"}\n{"request": "release", "who": "A", "what": "x"}\n')
            there.sendall(b'{"request": "end", "who": "A"}\n{"request": "status", "who": "A"}\n')
            with there.makefile("rb") as lines:
                answers = [json.loads(lines.readline()) for _ in range(4)]
        assert [answer["ok"] for answer in answers] == [False, False, False, True]
        assert "only the process that started the guard" in answers[2]["error"]
        assert rig.status.state in UNASKED


def test_whoever_floods_or_hangs_slows_neither_the_gate_nor_the_stop_of_somebody_else() -> None:
    over = threading.Event()

    def flood(rig: Rig, data: bytes) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), connected(rig) as there:
                there.settimeout(0.2)
                while not over.is_set():
                    there.sendall(data)

    with Rig() as rig, contextlib.ExitStack() as held:
        rig.follow(0.5)
        for _ in range(2 * MOST_CONNECTIONS):  # they say nothing, and read nothing
            held.enter_context(connected(rig))
        garbage = (b"\x00" * 1000, b'{"request": "status", "who": "A"}\n' * 100, b"\n" * 1000)
        floods = [threading.Thread(target=flood, args=(rig, data), daemon=True) for data in garbage]
        for thread in floods:
            thread.start()
        steps = rig.status.counters.steps
        wait_for(lambda: rig.status.counters.steps > steps + 50)
        assert rig.status.state in UNASKED
        assert ask(rig.ready["name"], "stop", "Bob", timeout_s=PATIENCE_S)["state"] == "holding"
        over.set()
        for thread in floods:
            thread.join()


def test_whoever_is_dropped_with_a_request_on_its_way_takes_nobody_along() -> None:
    """The quietest of too many connections asks in the moment in which it makes room for the next."""
    with Rig() as rig:
        for _ in range(10):
            with contextlib.ExitStack() as held:
                quiet = [held.enter_context(connected(rig)) for _ in range(MOST_CONNECTIONS)]
                asked = held.enter_context(connected(rig))
                asked.sendall(b'{"request": "status", "who": "A"}\n')
                with contextlib.suppress(OSError):
                    for there in quiet:
                        there.sendall(b'{"request": "status", "who": "B"}\n')
                assert line_of(asked)["ok"]
        assert rig.ask("stop")["ok"]


def test_a_decode_that_has_ended_is_noticed_though_nobody_answers_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RequestServer, "start", lambda self: None)
    with Rig() as rig:
        rig.owner.close()
        assert rig.process.ended.wait(PATIENCE_S)
        wait_for(lambda: "release" in rig.kinds())
    assert rig.kinds().count("orphaned") == 1


def test_a_line_without_an_end_is_cut_off() -> None:
    with Rig() as rig, connected(rig) as there:
        with contextlib.suppress(OSError):
            for _ in range(4):
                there.sendall(b"x" * MOST_BYTES)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := there.recv(4096):
                received += part
        assert b"end it with a new line" in received or received == b""
        assert rig.ask("status")["ok"]


def test_a_stop_that_is_not_answered_goes_by_a_signal_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the thread that answers requests hangs."""
    monkeypatch.setattr(guard_requests, "URGENT_S", 0.05)
    let_go, said = threading.Event(), list[str]()
    with Rig(name="worn") as rig:
        rig.follow(0.5)
        answer = rig.process._requests._answer

        def hang(*given: Any) -> dict[str, object]:
            let_go.wait(PATIENCE_S)
            return answer(*given)

        monkeypatch.setattr(rig.process._requests, "_answer", hang)
        with signals_to(rig.process) as came:
            stopped = ask_for_rest("worn", "stop", "Ann", said.append, timeout_s=0.2)
            assert rig.status.state is GateState.HOLDING
            released = ask_for_rest("worn", "release", "Ann", said.append, timeout_s=0.2)
            assert rig.status.state is GateState.RELEASED
        let_go.set()
    assert came == [signal.SIGUSR1, signal.SIGUSR2]
    way = f"SIGUSR1 was sent to process {os.getpid()}"
    assert stopped == {"ok": True, "state": "unknown", "way": way}
    assert released["way"] == f"SIGUSR2 was sent to process {os.getpid()}"
    assert said[0] == f"the guard 'worn' has not answered yet: {way}"


def test_a_stop_that_is_answered_needs_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_requests, "URGENT_S", PATIENCE_S)
    with Rig(name="worn") as rig:
        rig.follow(0.5)
        answer = ask_for_rest("worn", "stop", "Ann", pytest.fail)
    assert (answer["state"], answer["way"]) == ("holding", "socket")


def test_nobody_signals_the_guard_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with Rig(name="worn") as rig, connected(rig) as there, monkeypatch.context() as patched:
        other = os.getuid() + 1
        patched.setattr(os, "getuid", lambda: other)
        with pytest.raises(LinkError, match="cannot be signalled"):
            guard_requests._signalled(there, signal.SIGUSR1)


def test_asking_a_guard_that_is_not_there_is_a_link_error() -> None:
    with pytest.raises(LinkError, match="does not answer"):
        ask("nobody", "stop", "Ann")


def test_two_clients_are_answered_each_its_own() -> None:
    with Rig() as rig, connected(rig) as one, connected(rig) as two:
        for i in range(5):
            one.sendall(b'{"request": "status", "who": "one", "id": %d}\n' % (10 + i))
            two.sendall(b'{"request": "status", "who": "two", "id": %d}\n' % (20 + i))
            assert line_of(one)["id"] == 10 + i
            assert line_of(two)["id"] == 20 + i


def test_signals_stop_and_release() -> None:
    with Rig() as rig:
        rig.follow(0.5)
        rig.process.signalled(signal.SIGUSR1, 4242)
        assert rig.status.state is GateState.HOLDING
        rig.process.signalled(signal.SIGUSR2, 4242)
        wait_for(lambda: not rig.status.positions.any())
        assert rig.status.state is GateState.RELEASED
        rig.process.signalled(signal.SIGTERM, 4242)
        assert rig.process.ended.is_set()
    rig.hear()
    assert [event.who for event in rig.events if event.kind == "stop"] == ["SIGUSR1 from process 4242"]


def test_a_release_while_the_link_is_down_is_the_first_thing_sent_when_it_is_back() -> None:
    with Rig() as rig:
        rig.follow(0.5)
        rig.hand.link = LinkState.LOST
        wait_for(lambda: rig.status.state is GateState.DISARMED)
        rig.hear()
        told = len(rig.sent)
        rig.process.signalled(signal.SIGUSR1, 1)
        rig.process.signalled(signal.SIGUSR2, 1)
        rig.submit(1.0, 11)
        wait_for(lambda: rig.status.counters.commands_withheld)
        rig.hand.link = LinkState.CONNECTED
        wait_for(lambda: rig.hear() and len(rig.sent) > told)
        wait_for(lambda: not rig.status.positions.any())
        rig.hear()
        assert {sent.state for sent in rig.sent[told:]} == {GateState.RELEASED}


def test_when_decode_ends_without_a_word_the_hand_is_released_and_the_guard_ends() -> None:
    rig = Rig(orphaned_link_s=PATIENCE_S)
    with rig:
        rig.follow(0.8)
        rig.owner.close()
        assert rig.process.ended.wait(PATIENCE_S)
    assert rig.hand.is_closed
    kinds = rig.kinds()
    assert kinds.index("orphaned") < kinds.index("release") < kinds.index("disarm")
    assert rig.sent[-1].state is GateState.RELEASED
    assert not rig.sent[-1].positions.any()


SLOW = replace(PATIENT_LIMITS, max_speed_per_s=0.25)
"""From 0.6 to rest in 2.4 s."""


@pytest.mark.parametrize("how", ["ended", "orphaned"])
def test_a_slow_hand_is_given_the_time_that_its_way_to_rest_takes(how: str) -> None:
    with Rig(limits=SLOW, release_s=None, orphaned_link_s=0.01) as rig:
        rig.follow(0.6)
        if how == "ended":
            rig.ask("end")
        else:
            rig.owner.close()
        assert rig.process.ended.wait(PATIENCE_S)
    assert rig.hand.state.positions.max() < 0.05
    assert not rig.hand.sent[-1].any()
    assert "release given up" not in rig.kinds()


def test_a_release_that_is_given_up_is_said() -> None:
    with Rig(limits=SLOW, release_s=0.01) as rig:
        rig.follow(0.3)
    assert rig.kinds().count("release given up") == 1
    assert rig.sent[-1].positions.max() > 0.05


def test_a_guard_that_is_left_alone_waits_for_the_link_and_then_releases() -> None:
    rig = Rig(release_s=None, orphaned_link_s=PATIENCE_S)
    with rig:
        rig.follow(0.5)
        rig.hand.link = LinkState.LOST
        wait_for(lambda: rig.status.state is GateState.DISARMED)
        rig.owner.close()
        assert rig.process.ended.wait(PATIENCE_S)
        closing = threading.Thread(target=rig.process.close)
        closing.start()
        told = len(rig.hand.sent)
        wait_for(lambda: rig.status.state is GateState.RELEASED)
        before_ns = rig.status.time_ns
        wait_for(lambda: rig.status.time_ns - before_ns > 3 * 10**8)
        rig.hear()
        assert "guard loop" not in {event.who for event in rig.events}  # it has not begun to count the time
        assert (closing.is_alive(), len(rig.hand.sent)) == (True, told)
        rig.hand.link = LinkState.CONNECTED
        closing.join(PATIENCE_S)
        assert rig.hand.is_closed
        assert not rig.hand.sent[-1].any()


def test_the_owner_may_end_it_with_a_release() -> None:
    with Rig() as rig:
        rig.follow(0.8)
        assert rig.ask("end")["ok"]
        assert rig.process.ended.is_set()
    rig.hear()
    assert not rig.sent[-1].positions.any()
    assert "orphaned" not in rig.kinds()


def test_a_hand_that_is_not_found_is_said_and_ends_it() -> None:
    rig = Rig()

    def connect(timeout_s: float) -> None:
        raise LinkError("it does not answer")

    rig.hand.connect = connect  # type: ignore[method-assign]
    with rig:
        assert rig.ready["error"] == "it does not answer"
        assert rig.process.ended.is_set()


def test_what_fails_in_the_guard_itself_is_a_fault_and_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such command")

    with Rig() as rig:
        rig.follow(0.5)
        with monkeypatch.context() as patched:
            patched.setattr("firmware_bridge.guard_process.decode_command", fail)
            rig.submit(0.6)
            wait_for(lambda: rig.status.state is GateState.FAULTED)
        rig.submit(0.6)
        wait_for(lambda: not rig.status.positions.any())
        assert rig.arm()["ok"]
        with monkeypatch.context() as patched:
            patched.setattr(rig.process.guard, "request_stop", fail)
            assert "the guard failed: RuntimeError" in rig.ask("stop")["error"]
        assert rig.ask("stop")["ok"]
    assert "no such command" in caplog.text


@pytest.mark.parametrize("request_", ["stop", "release", "disarm"])
def test_a_request_to_arm_that_was_made_before_somebody_asked_for_rest_is_refused(request_: str) -> None:
    """As when the guard stands still while both wait for it, and the stop comes by a signal."""
    with Rig() as rig:
        made_ns = time.monotonic_ns()
        assert rig.ask(request_)["ok"]
        state = rig.status.state
        late = rig.ask("arm", report=to_plain(overridden("run", made_ns)), asked_ns=made_ns)
        assert "somebody has asked for rest since" in late["error"]
        assert rig.status.state is state
        now_ns = time.monotonic_ns()
        assert rig.ask("arm", report=to_plain(overridden("Ann", now_ns)), asked_ns=now_ns)["ok"]


def test_a_request_to_arm_of_the_future_is_refused() -> None:
    with Rig() as rig:
        now_ns = time.monotonic_ns()
        report = to_plain(overridden("Ann", now_ns))
        assert "in the future" in rig.ask("arm", report=report, asked_ns=now_ns + 10**15)["error"]
        assert "asked_ns is -1" in rig.ask("arm", report=report, asked_ns=-1)["error"]
        assert rig.status.state is GateState.DISARMED


def test_nobody_arms_a_guard_that_is_about_to_end() -> None:
    with Rig() as rig:
        rig.follow(0.8)
        rig.process.ended.set()
        assert "about to end" in rig.arm()["error"]


def test_adjustments_of_the_settings_hold_from_the_start() -> None:
    half = Adjustments(gain=(0.5,) * 6)
    with Rig(adjustments=half) as rig:
        assert rig.arm()["ok"]
        rig.submit_until(0.0, lambda: rig.status.state is GateState.ARMED)
        rig.submit_until(0.8, lambda: bool(np.allclose(rig.status.positions, 0.4, atol=1e-3)))


def test_settings_without_a_hand_are_refused() -> None:
    with pytest.raises(NervehandError, match="no stop line"):
        GuardSettings("virtual:x", stop_lines=(StopLine("door"),))


def test_a_request_server_ends_though_nobody_ever_came(tmp_path: Path) -> None:
    server = RequestServer(tmp_path / "s", None, lambda request, owner: {"ok": True}, lambda: None)
    server.start()
    server.close()
    assert not (tmp_path / "s").exists()
