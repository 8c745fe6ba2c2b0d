"""What a calibration needs to know before it begins: who, which signals, what measures the able hand, how long."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from nicegui import ui

from calibration.paradigm import (
    BASIC_MOVEMENTS,
    COMBINED_MOVEMENTS,
    HAND_MOVEMENTS,
    KINDS,
    Paradigm,
    Timing,
    paradigm_text,
)
from firmware_bridge.errors import NervehandError
from nervehand.console.app import Console
from nervehand.console.finding import source_choices, truth_choices
from nervehand.console.launching import CalibrationPlan
from nervehand.console.layout import attempt, button
from nervehand.console.texts import say

SIDES = ("left", "right")
SETS = {"combined": COMBINED_MOVEMENTS, "basic": BASIC_MOVEMENTS, "hand": HAND_MOVEMENTS}
PACES = {
    "normal": Timing(),
    "slow": Timing(rest_s=2.4, move_s=0.6, hold_s=2.0, round_rest_s=6.0),
    "fast": Timing(rest_s=0.8, move_s=0.2, hold_s=0.7, round_rest_s=0.5),
}
SIMULATED = "simulated:default/1/0"


def paradigm_of(kind: str, movements: str, repetitions: int, pace: str) -> Paradigm:
    """What a person chose, as a paradigm; NervehandError where it is none. "own": every trial waits for the subject."""
    found = next((one for one in KINDS if one == kind), None)
    if found is None:
        raise NervehandError(f"the paradigm is {kind!r}: use one of {', '.join(KINDS)}")
    timing = PACES.get(pace, Timing())
    return replace(
        Paradigm(), kind=found, movements=SETS[movements], repetitions=repetitions, timing=timing,
        is_self_paced=pace == "own",
    )  # fmt: skip


def new_folder(root: Path, subject: str, now: time.struct_time) -> Path:
    """A folder's name that nothing has yet: the subject and the time."""
    name = (
        "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in subject.strip())
        or "subject"
    )
    return root / f"calibration-{name}-{time.strftime('%Y%m%d-%H%M%S', now)}"


class Setup:
    """The form. What it starts runs on its own; the page then shows it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        with ui.element("section").classes("nh-card nh-form"):
            ui.label(say("setup.title")).classes("nh-h1")
            ui.label(say("setup.hint")).classes("nh-note")
            with ui.element("div").classes("nh-fields"):
                self._subject = _text("setup.subject", say("setup.subject_default"))
                self._side = _choice("setup.side", {side: say(f"side.{side}") for side in SIDES}, "left")
                self._source = _address("setup.source", source_choices(), SIMULATED)
                self._truth = _address("setup.truth", truth_choices(), SIMULATED)
                self._kind = _choice("setup.kind", {kind: say(f"kind.{kind}") for kind in KINDS}, "mirrored")
                self._set = _choice("setup.set", {name: say(f"set.{name}") for name in SETS}, "basic")
                paces = {name: say(f"pace.{name}") for name in (*PACES, "own")}
                self._pace = _choice("setup.pace", paces, "normal")
                self._repetitions = ui.number(
                    say("setup.repetitions"), value=10, min=1, max=50, step=1, format="%d"
                )
                self._repetitions.props("outlined").classes("nh-field")
            self._kind.on_value_change(self._changed)
            for field in (self._set, self._pace, self._repetitions):
                field.on_value_change(self._changed)
            self._duration = ui.label("").classes("nh-advice").props('aria-live="polite"')
            button("setup.start", self._start, is_main=True)
        self._changed()

    def _paradigm(self) -> Paradigm:
        repetitions = int(self._repetitions.value or 0)
        return paradigm_of(str(self._kind.value), str(self._set.value), repetitions, str(self._pace.value))

    def _changed(self) -> None:
        self._truth.visible = self._kind.value != "mimic"
        try:
            paradigm = self._paradigm()
        except NervehandError as error:
            self._duration.text = str(error)
            return
        n = paradigm.repetitions * len(paradigm.movements)
        self._duration.text = say("setup.duration", trials=n, minutes=f"{paradigm.duration_s / 60:.1f}")

    async def _start(self) -> None:
        folder = new_folder(self._console.folder, str(self._subject.value), time.localtime())
        is_mimic = self._kind.value == "mimic"
        truth = "" if is_mimic else str(self._truth.value).strip()

        def start() -> None:
            plan = folder.with_suffix(".toml")
            try:
                plan.write_text(paradigm_text(self._paradigm()), encoding="utf-8")
            except OSError as error:
                raise NervehandError(
                    f"{plan}: cannot be written ({error.strerror}): choose another folder"
                ) from None
            words = CalibrationPlan(
                source=str(self._source.value).strip(), truth=truth, side=str(self._side.value), paradigm=plan,
                subject=str(self._subject.value).strip(), out=folder, steps=self._console.steps,
            ).words()  # fmt: skip
            self._console.engines.start(words)

        self._console.dismissed = None
        if await attempt(start):
            ui.notify(say("setup.starting"), position="top")


def _text(key: str, value: str) -> ui.input:
    return ui.input(say(key), value=value).props("outlined").classes("nh-field")


def _choice(key: str, choices: dict[str, str], value: str) -> ui.select:
    return ui.select(choices, label=say(key), value=value).props("outlined").classes("nh-field")


def _address(key: str, known: list[str], value: str) -> ui.input:
    """An address to be written, with those that are known to choose from."""
    return ui.input(say(key), value=value, autocomplete=known).props("outlined").classes("nh-field")
