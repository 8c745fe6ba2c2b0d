"""What every page has: the way to the others, STOP and RELEASE, keys, what is connected, and who is asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from nicegui import run, ui
from nicegui.events import GenericEventArguments

from firmware_bridge.errors import NervehandError
from nervehand.console.app import Console
from nervehand.console.rest import Rest, ask_rest
from nervehand.console.shown import shown
from nervehand.console.style import ACCENT, style_sheet
from nervehand.console.texts import say
from nervehand.console.watch import Done, title_of

PAGES = {
    "live": "/",
    "calibrate": "/calibrate",
    "sessions": "/sessions",
    "decoders": "/decoders",
    "device": "/device",
}
E = TypeVar("E", bound=ui.element)
FRAME_S = 0.05
SLOW_S = 0.5
_SAID_S = 12.0
_KEYS = """
<script>
// Space stops, whatever has the focus, unless somebody writes: browsers would press the focused button with it.
window.addEventListener("keydown", (event) => {
  const at = document.activeElement;
  const writes = at && !at.readOnly && (at.tagName === "TEXTAREA" || (at.tagName === "INPUT" && at.type !== "range"));
  if (writes || event.ctrlKey || event.altKey || event.metaKey || ![" ", "r", "?"].includes(event.key)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!event.repeat) emitEvent("console_key", {key: event.key});
}, true);
</script>
"""


@contextmanager
def frame(console: Console, page: str) -> Iterator[None]:
    """The page of that name, with all that every page has around what is built within."""
    ui.colors(primary=ACCENT, negative="#B23A00")
    ui.add_css(style_sheet())
    ui.add_head_html(_KEYS)
    ui.page_title(say("title", page=say(f"page.{page}")))
    controls = _Controls(console)
    ui.link(say("skip"), "#nh-main").classes("nh-skip")
    with ui.element("header").classes("nh-header"):
        ui.label(say("brand")).classes("nh-brand")
        with ui.element("nav").classes("nh-nav").props(f'aria-label="{say("nav")}"'):
            for name, path in PAGES.items():
                link = ui.link(say(f"page.{name}"), path).classes("nh-tab")
                if name == page:
                    link.classes("nh-tab-here").props('aria-current="page"')
        with ui.element("div").classes("nh-rest"):
            release = ui.button(say("release"), on_click=lambda: controls.rest("release"), color=None)
            release.classes("nh-release").props("unelevated no-caps")
            stop = ui.button(say("stop"), on_click=lambda: controls.rest("stop"), color=None)
            stop.classes("nh-stop").props("unelevated no-caps")
    controls.build_banner()
    with ui.element("main").classes("nh-main").props('id="nh-main"'):
        yield
    controls.build_footer()
    controls.build_help()
    ui.on("console_key", controls.key)
    ui.timer(SLOW_S, controls.refresh)


class _Controls:
    """Stop and release, and what a page shows of the engine that is watched."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._said_s = 0.0

    def build_banner(self) -> None:
        self._banner = ui.label("").classes("nh-banner").props('role="alert"')
        self._banner.visible = False
        self._outcome = ui.label("").classes("nh-outcome").props('role="status" aria-live="assertive"')
        self._outcome.visible = False

    def build_footer(self) -> None:
        with ui.element("footer").classes("nh-footer"):
            self._engine = ui.label("").classes("nh-engine")
            self._state = ui.label("").classes("nh-state")
            self._done = ui.label("").classes("nh-done").props('aria-live="polite"')
            with ui.element("label").classes("nh-who"):
                ui.label(say("operator.label"))
                name = ui.input(value=self._console.who()).props("dense borderless maxlength=40")
                name.props(f'input-class="nh-who-input" aria-label="{say("operator.label")}"')
                name.on_value_change(lambda event: self._console.call_me(str(event.value)))
            ui.button(say("help.button"), on_click=self.toggle_help, color=None).classes("nh-quiet").props(
                f'flat no-caps aria-label="{say("help.title")}"'
            )

    def build_help(self) -> None:
        with ui.dialog() as self._help, ui.card().classes("nh-card nh-help"):
            ui.label(say("help.title")).classes("nh-h2")
            for key in ("space", "r", "question", "tab", "enter", "escape"):
                with ui.element("div").classes("nh-help-row"):
                    ui.label(say(f"help.{key}.key")).classes("nh-key")
                    ui.label(say(f"help.{key}"))
            ui.label(say("help.stop_means")).classes("nh-note")
            ui.label(say("help.release_means")).classes("nh-note")
            ui.button(say("close"), on_click=self._help.close).props("unelevated no-caps").classes(
                "nh-button"
            )

    def toggle_help(self) -> None:
        self._help.value = not self._help.value

    async def key(self, event: GenericEventArguments) -> None:
        pressed = str(event.args.get("key", ""))
        if pressed == " ":
            await self.rest("stop")
        elif pressed == "r":
            await self.rest("release")
        elif pressed == "?":
            self.toggle_help()

    async def rest(self, request: Rest) -> None:
        """Ask, and say how it ended, on this page at once and on the others with what was done."""
        who = self._console.who()
        self._say(say(f"rest.{request}.asked"), is_bad=False)
        try:
            loop, console = asyncio.get_running_loop(), self._console
            state = await loop.run_in_executor(console.resting, ask_rest, console.watch, request, who)
        except NervehandError as error:
            self._say(shown(say(f"rest.{request}.failed", error=str(error))), is_bad=True)
        else:
            self._say(say(f"rest.{request}.done", who=who, state=state or say("rest.heard")), is_bad=False)

    def _say(self, text: str, *, is_bad: bool) -> None:
        self._said, self._said_s = text, time.monotonic()
        self._outcome.text, self._outcome.visible = text, True
        self._outcome.classes(**{"add" if is_bad else "remove": "nh-outcome-bad"})

    def refresh(self) -> None:
        watch = self._console.watch
        if self._said and time.monotonic() - self._said_s > _SAID_S:
            self._said, self._outcome.visible = "", False
        failed = self._console.engines.reap()
        chosen = watch.chosen
        is_lost = chosen is not None and not watch.is_connected and not watch.is_complete
        self._banner.visible = is_lost or (failed is not None and not watch.is_connected)
        if is_lost and chosen is not None:
            lost = "banner.lost_far" if watch.is_remote else "banner.lost"
            key = "banner.ended" if watch.has_ended else lost
            self._banner.text = say(key, title=title_of(chosen))
        elif self._banner.visible and failed is not None:
            self._banner.text = shown(say("banner.failed", text=failed.last_words()))
        if chosen is None:
            self._engine.text = say("engine.none")
        else:
            key = "engine.connected" if watch.is_connected else "engine.lost"
            self._engine.text = say(key, title=title_of(chosen))
        hand = watch.hand()
        self._state.text = "" if hand is None else say("engine.state", gate=hand[0], link=hand[1])
        self._done.text = done_text(watch.done[-1]) if watch.done else ""


def done_text(done: Done) -> str:
    """What somebody did, in one line."""
    when = time.strftime("%H:%M:%S", time.localtime(done.at_s))
    what = f"{say(f'request.{done.request}')} {done.about}".strip()
    key = "done.refused" if done.error else "done"
    return shown(say(key, when=when, who=done.who, what=what, error=done.error))


def card(title_key: str, classes: str = "") -> ui.element:
    """A card with its title; to be entered."""
    box = ui.element("section").classes(f"nh-card {classes}")
    with box:
        ui.label(say(title_key)).classes("nh-h2").props('role="heading" aria-level="2"')
    return box


def button(key: str, on_click: Callable[..., object], *, is_main: bool = False) -> ui.button:
    """A button of the pages: large enough for a finger; one of a page is the main one."""
    made = ui.button(say(key), on_click=on_click, color=None).props("unelevated no-caps")
    return made.classes("nh-button-main" if is_main else "nh-button")


def labelled(element: E, text: str) -> E:
    """The element with that name for screen readers. Never by `props(f"...")`: there a file's name can be script."""
    element.props["aria-label"] = shown(text)
    return element


async def attempt(action: Callable[[], object]) -> bool:
    """Do it away from the pages' thread; what it refuses is shown. Whether it was done."""
    try:
        await run.io_bound(action)
    except NervehandError as error:
        ui.notify(shown(str(error)), type="negative", position="top", timeout=8000, multi_line=True)
        return False
    return True
