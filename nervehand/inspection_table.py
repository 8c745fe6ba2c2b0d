"""What `nervehand inspect` found, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nervehand.inspecting import Mains
from nervehand.inspection import Inspection, inspect, remarks
from nervehand.output import print_json, saying
from nervehand.stopping import stop_on_signals

MOST_ROWS = 32
"""Channels up to here have a row each; of more, the range and the most conspicuous are shown."""
_CONSPICUOUS = 8
_NAME_WIDTH = 12


def inspection_json(found: Inspection) -> dict[str, object]:
    """Everything, units in the keys; None where a value could not be told."""
    info, channels = found.info, found.channels
    rate = found.rate
    return {
        "source": found.address,
        "kind": info.kind,
        "rate_nominal_hz": info.rate_hz,
        "rate_measured_hz": None if rate is None else round(rate.rate_hz, 3),
        "rate_uncertainty_hz": None if rate is None else round(rate.uncertainty_hz, 3),
        "rate_agrees": None if rate is None else rate.agrees_with(info.rate_hz),
        "rate_note": found.rate_note,
        "full_scale_uv": info.full_scale_uv,
        "hardware_band_hz": info.hardware_band_hz,
        "mains_declared_hz": None if info.kind == "envelope" else info.mains_hz,
        "stimulation_lines": info.stimulation_lines,
        "blocks": found.blocks,
        "samples": found.samples,
        "block_samples_p50": found.block_samples_p50,
        "block_samples_max": found.block_samples_max,
        "lateness_p50_ms": None if rate is None else round(rate.lateness_p50_ms, 3),
        "lateness_p99_ms": None if rate is None else round(rate.lateness_p99_ms, 3),
        "gaps": found.gaps,
        "lost_samples": found.lost_samples,
        "link": None if found.counters is None else asdict(found.counters),
        "noise_band_hz": found.band_hz,
        "channels_seconds": round(found.kept_s, 3),
        "channels": [
            {
                "name": name,
                "electrode": info.electrodes[c] if info.electrodes else "",
                "offset_uv": _rounded(channels.offset_uv[c]),
                "noise_uv": _rounded(channels.noise_uv[c]),
                "robust_noise_uv": _rounded(channels.robust_noise_uv[c]),
                **{f"mains_{m.frequency_hz:g}hz_uv": _rounded(m.amplitude_uv[c]) for m in channels.mains},
                **{f"mains_{m.frequency_hz:g}hz_share": _rounded(m.share[c]) for m in channels.mains},
                "railed_samples": int(channels.railed[c]),
                "flat_samples": int(channels.flat[c]),
                "not_finite_samples": int(channels.not_finite[c]),
                "impedance_ohm": None if found.impedance_ohm is None else _rounded(found.impedance_ohm[c]),
            }
            for c, name in enumerate(info.channel_names)
        ],
        "events": list(found.events),
        "remarks": remarks(found),
    }


def print_inspection(found: Inspection, console: Console | None = None) -> None:
    """The stream, its link, a row per channel, and what to look at."""
    console = console or Console()
    for line in stream_lines(found):
        console.print(line, highlight=False, markup=False, soft_wrap=False)
    console.print(channel_table(found))
    for remark in remarks(found):
        console.print(f"! {remark}", highlight=False, markup=False)
    if not remarks(found):
        console.print("nothing conspicuous", highlight=False)


def stream_lines(found: Inspection) -> list[str]:
    """What the stream says of itself, and what its link did."""
    info = found.info
    scale = "unknown" if info.full_scale_uv is None else f"±{info.full_scale_uv / 1000:g} mV"
    band = "unknown" if info.hardware_band_hz is None else "{:g}-{:g} Hz".format(*info.hardware_band_hz)
    mains = "none" if info.kind == "envelope" else f"{info.mains_hz:g} Hz"
    lines = [
        f"{found.address}: {info.kind}, {info.n_channels} channels at {info.rate_hz:g} Hz",
        f"full scale {scale}, hardware band {band}, declared mains {mains}",
        f"rate: {_rate(found)}",
    ]
    if found.rate is not None:
        lines.append(
            f"arrival: {found.rate.lateness_p50_ms:.2f} ms after the earliest in the median,"
            f" {found.rate.lateness_p99_ms:.2f} ms at p99"
        )
    lines.append(
        f"blocks: {found.blocks} of {found.block_samples_p50} samples (at most {found.block_samples_max});"
        f" {found.lost_samples} samples lost in {found.gaps} gaps"
    )
    if found.counters is not None:
        c = found.counters
        lines.append(
            f"link: {c.frames} frames, {c.bad_frames} damaged, {c.skipped_bytes} bytes skipped,"
            f" {c.repeated_samples} samples repeated"
        )
    lines += [f"event: {event}" for event in found.events]
    return lines


def _rate(found: Inspection) -> str:
    if found.rate is None:
        return found.rate_note
    rate = found.rate
    verdict = "as it should be" if rate.agrees_with(found.info.rate_hz) else "NOT what it should be"
    return f"{rate.rate_hz:.2f} ± {rate.uncertainty_hz:.2f} Hz over {rate.duration_s:.1f} s, {verdict}"


def channel_table(found: Inspection) -> Table:
    """A row per channel, or of many the range and the most conspicuous."""
    info, channels = found.info, found.channels
    band = "all of it" if found.band_hz is None else "{:g}-{:g} Hz".format(*found.band_hz)
    title = f"{found.kept_s:.1f} s; noise in {band}, r.m.s. and robust (MAD)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("channel", no_wrap=True, max_width=_NAME_WIDTH, overflow="ellipsis")
    columns = _columns(found)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    if info.n_channels <= MOST_ROWS:
        for c, name in enumerate(info.channel_names):
            table.add_row(escape(name), *(_cell(column, values[c]) for column, values in columns.items()))
        return table
    for what, reduce in (("smallest", np.nanmin), ("median", np.nanmedian), ("largest", np.nanmax)):
        cells = [
            _cell(name, float(reduce(values)) if np.isfinite(values).any() else math.nan)
            for name, values in columns.items()
        ]
        table.add_row(what, *cells)
    table.add_section()
    bad = channels.railed + channels.flat + channels.not_finite
    order = np.lexsort((-np.nan_to_num(channels.robust_noise_uv), -bad))
    for c in order[:_CONSPICUOUS]:
        table.add_row(
            escape(info.channel_names[c]), *(_cell(name, values[c]) for name, values in columns.items())
        )
    table.caption = f"the range of {info.n_channels} channels, and the {_CONSPICUOUS} most conspicuous"
    return table


def _columns(found: Inspection) -> dict[str, NDArray[np.float64]]:
    channels = found.channels
    columns = {
        "offset µV": channels.offset_uv,
        "rms µV": channels.noise_uv,
        "MAD µV": channels.robust_noise_uv,
    }
    mains = _declared(channels.mains, found.info.mains_hz)
    if mains is not None and found.info.kind != "envelope":
        columns |= {f"{mains.frequency_hz:g} Hz µV": mains.amplitude_uv, "share": mains.share}
    columns |= {"railed": channels.railed.astype(np.float64), "flat": channels.flat.astype(np.float64)}
    if channels.not_finite.any():
        columns["not finite"] = channels.not_finite.astype(np.float64)
    if found.impedance_ohm is not None:
        columns["kΩ"] = found.impedance_ohm / 1000
    return columns


def _declared(mains: Sequence[Mains], declared_hz: float) -> Mains | None:
    return next((found for found in mains if found.frequency_hz == declared_hz), None)


def _cell(column: str, value: float) -> str:
    if not math.isfinite(value):
        return "-"
    if column == "share":
        return f"{value:.0%}"
    if column in ("railed", "flat", "not finite"):
        return f"{value:.0f}" if value else "·"
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def run_inspect(
    address: str, seconds: float, start_s: float, mains_hz: float | None, *, as_json: bool
) -> None:
    """Inspect and print; Ctrl-C ends it early and shows what there is."""
    with stop_on_signals() as stop, saying(f"listening to {address} for {seconds:g} s", as_json):
        found = inspect(address, seconds, start_s, stop, mains_hz)
    if as_json:
        print_json(inspection_json(found))
    else:
        print_inspection(found)
