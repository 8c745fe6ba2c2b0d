"""`nervehand export DECODER.nhb --target jetson-nano|orin`: what a Jetson needs to run a decoder, measured first."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from calibration.fp16 import require_tensorrt_8_2, to_fp16
from calibration.fp16_arithmetic import HalfArithmeticEngine
from decoder.bundle import Bundle, read_bundle
from decoder.chain import DecodeChain
from decoder.engine import Engine
from decoder.engines.compiled import CompiledEngine
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.parity import FP16_BOUND, FP32_BOUND, Parity, compare, half_ranges, simulated_features
from decoder.engines.plans import reference_engine
from decoder.session.model import Session, iter_blocks
from decoder.session.reader import read_session
from firmware_bridge.errors import NervehandError
from nervehand.export_target_texts import TARGETS, Target, build_script, readme
from nervehand.output import naming, print_json, saying

HOPS = 10_000
SEED = 0
PYTHON = "/opt/nervehand/bin/python"
CONFIG = Path("/etc/nervehand/nervehand.toml")
USER = "nervehand"
_BLOCK_S = 1.0


def run_export_target(
    bundle_path: Path, target: str, out_folder: Path, *, as_json: bool, session_path: Path | None = None
) -> None:
    """Write the folder and print what was measured. NervehandError where the folder holds something, or parity fails.

    Where a session is given, parity is measured on its features too.
    """
    if target not in TARGETS:
        raise NervehandError(f"there is no target {target!r}: use {' or '.join(TARGETS)}")
    _require_free(out_folder)
    bundle = read_bundle(bundle_path)
    session = None if session_path is None else read_session(session_path)
    with naming(bundle_path), saying("measuring parity", as_json):
        contents, parity = target_files(bundle, TARGETS[target], session)
    try:
        out_folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            path = out_folder / name
            path.write_bytes(content)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
    except OSError as error:
        raise NervehandError(
            f"{error.filename}: cannot be written ({error.strerror}): choose another place"
        ) from error
    if as_json:
        print_json({"folder": str(out_folder), "files": sorted(contents), "parity": parity})
        return
    print(f"{out_folder}: {', '.join(sorted(contents))}")
    for line in _described(parity):
        print(line)


def target_files(
    bundle: Bundle, target: Target, session: Session | None = None
) -> tuple[dict[str, bytes], dict[str, object]]:
    """The contents of the folder by name, and those of parity.json. NervehandError where a bound does not hold."""
    full = bundle.step_graph
    half = to_fp16(full)
    for graph in (full, half):
        require_tensorrt_8_2(graph)
    parity = measured_parity(bundle, half, session)
    texts = {
        "build_engine.sh": build_script(target, full, half),
        "nervehand.service": _unit(),
        "requirements-aarch64.txt": (files("nervehand") / "targets" / f"{target.name}.txt").read_text(),
        "parity.json": json.dumps(parity, indent=1, allow_nan=False) + "\n",
        "README.txt": readme(target, bundle.sha256, HOPS, PYTHON, str(CONFIG), USER),
    }
    contents = {"step_fp32.onnx": full, "step_fp16.onnx": half}
    return contents | {name: text.encode() for name, text in texts.items()}, parity


def measured_parity(bundle: Bundle, half: bytes, session: Session | None) -> dict[str, object]:
    """Both graphs against the engine that decodes, the state carried, as parity.json has it."""
    full = bundle.step_graph
    reference = reference_engine(full)
    n_features, clip = reference.shape.n_features, bundle.normalisation.clip
    outputs = bundle.manifest.outputs
    ranges = half_ranges([o.lower for o in outputs], [o.upper for o in outputs])
    sets = {"simulated": simulated_features(HOPS, n_features, clip, SEED)}
    if session is not None:
        sets["session"] = session_features(bundle, session)
    runtime = f"onnxruntime {onnxruntime.__version__}"
    ways: list[tuple[str, float, str, Engine]] = [
        ("fp32", FP32_BOUND, runtime, OnnxRuntimeEngine(full)),
        ("fp16", FP16_BOUND, runtime, OnnxRuntimeEngine(half)),
        ("fp16", FP16_BOUND, "float16 arithmetic, sums in float32", HalfArithmeticEngine(half, "float32")),
        ("fp16", FP16_BOUND, "float16 arithmetic, sums in float16", HalfArithmeticEngine(half, "float16")),
    ]
    found: dict[str, dict[str, object]] = {
        "fp32": {"file": "step_fp32.onnx", "bound": FP32_BOUND},
        "fp16": {"file": "step_fp16.onnx", "bound": FP16_BOUND},
    }
    for precision, bound, way, engine in ways:
        row: dict[str, object] = {}
        for name, z in sets.items():
            difference = compare(reference, engine, z, ranges)
            _require_within(difference, bound, precision, way)
            row[name] = asdict(difference)
        found[precision][way] = row
    return {
        "decoder_sha256": bundle.sha256,
        "reference": "compiled engine" if isinstance(reference, CompiledEngine) else runtime,
        "features": {
            name: {"hops": len(z), "seconds": round(len(z) * bundle.hop_s, 3)} for name, z in sets.items()
        },
        "seed": SEED,
        **found,
    }


def session_features(bundle: Bundle, session: Session) -> NDArray[np.float32]:
    """A session's features as the bundle's network sees them, (n, f)."""
    chain = DecodeChain(bundle, session.info)
    seen = []
    for block in iter_blocks(session, round(_BLOCK_S * session.info.rate_hz)):
        chain.process(block)
        if chain.seen is not None:
            seen.append(chain.seen[0])
    z = np.concatenate(seen)
    if not len(z):
        raise NervehandError(
            f"the session of {session.n_samples} samples has no whole hop: give a longer one"
        )
    return z


def _require_within(difference: Parity, bound: float, precision: str, way: str) -> None:
    if not difference.largest <= bound:
        instead = "fit it again" if precision == "fp32" else "run it in float32 (engine = compiled)"
        raise NervehandError(
            f"the {precision} graph ({way}) differs from the decoder by {difference.largest:.3g} in {difference.hops} "
            f"hops, more than {bound:g}: {instead}"
        )


def _unit() -> str:
    from nervehand.unit import unit_text

    return unit_text(CONFIG, PYTHON, USER)


def _require_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NervehandError(f"{folder}: is a file: give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise NervehandError(f"{folder}: is not empty: choose another name")
    parent = folder.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise NervehandError(f"{folder}: {parent} is no folder that can be written to: choose another place")


def _described(parity: dict[str, object]) -> list[str]:
    lines = []
    for precision in ("fp32", "fp16"):
        about = parity[precision]
        assert isinstance(about, dict)
        for way, row in about.items():
            if not isinstance(row, dict):
                continue
            for name, p in row.items():
                lines.append(
                    f"{precision}, {way}, {p['hops']} {name} hops: outputs {p['outputs']:.2g}, probabilities "
                    f"{p['probabilities']:.2g} at most (bound {about['bound']:g}), gestures differ in "
                    f"{100 * p['gestures_differ']:.2g} %"
                )
    return lines
