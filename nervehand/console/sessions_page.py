"""The page of recorded sessions: browse them, go through one by a time slider, export it, open its report."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nicegui import run, ui
from starlette.requests import Request

from firmware_bridge.errors import NervehandError
from nervehand.console.app import Console
from nervehand.console.files import below, file_url
from nervehand.console.hands_view import TwoHands, legend, sureness
from nervehand.console.layout import FRAME_S, button, card, frame, labelled
from nervehand.console.reading import Reader
from nervehand.console.session_view import (
    COLUMN_S,
    WINDOW_S,
    Moment,
    SessionAbout,
    SessionFacts,
    about_of,
    positions_of,
    seen_at,
    table_csv,
)
from nervehand.console.shown import in_address, named_in, shown
from nervehand.console.texts import say
from nervehand.console.traces import joints_svg, signals_svg
from nervehand.console.views import NOWHERE, Side

_SIGNALS_S = 0.2
_STEP_S = 1.0
_EXPORT_S = 300.0
REPORTS = ("report.html", "report.pdf")


def add_sessions_page(console: Console) -> None:
    """Serve it; which session is open is in the page's address, so that a reload shows it again."""

    @ui.page("/sessions")
    def sessions(request: Request, at: float = 0.0) -> None:
        name = named_in(request.scope["query_string"], "open")
        with frame(console, "sessions"), ui.element("div").classes("nh-stack"):
            ui.timer(0.0, partial(_fill, console, name, at), once=True)


async def _fill(console: Console, name: str, at_s: float) -> None:
    """The session of that name; the list of all where there is none, or it cannot be shown, which is said."""
    if name:
        path = await run.io_bound(below, console.folder, name)
        try:
            if path is None:
                raise NervehandError(say("files.none", path=name))
            about = await console.replaying.read(about_of, path)
            reports = await run.io_bound(_reports_of, path) or []
        except NervehandError as error:
            _say_problem(str(error))
        else:
            _Replay(console, path, name, about, reports, at_s if math.isfinite(at_s) else 0.0)
            return
    with card("sessions.title"):
        ui.label(shown(say("sessions.folder", folder=console.folder))).classes("nh-note")
        waiting = ui.label(say("sessions.looking")).classes("nh-note")
        facts = await console.sessions.facts(console.folder)
        waiting.delete()
        if not facts:
            ui.label(say("sessions.none"))
            return
        with ui.element("div").classes("nh-list").props('role="list"'):
            for one in facts:
                _row(console, one)


def _reports_of(path: Path) -> list[tuple[str, str]]:
    """The reports beside a session: which kind of file each is, and where it is served."""
    beside = [path.with_name(name) for name in REPORTS]
    return [(report.suffix[1:], file_url(report)) for report in beside if report.exists()]


def _say_problem(text: str) -> ui.label:
    return ui.label(shown(text)).classes("nh-problem").props('role="alert"')


def _row(console: Console, facts: SessionFacts) -> None:
    name = str(facts.path.relative_to(console.folder))
    with ui.element("div").classes("nh-item").props('role="listitem"'):
        with ui.element("div").classes("nh-item-what"):
            ui.label(shown(name)).classes("nh-item-name")
            if facts.problem:
                ui.label(shown(facts.problem)).classes("nh-problem")
                return
            when = facts.start_time.replace("T", " ")[:16] or say("sessions.undated")
            about = say(
                "sessions.row",
                when=when,
                subject=facts.subject or say("sessions.unnamed"),
                side=say(f"side.{facts.side}") if facts.side else "–",
                minutes=f"{facts.duration_s / 60:.1f}",
                channels=facts.n_channels,
                rate=f"{facts.rate_hz:g}",
            )
            ui.label(shown(about)).classes("nh-note")
        link = ui.link(say("sessions.open"), f"/sessions?open={in_address(name)}").classes("nh-link-button")
        labelled(link, say("sessions.open_of", name=name))


class _Replay:
    """One session: signals, hands and joints at the time of the slider."""

    def __init__(
        self,
        console: Console,
        path: Path,
        name: str,
        about: SessionAbout,
        reports: Sequence[tuple[str, str]],
        at_s: float,
    ) -> None:
        self._reader, self._path, self._about = console.replaying, path, about
        self._at_s = min(max(at_s, 0.0), about.duration_s)
        self._is_playing = False
        self._played_s = 0.0
        self._signals_s = 0.0
        self._is_moved = self._is_new = True
        with ui.element("div").classes("nh-row"):
            ui.link(say("sessions.back"), "/sessions").classes("nh-button nh-back")
            ui.label(shown(name)).classes("nh-h1")
        ui.label(
            shown(
                say(
                    "sessions.about",
                    subject=about.subject or say("sessions.unnamed"),
                    array=about.array or "–",
                    trials=len(about.trials),
                    seconds=f"{about.duration_s:.1f}",
                    bundle=about.bundle[:12] or "–",
                )
            )
        ).classes("nh-note")
        self._problem = _say_problem("")
        self._problem.visible = False
        with ui.element("div").classes("nh-live"):
            with card("sessions.hands", "nh-live-hand"):
                with ui.element("div").classes("nh-gesture-row"):
                    self._cue = ui.label("").classes("nh-gesture")
                    self._decoded = ui.label("").classes("nh-pill")
                self._hands = TwoHands("hands.decoded", "hands.able", is_target_left=False)
                legend()
            with card("live.signals", "nh-live-signals"):
                self._signals = ui.html("", sanitize=False).classes("nh-fill")
            with card("sessions.time", "nh-wide"):
                self._time_card()
            with card("live.joints", "nh-live-joints"):
                self._joints = ui.html("", sanitize=False).classes("nh-fill")
            with card("sessions.trials", "nh-replay-trials"):
                self._trial_table()
            with card("sessions.export", "nh-replay-export"):
                self._exports(reports)
        self._show_time()
        ui.timer(FRAME_S, self._tick)
        ui.timer(FRAME_S, self._draw)

    def _time_card(self) -> None:
        with ui.element("div").classes("nh-time"):
            self._play = button("sessions.play", self._toggle, is_main=True)
            button("sessions.back_step", lambda: self._go(self._at_s - _STEP_S)).props(
                f'aria-label="{say("sessions.back_step_long")}"'
            )
            button("sessions.on_step", lambda: self._go(self._at_s + _STEP_S)).props(
                f'aria-label="{say("sessions.on_step_long")}"'
            )
            self._slider = ui.slider(
                min=0.0, max=round(self._about.duration_s, 2), step=COLUMN_S, value=self._at_s
            )
            self._slider.classes("nh-slider nh-grow").props(f'aria-label="{say("sessions.time")}"')
            self._slider.on("update:model-value", lambda: self._go(float(self._slider.value)), throttle=0.05)
            self._clock = ui.label("").classes("nh-clock")

    def _trial_table(self) -> None:
        with ui.element("div").classes("nh-trial-rows nh-scroll"):
            for row in self._about.trials:
                made = ui.button(on_click=partial(self._go, row.start_s), color=None).props(
                    "flat no-caps align=left"
                )
                with made.classes("nh-trial nh-trial-link"):
                    ui.label(str(row.number)).classes("nh-trial-number")
                    ui.label(shown(row.movement)).classes("nh-trial-what")
                    ui.label(f"{row.start_s:.1f} s").classes("nh-note")

    def _exports(self, reports: Sequence[tuple[str, str]]) -> None:
        stem = shown(self._path.stem)
        with ui.element("div").classes("nh-column"):
            button("sessions.csv", partial(self._download_trials, f"{stem}-trials.csv"))
            button("sessions.npz", partial(self._download_positions, f"{stem}-positions.npz"))
            for kind, url in reports:
                ui.link(say(f"file.{kind}"), url, new_tab=True).classes("nh-link-button")

    def _download_trials(self, name: str) -> None:
        ui.download.content(table_csv(self._about.trials).encode("utf-8", "replace"), name)

    async def _download_positions(self, name: str) -> None:
        reader = Reader()  # its own: hours take a while, and nobody else should wait
        try:
            content = await reader.read(positions_of, self._path, limit_s=_EXPORT_S)
        except NervehandError as error:
            ui.notify(shown(str(error)), type="negative", position="top", timeout=8000, multi_line=True)
        else:
            ui.download.content(content, name)
        finally:
            reader.close()

    def _toggle(self) -> None:
        self._is_playing = not self._is_playing
        self._played_s = time.monotonic()
        if self._is_playing and self._at_s >= self._about.duration_s - COLUMN_S:
            self._at_s = 0.0
        self._play.text = say("sessions.pause" if self._is_playing else "sessions.play")

    def _go(self, time_s: float) -> None:
        self._at_s = min(max(time_s, 0.0), self._about.duration_s)
        self._is_moved = self._is_new = True
        self._show_time()

    def _tick(self) -> None:
        self._hands.step()
        if not self._is_playing:
            return
        now_s = time.monotonic()
        self._at_s = min(self._at_s + now_s - self._played_s, self._about.duration_s)
        self._played_s = now_s
        self._is_new = True
        self._show_time()
        if self._at_s >= self._about.duration_s:
            self._toggle()

    def _show_time(self) -> None:
        self._clock.text = say("sessions.clock", at=f"{self._at_s:.1f}", of=f"{self._about.duration_s:.1f}")
        self._slider.value = round(self._at_s, 3)

    async def _draw(self) -> None:
        """What is there at the time that is newest now; times that pass meanwhile are left out."""
        if not self._is_new:
            return
        now_s, at_s = time.monotonic(), self._at_s
        has_signals = self._is_moved or now_s - self._signals_s > _SIGNALS_S
        self._is_new = self._is_moved = False
        try:
            moment, channels = await self._reader.read(
                seen_at, self._path, self._about.changed_ns, at_s, has_signals
            )
        except NervehandError as error:
            self._problem.text, self._problem.visible = shown(str(error)), True
            if self._is_playing:
                self._toggle()
            return
        self._problem.visible = False
        self._show(moment)
        if has_signals:
            self._signals_s = now_s
            sure = sureness(moment.confidence, moment.warming, moment.decoded)
            self._signals.content = shown(signals_svg(channels, round(WINDOW_S / COLUMN_S)))
            self._joints.content = joints_svg(moment.decoded, moment.truth, NOWHERE, sure, "hands.able")

    def _show(self, moment: Moment) -> None:
        sure = sureness(moment.confidence, moment.warming, moment.decoded)
        side: Side = "left" if self._about.side == "left" else "right"
        self._hands.show(moment.decoded, moment.truth, side, sure)
        self._cue.text = shown(moment.cue) or "–"
        self._decoded.text = (
            shown(say("sessions.decoded", gesture=moment.gesture, share=f"{moment.confidence:.0%}"))
            if moment.has_intent
            else say("sessions.no_intents")
        )
