"""The Ability Hand over a serial line: the vendor's own client against the emulated hand, and ours at 500 Hz."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.emulators.hands.pty import PtyHand
from firmware_bridge.hand import LinkState
from firmware_bridge.hands import HandOptions, ability_hand, open_hand
from firmware_bridge.hands import _ability_frames as frames
from firmware_bridge.hands._ability_stream import StuffedStream
from firmware_bridge.hands._linked import LinkedHand
from firmware_bridge.serial_ports import open_serial_port
from tests.peers.vendor import vendor_client
from tests.proof.plugin import Proof
from tests.proof.running import ROOT

LIMIT_S = 300.0
"""No figure: a machine may stand still, a test must end."""

RATE_HZ = 500
SEGMENTS = 10
LINES = [(1, 921600), (2, 921600), (3, 460800)]


@pytest.mark.parametrize(("variant", "baud"), LINES)
def test_the_vendors_client_drives_the_emulated_hand_without_a_bad_frame(
    proof: Proof, tmp_path: Path, variant: int, baud: int
) -> None:
    vendor = vendor_client(tmp_path)
    n = proof.count(10_000)
    device = AbilityDevice(time.monotonic_ns())
    with PtyHand(device, tmp_path / "hand", baud) as emulator:
        orders = {"port": emulator.port, "baud": baud, "reply_mode": variant - 1, "exchanges": n}
        done = vendor.run(2 * LIMIT_S, drive=orders | {"limit_s": LIMIT_S})["drive"]
    kinds = [entry.kind for entry in device.trace.entries]
    proof.record(
        exchanges=done["frames"],
        bad_frames=done["bad"],
        refused=kinds.count("refused"),
        rate_hz=done["rate_hz"],
    )
    assert done["bad"] == 0
    assert done["frames"] >= n
    assert "refused" not in kinds
    # What it was told last, and what it says that the hand told it.
    targets = [entry.joints for entry in device.trace.entries if entry.kind == "target"]
    np.testing.assert_allclose(targets[-1], [10, 20, 30, 40, 50, -60], atol=0.01)
    told = done["told"]
    np.testing.assert_allclose(told["position"], [10, 20, 30, 40, 50, -60], atol=1)
    assert (told["current"] is not None) == (variant != 2)
    assert (told["velocity"] is not None) == (variant != 1)
    assert (told["touch"] is not None) == (variant != 3)


@dataclass
class Reached:
    """Exchanges per second in each part of a run, and how long each exchange took."""

    rates_hz: list[float] = field(default_factory=list)
    exchanges_s: list[float] = field(default_factory=list)


@pytest.mark.proof(alone=True)
@pytest.mark.parametrize(("variant", "baud"), LINES)
def test_500_exchanges_a_second_at_the_speed_of_the_wire(
    proof: Proof, tmp_path: Path, variant: int, baud: int
) -> None:
    """Ours at 500 Hz, and a bare loop of writes and reads as fast as it goes, in turn on the same line."""
    n = proof.count(15_000) // SEGMENTS
    with served(tmp_path / "hand", baud) as counted:
        ours, bare = Reached(), Reached()
        where = f"ability_hand:{tmp_path / 'hand'}?baud={baud}&reply={variant}"
        hand = cast(LinkedHand, open_hand(where, HandOptions(link_timeout_s=LIMIT_S)))
        for _ in range(SEGMENTS):
            hand.connect(LIMIT_S)
            our_segment(hand, n, ours)
            hand.close()
            bare_segment(tmp_path / "hand", baud, variant, n, bare)
    counters = hand.counters
    exchange_ms = np.array(ours.exchanges_s) * 1e3
    bytes_both_ways = ability_hand.COMMAND_BYTES + frames.REPLY_LENGTHS[variant] + 2
    proof.record(
        rate_hz=float(np.median(ours.rates_hz)),
        bare_loop_hz=float(np.median(bare.rates_hz)),
        wire_hz=baud / 10 / bytes_both_ways,
        exchanges=counters.acknowledged,
        given_up_after_50_ms=counters.unanswered,
        replaced_by_newer=counters.dropped,
        bad_frames=counters.bad_frames,
        p50_ms=float(np.percentile(exchange_ms, 50)),
        p99_ms=float(np.percentile(exchange_ms, 99)),
    )
    assert counters.submitted == SEGMENTS * n
    assert (counters.bad_frames, counters.skipped_bytes) == (0, 0)
    assert counted["refused"] == 0
    # None was lost on the way to the hand, however long this machine stood still.
    assert counted["replies"] == counters.sent + SEGMENTS * (n + 1)
    assert counters.acknowledged > 0  # how many a second is a figure: no machine has to be fast for a test


def our_segment(hand: LinkedHand, n: int, reached: Reached) -> None:
    """`n` positions, one each 2 ms; ends once the link is done with all of them."""
    counters = hand.counters
    acknowledged = counters.acknowledged
    begun_s = time.monotonic()
    for i in range(n):
        wait_s = begun_s + i / RATE_HZ - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        flexed = np.float32(0.5 + 0.4 * np.sin(i / 100))
        hand.send(np.array([flexed] * 5 + [0], np.float32), time.monotonic_ns())
    reached.rates_hz.append((counters.acknowledged - acknowledged) / (time.monotonic() - begun_s))
    reached.exchanges_s += hand.round_trips_s()[-n:].tolist()
    assert hand.link is LinkState.CONNECTED


def bare_segment(link: Path, baud: int, variant: int, n: int, reached: Reached) -> None:
    stream = StuffedStream()
    with open_serial_port(str(link), baud, hint_if_absent="") as port:
        begun_s = time.monotonic()
        for i in range(n):
            os.write(port.fileno(), frames.stuffed(frames.position_frame([i % 90] * 5 + [0], variant)))
            replies: list[bytes] = []
            while not replies:
                assert select.select([port], [], [], LIMIT_S)[0]
                replies = stream.feed(os.read(port.fileno(), 4096))
        reached.rates_hz.append(n / (time.monotonic() - begun_s))


@contextmanager
def served(link: Path, baud: int) -> Iterator[dict[str, int]]:
    """The emulated hand in a process of its own; what it counted is there when the context has ended."""
    counted: dict[str, int] = {}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.peers.served_hand", str(link), str(baud)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield counted
        out, _ = process.communicate("", timeout=LIMIT_S)
        counted.update(json.loads(out))
    finally:
        process.kill()
        process.wait()
