"""`nervehand bench --engines`: every engine that this machine has, on one step graph: speed, and parity beside it.

Each is timed by itself, in interleaved runs, hot (back to back) and paced (one hop every 20 ms, other memory touched in
between), as the definitions of speed say; medians over the runs of p50 and of p99. An engine in its own process is
timed from here, its round trip included. What is fastest paced, within its bound of parity, is the best here.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from calibration.fp16 import to_fp16
from decoder.bundle import Bundle, read_bundle
from decoder.engine import Engine
from decoder.engines.compiled import CompiledEngine
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.parity import FP16_BOUND, FP32_BOUND, Parity, compare, half_ranges, simulated_features
from decoder.engines.plans import PRECISIONS, plan_folder, plans, reference_engine, start_tensorrt
from decoder.engines.program import compile_program
from decoder.engines.remote import RemoteEngine
from firmware_bridge.errors import NervehandError
from nervehand.bench import (
    HOT_HOPS,
    PACED_HOPS,
    WARM_HOPS,
    BenchSettings,
    bench_bundle,
    bench_network,
    machine,
)
from nervehand.output import naming, print_json

HOP_S = 0.02
PARITY_HOPS = 2_000
SEED = 0
FASTER = 0.95
"""Of the compiled engine's time: less of a gain is none that another run would confirm."""
_COLD_BYTES = 48 * 2**20  # as nervehand/bench.py
_REGIMES = ("hot", "paced")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that runs here: what it is, the bound of its parity, and whether `engine = ` can name it."""

    name: str
    what: str
    engine: Engine
    bound: float
    choice: str


@dataclass(frozen=True, slots=True)
class Missing:
    """An engine that does not run here, and why."""

    name: str
    why: str


@contextmanager
def candidates(step_graph: bytes) -> Iterator[tuple[list[Candidate], list[Missing]]]:
    """All engines for a graph, at work until the block is left."""
    runtime = f"ONNX Runtime {onnxruntime.__version__}"
    found: list[Candidate] = []
    missing: list[Missing] = []
    with ExitStack() as stack:

        def add(
            name: str, what: str, make: Callable[[], Engine], bound: float = FP32_BOUND, choice: str = ""
        ) -> None:
            try:
                engine = make()
            except NervehandError as error:
                missing.append(Missing(name, str(error)))
                return
            if isinstance(engine, RemoteEngine):
                stack.callback(engine.close)
                what = f"{engine.about.backend} on Python {engine.about.python}, {what}"
            found.append(Candidate(name, what, engine, bound, choice))

        add(
            "compiled",
            "in this process",
            lambda: CompiledEngine(compile_program(step_graph)),
            choice="compiled",
        )
        add(
            "onnxruntime", f"{runtime}, in this process", lambda: OnnxRuntimeEngine(step_graph),
            choice="onnxruntime",
        )  # fmt: skip
        add(
            "onnxruntime-fp16", f"{runtime}, in this process, float16 graph",
            lambda: OnnxRuntimeEngine(to_fp16(step_graph)), FP16_BOUND,
        )  # fmt: skip
        add(
            "remote-onnxruntime", "in its own process, standing where TensorRT would",
            lambda: RemoteEngine(step_graph, "onnxruntime"),
        )  # fmt: skip
        here = plans(step_graph)
        for precision in PRECISIONS:
            name, plan = f"tensorrt-{precision}", here.get(precision)
            if plan is None:
                missing.append(
                    Missing(name, f"no plan of this decoder in {plan_folder()}: run build_engine.sh")
                )
                continue
            # TensorRT may round float32 products to its own taste (TF32), so its float32 has the wider bound too.
            add(name, "in its own process", partial(start_tensorrt, plan), FP16_BOUND, "tensorrt")
        yield found, missing


def measure(
    step_graph: bytes,
    clip: float,
    ranges: NDArray[np.float32],
    runs: int,
    say: Callable[[str], None] = lambda text: None,
    period_s: float = HOP_S,
) -> dict[str, object]:
    """A row by engine (times in µs of one hop, parity), what is missing, and the verdict.

    `clip` bounds normalised features; `ranges` (o,) are the half-ranges of the outputs.
    """
    reference = reference_engine(step_graph)
    z = simulated_features(PARITY_HOPS, reference.shape.n_features, clip, SEED)
    cold = np.zeros(_COLD_BYTES // 8)
    with candidates(step_graph) as (found, missing):
        rows: dict[str, dict[str, object]] = {}
        timed: list[Candidate] = []
        for candidate in found:
            say(f"parity of {candidate.name}")
            try:
                parity = compare(reference, candidate.engine, z, ranges)
            except NervehandError as error:
                missing.append(Missing(candidate.name, str(error)))
                continue
            about = {"what": candidate.what, "choice": candidate.choice}
            rows[candidate.name] = about | _judged(parity, candidate.bound)
            timed.append(candidate)
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        gc.collect()
        gc.disable()
        try:
            for candidate in timed:
                _times(candidate.engine, z, WARM_HOPS, None, cold)
            for run in range(runs):
                for regime in _REGIMES:
                    say(f"run {run + 1} of {runs}, {regime}")
                    for candidate in timed:
                        hops, pace = (HOT_HOPS, None) if regime == "hot" else (PACED_HOPS, period_s)
                        values = _times(candidate.engine, z, hops, pace, cold)
                        p50, p99 = np.percentile(values, (50, 99))
                        times.setdefault((candidate.name, regime), []).append((float(p50), float(p99)))
        finally:
            gc.enable()
    for (name, regime), pairs in times.items():
        p50, p99 = np.median(np.array(pairs), axis=0)
        rows[name] |= {f"{regime}_p50_us": round(float(p50), 1), f"{regime}_p99_us": round(float(p99), 1)}
    found_verdict = verdict(rows, [m.name for m in missing])
    return {
        "engines": rows,
        "missing": {m.name: m.why for m in missing},
        "best": found_verdict[0],
        "verdict": found_verdict[1],
    }


def verdict(rows: dict[str, dict[str, object]], missing: list[str]) -> tuple[str, str]:
    """The name that `engine = ` should have here, and why in a line.

    Of the engines that can be chosen and are within their bounds, the fastest paced one; the compiled one, which needs
    nothing, where the fastest gains less than 5 %.
    """

    def paced_us(name: str) -> float:
        value = rows[name]["paced_p50_us"]
        assert isinstance(value, float)
        return value

    fit = [name for name, row in rows.items() if row["choice"] and row["within_bound"]]
    if not fit:
        raise NervehandError("no engine gives the decoder's answers here: export the decoder again")
    best = min(fit, key=paced_us)
    if "compiled" in fit and paced_us(best) > FASTER * paced_us("compiled"):
        best = "compiled"
    others = [
        f"{name} {paced_us(name):.0f} µs{'' if row['within_bound'] else ' (out of its bound)'}"
        for name, row in rows.items()
        if name != best
    ]
    text = f"best here: {best}, {paced_us(best):.0f} µs paced (p50), beside {', '.join(others) or 'nothing else'}"
    tensorrt = [name for name in rows if name.startswith("tensorrt")]
    if tensorrt and not best.startswith("tensorrt"):
        text += "; TensorRT is not faster"
    elif not tensorrt and any(name.startswith("tensorrt") for name in missing):
        text += "; TensorRT was not measured"
    return str(rows[best]["choice"]), text


def _judged(parity: Parity, bound: float) -> dict[str, object]:
    return asdict(parity) | {"bound": bound, "within_bound": parity.largest <= bound}


def _times(
    engine: Engine, z: NDArray[np.float32], hops: int, period_s: float | None, cold: NDArray[np.float64]
) -> list[float]:
    """Microseconds of each hop; paced every `period_s`, other memory touched in between."""
    found = []
    due_s = time.monotonic()
    for i in range(hops):
        if period_s is not None:
            cold += 1.0
            due_s = max(due_s + period_s, time.monotonic())
            time.sleep(max(due_s - time.monotonic(), 0.0))
        row = z[i % len(z)][None]
        start_ns = time.monotonic_ns()
        engine.process(row)
        found.append((time.monotonic_ns() - start_ns) / 1e3)
    return found


def bench_decoder(network: str) -> Bundle:
    """The bundle of the bench configuration, with random weights."""
    settings = BenchSettings(channels=16, rate_hz=10_000.0, hop_ms=1e3 * HOP_S, network=network, runs=1)
    return bench_bundle(settings, bench_network(settings))[0]


def run_bench_engines(bundle_path: Path | None, network: str, runs: int, *, as_json: bool) -> None:
    """Measure and print; of the bundle's graph, else of `network` with random weights."""
    from rich.console import Console
    from rich.table import Table

    if bundle_path is None:
        bundle, name = bench_decoder(network), f"{network}, random weights"
    else:
        bundle, name = read_bundle(bundle_path), str(bundle_path)
    paths = () if bundle_path is None else (bundle_path,)
    with naming(*paths) if paths else ExitStack(), Console(stderr=True).status("bench") as status:
        outputs = bundle.manifest.outputs
        ranges = half_ranges([o.lower for o in outputs], [o.upper for o in outputs])
        figures = measure(bundle.step_graph, bundle.normalisation.clip, ranges, runs, status.update)
    figures |= {"decoder": name, "runs": runs, "hop_ms": 1e3 * HOP_S, "machine": machine()}
    if as_json:
        print_json(figures)
        return
    table = Table(title=f"µs per hop of the step graph, hop {1e3 * HOP_S:g} ms: {name}")
    columns = ("", "hot p50", "hot p99", "paced p50", "paced p99", "outputs differ", "gestures differ")
    for column in columns:
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    rows = figures["engines"]
    assert isinstance(rows, dict)
    for engine, row in rows.items():
        cells = [f"{row[f'{regime}_{p}_us']:,.1f}" for regime in _REGIMES for p in ("p50", "p99")]
        beyond = "" if row["within_bound"] else " !"
        table.add_row(
            engine, *cells, f"{row['outputs']:.2g}{beyond}", f"{100 * row['gestures_differ']:.2g} %"
        )
    out = Console()
    out.print(table)
    for engine, row in rows.items():
        out.print(f"{engine}: {row['what']}", highlight=False)
    missing = figures["missing"]
    assert isinstance(missing, dict)
    for engine, why in missing.items():
        out.print(f"{engine}: not here: {why}", highlight=False)
    out.print(f"{figures['verdict']}", highlight=False)
    out.print(f"machine: {figures['machine']}", highlight=False)
