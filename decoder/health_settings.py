"""When a channel is not believed, what is bridged, and how long a decoder waits to know: settings as data.

They travel in a bundle: a decoder runs with the settings that it was trained with. docs/health.md explains them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamKind

RAIL_FRACTION = 0.999
"""Of full scale: at or beyond it a sample is railed."""
FLAT_S, FLAT_SAMPLES = 0.25, 64
"""A value that stays exactly the same this long, and for this many samples, is flat."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Thresholds of ChannelHealth; None: not judged. A value that is not finite is masked under any settings.

    At once, per sample, until the channel was clean for `clean_s`:
    - railed: abs(sample) >= `rail_fraction` of the ADC's full scale, an int16 at either limit, or
      abs(sample) >= `implausible_uv` (no biopotential amplifier delivers it);
    - flat: exactly the same value for `flat_s` and at least `flat_samples` samples.

    Over frames of `frame_s`, where the condition prevails for `sustained_s`, until it was gone for
    `slow_clean_s`, which doubles up to `longest_clean_s` for a channel that comes back within a minute:
    - noisy: its differences from sample to sample are `noisy_ratio` times the array's median, or half of that
      in its quietest moments of some ten seconds;
    - mains: more than `mains_share` of its power at the mains frequency and two harmonics, and these alone
      `mains_ratio` times the array's median level: interference that all channels share is not one's fault;
    - drifting: at its present rate it leaves `drift_fraction` of the amplifier's range within a second;
    - dead: its level follows the array's (slope of their logarithms over some twenty seconds) by less than
      `dead_follows`, for 10 s. Judged only while the array's level moves, by a standard deviation of 0.35, and three
      channels of four follow it by half: where channels go their own ways, a dead one cannot be told from a quiet one.

    Across channels: an artefact is `artefact_ratio` times each channel's own largest level of minutes, first
    reached within 1 ms by `artefact_share` of the channels (and at least 3).

    `delay_s` is the delay line: what artefacts, stimulation (its line's time and `stimulation_tail_s`) and
    losses of up to that spoil is replaced by a straight line. Up to `bridge_s` the channels' means stand in;
    beyond it samples are masked, and a longer loss restarts the chain.
    """

    rail_fraction: float | None = RAIL_FRACTION
    implausible_uv: float = 1e7
    flat_s: float | None = FLAT_S
    flat_samples: int = FLAT_SAMPLES
    clean_s: float = 0.05
    frame_s: float = 0.1
    sustained_s: float = 1.0
    slow_clean_s: float = 2.0
    longest_clean_s: float = 64.0
    noisy_ratio: float | None = 8.0
    mains_share: float | None = 0.7
    mains_ratio: float = 4.0
    drift_fraction: float | None = 0.8
    dead_follows: float | None = 0.1
    artefact_ratio: float | None = 12.0
    artefact_share: float = 0.5
    stimulation_tail_s: float = 0.001
    delay_s: float = 0.002
    bridge_s: float = 0.02

    def __post_init__(self) -> None:
        for name, least in (
            ("implausible_uv", 0.0), ("flat_s", 0.0), ("frame_s", 0.0), ("noisy_ratio", 2.0), ("mains_ratio", 1.0),
            ("dead_follows", 0.0), ("artefact_ratio", 1.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > least:
                raise NervehandError(f"health.{name} is {value}: give more than {least:g}")
        for name in (
            "clean_s", "sustained_s", "slow_clean_s", "stimulation_tail_s", "delay_s", "bridge_s",
        ):  # fmt: skip
            value = getattr(self, name)
            if not 0 <= value <= 3600:
                raise NervehandError(f"health.{name} is {value}: give seconds, 0 or more")
        for name in ("rail_fraction", "mains_share", "drift_fraction", "artefact_share"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise NervehandError(f"health.{name} is {value}: give a fraction in (0, 1]")
        if self.flat_samples < 2:
            raise NervehandError(f"health.flat_samples is {self.flat_samples}: give at least 2")
        if not self.longest_clean_s >= self.slow_clean_s:
            raise NervehandError(
                f"health.longest_clean_s is {self.longest_clean_s}: give at least slow_clean_s, {self.slow_clean_s}"
            )

    def without_masking(self) -> HealthSettings:
        """The same delay line and bridges, but only values that are not finite mask a channel: to compare with."""
        return replace(
            self,
            rail_fraction=None,
            flat_s=None,
            noisy_ratio=None,
            mains_share=None,
            drift_fraction=None,
            dead_follows=None,
        )


def default_health(kind: StreamKind) -> HealthSettings:
    """What a new decoder gets.

    A muscle under one electrode of an armband is 24 times louder than the others for seconds, so noise of an EMG
    begins above that. An envelope has no carrier: no noise, mains or delay; quiet, it may stay constant.
    """
    match kind:
        case "envelope":
            return replace(instant_health(kind), bridge_s=0.02)
        case "emg":
            return HealthSettings(noisy_ratio=32.0)
        case "nerve":
            return HealthSettings()


def instant_health(kind: StreamKind) -> HealthSettings:
    """What decoders without settings of their own were trained with: samples are judged at once, nothing is bridged."""
    bare = replace(HealthSettings().without_masking(), artefact_ratio=None, delay_s=0.0, bridge_s=0.0)
    return replace(bare, rail_fraction=0.999, flat_s=None if kind == "envelope" else 0.25)
