"""Signals, joints and curves as SVG: text that a page shows, made once for all pages that show it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from firmware_bridge.hand import DOF_NAMES
from nervehand.console.style import ACCENT, COLOURS, GREEN, INK, LINE, MUTED, UNKNOWN
from nervehand.console.texts import say
from nervehand.console.views import ChannelSeen, Six

ROW = 50
"""The height of a channel's row, in the picture's units."""
_NAME = 70
_TRACE = 795
_LEVEL = 140
_WANDER = 15
"""Columns: what changes more slowly is no signal of a nerve."""
WIDTH = _NAME + _TRACE + _LEVEL


def signals_svg(channels: Sequence[ChannelSeen], columns: int) -> str:
    """Each channel a row: its name, a band from lowest to highest of each of the newest `columns`, and its level.

    A masked one is grey, with the reason. All rows share one scale, so that a loud channel looks loud.
    """
    channels = [still(channel) for channel in channels]
    height = ROW * max(len(channels), 1)
    scale = _scale(channels)
    rows = "".join(_row(channel, i, columns, scale) for i, channel in enumerate(channels))
    label = html.escape(say("live.signals_described", channels=len(channels)))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" class="nh-signals" role="img" aria-label="{label}">{rows}</svg>'
    )


def still(channel: ChannelSeen) -> ChannelSeen:
    """Without the slow wander of an electrode, which would carry its band out of the row."""
    n = len(channel.low_uv)
    if n < 2 or n != len(channel.high_uv):
        return channel
    low, high = np.nan_to_num(np.array(channel.low_uv)), np.nan_to_num(np.array(channel.high_uv))
    around = np.ones(min(_WANDER, n))
    wander = np.convolve((low + high) / 2, around, "same") / np.convolve(np.ones(n), around, "same")
    return replace(channel, low_uv=tuple((low - wander).tolist()), high_uv=tuple((high - wander).tolist()))


def _scale(channels: Sequence[ChannelSeen]) -> float:
    heights = [
        np.median(np.nan_to_num(np.subtract(c.high_uv, c.low_uv)))
        for c in channels
        if c.low_uv and c.high_uv and not c.masked
    ]
    return max(float(np.nanmedian(heights)) * 1.6, 1.0) if heights else 1.0


def _row(channel: ChannelSeen, i: int, columns: int, scale: float) -> str:
    middle = ROW * i + ROW / 2
    name = html.escape(channel.name)
    parts = [
        f'<line x1="{_NAME}" x2="{_NAME + _TRACE}" y1="{middle}" y2="{middle}" stroke="{LINE}"/>',
        f'<text x="0" y="{middle + 8}" class="nh-svg-name">{name}</text>',
    ]
    colour = UNKNOWN if channel.masked else ACCENT
    band = band_path(channel.low_uv, channel.high_uv, columns, middle, scale)
    if band:
        opacity = 0.35 if channel.masked else 1
        parts.append(f'<path d="{band}" fill="{colour}" stroke="{colour}" opacity="{opacity}"/>')
    end = _NAME + _TRACE + 12
    if channel.masked:
        reason = html.escape(channel.masked)
        parts.append(f'<text x="{_NAME + 12}" y="{middle + 8}" class="nh-svg-masked">{reason}</text>')
    elif math.isfinite(channel.level_uv):
        parts.append(
            f'<text x="{end}" y="{middle + 8}" class="nh-svg-level">{channel.level_uv:.1f} µV</text>'
        )
    return "".join(parts)


def band_path(
    low: Sequence[float], high: Sequence[float], columns: int, middle: float, scale: float, left: float = _NAME,
    width: float = _TRACE, row: float = ROW,
) -> str:  # fmt: skip
    """The outline of a band whose newest column is at the right edge; "" where there is nothing of it."""
    n = min(len(low), len(high), columns)
    if n < 2:
        return ""
    step = width / (columns - 1)
    half = row / 2 - 2
    tops = middle - np.clip(np.nan_to_num(np.array(high[-n:])) / scale * half, -half, half)
    bottoms = middle - np.clip(np.nan_to_num(np.array(low[-n:])) / scale * half, -half, half)
    ys = np.rint(np.concatenate((tops, bottoms[::-1]))).astype(int)
    downs = np.diff(ys).tolist()
    # Relative and whole steps: half the bytes of places, for every page several times a second.
    forth = "".join(f"l{step:g} {down}" for down in downs[: n - 1])
    back = "".join(f"l{-step:g} {down}" for down in downs[n:])
    return f"M{left + width - step * (n - 1):g} {ys[0]}{forth}l0 {downs[n - 1]}{back}Z"


_BAR_ROW = 44


def joints_svg(decoded: Six, other: Six, hand: Six, certainty: str, other_key: str) -> str:
    """The six joints from extension to flexion: a bar for the decoder, a line for the target, a ring for the hand."""
    left, width = 84, 280
    middle = left + width / 2
    parts = []
    for i, dof in enumerate(DOF_NAMES):
        y = _BAR_ROW * i + _BAR_ROW / 2
        parts.append(f'<text x="0" y="{y + 6}" class="nh-svg-dof">{html.escape(say(f"dof.{dof}"))}</text>')
        parts.append(
            f'<rect x="{left}" y="{y - 12}" width="{width}" height="24" rx="4" class="nh-svg-rail"/>'
        )
        value = decoded[i]
        if math.isfinite(value):
            reach = min(max(value, -1.0), 1.0) * width / 2
            parts.append(
                f'<rect x="{min(middle, middle + reach):.1f}" y="{y - 9}" width="{abs(reach):.1f}" height="18" '
                f'fill="{COLOURS[certainty]}"/>'
            )
        parts.append(f'<line x1="{middle}" x2="{middle}" y1="{y - 14}" y2="{y + 14}" stroke="{MUTED}"/>')
        if math.isfinite(other[i]):
            x = middle + min(max(other[i], -1.0), 1.0) * width / 2
            parts.append(f'<rect x="{x - 3:.1f}" y="{y - 16}" width="6" height="32" rx="2" fill="{INK}"/>')
        if math.isfinite(hand[i]):
            x = middle + min(max(hand[i], -1.0), 1.0) * width / 2
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y}" r="7" fill="#fff" stroke="{GREEN}" stroke-width="4"/>'
            )
        text = f"{value:+.2f}" if math.isfinite(value) else "–"
        parts.append(f'<text x="{left + width + 12}" y="{y + 6}" class="nh-svg-value">{text}</text>')
    label = html.escape(say("live.joints_described", other=say(other_key)))
    height = _BAR_ROW * len(DOF_NAMES)
    return f'<svg viewBox="0 0 440 {height}" class="nh-joints" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def ring_svg(left_s: float | None, phase_s: float | None, text: str) -> str:
    """A count-down: a ring that empties, and how many seconds are left in its middle."""
    share = 0.0 if left_s is None or not phase_s else min(max(left_s / phase_s, 0.0), 1.0)
    around = 2 * math.pi * 52
    number = "" if left_s is None else f"{math.ceil(max(left_s, 0.0)):d}"
    return (
        f'<svg viewBox="0 0 120 120" class="nh-ring" role="timer" aria-label="{html.escape(text)}">'
        f'<circle cx="60" cy="60" r="52" fill="none" stroke="{LINE}" stroke-width="12"/>'
        f'<circle cx="60" cy="60" r="52" fill="none" stroke="{ACCENT}" stroke-width="12" '
        f'stroke-dasharray="{around * share:.1f} {around:.1f}" transform="rotate(-90 60 60)"/>'
        f'<text x="60" y="74" text-anchor="middle" class="nh-svg-count">{number}</text></svg>'
    )


def curve_svg(values: Sequence[float | None], title: str) -> str:
    """A learning curve: a score in 0..1 by round, from 0.5 up."""
    width, height, left, top, bottom = 440, 190, 48, 12, 150
    parts = []
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        y = bottom - (share - 0.5) / 0.5 * (bottom - top)
        parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y + 5:.1f}" text-anchor="end" class="nh-svg-axis">{share:.0%}</text>'
        )
    step = (width - left - 40) / max(len(values) - 1, 3)
    points = []
    for i, value in enumerate(values):
        x = left + 16 + i * step
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 24}" text-anchor="middle" class="nh-svg-axis">{i + 1}</text>'
        )
        if value is not None:
            y = bottom - (min(max(value, 0.5), 1.0) - 0.5) / 0.5 * (bottom - top)
            points.append((x, y))
    if len(points) > 1:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{ACCENT}" stroke-width="3"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{ACCENT}"/>' for x, y in points]
    label = html.escape(title)
    head = f'<svg viewBox="0 0 {width} {height}" class="nh-curve" role="img" aria-label="{label}">'
    return head + "".join(parts) + "</svg>"
