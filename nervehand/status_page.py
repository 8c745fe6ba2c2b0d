"""A daemon's status for a person: what is wrong first, then what it does, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from firmware_bridge.hand import DOF_NAMES
from nervehand.status import Found, LatencySummary, Status
from nervehand.status_document import HandStatus, MachineStatus, RecordingStatus, SourceStatus
from nervehand.status_problems import TOTAL, Problem, duration, problems_of, room_s

_INDENT = 11


def page_of(found: Found) -> str:
    """Plain text; nothing in it can move a terminal's cursor, whatever a device called itself."""
    problems = problems_of(found)
    lines = [_headline(found, problems)]
    for problem in problems:
        lines += [f"  {'-' if problem.is_note else '!'} {problem.text}", f"    -> {problem.remedy}"]
    if found.status is not None:
        if problems:
            lines.append("")
        lines += [f"{name:<{_INDENT}}{text}" for name, text in _rows(found.status)]
    return "\n".join("".join(letter if letter.isprintable() else "?" for letter in line) for line in lines)


def state_of(found: Found) -> str:
    """In one or two words."""
    if not found.alive:
        return "starting again" if found.supervised else "not running"
    return "silent" if found.stale else "running"


def _headline(found: Found, problems: tuple[Problem, ...]) -> str:
    status = found.status
    if status is None:
        return f"{found.name}: unknown"
    up = f" for {duration(status.uptime_s)}" if status.uptime_s is not None and found.alive else ""
    age = "" if found.age_s is None else f", as of {duration(found.age_s)} ago"
    notes = sum(problem.is_note for problem in problems)
    wrong = _count(len(problems) - notes, "problem") if len(problems) > notes else "all is well"
    grade = "" if not found.alive else f", {wrong}" + (f", {_count(notes, 'note')}" if notes else "")
    return f"{found.name}: {state_of(found)}{up}{age}{grade}"


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    if status.source is not None:
        yield "source", _source(status.source)
    if status.decode is not None:
        yield "decoder", _decode(status)
    if TOTAL in status.latency:
        row = status.latency[TOTAL]
        yield "latency", f"sample to hand, last minute: {_times(row.last_minute)}"
        yield "", f"since the start: {_times(row.since_start)}"
    if status.hand is not None:
        yield from _hand(status.hand, status.decode.gesture if status.decode is not None else "")
    if status.recording is not None:
        yield "recording", _recording(status.recording)
    for shadow in status.shadow:
        agreement = (
            "" if shadow.gesture_agreement is None else f", {shadow.gesture_agreement:.0%} the same gesture"
        )
        yield "shadow", f"{shadow.sha256[:12]} ({shadow.role}){agreement}"
    listening = [f"port {status.port.address}"] if status.port is not None else []
    listening += [f"metrics {status.metrics}"] if status.metrics else []
    if listening:
        yield "listening", ", ".join(listening)
    if status.machine is not None:
        yield from _machine(status.machine)
    if status.restarts:
        yield "restarts", f"{status.restarts}; the last engine {status.last_exit or 'ended'}"
    yield "process", f"{status.process.pid}, nervehand {status.version}"


def _source(source: SourceStatus) -> str:
    rate = "" if source.rate_hz is None else f" at {source.rate_hz:g} Hz"
    masked = f", masked {', '.join(source.masked[:8])}" if source.masked else ""
    lost = (
        f", {source.lost_samples:,} of {source.samples + source.lost_samples:,} samples lost"
        if source.lost_samples
        else ""
    )
    return f"{source.address}: {source.state}, {_count(source.channels, 'channel')}{rate}{masked}{lost}"


def _decode(status: Status) -> str:
    decode = status.decode
    assert decode is not None
    every = "" if decode.hop_s is None else f" every {decode.hop_s * 1e3:g} ms"
    doing = "warming" if decode.is_warming else "decoding"
    engine = f" by {decode.engine}" if decode.engine else ""
    late = f", {decode.late_hops:,} late" if decode.late_hops else ""
    return f"{decode.bundle_sha256[:12]}: {doing}{every}{engine}, {decode.hops:,} hops{late}"


def _hand(hand: HandStatus, gesture: str) -> Iterator[tuple[str, str]]:
    link = f", {hand.link}" if hand.link else ""
    cause = f" ({hand.cause})" if hand.cause else ""
    battery = "" if hand.battery is None else f", battery {hand.battery:.0%}"
    wanted = f", {gesture}" if gesture else ""
    yield "hand", f"{hand.address or 'hand'}{link}{battery}; the gate is {hand.gate}{cause}{wanted}"
    if any(position is not None for position in hand.positions):
        shown = zip(DOF_NAMES, hand.positions, strict=False)
        yield "", "  ".join(f"{name} {'-' if at is None else f'{at:+.2f}'}" for name, at in shown)
    dropped = hand.commands_late + hand.commands_overtaken
    yield (
        "",
        f"{hand.commands_applied:,} commands applied, {hand.commands_withheld:,} withheld, {dropped:,} late",
    )


def _recording(recording: RecordingStatus) -> str:
    if recording.state == "off":
        return "off"
    where = recording.file or recording.folder
    if recording.state == "stopped":
        return f"stopped: {recording.why} ({where})"
    lasting = "" if recording.file_s is None else f", {duration(recording.file_s)}"
    left_s = room_s(recording)
    if left_s is None:
        room = ""
    elif left_s != float("inf"):
        room = f", room for {duration(left_s)}"
    else:
        pace = recording.written_mib_per_s or 1.0
        kept_s = ((recording.budget_mib or 0.0) - (recording.pinned_mib or 0.0)) / pace
        room = f", goes on: the last {duration(kept_s)} are kept, beside what is pinned"
    return f"{where}{lasting}{room}"


def _machine(machine: MachineStatus) -> Iterator[tuple[str, str]]:
    parts = []
    if machine.temperature_c:
        zone, hottest = max(machine.temperature_c.items(), key=lambda one: one[1])
        parts.append(f"{zone} {hottest:.0f} °C")
    parts += [f"{rail} {watts:.1f} W" for rail, watts in list(machine.power_w.items())[:4]]
    if machine.cpu_mhz:
        least, most = f"{min(machine.cpu_mhz):.0f}", f"{max(machine.cpu_mhz):.0f}"
        parts.append(f"processors at {most} MHz" if least == most else f"processors at {least} to {most} MHz")
    if parts:
        yield "machine", ", ".join(parts)
    names = sorted({*machine.memory_mib, *machine.cpu_share})
    if names:
        yield "processes", "; ".join(f"{name}{_used(machine, name)}" for name in names)


def _used(machine: MachineStatus, name: str) -> str:
    memory, share = machine.memory_mib.get(name), machine.cpu_share.get(name)
    return ("" if memory is None else f" {memory:.0f} MiB") + ("" if share is None else f" {share:.0%}")


def _times(summary: LatencySummary) -> str:
    if not summary.count:
        return "-"
    shown = (
        ("p50", summary.p50_us),
        ("p95", summary.p95_us),
        ("p99", summary.p99_us),
        ("max", summary.max_us),
    )
    return "  ".join(f"{name} {'-' if us is None else f'{us / 1e3:.2f} ms'}" for name, us in shown)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
