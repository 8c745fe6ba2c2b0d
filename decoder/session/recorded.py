"""What a live recording holds beside the signal: intents, commands, what was sent, hand states, health, events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from decoder.intent import Intents


class EventKind(IntEnum):
    """Events with a sample index; `first` and `second` of a row are what the comment says.

    Numbers are part of the file format: new kinds are added, none is ever renumbered.
    """

    GAP = 1  # samples lost
    DROPPED_COMMANDS = 2  # commands of late hops that were not sent
    RESTART = 3  # the chain restarted: backlog in samples
    LINK = 4  # hand link: 0 lost, 1 connected
    STOP = 5  # a person asked to stop
    RELEASE = 6  # a person asked to release
    BUNDLE = 7  # another bundle took over
    OVERRUN = 8  # samples that the source says it dropped
    DISK_RESERVE = 9  # recording stopped: free bytes, reserve in bytes
    NOTE = 10  # see the note with the same sample index
    SNAPSHOT = 11  # carried state was stored
    UNRECORDED = 12  # positions sent to the hand that the recorder did not take in time: how many
    MASKED = 13  # a channel is masked from here on: which, and its health.Cause
    UNMASKED = 14  # it no longer is: which, and what the cause was
    ARTEFACT = 15  # blanked: channels hit, samples
    FILLED = 16  # lost before here and bridged: samples, with those since the last such event
    INPUT = 17  # a person moved the intent of a simulated one: index of the gesture
    LEFT_OUT = 18  # nothing is to be learned or scored from here on: for how many samples
    PINNED = 19  # somebody wants this file kept: from which sample on
    RELOADED = 20  # a configuration was read again: its generation


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at an absolute sample index; its numbers mean what EventKind says."""

    sample_index: int
    kind: int
    first: int = 0
    second: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Free text at an absolute sample index."""

    sample_index: int
    text: str


@dataclass(frozen=True, slots=True)
class Commands:
    """k commands that the gate followed, as they came to it: targets (k, 6) in -1..1, `times_ns` (k, 2) issued
    and expires on the host's monotonic clock, `quality` (k, 4): gesture index, warming, confidence, healthy
    fraction."""

    sample_index: NDArray[np.int64]
    targets: NDArray[np.float32]
    times_ns: NDArray[np.int64]
    quality: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SentPositions:
    """k times that positions were handed to the hand: positions (k, 6) in -1..1 after its own limits, `sent_ns`
    (k,) when that was done, on the host's monotonic clock, and `state` (k,) of the gate, which indexes
    `state_names`. `sample_index` is that of the command being followed, -1 where the gate followed none."""

    sample_index: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    positions: NDArray[np.float32]
    state: NDArray[np.int16]
    state_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandStates:
    """k reports of the hand: positions (k, 6), NaN where it measures none; `times_ns` (k, 2) reported, and 1
    in the second column where its watchdog had tripped. `sample_index` is the last sample received then."""

    sample_index: NDArray[np.int64]
    positions: NDArray[np.float32]
    times_ns: NDArray[np.int64]


TRACE_TIMES = (
    "arrived",  # the last sample that the command rests on
    "left_delay_line",  # the block that let that sample leave channel health
    "taken",  # by the loop that decodes
    "conditioned",
    "featured",
    "answered",  # by the network
    "decided",
    "guarded",  # the guard began with it
    "sent",  # handed to the hand
    "moved",  # the hand's own report of the movement that the command began; 0 where it began none
)
"""What is noted of a command on its way, host monotonic ns each, in this order."""


@dataclass(frozen=True, slots=True)
class Traces:
    """When k commands were where: `times_ns` (k, 10) in the order of TRACE_TIMES, 0 where unknown."""

    sample_index: NDArray[np.int64]
    times_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HealthChanges:
    """The mask (k, c) bool (True = masked) that holds from each sample index on."""

    sample_index: NDArray[np.int64]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SensorReadings:
    """k readings of what measures the able hand, as they arrived: values (k, d) in `units`, NaN where a sensor said
    nothing; `device_s` (k,) on the device's own clock, `arrival_ns` (k,) on the host's. `sample_index` is the
    sample received then, within a block by the host's clock: what maps the device's clock to the signal's."""

    sample_index: NDArray[np.int64]
    device_s: NDArray[np.float64]
    arrival_ns: NDArray[np.int64]
    values: NDArray[np.float32]
    names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """All of it; None where nothing of the kind was recorded. `output_names` name the intents' outputs and
    `bundle` is the identity of the bundle that made them, by the settings of `decision` where these were not its own.
    `state` is what the decoder carried before the first sample (decoder.carried), b"" where it began there."""

    intents: Intents | None = None
    output_names: tuple[str, ...] = ()
    bundle: str = ""
    commands: Commands | None = None
    sent: SentPositions | None = None
    states: HandStates | None = None
    health: HealthChanges | None = None
    sensors: SensorReadings | None = None
    events: tuple[Event, ...] = ()
    notes: tuple[Note, ...] = ()
    traces: Traces | None = None
    decision: dict[str, float] | None = None
    state: bytes = b""


NOTHING_RECORDED = Recorded()
