"""The page of a live run: signals, joints, the hand beside the truth, latency, adjustments and a steered intent."""

from __future__ import annotations

import html
import time

from nicegui import ui

from nervehand.console.adjusting import AdjustCard
from nervehand.console.app import Console
from nervehand.console.hands_view import TwoHands, legend, sureness
from nervehand.console.intending import IntendCard
from nervehand.console.layout import FRAME_S, attempt, button, card, frame
from nervehand.console.texts import say
from nervehand.console.traces import joints_svg, signals_svg
from nervehand.console.views import LiveView, StageTimes

COLUMNS = 160
"""What of a channel is shown: so many pairs of extremes."""
_SIGNALS_S, _JOINTS_S, _TABLE_S = 0.2, 0.1, 1.0


def add_live_page(console: Console) -> None:
    """Serve it."""

    @ui.page("/")
    def live() -> None:
        with frame(console, "live"):
            _LivePage(console)


class _LivePage:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._serial = -1
        self._drawn: dict[str, float] = {}
        self._empty = ui.element("div").classes("nh-empty")
        with self._empty:
            ui.label(say("live.none")).classes("nh-h1")
            ui.label(say("live.none_hint"))
            with ui.element("div").classes("nh-row"):
                ui.link(say("live.to_device"), "/device").classes("nh-link-button")
                ui.link(say("live.to_calibrate"), "/calibrate").classes("nh-link-button")
        self._full = ui.element("div").classes("nh-live")
        with self._full:
            self._build()
        ui.timer(FRAME_S, self._frame)
        self._frame()

    def _build(self) -> None:
        with card("live.hand", "nh-live-hand"):
            with ui.element("div").classes("nh-gesture-row"):
                self._gesture = ui.label("").classes("nh-gesture").props('aria-live="polite"')
                self._sure = ui.label("").classes("nh-pill")
                self._cue = ui.label("").classes("nh-cue")
            self._hands = TwoHands("hands.decoded", "hands.truth", is_target_left=False)
            legend()
        with card("live.signals", "nh-live-signals"):
            self._signals = ui.html("", sanitize=False).classes("nh-fill")
            self._health = ui.label("").classes("nh-note")
        with card("live.joints", "nh-live-joints"):
            self._joints = ui.html("", sanitize=False).classes("nh-fill")
            with ui.element("div").classes("nh-legend"):
                for key in ("bar", "line", "ring"):
                    ui.label(say(f"live.joints_{key}")).classes(f"nh-mark nh-mark-{key}")
        with card("live.state", "nh-live-state"):
            with ui.element("dl").classes("nh-facts"):
                self._facts = {
                    key: _fact(f"fact.{key}") for key in ("gate", "link", "decoder", "shadow", "hops")
                }
            self._notice = ui.label("").classes("nh-notice").props('role="status"')
            self._arm = button("command.arm", self._ask_arm)
        with card("live.latency", "nh-live-latency"):
            self._latency = ui.html("", sanitize=False)
        self._adjust = AdjustCard(self._console)
        self._intend = IntendCard(self._console)

    async def _ask_arm(self) -> None:
        who = self._console.who()
        await attempt(lambda: self._console.watch.ask(who, "arm", {}))

    def _frame(self) -> None:
        seen = self._console.watch.live() if self._console.watch.kind == "run" else None
        self._empty.visible, self._full.visible = seen is None, seen is not None
        self._hands.step(is_seen=seen is not None)
        if seen is None or seen[0] == self._serial:
            return
        self._serial, view = seen
        sure = sureness(view.confidence, view.warming, view.wanted)
        self._hands.show(view.wanted, view.truth, view.side, sure)
        if self._is_due("joints", _JOINTS_S):
            self._show_joints(view, sure)
        if self._is_due("signals", _SIGNALS_S):
            self._signals.content = self._console.drawn(
                "signals", self._serial, lambda: signals_svg(view.channels, COLUMNS)
            )
        if self._is_due("table", _TABLE_S):
            self._show_state(view)

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s - self._drawn.get(what, -1e9) < every_s:
            return False
        self._drawn[what] = now_s
        return True

    def _show_joints(self, view: LiveView, sure: str) -> None:
        self._joints.content = joints_svg(view.wanted, view.truth, view.shown, sure, "hands.truth")
        self._gesture.text = say("live.warming") if view.warming else view.gesture or say("live.no_gesture")
        self._sure.text = "" if view.warming else say(f"certainty.{sure}_of", share=f"{view.confidence:.0%}")
        self._sure.classes(replace=f"nh-pill nh-pill-{sure}")
        self._cue.text = say("live.cue", cue=view.cue) if view.cue else ""
        self._notice.text = view.notice

    def _show_state(self, view: LiveView) -> None:
        masked = sum(bool(channel.masked) for channel in view.channels)
        shown = len(view.channels)
        key = "live.health_all" if shown == view.n_channels else "live.health_first"
        self._health.text = say(
            key, shown=shown, total=view.n_channels, masked=masked, artefacts=view.artefacts
        )
        facts = {
            "gate": view.gate,
            "link": view.link,
            "decoder": view.bundle[:12] or say("fact.unsaid"),
            "shadow": shadow_text(view),
            "hops": say("fact.hops_text", hops=f"{view.hops:,}", dropped=f"{view.commands_dropped:,}"),
        }
        self._arm.set_enabled(not view.gate.startswith("armed"))
        for name, text in facts.items():
            self._facts[name].text = text
        self._latency.content = latency_table(view.latency)
        self._adjust.show(view)
        self._intend.show()


def shadow_text(view: LiveView) -> str:
    """The decoder in shadow, and how often it agrees."""
    shadow = view.shadow("candidate")
    if shadow is None:
        return say("fact.no_shadow")
    if shadow.agreement is None:
        return say("fact.shadow_new", name=shadow.sha256[:12])
    return say("fact.shadow_text", name=shadow.sha256[:12], share=f"{shadow.agreement:.0%}")


def latency_table(rows: tuple[StageTimes, ...]) -> str:
    """The stages with their typical and their slowest times, as a table of HTML."""
    head = "".join(f"<th>{html.escape(say(f'latency.{key}'))}</th>" for key in ("stage", "p50", "p99"))
    body = "".join(
        f'<tr class="{"nh-total" if row.stage.startswith("sample to") else ""}"><td>{html.escape(row.stage)}</td>'
        f"<td>{_ms(row.p50_us)}</td><td>{_ms(row.p99_us)}</td></tr>"
        for row in rows
    )
    return f'<table class="nh-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _ms(microseconds: float | None) -> str:
    return "–" if microseconds is None else f"{microseconds / 1e3:.2f} ms"


def _fact(key: str) -> ui.label:
    with ui.element("div").classes("nh-fact"):
        with ui.element("dt"):
            ui.label(say(key))
        with ui.element("dd"):
            return ui.label("")
