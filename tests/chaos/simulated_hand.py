"""The emulated virtual hand at the end of a link that passes its real frames, in simulated time, and fails to order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulators.hands.virtual import VirtualDevice
from firmware_bridge.hand import AppliedCommand, HandCapabilities, HandState, LinkState
from firmware_bridge.hands.virtual_protocol import (
    STATE_UUID,
    VIRTUAL_HAND,
    CommandFrame,
    decode_state,
    encode_command,
)
from tests.chaos.world import NS, World

ADVANCE_NS = 10_000_000
INTERVAL_NS = 15_000_000
"""Frames pass at connection events only, as over Bluetooth LE."""
TIMEOUT_NS = 300_000_000
CONNECT_NS = 150_000_000
AGAIN_NS = 100_000_000


class SimulatedHand:
    """A `Hand`: newest position wins, nothing queues, a hand that says nothing for 0.3 s is lost and connected again.

    `is_stopped` is the client's process standing still: what the hand says waits for it. `is_away`: it cannot be
    connected; `is_silent`: what is sent vanishes on the way, in both directions.
    """

    capabilities: HandCapabilities = VIRTUAL_HAND

    def __init__(self, world: World, random: np.random.Generator) -> None:
        self._world, self._random = world, random
        self.device = VirtualDevice(VIRTUAL_HAND, world.now_ns)
        self.is_away = self.is_silent = self.is_stopped = False
        self.jitter_s = 0.0
        self.read_ns: list[int] = []
        self.losses = 0
        self._connection = self._connecting = 0
        self._is_open = False
        self._link = LinkState.DISCONNECTED
        self._state: HandState | None = None
        self._slot: tuple[NDArray[np.float32], int] | None = None
        self._sequence = 0
        self._unheard: deque[Callable[[], None]] = deque()
        self._advance_ns, self._event_ns = world.now_ns, world.now_ns
        self._to_hand_ns = self._to_host_ns = 0
        world.stepping.append(self)

    @property
    def due_ns(self) -> int:
        return min(self._advance_ns, self._event_ns)

    def step(self) -> None:
        """The hand lives on, and a connection event passes."""
        now_ns = self._world.now_ns
        if self._advance_ns <= now_ns:
            self._advance_ns += ADVANCE_NS
            self._heard(self.device.advance(now_ns))
        if self._event_ns <= now_ns:
            self._event_ns += INTERVAL_NS
            self._exchange()

    @property
    def link(self) -> LinkState:
        state = self._state
        if self._link is LinkState.CONNECTED and state is not None:
            return LinkState.LOST if self._world.now_ns - state.reported_ns >= TIMEOUT_NS else self._link
        return self._link

    @property
    def state(self) -> HandState | None:
        return self._state

    def connect(self, timeout_s: float) -> None:
        """Begin to; it is tried for ever."""
        self._is_open = True
        self._link = LinkState.CONNECTING
        self._try_soon(0)

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand:
        applied = np.clip(positions, self.capabilities.lower, self.capabilities.upper)
        if self._link is LinkState.CONNECTED:
            self._slot = (applied, self._world.now_ns)
        return AppliedCommand(applied, applied != positions, now_ns)

    def grip(self, name: str, speed: float, now_ns: int) -> None:
        raise AssertionError("the virtual hand has no grips")

    def close(self) -> None:
        """The client's process is gone, in order or not."""
        self._is_open = False
        self._unheard.clear()
        self.is_stopped = False
        self.disconnect(LinkState.DISCONNECTED)

    def disconnect(self, link: LinkState = LinkState.LOST) -> None:
        """The connection is over, and both sides are told."""
        if self._link is LinkState.CONNECTED:
            self.device.connected(False, self._world.now_ns)
            self.losses += link is LinkState.LOST
        self._link, self._slot = link, None
        self._connecting += 1
        if self._is_open:
            self._try_soon(AGAIN_NS)

    def go_on(self) -> None:
        """After it stood still: it hears what was said meanwhile, now."""
        self.is_stopped = False
        while self._unheard:
            self._unheard.popleft()()

    def _try_soon(self, wait_ns: int) -> None:
        mine = self._connecting

        def try_now() -> None:
            if mine != self._connecting or not self._is_open or self._link is LinkState.CONNECTED:
                return
            if self.is_away or self.is_silent or self.is_stopped:
                self._try_soon(AGAIN_NS)
                return
            now_ns = self._world.now_ns
            self._connection += 1
            self.device.connected(True, now_ns)
            data = self.device.read(STATE_UUID, now_ns)
            self._world.at(now_ns + INTERVAL_NS, lambda: up(data))

        def up(data: bytes) -> None:
            if mine != self._connecting:  # it was cut off before it was up
                self.device.connected(False, self._world.now_ns)
                return
            self._link, self._state = LinkState.CONNECTED, None
            self._take(data)

        self._world.at(self._world.now_ns + wait_ns + CONNECT_NS, try_now)

    def _take(self, data: bytes) -> None:
        """A state that has come to the client."""
        said, now_ns = decode_state(data), self._world.now_ns
        if self._state is None:
            self.read_ns.append(now_ns)
        self._sequence = max(self._sequence, said.sequence)
        fault = "the hand reports a fault" if said.fault else ""
        self._state = HandState(
            said.positions, now_ns, said.watchdog_tripped, fault, said.hot, said.stalled,
            connection=self._connection,
        )  # fmt: skip

    def _exchange(self) -> None:
        if self._link is not LinkState.CONNECTED or self.is_stopped:
            return
        if self.link is LinkState.LOST:
            self.disconnect()
            return
        slot, self._slot = self._slot, None
        self._sequence = (self._sequence + 1) % 65536
        positions, sent_ns = (None, self._world.now_ns) if slot is None else slot
        frame = encode_command(CommandFrame(self._sequence, positions, sent_ns // 1_000_000 % 65536))
        mine = self._connection

        def come() -> None:
            if self._link is LinkState.CONNECTED and mine == self._connection and not self.is_silent:
                self._heard(self.device.receive(frame, self._world.now_ns))

        self._to_hand_ns = max(self._to_hand_ns, self._world.now_ns + self._delay_ns())
        self._world.at(self._to_hand_ns, come)

    def _heard(self, frames: list[bytes]) -> None:
        """The hand has said this; it is on its way."""
        if self._link is not LinkState.CONNECTED or self.is_silent:
            return
        mine = self._connection
        for frame in frames:

            def come(frame: bytes = frame) -> None:
                if self._link is not LinkState.CONNECTED or mine != self._connection:
                    return
                if self.is_stopped:
                    self._unheard.append(lambda: come(frame))
                elif self._state is not None:
                    self._take(frame)

            self._to_host_ns = max(self._to_host_ns, self._world.now_ns + self._delay_ns())
            self._world.at(self._to_host_ns, come)

    def _delay_ns(self) -> int:
        return 1_000_000 + round(self._random.uniform(0, self.jitter_s) * NS)
