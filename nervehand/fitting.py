"""`nervehand fit`: sessions in, a decoder out, with progress; Ctrl-C keeps the best so far."""

from __future__ import annotations

import contextlib
import hashlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import nervehand
from calibration.fit import FitOptions, SourceSession, fit
from calibration.front_end import band_named
from calibration.training import Progress as TrainingProgress
from decoder.bundle import write_bundle
from decoder.session.reader import read_session
from nervehand.output import naming, print_json

LINE_EVERY_S = 5.0


def run_fit(
    paths: list[Path],
    out: Path,
    network: str,
    repetitions: tuple[int, ...] | None,
    seed: int,
    threads: int,
    cues: bool | None,
    band: str,
    *,
    as_json: bool,
) -> None:
    """Fit and write; prints what was made."""
    started = time.monotonic()
    sources = [SourceSession(read_session(path), file_sha256(path)) for path in paths]
    options = FitOptions(network, repetitions, seed, threads, nervehand.__version__, cues, band_named(band))
    stopped = False

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    last: TrainingProgress | None = None
    # Until the decoder is written: a Ctrl-C that comes after the last step must not cost what was fitted.
    previous = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        with _reporting() as report:

            def show(progress: TrainingProgress) -> None:
                nonlocal last
                last = progress
                report(progress)

            with naming(*paths):
                bundle = fit(sources, options, show, lambda: stopped)
        sha256 = write_bundle(bundle, out)
    finally:
        signal.signal(signal.SIGINT, previous)
    training, conditioning = bundle.manifest.training, bundle.coefficients.describe()
    summary = {
        "bundle": str(out),
        "bundle_sha256": sha256,
        "network": training.network,
        "n_parameters": training.n_parameters,
        "conditioning": conditioning,
        "seed": seed,
        "fit_s": round(time.monotonic() - started, 1),
        "stopped_early": stopped,
        "steps": 0 if last is None else last.step,
        "loss": None if last is None else round(last.loss, 4),
    }
    if as_json:
        print_json(summary)
        return
    note = " (stopped early: the best so far)" if stopped else ""
    print(
        f"{out}: {training.network}, {training.n_parameters} parameters, {len(bundle.manifest.gestures)} gestures, "
        f"{len(bundle.manifest.outputs)} outputs, fitted in {summary['fit_s']} s{note}\n"
        f"conditioning: {conditioning}"
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _reporting() -> Iterator[Callable[[TrainingProgress], None]]:
    """How progress reaches standard error: a bar in a terminal, a line every few seconds elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("preparing", total=None, loss="")

        def show(progress: TrainingProgress) -> None:
            bar.update(
                task,
                description="training",
                total=progress.n_steps,
                completed=progress.step,
                loss=_loss(progress),
            )

        yield show


class _Lines:
    """Progress as lines: the first, the last of a whole training, and one every few seconds between them."""

    def __init__(self) -> None:
        self._said_s = -math.inf

    def __call__(self, progress: TrainingProgress) -> None:
        if progress.elapsed_s - self._said_s < LINE_EVERY_S and progress.step < progress.n_steps:
            return
        self._said_s = progress.elapsed_s
        print(f"step {progress.step} of {progress.n_steps}  {_loss(progress)}", file=sys.stderr, flush=True)


def _loss(progress: TrainingProgress) -> str:
    return f"loss {progress.loss:.3f}  {progress.left_s:.0f} s left"
