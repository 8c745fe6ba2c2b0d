"""A person's page: what is wrong comes first, with what to do; then what the daemon does."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from firmware_bridge.gate_rules import RULES, Cause
from nervehand.status import HandStatus, MachineStatus, RecordingStatus, SourceStatus, Status
from nervehand.status_document import ConfigStatus, DecodeStatus, LatencySummary, PortStatus, RealtimeStatus
from nervehand.status_page import page_of, state_of
from nervehand.status_problems import PASSING, duration, problems_of, room_s
from tests.nervehand.statuses import found, full_status

FULL = full_status()
assert FULL.hand is not None
assert FULL.source is not None
assert FULL.decode is not None
assert FULL.recording is not None
HAND, SOURCE, DECODE, RECORDING = FULL.hand, FULL.source, FULL.decode, FULL.recording


def with_late_commands() -> Status:
    row = FULL.latency["sample to sent"]
    slow = replace(row, last_minute=LatencySummary(100, 5e3, 2e4, 45e3, 9e4))
    return replace(FULL, latency={"sample to sent": slow})


def test_a_daemon_that_does_well_has_no_problem_and_the_page_says_what_it_does() -> None:
    page = page_of(found(FULL))
    first, *rest = page.splitlines()
    assert first == "nervehand: running for 1 h 00 min, as of 0.5 s ago, all is well"
    text = "\n".join(rest)
    for said in (
        "streaming, 16 channels at 10000 Hz", "20 of 36,000,020 samples lost", "0123456789ab: decoding every 20 ms",
        "p99 4.4", "the gate is armed, fist", "battery 80%", "middle -", "metrics 127.0.0.1:9464", "CPU-therm 52 °C",
        "POM_5V_IN 4.2 W", "921 to 1479 MHz", "decode 120 MiB 15%",
    ):  # fmt: skip
        assert said in text, said
    assert "  ! " not in page


@pytest.mark.parametrize(
    ("status", "text", "remedy"),
    [
        (replace(FULL, hand=replace(HAND, guard_problem="it was killed")), "it was killed", "own watchdog"),
        (replace(FULL, hand=replace(HAND, fault="motor 3")), "reports a fault: motor 3", "release"),
        (replace(FULL, hand=replace(HAND, open_lines=("gpio:17",))), "open: gpio:17", "close"),
        (replace(FULL, hand=replace(HAND, gate="disarmed")), "the gate is disarmed", "arm the hand"),
        (replace(FULL, hand=replace(HAND, link="lost")), "link is lost", "charged"),
        (replace(FULL, hand=replace(HAND, hot=True)), "hot", "rest"),
        (replace(FULL, hand=replace(HAND, battery=0.1)), "battery is at 10%", "charge"),
        (replace(FULL, source=replace(SOURCE, state="lost")), "is lost", "plugged in"),
        (replace(FULL, source=replace(SOURCE, state="connecting")), "not connected yet", "plugged in"),
        (replace(FULL, source=replace(SOURCE, state="ended")), "has ended", "start"),
        (replace(FULL, source=replace(SOURCE, masked=tuple("abcdefgh"))), "8 of 16 channels are masked: a", "inspect"),
        (replace(FULL, decode=replace(DECODE, backlog_s=2.0)), "2.0 s behind", "smaller decoder"),
        (with_late_commands(), "1 in 100 of the last minute took more than 45.0 ms", "doctor"),
        (
            replace(FULL, recording=replace(RECORDING, state="stopped", why="the disk is full")),
            "nothing is recorded any more: the disk is full",
            "make room",
        ),
        (replace(FULL, recording=replace(RECORDING, ring_lost=7)), "7 messages never came to the recorder", "disk"),
        (replace(FULL, recording=replace(RECORDING, free_mib=300.0)), "room for 1 min only", "make room"),
        (replace(FULL, config=ConfigStatus(outcome="line 3: no", refused=True)), "refused: line 3: no", "config check"),
        (replace(FULL, port=PortStatus(":4711", "in use")), "port :4711: in use", "goes on without it"),
        (replace(FULL, machine=MachineStatus(throttled=True)), "slowed down", "cool"),
        (replace(FULL, machine=MachineStatus({"CPU-therm": 95.0})), "CPU-therm is at 95 °C", "cool"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_on_top_in_words_with_the_remedy(status: Status, text: str, remedy: str) -> None:
    (problem,) = problems_of(found(status))
    assert text in problem.text
    assert remedy in problem.remedy
    assert not problem.is_note
    headline, second, third, *_ = page_of(found(status)).splitlines()
    assert headline.endswith("1 problem")
    assert second == f"  ! {problem.text}"
    assert third == f"    -> {problem.remedy}"


@pytest.mark.parametrize(
    "status",
    [
        replace(FULL, realtime=RealtimeStatus(warnings=("memory is not locked",))),
        replace(FULL, recording=replace(RECORDING, to_recover=("/data/0.nwb",))),
        replace(FULL, machine=MachineStatus(steal_share=0.2)),
    ],
)
def test_what_is_only_worth_knowing_leaves_all_well(status: Status) -> None:
    (problem,) = problems_of(found(status))
    assert problem.is_note
    assert page_of(found(status)).splitlines()[0].endswith("all is well, 1 note")


@pytest.mark.parametrize("cause", list(Cause))
def test_a_gate_that_does_not_follow_says_why_and_the_way_back_that_the_rules_declare(cause: Cause) -> None:
    rule = RULES[cause]
    hand = replace(HAND, gate=rule.state.value, cause=cause.value)
    problems = problems_of(found(replace(FULL, hand=hand)))
    if cause.value in PASSING:
        assert problems == ()
        return
    (problem,) = problems
    assert cause.value in problem.text
    assert problem.remedy == (rule.way_back or "it follows again by itself once that has passed")


def test_the_gravest_comes_first() -> None:
    status = replace(
        FULL,
        hand=replace(HAND, guard_problem="it was killed"),
        source=replace(SOURCE, state="lost"),
        machine=MachineStatus(throttled=True),
    )
    texts = [problem.text for problem in problems_of(found(status))]
    assert [text.split()[0] for text in texts] == ["guard:", "the", "the"]
    assert "front-end" in texts[1]


def test_a_daemon_that_is_silent_says_that_the_rest_is_old() -> None:
    one = found(FULL, age_s=10.0)
    assert state_of(one) == "silent"
    assert "said nothing for 10 s" in problems_of(one)[0].text


def test_a_daemon_that_does_not_run_says_nothing_else() -> None:
    one = found(replace(FULL, last_exit="killed by SIGKILL"), age_s=100.0, alive=False, supervised=False)
    (problem,) = problems_of(one)
    assert "not running, last heard of 2 min ago: killed by SIGKILL" in problem.text
    assert page_of(one).startswith("nervehand: not running")


def test_an_engine_that_is_started_again_is_told_of_as_that() -> None:
    one = found(FULL, age_s=1.0, alive=False)
    assert state_of(one) == "starting again"
    assert "being started again" in problems_of(one)[0].text


def test_a_page_is_made_of_whatever_parts_are_there() -> None:
    for field in fields(Status):
        if field.name in ("source", "decode", "hand", "recording", "port", "realtime", "machine", "config"):
            assert page_of(found(replace(FULL, **{field.name: None})))
    bare = replace(
        FULL, latency={}, shadow=(), stages_of_start={}, metrics="", uptime_s=None, source=None, decode=None
    )
    assert page_of(found(replace(bare, hand=None, recording=None, port=None, machine=None)))
    least = replace(
        bare, source=SourceStatus("x", "lost"), decode=DecodeStatus(""), hand=HandStatus("armed"),
        recording=RecordingStatus("off"), machine=MachineStatus(), port=None,
    )  # fmt: skip
    assert "off" in page_of(found(least))


def test_nothing_that_a_device_calls_itself_moves_the_cursor_or_adds_a_line() -> None:
    evil = replace(SOURCE, address="\x1b[2J\nnervehand: running, all is well", last_event="\r\x9b31m")
    page = page_of(found(replace(FULL, source=replace(evil, state="lost"))))
    assert all(letter.isprintable() or letter == "\n" for letter in page)
    assert sum(line.startswith("nervehand: running") for line in page.splitlines()) == 1


@pytest.mark.parametrize(
    ("recording", "seconds"),
    [
        (RecordingStatus("off"), None),
        (RecordingStatus("recording", free_mib=1000.0), None),
        (RecordingStatus("recording", free_mib=1000.0, written_mib_per_s=0.5), 2000.0),
        (RecordingStatus("recording", free_mib=1000.0, reserve_mib=500.0, written_mib_per_s=0.5), 1000.0),
        (RecordingStatus("recording", free_mib=100.0, reserve_mib=500.0, written_mib_per_s=0.5), 0.0),
        (
            RecordingStatus("recording", free_mib=1000.0, budget_mib=500.0, kept_mib=400.0, written_mib_per_s=0.5),
            float("inf"),
        ),
        (
            RecordingStatus(
                "recording", free_mib=1000.0, budget_mib=500.0, kept_mib=400.0, written_mib_per_s=0.5, oldest_goes=False
            ),
            200.0,
        ),
        (
            RecordingStatus(
                "recording", free_mib=1000.0, budget_mib=500.0, kept_mib=500.0, pinned_mib=500.0, written_mib_per_s=0.5
            ),
            0.0,
        ),
        (
            RecordingStatus("recording", free_mib=50.0, budget_mib=500.0, kept_mib=400.0, written_mib_per_s=0.5),
            100.0,
        ),
    ],
)  # fmt: skip
def test_room_is_what_the_disk_its_reserve_and_the_budget_leave(
    recording: RecordingStatus, seconds: float | None
) -> None:
    assert room_s(recording) == seconds


def test_a_recording_whose_oldest_files_make_room_says_how_much_is_kept() -> None:
    assert "goes on: the last 11 h 22 min are kept" in page_of(found(FULL))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.9, "60 s"), (90, "2 min"), (3599, "1 h 00 min"),
     (3661, "1 h 01 min"), (47.5 * 3600, "47 h 30 min"), (10 * 86400, "10 d 0 h")],
)  # fmt: skip
def test_a_duration_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
