"""What came of a calibration: its files, each to be opened or put to use."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from nicegui import ui

from calibration.view import CalibrationView, Phase
from nervehand.console.app import Console
from nervehand.console.files import file_url
from nervehand.console.layout import card
from nervehand.console.shown import shown
from nervehand.console.texts import TEXTS, say

ORDER = ("report", "report_pdf", "decoder", "session", "report_json")
"""The first of them is what a person should look at; the others are beside it."""


class ResultCard:
    """Its card, shown once the calibration is done or has failed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._box = card("result.title", "nh-cal-result")
        with self._box:
            self._said = ui.label("").classes("nh-advice")
            self._links = ui.element("div").classes("nh-row")
        self._box.visible = False

    def show(self, view: CalibrationView) -> None:
        """The files that there are."""
        self._box.visible = bool(view.files) or view.phase is Phase.FAILED
        self._said.text = view.notice if view.phase is Phase.FAILED else say("result.hint")
        self._links.clear()
        with self._links:
            for kind in sorted(
                view.files, key=lambda kind: ORDER.index(kind) if kind in ORDER else len(ORDER)
            ):
                link = ui.link(
                    TEXTS.get(f"file.{kind}", kind), file_url(Path(view.files[kind])), new_tab=True
                )
                link.classes("nh-link-button" if kind == ORDER[0] else "nh-button nh-back")
            if "decoder" in view.files:
                bundle = quote(shown(view.files["decoder"]))
                ui.link(say("result.try"), f"/device?bundle={bundle}").classes("nh-button nh-back")
