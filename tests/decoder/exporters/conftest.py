"""Sessions of every kind, in files, and what each must say in any format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decoder.intent import Intents
from decoder.session import Gap, Session, SessionMeta, write_session
from decoder.session.digital import DigitalLines
from decoder.session.model import runs, trials
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

GREEK = "grün 中 μ; a:b & &lt; @@ {COLON}"


@dataclass(frozen=True)
class Written:
    """A session and the file that holds it."""

    session: Session
    path: Path

    @property
    def received(self) -> NDArray[np.bool_]:
        """(n,): which samples were received."""
        held = np.ones(self.session.n_samples, np.bool_)
        for gap in self.session.gaps:
            held[gap.start - self.session.first_sample : gap.stop - self.session.first_sample] = False
        return held

    @property
    def expected_uv(self) -> NDArray[np.float64]:
        """Samples (n, c), 0 where nothing was received or what was is not finite."""
        values = np.asarray(self.session.signal[slice(None)]).astype(np.float64)
        if self.session.signal.dtype == np.int16:
            values *= self.session.scale_uv
        values[~np.isfinite(values)] = 0.0
        values[~self.received] = 0.0
        return values


def said_to_mne(text: str) -> str:
    """MNE-Python knows no {COLON}."""
    return text.replace("{COLON}", ":")


@dataclass(frozen=True)
class Span:
    """What is said of `n` samples from a row on, about a channel or about all."""

    row: int
    n: int
    text: str
    channel: int | None = None


def spans_of(session: Session) -> list[Span]:
    """What a session says of its samples, worked out from its arrays."""
    first, n, names = session.first_sample, session.n_samples, session.gesture_names
    found = [Span(gap.start - first, gap.stop - gap.start, "BAD_gap") for gap in session.gaps]
    if session.labels is not None:
        found += [
            Span(t.start, t.stop - t.start, f"trial/{names[t.gesture]}/{t.repetition}")
            for t in trials(session)
        ]
        found += [Span(a, b - a, f"label/{names[label]}") for label, a, b in runs(session.labels) if label]
    if session.recorded.health is not None:
        changes = session.recorded.health
        lengths = np.diff(np.append(changes.sample_index - first, n))
        mask = np.repeat(changes.mask, lengths, axis=0)
        for channel in range(mask.shape[1]):
            held = runs(mask[:, channel].astype(np.int8))
            found += [Span(a, b - a, "masked", channel) for value, a, b in held if value]
    kinds = {2: "dropped_commands", 1: "gap", 3: "restart"}
    for event in session.recorded.events:
        row = min(event.sample_index - first, n - 1)
        if event.kind == EventKind.LEFT_OUT:
            found.append(Span(row, event.first, "BAD_left_out"))
        else:
            kind = kinds.get(event.kind, event.kind)
            found.append(Span(row, 0, f"event/{kind}/{event.first}/{event.second}"))
    return found + [
        Span(note.sample_index - first, 0, f"note: {note.text}") for note in session.recorded.notes
    ]


def full(dtype: str = "int16", rate_hz: float = 1000.0) -> Session:
    """Everything that a session can hold: 905 samples from index 100 on, 50 of them lost."""
    rng = np.random.default_rng(0)
    n = 905
    labels = np.zeros(n, np.int16)
    labels[100:200], labels[400:500], labels[700:800] = 1, 2, 1
    signal = rng.integers(-32768, 32767, (n, 3)).astype(np.int16)
    if dtype == "float32":
        signal = (rng.normal(size=(n, 3)) * [100, 1e-2, 3000]).astype(np.float32)
        signal[20:23, 1] = np.nan
        signal[600, 2] = np.inf
    k = 40
    return Session(
        info=StreamInfo(
            rate_hz, ("a", "µ-zwei", "a very long name, of a channel"), "nerve",
            electrodes=("median/1", "median/2", "ulnar/7"), nerve="median", full_scale_uv=6400.0,
            hardware_band_hz=(0.1, 7500.0), mains_hz=60.0,
        ),
        meta=SessionMeta("s-1", "p 07", "left", "2026-01-31T12:00:00.25+01:00", "a test", "cuff 3"),
        signal=signal,
        scale_uv=0.195 if dtype == "int16" else 1.0,
        first_sample=100,
        labels=labels,
        gesture_names=("rest", "fist", GREEK),
        repetition=np.where(labels > 0, 1, 0).astype(np.int16),
        gaps=(Gap(350, 400),),
        digital=DigitalLines(np.array([150, 160, 800]), np.array([5, 0, 0x7FFF], np.uint32)),
        recorded=Recorded(
            intents=Intents(
                sample_index=np.arange(k, dtype=np.int64) * 20 + 119,
                outputs=rng.normal(size=(k, 2)).astype(np.float32),
                positions=rng.uniform(-1, 1, (k, 6)).astype(np.float32),
                gesture=rng.integers(0, 3, k).astype(np.int16),
                probability=rng.random(k, np.float32),
                warming=np.arange(k) < 5,
                healthy_fraction=rng.random(k, np.float32),
            ),
            output_names=("u", "v"),
            bundle="0" * 64,
            commands=Commands(
                np.array([119, 139]), rng.uniform(-1, 1, (2, 6)).astype(np.float32),
                np.array([[10**15, 10**15 + 5], [3, 4]]), np.ones((2, 4), np.float32),
            ),
            sent=SentPositions(
                np.array([119, -1, 139]), np.array([10**15, 10**15 + 1, 5]),
                rng.uniform(-1, 1, (3, 6)).astype(np.float32), np.array([0, 1, 0], np.int16), ("armed", "held"),
            ),
            states=HandStates(np.array([120]), np.full((1, 6), np.nan, np.float32), np.array([[7, 1]])),
            sensors=SensorReadings(
                np.array([102, 102, 140]), np.array([0.5, 0.51, 0.52]), np.array([10**15, 10**15, 2]),
                np.array([[1, np.nan], [2, 3], [4, 5]], np.float32), ("index mcp", "wrist"), ("rad", "raw"),
            ),
            health=HealthChanges(np.array([100, 333]), np.array([[True, False, True], [False, False, True]])),
            events=(
                Event(350, EventKind.GAP, 50),
                Event(350, EventKind.RESTART, -3, 1 << 40),
                Event(500, EventKind.LEFT_OUT, 60),
                Event(2000, 999),
            ),
            traces=Traces(np.array([119, 139]), np.arange(20).reshape(2, 10) * 10**9),
            state=bytes(range(256)),
            notes=(Note(101, GREEK), Note(400, "two\nlines"), Note(1004, "")),
        ),
    )  # fmt: skip


def plain(
    kind: str, n_channels: int, dtype: str, rate_hz: float, gaps: tuple[Gap, ...] = (), n: int = 3001
) -> Session:
    """A signal and nothing else."""
    rng = np.random.default_rng(n_channels)
    info = StreamInfo(rate_hz, tuple(f"kanal {i}" for i in range(n_channels)), kind)
    values = rng.normal(size=(n, n_channels)) * 50
    if kind == "envelope":
        values = np.abs(values) + 10
    signal = values.astype(dtype)
    return Session(info=info, meta=SessionMeta("plain"), signal=signal, scale_uv=1 / 3, gaps=gaps)


def with_truth() -> Session:
    rng = np.random.default_rng(5)
    info = StreamInfo(200.0, ("a", "b"), "emg")
    return Session(
        info=info,
        meta=SessionMeta("truth", start_time="2026-01-31T12:00:00+01:00"),
        signal=rng.integers(-300, 300, (900, 2)).astype(np.int16),
        scale_uv=0.25,
        truth=rng.uniform(-90, 30, (900, 2)).astype(np.float32),
        truth_names=("a", "wrist flexion"),
        truth_units=("deg", "deg"),
    )


SESSIONS = {
    "all that a session can hold, int16": lambda: full(),
    "all that a session can hold, float32": lambda: full("float32"),
    "emg, a gap at the start": lambda: plain("emg", 4, "int16", 2000.0, (Gap(0, 100), Gap(250, 251))),
    "emg at 2148.1481 Hz": lambda: plain("emg", 2, "float32", 2148.1481),
    "an envelope of one channel": lambda: plain("envelope", 1, "float32", 100.0),
    "300 channels": lambda: plain("nerve", 300, "int16", 30000.0, n=700),
    "a truth": with_truth,
    "one sample": lambda: plain("nerve", 2, "float32", 10000.0, n=1),
}


@pytest.fixture(scope="session", params=list(SESSIONS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Each kind of session in a file."""
    session = SESSIONS[request.param]()
    path = tmp_path_factory.mktemp("sessions") / "s.nwb"
    write_session(session, path)
    return Written(session, path)


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The int16 session with everything in it."""
    path = tmp_path_factory.mktemp("everything") / "s.nwb"
    session = full()
    write_session(session, path)
    return Written(session, path)
