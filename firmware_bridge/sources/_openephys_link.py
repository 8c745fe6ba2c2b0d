"""The ZMQ sockets to Open Ephys: subscribed to its data, and asking now and then whether it is there."""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid

import zmq

from firmware_bridge.errors import SourceLostError
from firmware_bridge.sources._interrupt import Interrupt, Patience
from firmware_bridge.sources._openephys_protocol import MAX_PART_BYTES

_QUEUE_MESSAGES = 4096
"""Messages that wait to be read at most: five seconds of 16 channels in blocks of 20 ms."""
_NEVER_MS = 2**31 - 1
"""Reconnecting switched off (-1) ends the process where a connection breaks within a message that is being read:
libzmq 4.3, "Assertion failed: !_more (src/fq.cpp:80)". Put off for ever, it does not."""
_HEARTBEAT_S = 2.0
_BROKEN = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class OpenEphysLink:
    """One subscription, from its first message on; nothing published before is delivered. `close` may come from any
    thread. It does not reconnect by itself: a connection that breaks is said."""

    def __init__(self, host: str, port: int, interrupt: Interrupt) -> None:
        self._interrupt, self._address = interrupt, f"{host}:{port}"
        self._lock = threading.Lock()
        self._data = _shared_context().socket(zmq.SUB)
        self._data.setsockopt(zmq.LINGER, 0)
        self._data.setsockopt(zmq.RCVHWM, _QUEUE_MESSAGES)
        self._data.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        self._data.setsockopt(zmq.RECONNECT_IVL, _NEVER_MS)
        self._data.setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = self._data.get_monitor_socket(_BROKEN)
        _received(self._monitor)  # only one that was found empty says by its file that something came
        self._heartbeat = heartbeat_socket()
        self._files = (self._data.fileno(), self._monitor.fileno())
        self._uuid = str(uuid.uuid4())
        self._next_heartbeat_s = 0.0
        self._has_answered = False
        self._end: bytes | None = None  # the event that ended the connection
        self._is_closed = False
        try:
            self._data.connect(f"tcp://{host}:{port}")
            self._heartbeat.connect(f"tcp://{host}:{port + 1}")
        except zmq.ZMQError:
            self.close()
            raise

    def receive(self, patience: Patience) -> list[bytes] | None:
        """The parts of the next message, waiting for it as long as `patience` lasts.

        None where the link was closed here. Raises SourceLostError where it broke or nothing came in time.
        """
        has_waited = False
        while True:
            with self._lock:
                if self._is_closed or self._interrupt.is_set:
                    return None
                # Asked before the data: what came before the end is there once the end is known.
                event = _received(self._monitor) if has_waited and self._end is None else None
                if event is not None:
                    self._end = event[0]
                parts = _received(self._data)
                if parts is not None:
                    return parts
                if self._end is not None:
                    raise SourceLostError(self._broken(self._end))
                if time.monotonic() >= self._next_heartbeat_s:
                    self._beat()
            if not patience.wait_readable(self._interrupt, self._files):
                with self._lock:
                    raise SourceLostError(self._silence())
            has_waited = True

    def close(self) -> None:
        """Let everything go, at once; also where it is gone already."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._data.disable_monitor()
                for one in (self._monitor, self._data, self._heartbeat):
                    one.close(linger=0)

    def _beat(self) -> None:
        """Open Ephys lists who beats every few seconds; it answers even where it acquires nothing."""
        self._hear_answer()
        self._next_heartbeat_s = time.monotonic() + _HEARTBEAT_S
        send_heartbeat(self._heartbeat, self._uuid)

    def _hear_answer(self) -> None:
        if not self._is_closed and _received(self._heartbeat) is not None:
            self._has_answered = True

    def _broken(self, event: bytes) -> str:
        if int.from_bytes(event[:2], sys.byteorder) == zmq.EVENT_CLOSED:  # before it was open
            return f"nothing listens at {self._address}: start Open Ephys with a ZMQ Interface in its signal chain"
        return f"the connection to Open Ephys at {self._address} broke: connect again"

    def _silence(self) -> str:
        self._hear_answer()
        if self._has_answered:
            return (
                f"Open Ephys at {self._address} sends no samples: start its acquisition, then connect again"
            )
        return (
            f"nothing comes from {self._address}: start Open Ephys with a ZMQ Interface in its signal chain, "
            "and its acquisition"
        )


def _shared_context() -> zmq.Context[zmq.Socket[bytes]]:
    """The one of the process. One of its own, dropped unclosed, would wait for its sockets, which are collected later,
    and never end."""
    return zmq.Context.instance()


def heartbeat_socket() -> zmq.Socket[bytes]:
    """A REQ socket that may ask again where an answer did not come."""
    heartbeat = _shared_context().socket(zmq.REQ)
    heartbeat.setsockopt(zmq.REQ_RELAXED, 1)
    heartbeat.setsockopt(zmq.REQ_CORRELATE, 1)
    heartbeat.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
    heartbeat.setsockopt(zmq.LINGER, 0)
    return heartbeat


def send_heartbeat(heartbeat: zmq.Socket[bytes], identity: str) -> None:
    """Ask whether Open Ephys is there; nothing happens where it cannot be asked now."""
    beat = {"application": "nervehand", "uuid": identity, "type": "heartbeat"}
    try:
        heartbeat.send(json.dumps(beat).encode("ascii"), zmq.DONTWAIT)
    except zmq.Again:
        return  # not connected (yet)


def _received(link: zmq.Socket[bytes]) -> list[bytes] | None:
    """The next message that is there; None where none is."""
    try:
        return link.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return None
    except zmq.ZMQError as error:
        if error.errno == zmq.EFSM:  # nothing was asked
            return None
        raise
