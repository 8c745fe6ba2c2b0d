"""A person in a few lines, for tests: a channel per movement of a finger, louder as it moves."""

from __future__ import annotations

import numpy as np

from decoder.session.model import Session, SessionMeta
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.stream import StreamInfo

RATE_HZ = 2000.0
N_CHANNELS = 7
SCALE_UV = 0.2


def session(
    repetitions: int = 3, seed: int = 0, seconds: float | None = None, loudness: float = 3.0
) -> Session:
    """Each finger flexed and the wrist moved both ways, 0.6 s after 0.4 s of rest and before as much."""
    rng = np.random.default_rng(seed)
    postures = np.zeros((N_CHANNELS + 1, N_DOF), np.float32)
    for gesture in range(1, N_CHANNELS + 1):
        postures[gesture, min(gesture, N_DOF) - 1] = -1.0 if gesture > N_DOF else 1.0
    rest, moving = round(0.4 * RATE_HZ), round(0.6 * RATE_HZ)
    order = np.concatenate([1 + rng.permutation(N_CHANNELS) for _ in range(repetitions)])
    label = np.concatenate([np.repeat([0, gesture, 0], [rest, moving, rest]) for gesture in order])
    level = 10.0 * (1.0 + loudness * (label[:, None] == np.arange(1, N_CHANNELS + 1)))
    signal = np.rint(level * rng.standard_normal(level.shape) / SCALE_UV).astype(np.int16)
    trial = np.repeat(np.arange(1, len(order) + 1), 2 * rest + moving)
    n = len(label) if seconds is None else round(seconds * RATE_HZ)
    return Session(
        info=StreamInfo(
            rate_hz=RATE_HZ,
            channel_names=tuple(f"c{i}" for i in range(N_CHANNELS)),
            kind="nerve",
            full_scale_uv=32767 * SCALE_UV,
        ),
        meta=SessionMeta(identifier=f"person-{seed}", subject="person"),
        signal=signal[:n],
        scale_uv=SCALE_UV,
        labels=label[:n].astype(np.int16),
        gesture_names=("rest", *(f"movement {i}" for i in range(1, N_CHANNELS + 1))),
        trial=trial[:n].astype(np.int32),
        repetition=((trial[:n] - 1) // N_CHANNELS + 1).astype(np.int16),
        truth=postures[label[:n]],
        truth_names=DOF_NAMES,
        truth_units=("position",) * N_DOF,
        postures=postures,
    )
