"""The page of a calibration: set up, cues to imitate, progress, the list of trials, and what comes of it."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from calibration.view import CalibrationView, Phase
from nervehand.console.app import Console
from nervehand.console.calibrate_setup import Setup
from nervehand.console.calibrating import (
    SCORE,
    buttons_of,
    headline,
    hint,
    lag_sentence,
    latest_score,
    made,
)
from nervehand.console.hands_view import TwoHands, legend, sureness
from nervehand.console.layout import FRAME_S, attempt, button, card, done_text, frame
from nervehand.console.results import ResultCard
from nervehand.console.resuming import resume_card
from nervehand.console.texts import say
from nervehand.console.traces import curve_svg, joints_svg, ring_svg
from nervehand.console.trial_list import TrialList
from nervehand.console.views import NOWHERE, Side

_COMMANDS = ("pose", "start", "next", "resume", "pause", "redo", "poses", "finish")
_MAIN = ("pose", "start", "next", "resume")
_SHOWN_DONE = 5


def add_calibrate_page(console: Console) -> None:
    """Serve it."""

    @ui.page("/calibrate")
    def calibrate() -> None:
        with frame(console, "calibrate"):
            _CalibratePage(console)


class _CalibratePage:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._serial = -1
        self._shown: dict[str, object] = {}
        self._setup = ui.element("div").classes("nh-setup")
        with self._setup:
            Setup(console)
            resume_card(console)
        self._full = ui.element("div").classes("nh-calibrate")
        with self._full:
            self._build()
        ui.timer(FRAME_S, self._frame)
        self._frame()

    def _build(self) -> None:
        with ui.element("section").classes("nh-card nh-cal-cue"):
            with ui.element("div").classes("nh-cal-head"):
                self._ring = ui.html("", sanitize=False)
                with ui.element("div").classes("nh-cal-words"):
                    self._headline = (
                        ui.label("").classes("nh-h1").props('role="status" aria-live="assertive"')
                    )
                    self._hint = ui.label("").classes("nh-note")
                self._progress_text = ui.label("").classes("nh-cal-count")
            self._progress = ui.linear_progress(value=0.0, show_value=False, size="10px").classes(
                "nh-progress"
            )
            self._progress.props(f'rounded instant-feedback aria-label="{say("calibrate.progress")}"')
            with ui.element("div").classes("nh-row nh-cal-buttons"):
                self._buttons = {name: self._command(name) for name in _COMMANDS}
            self._problem = ui.label("").classes("nh-problem").props('role="alert"')
            self._hands = TwoHands("hands.cue", "hands.phantom", is_target_left=True)
            legend()
        with ui.element("div").classes("nh-cal-side"):
            with card("calibrate.learning"):
                self._curve = ui.html("", sanitize=False).classes("nh-fill")
                self._fit = ui.label("").classes("nh-note")
                self._advice = ui.label("").classes("nh-advice").props('aria-live="polite"')
            with card("calibrate.joints"):
                self._joints = ui.html("", sanitize=False).classes("nh-fill")
                with ui.element("div").classes("nh-legend"):
                    for key, text in (("bar", "phantom"), ("line", "cue"), ("ring", "able")):
                        ui.label(say(f"calibrate.{text}")).classes(f"nh-mark nh-mark-{key}")
                self._lag = ui.label("").classes("nh-note")
        self._result = ResultCard(self._console)
        with card("calibrate.trials", "nh-cal-trials"):
            self._trials = TrialList(self._ask)
        with card("calibrate.who", "nh-cal-who"):
            self._who = ui.label("").classes("nh-who-list")
            self._again = button("calibrate.another", self._leave)
        self._finish_dialog()

    def _command(self, name: str) -> ui.button:
        action = self._confirm_finish if name == "finish" else partial(self._ask_now, name)
        return button(f"command.{name}", action, is_main=name in _MAIN)

    def _finish_dialog(self) -> None:
        with ui.dialog() as self._finish, ui.card().classes("nh-card nh-help"):
            ui.label(say("calibrate.finish_title")).classes("nh-h2")
            ui.label(say("calibrate.finish_text"))
            with ui.element("div").classes("nh-row"):
                button("command.finish_now", self._finish_now, is_main=True)
                button("calibrate.go_on", self._finish.close)

    def _confirm_finish(self) -> None:
        self._finish.open()

    async def _finish_now(self) -> None:
        self._finish.close()
        await self._ask_now("finish")

    async def _ask_now(self, name: str) -> None:
        """A command; `redo` is of the newest trial."""
        seen = self._console.watch.calibration()
        if name == "redo":
            made = (
                []
                if seen is None
                else [t for t in seen[1].trials if t.state not in ("planned", "now", "redone")]
            )
            if made:
                await self._ask("redo", made[-1].number)
            return
        await self._ask(name, 0)

    async def _ask(self, name: str, trial: int) -> None:
        who = self._console.who()
        arguments = {"trial": trial} if trial else {}
        about = str(trial) if trial else ""
        await attempt(lambda: self._console.watch.ask(who, name, arguments, about))

    def _leave(self) -> None:
        """Back to setting up; the engine has ended by itself."""
        self._console.dismissed = self._console.watch.chosen
        self._frame()

    def _frame(self) -> None:
        watch = self._console.watch
        seen = watch.calibration() if watch.kind == "calibration" else None
        is_shown = seen is not None and self._console.dismissed != watch.chosen
        self._setup.visible, self._full.visible = not is_shown, is_shown
        self._hands.step(is_seen=is_shown)
        if seen is None or not is_shown or seen[0] == self._serial:
            return
        self._serial, view = seen
        self._show(view)

    def _show(self, view: CalibrationView) -> None:
        phantom = view.phantom or NOWHERE
        sure = sureness(view.confidence, False, phantom)
        side: Side = "left" if view.side == "left" else "right"
        self._hands.show(phantom, view.target, side, sure)
        words = headline(view)
        self._headline.text, self._hint.text = words, hint(view)
        self._ring.content = ring_svg(view.left_s, view.phase_s, words)
        self._problem.text = view.problem
        self._problem.visible = bool(view.problem)
        self._progress.value = round(made(view) / view.n_trials, 3) if view.n_trials else 0.0
        self._progress_text.text = say(
            "calibrate.count",
            trial=view.trial or made(view),
            n=view.n_trials,
            round=view.round_number,
            rounds=view.n_rounds,
        )
        self._joints.content = joints_svg(phantom, view.target, view.able or NOWHERE, sure, "hands.cue")
        self._lag.text = lag_sentence(view)
        enabled = buttons_of(view)
        for name, one in self._buttons.items():
            one.visible = name in enabled or (bool(enabled) and name in ("pause", "redo", "finish"))
            one.set_enabled(name in enabled)
        is_between = view.phase is Phase.ROUND_DONE
        self._buttons["start"].text = say("command.round" if is_between else "command.start")
        is_left = view.phase is Phase.POSES and view.has_poses
        self._buttons["poses"].text = say("command.keep_poses" if is_left else "command.poses")
        self._buttons["finish"].text = say("command.finish_all" if is_between else "command.finish")
        if self._is_new("fits", (view.fits, view.advice)):
            self._show_learning(view)
        if self._is_new("trials", (view.trials, bool(enabled))):
            self._trials.show(view)
        if self._is_new("files", (view.files, view.phase, view.notice)):
            self._result.show(view)
            self._again.visible = view.phase in (Phase.DONE, Phase.FAILED)
        done = self._console.watch.done
        if self._is_new("done", done):
            self._who.text = "\n".join(done_text(one) for one in done[-_SHOWN_DONE:]) or say(
                "calibrate.nobody"
            )

    def _is_new(self, what: str, value: object) -> bool:
        if self._shown.get(what, self) == value:
            return False
        self._shown[what] = value
        return True

    def _show_learning(self, view: CalibrationView) -> None:
        scores = [fit.scores.get(SCORE) for fit in view.fits]
        self._curve.content = curve_svg(scores, say("calibrate.curve", scores=latest_score(view)))
        running = [fit for fit in view.fits if fit.progress < 1]
        if running:
            self._fit.text = say(
                "calibrate.fitting", round=running[-1].after_round, share=f"{running[-1].progress:.0%}"
            )
        elif view.fits:
            self._fit.text = say(
                "calibrate.fitted", round=view.fits[-1].after_round, score=latest_score(view)
            )
        else:
            self._fit.text = say("calibrate.no_fit")
        self._advice.text = view.advice
