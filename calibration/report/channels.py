"""Quality per channel: how loud it is at rest, and how long and why it was not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.report.findings import ChannelFinding
from decoder.bundle import Bundle
from decoder.conditioning import Conditioner
from decoder.health import Cause, ChannelHealth
from decoder.session.model import Session, iter_blocks, runs

_BLOCK_S = 0.01  # a mask's cause is asked for once per block
_AFTER_MOVEMENT_S, _BEFORE_MOVEMENT_S = 0.5, 0.25
_FILTERS_S = 0.5  # after a start: what the filters show is still their own
_ARTEFACT = "artefact"


def channel_quality(session: Session, bundle: Bundle) -> tuple[ChannelFinding, ...]:
    """Judge a whole session as the decoder does.

    Noise is of single channels in the decoder's band, without re-reference, over settled rest (labels 0, 0.5 s after a
    movement and 0.25 s before one; everything where there are no labels), masked samples left out.
    """
    info = session.info
    health = ChannelHealth(info, bundle.health)
    coefficients = replace(bundle.coefficients, rereference="none")
    conditioner = Conditioner(coefficients, info.n_channels)
    resting = settled_rest(session)
    squares, heard = np.zeros(info.n_channels), np.zeros(info.n_channels, np.int64)
    masked = np.zeros((len(Cause), info.n_channels), np.int64)
    last_cause = np.zeros(info.n_channels, np.int64)
    n_judged, trusted_from = 0, session.first_sample + round(_FILTERS_S * info.rate_hz)
    every = np.arange(info.n_channels)
    for block in iter_blocks(session, max(1, round(_BLOCK_S * info.rate_hz))):
        if block.lost_before and not health.continues(block.first_sample):
            health.restart()
            conditioner.reset()
            trusted_from = block.first_sample + round(_FILTERS_S * info.rate_hz)
        found = health.process(block)
        n_judged += len(found.mask)
        if found.mask.any():
            now = health.causes
            last_cause = np.where(now > 0, now, last_cause)
            masked[last_cause, every] += found.mask.sum(0)
        values, mask, first = conditioner.process(found.samples, found.mask, found.first_sample)
        index = (np.arange(first, first + len(values)) + 1) * coefficients.decimation - 1
        use = (index >= trusted_from) & resting[np.clip(index - session.first_sample, 0, len(resting) - 1)]
        there = use[:, None] & ~mask
        squares += np.where(there, np.square(values, dtype=np.float64), 0.0).sum(0)
        heard += there.sum(0)
    noise = np.sqrt(squares / np.maximum(heard, 1))
    return tuple(
        ChannelFinding(
            name,
            float(noise[c]) if heard[c] else None,
            float(masked[:, c].sum() / max(n_judged, 1)),
            {
                _ARTEFACT if cause is Cause.NONE else cause.label: float(masked[cause, c] / n_judged)
                for cause in Cause
                if masked[cause, c]
            },
        )
        for c, name in enumerate(info.channel_names)
    )


def settled_rest(session: Session) -> NDArray[np.bool_]:
    """Samples (n,) of rest that no movement is near; all of them where there is no such rest."""
    n = session.n_samples
    if session.labels is None:
        return np.ones(n, np.bool_)
    settled = np.zeros(n, np.bool_)
    after, before = (
        round(seconds * session.info.rate_hz) for seconds in (_AFTER_MOVEMENT_S, _BEFORE_MOVEMENT_S)
    )
    for label, start, stop in runs(session.labels):
        if label == 0:
            settled[start + (after if start else 0) : max(stop - (before if stop < n else 0), start)] = True
    return settled if settled.any() else np.ones(n, np.bool_)


def typical_noise_uv(channels: Sequence[ChannelFinding]) -> float | None:
    """The median channel's noise; None where none has any."""
    known = [channel.noise_uv for channel in channels if channel.noise_uv is not None]
    return float(np.median(known)) if known else None
