"""`nervehand bench`: compute per hop, block in to command out, beside its baselines in the same run.

Four things are timed, each by itself, in interleaved runs: our chain (channel health, conditioning, features, step
engine, decision and safety gate), its step graph on ONNX Runtime, the bare matrix-vector products of the same
network, and the paper-style chain of calibration/paper_style.py. Hot is back to back; paced is one hop per period
after other memory was touched, so that weights have to come back into the cache, as in use. Medians over the runs of
p50 and of p99.
"""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.front_end import Band, FrontEndChoice, band_named, default_front_end
from calibration.shapes import random_step_network
from calibration.stepgraph import StepNetwork, build_step_graph, to_whole_numbers
from decoder import features
from decoder.bundle import Bundle, FeatureSpec, Manifest, OutputSpec, StreamSpec, Training
from decoder.chain import DecodeChain
from decoder.conditioning_design import design
from decoder.decision import DecisionSettings, PositionMap
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.features import column_names
from decoder.health_settings import default_health
from decoder.normalisation import CLIP, Normalisation
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateLimits, SafetyGate
from firmware_bridge.hand import DOF_NAMES, N_DOF, HandCommand, HandState, LinkState, WatchdogAction
from firmware_bridge.preuse import overridden
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand.output import print_json

HOT_HOPS, PACED_HOPS, WARM_HOPS = 500, 75, 50
_COLD_BYTES = 48 * 2**20  # touched between paced hops: many times a core's own caches
_N_GESTURES = 9
Times = dict[str, list[float]]  # microseconds by stage


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is timed; `hop_ms` in milliseconds."""

    channels: int
    rate_hz: float
    hop_ms: float
    network: str
    runs: int
    band: Band = "paper"


class _Chain:
    """Our chain: a bundle with random weights, fed with noise, its commands judged by a gate."""

    stages = ("chain", "conditioning_features", "health", "engine")

    def __init__(self, settings: BenchSettings, network: StepNetwork) -> None:
        self.bundle, self._info = bench_bundle(settings, network)
        self._chain = DecodeChain(self.bundle, self._info)
        self._hop = self.bundle.hop_raw_samples
        rng = np.random.default_rng(1)
        self._noise = rng.normal(0, 100, (16, self._hop, settings.channels)).astype(np.int16)
        self._sample = 0
        one = np.ones(N_DOF, np.float32)
        self._gate = SafetyGate(GateLimits(-one, one, 4 * one), WatchdogAction.HOLD)
        now_ns = time.monotonic_ns()
        rest = HandState(np.zeros(N_DOF, np.float32), now_ns)
        self._gate.arm(now_ns, "bench", LinkState.CONNECTED, rest, overridden("bench", now_ns))

    def hop(self) -> dict[str, float]:
        """Microseconds of one hop, whole and by stage."""
        samples = self._noise[(self._sample // self._hop) % len(self._noise)]
        block = SignalBlock(samples, self._sample, scale_uv=0.195)
        self._sample += self._hop
        start_ns = time.monotonic_ns()
        state = HandState(np.zeros(N_DOF, np.float32), start_ns)
        began_ns = time.monotonic_ns()
        intents = self._chain.process(block)
        for i in range(len(intents)):
            command = HandCommand(
                intents.positions[i], int(intents.sample_index[i]), began_ns, began_ns + 200_000_000
            )
            self._gate.step(began_ns, command, LinkState.CONNECTED, state)
        end_ns = time.monotonic_ns()
        stages = self._chain.stage_ns
        return {
            "chain": (end_ns - began_ns) / 1e3,
            "conditioning_features": (int(stages[3]) - int(stages[0])) / 1e3,
            "health": (int(stages[1]) - int(stages[0])) / 1e3,
            "engine": (int(stages[4]) - int(stages[3])) / 1e3,
        }

    def real_time_factor(self, seconds: float = 20.0) -> float:
        """Recorded seconds per second, in blocks of one second."""
        rate_hz = self._info.rate_hz
        block = (
            np.random.default_rng(2).normal(0, 100, (int(rate_hz), self._info.n_channels)).astype(np.int16)
        )
        chain = DecodeChain(self.bundle, self._info)
        start = time.monotonic()
        for i in range(round(seconds)):
            chain.process(SignalBlock(block, i * len(block), scale_uv=0.195))
        return seconds / (time.monotonic() - start)


class _BareProducts:
    """Only the matrix-vector products of a step, by NumPy's own library."""

    stages = ("bare_products",)

    def __init__(self, network: StepNetwork) -> None:
        rng = np.random.default_rng(3)
        self._work = [
            (rng.standard_normal((1, m.shape[0])).astype(np.float32), m) for m in network.matrices()
        ]

    def hop(self) -> dict[str, float]:
        start_ns = time.monotonic_ns()
        for x, matrix in self._work:
            x @ matrix
        return {"bare_products": (time.monotonic_ns() - start_ns) / 1e3}


class _OnnxRuntime:
    """The same step graph on ONNX Runtime, one thread."""

    stages = ("onnx_runtime",)

    def __init__(self, step_graph: bytes) -> None:
        self._engine = OnnxRuntimeEngine(step_graph)
        self._z = (
            np.random.default_rng(4).standard_normal((1, self._engine.shape.n_features)).astype(np.float32)
        )

    def hop(self) -> dict[str, float]:
        start_ns = time.monotonic_ns()
        self._engine.process(self._z)
        return {"onnx_runtime": (time.monotonic_ns() - start_ns) / 1e3}


class _PaperStyle:
    """The baseline chain; needs the extra `train`."""

    stages = ("paper_style",)

    def __init__(self, settings: BenchSettings, bundle: Bundle) -> None:
        import torch

        from calibration.paper_style import PaperStyleChain, PaperStyleSettings

        torch.set_num_threads(1)
        conditioning = bundle.manifest.conditioning
        features = bundle.manifest.features.settings
        self._hop_samples = bundle.hop_raw_samples
        self._chain = PaperStyleChain(
            PaperStyleSettings(
                n_channels=settings.channels,
                rate_hz=settings.rate_hz,
                decimation=conditioning.decimation,
                band_hz=conditioning.band_hz or (25.0, 600.0),
                window_samples=features.window_samples,
                n_gestures=_N_GESTURES,
            )
        )
        rng = np.random.default_rng(1)
        self._noise = rng.normal(0, 20, (self._hop_samples, settings.channels)).astype(np.float32)

    def hop(self) -> dict[str, float]:
        start_ns = time.monotonic_ns()
        self._chain.process(self._noise)
        return {"paper_style": (time.monotonic_ns() - start_ns) / 1e3}


Timed = _Chain | _BareProducts | _OnnxRuntime | _PaperStyle


def bench_network(settings: BenchSettings) -> StepNetwork:
    """The network for the features of this stream, with random weights."""
    info, choice = _stream(settings)
    n_features = len(column_names(info.channel_names, features.load(choice.feature_set).FEATURE_NAMES))
    network = random_step_network(settings.network, n_features, N_DOF, _N_GESTURES, seed=0)
    return to_whole_numbers(network)


def _stream(settings: BenchSettings) -> tuple[StreamInfo, FrontEndChoice]:
    names = tuple(f"ch{i:04d}" for i in range(settings.channels))
    info = StreamInfo(settings.rate_hz, names, "nerve", names, full_scale_uv=6390.0)
    return info, default_front_end(info, settings.hop_ms / 1e3, settings.band)


def bench_stream(settings: BenchSettings) -> StreamInfo:
    """The stream that such a bundle is for."""
    return _stream(settings)[0]


def bench_bundle(settings: BenchSettings, network: StepNetwork) -> tuple[Bundle, StreamInfo]:
    """A complete bundle for a nerve stream of this size, with the network's random weights."""
    info, choice = _stream(settings)
    names = info.channel_names
    coefficients = design(choice.conditioning, info)
    if abs(choice.settings.hop_samples / coefficients.rate_hz - settings.hop_ms / 1e3) > 1e-9:
        raise NervehandError(
            f"a hop of {settings.hop_ms} ms is no whole sample at {coefficients.rate_hz:g} Hz"
        )
    n_features = network.n_features
    compress = choice.compress(column_names(names, features.load(choice.feature_set).FEATURE_NAMES))
    manifest = Manifest(
        format_version=1,
        stream=StreamSpec(kind="nerve", rate_hz=settings.rate_hz, channel_names=names, electrodes=names),
        subject="bench",
        side="",
        array="",
        conditioning=choice.conditioning,
        features=FeatureSpec(set=choice.feature_set, settings=choice.settings, compress=compress, clip=CLIP),
        outputs=tuple(OutputSpec(name=name, unit="position", lower=-1.0, upper=1.0) for name in DOF_NAMES),
        gestures=("rest", *(f"gesture {i}" for i in range(1, _N_GESTURES))),
        decision=DecisionSettings(),
        warmup_s=0.5,
        training=Training(
            sessions=(),
            network=settings.network,
            n_parameters=network.n_parameters,
            seed=0,
            nervehand_version="",
        ),
        health=default_health("nerve"),
    )
    scale = np.ones(n_features, np.float32)
    bundle = Bundle(
        manifest,
        coefficients,
        Normalisation(np.zeros(n_features, np.float32), scale, CLIP, compress),
        PositionMap(
            np.eye(N_DOF, dtype=np.float32),
            np.zeros(N_DOF, np.float32),
            np.zeros((_N_GESTURES, N_DOF), np.float32),
        ),
        build_step_graph(network),
    )
    return bundle, info


def measure(settings: BenchSettings, say: Callable[[str], None] = lambda text: None) -> dict[str, object]:
    """All figures of one bench, names as METRICS has them; None where a baseline cannot run."""
    network = bench_network(settings)
    ours = _Chain(settings, network)
    chains: list[Timed] = [ours, _BareProducts(network), _OnnxRuntime(ours.bundle.step_graph)]
    baseline_note = ""
    try:
        chains.append(_PaperStyle(settings, ours.bundle))
    except ModuleNotFoundError as error:
        baseline_note = f"no paper-style baseline: {error.name} is missing, install nervehand[train]"
    period_s = ours.bundle.hop_s
    cold = np.zeros(_COLD_BYTES // 8)
    found: dict[str, list[tuple[float, float]]] = {}
    gc.collect()
    gc.disable()
    try:
        for chain in chains:
            _times(chain, WARM_HOPS, None, cold)
        for run in range(settings.runs):
            for regime in ("hot", "paced"):
                say(f"run {run + 1} of {settings.runs}, {regime}")
                for chain in chains:
                    hops, pace = (HOT_HOPS, None) if regime == "hot" else (PACED_HOPS, period_s)
                    for stage, values in _times(chain, hops, pace, cold).items():
                        p50, p99 = np.percentile(values, (50, 99))
                        found.setdefault(f"{regime}_{stage}", []).append((float(p50), float(p99)))
        say("replay")
        real_time = ours.real_time_factor()
    finally:
        gc.enable()
    figures: dict[str, object] = {}
    for name, pairs in found.items():
        figures[f"{name}_p50_us"], figures[f"{name}_p99_us"] = (
            float(v) for v in np.median(np.array(pairs), axis=0).round(2)
        )
    for regime in ("hot", "paced"):
        for p in ("p50", "p99"):
            figures[f"{regime}_ratio_{p}"] = _ratio(
                figures, f"{regime}_paper_style_{p}_us", f"{regime}_chain_{p}_us"
            )
            figures.setdefault(f"{regime}_paper_style_{p}_us", None)
        figures[f"{regime}_engine_over_bare_p50"] = _ratio(
            figures, f"{regime}_engine_p50_us", f"{regime}_bare_products_p50_us"
        )
    figures["hot_chain_x_real_time"] = round(period_s * 1e6 / _number(figures["hot_chain_p50_us"]), 2)
    figures["hot_conditioning_features_x_real_time"] = round(
        period_s * 1e6 / _number(figures["hot_conditioning_features_p50_us"]), 2
    )
    figures["replay_x_real_time"] = round(real_time, 1)
    figures |= {
        "channels": settings.channels,
        "rate_hz": settings.rate_hz,
        "hop_ms": period_s * 1e3,
        "network": settings.network,
        "n_parameters": network.n_parameters,
        "conditioning": ours.bundle.coefficients.describe(),
        "runs": settings.runs,
        "machine": machine(),
        "note": baseline_note,
    }
    return figures


def _times(chain: Timed, hops: int, period_s: float | None, cold: NDArray[np.float64]) -> Times:
    found: Times = {stage: [] for stage in chain.stages}
    due = time.monotonic()
    for _ in range(hops):
        if period_s is not None:
            cold += 1.0
            due = max(due + period_s, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))
        for stage, value in chain.hop().items():
            found[stage].append(value)
    return found


def _ratio(figures: dict[str, object], above: str, below: str) -> float | None:
    a, b = figures.get(above), figures.get(below)
    return round(a / b, 2) if isinstance(a, float) and isinstance(b, float) and b else None


def _number(value: object) -> float:
    assert isinstance(value, float)
    return value


def machine() -> str:
    """The processor and the system that figures belong to."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {platform.machine()}, {system}, Python {platform.python_version()}"


def run_bench(
    channels: int, rate_hz: float, hop_ms: float, network: str, runs: int, band: str, *, as_json: bool
) -> None:
    """Measure and print."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    settings = BenchSettings(channels, rate_hz, hop_ms, network, runs, band_named(band))
    with console.status("bench") as status:
        figures = measure(settings, status.update)
    if as_json:
        print_json(figures)
        return
    table = Table(
        title=f"µs per hop, {channels} channels, {rate_hz:g} Hz, hop {hop_ms:g} ms, {network}, band {band}"
    )
    for column in ("", "hot p50", "hot p99", "paced p50", "paced p99"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {
        "block in to command out": "chain",
        "  health to features": "conditioning_features",
        "    of which health": "health",
        "  engine": "engine",
        "the same graph on ONNX Runtime": "onnx_runtime",
        "bare products": "bare_products",
        "paper-style chain": "paper_style",
    }
    for title, name in rows.items():
        cells = [
            figures.get(f"{regime}_{name}_{p}_us") for regime in ("hot", "paced") for p in ("p50", "p99")
        ]
        table.add_row(title, *(f"{cell:,.1f}" if isinstance(cell, float) else "-" for cell in cells))
    ratios = [figures[f"{regime}_ratio_{p}"] for regime in ("hot", "paced") for p in ("p50", "p99")]
    table.add_row("paper-style / ours", *(f"{r:.1f}" if isinstance(r, float) else "-" for r in ratios))
    out = Console()
    out.print(table)
    for name in ("conditioning", "hot_chain_x_real_time", "replay_x_real_time", "machine", "note"):
        if figures[name] != "":
            out.print(f"{name.replace('_', ' ')}: {figures[name]}", highlight=False)
