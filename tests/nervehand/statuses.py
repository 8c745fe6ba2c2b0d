"""Status documents for tests: one of a daemon that does well, with every part in it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from nervehand.latency import LatencyHistogram, RecentLatency
from nervehand.status import Found, Status, mark_of, new_status, stage_latency
from nervehand.status_document import (
    ConfigStatus,
    DecodeStatus,
    HandStatus,
    MachineStatus,
    PortStatus,
    RealtimeStatus,
    RecordingStatus,
    ShadowStatus,
    SourceStatus,
)

SHA = "0123456789abcdef" * 4
PERSON = "Erika Mustermann"
"""Is in every text of the document that a person may choose."""


def full_status(name: str = "nervehand") -> Status:
    """Of this very process, written now."""
    histogram = LatencyHistogram()
    for microseconds in range(500, 4500, 10):
        histogram.add(microseconds * 1000)
    row = stage_latency(*RecentLatency(histogram).at(0.0))
    return replace(
        new_status(name, time.time() - 3600, os.getppid()),
        uptime_s=3600.0,
        config=ConfigStatus(f"/home/{PERSON}/nervehand.toml", SHA, 3, "applied"),
        source=SourceStatus(
            f"session:/home/{PERSON}/day1.nwb", "streaming", 10_000.0, 16, (f"{PERSON} 3",), 36_000_000, 20,
            f"{PERSON} plugged it in", 10.0,
        ),
        decode=DecodeStatus(SHA, 0.02, 180_000, 50, 3, 4, 1, 0.01, False, "compiled", "fist"),
        latency={"engine": row, "sample to sent": row},
        hand=HandStatus(
            "armed", "", "connected", f"ability_hand:{PERSON}", 1000, 2, 3, 4,
            positions=(0.1, -0.5, None, 1.0, 0.0, 0.0), temperature_c=31.5, battery=0.8,
        ),
        recording=RecordingStatus(
            "recording", "", f"/data/{PERSON}", f"/data/{PERSON}/1.nwb", 600.0, 6_000_000, 0.1, 0,
            50_000.0, 256.0, 20_480.0, 900.0, 10.0, 0.5, True, 3,
        ),
        port=PortStatus("0.0.0.0:4711", "", 2),
        metrics="127.0.0.1:9464",
        shadow=(ShadowStatus(SHA[::-1], "shadow", PERSON, 100.0, 5000, 0.97),),
        realtime=RealtimeStatus({"decode": "SCHED_FIFO 50"}),
        machine=MachineStatus(
            {"CPU-therm": 51.5}, {"POM_5V_IN": 4.2}, (1479.0, 921.0), False, 0.25, 0.01, {"decode": 120.0},
            {"decode": 0.15},
        ),
        stages_of_start={"imports": 1.25, "bundle": 0.5},
    )  # fmt: skip


def found(status: Status, age_s: float = 0.5, alive: bool = True, supervised: bool = True) -> Found:
    """As if it had been read."""
    return Found(Path(f"/run/daemon-{status.name}.json"), status, "", age_s, alive, supervised)


def ended_status(name: str) -> Status:
    """Of a process that runs no more."""
    mine = mark_of(os.getpid())
    assert mine is not None
    return replace(
        full_status(name), process=replace(mine, start_ticks=mine.start_ticks + 1), supervisor=None
    )
