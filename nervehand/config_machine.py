"""What a configuration asks of the machine that it is for: an error where it is to run, a warning where it is checked.

A file may be checked on a laptop that is for another machine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.errors import NervehandError
from nervehand.config import DaemonConfig
from nervehand.config_checks import Check

if TYPE_CHECKING:
    from decoder.bundle import Bundle

PRESENT = Path("/sys/devices/system/cpu/present")
"""Processors of this machine, also those that a power mode has switched off (ABI/testing/sysfs-devices-system-cpu)."""
PYTHON_WITHIN_S = 20.0
_FINDS_TENSORRT = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tensorrt') is None)"


def machine_checks(config: DaemonConfig, bundle: Bundle) -> Iterator[Check]:
    """Each under the keys that are to blame where it raises."""
    if config.realtime.policy != "off":
        present = processors()
        for key in ("decode_cpus", "guard_cpus"):
            yield ("realtime", key), partial(_are_there, key, getattr(config.realtime, key), present)
    if config.decoder.engine == "tensorrt":
        yield ("decoder", "engine"), partial(_tensorrt, bundle)


def processors(present: Path = PRESENT) -> frozenset[int]:
    """The numbers of this machine's processors; empty where the kernel does not tell."""
    try:
        ranges = [one.partition("-") for one in present.read_text(encoding="ascii").strip().split(",")]
        return frozenset(n for low, _, high in ranges for n in range(int(low), int(high or low) + 1))
    except (OSError, ValueError):
        return frozenset()


def _are_there(key: str, cpus: Sequence[int], present: frozenset[int]) -> None:
    if present and (missing := [cpu for cpu in cpus if cpu not in present]):
        which = f"processor{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}"
        there = f"0 to {max(present)}" if len(present) == max(present) + 1 else str(sorted(present))
        raise NervehandError(
            f"realtime.{key} is {list(cpus)} and this machine has no {which}: name some of {there}, or leave it out"
        )


def _tensorrt(bundle: Bundle) -> None:
    # Here, since it loads the compiler, which nothing else of a configuration needs.
    from decoder.engines.plans import PYTHON_VARIABLE, SYSTEM_PYTHON, plan_folder, plans

    python = os.environ.get(PYTHON_VARIABLE) or SYSTEM_PYTHON
    if not finds_tensorrt(python):
        raise NervehandError(
            f'decoder.engine is "tensorrt" and {python} has no TensorRT: install it there, name the interpreter that'
            f' has it in {PYTHON_VARIABLE}, or write engine = "auto"'
        )
    if not plans(bundle.step_graph):
        raise NervehandError(
            f'decoder.engine is "tensorrt" and no plan of this decoder is in {plan_folder()}: export it with --target'
            ' and run build_engine.sh, or write engine = "auto"'
        )


def finds_tensorrt(python: str) -> bool:
    """Whether that interpreter is there and, isolated as the engine's is, has TensorRT's package."""
    try:
        words = [python, "-I", "-c", _FINDS_TENSORRT]
        done = subprocess.run(words, capture_output=True, check=False, timeout=PYTHON_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
