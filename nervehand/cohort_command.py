"""The command `cohort`, as `nervehand.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Json, free_to_write


def cohort(
    preset: Annotated[
        str, typer.Option(help="Difficulty of the simulated nerve: easy, default or hard.")
    ] = "default",
    subjects: Annotated[str, typer.Option(help="For example 1-10 or 1,3,7.")] = "1-10",
    repetitions: Annotated[int, typer.Option(help="How often each movement is made on a day.", min=2)] = 10,
    train_days: Annotated[
        str, typer.Option(help="Days that decoders learn from, for example 0 or 0-2.")
    ] = "0",
    test_day: Annotated[int, typer.Option(help="The day that they are scored on.", min=0)] = 1,
    models: Annotated[str, typer.Option(help="Any of lda, windowed, compact.")] = "lda,windowed,compact",
    front_ends: Annotated[
        str,
        typer.Option(
            help="Any of default, 25-600, spike-band, spike-band+average, wide, both, 25-600+power."
        ),
    ] = "default",
    crosstalk: Annotated[
        str, typer.Option(help="EMG crosstalk on, off, or on,off; decoders are trained for each.")
    ] = "on",
    losses: Annotated[
        bool, typer.Option(help="Also with 4 channels that die in the middle, masked and not masked.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of training and of the orders of trials.", min=0)] = 0,
    threads: Annotated[
        int, typer.Option(help="Processor threads of training; 0 uses every core.", min=0)
    ] = 1,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="People go through a whole mirrored calibration on the first training day; steady scores, also on "
            "combinations that were never trained, and beside labels that were not aligned.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="RESULTS.jsonl", help="Keep results here, and skip what is there already."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score decoders on simulated subjects: how hard they are, subject by subject and on the mean."""
    try:
        from calibration.cohort import Plan, chosen_models
        from firmware_bridge.nerve.physiology import person_of
        from nervehand.cohort import Cohort, run_cohort
    except ImportError as error:
        raise NervehandError(f"scoring needs {error.name}: install nervehand[train]") from error

    if out is not None:
        free_to_write(out, force=True)
    person_of(preset)  # an unknown one is refused before anything is printed
    numbers = _numbers("subjects", subjects)
    if calibrated:
        from nervehand.calibrated_cohort import run_calibrated_cohort

        run_calibrated_cohort(
            numbers, preset, repetitions, _numbers("train-days", train_days)[0], test_day,
            chosen_models(models.split(",")), threads, out, as_json=as_json,
        )  # fmt: skip
        return
    plan = Plan(
        subject=numbers[0],
        train_days=_numbers("train-days", train_days),
        test_day=test_day,
        models=chosen_models(models.split(",")),
        front_ends=tuple(front_ends.split(",")),
        losses=losses,
        seed=seed,
        threads=threads,
    )
    run_cohort(Cohort(numbers, preset, repetitions, _switches(crosstalk), plan), out, as_json=as_json)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """'1-3,7' as (1, 2, 3, 7)."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            found += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise NervehandError(
                f"--{option} is {text!r}: give numbers and ranges, for example 1-3,7"
            ) from None
    if not found or len(set(found)) != len(found):
        raise NervehandError(f"--{option} is {text!r}: give each number once, a range from its lower end")
    return tuple(found)


def _switches(text: str) -> tuple[bool, ...]:
    parts = text.split(",")
    if not set(parts) <= {"on", "off"} or len(set(parts)) != len(parts):
        raise NervehandError(f"--crosstalk is {text!r}: give on, off, or on,off")
    return tuple(part == "on" for part in parts)
