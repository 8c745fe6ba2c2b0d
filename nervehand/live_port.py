"""What a live run answers at its port: stop, release, arm, adjust, another decoder, a simulated person's intent."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from decoder.bundle import Bundle, unpack
from decoder.shadow import Role, candidate
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.gate import GateState
from firmware_bridge.guard import Guard
from firmware_bridge.hand import N_DOF
from firmware_bridge.plain import from_plain, to_plain
from firmware_bridge.port import Port, Request, serving
from firmware_bridge.port.greeting import MOST_NAME
from firmware_bridge.port.tls_files import TlsFiles
from firmware_bridge.preuse import PreUseReport
from firmware_bridge.stream import StreamInfo
from nervehand.guarding import HandView
from nervehand.live import LiveRun
from nervehand.live_view import without_infinity

TOPIC = "hand"
"""What is shown also while no samples come."""
LOOK_S = 0.5
"""How often the hand is shown there."""
ADJUSTMENTS_S = 2.0
"""How often the guard is asked for the wearer's adjustments."""
MOST_ARM_AGE_S = 2.0
"""A request to arm that was on its way for longer is refused: nobody expects the hand to move then."""
MOST_PINNED_S = 3600.0
CONFIRM_S = 1.0
"""How long the gate may take to show that it follows no more, after a stop or a release."""

Intend = Callable[[Sequence[float], int, float | None], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedRun:
    """Where a run is served, HOST:PORT, and what is said of it beside what it is.

    `intend` steers a simulated person, None where there is none; `grips` are gestures that the hand's own file names.
    `tls` None: the user's own, where it is needed. Where signers are named, a decoder of nobody else is taken.
    """

    where: str
    name: str = ""
    about: Mapping[str, object] = field(default_factory=dict)
    intend: Intend | None = None
    grips: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    allowed_signers: tuple[str, ...] = ()


@contextmanager
def port_of(
    served: ServedRun | None, title: str, info: StreamInfo, bundle: Bundle, *, is_recorded: bool
) -> Iterator[Port | None]:
    """The port of a run that is served."""
    if served is None:
        yield None
        return
    wearer = bundle.manifest
    about: dict[str, object] = {
        "kind": "run", "title": title, "bundle": bundle.sha256, "subject": wearer.subject, "side": wearer.side,
        "array": wearer.array, "recorded": is_recorded, "steered": served.intend is not None,
    }  # fmt: skip
    with serving(served.where, info, about | dict(served.about), name=served.name, tls=served.tls) as port:
        yield port


@dataclass(frozen=True, slots=True)
class Owner:
    """The run that a port belongs to.

    `report` gives what to arm by, `acknowledgement` who accepts an unknown watchdog, `why_not_armed` the gate's newest
    refusal. `is_recorded`: a file's outputs and gestures are fixed.
    """

    live: LiveRun
    guard: Guard
    hand: HandView
    info: StreamInfo
    report: Callable[[], PreUseReport]
    why_not_armed: Callable[[], str]
    acknowledgement: str
    is_recorded: bool
    served: ServedRun


@contextmanager
def answering(port: Port | None, owner: Owner, tell: Callable[[str], None]) -> Iterator[None]:
    """While this lasts, requests to `port` are answered; without one, nothing. `tell` says where it is."""
    if port is None:
        yield
        return
    tell(port.announcement)
    with PortRequests(port, owner).answering():
        yield


class PortRequests:
    """Answers what comes to `port`, in a thread of its own: the loop that decodes only takes what is ready.

    A bundle that is pushed is unpacked and prepared in a further one, so that a stop never waits for it.
    """

    def __init__(self, port: Port, owner: Owner) -> None:
        self._port, self._owner = port, owner
        self._over = threading.Event()
        self._preparing: threading.Thread | None = None
        self._shown_s = self._asked_s = float("-inf")
        self._problem = ""
        self._answers: Mapping[str, Callable[[Request], None]] = {
            "stop": self._rest(owner.guard.request_stop),
            "release": self._rest(owner.guard.request_release),
            "arm": self._arm,
            "adjust": self._adjust,
            "push": self._push,
            "switch": lambda request: self._change("candidate", request),
            "rollback": lambda request: self._change("previous", request),
            "drop": self._drop,
            "shadow": self._shadow,
            "intend": self._intend,
            "pin": self._pin,
        }

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While this lasts."""
        thread = threading.Thread(target=self._run, name="port requests", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()  # what prepares a decoder is not waited for: the guard is to release the hand now

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if self._port.wait(LOOK_S / 2):
                    for request in self._port.requests():
                        self._answer(request)
                self._look()
            except Exception:  # whatever it was, the next request must be heard
                logger.exception("the port's requests failed")
                self._over.wait(LOOK_S)

    def _answer(self, request: Request) -> None:
        try:
            if not request.who.strip():
                raise NervehandError("nobody is named: say who asks")
            answer = self._answers.get(request.name)
            if answer is None:
                raise NervehandError(f"there is no {request.name!r} here: ask for {', '.join(self._answers)}")
            answer(request)
        except NervehandError as error:
            request.refuse(str(error))
        except Exception as error:  # ours; who asks must hear of it
            logger.exception("the request %s failed", request.name)
            request.refuse(f"it failed: {error!r}")

    def _rest(self, ask: Callable[[str], None]) -> Callable[[Request], None]:
        def answer(request: Request) -> None:
            ask(_name_of(request))
            guard, end_s = self._owner.guard, time.monotonic() + CONFIRM_S
            while guard.state is GateState.ARMED and time.monotonic() < end_s:
                time.sleep(0.01)
            if guard.state is GateState.ARMED:
                raise LinkError(
                    f"the guard did not answer: the {request.name} was sent to it, and its gate still shows "
                    "armed; where the hand goes on moving, switch it off"
                )
            request.answer({"gate": guard.state.value})

        return answer

    def _arm(self, request: Request) -> None:
        """As of when it was asked: what somebody has stopped since stays stopped."""
        owner = self._owner
        if not request.asked_ns:
            raise NervehandError("it is not said when that was asked: use the same nervehand on both sides")
        age_s = (time.monotonic_ns() - request.asked_ns) / 1e9
        if age_s > MOST_ARM_AGE_S:
            raise NervehandError(
                f"it took {age_s:.1f} s until it was heard here, at most {MOST_ARM_AGE_S:g} s may pass: ask again"
            )
        if not owner.guard.request_arm(
            _name_of(request), owner.report(), owner.acknowledgement, request.asked_ns
        ):
            raise NervehandError(f"the gate does not arm: {owner.why_not_armed() or 'it says nothing'}")
        request.answer({"gate": owner.guard.state.value})

    def _adjust(self, request: Request) -> None:
        """What is given replaces that of now; the rest stays."""
        now = self._owner.guard.adjustments
        plain = to_plain(now)
        assert isinstance(plain, dict)
        if request.arguments:
            then = from_plain(Adjustments, plain | _with_infinity(request.arguments), "adjustments")
            self._owner.guard.adjust(_name_of(request), then)
            self._owner.live.adjustments = now = self._owner.guard.adjustments  # LinkError where it is silent
            if now != then:
                raise NervehandError("the guard has not taken the adjustments, it has others: ask again")
        request.answer({"adjustments": without_infinity(to_plain(now))})

    def _push(self, request: Request) -> None:
        if self._preparing is not None and self._preparing.is_alive():
            raise NervehandError("another decoder is just being prepared: push again in a moment")
        self._preparing = threading.Thread(
            target=self._prepare, args=(request,), name="decoder for shadow", daemon=True
        )
        self._preparing.start()

    def _prepare(self, request: Request) -> None:
        owner = self._owner
        try:
            overridden_by = _name_in(request.arguments, "any_wearer")
            bundle = unpack(request.blob, owner.served.allowed_signers)
            self._require_names(bundle)
            made = candidate(
                bundle, owner.info, owner.live.bundle, most_delay=owner.live.most_delay,
                any_wearer=bool(overridden_by), engine=owner.live.engine,
            )  # fmt: skip
        except NervehandError as error:
            request.refuse(str(error))
            return
        except Exception as error:  # it is foreign: whatever is wrong with it, the run goes on
            logger.exception("a decoder could not be prepared")
            request.refuse(f"the decoder cannot be prepared: {error!r}")
            return
        note = f"its wearer was not compared, which {overridden_by} answers for" if overridden_by else ""
        owner.live.shadows.offer(made, _name_of(request), note)
        request.answer({"bundle": bundle.sha256})

    def _require_names(self, bundle: Bundle) -> None:
        manifest, now = bundle.manifest, self._owner.live.bundle.manifest
        lacking = [grip for grip in self._owner.served.grips if grip not in manifest.gestures]
        if lacking:
            raise NervehandError(
                f"the hand's grips need {', '.join(lacking)}, which this decoder cannot decide"
            )
        outputs = [[output.name for output in one.outputs] for one in (manifest, now)]
        if self._owner.is_recorded and (outputs[0] != outputs[1] or manifest.gestures != now.gestures):
            raise NervehandError(
                "this run is recorded, and its file holds other outputs or gestures than those of the decoder: "
                "record anew with it"
            )

    def _change(self, role: Role, request: Request) -> None:
        def answered(refusal: str) -> None:
            if refusal:
                request.refuse(refusal)
            else:
                request.answer({"bundle": self._owner.live.shadows.deployed.bundle.sha256})

        sha256 = request.arguments.get("sha256", "")
        if not isinstance(sha256, str):
            raise NervehandError(f"sha256 is {str(sha256)[:40]!r}: give that of the decoder which is meant")
        self._owner.live.shadows.ask(role, _name_of(request), answered, request.expires_ns, sha256)

    def _drop(self, request: Request) -> None:
        self._owner.live.shadows.drop(_name_of(request))
        request.answer()

    def _shadow(self, request: Request) -> None:
        live = self._owner.live
        request.answer({"deployed": live.shadows.deployed.bundle.sha256, "shadow": list(live.shadow_states)})

    def _pin(self, request: Request) -> None:
        seconds, why = request.arguments.get("seconds", 60.0), request.arguments.get("why", "")
        if not isinstance(seconds, int | float) or not 0 < seconds <= MOST_PINNED_S:
            raise NervehandError(f"seconds is {seconds!r}: give more than 0, and at most {MOST_PINNED_S:g}")
        if not isinstance(why, str) or len(why) > MOST_NAME or not (why == "" or why.isprintable()):
            raise NervehandError(f"why is to be a line of at most {MOST_NAME} characters")
        self._owner.live.pin(_name_of(request), why, float(seconds))
        request.answer()

    def _intend(self, request: Request) -> None:
        intend = self._owner.served.intend
        if intend is None:
            raise NervehandError(
                "nobody can be steered here: run a simulated person with ?steered at its end"
            )
        positions, label, ramp_s = (request.arguments.get(name) for name in ("positions", "label", "ramp_s"))
        numbers = positions if isinstance(positions, list) else []
        if len(numbers) != N_DOF or not all(isinstance(one, int | float) for one in numbers):
            raise NervehandError(f"positions are {positions!r}: give {N_DOF} numbers in -1..1")
        intend(
            numbers,
            label if isinstance(label, int) else 0,
            float(ramp_s) if isinstance(ramp_s, int | float) else None,
        )
        request.answer()

    def _look(self) -> None:
        """Show the hand, also while no samples come."""
        now_s, owner = time.monotonic(), self._owner
        if now_s - self._shown_s < LOOK_S:
            return
        self._shown_s = now_s
        if self._port.problem != self._problem:
            self._problem = self._port.problem
            owner.live.say(self._problem)
        if now_s - self._asked_s > ADJUSTMENTS_S:
            self._asked_s = now_s
            with contextlib.suppress(LinkError):  # the guard is busy: those of before are shown
                owner.live.adjustments = owner.guard.adjustments
        state, decision = owner.hand.state, owner.guard.decision
        cause = None if decision is None or decision.cause is None else decision.cause.value
        self._port.show(
            TOPIC,
            {
                "gate": owner.guard.state.value,
                "cause": cause,
                "link": owner.hand.link.value,
                "shown": None
                if state is None
                else [round(float(p), 4) if np.isfinite(p) else None for p in state.positions],
                "problem": self._port.problem,
            },
        )


def _with_infinity(given: Mapping[str, object]) -> dict[str, object]:
    """A speed limit that is None is none at all."""
    limits = given.get("max_speed_per_s")
    if not isinstance(limits, list):
        return dict(given)
    return {**given, "max_speed_per_s": [math.inf if limit is None else limit for limit in limits]}


def _name_in(arguments: Mapping[str, object], name: str) -> str:
    """Somebody's name, "" where it is not given; NervehandError where it is none."""
    if name not in arguments:
        return ""
    value = arguments[name]
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MOST_NAME:
        raise NervehandError(
            f"{name} is {str(value)[:40]!r}: give the name of who answers for that, at most {MOST_NAME} characters, "
            "or leave it out"
        )
    return value


def _name_of(request: Request) -> str:
    return f"{request.who} at the port"
