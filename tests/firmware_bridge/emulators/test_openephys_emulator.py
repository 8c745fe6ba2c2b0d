"""How Open Ephys' emulator ends; what it sends is tested with its front-end (tests/firmware_bridge/sources)."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.firmware_bridge.sources import patterned

pytest.importorskip("zmq", reason="the extra openephys (pyzmq) is not installed")

import zmq

from firmware_bridge.emulators import openephys
from firmware_bridge.emulators.openephys import OpenEphysEmulator


def test_it_ends_and_its_ports_are_free_where_zmq_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libzmq does now and then where a connection breaks while it ends."""
    allowed, ended = threading.Event(), threading.Event()
    terminate = zmq.Context.term

    def late(context: object) -> None:
        allowed.wait()
        terminate(context)
        ended.set()

    monkeypatch.setattr(zmq.Context, "term", late)
    monkeypatch.setattr(openephys, "_ENDED_S", 0.05)
    try:
        with OpenEphysEmulator(patterned.info(2), patterned.blocks(None, 2)) as gui:
            pass
        for port in (gui.port, gui.port + 1):
            with socket.create_server(("127.0.0.1", port)):
                pass
        assert not ended.is_set()
    finally:
        allowed.set()
        assert ended.wait(60)
