"""The page of decoders: lineage, scores, which one is deployed or in shadow; push, switch and roll back."""

from __future__ import annotations

import html
from functools import partial
from pathlib import Path

from nicegui import run, ui

from nervehand.console.app import Console
from nervehand.console.decoders_view import DecoderFacts, decoder_facts, lineage, role_of
from nervehand.console.finding import files_below
from nervehand.console.layout import SLOW_S, attempt, button, card, frame, labelled
from nervehand.console.live_page import shadow_text
from nervehand.console.shown import shown
from nervehand.console.texts import TEXTS, say
from nervehand.console.views import LiveView

PUSH_S = 60.0
_OURS = Path(__file__).parent.parent / "bundles" / "demo.nhb"


def add_decoders_page(console: Console) -> None:
    """Serve it."""

    @ui.page("/decoders")
    def decoders() -> None:
        with frame(console, "decoders"), ui.element("div").classes("nh-stack"):
            page = _DecodersPage(console)
            ui.timer(0.0, page.look, once=True)


class _DecodersPage:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._roles: dict[Path, tuple[DecoderFacts, ui.label, ui.button]] = {}
        with card("decoders.engine") as self._engine:
            with ui.element("dl").classes("nh-facts"):
                self._deployed = _pair("decoders.deployed")
                self._shadow = _pair("decoders.in_shadow")
            self._missing = ui.label("").classes("nh-problem")
            ui.label(say("decoders.hint")).classes("nh-note")
            with ui.element("div").classes("nh-row"):
                self._switch = button(
                    "command.switch", partial(self._ask, "switch", "candidate"), is_main=True
                )
                self._rollback = button("command.rollback", partial(self._ask, "rollback", "previous"))
        self._list = card("decoders.title")
        with self._list:
            ui.label(shown(say("sessions.folder", folder=console.folder))).classes("nh-note")
        ui.timer(SLOW_S, self._refresh)

    async def look(self) -> None:
        """Find the decoders, and show them."""
        facts = await run.io_bound(_all_facts, self._console.folder) or []
        with self._list:
            if not facts:
                ui.label(say("decoders.none"))
            for one in facts:
                self._row(one)
        self._refresh()

    def _live(self) -> LiveView | None:
        seen = self._console.watch.live() if self._console.watch.kind == "run" else None
        return None if seen is None else seen[1]

    def _refresh(self) -> None:
        live = self._live()
        self._deployed.text = (
            say("decoders.no_engine") if live is None else live.bundle[:12] or say("fact.unsaid")
        )
        self._shadow.text = say("fact.no_shadow") if live is None else shadow_text(live)
        shadow = None if live is None else live.shadow("candidate")
        self._switch.set_enabled(shadow is not None)
        self._rollback.set_enabled(live is not None and live.shadow("previous") is not None)
        self._missing.text = "; ".join(shadow.missing) if shadow is not None else ""
        for facts, pill, push in self._roles.values():
            role = role_of(facts, live)
            pill.text = say(f"role.{role}") if role else ""
            pill.visible = bool(role)
            push.set_enabled(live is not None and not role)

    def _row(self, facts: DecoderFacts) -> None:
        name = _name(facts.path, self._console.folder)
        with ui.element("details").classes("nh-item nh-decoder"):
            with ui.element("summary").classes("nh-decoder-head"):
                with ui.element("div").classes("nh-item-what"):
                    ui.label(name).classes("nh-item-name")
                    if facts.manifest is None:
                        ui.label(shown(facts.problem)).classes("nh-problem")
                        return
                    m = facts.manifest
                    ui.label(
                        say(
                            "decoders.row",
                            subject=m.subject or say("sessions.unnamed"),
                            network=m.training.network,
                            channels=len(m.stream.channel_names),
                            gestures=len(m.gestures),
                            sha=facts.sha256[:12],
                        )
                    ).classes("nh-note")
                pill = ui.label("").classes("nh-pill nh-pill-sure")
                push = button("decoders.push", partial(self._push, facts))
                labelled(push, say("decoders.push_of", name=name))
            ui.html(detail(facts), sanitize=False)
        self._roles[facts.path] = facts, pill, push

    async def _ask(self, request: str, role: str) -> None:
        """Of the decoder that is shown in that role, and of no other that somebody has brought meanwhile."""
        who, live = self._console.who(), self._live()
        found = None if live is None else live.shadow(role)
        named = {} if found is None else {"sha256": found.sha256}
        await attempt(lambda: self._console.watch.ask(who, request, named))

    async def _push(self, facts: DecoderFacts) -> None:
        who = self._console.who()

        def push() -> None:
            blob = facts.path.read_bytes()
            self._console.watch.ask(who, "push", {}, facts.sha256[:12], PUSH_S, blob)

        if await attempt(push):
            ui.notify(say("decoders.pushed"), position="top")


def detail(facts: DecoderFacts) -> str:
    """Lineage and scores as tables of HTML."""
    if facts.manifest is None:
        return ""
    m = facts.manifest
    learned = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(which or say('decoders.all'))}</td>"
        f"<td><code>{html.escape(sha)}</code></td></tr>"
        for name, which, sha in lineage(m)
    )
    scores = "".join(
        f"<tr><td>{html.escape(TEXTS.get(f'score.{name}', name))}</td><td>{_score(name, value)}</td></tr>"
        for name, value in sorted(m.training.metrics.items())
    )
    heads = "".join(
        f"<th>{html.escape(say(f'decoders.{key}'))}</th>" for key in ("session", "repetitions", "digest")
    )
    return (
        f'<div class="nh-two"><div><h3>{html.escape(say("decoders.lineage"))}</h3><table class="nh-table"><tr>{heads}'
        f"</tr>{learned}</table></div><div><h3>{html.escape(say('decoders.scores'))}</h3>"
        f'<table class="nh-table">{scores or _none()}</table></div></div>'
    )


def _none() -> str:
    return f"<tr><td>{html.escape(say('decoders.no_scores'))}</td></tr>"


def _score(name: str, value: float) -> str:
    is_share = 0 <= value <= 1 and any(word in name for word in ("accuracy", "match", "f1", "vote"))
    return f"{value:.1%}" if is_share else f"{value:.3g}"


def _all_facts(folder: Path) -> list[DecoderFacts]:
    paths = files_below(folder, ".nhb")
    return [decoder_facts(path) for path in (*paths, *([_OURS] if _OURS not in paths else []))]


def _name(path: Path, folder: Path) -> str:
    return (
        shown(path.relative_to(folder))
        if path.is_relative_to(folder)
        else say("decoders.shipped", name=path.name)
    )


def _pair(key: str) -> ui.label:
    with ui.element("div").classes("nh-fact"):
        with ui.element("dt"):
            ui.label(say(key))
        with ui.element("dd"):
            return ui.label("")
