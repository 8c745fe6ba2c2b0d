"""The virtual hand over Bluetooth LE: a `Hand` whose link runs in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakError
from numpy.typing import NDArray

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hand import N_DOF, AppliedCommand, HandCapabilities, HandState, LinkState
from firmware_bridge.hands import virtual_protocol as protocol

NS = 1_000_000_000
logger = logging.getLogger(__name__)
MAX_UNACKNOWLEDGED = 8
"""Frames that may be on their way; while they are, a newer position replaces the one that waits."""
PING_S = 0.1
BACKOFF_S = (0.05, 0.5)
ATTEMPT_S = {True: 2.0, False: 10.0}
"""How long one attempt to connect may take, with and without a simulated or directly driven radio."""
ROUND_TRIPS_KEPT = 4096


@dataclass(slots=True)
class LinkCounters:
    """What happened since the hand was made: positions in `submitted` and `dropped`, frames elsewhere."""

    submitted: int = 0
    dropped: int = 0
    sent: int = 0
    acknowledged: int = 0
    bad_frames: int = 0
    connections: int = 0
    losses: int = 0


class VirtualHand:
    """The hand at `address`; `transport` is a Bumble moniker, or None for the system's own adapter.

    The link counts as lost when the hand has not notified its state, or not acknowledged a frame, for
    `link_timeout_s`: a write without response succeeds on a dead link too. It is then connected again by
    itself, with pauses of 0.05 s to 0.5 s. A ping goes out where no position did for 0.1 s.
    """

    def __init__(
        self,
        address: str,
        transport: str | None = None,
        capabilities: HandCapabilities = protocol.VIRTUAL_HAND,
        link_timeout_s: float = 0.3,
    ) -> None:
        self._address = address
        self._transport = transport
        self._capabilities = capabilities
        self._link_timeout_s = link_timeout_s
        self.counters = LinkCounters()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.new_event_loop()
        self._loop.close()
        self._closing = asyncio.Event()
        self._wake = asyncio.Event()
        self._changed = threading.Condition()
        self._link = LinkState.DISCONNECTED
        self._state: HandState | None = None
        self._failure = ""
        self._refused = False
        self._lock = threading.Lock()
        self._slot: NDArray[np.float32] | None = None
        self._sequence = 0
        self._in_flight: deque[tuple[int, int, bool]] = deque()
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIPS_KEPT)

    @property
    def capabilities(self) -> HandCapabilities:
        return self._capabilities

    @property
    def link(self) -> LinkState:
        """Judged at the moment of the call: LOST too where the link's own thread has not noticed yet."""
        state = self._state
        if self._link is LinkState.CONNECTED and (
            state is None or time.monotonic_ns() - state.reported_ns >= self._link_timeout_s * NS
        ):
            return LinkState.LOST
        return self._link

    @property
    def state(self) -> HandState | None:
        """The newest report, with host times of `time.monotonic_ns`; None before the first."""
        return self._state

    def round_trips_s(self) -> NDArray[np.float64]:
        """Seconds from the write of a position to the notification that acknowledges it, the last 4096."""
        return np.array(self._round_trips.copy(), dtype=np.float64)

    def connect(self, timeout_s: float) -> None:
        """Connect and wait for the first report and acknowledgement; LinkError if they do not come."""
        if self._thread is None:
            self._loop = asyncio.new_event_loop()
            self._closing, self._wake = asyncio.Event(), asyncio.Event()
            self._refused = False
            self._set_link(LinkState.CONNECTING)
            self._thread = threading.Thread(target=self._main, name="virtual hand link", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._link is LinkState.CONNECTED or self._refused, timeout_s)
            if self._link is LinkState.CONNECTED:
                return
        failure = self._failure or "it does not answer: check that it is on and near"
        self.close()
        raise LinkError(f"no connection to the hand at {self._address} within {timeout_s} s: {failure}")

    def send(self, positions: NDArray[np.float32], now_ns: int) -> AppliedCommand:
        """Hand the newest positions (6,) to the link and return at once what the hand can do of them.

        Positions that the link did not take yet are replaced and counted as dropped; without a link, all are.
        """
        if positions.shape != (N_DOF,) or not np.isfinite(positions).all():
            raise NervehandError(f"positions are {positions.tolist()}: give {N_DOF} finite numbers")
        applied = np.clip(positions, self._capabilities.lower, self._capabilities.upper)
        with self._lock:
            self.counters.submitted += 1
            if self._link is not LinkState.CONNECTED:
                self.counters.dropped += 1
            else:
                waiting = self._slot is not None
                self.counters.dropped += waiting
                self._slot = applied
                if not waiting:
                    self._loop.call_soon_threadsafe(self._wake.set)
        return AppliedCommand(applied, applied != positions, now_ns)

    def close(self) -> None:
        """End the link and its thread; may be called again. A closed hand can be connected anew."""
        if self._thread is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._thread = None

    # What follows runs in the link's own thread.

    def _set_link(self, link: LinkState) -> None:
        with self._changed, self._lock:
            self._link = link
            if link is not LinkState.CONNECTED and self._slot is not None:
                self._slot = None
                self.counters.dropped += 1
            self._changed.notify_all()

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._set_link(LinkState.DISCONNECTED)
            self._loop.close()

    async def _run(self) -> None:
        """One session after the other until closed."""
        closing = asyncio.create_task(self._closing.wait())
        pause_s = BACKOFF_S[0]
        while not closing.done():
            session = asyncio.create_task(self._session())
            await asyncio.wait({session, closing}, return_when=asyncio.FIRST_COMPLETED)
            session.cancel()
            try:
                await session
            except asyncio.CancelledError:
                if closing.done():
                    break
                # Not ours: Bumble cancels what still waits for an answer when a connection ends.
                self._failure = "the connection ended while it was set up"
            except (BleakError, NervehandError, OSError) as error:
                self._failure = str(error)
            except Exception as error:  # whatever it was, a hand without a link must be tried again
                logger.exception("the link to the hand failed")
                self._failure = repr(error)
            if self._link is LinkState.CONNECTED:
                self.counters.losses += 1
                self._set_link(LinkState.LOST)
                pause_s = BACKOFF_S[0]
            if self._refused:
                break
            await asyncio.wait({closing}, timeout=pause_s)
            pause_s = min(2 * pause_s, BACKOFF_S[1])

    def _client(self) -> BleakClient:
        timeout_s = ATTEMPT_S[self._transport is not None]
        if self._transport is None:
            return BleakClient(self._address, lambda _: self._wake.set(), timeout=timeout_s)
        from firmware_bridge.bumble_backend import BumbleBackend  # a real adapter needs no Bumble

        return BleakClient(
            self._address,
            lambda _: self._wake.set(),
            timeout=timeout_s,
            backend=BumbleBackend,
            transport=self._transport,
        )

    async def _session(self) -> None:
        """Connect, read what the hand is and where it stands, then pass positions on until the link ends."""
        client = self._client()
        try:
            await client.connect()
            self._check(bytes(await client.read_gatt_char(protocol.INFO_UUID)))
            self._in_flight.clear()
            report = protocol.decode_state(bytes(await client.read_gatt_char(protocol.STATE_UUID)))
            self._sequence = report.sequence
            await client.start_notify(protocol.STATE_UUID, self._on_state)
            await self._pass_on(client)
        finally:
            await client.disconnect()

    def _check(self, info: bytes) -> None:
        """Refuse a hand that is not the one described: its limits would be wrong."""
        try:
            found = protocol.decode_info(info, self._capabilities.source)
        except protocol.FrameError as error:
            self._refuse(str(error))
        if protocol.encode_info(found) != protocol.encode_info(self._capabilities):
            self._refuse(f"it says that it is {found}, not {self._capabilities}: use the right capabilities")

    def _refuse(self, why: str) -> NoReturn:
        with self._changed:
            self._refused = True
            self._failure = why
            self._changed.notify_all()
        raise LinkError(why)

    async def _pass_on(self, client: BleakClient) -> None:
        """Write the newest position whenever there is one, else a ping; LinkError once the hand is silent."""
        command = client.services.get_characteristic(protocol.COMMAND_UUID)
        if command is None:
            self._refuse(f"it has no characteristic {protocol.COMMAND_UUID}")
        started_ns = wrote_ns = time.monotonic_ns()
        await self._write(client, command, None)
        while client.is_connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(PING_S, self._link_timeout_s) / 4):
                    await self._wake.wait()
            self._wake.clear()
            now_ns = time.monotonic_ns()
            heard_ns = started_ns if self._state is None else max(started_ns, self._state.reported_ns)
            asked_ns = self._in_flight[0][1] if self._in_flight else now_ns
            if now_ns - min(heard_ns, asked_ns) >= self._link_timeout_s * NS:
                raise LinkError(f"the hand at {self._address} has been silent for {self._link_timeout_s} s")
            if len(self._in_flight) >= MAX_UNACKNOWLEDGED:
                continue
            with self._lock:
                positions, self._slot = self._slot, None
            if positions is not None or now_ns - wrote_ns >= PING_S * NS:
                wrote_ns = now_ns
                await self._write(client, command, positions)
        raise LinkError(f"the hand at {self._address} has disconnected")

    async def _write(
        self, client: BleakClient, command: BleakGATTCharacteristic, positions: NDArray[np.float32] | None
    ) -> None:
        self._sequence = (self._sequence + 1) % 65536
        frame = protocol.encode_command(protocol.CommandFrame(self._sequence, positions))
        self._in_flight.append((self._sequence, time.monotonic_ns(), positions is not None))
        self.counters.sent += 1
        await client.write_gatt_char(command, frame, response=False)

    def _on_state(self, _characteristic: BleakGATTCharacteristic, data: bytearray) -> None:
        now_ns = time.monotonic_ns()
        try:
            report = protocol.decode_state(bytes(data))
        except protocol.FrameError:
            self.counters.bad_frames += 1
            return
        fault = "the hand reports a fault" if report.fault else ""
        self._state = HandState(report.positions, now_ns, report.watchdog_tripped, fault)
        if report.sequence not in (sequence for sequence, _, _ in self._in_flight):
            return
        while True:
            sequence, written_ns, is_position = self._in_flight.popleft()
            if sequence == report.sequence:
                break
        self.counters.acknowledged += 1
        if is_position:
            self._round_trips.append((now_ns - written_ns) / NS)
        if self._link is not LinkState.CONNECTED:
            self.counters.connections += 1
            self._set_link(LinkState.CONNECTED)
        if self._slot is not None:
            self._wake.set()
