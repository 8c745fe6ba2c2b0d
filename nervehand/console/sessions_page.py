"""The page of recorded sessions: browse them, go through one by a time slider, export it, open its report."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from nicegui import run, ui

from nervehand.console.app import Console
from nervehand.console.files import file_url
from nervehand.console.finding import files_below
from nervehand.console.hands_view import TwoHands, legend, sureness
from nervehand.console.layout import FRAME_S, button, card, frame
from nervehand.console.session_view import (
    COLUMN_S,
    WINDOW_S,
    SessionFacts,
    SessionView,
    facts_of,
    open_session,
)
from nervehand.console.texts import say
from nervehand.console.traces import joints_svg, signals_svg
from nervehand.console.trying import attempted
from nervehand.console.views import NOWHERE, Side

_SIGNALS_S = 0.2
_STEP_S = 1.0
REPORTS = ("report.html", "report.pdf")


def add_sessions_page(console: Console) -> None:
    """Serve it; which session is open is in the page's address, so that a reload shows it again."""

    @ui.page("/sessions")
    async def sessions(open: str = "", at: float = 0.0) -> None:
        with frame(console, "sessions"):
            box = ui.element("div").classes("nh-stack")
        with box:
            path = (console.folder / open).resolve()
            if open and path.is_relative_to(console.folder.resolve()):
                view = await attempted(partial(open_session, path))
                if view is not None:
                    _Replay(console, path, view, at)
                    return
            await _show_list(console)


async def _show_list(console: Console) -> None:
    with card("sessions.title"):
        ui.label(say("sessions.folder", folder=console.folder)).classes("nh-note")
        waiting = ui.label(say("sessions.looking")).classes("nh-note")
        facts = await run.io_bound(_all_facts, console.folder) or []
        waiting.delete()
        if not facts:
            ui.label(say("sessions.none"))
            return
        with ui.element("div").classes("nh-list").props('role="list"'):
            for one in facts:
                _row(console, one)


def _all_facts(folder: Path) -> list[SessionFacts]:
    return [facts_of(path) for path in files_below(folder, ".nwb")]


def _row(console: Console, facts: SessionFacts) -> None:
    name = str(facts.path.relative_to(console.folder))
    with ui.element("div").classes("nh-item").props('role="listitem"'):
        with ui.element("div").classes("nh-item-what"):
            ui.label(name).classes("nh-item-name")
            if facts.problem:
                ui.label(facts.problem).classes("nh-problem")
                return
            when = facts.start_time.replace("T", " ")[:16] or say("sessions.undated")
            ui.label(
                say(
                    "sessions.row",
                    when=when,
                    subject=facts.subject or say("sessions.unnamed"),
                    side=say(f"side.{facts.side}") if facts.side else "–",
                    minutes=f"{facts.duration_s / 60:.1f}",
                    channels=facts.n_channels,
                    rate=f"{facts.rate_hz:g}",
                )
            ).classes("nh-note")
        ui.link(say("sessions.open"), f"/sessions?open={name}").classes("nh-link-button").props(
            f'aria-label="{say("sessions.open_of", name=name)}"'
        )


class _Replay:
    """One session: signals, hands and joints at the time of the slider."""

    def __init__(self, console: Console, path: Path, view: SessionView, at_s: float) -> None:
        self._view, self._path = view, path
        self._at_s = min(max(at_s, 0.0), view.duration_s)
        self._is_playing = False
        self._played_s = 0.0
        self._signals_s = 0.0
        meta = view.session.meta
        with ui.element("div").classes("nh-row"):
            ui.link(say("sessions.back"), "/sessions").classes("nh-button nh-back")
            ui.label(str(path.relative_to(console.folder.resolve()))).classes("nh-h1")
        ui.label(
            say(
                "sessions.about",
                subject=meta.subject or say("sessions.unnamed"),
                array=meta.array or "–",
                trials=len(view.trials),
                seconds=f"{view.duration_s:.1f}",
                bundle=view.session.recorded.bundle[:12] or "–",
            )
        ).classes("nh-note")
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
                self._exports()
        ui.timer(FRAME_S, self._tick)
        self._draw(is_moved=True)

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
                min=0.0, max=round(self._view.duration_s, 2), step=COLUMN_S, value=self._at_s
            )
            self._slider.classes("nh-slider nh-grow").props(f'aria-label="{say("sessions.time")}"')
            self._slider.on("update:model-value", lambda: self._go(float(self._slider.value)), throttle=0.05)
            self._clock = ui.label("").classes("nh-clock")

    def _trial_table(self) -> None:
        with ui.element("div").classes("nh-trial-rows nh-scroll"):
            for row in self._view.trials:
                made = ui.button(on_click=partial(self._go, row.start_s), color=None).props(
                    "flat no-caps align=left"
                )
                with made.classes("nh-trial nh-trial-link"):
                    ui.label(str(row.number)).classes("nh-trial-number")
                    ui.label(row.movement).classes("nh-trial-what")
                    ui.label(f"{row.start_s:.1f} s").classes("nh-note")

    def _exports(self) -> None:
        stem = self._path.stem
        with ui.element("div").classes("nh-column"):
            button("sessions.csv", lambda: ui.download.content(self._view.table_csv(), f"{stem}-trials.csv"))
            button("sessions.npz", partial(self._download_positions, f"{stem}-positions.npz"))
            for name in REPORTS:
                report = self._path.with_name(name)
                if report.exists():
                    ui.link(say(f"file.{report.suffix[1:]}"), file_url(report), new_tab=True).classes(
                        "nh-link-button"
                    )

    async def _download_positions(self, name: str) -> None:
        content = await run.io_bound(self._view.positions_npz)
        if content is not None:  # the page may have gone meanwhile
            ui.download.content(content, name)

    def _toggle(self) -> None:
        self._is_playing = not self._is_playing
        self._played_s = time.monotonic()
        if self._is_playing and self._at_s >= self._view.duration_s - COLUMN_S:
            self._at_s = 0.0
        self._play.text = say("sessions.pause" if self._is_playing else "sessions.play")

    def _go(self, time_s: float) -> None:
        self._at_s = min(max(time_s, 0.0), self._view.duration_s)
        self._draw(is_moved=True)

    def _tick(self) -> None:
        self._hands.step()
        if not self._is_playing:
            return
        now_s = time.monotonic()
        self._at_s = min(self._at_s + now_s - self._played_s, self._view.duration_s)
        self._played_s = now_s
        self._draw(is_moved=False)
        if self._at_s >= self._view.duration_s:
            self._toggle()

    def _draw(self, *, is_moved: bool) -> None:
        moment = self._view.at(self._at_s)
        sure = sureness(moment.confidence, moment.warming, moment.decoded)
        side: Side = "left" if self._view.side == "left" else "right"
        self._hands.show(moment.decoded, moment.truth, side, sure)
        self._clock.text = say("sessions.clock", at=f"{self._at_s:.1f}", of=f"{self._view.duration_s:.1f}")
        self._slider.value = round(self._at_s, 3)
        self._cue.text = moment.cue or "–"
        has_intents = moment.decoded is not NOWHERE
        self._decoded.text = (
            say("sessions.decoded", gesture=moment.gesture, share=f"{moment.confidence:.0%}")
            if has_intents
            else say("sessions.no_intents")
        )
        now_s = time.monotonic()
        if is_moved or now_s - self._signals_s > _SIGNALS_S:
            self._signals_s = now_s
            columns = round(WINDOW_S / COLUMN_S)
            self._signals.content = signals_svg(self._view.channels_at(self._at_s), columns)
            self._joints.content = joints_svg(moment.decoded, moment.truth, NOWHERE, sure, "hands.able")
