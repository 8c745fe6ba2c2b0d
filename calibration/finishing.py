"""What a calibration leaves: one session, one decoder, one report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from calibration.fit import FitOptions, SourceSession, fit
from calibration.folder import DECODER, SESSION, CalibrationFolder
from calibration.labelling import Labelled, joined, labelled
from calibration.records import AlignmentRecord
from calibration.report.content import Calibrated, content_of
from calibration.report.held_out import HeldOut
from calibration.report.writing import ReportFiles, write_report
from calibration.training import Progress
from decoder.bundle import Bundle, write_bundle
from decoder.session.model import Session
from decoder.session.reader import read_session
from decoder.session.writer import write_session
from firmware_bridge.errors import NervehandError

T = TypeVar("T")
OnProgress = Callable[[str, float], None]
"""What is being done, and how far it is, 0..1."""


@dataclass(frozen=True, slots=True)
class FinishOptions:
    """`n_parts` of the repetitions are held out in turn for the report's scores, 0 for none; `steps` of training in
    each (None as in the decoder's own), `network` and `threads` as in FitOptions."""

    network: str = "compact"
    n_parts: int = 2
    steps: int | None = None
    threads: int = 1
    seed: int = 0
    version: str = ""
    made_by: str = ""
    previous: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The files, by kind; how many trials taught the decoder, as they count and show their movement; how long its fit
    took."""

    session: Path
    decoder: Path
    decoder_sha256: str
    report: ReportFiles
    n_used: int
    n_trials: int
    fit_s: float
    alignment: AlignmentRecord | None

    def files(self) -> dict[str, str]:
        """By kind, for a person."""
        found = {"session": self.session, "decoder": self.decoder, "report": self.report.html}
        if self.report.pdf is not None:
            found["report_pdf"] = self.report.pdf
        return {kind: str(path) for kind, path in (found | {"report_json": self.report.json}).items()}


def finish(
    folder: CalibrationFolder,
    options: FinishOptions | None = None,
    on_progress: OnProgress = lambda text, part: None,
) -> Finished:
    """Write session, decoder and report from the recordings of a folder; what was there of them is replaced.

    Raises NervehandError where no trial is left to learn from.
    """
    options = options or FinishOptions()
    on_progress("aligning the hands", 0.0)
    with labelled(folder) as parts:
        if not any(part.taught for part in parts):
            raise NervehandError(
                f"{folder.path}: no trial is left to learn from: make some, or accept some that were left out"
            )
        whole = joined(parts, folder.plan)
        path = folder.path / SESSION
        _replaced(path, lambda part: write_session(whole.session, part))
    on_progress("fitting", 0.0)
    session = read_session(path)
    source = SourceSession(session, _sha256(path))
    repetitions = tuple(sorted({trial.repetition for trial in whole.taught}))
    began = time.monotonic()
    bundle = _fitted(source, repetitions, options, lambda at: on_progress("fitting", at.step / at.n_steps))
    fit_s = time.monotonic() - began
    decoder = folder.path / DECODER
    decoder_sha256 = _replaced(decoder, lambda part: write_bundle(bundle, part))
    held_out = _held_out(source, repetitions, options, on_progress)
    on_progress("report", 0.0)
    calibrated = Calibrated(
        session=session,
        bundle=bundle,
        trials=whole.trials,
        alignment=whole.alignment,
        fits=tuple(fit for _, fit in sorted(folder.kept().fits.items())),
        held_out=held_out,
        previous=options.previous,
        made_by=options.made_by,
    )
    content = content_of(calibrated, lambda text: on_progress(f"report: {text}", 0.0))
    report = write_report(content, folder.path)
    return Finished(
        path,
        decoder,
        decoder_sha256,
        report,
        len(whole.taught),
        len(whole.trials),
        round(fit_s, 1),
        whole.alignment,
    )


def _held_out(
    source: SourceSession, repetitions: Sequence[int], options: FinishOptions, on_progress: OnProgress
) -> tuple[HeldOut, ...]:
    n_parts = min(options.n_parts, len(repetitions))
    if n_parts < 2:
        return ()
    found = []
    for k in range(n_parts):
        test = tuple(repetitions[k::n_parts])
        text = f"scoring on unseen trials, part {k + 1} of {n_parts}"
        training = tuple(one for one in repetitions if one not in test)
        bundle = _fitted(
            source, training, options,
            lambda at, text=text: on_progress(text, at.step / at.n_steps),  # type: ignore[misc]
        )  # fmt: skip
        found.append(HeldOut(bundle, test))
    return tuple(found)


def _fitted(
    source: SourceSession,
    repetitions: tuple[int, ...],
    options: FinishOptions,
    on_progress: Callable[[Progress], None],
) -> Bundle:
    return fit(
        [source],
        FitOptions(
            network=options.network,
            repetitions=repetitions,
            seed=options.seed,
            threads=options.threads,
            version=options.version,
            steps=options.steps,
        ),
        on_progress,
    )


def _replaced(path: Path, write: Callable[[Path], T]) -> T:
    """Write beside `path`, then take its place: a kill leaves the old one or the new one."""
    part = path.with_name(f".{path.name}")
    part.unlink(missing_ok=True)
    made = write(part)
    part.replace(path)
    return made


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def last_report(folder: Path, subject: str, side: str) -> Mapping[str, object] | None:
    """The JSON of the newest report of the same arm among the folders beside this one; None where there is none."""
    found: list[tuple[float, Mapping[str, object]]] = []
    for path in folder.parent.glob("*/report.json"):
        if path.parent == folder:
            continue
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            occasion = report["findings"]["occasion"]
            if (occasion["subject"], occasion["side"]) == (subject, side):
                found.append((path.stat().st_mtime, report))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another program's file, or a damaged one: it is no report to compare with
    return max(found, key=lambda one: one[0])[1] if found else None


__all__ = ["FinishOptions", "Finished", "Labelled", "Session", "finish", "last_report"]
