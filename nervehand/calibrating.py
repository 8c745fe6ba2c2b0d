"""`nervehand calibrate`: leads a person through a calibration, in the terminal, for a browser, or by itself."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console

import nervehand
from calibration import networks
from calibration.finishing import Finished, FinishOptions, finish, last_report
from calibration.folder import JOURNAL, CalibrationFolder, Plan
from calibration.paradigm import Paradigm
from calibration.rehearsal import answer
from calibration.runner import Able, Onlooker, Person, Runner
from calibration.simulated_address import SIMULATED, address_of, is_simulated, wearer_of
from calibration.simulated_wearer import SimulatedWearer, Wearer, drawn_mishaps
from calibration.truth import Side, open_able
from calibration.truth.reader import TruthReader
from calibration.view import CalibrationView, Phase
from firmware_bridge.errors import NervehandError
from firmware_bridge.port import Port, Request, serving
from firmware_bridge.stream import SignalBlock, Source
from nervehand.calibration_screen import KEYS, CalibrationScreen
from nervehand.fresh_day import fresh_day_scores
from nervehand.hand_use import login_name
from nervehand.keys import keys_pressed
from nervehand.output import print_json, saying
from nervehand.sources import open_source
from nervehand.stopping import closed_by, stop_on_signals

TOPIC = "calibration"
SHOWN_S = 0.1
LINGER_S = 5.0
"""How long a port stays after the end, so that who looks on sees it."""


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """What a person says of a calibration, beside its folder. With a `wearer`, a simulated
    person, nothing else is needed; `n_mishaps` of their trials go wrong."""

    paradigm: Paradigm
    subject: str
    side: str = "right"
    array: str = ""
    source: str = ""
    truth: str = ""
    wearer: Wearer | None = None
    n_mishaps: int = 0


@dataclass(frozen=True, slots=True)
class LastFit:
    """How the decoder is made in the end: see FinishOptions. NervehandError for what cannot be, before any trial."""

    network: str = "compact"
    n_parts: int = 2
    threads: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        networks.load(self.network)
        if self.n_parts == 1:
            raise NervehandError(
                "--parts 1 holds nothing out: give 2 or more, or 0 for a report without scores"
            )


@dataclass(frozen=True, slots=True)
class _Ends:
    """Both ends of a calibration: the nerve, the able hand, and who is asked."""

    source: Source
    able: Able | None
    person: Person


def plan_of(options: CalibrateOptions, identifier: str) -> Plan:
    """The plan of a new calibration."""
    wearer = options.wearer
    is_mimic = options.paradigm.kind == "mimic"
    return Plan(
        identifier=identifier,
        subject=options.subject,
        side=options.side if wearer is None else wearer.side,
        array=options.array if wearer is None else SIMULATED,
        source=options.source if wearer is None else address_of(wearer, options.n_mishaps),
        truth="" if is_mimic else options.truth if wearer is None else SIMULATED,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        paradigm=options.paradigm,
        version=nervehand.__version__,
    )


def run_calibrate(
    path: Path,
    options: CalibrateOptions | None,
    last: LastFit,
    *,
    fresh_day: int | None = None,
    port: str | None,
    headless: bool,
    as_json: bool,
) -> None:
    """A new calibration in `path`, or with `options` None the one that is there, gone on with, to its end.

    On `fresh_day` a simulated person's decoder is scored. `port` HOST:PORT serves it to a console, None does not.
    """
    headless = headless or as_json
    if options is None:
        folder = CalibrationFolder.reopen(path)
        options = options_of(folder.plan)
        require_another_day(fresh_day, options.wearer)
        with folder.held():
            _mend(folder)
            done = calibrate(folder, contextlib.nullcontext(), options, last, port=port, headless=headless)
    else:
        require_another_day(fresh_day, options.wearer)
        folder = CalibrationFolder(path, plan_of(options, path.name))
        folder.require_new(path)
        done = calibrate(folder, _made(folder), options, last, port=port, headless=headless)
    fresh = None
    if done is not None and fresh_day is not None and options.wearer is not None:
        fresh = fresh_day_scores(done.decoder, options.wearer, options.paradigm, fresh_day)
    if as_json:
        print_json(summary(folder, done) | ({} if fresh is None else {"fresh_day": fresh}))
        return
    print(describe(folder, done))
    for name, value in (fresh or {}).items():
        print(f"day {fresh_day}, {name}: {value}")


def require_another_day(fresh_day: int | None, wearer: Wearer | None) -> None:
    """NervehandError where no decoder can be scored on that day."""
    if fresh_day is None:
        return
    if wearer is None:
        raise NervehandError(
            "--fresh-day is for a simulated person: leave it out, or calibrate one (--subject simulated)"
        )
    if fresh_day == wearer.day:
        raise NervehandError(f"--fresh-day {fresh_day} is the day of the calibration itself: give another")


def run_report(path: Path, last: LastFit, *, as_json: bool) -> None:
    """Session, decoder and report of the calibration in `path`, made again."""
    folder = CalibrationFolder.reopen(path)
    with folder.held():
        _mend(folder)
        with saying("finishing", as_json):
            done = finish(folder, _finish_options(folder, last))
    if as_json:
        print_json(summary(folder, done))
        return
    print(describe(folder, done))


def _mend(folder: CalibrationFolder) -> None:
    """What a kill left open is closed; what was found, and what is damaged, is said."""
    for said in folder.mend():
        print(said, file=sys.stderr)
    if n := folder.kept().damaged:
        lines = "1 line is" if n == 1 else f"{n} lines are"
        print(
            f"{folder.path / JOURNAL}: {lines} damaged: what was said there, of a trial, the hand or a fit, is lost",
            file=sys.stderr,
        )


@contextlib.contextmanager
def _made(folder: CalibrationFolder) -> Iterator[None]:
    """The folder is made, and held; it goes again where no recording is begun, so that another attempt can have it."""
    was_there = folder.path.exists()
    folder.create(folder.path, folder.plan)
    try:
        with folder.held():
            yield
    except BaseException:
        folder.discard()
        if not was_there:
            with contextlib.suppress(OSError):  # it is not empty: something is kept
                folder.path.rmdir()
        raise


def options_of(plan: Plan) -> CalibrateOptions:
    """How a calibration was begun."""
    wearer, n_mishaps = None, 0
    if is_simulated(plan.source):
        wearer, n_mishaps = wearer_of(plan.source)
        wearer = replace(wearer, side=phantom_side(plan.side))
    return CalibrateOptions(
        plan.paradigm,
        plan.subject,
        plan.side,
        plan.array,
        plan.source,
        plan.truth,
        wearer=wearer,
        n_mishaps=n_mishaps,
    )


def phantom_side(side: str) -> Side:
    """NervehandError for what is none."""
    if side not in ("left", "right"):
        raise NervehandError(f"the phantom hand's side is {side!r}: give left or right")
    return "left" if side == "left" else "right"


def calibrate(
    folder: CalibrationFolder,
    made: contextlib.AbstractContextManager[None],
    options: CalibrateOptions,
    last: LastFit,
    *,
    port: str | None,
    headless: bool,
) -> Finished | None:
    """Lead a calibration to its end; None where it was left before, and can be resumed.

    The folder is there, and held, within `made`, which is entered once source, truth and port are open: a wrong address
    leaves nothing behind. `headless` without a port nobody is asked: it starts, and finishes, by itself.
    """
    is_watched = not headless or port is not None
    with contextlib.ExitStack() as opened:
        stop = opened.enter_context(stop_on_signals())
        ends = _ends(folder.plan, options, is_paced=is_watched, opened=opened)
        opened.enter_context(closed_by(stop, ends.source))
        ends.source.connect()
        opened.callback(ends.source.close)
        blocks = iter(ends.source.blocks())
        first = next(blocks, None)
        if first is None:
            raise NervehandError(f"{folder.plan.source} gave no sample: nothing was calibrated")
        served = None
        if port is not None:
            about = {
                "kind": TOPIC,
                "title": f"calibration of {folder.plan.subject}",
                "subject": folder.plan.subject,
                "folder": str(folder.path.resolve()),
            }
            served = opened.enter_context(serving(port, ends.source.info, about, name=folder.path.name))
            print(served.announcement, file=sys.stderr, flush=True)
        screen = None
        pressed: SimpleQueue[str] = SimpleQueue()
        if not headless:
            screen = opened.enter_context(CalibrationScreen(folder.plan))
            if sys.stdin.isatty():
                opened.enter_context(keys_pressed(pressed.put))
        opened.enter_context(made)
        runner = Runner(folder, ends.source.info, first, ends.able, person=ends.person, is_live=is_watched)
        lead = _Lead(runner, served, screen, pressed, stop, is_alone=not is_watched)
        with runner:
            lead.block(first)
            for block in blocks:
                if lead.is_over:
                    break
                lead.block(block)
            ends.source.close()
        if runner.conductor.phase is not Phase.FINISHING:
            return None
        return _finished(folder, last, lead, served, stop)


def _finished(
    folder: CalibrationFolder, last: LastFit, lead: _Lead, port: Port | None, stop: threading.Event
) -> Finished | None:
    try:
        with lead.meanwhile() as say:
            done = finish(folder, _finish_options(folder, last), say)
    except _LeftError:
        return None
    except Exception as error:
        lead.show_end(Phase.FAILED, {}, str(error) if isinstance(error, NervehandError) else repr(error))
        _linger(port, stop)
        raise
    lead.show_end(Phase.DONE, done.files(), "")
    _linger(port, stop)
    return done


def _finish_options(folder: CalibrationFolder, last: LastFit) -> FinishOptions:
    return FinishOptions(
        network=last.network,
        n_parts=last.n_parts,
        steps=last.steps,
        threads=last.threads,
        version=nervehand.__version__,
        made_by=login_name(),
        previous=last_report(folder.path, folder.plan.subject, folder.plan.side),
    )


def _linger(port: Port | None, stop: threading.Event) -> None:
    if port is not None:
        stop.wait(LINGER_S)


def _ends(plan: Plan, options: CalibrateOptions, *, is_paced: bool, opened: contextlib.ExitStack) -> _Ends:
    if options.wearer is not None:
        wearer = SimulatedWearer(
            options.wearer,
            plan.paradigm,
            is_paced=is_paced,
            mishaps=drawn_mishaps(options.n_mishaps, plan.paradigm, options.wearer.number),
        )
        return _Ends(wearer.source, wearer if plan.truth else None, wearer)
    truth = open_able(plan.truth, phantom_side(plan.side)) if plan.truth else None
    source = open_source(plan.source)
    able = None if truth is None else opened.enter_context(TruthReader(truth))
    return _Ends(source, able, Onlooker())


class _LeftError(Exception):
    """A signal asked to leave while session, decoder and report are made."""


class _Lead:
    """Between a runner and whoever looks on: what they ask goes in, what they see goes out."""

    def __init__(
        self,
        runner: Runner,
        port: Port | None,
        screen: CalibrationScreen | None,
        pressed: SimpleQueue[str],
        stop: threading.Event,
        *,
        is_alone: bool,
    ) -> None:
        self._runner, self._port, self._screen, self._pressed = runner, port, screen, pressed
        self._stop, self._is_alone = stop, is_alone
        self._shown_s = -math.inf
        self._view: CalibrationView | None = None

    @property
    def is_over(self) -> bool:
        """Whether no more samples are needed, or wanted."""
        return self._runner.is_over or self._stop.is_set()

    def block(self, block: SignalBlock) -> None:
        """A block, and whatever was asked meanwhile."""
        self._runner.block(block)
        if self._port is not None:
            self._port.samples(block)
            for request in self._port.requests():
                self._answer(request)
        self._take_keys()
        if self._is_alone:
            answer(self._runner)
        now_s = time.monotonic()
        if now_s - self._shown_s >= SHOWN_S:
            self._shown_s = now_s
            self._show(self._runner.view())

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[Callable[[str, float], None]]:
        """Say how far the end is; what is asked meanwhile is refused. What says it raises _LeftError after a signal."""
        self._runner.show_phase(Phase.FINISHING)
        said_s = -math.inf

        def say(text: str, part: float) -> None:
            nonlocal said_s
            if self._stop.is_set():
                raise _LeftError
            if time.monotonic() - said_s < SHOWN_S and part < 1:
                return
            said_s = time.monotonic()
            self._runner.show_phase(Phase.FINISHING, notice=f"{text} {100 * part:.0f} %" if part else text)
            self._show(self._runner.view())
            if self._port is not None:
                for request in self._port.requests():
                    request.refuse("the last decoder is being fitted: wait for its report")

        if self._is_alone and sys.stderr.isatty():
            with Console(stderr=True).status("finishing") as status:

                def both(text: str, part: float) -> None:
                    status.update(f"{text} {100 * part:.0f} %")
                    say(text, part)

                yield both
            return
        yield say

    def show_end(self, phase: Phase, files: Mapping[str, str], failure: str) -> None:
        """The last view."""
        self._runner.show_phase(phase, files, failure, notice="")
        self._show(self._runner.view())

    def _show(self, view: CalibrationView) -> None:
        self._view = view
        if self._port is not None:
            self._port.show(TOPIC, view)
        if self._screen is not None:
            self._screen.show(view)

    def _answer(self, request: Request) -> None:
        try:
            request.answer(self._runner.ask(request.name, request.arguments, request.who))
        except NervehandError as error:
            request.refuse(str(error))

    def _take_keys(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                key = self._pressed.get_nowait()
                asked = KEYS.get(key)
                if asked is None or self._view is None:
                    continue
                name, arguments = asked(self._view)
                if not name:
                    continue
                try:
                    self._runner.ask(name, arguments, login_name())
                except NervehandError as error:
                    if self._screen is not None:
                        self._screen.say(str(error))


def summary(folder: CalibrationFolder, done: Finished | None) -> dict[str, object]:
    """One object for programs."""
    kept = folder.kept()
    found: dict[str, object] = {
        "folder": str(folder.path),
        "subject": folder.plan.subject,
        "kind": folder.plan.paradigm.kind,
        "trials": len(kept.records),
        "used": sum(one.is_used for one in kept.records.values()),
        "bad": {
            str(one.number): [reason.value for reason in one.reasons]
            for one in kept.records.values()
            if one.reasons
        },
        "is_finished": done is not None,
    }
    if done is not None and done.alignment is not None:
        one = done.alignment
        found["alignment"] = {
            "lag_ms": round(1e3 * one.lag_s, 2),
            "lag_confidence": round(one.lag_confidence, 3),
            "lag_spread_ms": round(1e3 * one.lag_spread_s, 2),
            "drift_ppm": round(one.drift_ppm, 2),
        }
    if done is not None:
        found |= {"decoder_sha256": done.decoder_sha256, "fit_s": done.fit_s, "files": done.files()}
    return found


def describe(folder: CalibrationFolder, done: Finished | None) -> str:
    """A few lines for a person."""
    if done is None:
        n = len(folder.kept().records)
        left = f"{folder.path}: left after {n} trials; go on with: nervehand calibrate --resume {folder.path}"
        if not n:
            return left
        return f"{left}\nor end it with these trials, without amplifier and glove: nervehand report {folder.path}"
    lines = [f"{done.n_used} of {done.n_trials} trials taught the decoder, fitted in {done.fit_s} s"]
    lines += [f"{kind.replace('_', ' ')}: {path}" for kind, path in done.files().items()]
    if done.report.missing:
        lines.append(done.report.missing)
    return "\n".join(lines)
