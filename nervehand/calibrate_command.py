"""`nervehand calibrate`, `paradigm` and `report`: their options, checked before anything heavy loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Force, Json, finite, free_to_write

if TYPE_CHECKING:
    from calibration.paradigm import Paradigm

Kind = Annotated[
    str | None,
    typer.Option(
        help="mirrored (both hands move), mimic (no able hand) or tracking (follow a moving target)."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(help="Of training: fewer are faster, and worse; else as many as the data ask for.", min=1),
]
Rounds = Annotated[int | None, typer.Option("--repetitions", help="How often each movement is made.", min=1)]


OF_A_SIMULATED_PERSON = ("lag_ms", "drift_ppm", "mishaps")
OF_THE_BEGINNING = (
    "out",
    "subject",
    "source",
    "truth",
    "side",
    "array",
    "kind",
    "repetitions",
    "movements",
    "paradigm_file",
    "self_paced",
    "seed",
    *OF_A_SIMULATED_PERSON,
)
"""Options that a calibration has from its first call on."""


def add_calibrate_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(calibrate)
    app.command("paradigm")(paradigm)
    app.command("report")(report)


def calibrate(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Where everything goes.")
    ] = None,
    subject: Annotated[
        str,
        typer.Option(
            help="The wearer's pseudonym; simulated[:PRESET[/N[/DAY]]] is a person who needs no amplifier and no glove."
        ),
    ] = "",
    source: Annotated[str, typer.Option(help="The nerve: nervehand sources lists addresses.")] = "",
    truth: Annotated[
        str, typer.Option(help="What measures the able hand: nervehand truths lists addresses.")
    ] = "",
    side: Annotated[str, typer.Option(help="The phantom hand: left or right.")] = "",
    array: Annotated[str, typer.Option(help="The electrode array, as in earlier sessions.")] = "",
    kind: Kind = None,
    repetitions: Rounds = None,
    movements: Annotated[
        str | None, typer.Option(help="Only these, with commas; all of the paradigm where not given.")
    ] = None,
    paradigm_file: Annotated[
        Path | None,
        typer.Option("--paradigm", metavar="FILE.toml", help="Movements and timing: nervehand paradigm."),
    ] = None,
    self_paced: Annotated[bool, typer.Option("--self-paced", help="Every trial waits for a word.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the orders.", min=0)] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with one that was left, or killed.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve it to a console; port 0 takes a free one.")
    ] = None,
    network: Annotated[str, typer.Option(help="compact or paper.")] = "compact",
    threads: Annotated[int, typer.Option(help="Processor threads of the last fit.", min=1)] = 1,
    parts: Annotated[
        int, typer.Option(help="The report's scores: so many parts are held out in turn; 0 for none.", min=0)
    ] = 2,
    steps: Steps = None,
    lag_ms: Annotated[
        float | None,
        typer.Option(help="Of a simulated person: the able hand is this much later.", callback=finite),
    ] = None,
    drift_ppm: Annotated[
        float | None,
        typer.Option(help="Of a simulated person: the glove's clock is this much faster.", callback=finite),
    ] = None,
    mishaps: Annotated[
        int | None, typer.Option(help="Of a simulated person: so many trials go wrong.", min=0)
    ] = None,
    fresh_day: Annotated[
        int | None,
        typer.Option(
            help="Of a simulated person: score the decoder on this day, in a new order.", min=0, max=3650
        ),
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="No screen; without a port, nobody is asked.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a decoder in minutes: both hands move, the able one is measured, and its motion labels the nerve.

    Trials that cannot teach are found and asked for again; the phantom follows after the first round. Ends with a
    session, a decoder and a report in one folder.
    """
    try:
        from calibration.simulated_address import SIMULATED, is_simulated, one_wearer
        from nervehand.calibrating import CalibrateOptions, LastFit, phantom_side, run_calibrate
    except ModuleNotFoundError as error:
        raise NervehandError(f"calibrating needs {error.name}: install nervehand[train]") from error
    last = LastFit(network, parts, threads, steps)
    if resume is not None:
        if begun := _given(context, OF_THE_BEGINNING):
            raise NervehandError(
                f"--resume goes on with what was begun: leave out {', '.join(begun)}, or begin anew"
            )
        run_calibrate(resume, None, last, fresh_day=fresh_day, port=port, headless=headless, as_json=as_json)
        return
    if out is None:
        raise NervehandError("no folder is given: add -o FOLDER, or --resume FOLDER")
    chosen = _paradigm(kind, repetitions, movements, paradigm_file, seed, self_paced=self_paced)
    wearer = None
    if is_simulated(subject) or is_simulated(source):
        for option, value in (("--source", source), ("--truth", truth)):
            if value and not is_simulated(value):
                raise NervehandError(
                    f"{option} {value} does not go with a simulated person, whose hands follow the cues: leave it out"
                )
        wearer, planned_mishaps = one_wearer([one for one in (subject, source, truth) if is_simulated(one)])
        if is_simulated(subject):
            subject = f"{SIMULATED}-{wearer.preset}-{wearer.number}"
        glove = replace(
            wearer.glove,
            lag_s=wearer.glove.lag_s if lag_ms is None else lag_ms / 1e3,
            drift_ppm=wearer.glove.drift_ppm if drift_ppm is None else drift_ppm,
        )
        wearer = replace(wearer, glove=glove, side=phantom_side(side or "right"))
        mishaps = planned_mishaps if mishaps is None else mishaps
    else:
        for option in _given(context, OF_A_SIMULATED_PERSON):
            raise NervehandError(
                f"{option} is for a simulated person: leave it out, or add --subject simulated"
            )
        if not source:
            raise NervehandError("no source is given: add --source ADDRESS, or --subject simulated to try it")
    options = CalibrateOptions(
        chosen, subject, side or "right", array, source, truth, wearer=wearer, n_mishaps=mishaps or 0,
    )  # fmt: skip
    run_calibrate(out, options, last, fresh_day=fresh_day, port=port, headless=headless, as_json=as_json)


def _given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """Which of these parameters were said, as options."""
    options = {one.name: one.opts[-1] for one in context.command.params}
    said = [
        name for name in names if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    ]
    return [options[name] for name in said]


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A calibration's folder.")],
    parts: Annotated[
        int, typer.Option(help="The scores: so many parts are held out in turn; 0 for none.", min=0)
    ] = 2,
    network: Annotated[str, typer.Option(help="compact or paper.")] = "compact",
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 1,
    steps: Steps = None,
    as_json: Json = False,
) -> None:
    """Make session, decoder and report of a calibration again, from its recordings; also of one that was left early."""
    try:
        from nervehand.calibrating import LastFit, run_report
    except ModuleNotFoundError as error:
        raise NervehandError(f"a report needs {error.name}: install nervehand[train]") from error
    run_report(folder, LastFit(network, parts, threads, steps), as_json=as_json)


def paradigm(
    out: Annotated[Path, typer.Argument(metavar="OUT.toml", help="The file to write.")],
    kind: Kind = None,
    repetitions: Rounds = None,
    force: Force = False,
) -> None:
    """Write a paradigm as a file, to be changed: movements, postures, how often and how fast."""
    from calibration.paradigm import paradigm_text

    free_to_write(out, force)
    chosen = _paradigm(kind, repetitions, None, None, None, self_paced=False)
    out.write_text(paradigm_text(chosen), encoding="utf-8")
    print(
        f"{out}: {len(chosen.movements)} movements, {chosen.repetitions} times, {chosen.duration_s / 60:.1f} minutes"
    )


def _paradigm(
    kind: str | None,
    repetitions: int | None,
    movements: str | None,
    path: Path | None,
    seed: int | None,
    *,
    self_paced: bool,
) -> Paradigm:
    from calibration.paradigm import Paradigm, chosen_movements, read_paradigm
    from firmware_bridge.plain import from_plain, to_plain

    chosen = Paradigm() if path is None else read_paradigm(path)
    said = {"kind": kind, "repetitions": repetitions, "seed": seed, "is_self_paced": self_paced or None}
    plain = to_plain(chosen)
    assert isinstance(plain, dict)
    plain |= {name: value for name, value in said.items() if value is not None}
    chosen = from_plain(Paradigm, plain, "paradigm")
    if movements is None:
        return chosen
    return chosen_movements([name.strip() for name in movements.split(",")], chosen)
