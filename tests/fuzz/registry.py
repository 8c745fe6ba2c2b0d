"""What is fuzzed: each parser of bytes that come from outside, as a module of tests/fuzz/targets.

A module has `seeds()`, valid input made by our own code, and `check(data)`, which parses any bytes and raises where
something is wrong: any error but the parser's own, an accepted frame that is not the bytes it came from, a buffer that
grows. `covered` are the modules whose branches guide the fuzzer; they are first imported when the target is.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast


class TargetModule(Protocol):
    def seeds(self) -> Iterable[bytes]: ...

    def check(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """`max_len` bytes of input at most; `weight` is its share of the time, against the other targets' weights."""

    name: str
    covered: tuple[str, ...]
    max_len: int = 4096
    weight: float = 1.0

    @property
    def module(self) -> str:
        return f"tests.fuzz.targets.{self.name.replace('-', '_')}"

    def load(self) -> TargetModule:
        return cast(TargetModule, importlib.import_module(self.module))


_SOURCES = "firmware_bridge.sources."
_HANDS = "firmware_bridge.hands."
_SESSION = "decoder.session."
TARGETS = (
    Target("serial-stream", (_SOURCES + "_serial_protocol",), 8192),
    Target("serial-payload", (_SOURCES + "_serial_protocol", _SOURCES + "_serial_description"), 2048),
    Target("intan-waveforms", (_SOURCES + "_intan_protocol",), 8192),
    Target("intan-commands", (_SOURCES + "_intan_protocol", _SOURCES + "_intan_commands"), 2048),
    Target("openephys", (_SOURCES + "_openephys_protocol", _SOURCES + "_openephys_assembly")),
    Target("lsl-description", (_SOURCES + "lsl", _SOURCES + "_units"), 1024, weight=0.5),
    Target("virtual-hand", ("firmware_bridge.hands.virtual_protocol",), 256, weight=0.5),
    Target("hero", (_HANDS + "_hero",), 256, weight=0.5),
    Target("rohand", (_HANDS + "_checked_frames", _HANDS + "_rohand"), 2048, weight=0.5),
    Target("inspire", (_HANDS + "_checked_frames", _HANDS + "_inspire"), 2048, weight=0.5),
    Target(
        "ability-hand",
        tuple(_HANDS + "_ability_" + what for what in ("frames", "stream", "uart", "ble")),
        2048,
    ),
    Target("session-file", (_SESSION + "reader", _SESSION + "layout", _SESSION + "contents"), 4096, weight=2),
    Target("session-header", (_SESSION + "layout",)),
    Target("session-beside", (_SESSION + "sidecar", _SESSION + "journal")),
    Target("session-recover", (_SESSION + "recover", _SESSION + "unclosed"), 512, weight=2),
    Target("bundle", ("decoder.bundle", "decoder.bundle_archive", "decoder.signature"), 1 << 15),
    Target(
        "step-graph",
        ("decoder.engine", "decoder.engines.graph", "decoder.engines.program"),
        1 << 15,
        weight=2,
    ),
    Target("arrays", ("decoder.importers.arrays",), 8192),
)


def chosen(only: str) -> tuple[Target, ...]:
    return tuple(target for target in TARGETS if only in target.name)
