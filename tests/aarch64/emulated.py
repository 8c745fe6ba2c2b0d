"""The base install on an emulated Cortex-A57: `python -m tests.aarch64.emulated [--make]` (docs/aarch64.md).

A test subset runs there; then kernels and replays, whose outputs must be those of this machine within 1e-5. Times of an
emulated processor say nothing about a real one.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.session.writer import write_session
from nervehand.demo import SUBJECT, TRAINED_DAY
from nervehand.simulate import simulated_session
from tests.aarch64 import root
from tests.aarch64.outputs import Arrays

TOLERANCE = 1e-5
"""Of a value, or of the largest of its array where that is above 1 (shared definition: positions within 1e-5)."""
DIFFERING_GESTURES = 0.001
"""The share of hops in which another gesture may be decided."""
LONG_S = 60.0
TEST_TIMEOUT_S = 1800

SUBSET = (
    "tests/replay/test_replay.py",
    "tests/decoder/engines/test_engines.py",
    "tests/decoder/engines/test_program.py",
    "tests/decoder/session/test_files.py",
    "tests/decoder/session/test_model.py",
    "tests/decoder/session/test_source.py",
    "tests/decoder/test_bundle.py",
    "tests/decoder/test_chain.py",
    "tests/decoder/test_conditioning.py",
    "tests/decoder/test_decision.py",
    "tests/decoder/test_features_envelope.py",
    "tests/decoder/test_features_time_domain.py",
    "tests/decoder/test_features_two_bands.py",
    "tests/decoder/test_health.py",
    "tests/decoder/test_normalisation.py",
    "tests/decoder/test_signing.py",
    "tests/firmware_bridge/hands/test_ability_frames.py",
    "tests/firmware_bridge/test_adjustments.py",
    "tests/firmware_bridge/test_gate_adjust.py",
    "tests/firmware_bridge/test_gate_arming.py",
    "tests/firmware_bridge/test_gate_causes.py",
    "tests/firmware_bridge/test_gate_hand.py",
    "tests/firmware_bridge/test_gate_limits.py",
    "tests/firmware_bridge/test_gate_rate.py",
    "tests/firmware_bridge/test_gate_release.py",
    "tests/firmware_bridge/test_guard_memory.py",
    "tests/firmware_bridge/test_hand_watch.py",
    "tests/firmware_bridge/test_ramp.py",
)
"""What decodes, what stores and what guards, of what runs on the base install; without tests that wait for a clock."""

SLOW_THERE = "remote"
"""Each starts a process of its own with ONNX Runtime, which takes half a minute to load under QEMU."""

LIBUSB = "import ctypes, libusb_package; ctypes.CDLL(str(libusb_package.get_library_path()))"
"""A library that asks for more of the system than glibc (tests/aarch64/wheels.py)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of an array: of its allowed value for real numbers, the share of differing ones else."""

    name: str
    size: float
    allowed: float

    @property
    def is_wrong(self) -> bool:
        return not self.size <= self.allowed


def difference(name: str, here: NDArray[np.generic], there: NDArray[np.generic]) -> Difference:
    """ValueError where the arrays have different shapes or kinds, which is no matter of rounding."""
    if here.shape != there.shape or here.dtype != there.dtype:
        raise ValueError(f"{name}: {here.dtype} {here.shape} here, {there.dtype} {there.shape} there")
    if not np.issubdtype(here.dtype, np.floating):
        allowed = DIFFERING_GESTURES if name.endswith("/gesture") else 0.0
        return Difference(name, float((here != there).mean()), allowed)
    a, b = here.astype(np.float64), there.astype(np.float64)
    if not np.isfinite(a).all():
        raise ValueError(f"{name}: holds what is not finite")
    scale = max(1.0, float(np.abs(a).max(initial=0.0)))
    return Difference(name, float(np.abs(a - b).max(initial=0.0)) / scale, TOLERANCE)


def compared(here: Arrays, there: Arrays) -> list[Difference]:
    """Every array. A probability belongs to its gesture: only where that is the same is it compared."""
    if here.keys() != there.keys():
        raise ValueError(f"only one of both has {', '.join(sorted(here.keys() ^ there.keys()))}")
    found = []
    for name in here:
        a, b = here[name], there[name]
        if name.endswith("/probability"):
            gesture = name.removesuffix("probability") + "gesture"
            same = here[gesture] == there[gesture]
            a, b = a[same], b[same]
        found.append(difference(name, a, b))
    return found


def loaded(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def compare_outputs(into: Path) -> bool:
    """Kernels and replays here and there; prints the largest difference of each stage, and whether all fit."""
    work = into / "root" / root.WORK.relative_to("/")
    session = work / "minute.nwb"
    write_session(simulated_session(SUBJECT, 2, day=TRAINED_DAY + 2, seconds=LONG_S), session)
    here, there = into / "here.npz", work / "there.npz"
    words = ["-m", "tests.aarch64.outputs"]
    there.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, *words, str(here), str(session)],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    inside = [f"{root.WORK}/{path.name}" for path in (there, session)]
    if root.run(into, "env", "-C", root.WORK, root.PYTHON, *words, *inside):
        return False
    found = compared(loaded(here), loaded(there))
    print(f"\nlargest difference between {platform.machine()} and the emulated {root.CPU} (allowed)")
    for one in found:
        print(f"{one.name:55} {one.size:9.2g} ({one.allowed:g}){'  WRONG' if one.is_wrong else ''}")
    n_hops = len(loaded(here)["replay minute/gesture"])
    print(f"{len(found)} arrays, {n_hops} hops in the longer replay, {sum(d.is_wrong for d in found)} wrong")
    return not any(one.is_wrong for one in found)


def run_tests(into: Path) -> bool:
    """The subset, one process, by the installed packages; prints the slowest tests."""
    words = [
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-o",
        f"timeout={TEST_TIMEOUT_S}",
        "-k",
        f"not {SLOW_THERE}",
    ]
    words += ["--durations=8", "-r", "fEs"]
    return root.run(into, "env", "-C", root.WORK, root.PYTHON, *words, *SUBSET) == 0


def command_starts(into: Path) -> bool:
    """The installed command decodes the reference session, and the library that Bluetooth needs is found."""
    words = (
        "replay",
        root.WORK / "tests/replay/simulated.nwb",
        "--bundle",
        root.SITE_PACKAGES / "nervehand/bundles/demo.nhb",
    )
    command = root.run(into, root.PREFIX / "bin" / "nervehand", *words)
    return command == 0 and root.run(into, root.PYTHON, "-c", LIBUSB) == 0


def timed(what: str, step: Callable[[Path], bool], into: Path) -> bool:
    start = time.monotonic()
    fits = step(into)
    print(f"{what}: {'fits' if fits else 'WRONG'}, {time.monotonic() - start:.0f} s\n", flush=True)
    return fits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--make", action="store_true", help="make the root file system where it is not there")
    arguments = parser.parse_args()
    try:
        into = root.folder()
        if not arguments.make and not (into / "root").exists():
            raise root.MissingError(f"{into / 'root'} is not there: --make makes it")
        start = time.monotonic()
        root.make(into)
        root.install(into)
    except root.MissingError as missing:
        print(missing, file=sys.stderr)
        return 2
    print(f"root file system and install: {time.monotonic() - start:.0f} s\n", flush=True)
    steps = {"command": command_starts, "outputs": compare_outputs, "tests": run_tests}
    fits = [timed(what, step, into) for what, step in steps.items()]
    print(f"times are those of QEMU on {platform.machine()}: they say nothing about a {root.CPU}")
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
