"""A cued session of the simulated subject, as a Session: what tests, the demo's bundle and newcomers use."""

from __future__ import annotations

import numpy as np

from decoder.session.model import Session, SessionMeta
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.simulated import GESTURES, SCALE_UV, Schedule, SimulatedSubject


def simulated_session(
    seed: int,
    repetitions: int,
    n_channels: int = 16,
    rate_hz: float = 10_000.0,
    from_repetition: int = 1,
    seconds: float | None = None,
) -> Session:
    """Repetitions `from_repetition` and up of the subject with this seed, labelled by what the hand really did.

    `seconds` ends it earlier. Later repetitions of the same seed are the same person, in new orders of the movements.
    """
    schedule = Schedule(repetitions=from_repetition + repetitions - 1)
    subject = SimulatedSubject(seed, n_channels, rate_hz, schedule)
    per_repetition = subject.n_session_samples // schedule.repetitions
    first, n = (from_repetition - 1) * per_repetition, repetitions * per_repetition
    if seconds is not None:
        n = min(n, max(1, round(seconds * rate_hz)))
    truth = subject.truth(first, n)
    return Session(
        info=subject.info,
        meta=SessionMeta(
            identifier=f"simulated-{seed}-{from_repetition}-{from_repetition + repetitions - 1}",
            subject=f"simulated-{seed}",
            side="right",
            description=f"Simulated subject, seed {seed}, cued movements",
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
        postures=np.array([posture for _, posture in GESTURES], np.float32),
    )
