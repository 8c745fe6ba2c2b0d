"""The virtual hand as it is used: two processes, a real GATT connection, no radio."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bleak import BleakClient

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateLimits, GateState, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import HandCommand, LinkState
from firmware_bridge.hands import HandOptions, open_hand
from firmware_bridge.hands._scan import FoundHand, scan
from firmware_bridge.hands._virtual import VirtualDialect
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process
from firmware_bridge.hands.virtual_protocol import SCALE, VIRTUAL_HAND, FrameError
from firmware_bridge.preuse import overridden
from tests.firmware_bridge.hands.lines import in_flight

PATIENCE_S = 60.0
LINK_TIMEOUT_S = 4 * PATIENCE_S
"""No silence of a machine that stands still is taken for a lost link: what is lost in a test, broke."""
SHORT_TIMEOUT_S = 2.0
NS = 1_000_000_000


def wait_for(condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < PATIENCE_S, f"not within {PATIENCE_S} s"
        time.sleep(0.002)


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
def hand(process: VirtualHandProcess, request: pytest.FixtureRequest) -> Iterator[VirtualHand]:
    """Connected, and opened after whatever was asked of it before. Its parameter is the link's timeout."""
    link_timeout_s = getattr(request, "param", LINK_TIMEOUT_S)
    hand = VirtualHand(process.address, process.transport, link_timeout_s=link_timeout_s)
    hand.connect(PATIENCE_S)
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
        state = hand.state
        return state is not None and bool((state.positions > 0.4).all()) and not state.watchdog_tripped

    wait_for(flexed)
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


@contextmanager
def standing_still(process: VirtualHandProcess) -> Iterator[None]:
    """The hand's process takes nothing and says nothing, until the block is left."""
    process.process.send_signal(signal.SIGSTOP)
    os.waitpid(process.process.pid, os.WUNTRACED)
    try:
        yield
    finally:
        process.process.send_signal(signal.SIGCONT)


def test_send_never_waits_and_the_newest_position_wins(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    def nothing_more_goes() -> bool:
        hand.send(six(0), time.monotonic_ns())
        return len(in_flight(hand)) >= VirtualDialect.window

    took_s = []
    with standing_still(process):
        wait_for(nothing_more_goes)
        before = replace(hand.counters)
        for value in np.linspace(0, 0.3, 2000):
            started = time.monotonic()
            hand.send(six(value), time.monotonic_ns())
            took_s.append(time.monotonic() - started)
    # A send that waits for the hand never ends here; the median forgives a machine that stands still.
    assert np.median(took_s) < 1e-3
    submitted = hand.counters.submitted - before.submitted
    dropped = hand.counters.dropped - before.dropped
    assert submitted == 2000
    assert dropped > 1900  # all but the few that were on their way, or are the last
    assert hand.counters.sent - before.sent >= submitted - dropped - 1  # the last may wait still

    def newest_is_there() -> bool:
        hand.send(six(0.3), time.monotonic_ns())  # the last of them may have waited too long
        return bool((np.abs(reported(hand) - 0.3) < 0.01).all())

    wait_for(newest_is_there)
    assert hand.counters.losses == 0


@pytest.mark.parametrize("hand", [SHORT_TIMEOUT_S], indirect=True)
def test_a_hand_out_of_reach_is_lost_in_time_though_every_write_succeeds(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    losses = hand.counters.losses
    process.order("silence")

    def lost() -> bool:
        asked_ns = time.monotonic_ns()
        if hand.link is not LinkState.CONNECTED:
            return True
        assert hand.state is not None
        assert asked_ns - hand.state.reported_ns < SHORT_TIMEOUT_S * NS, "connected, and too long silent"
        return False

    wait_for(lambda: lost() and hand.counters.losses > losses)
    assert hand.link is not LinkState.CONNECTED
    process.order("resume")
    wait_for(lambda: hand.link is LinkState.CONNECTED)


def test_a_hand_that_disconnects_is_lost_at_once_and_connected_again(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    connections = hand.counters.connections
    process.order("silence")  # so that it stays away until that was seen
    process.order("disconnect")
    wait_for(lambda: hand.link is LinkState.LOST)
    process.order("resume")
    wait_for(lambda: hand.link is LinkState.CONNECTED)
    assert hand.counters.connections == connections + 1
    process.order("disconnect")
    wait_for(lambda: hand.counters.connections == connections + 2)
    assert hand.counters.losses == 2


def test_a_fault_of_the_hand_is_reported(process: VirtualHandProcess, hand: VirtualHand) -> None:
    process.order("fault")
    wait_for(lambda: hand.state is not None and hand.state.fault == "the hand reports a fault")
    process.order("clear")
    wait_for(lambda: hand.state is not None and hand.state.fault == "")


def test_a_killed_hand_is_lost_and_found_again_when_it_is_back() -> None:
    with virtual_hand_process() as first:
        hand = VirtualHand(first.address, first.transport, link_timeout_s=LINK_TIMEOUT_S)
        hand.connect(PATIENCE_S)
        hand.send(six(0.5), time.monotonic_ns())
        first.kill()
        wait_for(lambda: hand.link is LinkState.LOST)
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
    hand = VirtualHand(process.address, process.transport, link_timeout_s=LINK_TIMEOUT_S)
    hand.connect(PATIENCE_S)
    assert failed
    assert hand.link is LinkState.CONNECTED
    hand.close()
    assert hand.link is LinkState.DISCONNECTED


def test_a_hand_that_is_not_there_or_another_one_is_one_clear_error(process: VirtualHandProcess) -> None:
    for timeout_s in (0.5, 5.0, PATIENCE_S):
        with pytest.raises(
            LinkError, match=rf"no connection to the hand at F5.* within {timeout_s} s: "
        ) as raised:
            VirtualHand(process.address, "tcp-client:127.0.0.1:9").connect(timeout_s)
        if "does not answer" not in str(raised.value):  # else it was not even asked in that time
            break
    assert "127.0.0.1:9" in str(raised.value)
    other = replace(VIRTUAL_HAND, name="another hand")
    with pytest.raises(LinkError, match="use the right capabilities"):
        VirtualHand(process.address, process.transport, capabilities=other).connect(PATIENCE_S)


def test_the_gate_moves_the_hand_and_a_release_asked_for_while_it_is_away_comes_first(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    gate = SafetyGate(GateLimits.for_hand(hand.capabilities), hand.capabilities.watchdog_action)
    with GuardLoop(gate, hand) as guard:

        def flexed() -> bool:
            if guard.state is GateState.DISARMED:  # at first, and where the machine stood still
                guard.request_arm("Ann", overridden("Ann", time.monotonic_ns()))
            now_ns = time.monotonic_ns()
            target = 0.6 if guard.state is GateState.ARMED else 0.0
            guard.submit(HandCommand(six(target), 0, now_ns, now_ns + NS))
            return bool((reported(hand) > 0.55).all())

        wait_for(flexed)
        process.order("silence")  # so that it stays away until that was seen
        process.order("disconnect")
        wait_for(lambda: hand.link is not LinkState.CONNECTED)
        guard.request_release("Ann")
        assert not gate.at_rest
        process.order("resume")
        wait_for(lambda: gate.at_rest and bool((np.abs(reported(hand)) < 0.05).all()))
        assert guard.state is GateState.RELEASED
    assert guard.counters.errors == 0


def test_the_hand_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, signal\n"
        "from firmware_bridge.hands.virtual_process import virtual_hand_process\n"
        "with virtual_hand_process() as hand:\n"
        "    print(hand.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=2 * PATIENCE_S, check=False
    )
    assert parent.returncode == -signal.SIGKILL
    child = int(parent.stdout)

    def ended() -> bool:
        try:
            stat = Path(f"/proc/{child}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"

    wait_for(ended)


def test_a_hand_that_cannot_start_says_so(process: VirtualHandProcess) -> None:
    port = int(process.transport.rpartition(":")[2])
    with pytest.raises(LinkError, match="did not start"), virtual_hand_process(port):
        pass


@pytest.mark.parametrize("mtu", ["23", "50"])
def test_a_small_mtu_is_enough(mtu: str) -> None:
    with virtual_hand_process(arguments=["--mtu", mtu]) as process:
        hand = VirtualHand(process.address, process.transport, link_timeout_s=LINK_TIMEOUT_S)
        hand.connect(PATIENCE_S)

        def arrived() -> bool:
            hand.send(six(0.25), time.monotonic_ns())
            return bool((np.abs(reported(hand) - 0.25) < 0.01).all())

        wait_for(arrived)
        assert hand.counters.bad_frames == 0
        hand.close()


def test_a_hand_that_stops_advertising_stays_away_until_it_advertises_again() -> None:
    with virtual_hand_process() as process:
        hand = VirtualHand(process.address, process.transport, link_timeout_s=LINK_TIMEOUT_S)
        hand.connect(PATIENCE_S)
        process.order("stop advertising")
        process.order("disconnect")
        wait_for(lambda: hand.link is LinkState.LOST)
        assert [found.kind for found in scan(process.transport, 0.5)] == []
        assert hand.link is LinkState.LOST
        process.order("advertise")
        wait_for(lambda: hand.link is LinkState.CONNECTED)
        assert hand.counters.connections == 2
        hand.close()


def test_what_the_hand_says_of_its_heat_and_its_joints_comes_through(
    process: VirtualHandProcess, hand: VirtualHand
) -> None:
    process.order("hot")
    process.order("stall")
    wait_for(lambda: hand.state is not None and hand.state.hot and hand.state.stalled)
    process.order("clear")
    process.order("stray")
    wait_for(lambda: bool((reported(hand) > 0.45).all()))
    assert hand.state is not None
    assert not hand.state.hot
    process.order("clear")
    process.order("fly")  # is refused, and the hand lives on
    wait_for(lambda: bool((np.abs(reported(hand)) < 0.01).all()))


def test_a_hand_that_advertises_is_found_and_named_by_its_kind(process: VirtualHandProcess) -> None:
    found: tuple[FoundHand, ...] = ()

    def is_found() -> bool:
        nonlocal found
        found = scan(process.transport, 0.3)
        return bool(found)

    wait_for(is_found)
    assert [(hand.address, hand.name, hand.kind) for hand in found] == [
        (process.address, "nervehand virtual hand", "virtual")
    ]


def test_a_scan_without_an_adapter_is_one_clear_error() -> None:
    with pytest.raises(LinkError, match=r"transport tcp-client:127\.0\.0\.1:9 does not open"):
        scan("tcp-client:127.0.0.1:9", 0.1)
    with pytest.raises(NervehandError, match="give a time above 0"):
        scan(None, 0.0)


def test_hands_are_connected_to_by_their_address_alone(process: VirtualHandProcess) -> None:
    with pytest.raises(NervehandError, match="'nervehand virtual hand' is no Bluetooth address"):
        open_hand("virtual:nervehand virtual hand")
    hand = open_hand(
        f"virtual:{process.address.lower()}", HandOptions(process.transport, link_timeout_s=LINK_TIMEOUT_S)
    )
    hand.connect(PATIENCE_S)
    assert hand.link is LinkState.CONNECTED
    hand.close()


@pytest.mark.parametrize("radio", [(), ("--radio", "interval=0.0075")], ids=["perfect air", "radio"])
def test_a_hand_with_a_public_address_is_found_by_it_and_moved(radio: tuple[str, ...]) -> None:
    address = "00:1A:7D:DA:71:13/P"
    with virtual_hand_process(arguments=["--address", address, *radio]) as public:
        assert public.address == address
        wait_for(lambda: [address] == [found.address for found in scan(public.transport, 0.3)])
        hand = open_hand(
            f"virtual:{address.lower()}", HandOptions(public.transport, link_timeout_s=LINK_TIMEOUT_S)
        )
        hand.connect(PATIENCE_S)

        def arrived() -> bool:
            hand.send(six(0.25), time.monotonic_ns())
            state = hand.state
            return state is not None and bool((np.abs(state.positions - 0.25) < 0.01).all())

        wait_for(arrived)
        hand.close()


def test_a_public_address_is_not_given_to_an_adapter_that_has_its_own(process: VirtualHandProcess) -> None:
    command = [sys.executable, "-m", "firmware_bridge.hands.virtual_peripheral"]
    options = ["--adapter", process.transport, "--address", "00:1A:7D:DA:71:13/p"]
    result = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert result.returncode == 2
    assert json.loads(result.stdout)["error"].endswith(
        "a public address is the adapter's own; give a random one"
    )


def test_a_hand_on_an_adapter_of_its_own_is_found_and_moved_like_any_other(
    process: VirtualHandProcess,
) -> None:
    """The adapter is another controller on the same air: real radios were not at hand."""
    address = "F5:4E:48:00:00:02"
    arguments = ["--adapter", process.transport, "--address", address]
    with virtual_hand_process(arguments=arguments) as other:
        assert (other.transport, other.address) == ("", address)
        wait_for(lambda: address in [found.address for found in scan(process.transport, 0.3)])
        hand = VirtualHand(address, process.transport, link_timeout_s=LINK_TIMEOUT_S)
        hand.connect(PATIENCE_S)

        def arrived() -> bool:
            hand.send(six(0.25), time.monotonic_ns())
            return bool((np.abs(reported(hand) - 0.25) < 0.01).all())

        wait_for(arrived)
        hand.close()
