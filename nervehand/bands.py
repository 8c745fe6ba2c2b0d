"""`nervehand bands`: where the simulated nerve's axons and muscles are in the spectrum, and what each tells.

For every band: how strong axons, muscles and the rest are while the person moves; and what a linear decoder of one
window makes of axons alone, of muscles alone and of both, each with the noise, trained on one day and scored on the
next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from calibration.cohort import Plan, planned, score_subject
from calibration.spectrum import band_levels_uv
from decoder.session.model import Session
from firmware_bridge.nerve.subject import SCALE_UV, Parts, SimulatedSubject
from nervehand.output import print_json
from nervehand.simulate import simulated_session

BANDS_HZ = (
    (25.0, 100.0),
    (100.0, 300.0),
    (300.0, 600.0),
    (600.0, 1200.0),
    (1200.0, 2500.0),
    (2500.0, 4500.0),
)
FRONT_ENDS = ("25-600", "spike-band", "spike-band+average", "wide", "both", "25-600+power")
ALONE = {
    "axons": Parts(axons=True, muscles=False, interference=False),
    "muscles": Parts(axons=False, muscles=True, interference=False),
    "interference": Parts(axons=False, muscles=False, interference=True),
}
HEARD = {
    "axons": Parts(axons=True, muscles=False),
    "muscles": Parts(axons=False, muscles=True),
    "axons and muscles": Parts(),
}
SPECTRUM_S = 60.0
SCORE = "per_dof_balanced_accuracy"
Levels = dict[str, NDArray[np.float64]]


def levels_of(number: int, preset: str) -> Levels:
    """Microvolts r.m.s. (bands,), the mean over the contacts, of each part while the subject moves; and of axons and
    muscles at rest."""
    found: Levels = {}
    for name, parts in ALONE.items():
        subject = SimulatedSubject(number, 0, preset, parts=parts)
        n = round(SPECTRUM_S * subject.info.rate_hz)
        position = np.abs(subject.truth(0, n).positions).max(1)
        samples = subject.samples(0, n).astype(np.float64) * SCALE_UV
        for state, chosen in (("", position > 0.5), (" at rest", position == 0)):
            levels = band_levels_uv(samples, chosen, subject.info.rate_hz, BANDS_HZ)
            found[name + state] = levels.mean(1)
    return found


def scores_of(
    number: int, preset: str, repetitions: int, front_ends: Sequence[str], say: Console | None = None
) -> dict[str, dict[str, float]]:
    """Balanced accuracy per degree of freedom by front end and by what is heard."""
    found: dict[str, dict[str, float]] = {name: {} for name in front_ends}
    plan = Plan(number, models=("lda",), front_ends=tuple(front_ends), losses=False)
    for heard, parts in HEARD.items():

        def make(day: int, crosstalk: bool, seconds: float | None, parts: Parts = parts) -> Session:
            return simulated_session(
                number, repetitions, seconds=seconds, day=day, preset=preset, crosstalk=crosstalk, parts=parts
            )

        for row in score_subject(make, plan, planned(plan)):
            found[row.key.front_end][heard] = float(row.scores[SCORE] or np.nan)
            if say is not None:
                say.print(f"subject {number}, {row.key.front_end}, {heard}: {row.scores[SCORE]:.3f}")
    return found


def run_bands(
    subjects: Sequence[int], preset: str, repetitions: int, front_ends: Sequence[str], *, as_json: bool
) -> None:
    """Measure and print the means over the subjects."""
    console = Console(stderr=True)
    levels, scores = [], []
    for number in subjects:
        levels.append(levels_of(number, preset))
        scores.append(scores_of(number, preset, repetitions, front_ends, console))
    mean = {name: np.mean([one[name] for one in levels], axis=0) for name in levels[0]}
    score = {
        front_end: {heard: float(np.mean([one[front_end][heard] for one in scores])) for heard in HEARD}
        for front_end in front_ends
    }
    if as_json:
        print_json(
            {
                "preset": preset,
                "subjects": list(subjects),
                "repetitions": repetitions,
                "bands_hz": [list(band) for band in BANDS_HZ],
                "rms_uv": {name: [round(float(v), 4) for v in values] for name, values in mean.items()},
                SCORE: {f: {h: round(v, 4) for h, v in row.items()} for f, row in score.items()},
            }
        )
        return
    out = Console()
    table = Table(
        title=f"µV r.m.s. while moving, {preset}, mean of {len(subjects)} subjects and all contacts"
    )
    for column in ("band, Hz", "axons", "muscles", "noise and mains", "axons dB", "muscles dB"):
        table.add_column(column, justify="left" if column == "band, Hz" else "right")
    for k, (low, high) in enumerate(BANDS_HZ):
        parts = [mean[name][k] for name in ALONE]
        ratios = [20 * np.log10(part / parts[2]) for part in parts[:2]]
        table.add_row(
            f"{low:g}-{high:g}", *(f"{v:.2f}" for v in parts), *(f"{ratio:+.0f}" for ratio in ratios)
        )
    out.print(table)
    told = Table(title="balanced accuracy per degree of freedom on the next day: one window, linear")
    for column in ("front end", *HEARD):
        told.add_column(column, justify="left" if column == "front end" else "right")
    for front_end, row in score.items():
        told.add_row(front_end, *(f"{row[heard]:.3f}" for heard in HEARD))
    out.print(told)
