"""A Bluetooth LE connection between its two controllers: what a link layer does with PDUs. No I/O and no clock.

After the Bluetooth Core Specification, volume 6, part B, section 4.5, with these simplifications: a PDU takes no time
on the air, a PDU that is not received ends its connection event, and no event is skipped (latency 0).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Generic, TypeVar

from firmware_bridge.errors import NervehandError

EVENTS_TO_ESTABLISH = 6
"""Connection events within which something must be received, or the connection was never established."""

Pdu = TypeVar("Pdu")


@dataclass(frozen=True, slots=True)
class RadioSettings:
    """How the radio is; checked when made.

    Each PDU, advertisements included, is not received with probability `loss`. An event carries at most
    `pdus_per_event` PDUs in each direction. A controller takes `queue` PDUs of at most `pdu_octets` octets of its
    host. A connection ends where nothing was received for `supervision_s`. What was received comes out up to
    `jitter_s` later (uniform), in its order. `mtu` is the largest ATT MTU that the peripheral agrees to.
    """

    interval_s: float = 0.015
    loss: float = 0.0
    pdus_per_event: int = 4
    queue: int = 12
    supervision_s: float = 0.72
    jitter_s: float = 0.0
    pdu_octets: int = 27
    mtu: int = 247
    seed: int = 0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "interval_s": (0.0075, 4.0),
            "loss": (0.0, 1.0),
            "pdus_per_event": (1, 1000),
            "queue": (1, 255),
            "supervision_s": (0.1, 32.0),
            "jitter_s": (0.0, 10.0),
            "pdu_octets": (27, 251),
            "mtu": (23, 517),
            "seed": (0, math.inf),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise NervehandError(f"radio: {name} is {value}: give {least:g} to {most:g}")
        if not self.supervision_s > 2 * self.interval_s:
            raise NervehandError(
                f"radio: supervision_s is {self.supervision_s}: give more than two intervals of {self.interval_s} s"
            )

    def changed(self, text: str) -> RadioSettings:
        """These, with what `text` says: "interval=0.015,loss=0.3"; `_s` may be left away. '' changes nothing."""
        kinds = {f.name: float if f.type == "float" else int for f in fields(self)}
        found: dict[str, float | int] = {}
        for part in filter(None, text.split(",")):
            key, _, value = part.partition("=")
            name = key if key in kinds else f"{key}_s"
            if name not in kinds:
                known = ", ".join(n.removesuffix("_s") for n in kinds)
                raise NervehandError(f"radio: {key!r} is not known: use {known}")
            try:
                found[name] = kinds[name](value)
            except ValueError:
                raise NervehandError(f"radio: {key} is {value!r}: give a number") from None
        return replace(self, **found)  # type: ignore[arg-type]  # its own fields, each of its own kind


@dataclass(slots=True)
class RadioCounters:
    """Since the radio was made: connection events, PDUs on the air and of them those lost; with data, those that a host
    was given (`delivered`), those that vanished though they were acknowledged, and connections that timed out."""

    events: int = 0
    pdus: int = 0
    lost: int = 0
    delivered: int = 0
    vanished: int = 0
    timed_out: int = 0


@dataclass(slots=True)
class End(Generic[Pdu]):
    """One controller's side of a connection.

    `receive` gets each PDU of the other side once and in order, with the time of its event. `acknowledged` is called
    once for each PDU that this side no longer needs to keep.
    """

    receive: Callable[[Pdu, float], None]
    acknowledged: Callable[[Pdu], None]
    heard_s: float
    is_there: bool = True
    is_established: bool = False
    queue: deque[Pdu] = field(default_factory=deque)
    head_arrived: bool = False
    """The other side has the first PDU of the queue, and this one does not know."""

    def acknowledge(self) -> None:
        """The other side's PDU has told that the first one arrived, where it has."""
        if self.head_arrived:
            self.head_arrived = False
            self.acknowledged(self.queue.popleft())

    def hear(self, at_s: float) -> None:
        self.heard_s = at_s
        self.is_established = True

    def has_timed_out(self, at_s: float, settings: RadioSettings) -> bool:
        """At `at_s`; sooner where nothing was received since the connection began."""
        limit_s = settings.supervision_s
        if not self.is_established:
            limit_s = min(limit_s, EVENTS_TO_ESTABLISH * settings.interval_s)
        return at_s - self.heard_s >= limit_s - 1e-9


class LinkLayer(Generic[Pdu]):
    """A connection: `event` is called at each of its connection events.

    `is_lost` is asked once for each PDU on the air. An empty PDU goes where there is no other, and acknowledges too.
    """

    def __init__(
        self,
        central: End[Pdu],
        peripheral: End[Pdu],
        is_lost: Callable[[], bool],
        counters: RadioCounters | None = None,
    ) -> None:
        self.central = central
        self.peripheral = peripheral
        self._is_lost = is_lost
        self._counters = counters if counters is not None else RadioCounters()

    def event(self, at_s: float, settings: RadioSettings) -> None:
        """The connection event at `at_s`: PDUs in turns, the central first, until one is lost or there is no more."""
        self._counters.events += 1
        for _ in range(settings.pdus_per_event):
            more = len(self.central.queue) > 1 or len(self.peripheral.queue) > 1
            if not self._pass(self.central, self.peripheral, at_s):
                return
            if not self._pass(self.peripheral, self.central, at_s) or not more:
                return

    def _pass(self, sender: End[Pdu], receiver: End[Pdu], at_s: float) -> bool:
        """One PDU; False where it is not received, or not even sent."""
        if not sender.is_there:
            return False
        self._counters.pdus += 1
        if self._is_lost():
            self._counters.lost += 1
            return False
        if not receiver.is_there:
            return False
        receiver.hear(at_s)
        receiver.acknowledge()
        if sender.queue and not sender.head_arrived:
            sender.head_arrived = True
            receiver.receive(sender.queue[0], at_s)
        return True
