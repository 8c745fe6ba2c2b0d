"""A person in a few lines and a decoder that understands them: a channel of envelope per movement, linear weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.stepgraph import CausalConv, Dense, StepNetwork, build_step_graph
from decoder.bundle import (
    Bundle,
    FeatureSpec,
    Manifest,
    OutputSpec,
    StreamSpec,
    Training,
    TrainingSession,
)
from decoder.conditioning import ConditioningSettings
from decoder.conditioning_design import design
from decoder.decision import DecisionSettings, PositionMap
from decoder.features import FeatureSettings
from decoder.normalisation import Normalisation
from decoder.session.model import Session, SessionMeta
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.stream import StreamInfo

N = 7
NAMES = ("rest", "thumb", "index", "middle", "ring", "little", "wrist flexion", "wrist extension")
INFO = StreamInfo(rate_hz=100.0, channel_names=tuple(f"e{i}" for i in range(1, N + 1)), kind="envelope")
CONDITIONING = ConditioningSettings(decimation=1, band_hz=None)
POSTURES = np.zeros((N + 1, N_DOF), np.float32)
for _gesture in range(1, N + 1):
    POSTURES[_gesture, min(_gesture, N_DOF) - 1] = -1.0 if _gesture > N_DOF else 1.0


def session(repetitions: int = 3, rest_s: float = 1.5, noise: float = 0.02, truth: bool = True) -> Session:
    """Each movement for 1.5 s in each repetition, in an order of its own, with `rest_s` before and after."""
    rng = np.random.default_rng(3)
    order = np.concatenate([1 + rng.permutation(N) for _ in range(repetitions)])
    rest, moving = round(rest_s * 100), 150
    label = np.concatenate([np.repeat([0, gesture, 0], [rest, moving, rest]) for gesture in order])
    active = (label[:, None] == np.arange(1, N + 1)) + 0.05
    trial = np.repeat(np.arange(1, len(order) + 1), 2 * rest + moving)
    return Session(
        info=INFO,
        meta=SessionMeta("session-1", "p1", "left", "2026-03-01T10:00:00+00:00", array="armband"),
        signal=np.square(active + noise * rng.standard_normal(active.shape)).astype(np.float32),
        labels=label.astype(np.int16),
        gesture_names=NAMES,
        trial=trial.astype(np.int32),
        repetition=((trial - 1) // N + 1).astype(np.int16),
        truth=POSTURES[label] if truth else None,
        truth_names=DOF_NAMES if truth else (),
        truth_units=("position",) * N_DOF if truth else (),
        postures=POSTURES,
    )


def swapped(made: Session, trial: int) -> Session:
    """The session with the next movement's signal in one trial: the person did something else than asked for."""
    assert made.labels is not None
    assert made.trial is not None
    signal = np.array(made.signal[slice(None)])
    rows = np.flatnonzero((made.trial == trial) & (made.labels > 0))
    told = int(made.labels[rows[0]]) - 1
    done = (told + 1) % N
    signal[np.ix_(rows, [told, done])] = signal[np.ix_(rows, [done, told])]
    return replace(made, signal=signal)


def bundle(
    trained_on: tuple[int, ...] | None = (), deaf_to: tuple[int, ...] = (), outputs: bool = True
) -> Bundle:
    """Trained on these repetitions of `session` (None: all). `deaf_to` channels (from 0) it gives no weight.

    Without `outputs` it decodes gestures alone, whose postures it takes.
    """
    weight = np.eye(N, dtype=np.float32)
    for channel in deaf_to:
        weight[channel, channel] = 0.0
    to_outputs = np.zeros((N, N_DOF if outputs else 0), np.float32)
    if outputs:
        for channel in range(N):
            to_outputs[channel] = POSTURES[channel + 1]
    to_gestures = np.concatenate([np.zeros((N, 1)), 20.0 * np.eye(N)], axis=1).astype(np.float32)
    network = StepNetwork(
        (CausalConv(weight[None], np.zeros(N, np.float32)),),
        Dense(to_outputs, np.zeros(to_outputs.shape[1], np.float32)) if outputs else None,
        Dense(to_gestures, np.array([10.0] + [0.0] * N, np.float32)),
    )
    learned = (
        ()
        if trained_on == ()
        else (TrainingSession(identifier="session-1", sha256="", repetitions=trained_on),)
    )
    manifest = Manifest(
        format_version=1,
        stream=StreamSpec(kind="envelope", rate_hz=100.0, channel_names=INFO.channel_names, electrodes=()),
        subject="p1",
        side="left",
        array="armband",
        conditioning=CONDITIONING,
        features=FeatureSpec(
            set="envelope", settings=FeatureSettings(2, 2, ("root",)), compress=("none",) * N, clip=8.0
        ),
        outputs=tuple(
            OutputSpec(name=name, unit="position", lower=-1.0, upper=1.0) for name in DOF_NAMES if outputs
        ),
        gestures=NAMES,
        decision=DecisionSettings(),
        warmup_s=0.1,
        training=Training(sessions=learned, network="linear", n_parameters=N, seed=0, nervehand_version="0"),
    )
    return Bundle(
        manifest,
        design(CONDITIONING, INFO),
        Normalisation(np.full(N, 0.05, np.float32), np.ones(N, np.float32), 8.0, ("none",) * N),
        PositionMap(
            np.eye(N_DOF, N_DOF if outputs else 0, dtype=np.float32), np.zeros(N_DOF, np.float32), POSTURES
        ),
        build_step_graph(network),
    )
