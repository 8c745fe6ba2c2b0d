"""What a daemon is to do, as one frozen model: `DaemonConfig`, whose tables are those of its TOML file.

Each table may be left out, and each key in it; all defaults together are the simulated subject and the virtual hand.
`config_file.py` reads a file, and names line and remedy where it is wrong; `config_text.py` writes one, and says what
each key means (docs/configuration.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from firmware_bridge.hand_config import HandConfig
from nervehand.config_values import (
    CpusChecked,
    FilePath,
    MainsHz,
    Name,
    OwnName,
    Person,
    Priority,
    Signer,
    SourceAddress,
    mebibytes,
    seconds,
)

if TYPE_CHECKING:
    from decoder.bundle import Bundle
    from decoder.decision import DecisionSettings

WORN_BY_NOBODY = ("virtual", "none")
"""The addresses of hands that a daemon brings along."""
WEEK_S = 7 * 86400.0
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Cpus = Annotated[tuple[int, ...], Field(strict=False), CpusChecked]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SourceConfig(_Part):
    """Where samples come from (nervehand.sources); a session begins `start_s` after its first sample."""

    address: SourceAddress = "simulated"
    mains_hz: MainsHz | None = None
    start_s: Annotated[float, seconds(0.0, WEEK_S)] = 0.0


class DecoderConfig(_Part):
    """Which bundle decodes, "" for the demo's, and who may have signed it: nobody in particular where none is named."""

    bundle: FilePath = ""
    any_wearer: Person = ""
    allowed_signers: Annotated[tuple[Signer, ...], Field(strict=False)] = ()
    engine: Literal["auto", "compiled", "onnxruntime", "tensorrt"] = "auto"


class DecisionConfig(_Part):
    """What replaces the bundle's own settings (decoder.decision.DecisionSettings, whose names and units these are)."""

    min_cutoff_hz: float | None = None
    speed_gain: float | None = None
    speed_cutoff_hz: float | None = None
    probability_tau_s: Annotated[float, seconds(0.0, 10.0)] | None = None
    hysteresis: float | None = None
    min_hold_s: Annotated[float, seconds(0.0, 10.0)] | None = None
    reject_below: float | None = None

    @property
    def said(self) -> Mapping[str, float]:
        """What the configuration says, by name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if value is not None}


class ArmingConfig(_Part):
    """Who answers for arming (`as` in a file), and whether the hand is checked first; None: where somebody wears it."""

    arm_as: Annotated[Person, Field(alias="as")] = ""
    check: bool | None = None
    override_check: Person = ""


class GuardConfig(_Part):
    """The guard's name, "" for the daemon's, and the wires that it watches (firmware_bridge.stop_lines)."""

    name: Name = ""
    stop_lines: Texts = ()
    release_lines: Texts = ()


class OverloadConfig(_Part):
    """A backlog of samples beyond `restart_after_s` makes the chain start anew."""

    restart_after_s: Annotated[float, seconds(0.1, 600.0)] = 10.0


class RealtimeConfig(_Part):
    """SCHED_FIFO, processors and locked memory: where the machine allows ("auto"), not at all, or else no start."""

    policy: Literal["auto", "off", "required"] = "auto"
    priority: Priority = 50
    decode_cpus: Cpus = ()
    guard_cpus: Cpus = ()
    lock_memory: bool = True


class RecordingConfig(_Part):
    """Where sessions are recorded, "" for nowhere, how files follow each other, and how much room they may take.

    With `keep` "pinned" an unpinned file goes once it is older than `ring_s`.
    """

    folder: FilePath = ""
    rotate_mib: Annotated[int, mebibytes(1, 2**16)] = 1024
    rotate_s: Annotated[float, seconds(1.0, WEEK_S)] = 3600.0
    budget_mib: Annotated[int, mebibytes(1, 2**26)] = 20480
    reserve_mib: Annotated[int, mebibytes(1, 2**20)] = 256
    keep: Literal["all", "pinned"] = "all"
    ring_s: Annotated[float, seconds(1.0, 86400.0)] = 120.0


class PortConfig(_Part):
    """Where samples, views and requests are served, HOST:PORT, "" for nowhere; beyond the loopback by TLS only.

    Without certificate and key a pair is made that signs itself.
    """

    listen: str = ""
    tls_certificate: FilePath = ""
    tls_key: FilePath = ""


class MetricsConfig(_Part):
    """Where Prometheus may ask, HOST:PORT on the loopback, "" for nowhere."""

    listen: str = ""


class WatchdogConfig(_Part):
    """How long the decode loop may say nothing, in work and while it starts, before the engine is started anew."""

    stall_s: Annotated[float, seconds(0.1, 600.0)] = 5.0
    start_s: Annotated[float, seconds(1.0, 3600.0)] = 60.0


class LogConfig(_Part):
    """How and how much is logged."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


VIRTUAL = HandConfig(address="virtual")


def _with_address(table: object) -> object:
    return {"address": VIRTUAL.address} | table if isinstance(table, dict) else table


class DaemonConfig(_Part):
    """All of it. Paths are absolute where it was read from a file."""

    name: OwnName = "nervehand"
    source: SourceConfig = SourceConfig()
    decoder: DecoderConfig = DecoderConfig()
    decision: DecisionConfig = DecisionConfig()
    hand: Annotated[HandConfig, BeforeValidator(_with_address)] = VIRTUAL
    arming: ArmingConfig = ArmingConfig()
    guard: GuardConfig = GuardConfig()
    overload: OverloadConfig = OverloadConfig()
    realtime: RealtimeConfig = RealtimeConfig()
    recording: RecordingConfig = RecordingConfig()
    port: PortConfig = PortConfig()
    metrics: MetricsConfig = MetricsConfig()
    watchdog: WatchdogConfig = WatchdogConfig()
    log: LogConfig = LogConfig()

    @property
    def is_worn(self) -> bool:
        """Whether the hand is one that somebody may wear, and not one that the daemon brings along."""
        return self.hand.address not in WORN_BY_NOBODY

    @property
    def is_checked(self) -> bool:
        """Whether the hand is checked before it is armed."""
        asked = self.is_worn if self.arming.check is None else self.arming.check
        return asked and not self.arming.override_check

    @property
    def guard_name(self) -> str:
        """What `nervehand stop` and `release` know the guard by."""
        return self.guard.name or self.name

    def decision_for(self, bundle: Bundle) -> DecisionSettings:
        """How a bundle's answers become decided ones: its own settings, where nothing replaces them."""
        return replace(bundle.manifest.decision, **self.decision.said)
