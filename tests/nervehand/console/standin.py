"""A calibration that only shows a view and does to it what is asked: to try pages without signals and fits."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace

from calibration.view import CalibrationView, Phase, TrialView
from firmware_bridge.port import Request, serving
from firmware_bridge.stream import StreamInfo
from tests.nervehand.console.views import calibration

STATES = ("good", "bad", "left out", "good")
ANSWERS = {"accept": "accepted", "leave_out": "left out", "redo": "redone"}
PHASES = {"pause": Phase.PAUSED, "resume": Phase.MOVE, "finish": Phase.FINISHING, "stop": Phase.PAUSED}


def after(view: CalibrationView, request: Request) -> CalibrationView:
    """The view once that was done."""
    if request.name in PHASES:
        return replace(view, phase=PHASES[request.name], notice=f"{request.name} by {request.who}")
    number, state = request.arguments.get("trial"), ANSWERS[request.name]
    trials = tuple(replace(one, state=state) if one.number == number else one for one in view.trials)
    return replace(view, trials=trials, notice=f"{request.name} {number} by {request.who}")


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    reasons = ("the hands disagree",)
    view = calibration(
        Phase.MOVE, STATES, phantom=(0.0, 0.9, 0.0, 0.0, 0.0, 0.0), confidence=0.9, left_s=None
    )
    trials: tuple[TrialView, ...] = tuple(
        replace(one, reasons=reasons) if one.state == "bad" else one for one in view.trials
    )
    view = replace(view, trials=trials)
    info = StreamInfo(rate_hz=10_000.0, channel_names=("e1",), electrodes=("e1",), kind="nerve")
    with serving("127.0.0.1:0", info, {"kind": "calibration", "title": "stand-in"}) as port:
        while not ended.is_set():
            port.wait(0.1)
            for request in port.requests():
                view = after(view, request)
                request.answer({})
            port.show("calibration", view)


if __name__ == "__main__":
    main()
