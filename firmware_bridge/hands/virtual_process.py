"""Starts the virtual hand in its own process, and ends it for sure."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from firmware_bridge.errors import LinkError


@dataclass(frozen=True, slots=True)
class VirtualHandProcess:
    """A running virtual hand: `transport` is where its simulated radio is reached ("" where it advertises on an
    adapter), `address` its Bluetooth address."""

    transport: str
    address: str
    process: subprocess.Popen[bytes]

    def order(self, order: str) -> None:
        """Make something happen to the hand, one of the orders in docs/virtual-hand.md."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(order.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise LinkError("the virtual hand has ended: nothing can be ordered any more") from error

    def kill(self) -> None:
        """End the process at once, as a hand whose battery is pulled out."""
        self.process.kill()
        self.process.wait()


@contextmanager
def virtual_hand_process(
    port: int = 0, timeout_s: float = 60.0, arguments: Sequence[str] = ()
) -> Iterator[VirtualHandProcess]:
    """The virtual hand, advertising on 127.0.0.1 until the block is left; `arguments` are more for its command line.

    The hand also ends when this process does, however it ends, because its standard input closes then. It is
    kept out of the terminal's process group, so that Ctrl-C leaves time for a release. LinkError if it does
    not start.
    """
    command = [sys.executable, "-m", "firmware_bridge.hands.virtual_peripheral", "--until-stdin-closes"]
    process = subprocess.Popen(
        [*command, "--port", str(port), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], timeout_s)
        line = process.stdout.readline() if ready else b""
        if not line:
            why = "its own message is above" if ready else f"it says nothing for {timeout_s:g} s"
            process.kill()
            raise LinkError(f"the virtual hand did not start (exit status {process.wait()}): {why}")
        started = json.loads(line)
        if "error" in started:
            raise LinkError(f"the virtual hand did not start: {started['error']}")
        transport = f"tcp-client:127.0.0.1:{started['port']}" if "port" in started else ""
        yield VirtualHandProcess(transport, started["address"], process)
    finally:
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            process.stdin.close()
        try:
            process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
