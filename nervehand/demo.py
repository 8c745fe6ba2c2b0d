"""`nervehand demo`: a simulated nerve, decoded in real time, moves a virtual hand over Bluetooth LE."""

from __future__ import annotations

import contextlib
from importlib.resources import as_file, files
from pathlib import Path

from decoder.bundle import Bundle, read_bundle
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import GESTURES, Schedule, SteeredMotion
from firmware_bridge.nerve.physiology import DEFAULT
from firmware_bridge.nerve.subject import SimulatedSubject
from firmware_bridge.sources.simulated import BLOCK_S, SimulatedSource
from nervehand.driving import Arming, drive_hand
from nervehand.keys import keys_pressed
from nervehand.output import print_json
from nervehand.picture import PictureScreen
from nervehand.recording import recording
from nervehand.screen import NoScreen, Screen
from nervehand.source_log import SourceLog

SUBJECT, TRAINED_DAY, TRAINED_REPETITIONS = 1, 0, 10
"""The shipped bundle learned from this day of the subject; the demo plays later ones."""
RATE_HZ = 10_000.0
KEYS = "012345678"
"""What a person presses for each of GESTURES."""


def demo_bundle() -> Bundle:
    """The decoder that ships with nervehand, fitted on the simulated subject."""
    with as_file(files("nervehand") / "bundles" / "demo.nhb") as path:
        return read_bundle(path)


def demo_subject(seconds: float, day: int, *, steer: bool) -> SimulatedSubject:
    """The person of the demo on a day, moved by keys, or by cues that do not come again within `seconds`."""
    if steer:
        return SimulatedSubject(
            SUBJECT, day, motion=SteeredMotion(DEFAULT, SUBJECT, day, RATE_HZ), rate_hz=RATE_HZ
        )
    pass_s = Schedule().trial_s * (len(GESTURES) - 1)
    return SimulatedSubject(
        SUBJECT, day, schedule=Schedule(repetitions=1 + int(seconds / pass_s)), rate_hz=RATE_HZ
    )


def run_demo(
    seconds: float,
    day: int,
    record: Path | None,
    picture: Path | None,
    *,
    steer: bool,
    headless: bool,
    as_json: bool,
) -> None:
    """Run for `seconds` on a day of the subject; `steer` lets keys say what it intends, instead of cues.

    `record` names a session to write, `picture` an SVG file to draw the screen into (and nowhere else).
    """
    bundle = demo_bundle()
    subject = demo_subject(seconds, day, steer=steer)
    rate_hz = subject.info.rate_hz
    log = SourceLog()
    source = SimulatedSource(
        subject, block_samples=round(BLOCK_S * rate_hz), n_samples=round(seconds * rate_hz), on_event=log
    )

    screen: Screen | None = NoScreen() if headless or as_json else None
    painter = PictureScreen()
    if picture is not None:
        screen = painter

    def cue_at(sample_index: int) -> str:
        return GESTURES[int(subject.truth(sample_index, 1).cue[0])][0]

    def pressed(key: str) -> None:
        if key in KEYS:
            source.steer(KEYS.index(key))

    title = "nervehand demo: simulated nerve, virtual hand over Bluetooth LE"
    if steer:
        title = "keys: " + "  ".join(f"{key} {name}" for key, (name, _) in zip(KEYS, GESTURES, strict=True))
    with keys_pressed(pressed) if steer else contextlib.nullcontext():
        summary = drive_hand(
            title,
            source,
            bundle,
            Arming("demo"),
            screen=screen,
            cue_at=cue_at,
            recorded=None if record is None else recording(record, source.info, bundle),
            source_log=log,
        )
    if picture is not None and not painter.save(picture):
        raise NervehandError(f"{picture}: nothing was decoded in {seconds:g} s to draw: run for longer")
    conditioning = bundle.coefficients.describe()
    if as_json:
        print_json(summary.to_json() | {"conditioning": conditioning, "inputs": log.to_json()})
    else:
        print(f"{summary.describe()}\nconditioning: {conditioning}")
