"""`nervehand inspect`: connects to a source, listens for a while, and says what it is like."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import Device, LinkCounters, SignalBlock, Source, StreamInfo
from firmware_bridge.supervised import SupervisedSource
from nervehand.inspecting import ChannelFigures, RateEstimate, channel_figures, measure_rate, stronger_mains
from nervehand.sources import SESSION, SIMULATED, open_device, open_source, split_address
from nervehand.stopping import closed_by

MOST_BYTES = 128 << 20
"""Samples kept for the figures of channels; of a longer or broader stream they are of its last part."""
_UNJUDGED = {
    SESSION: "not judged: a recording comes as fast as it is read",
    SIMULATED: "not judged: the simulated nerve is paced by the clock that it would be judged by",
}


@runtime_checkable
class MeasuresImpedance(Protocol):
    """A device that knows the impedance of its electrodes."""

    def impedance_ohm(self) -> NDArray[np.float64] | None:
        """(c,) ohms at the device's own test frequency, NaN where it measured none; None where it never does."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen. `rate` is None where it was not judged, and `rate_note` says why.

    `lost_samples` are instants that the source says were lost, in `gaps` places; `counters` what the link did
    meanwhile, None for a source without a link. `kept_s` is the length of signal behind the figures of channels.
    """

    address: str
    info: StreamInfo
    blocks: int
    samples: int
    block_samples_p50: int
    block_samples_max: int
    rate: RateEstimate | None
    rate_note: str
    gaps: int
    lost_samples: int
    counters: LinkCounters | None
    band_hz: tuple[float, float] | None
    kept_s: float
    channels: ChannelFigures
    impedance_ohm: NDArray[np.float64] | None
    events: tuple[str, ...] = ()


class Listener:
    """Takes the blocks of a stream, keeps the last MOST_BYTES of them, and sums up what it saw."""

    def __init__(self, info: StreamInfo, most_bytes: int = MOST_BYTES) -> None:
        self._info, self._most_bytes = info, most_bytes
        self._kept: deque[SignalBlock] = deque()
        self._kept_bytes = 0
        self._ends: list[int] = []
        self._arrivals: list[int] = []
        self._sizes: list[int] = []
        self.samples = self._gaps = self._lost = 0

    def add(self, block: SignalBlock) -> None:
        """Take a block."""
        if block.samples.ndim != 2 or block.samples.shape[1] != self._info.n_channels:
            raise NervehandError(
                f"a block of shape {block.samples.shape} in a stream of {self._info.n_channels} channels"
            )
        if self._ends:
            lost = max(block.lost_before, block.first_sample - self._ends[-1])
            self._gaps += lost > 0
            self._lost += lost
        self._ends.append(block.first_sample + block.n_samples)
        self._arrivals.append(block.arrival_ns)
        self._sizes.append(block.n_samples)
        self.samples += block.n_samples
        self._kept.append(block)
        self._kept_bytes += block.samples.nbytes
        while self._kept_bytes > self._most_bytes and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popleft().samples.nbytes

    def summed_up(
        self,
        address: str,
        *,
        unjudged: str = "",
        counters: LinkCounters | None = None,
        impedance_ohm: NDArray[np.float64] | None = None,
        events: tuple[str, ...] = (),
    ) -> Inspection:
        """What was seen so far; `unjudged` says why the rate is not to be judged, '' where it is.

        Raises NervehandError where nothing came.
        """
        if not self.samples:
            raise NervehandError(f"{address}: nothing came: is the device streaming?")
        rate, note = None, unjudged
        if not unjudged:
            rate = measure_rate(np.array(self._ends), np.array(self._arrivals))
            note = "" if rate is not None else "too few blocks to measure it: listen for longer"
        stretches, scale_uv = self._stretches()
        band_hz = noise_band(self._info)
        kept = sum(len(stretch) for stretch in stretches)
        return Inspection(
            address=address,
            info=self._info,
            blocks=len(self._sizes),
            samples=self.samples,
            block_samples_p50=int(np.median(self._sizes)),
            block_samples_max=max(self._sizes),
            rate=rate,
            rate_note=note,
            gaps=self._gaps,
            lost_samples=self._lost,
            counters=counters,
            band_hz=band_hz,
            kept_s=kept / self._info.rate_hz,
            channels=channel_figures(
                stretches, scale_uv, self._info.rate_hz, self._info.full_scale_uv, band_hz
            ),
            impedance_ohm=impedance_ohm,
            events=events,
        )

    def _stretches(self) -> tuple[list[NDArray[np.generic]], float]:
        """The kept samples, a run without a gap each, as counts of one scale; older ones of another are left out."""
        newest = self._kept[-1]
        runs: list[list[SignalBlock]] = []
        for block in self._kept:
            if block.scale_uv != newest.scale_uv or block.samples.dtype != newest.samples.dtype:
                continue
            before = runs[-1][-1] if runs else None
            if before is not None and before.first_sample + before.n_samples == block.first_sample:
                runs[-1].append(block)
            else:
                runs.append([block])
        return [np.concatenate([block.samples for block in run]) for run in runs], newest.scale_uv


def noise_band(info: StreamInfo) -> tuple[float, float] | None:
    """The band that noise is measured in: what a new decoder would use of the stream; None: all of it."""
    from decoder.conditioning_design import default_settings

    try:
        return default_settings(info).band_hz
    except NervehandError:  # a rate that leaves no band is shown as it is
        return None


def remarks(found: Inspection) -> list[str]:
    """What a person should look at first, most important first; nothing where all is well."""
    said = []
    nominal = found.info.rate_hz
    if found.rate is not None and not found.rate.agrees_with(nominal):
        off = (found.rate.rate_hz / nominal - 1) * 100
        said.append(f"the rate is {off:+.3g} % off what the device says: check its setting and its clock")
    if found.lost_samples:
        said.append(
            f"{found.lost_samples} samples were lost in {found.gaps} gaps: check cable, load and buffers"
        )
    if found.counters is not None and found.counters.bad_frames:
        said.append(
            f"{found.counters.bad_frames} frames were damaged: check cable, ground and speed of the line"
        )
    channels = found.channels
    for counts, what in (
        (channels.not_finite, "not finite"),
        (channels.railed, "railed: electrode off, or the gain too high"),
        (channels.flat, "flat: not connected or shorted"),
    ):
        if counts.any():
            said.append(f"{_named(found.info, counts > 0)} {what}")
    typical = (
        float(np.nanmedian(channels.robust_noise_uv)) if np.isfinite(channels.robust_noise_uv).any() else 0.0
    )
    noisy = channels.robust_noise_uv > 3 * typical
    if typical > 0 and noisy.any():
        said.append(
            f"{_named(found.info, noisy)} noisier than 3 x the median: check the electrodes' impedance"
        )
    if found.info.kind != "envelope":
        other = stronger_mains(channels.mains, found.info.mains_hz)
        if other is not None:
            said.append(
                f"{other:g} Hz is stronger than the declared mains of {found.info.mains_hz:g} Hz:"
                " correct it in the device, or say --mains"
            )
        declared = [mains for mains in channels.mains if mains.frequency_hz == found.info.mains_hz]
        swamped = declared[0].share > 0.5 if declared else np.zeros(0, np.bool_)
        if swamped.any():
            said.append(f"{_named(found.info, swamped)} mostly mains: check ground and reference")
    return said


def _named(info: StreamInfo, chosen: NDArray[np.bool_], most: int = 6) -> str:
    names = [info.channel_names[c] for c in np.flatnonzero(chosen)]
    if len(names) == 1:
        return f"{names[0]} is"
    listed = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names)} channels ({listed}) are"


def listen(source: Source, listener: Listener, seconds: float, is_paced: bool, stop: threading.Event) -> None:
    """Feed the listener until `stop` is set, the source ends, or `seconds` are over: of the host's clock, of samples
    where the source does not wait for them."""
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    with closed_by(stop, source):
        try:
            if is_paced:
                timer.start()
            for block in source.blocks():
                if stop.is_set():
                    return
                listener.add(block)
                if not is_paced and listener.samples >= seconds * source.info.rate_hz:
                    return
        finally:
            timer.cancel()


def inspect(
    address: str, seconds: float, start_s: float, stop: threading.Event, mains_hz: float | None = None
) -> Inspection:
    """Connect, listen for `seconds` or until `stop` is set, and sum up.

    A device that is lost, or that turns out to be another one than it says, after samples came, is an event of the
    inspection. `mains_hz` is for a device that does not know its mains. Raises NervehandError where it cannot be
    reached or nothing comes.
    """
    events: list[str] = []
    is_session = split_address(address)[0] == SESSION
    impedance: NDArray[np.float64] | None = None
    device: Device | None = None
    source: Source
    if is_session:
        source = open_source(address, is_paced=False, start_s=start_s)
    else:
        device = open_device(address)
        source = SupervisedSource(device, lambda event: events.append(f"{event.kind}: {event.text}"))
    info = source.info if mains_hz is None else replace(source.info, mains_hz=mains_hz)
    listener = Listener(info)
    try:
        source.connect()
        impedance = device.impedance_ohm() if isinstance(device, MeasuresImpedance) else None
        listen(source, listener, seconds, not is_session, stop)
    except NervehandError as error:
        if not listener.samples:
            raise
        events.append(str(error))
    finally:
        source.close()
    return listener.summed_up(
        address,
        unjudged=_UNJUDGED.get(split_address(address)[0], ""),
        counters=source.counters if isinstance(source, SupervisedSource) else None,
        impedance_ohm=impedance,
        events=tuple(dict.fromkeys(events)),
    )
