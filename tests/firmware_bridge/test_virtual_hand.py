"""The virtual hand as it is used: two processes, a real GATT connection, no radio."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from bleak import BleakClient

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateLimits, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import HandCommand, LinkState
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from firmware_bridge.hands.virtual_protocol import SCALE, VIRTUAL_HAND, FrameError

LINK_TIMEOUT_S = 2.0  # longer than a busy machine stands still
NS = 1_000_000_000


def wait_for(condition: Callable[[], bool], within_s: float = 30.0) -> float:
    """Seconds until `condition` held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s, f"not within {within_s} s"
        time.sleep(0.002)
    return time.monotonic() - started


def six(value: float) -> np.ndarray:
    return np.full(6, value, dtype=np.float32)


def reported(hand: VirtualHand) -> np.ndarray:
    assert hand.state is not None
    return hand.state.positions


@pytest.fixture(scope="module")
def process() -> Iterator[VirtualHandProcess]:
    with virtual_hand_process() as process:
        yield process


@pytest.fixture
def hand(process: VirtualHandProcess) -> Iterator[VirtualHand]:
    """Connected, and opened after whatever was asked of it before."""
    hand = VirtualHand(process.address, process.transport, link_timeout_s=LINK_TIMEOUT_S)
    hand.connect(5)
    wait_for(lambda: bool(np.abs(reported(hand)).max() < 0.01))
    yield hand
    hand.close()


def test_connected_means_that_the_hand_has_reported_and_acknowledged(hand: VirtualHand) -> None:
    assert hand.link is LinkState.CONNECTED
    assert hand.state is not None
    assert hand.counters.acknowledged >= 1
    hand.close()
    assert hand.link is LinkState.DISCONNECTED


def test_positions_arrive_are_reached_and_reported(hand: VirtualHand) -> None:
    wanted = np.array([0.1, 0.5, 0.9, -0.9, -0.5, -0.1], dtype=np.float32)

    def arrived() -> bool:
        hand.send(wanted, time.monotonic_ns())
        return bool(np.abs(reported(hand) - wanted).max() <= 0.5 / SCALE + 1e-4)

    wait_for(arrived)
    assert hand.counters.bad_frames == 0
    assert 0 < np.median(hand.round_trips_s()) < LINK_TIMEOUT_S


def test_the_hand_opens_by_itself_when_commands_stop(hand: VirtualHand) -> None:
    def flexed() -> bool:
        hand.send(six(0.5), time.monotonic_ns())
        return bool((reported(hand) > 0.4).all())

    wait_for(flexed)
    assert hand.state is not None
    assert not hand.state.watchdog_tripped
    wait_for(lambda: hand.state is not None and hand.state.watchdog_tripped)
    wait_for(lambda: bool((np.abs(reported(hand)) < 0.01).all()))
    assert hand.link is LinkState.CONNECTED


def test_send_says_what_it_clipped_and_refuses_what_is_no_position(hand: VirtualHand) -> None:
    applied = hand.send(np.array([1.5, -1.5, 0, 0, 0, 1], dtype=np.float32), 77)
    np.testing.assert_array_equal(applied.positions, [1, -1, 0, 0, 0, 1])
    np.testing.assert_array_equal(applied.clipped, [True, True, False, False, False, False])
    assert applied.sent_ns == 77
    for bad in (six(np.nan), np.zeros(5, dtype=np.float32)):
        with pytest.raises(NervehandError, match="6 finite numbers"):
            hand.send(bad, 0)


def test_send_never_waits_and_the_newest_position_wins(hand: VirtualHand) -> None:
    before = replace(hand.counters)
    started = time.monotonic()
    for value in np.linspace(0, 0.3, 2000):
        hand.send(six(value), time.monotonic_ns())
    assert time.monotonic() - started < 1.0
    wait_for(lambda: bool(np.abs(reported(hand) - 0.3).max() < 0.01))
    submitted = hand.counters.submitted - before.submitted
    dropped = hand.counters.dropped - before.dropped
    assert submitted == 2000
    assert dropped > 1000
    assert hand.counters.sent - before.sent >= submitted - dropped


def test_a_hand_out_of_reach_is_lost_in_time_though_every_write_succeeds(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    losses = hand.counters.losses
    process.order("silence")
    assert wait_for(lambda: hand.link is LinkState.LOST) < 2 * LINK_TIMEOUT_S
    wait_for(lambda: hand.counters.losses == losses + 1)
    process.order("resume")
    wait_for(lambda: hand.link is LinkState.CONNECTED)


def test_a_hand_that_disconnects_is_lost_at_once_and_connected_again(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    connections = hand.counters.connections
    process.order("disconnect")
    wait_for(lambda: hand.link is LinkState.LOST, LINK_TIMEOUT_S)
    wait_for(lambda: hand.link is LinkState.CONNECTED)
    assert hand.counters.connections == connections + 1


def test_a_fault_of_the_hand_is_reported(process: VirtualHandProcess, hand: VirtualHand) -> None:
    process.order("fault")
    wait_for(lambda: hand.state is not None and hand.state.fault == "the hand reports a fault")
    process.order("clear")
    wait_for(lambda: hand.state is not None and hand.state.fault == "")


def test_a_killed_hand_is_lost_and_found_again_when_it_is_back() -> None:
    with virtual_hand_process() as first:
        hand = VirtualHand(first.address, first.transport, link_timeout_s=LINK_TIMEOUT_S)
        hand.connect(5)
        hand.send(six(0.5), time.monotonic_ns())
        started = time.monotonic()
        first.kill()
        wait_for(lambda: hand.link is LinkState.LOST)
        assert time.monotonic() - started < LINK_TIMEOUT_S
    hand.send(six(0.5), time.monotonic_ns())
    port = int(first.transport.rpartition(":")[2])
    with virtual_hand_process(port):
        wait_for(lambda: hand.link is LinkState.CONNECTED)
        assert reported(hand).max() == 0
        hand.close()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), FrameError("the state is damaged")])
def test_a_connection_that_breaks_while_it_is_set_up_is_tried_again(
    process: VirtualHandProcess, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bumble answers a disconnection by cancelling whatever waits for the hand."""
    read, failed = BleakClient.read_gatt_char, []

    async def read_once_in_vain(client: BleakClient, *which: object, **more: object) -> bytearray:
        if not failed:
            failed.append(True)
            raise error
        return await read(client, *which, **more)

    monkeypatch.setattr(BleakClient, "read_gatt_char", read_once_in_vain)
    hand = VirtualHand(process.address, process.transport)
    hand.connect(5)
    assert failed
    assert hand.link is LinkState.CONNECTED
    hand.close()
    assert hand.link is LinkState.DISCONNECTED


def test_a_hand_that_is_not_there_or_another_one_is_one_clear_error(process: VirtualHandProcess) -> None:
    with pytest.raises(LinkError, match=r"no connection to the hand at F5.* within 0.5 s: .*127.0.0.1:9"):
        VirtualHand(process.address, "tcp-client:127.0.0.1:9").connect(0.5)
    other = replace(VIRTUAL_HAND, name="another hand")
    with pytest.raises(LinkError, match="use the right capabilities"):
        VirtualHand(process.address, process.transport, capabilities=other).connect(5)


def test_the_gate_moves_the_hand_and_a_release_asked_for_while_it_is_away_comes_first(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    gate = SafetyGate(GateLimits.for_hand(hand.capabilities), hand.capabilities.watchdog_action)
    with GuardLoop(gate, hand) as guard:
        assert guard.request_arm("Ann")

        def flexed() -> bool:
            now_ns = time.monotonic_ns()
            target = 0.0 if guard.counters.commands_applied == 0 else 0.6
            guard.submit(HandCommand(six(target), 0, now_ns, now_ns + NS))
            return bool((reported(hand) > 0.55).all())

        wait_for(flexed)
        process.order("disconnect")
        wait_for(lambda: hand.link is not LinkState.CONNECTED)
        guard.request_release("Ann")
        wait_for(lambda: bool((np.abs(reported(hand)) < 0.05).all()))
    assert guard.counters.errors == 0


def test_the_hand_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, signal\n"
        "from firmware_bridge.hands.virtual_process import virtual_hand_process\n"
        "with virtual_hand_process() as hand:\n"
        "    print(hand.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=20, check=False)
    assert parent.returncode == -signal.SIGKILL
    child = int(parent.stdout)

    def ended() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{child}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"

    wait_for(ended)


def test_a_hand_that_cannot_start_says_so(process: VirtualHandProcess) -> None:
    port = int(process.transport.rpartition(":")[2])
    with pytest.raises(LinkError, match="did not start"), virtual_hand_process(port):
        pass
