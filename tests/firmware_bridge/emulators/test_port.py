"""A TCP port of an emulated device, kept while it does not listen."""

from __future__ import annotations

import contextlib
import select
import threading

from firmware_bridge.emulators._port import Port


def test_a_port_listens_again_at_once_also_while_another_thread_waits_for_its_clients() -> None:
    port, over = Port(), threading.Event()

    def wait() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                select.select(port.sockets(), [], [], 0.02)

    port.listen()
    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    try:
        for _ in range(20):
            over.wait(0.003)  # the other thread is in its wait by then, nearly always
            port.stop_listening()
            port.listen()
    finally:
        over.set()
        waiter.join()
        port.close()
