"""What is wrong with a daemon, in words with the remedy, the gravest first; from its status document alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firmware_bridge.gate_rules import RULES, Cause, GateState
from firmware_bridge.hand import LinkState
from nervehand.status import Found, StageLatency, Status
from nervehand.status_document import (
    DecodeStatus,
    HandStatus,
    MachineStatus,
    RecordingStatus,
    SourceStatus,
)

PASSING = frozenset(
    cause.value
    for cause in (Cause.AWAITING_REST, Cause.LOCKED, Cause.LOW_CONFIDENCE, Cause.OUT_OF_RANGE, Cause.WARMING)
)
"""Why a hand may not follow though nothing is wrong."""
TOTAL = "sample to sent"
"""The stage (live_summary.TOTAL) that a wearer feels."""
LATE_US = 20_000.0
"""p99 of the last minute: a command this old is felt."""
LOW_BATTERY = 0.15
HOT_C = 90.0
"""Below where a Jetson slows down by itself; any machine is hot there."""
SHORT_S = 1800.0
"""Recording that ends sooner than this is worth a word."""
STOLEN = 0.05
MASKED = 0.25
"""More channels than this share are a matter for a person."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and what to do, each one line."""

    text: str
    remedy: str
    is_note: bool = False
    """Worth knowing, but the daemon does what it should: it does not make it degraded."""


def problems_of(found: Found) -> tuple[Problem, ...]:
    """The gravest first; none of a daemon that does what it should."""
    return tuple(_problems(found))


def room_s(recording: RecordingStatus) -> float | None:
    """For how long it can go on, at the pace of now: infinite where the oldest files make room, None where unknown."""
    pace = recording.written_mib_per_s
    if recording.state != "recording" or not pace or recording.free_mib is None:
        return None
    left_mib = max(recording.free_mib - (recording.reserve_mib or 0.0), 0.0)
    if recording.budget_mib is None:
        return left_mib / pace
    pinned_mib = recording.pinned_mib or 0.0
    until_full_mib = max(recording.budget_mib - (recording.kept_mib or 0.0), 0.0)
    if until_full_mib > left_mib:  # the disk is full before the budget is
        return left_mib / pace
    if recording.oldest_goes and pinned_mib < recording.budget_mib:
        return float("inf")
    return until_full_mib / pace


def duration(seconds: float) -> str:
    """As people say it, to two units at most."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def _problems(found: Found) -> Iterator[Problem]:
    status = found.status
    if status is None:
        yield Problem(found.problem, "start the daemon again if it does not come back by itself")
        return
    if not found.alive:
        yield from _not_alive(found, status)
        return
    if found.stale:
        yield Problem(
            f"the daemon has said nothing for {duration(found.age_s or 0.0)}: the rest is old",
            "look at its log; its watchdog starts it again, or the disk of its status file is full",
        )
    yield from _of_hand(status.hand)
    yield from _of_source(status.source)
    yield from _of_decode(status.decode, status.latency.get(TOTAL))
    yield from _of_recording(status.recording)
    if status.config is not None and status.config.refused:
        yield Problem(
            f"the last reload was refused: {status.config.outcome}",
            "correct the file, `nervehand config check` it, reload",
        )
    if status.port is not None and status.port.problem:
        yield Problem(
            f"port {status.port.address}: {status.port.problem}", "decoding goes on without it; see the log"
        )
    yield from _of_machine(status.machine)
    for warning in () if status.realtime is None else status.realtime.warnings:
        yield Problem(
            f"real time: {warning}", "`nervehand doctor` says what this machine lacks", is_note=True
        )


def _not_alive(found: Found, status: Status) -> Iterator[Problem]:
    age = "" if found.age_s is None else f", last heard of {duration(found.age_s)} ago"
    how = f": {status.last_exit}" if status.last_exit else ""
    if found.supervised:
        yield Problem(
            f"the engine has ended and is being started again{age}", "see the log if it does not come back"
        )
    else:
        yield Problem(
            f"the daemon is not running{age}{how}", "start it: `nervehand run`, or its systemd unit"
        )


def _of_hand(hand: HandStatus | None) -> Iterator[Problem]:
    if hand is None:
        return
    if hand.guard_problem:
        yield Problem(
            f"guard: {hand.guard_problem}", "the hand's own watchdog acts now; start the daemon again"
        )
    if hand.fault:
        yield Problem(
            f"the hand reports a fault: {hand.fault}", "see docs of the hand; release it, then arm it again"
        )
    if hand.open_lines:
        yield Problem(
            f"stop lines are open: {', '.join(hand.open_lines)}", "close them, then arm the hand again"
        )
    yield from _of_gate(hand)
    if hand.link not in ("", LinkState.CONNECTED.value) and hand.cause != Cause.LINK_LOST.value:
        yield Problem(
            f"the hand's link is {hand.link}", "is it on, charged and near? it is looked for again and again"
        )
    if hand.hot or hand.stalled:
        which = " and ".join(word for word, is_so in (("hot", hand.hot), ("stalled", hand.stalled)) if is_so)
        yield Problem(f"the hand says that it is {which}", "let go of what it holds, and let it rest")
    if hand.battery is not None and hand.battery < LOW_BATTERY:
        yield Problem(f"the hand's battery is at {hand.battery:.0%}", "charge it")


def _of_gate(hand: HandStatus) -> Iterator[Problem]:
    if hand.gate == GateState.ARMED.value or hand.cause in PASSING:
        return
    cause = f" ({hand.cause})" if hand.cause else ""
    way_back = next((rule.way_back for one, rule in RULES.items() if one.value == hand.cause), "arm the hand")
    yield Problem(
        f"the gate is {hand.gate}{cause}: the hand does not follow",
        way_back or "it follows again by itself once that has passed",
    )


def _of_source(source: SourceStatus | None) -> Iterator[Problem]:
    if source is None:
        return
    said = f": {source.last_event}" if source.last_event else ""
    if source.state == "lost":
        yield Problem(
            f"the front-end {source.address} is lost{said}", "is it plugged in and on? it is tried again"
        )
    elif source.state == "connecting" and not source.last_event:
        yield Problem("it is starting: guard, hand and recorder are got ready", "wait a moment")
    elif source.state == "connecting":
        yield Problem(
            f"the front-end {source.address} is not connected yet{said}", "is it plugged in and on?"
        )
    elif source.state == "ended":
        yield Problem(f"the source {source.address} has ended{said}", "start the daemon again for more")
    if source.channels and len(source.masked) > MASKED * source.channels:
        yield Problem(
            f"{len(source.masked)} of {source.channels} channels are masked: {_few(source.masked)}",
            "look at plugs and cables; `nervehand inspect` shows each channel",
        )


def _of_decode(decode: DecodeStatus | None, total: StageLatency | None) -> Iterator[Problem]:
    if decode is not None and decode.backlog_s is not None and decode.backlog_s > 0.5:
        yield Problem(
            f"decoding is {duration(decode.backlog_s)} behind the newest sample",
            "the machine is too slow or too busy: a smaller decoder, fewer channels, or less beside it",
        )
    p99_us = None if total is None else total.last_minute.p99_us
    if p99_us is not None and p99_us > LATE_US:
        yield Problem(
            f"commands are late: 1 in 100 of the last minute took more than {p99_us / 1e3:.1f} ms",
            "`nervehand doctor`, and real-time scheduling ([realtime] of the configuration)",
        )


def _of_recording(recording: RecordingStatus | None) -> Iterator[Problem]:
    if recording is None:
        return
    if recording.state == "stopped":
        yield Problem(
            f"nothing is recorded any more: {recording.why}", "make room or another folder; decoding goes on"
        )
    if recording.ring_lost:
        yield Problem(
            f"{recording.ring_lost} messages never came to the recorder", "a faster disk, or a longer ring"
        )
    left_s = room_s(recording)
    if left_s is not None and left_s < SHORT_S:
        yield Problem(
            f"the recording has room for {duration(left_s)} only", "make room, or unpin what is not needed"
        )
    if recording.to_recover:
        which = _few(recording.to_recover)
        yield Problem(
            f"recordings of before were not closed: {which}",
            f"nervehand recover {recording.to_recover[0]}",
            is_note=True,
        )


def _of_machine(machine: MachineStatus | None) -> Iterator[Problem]:
    if machine is None:
        return
    hottest = max(machine.temperature_c.items(), key=lambda one: one[1], default=None)
    if machine.throttled:
        yield Problem("the machine is slowed down by its heat or its supply", "cool it, or a stronger supply")
    elif hottest is not None and hottest[1] > HOT_C:
        yield Problem(f"{hottest[0]} is at {hottest[1]:.0f} °C", "cool the machine before it slows down")
    if machine.steal_share is not None and machine.steal_share > STOLEN:
        yield Problem(
            f"{machine.steal_share:.0%} of the processors' time goes to other virtual machines",
            "no real time on a machine that is shared",
            is_note=True,
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
