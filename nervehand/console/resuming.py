"""Calibrations that were left before their end: each can be taken up again at its next trial."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nicegui import run, ui

from calibration.folder import PLAN, CalibrationFolder
from calibration.report.writing import JSON as REPORT
from firmware_bridge.errors import NervehandError
from nervehand.console.app import Console
from nervehand.console.launching import resume_words
from nervehand.console.layout import attempt, button, card
from nervehand.console.shown import shown
from nervehand.console.texts import say


@dataclass(frozen=True, slots=True)
class Left:
    """A calibration without an end: its folder, its subject, and how many trials it has."""

    path: Path
    subject: str
    n_trials: int


def left_below(folder: Path) -> list[Left]:
    """The newest first; what cannot be read is no calibration that can be gone on with."""
    found = []
    for plan in folder.glob(f"*/{PLAN}"):
        if (plan.parent / REPORT).exists():  # with a decoder but no report it was left while it was scored
            continue
        try:
            one = CalibrationFolder.reopen(plan.parent)
            found.append((plan.stat().st_mtime, Left(plan.parent, one.plan.subject, len(one.kept().records))))
        except (NervehandError, OSError, ValueError, KeyError, RecursionError):
            continue
    return [left for _, left in sorted(found, key=lambda pair: pair[0], reverse=True)]


def resume_card(console: Console) -> None:
    """A card of them, where there are any. They are looked for once the page is there, away from the pages' thread."""
    with ui.element("div"):
        ui.timer(0.0, partial(_look, console), once=True)


async def _look(console: Console) -> None:
    left = await run.io_bound(left_below, console.folder)
    if not left:
        return
    with card("resume.title", "nh-form"), ui.element("div").classes("nh-list nh-wide"):
        for one in left:
            with ui.element("div").classes("nh-item"):
                with ui.element("div").classes("nh-item-what"):
                    ui.label(shown(one.path.name)).classes("nh-item-name")
                    ui.label(say("resume.row", subject=shown(one.subject), trials=one.n_trials)).classes(
                        "nh-note"
                    )
                button("resume.go_on", partial(_resume, console, one.path))


async def _resume(console: Console, path: Path) -> None:
    console.dismissed = None
    if await attempt(lambda: console.engines.start(resume_words(path))):
        ui.notify(say("setup.starting"), position="top")
