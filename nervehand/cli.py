"""The command line: one function per command, each thin; what is heavy loads when a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nervehand
from firmware_bridge.errors import NervehandError
from nervehand.calibrate_command import add_calibrate_commands
from nervehand.cohort_command import cohort
from nervehand.config_commands import add_config_commands
from nervehand.console_command import console
from nervehand.export_command import add_export_command
from nervehand.guard_commands import add_guard_commands
from nervehand.hand_commands import add_hand_commands
from nervehand.options import AnyWearer, Force, Json, OutSession, finite, free_to_write
from nervehand.signer_commands import add_signer_commands
from nervehand.source_commands import add_source_commands
from nervehand.status_command import add_status_command
from nervehand.unit import add_unit_command

if TYPE_CHECKING:
    from decoder.session.model import Session

BAND_HELP = "default (of a nerve its spikes, and the muscles' power below them) or paper (25 to 600 Hz)."
app = typer.Typer(
    name="nervehand",
    help="A real-time decoder for prosthetic hands: nerve signals in, six degrees of freedom out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
import_app = typer.Typer(help="Turn a recording of a lab into a session.", no_args_is_help=True)
app.add_typer(import_app, name="import")

Repetitions = Annotated[
    str | None, typer.Option("--repetitions", help="Only these, for example 2,5,7; all where not given.")
]


def main() -> None:
    """Run the command line; an error that a person should read is one line and exit status 2."""
    try:
        app(standalone_mode=True)
    except NervehandError as error:
        print(f"nervehand: {error}", file=sys.stderr)
        sys.exit(2)


def _version(asked: bool) -> None:
    if asked:
        print(f"nervehand {nervehand.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="How long to run.", min=0.5, callback=finite)] = 30.0,
    day: Annotated[
        int, typer.Option(help="Which day of the simulated subject; the decoder learned from day 0.", min=0)
    ] = 1,
    steer: Annotated[
        bool, typer.Option("--steer", help="Move the intent by keys 0 to 8, instead of cues.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="OUT.nwb", help="Record the session while it runs.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="OUT.svg", help="Draw the screen into a file instead.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No screen.")] = False,
    as_json: Json = False,
) -> None:
    """A simulated nerve moves a virtual hand over Bluetooth LE, decoded in real time."""
    from nervehand.demo import run_demo

    if record is not None:
        free_to_write(record, force=None)
    if picture is not None:
        free_to_write(picture, force=True)
    run_demo(seconds, day, record, picture, steer=steer, headless=headless, as_json=as_json)


@app.command()
def simulate(
    out: OutSession,
    subject: Annotated[int, typer.Option(help="Which simulated subject.", min=0)] = 1,
    day: Annotated[
        int, typer.Option(help="Which day of it: others are the same person, drifted.", min=0)
    ] = 0,
    preset: Annotated[str, typer.Option(help="easy, default or hard.")] = "default",
    crosstalk: Annotated[
        bool, typer.Option("--crosstalk/--no-crosstalk", help="Whether the muscles nearby are heard.")
    ] = True,
    stimulation: Annotated[
        float,
        typer.Option(metavar="HZ", help="Stimulation pulses at this rate, told on a digital line.", min=0.0),
    ] = 0.0,
    repetitions: Annotated[int, typer.Option(help="How often each movement is made.", min=1)] = 10,
    from_repetition: Annotated[
        int, typer.Option(help="Begin here: later repetitions of the same day.", min=1)
    ] = 1,
    seconds: Annotated[
        float | None, typer.Option(help="End after this much.", min=0.1, callback=finite)
    ] = None,
    channels: Annotated[int, typer.Option(help="Number of electrodes.", min=1)] = 16,
    rate: Annotated[float, typer.Option(help="Sampling rate in Hz.", callback=finite)] = 10_000.0,
    force: Force = False,
) -> None:
    """Record a cued session of the simulated subject."""
    from decoder.session.writer import write_session
    from nervehand.simulate import simulated_session

    free_to_write(out, force)
    session = simulated_session(
        subject, repetitions, channels, rate, from_repetition, seconds,
        day=day, preset=preset, crosstalk=crosstalk, stimulation_hz=stimulation,
    )  # fmt: skip
    write_session(session, out)
    print(_described(out, session.n_samples, session.info.rate_hz, session.info.n_channels))


@import_app.command("ninapro")
def import_ninapro(
    path: Annotated[Path, typer.Argument(help="A NinaPro .mat or .npz file.")],
    out: OutSession,
    force: Force = False,
) -> None:
    """NinaPro's public files: rectified or raw EMG, with the data glove as truth."""
    from decoder.importers import ninapro

    _import(ninapro.read, path, out, force)


@import_app.command("arrays")
def import_arrays(
    path: Annotated[Path, typer.Argument(metavar="FILE.npz", help="Any lab's data as named arrays.")],
    out: OutSession,
    force: Force = False,
) -> None:
    """Arrays by name: signal (samples, channels) in microvolts, rate in Hz, kind nerve, emg or envelope.

    Optionally labels (samples,) with names, trial (samples,), repetition (samples,), and truth (samples,
    columns) with truth_names.
    """
    from decoder.importers import arrays

    _import(arrays.read, path, out, force)


@app.command()
def fit(
    sessions: Annotated[list[Path], typer.Argument(metavar="SESSION...", help="Sessions to learn from.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DECODER.nhb", help="The decoder to write.")],
    network: Annotated[
        str, typer.Option(help="compact (small and fast) or paper (1.6 M parameters).")
    ] = "compact",
    repetitions: Repetitions = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same decoder.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 uses every core.", min=0)] = 1,
    cues: Annotated[
        bool | None,
        typer.Option(
            "--cues/--no-cues",
            help="The labels are cues, ahead of the person: move each change to where the signal changes. "
            "Where neither is given: yes, unless there is ground truth.",
        ),
    ] = None,
    band: Annotated[str, typer.Option(help=BAND_HELP)] = "default",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a decoder from recorded sessions. Ctrl-C keeps the best so far."""
    free_to_write(out, force)
    try:
        from nervehand.fitting import run_fit

        run_fit(
            sessions, out, network, _numbers(repetitions), seed, threads, cues, band,
            as_json=as_json,
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise NervehandError(f"fitting needs {error.name}: install nervehand[train]") from error


@app.command()
def evaluate(
    decoder: Annotated[Path, typer.Argument(metavar="DECODER.nhb", help="The decoder to score.")],
    sessions: Annotated[list[Path], typer.Argument(metavar="SESSION...", help="Sessions to score it on.")],
    repetitions: Repetitions = None,
    recorded_order: Annotated[
        bool, typer.Option("--recorded-order", help="Do not shuffle the trials: optimistic, and says so.")
    ] = False,
    any_wearer: Annotated[
        bool, typer.Option("--any-wearer", help="Accept another person's, side's or array's session.")
    ] = False,
    unscored_after_change: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Leave this much after each change of label out of the scores of hops: labels that are cues "
            "run ahead of the person, who has yet to react.",
            min=0.0,
        ),
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Score a decoder on sessions: trials shuffled, beside chance, mean and spread over seeded orders."""
    from nervehand.evaluating import run_evaluate

    run_evaluate(
        decoder, sessions, _numbers(repetitions), recorded_order, any_wearer, unscored_after_change,
        as_json=as_json,
    )  # fmt: skip


@app.command()
def replay(
    session: Annotated[Path, typer.Argument(metavar="SESSION", help="The recorded session.")],
    bundle: Annotated[Path, typer.Option("--bundle", metavar="DECODER.nhb", help="The decoder.")],
    hand: Annotated[str, typer.Option(help="virtual (over Bluetooth LE) or none.")] = "none",
    speed: Annotated[str, typer.Option(help="1 is real time; max drives no hand.")] = "max",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="INTENTS.nwb", help="Write the intents.")
    ] = None,
    block_samples: Annotated[
        int | None, typer.Option("--block", help="Samples per block; the intents do not depend on it.", min=1)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after this much of the recording.", min=0.1, callback=finite)
    ] = None,
    any_wearer: AnyWearer = False,
    as_recorded: Annotated[
        bool,
        typer.Option(
            "--as-recorded",
            help="Decode as it was decoded live, from the state that the file begins with, and compare.",
        ),
    ] = False,
    headless: Annotated[bool, typer.Option("--headless", help="No screen.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run a recorded session through a decoder: the same bits every time."""
    from nervehand.replaying import run_replay

    if out is not None:
        free_to_write(out, force)
    run_replay(
        session, bundle, hand, speed, out, block_samples, seconds,
        any_wearer=any_wearer, headless=headless, as_json=as_json, as_recorded=as_recorded,
    )  # fmt: skip


add_calibrate_commands(app)
add_source_commands(app)
add_guard_commands(app)
add_hand_commands(app)
add_config_commands(app)
add_status_command(app)
add_unit_command(app)
add_export_command(app)
add_signer_commands(app)
app.command()(cohort)
app.command()(console)


@app.command()
def bench(
    channels: Annotated[int, typer.Option(help="Number of channels.", min=1)] = 16,
    rate: Annotated[float, typer.Option(help="Sampling rate in Hz.", callback=finite)] = 10_000.0,
    hop: Annotated[float, typer.Option(help="Hop in milliseconds.", min=0.1, callback=finite)] = 20.0,
    network: Annotated[str, typer.Option(help="paper or compact.")] = "paper",
    runs: Annotated[int, typer.Option(help="Interleaved runs of each chain.", min=1)] = 5,
    band: Annotated[str, typer.Option(help=BAND_HELP)] = "paper",
    hand: Annotated[
        bool, typer.Option("--hand", help="Command to hand over the Bluetooth link model instead.")
    ] = False,
    guard: Annotated[
        bool, typer.Option("--guard", help="A command through a guard process and through a thread instead.")
    ] = False,
    port: Annotated[
        bool, typer.Option("--port", help="What a port and its clients cost the loop that decodes instead.")
    ] = False,
    engines: Annotated[
        bool, typer.Option("--engines", help="Every engine for the network that this machine has instead.")
    ] = False,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="The daemon as it is worn, in real time, instead.")
    ] = False,
    seconds: Annotated[
        float, typer.Option(help="How long --daemon runs.", min=10.0, callback=finite)
    ] = 600.0,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DECODER.nhb", help="The decoder of --engines.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute per hop by stage beside its baselines, hot (back to back) and paced (one hop at a time)."""
    if hand:
        from nervehand.bench_hand import run_bench_hand

        run_bench_hand(runs, as_json=as_json)
        return
    if guard:
        from nervehand.bench_guard import run_bench_guard

        run_bench_guard(as_json=as_json)
        return
    if port:
        from nervehand.bench_port import run_bench_port

        run_bench_port(runs, as_json=as_json)
        return
    if daemon:
        from nervehand.bench_daemon import run_bench_daemon

        run_bench_daemon(hop, network, seconds, as_json=as_json)
        return
    # One thread for ours and for every baseline; NumPy's library reads this when it loads.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if engines:
        from nervehand.bench_engines import run_bench_engines

        run_bench_engines(bundle, network, runs, as_json=as_json)
        return
    from nervehand.bench import run_bench

    run_bench(channels, rate, hop, network, runs, band, as_json=as_json)


@app.command()
def bands(
    preset: Annotated[str, typer.Option(help="easy, default or hard.")] = "default",
    subjects: Annotated[int, typer.Option(help="How many subjects, from the first.", min=1)] = 10,
    repetitions: Annotated[int, typer.Option(help="How often each movement is made on a day.", min=2)] = 5,
    as_json: Json = False,
) -> None:
    """Where the simulated nerve's axons and muscles are in the spectrum, and what a decoder makes of each."""
    try:
        from nervehand.bands import FRONT_ENDS, run_bands
    except ImportError as error:
        raise NervehandError(f"scoring needs {error.name}: install nervehand[train]") from error
    run_bands(range(1, subjects + 1), preset, repetitions, FRONT_ENDS, as_json=as_json)


@app.command()
def health(
    session: Annotated[Path, typer.Argument(metavar="SESSION", help="The recorded session.")],
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="OUT.svg", help="Draw a stretch of it.")
    ] = None,
    from_s: Annotated[
        float, typer.Option("--from", metavar="SECONDS", help="Where the picture begins.", min=0.0)
    ] = 0.0,
    seconds: Annotated[float, typer.Option(help="What the picture shows.", min=0.1, callback=finite)] = 20.0,
    as_json: Json = False,
) -> None:
    """What a decoder would have made of a recording's channels: masks with their causes, and artefacts."""
    from nervehand.health_report import run_health

    if picture is not None:
        free_to_write(picture, force=True)
    run_health(session, picture, from_s, seconds, as_json=as_json)


@app.command()
def recover(
    path: Annotated[Path, typer.Argument(metavar="SESSION.nwb", help="A session cut short.")],
) -> None:
    """Open a session whose recording was killed, and say to the sample what was lost."""
    from decoder.session.recover import recover as recover_session

    print(recover_session(path))


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise NervehandError(
            f"repetitions are {text!r}: give whole numbers with commas, for example 2,5,7"
        ) from None
    if min(numbers) < 1:
        raise NervehandError(f"repetition {min(numbers)}: repetitions are counted from 1")
    return numbers


def _described(path: Path, n_samples: int, rate_hz: float, n_channels: int) -> str:
    return f"{path}: {n_samples / rate_hz:.1f} s of {n_channels} channels at {rate_hz:g} Hz"


def _import(read: Callable[[Path], Session], path: Path, out: Path, force: bool) -> None:
    from decoder.session.writer import write_session

    free_to_write(out, force)
    session = read(path)
    write_session(session, out)
    print(_described(out, session.n_samples, session.info.rate_hz, session.info.n_channels))
    for note in session.recorded.notes:
        print(f"note: {note.text}")


if __name__ == "__main__":
    main()
