"""`nervehand health`: what channel health says of a recorded session, as a live decoder would have heard it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decoder.health import ChannelHealth, HealthEvent, HealthEventKind
from decoder.session.model import Session, iter_blocks
from decoder.session.reader import read_session
from nervehand.health_picture import draw
from nervehand.output import print_json

_BLOCK_S = 0.02
_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Masks and artefacts in the order in which they were told; `masked_s` (c,) how long each channel was masked."""

    events: tuple[HealthEvent, ...]
    masked_s: tuple[float, ...]
    duration_s: float

    @property
    def artefacts_by_size(self) -> dict[int, int]:
        """How many artefacts hit how many channels."""
        sizes = Counter(event.size for event in self.events if event.kind is HealthEventKind.ARTEFACT)
        return dict(sorted(sizes.items()))


def report_on(session: Session) -> HealthReport:
    """Judge a whole session with the settings that a new decoder of its kind gets."""
    rate_hz = session.info.rate_hz
    events: list[HealthEvent] = []
    health = ChannelHealth(session.info, None, events.append)
    masked = np.zeros(session.info.n_channels, np.int64)
    for block in iter_blocks(session, max(1, round(_BLOCK_S * rate_hz))):
        if block.lost_before and not health.continues(block.first_sample):
            health.restart()
        masked += health.process(block).mask.sum(0)
    return HealthReport(tuple(events), tuple((masked / rate_hz).tolist()), session.duration_s)


def run_health(path: Path, picture: Path | None, from_s: float, seconds: float, *, as_json: bool) -> None:
    """Print the report; `picture` names an SVG file for `seconds` from `from_s` on."""
    session = read_session(path)
    report = report_on(session)
    if picture is not None:
        draw(session, picture, from_s, seconds)
    names, rate_hz = session.info.channel_names, session.info.rate_hz
    if as_json:
        print_json(
            {
                "session": str(path),
                "duration_s": round(report.duration_s, 3),
                "masked_s": {name: round(s, 3) for name, s in zip(names, report.masked_s, strict=True) if s},
                "artefacts_by_size": {str(size): n for size, n in report.artefacts_by_size.items()},
                "events": [_event_json(event, session) for event in report.events],
            }
        )
        return
    lines = [
        _line(event, names, (event.sample_index - session.first_sample) / rate_hz) for event in report.events
    ]
    print("\n".join(lines[:_MOST_LINES]))
    if len(lines) > _MOST_LINES:
        print(f"and {len(lines) - _MOST_LINES} more: --json has them all")
    sizes = ", ".join(f"{n} on {size}" for size, n in report.artefacts_by_size.items()) or "none"
    bad = ", ".join(f"{name} {s:.1f} s" for name, s in zip(names, report.masked_s, strict=True) if s)
    print(f"{report.duration_s:.1f} s; masked: {bad or 'no channel'}; artefacts by channels hit: {sizes}")


def _line(event: HealthEvent, names: tuple[str, ...], at_s: float) -> str:
    match event.kind:
        case HealthEventKind.ARTEFACT:
            return f"{at_s:9.3f} s  artefact on {event.size} channels, {event.n_samples} samples bridged"
        case HealthEventKind.MASKED:
            return f"{at_s:9.3f} s  {names[event.channel]} masked: {event.cause.label}"
        case _:
            return f"{at_s:9.3f} s  {names[event.channel]} is believed again: was {event.cause.label}"


def _event_json(event: HealthEvent, session: Session) -> dict[str, object]:
    base: dict[str, object] = {"sample_index": event.sample_index, "kind": event.kind.name.lower()}
    if event.kind is HealthEventKind.ARTEFACT:
        return base | {"channels": event.size, "samples": event.n_samples}
    return base | {"channel": session.info.channel_names[event.channel], "cause": event.cause.label}
