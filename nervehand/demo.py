"""`nervehand demo`: a simulated nerve, decoded in real time, moves a virtual hand over Bluetooth LE."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from decoder.bundle import Bundle, read_bundle
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import GESTURES, Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.sources.simulated import BLOCK_S, SimulatedSource
from nervehand.output import print_json
from nervehand.picture import PictureScreen
from nervehand.screen import NoScreen, Screen
from nervehand.virtual_hand import drive_virtual_hand

SUBJECT, TRAINED_DAY, TRAINED_REPETITIONS = 1, 0, 10
"""The shipped bundle learned from this day of the subject; the demo plays later ones."""


def demo_bundle() -> Bundle:
    """The decoder that ships with nervehand, fitted on the simulated subject."""
    with as_file(files("nervehand") / "bundles" / "demo.nhb") as path:
        return read_bundle(path)


def run_demo(
    seconds: float, seed: int, record: Path | None, picture: Path | None, *, headless: bool, as_json: bool
) -> None:
    """Run for `seconds`; `seed` counts the days skipped since the first after the bundle's.

    `record` names a session to write, `picture` an SVG file to draw the screen into (and nowhere else).
    """
    bundle = demo_bundle()
    schedule = Schedule()
    schedule = Schedule(repetitions=1 + int(seconds / (schedule.trial_s * (len(GESTURES) - 1))))
    subject = SimulatedSubject(SUBJECT, TRAINED_DAY + 1 + seed, schedule=schedule)
    rate_hz = subject.info.rate_hz
    source = SimulatedSource(
        subject, block_samples=round(BLOCK_S * rate_hz), n_samples=round(seconds * rate_hz)
    )

    screen: Screen | None = NoScreen() if headless or as_json else None
    painter = PictureScreen()
    if picture is not None:
        screen = painter

    def cue_at(sample_index: int) -> str:
        return GESTURES[int(subject.truth(sample_index, 1).cue[0])][0]

    summary = drive_virtual_hand(
        "nervehand demo: simulated nerve, virtual hand over Bluetooth LE",
        source,
        bundle,
        screen=screen,
        who="demo",
        cue_at=cue_at,
        record=record,
        scale_uv=SCALE_UV,
    )
    if picture is not None and not painter.save(picture):
        raise NervehandError(f"{picture}: nothing was decoded in {seconds:g} s to draw: run for longer")
    conditioning = bundle.coefficients.describe()
    if as_json:
        print_json(summary.to_json() | {"conditioning": conditioning})
    else:
        print(f"{summary.describe()}\nconditioning: {conditioning}")
