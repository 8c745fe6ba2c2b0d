"""The page of devices: front-ends and hands that are there, the check before use, the doctor; a run starts here."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nicegui import run, ui

from firmware_bridge.errors import NervehandError
from nervehand.console.app import Console
from nervehand.console.finding import files_below, source_choices, source_facts
from nervehand.console.launching import RunPlan
from nervehand.console.layout import SLOW_S, attempt, button, card, frame
from nervehand.console.shown import shown
from nervehand.console.texts import say
from nervehand.console.trying import attempted
from nervehand.console.watch import title_of

HANDS = ("virtual", "none")
SCAN_S = 4.0
_OURS = Path(__file__).parent.parent / "bundles" / "demo.nhb"


def add_device_page(console: Console) -> None:
    """Serve it."""

    @ui.page("/device")
    def device(bundle: str = "") -> None:
        with frame(console, "device"), ui.element("div").classes("nh-two-columns"):
            with ui.element("div").classes("nh-stack"):
                _StartCard(console, bundle)
                _EnginesCard(console)
            with ui.element("div").classes("nh-stack"):
                _Finder("device.sources", "device.sources_hint", "device.look", _sources_html)
                _Finder("device.hands", "device.hands_hint", "device.scan", _hands_html)
            _Finder("device.doctor", "device.doctor_hint", "device.examine", _doctor_html, classes="nh-wide")


def who_arms(hand: str, typed: str, operator: str) -> str:
    """Who answers for arming a hand: the name `typed` for it, else the operator's own; "" for a hand worn by nobody.

    NervehandError where nobody has typed a name, "" for both: a real hand is not armed in nobody's name.
    """
    if not typed and not operator and hand not in HANDS:
        raise NervehandError(say("device.nobody", hand=hand))
    return typed or ("" if hand in HANDS else operator)


class _StartCard:
    """Which source, which decoder, which hand, who answers for it."""

    def __init__(self, console: Console, bundle: str) -> None:
        self._console = console
        ours = {str(_OURS): say("decoders.shipped", name=_OURS.name)}
        with card("device.start"):
            ui.label(say("device.start_hint")).classes("nh-note")
            self._source = ui.input(
                say("setup.source"), value="simulated:default/1/1?steered", autocomplete=source_choices()
            )
            self._bundle = ui.select(ours, label=say("device.bundle"), value=str(_OURS))
            self._hand = ui.input(say("device.hand"), value="virtual", autocomplete=list(HANDS))
            self._arm_as = ui.input(say("device.arm_as"))
            for field in (self._source, self._bundle, self._hand, self._arm_as):
                field.props("outlined").classes("nh-field nh-field-wide")
            with ui.element("div").classes("nh-row"):
                self._begin = button("device.start_run", self._start, is_main=True)
                button("device.inspect", self._inspect)
            self._found = ui.html("", sanitize=False)
            self._begin.disable()  # until it is known which decoders there are: one of them may be meant
            ui.timer(0.0, partial(self._look, bundle, ours), once=True)

    async def _look(self, bundle: str, ours: dict[str, str]) -> None:
        """Find the decoders, away from the pages' thread: `bundle`, else the newest, is chosen."""
        folder = self._console.folder
        try:
            found = await run.io_bound(files_below, folder, ".nhb") or []
            bundles = {str(path): shown(path.relative_to(folder)) for path in found} | ours
            meant = next((path for path in bundles if shown(path) == bundle), next(iter(bundles)))
            self._bundle.set_options(bundles, value=meant)
        finally:
            self._begin.enable()

    async def _start(self) -> None:
        hand, typed = str(self._hand.value).strip(), str(self._arm_as.value or "").strip()
        name = self._console.typed_name()

        def start() -> None:
            plan = RunPlan(
                source=str(self._source.value).strip(),
                bundle=Path(str(self._bundle.value)),
                hand=hand,
                arm_as=who_arms(hand, typed, name),
            )
            self._console.engines.start(plan.words())

        if await attempt(start):
            ui.notify(say("device.starting"), position="top")

    async def _inspect(self) -> None:
        try:  # a recording is a source, too
            facts = await self._console.listing.read(source_facts, str(self._source.value).strip())
        except NervehandError as error:
            self._found.content = html.escape(shown(str(error)))
            return
        finally:
            await self._console.listing.rest()
        rows = [(say(key), value) for key, value in facts]
        self._found.content = shown(table(("device.fact", "device.value"), rows))


class _EnginesCard:
    """The engines that run, and which of them is watched."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: object = None
        with card("device.engines"):
            self._rows = ui.element("div").classes("nh-list")
        ui.timer(SLOW_S, self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        watch = self._console.watch
        now = watch.entries, watch.chosen
        if now == self._shown:
            return
        self._shown = now
        self._rows.clear()
        with self._rows:
            if not watch.entries:
                ui.label(say("engine.none"))
            for entry in watch.entries:
                with ui.element("div").classes("nh-item"):
                    with ui.element("div").classes("nh-item-what"):
                        ui.label(title_of(entry)).classes("nh-item-name")
                        kind = say(f"engine.{entry.about.get('kind', 'run')}")
                        ui.label(say("device.engine_row", kind=kind, address=entry.address)).classes(
                            "nh-note"
                        )
                    if entry == watch.chosen:
                        ui.label(say("device.watched")).classes("nh-pill nh-pill-sure")
                    else:
                        button("device.watch", partial(self._choose, entry.address))

    async def _choose(self, address: str) -> None:
        await attempt(lambda: self._console.watch.choose(address))


class _Finder:
    """A card that looks for something when it is asked to, and shows a table of it."""

    def __init__(self, title: str, hint: str, verb: str, find: Callable[[], str], classes: str = "") -> None:
        self._find = find
        with card(title, classes):
            ui.label(say(hint)).classes("nh-note")
            self._button = button(verb, self._look)
            self._table = ui.html("", sanitize=False).classes("nh-found")

    async def _look(self) -> None:
        self._button.disable()
        self._table.content = html.escape(say("device.looking"))
        found = await attempted(self._find)
        self._table.content = found or ""
        self._button.enable()


def _sources_html() -> str:
    from nervehand.sources import find_all, how_to_install, schemes

    searched = find_all()
    rows = [(found.address, found.description) for one in searched for found in one.found]
    forms = [
        (scheme.address, how_to_install(scheme.missing_extra) if scheme.missing_extra else "")
        for scheme in schemes()
    ]
    return table(("device.address", "device.what"), rows) + table(("device.forms", "device.missing"), forms)


def _hands_html() -> str:
    from nervehand.hand_scan import scanned

    found = scanned(None, SCAN_S, everything=False)
    rows = [(f"{hand.kind}:{hand.address}", hand.name) for hand in found.near]
    rows += [(f"serial:{port}", description) for port, description in found.ports]
    problem = f"<p>{html.escape(found.problem)}</p>" if found.problem else ""
    return table(("device.address", "device.what"), rows) + problem


def _doctor_html() -> str:
    from nervehand.doctor import examine
    from nervehand.machine import read_facts

    verdicts = examine(read_facts(Path.cwd()))
    rows = [(say(f"level.{v.level.value}"), v.check, v.text, v.remedy) for v in verdicts]
    return table(("device.level", "device.check", "device.found", "device.remedy"), rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML; a line that says so where it is empty."""
    if not rows:
        return f'<p class="nh-note">{html.escape(say("device.nothing"))}</p>'
    head = "".join(f"<th>{html.escape(say(key))}</th>" for key in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<table class="nh-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
