"""A cued session of the simulated subject, as a Session: what tests, the demo's bundle and newcomers use."""

from __future__ import annotations

import numpy as np

from decoder.session.digital import DigitalLines, changes
from decoder.session.model import Session, SessionMeta
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.nerve.motion import GESTURES, POSTURES, Schedule
from firmware_bridge.nerve.subject import ALL_PARTS, SCALE_UV, Parts, SimulatedSubject


def simulated_session(
    number: int,
    repetitions: int,
    n_channels: int = 16,
    rate_hz: float = 10_000.0,
    from_repetition: int = 1,
    seconds: float | None = None,
    *,
    day: int = 0,
    preset: str = "default",
    crosstalk: bool = True,
    parts: Parts = ALL_PARTS,
    stimulation_hz: float = 0.0,
) -> Session:
    """Repetitions `from_repetition` and up of the subject with this number on a day, labelled by what the hand did.

    `seconds` ends it earlier. Other days are the same person: units lost and gained, contacts moved, new orders of the
    movements. `crosstalk` False takes the muscles' share of the signal away, `parts` others. With `stimulation_hz` the
    device stimulates at that rate, and says so on its digital line.
    """
    schedule = Schedule(repetitions=from_repetition + repetitions - 1)
    subject = SimulatedSubject(
        number, day, preset, n_channels, rate_hz, schedule,
        crosstalk=crosstalk, parts=parts, stimulation_hz=stimulation_hz,
    )  # fmt: skip
    per_repetition = subject.n_session_samples // schedule.repetitions
    first, n = (from_repetition - 1) * per_repetition, repetitions * per_repetition
    if seconds is not None:
        n = min(n, max(1, round(seconds * rate_hz)))
    truth = subject.truth(first, n)
    lines = subject.digital(first, n)
    return Session(
        info=subject.info,
        meta=SessionMeta(
            identifier=f"simulated-{preset}-{number}-day{day}-{from_repetition}-{schedule.repetitions}",
            subject=f"simulated-{preset}-{number}",
            side="right",
            description=f"Simulated subject {number} ({preset}) on day {day}, cued movements",
            array="simulated",
        ),
        signal=subject.samples(first, n),
        scale_uv=SCALE_UV,
        first_sample=first,
        labels=truth.gesture,
        gesture_names=tuple(name for name, _ in GESTURES),
        trial=truth.trial,
        repetition=truth.repetition,
        truth=truth.positions,
        truth_names=DOF_NAMES,
        truth_units=("position",) * len(DOF_NAMES),
        postures=POSTURES.astype(np.float32),
        digital=None if lines is None else DigitalLines(*changes(lines, first, None)),
    )
