"""Channels that die in the middle of a session, as contacts and leads do: to see what a decoder loses with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoder.session.model import Samples, Session
from firmware_bridge.errors import NervehandError

Cause = Literal["railed", "flat", "noise", "mains"]
CAUSES: tuple[Cause, ...] = ("railed", "flat", "noise", "mains")
NOISE_UV = 100.0
"""r.m.s. of an open contact: an input that floats, tens of times the noise of a sound one."""
MAINS_UV = 1500.0
"""Amplitude of the mains on a lead that has lost its reference, with odd harmonics below it."""
MAINS_HARMONICS = ((1, 1.0), (3, 0.2), (5, 0.08))
RAIL_UV = 32767 * 0.195
"""Where an amplifier saturates when the stream does not say: int16 at 0.195 microvolts per count."""


@dataclass(frozen=True, slots=True)
class ChannelLoss:
    """A channel that is dead from a sample (absolute index) on, and of what."""

    channel: int
    cause: Cause
    from_sample: int


def draw_losses(n_channels: int, n_lost: int, from_sample: int, seed: int) -> tuple[ChannelLoss, ...]:
    """`n_lost` different channels and causes in turn, by seed."""
    if not 0 < n_lost <= n_channels:
        raise NervehandError(f"{n_lost} of {n_channels} channels lost: give 1 to {n_channels}")
    rng = np.random.default_rng([seed, n_channels, n_lost])
    channels = rng.permutation(n_channels)[:n_lost]
    causes = [CAUSES[i] for i in rng.permutation(len(CAUSES))]
    return tuple(
        ChannelLoss(int(channel), causes[i % len(CAUSES)], from_sample) for i, channel in enumerate(channels)
    )


def lose_channels(session: Session, losses: tuple[ChannelLoss, ...], seed: int) -> Session:
    """The session with the samples of each lost channel replaced from its loss on; all others keep their bits."""
    signal: Samples = session.signal[slice(None)].copy()
    rail = session.info.full_scale_uv or RAIL_UV
    for loss in losses:
        row = loss.from_sample - session.first_sample
        if not (0 <= row <= len(signal) and 0 <= loss.channel < signal.shape[1]):
            raise NervehandError(
                f"channel {loss.channel} cannot be lost at sample {loss.from_sample}: the session has"
                f" {signal.shape[1]} channels and {len(signal)} samples from {session.first_sample}"
            )
        dead = _dead(loss, len(signal) - row, session, rail, seed)
        if signal.dtype == np.int16:
            signal[row:, loss.channel] = np.clip(np.rint(dead / session.scale_uv), -32768, 32767)
        else:
            signal[row:, loss.channel] = dead
    return replace(session, signal=signal)


def _dead(loss: ChannelLoss, n: int, session: Session, rail_uv: float, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng([seed, loss.channel])
    match loss.cause:
        case "railed":
            return np.full(n, rail_uv * rng.choice([-1.0, 1.0]))
        case "flat":
            return np.zeros(n)
        case "noise":
            return np.clip(NOISE_UV * rng.standard_normal(n), -rail_uv, rail_uv)
        case "mains":
            turn = 2 * np.pi * (session.info.mains_hz) / session.info.rate_hz
            phase = turn * np.arange(loss.from_sample, loss.from_sample + n) + rng.uniform(0, 2 * np.pi)
            swamped = sum(MAINS_UV * part * np.sin(k * phase) for k, part in MAINS_HARMONICS)
            return np.asarray(swamped + 4.0 * rng.standard_normal(n))
