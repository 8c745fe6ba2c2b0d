"""Sessions that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decoder.intent import Intents
from decoder.session import Gap, Session, SessionMeta, write_session
from decoder.session.recorded import (
    Commands,
    Event,
    EventKind,
    HandStates,
    HealthChanges,
    Note,
    Recorded,
    SensorReadings,
    SentPositions,
    Traces,
)
from firmware_bridge.stream import StreamInfo


@pytest.fixture(scope="session")
def info() -> StreamInfo:
    return StreamInfo(
        rate_hz=1000.0,
        channel_names=("a", "b", "c"),
        kind="nerve",
        electrodes=("median/1", "median/2", "ulnar/7"),
        nerve="median",
        full_scale_uv=6400.0,
        hardware_band_hz=(0.1, 7500.0),
        mains_hz=60.0,
    )


@pytest.fixture(scope="session")
def intents() -> Intents:
    rng = np.random.default_rng(1)
    k = 40
    return Intents(
        sample_index=np.arange(k, dtype=np.int64) * 20 + 119,
        outputs=rng.normal(size=(k, 2)).astype(np.float32),
        positions=rng.uniform(-1, 1, (k, 6)).astype(np.float32),
        gesture=rng.integers(0, 3, k).astype(np.int16),
        probability=rng.random(k, np.float32),
        warming=np.arange(k) < 5,
        healthy_fraction=rng.random(k, np.float32),
    )


@pytest.fixture(scope="session")
def session(info: StreamInfo, intents: Intents) -> Session:
    """Everything that a session can hold: 900 samples from index 100 on, 50 of them lost."""
    rng = np.random.default_rng(0)
    n = 900
    labels = np.zeros(n, np.int16)
    labels[100:200], labels[400:500], labels[700:800] = 1, 2, 1
    return Session(
        info=info,
        meta=SessionMeta("s-1", "p07", "left", "2026-01-31T12:00:00+01:00", "a test", "cuff 3"),
        signal=rng.integers(-3000, 3000, (n, 3)).astype(np.int16),
        scale_uv=0.195,
        first_sample=100,
        labels=labels,
        gesture_names=("rest", "fist", "point"),
        repetition=np.where(labels > 0, 1, 0).astype(np.int16),
        truth=rng.normal(size=(n, 2)).astype(np.float32),
        truth_names=("index", "wrist"),
        truth_units=("deg", "deg"),
        postures=np.array([[0] * 6, [1] * 6, [np.nan, 1, 0, 0, 0, 0]], np.float32),
        gaps=(Gap(350, 400),),
        recorded=Recorded(
            intents=intents,
            output_names=("u", "v"),
            bundle="0" * 64,
            commands=Commands(
                np.array([119, 139]),
                rng.uniform(-1, 1, (2, 6)).astype(np.float32),
                np.array([[1 << 60, (1 << 60) + 5], [3, 4]]),
                np.ones((2, 4), np.float32),
            ),
            sent=SentPositions(
                np.array([119, -1, 139]),
                np.array([1 << 60, (1 << 60) + 1, 5]),
                rng.uniform(-1, 1, (3, 6)).astype(np.float32),
                np.array([0, 1, 0], np.int16),
                ("armed", "a state of another release"),
            ),
            states=HandStates(np.array([120]), np.full((1, 6), np.nan, np.float32), np.array([[7, 1]])),
            sensors=SensorReadings(
                np.array([102, 102, 140]),
                np.array([0.5, 0.51, 0.52]),
                np.array([1 << 60, 1 << 60, 2]),
                np.array([[1, np.nan], [2, 3], [4, 5]], np.float32),
                ("index mcp", "wrist"),
                ("rad", "raw"),
            ),
            health=HealthChanges(np.array([100, 333]), np.array([[True, False, True], [False] * 3])),
            events=(Event(350, EventKind.GAP, 50), Event(350, EventKind.RESTART, -3, 1 << 40)),
            notes=(Note(101, "gegrüßt\nsei"), Note(999, "")),
            traces=Traces(np.array([119, 139]), np.arange(20).reshape(2, 10) + (1 << 60)),
            decision={"min_cutoff_hz": 0.1, "hysteresis": 1 / 3},
            state=bytes(range(256)),
        ),
    )


@pytest.fixture(scope="session")
def written(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session in a file. Copy it before changing it."""
    path = tmp_path_factory.mktemp("written") / "s.nwb"
    write_session(session, path)
    return path
