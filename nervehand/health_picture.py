"""What channel health makes of a recording, as an SVG: traces, masked spans with their causes, bridged artefacts."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.health import Cause, ChannelHealth, HealthEvent, HealthEventKind, HealthSettings
from decoder.session.model import Session, iter_blocks
from firmware_bridge.errors import NervehandError

_BLOCK_S = 0.01
_LEFT, _TOP, _ROW, _OVERVIEW, _GAP, _CLOSE = 64, 46, 30, 860, 34, 250
_CLOSE_S = 0.006  # on either side of the artefact that is shown close
_CLIP = 0.9  # rows on either side of a channel's middle that a trace may reach
_TRACE, _MASKED, _BRIDGED, _INK = "#1b4f72", "#b03a2e", "#f39c12", "#333333"


@dataclass(frozen=True, slots=True)
class Judged:
    """A stretch of a session: `raw` and `passed` (n, c) microvolts, `mask` (n, c), `cause` (n, c) of the Cause; and
    the artefacts that begin in it. Row 0 is `first_sample`."""

    first_sample: int
    raw: NDArray[np.float32]
    passed: NDArray[np.float32]
    mask: NDArray[np.bool_]
    cause: NDArray[np.int64]
    artefacts: tuple[HealthEvent, ...]

    @property
    def bridged(self) -> NDArray[np.bool_]:
        """The rows (n,) in which something that is not masked was replaced."""
        return np.asarray(((self.passed != self.raw) & ~self.mask).any(1))


def judged(
    session: Session,
    from_s: float = 0.0,
    seconds: float | None = None,
    settings: HealthSettings | None = None,
) -> Judged:
    """Judge a session from its beginning, and keep `seconds` from `from_s` on (None: up to the end).

    Raises NervehandError where the session has nothing there, or samples that were lost.
    """
    rate_hz = session.info.rate_hz
    start = session.first_sample + round(from_s * rate_hz)
    stop = session.first_sample + session.n_samples
    if seconds is not None:
        stop = min(stop, start + round(seconds * rate_hz))
    events: list[HealthEvent] = []
    health = ChannelHealth(session.info, settings, events.append)
    samples, masks, causes = [], [], []
    for block in iter_blocks(session, max(1, round(_BLOCK_S * rate_hz))):
        if block.first_sample - health.delay >= stop:
            break
        if block.lost_before and not health.continues(block.first_sample):
            health.restart()
        found = health.process(block)
        last = found.first_sample + len(found.mask)
        if last <= start:
            continue
        skip, end = max(start - found.first_sample, 0), min(stop - found.first_sample, len(found.mask))
        samples.append(found.samples[skip:end])
        masks.append(found.mask[skip:end])
        causes.append(np.broadcast_to(health.causes, found.mask.shape)[skip:end])
    passed = np.concatenate(samples) if samples else np.empty((0, session.info.n_channels), np.float32)
    if len(passed) < 2:
        raise NervehandError(
            f"the session has no samples from {from_s:g} s on that were judged: choose an earlier time"
        )
    first = start - session.first_sample
    raw = session.microvolts(first, first + len(passed))
    return Judged(
        start,
        np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0),
        passed,
        np.concatenate(masks),
        np.concatenate(causes),
        tuple(
            e
            for e in events
            if e.kind is HealthEventKind.ARTEFACT and start <= e.sample_index < start + len(passed)
        ),
    )


def draw(
    session: Session,
    path: Path,
    from_s: float = 0.0,
    seconds: float | None = None,
    settings: HealthSettings | None = None,
) -> Judged:
    """Write the picture, and return what is in it. Errors: see `judged`."""
    found = judged(session, from_s, seconds, settings)
    path.write_text(_svg(session, found), encoding="utf-8")
    return found


def _svg(session: Session, found: Judged) -> str:
    names, rate_hz = session.info.channel_names, session.info.rate_hz
    n, n_channels = found.raw.shape
    middle_uv, unit_uv = _middle_and_unit(found)
    centred = found.raw - middle_uv
    passed = np.where(found.mask, 0.0, found.passed - middle_uv)
    height = _TOP + n_channels * _ROW + 44
    width = _LEFT + _OVERVIEW + _GAP + _CLOSE + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace, monospace" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    begin_s = (found.first_sample - session.first_sample) / rate_hz
    out.append(
        _text(
            _LEFT, 18, f"{n / rate_hz:g} s of {session.meta.identifier}, from {begin_s:g} s on", weight="bold"
        )
    )
    out += _legend(_LEFT, 34)
    column = np.arange(n) * _OVERVIEW // n
    out += _shades(found, column, n_channels)
    for c in range(n_channels):
        middle = _TOP + (c + 0.5) * _ROW
        out.append(_text(_LEFT - 6, middle + 4, names[c][:8], anchor="end"))
        out += _trace(centred[:, c], found.mask[:, c], column, middle, unit_uv)
    out += _reasons(found, column)
    out.append(_scale(_LEFT, height - 16, n / rate_hz / _OVERVIEW, unit_uv))
    out += _close(found, centred, passed, rate_hz, unit_uv)
    return "\n".join([*out, "</svg>"]) + "\n"


def _middle_and_unit(found: Judged) -> tuple[NDArray[np.float64], float]:
    """Per channel its median (c,), and what the median channel hardly ever exceeds, of what is not masked."""
    middle, reach = np.zeros(found.raw.shape[1]), []
    for c in range(found.raw.shape[1]):
        good = found.passed[~found.mask[:, c], c]
        if len(good):
            middle[c] = np.median(good)
            reach.append(float(np.percentile(np.abs(good - middle[c]), 99.9)))
        else:
            middle[c] = np.median(found.raw[:, c])
    return middle, max(float(np.median(reach)) if reach else 1.0, 1.0)


def _legend(x: float, y: float) -> list[str]:
    out = []
    for colour, what, wide in (
        (_TRACE, "as received", 96),
        (_MASKED, "masked, with its cause", 172),
        (_BRIDGED, "bridged: artefact, stimulation or loss", 0),
    ):
        out.append(f'<rect x="{x}" y="{y - 8}" width="10" height="8" fill="{colour}" fill-opacity="0.7"/>')
        out.append(_text(x + 14, y, what))
        x += 20 + wide
    return out


def _shades(found: Judged, column: NDArray[np.int64], n_channels: int) -> list[str]:
    """Masked spans per channel, and over all channels what was bridged: two pixels wide at least."""
    out = []
    for c in range(n_channels):
        for a, b in _spans(found.mask[:, c]):
            left, right = int(column[a]), int(column[b - 1]) + 1
            out.append(
                f'<rect x="{_LEFT + left}" y="{_TOP + c * _ROW + 1}" width="{max(right - left, 2)}" '
                f'height="{_ROW - 2}" fill="{_MASKED}" fill-opacity="0.22"/>'
            )
    for a, b in _spans(found.bridged):
        left, right = int(column[a]), int(column[b - 1]) + 1
        out.append(
            f'<rect x="{_LEFT + left}" y="{_TOP}" width="{max(right - left, 2)}" '
            f'height="{n_channels * _ROW}" fill="{_BRIDGED}" fill-opacity="0.55"/>'
        )
    return out


def _reasons(found: Judged, column: NDArray[np.int64]) -> list[str]:
    """The cause beside each masked span that is long enough to be read."""
    out = []
    for c in range(found.mask.shape[1]):
        for a, b in _spans(found.mask[:, c]):
            named = found.cause[a:b, c]
            if int(column[b - 1] - column[a]) >= 30 and named.any():
                label = Cause(int(np.bincount(named[named > 0]).argmax())).label
                out.append(_text(_LEFT + int(column[a]) + 3, _TOP + c * _ROW + 11, label, fill=_MASKED))
    return out


def _trace(
    values: NDArray[np.floating],
    mask: NDArray[np.bool_],
    column: NDArray[np.int64],
    middle: float,
    unit_uv: float,
) -> list[str]:
    """The range of each pixel column: one path of those that are not masked, and one of those that are."""
    edges = np.flatnonzero(np.diff(column, prepend=-1))
    low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    scale = 0.45 * _ROW / unit_uv
    y1 = middle - np.clip(high * scale, -_CLIP * _ROW, _CLIP * _ROW)
    y2 = middle - np.clip(low * scale, -_CLIP * _ROW, _CLIP * _ROW)
    out = []
    for chosen, colour, opacity in ((~mask[edges], _TRACE, 0.85), (mask[edges], _MASKED, 0.35)):
        path = "".join(
            f"M{_LEFT + x}.5 {a:.1f}V{max(b, a + 0.4):.1f}"
            for x, a, b in zip(column[edges][chosen], y1[chosen], y2[chosen], strict=True)
        )
        if path:
            out.append(f'<path d="{path}" stroke="{colour}" fill="none" stroke-opacity="{opacity}"/>')
    return out


def _close(
    found: Judged, centred: NDArray[np.floating], passed: NDArray[np.floating], rate_hz: float, unit_uv: float
) -> list[str]:
    """The artefact that hit the most channels: as received, and as it was passed on."""
    x0 = _LEFT + _OVERVIEW + _GAP
    if not found.artefacts:
        return [_text(x0, _TOP + 14, "no artefact")]
    largest = max(found.artefacts, key=lambda e: e.size)
    at, half = largest.sample_index - found.first_sample, max(round(_CLOSE_S * rate_hz), 4)
    rows = slice(max(at - half, 0), min(at + half, len(centred)))
    x = x0 + np.linspace(0, _CLOSE, rows.stop - rows.start)
    ms = (rows.stop - rows.start) / rate_hz * 1e3
    out = [
        _text(x0, 18, f"{ms:.0f} ms around an artefact on {largest.size} channels", weight="bold"),
        _text(x0, 34, "as received, and as passed on"),
    ]
    scale = 0.45 * _ROW / unit_uv
    for c in range(centred.shape[1]):
        middle = _TOP + (c + 0.5) * _ROW
        for values, colour in ((centred, _BRIDGED), (passed, _TRACE)):
            y = middle - np.clip(values[rows, c] * scale, -_CLIP * _ROW, _CLIP * _ROW)
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
            out.append(f'<polyline points="{points}" stroke="{colour}" stroke-width="1.1" fill="none"/>')
    return out


def _scale(x: float, y: float, s_per_pixel: float, unit_uv: float) -> str:
    bar_s = 10.0 ** np.floor(np.log10(s_per_pixel * _OVERVIEW / 2))
    return (
        f'<path d="M{x} {y}h{bar_s / s_per_pixel:.1f}M{x} {y}v{-0.45 * _ROW:.1f}" stroke="{_INK}" fill="none"/>'
        + _text(x + 6, y + 12, f"{bar_s:g} s, {unit_uv:.0f} µV")
    )


def _spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", fill: str = _INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}" '
        'paint-order="stroke" stroke="#ffffff" stroke-width="3">'
        f"{html.escape(text)}</text>"
    )
