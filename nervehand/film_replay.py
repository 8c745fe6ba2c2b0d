"""A session through the decoder and the real safety gate into a physical hand, on the session's own time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.chain import compile_kernels
from decoder.intent import Intents
from decoder.replay import replay
from decoder.session.model import Session
from decoder.session.source import SessionSource
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateLimits, SafetyGate
from firmware_bridge.hand import HandCommand, HandState, LinkState, Quality
from firmware_bridge.physics.body import PhysicalHand
from firmware_bridge.preuse import overridden
from nervehand.live import COMMAND_LIFETIME_S

NS = 1_000_000_000
GATE_STEP_NS = 10_000_000
_BLOCK_S = 1.0
_BEFORE_S = 3.0  # for the gate to arm, at rest, before the first picture
_LIFT_M = 0.065
_SURE_S = 0.15  # a grip that has held for so long is lifted
_GONE_S = 1.0  # a hand that has been empty for so long finds the object put back
_WHO = "nervehand hand film"


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What there is to be seen at one time: seconds into the session; positions (6,) as intended, and of the hand."""

    time_s: float
    cue: str
    gesture: str
    probability: float
    gate: str
    wanted: NDArray[np.float32]
    positions: NDArray[np.float32]
    forces_n: NDArray[np.float32]
    lifted_m: float


def decoded(session: Session, bundle: Bundle, until_s: float | None) -> Intents:
    """Every intent of a session, up to a time in seconds into it; NervehandError where there is none."""
    rate_hz = session.info.rate_hz
    n_samples = None if until_s is None else min(round(until_s * rate_hz), session.n_samples)
    source = SessionSource(session, max(1, round(_BLOCK_S * rate_hz)), is_paced=False, n_samples=n_samples)
    compile_kernels(bundle, session.info)
    source.connect()
    parts = [part for part in replay(source.blocks(), session.info, bundle) if len(part)]
    if not parts:
        raise NervehandError("nothing was decoded: the session is shorter than what the decoder looks at")
    return Intents(*(np.concatenate([getattr(part, name) for part in parts]) for name in Intents.__slots__))


def first_grasp_s(intents: Intents, first_sample: int, rate_hz: float) -> float | None:
    """When all five digits are first meant to be flexed by more than half, in seconds into the session."""
    closed = (intents.positions[:, :5] > 0.5).all(1) & ~intents.warming
    if not closed.any():
        return None
    return float(intents.sample_index[int(closed.argmax())] + 1 - first_sample) / rate_hz


class FilmReplay:
    """Drives `hand` from `start_s` to `start_s + seconds`; the hand must have been made at time 0.

    The wearer's arm is played too: it lifts what the hand has had a grip of for a moment, and comes down when it is
    lost; what was dropped is put back before the open hand.
    """

    def __init__(
        self,
        session: Session,
        bundle: Bundle,
        intents: Intents,
        hand: PhysicalHand,
        start_s: float,
        seconds: float,
    ) -> None:
        self._session, self._intents, self._hand = session, intents, hand
        self._gestures = bundle.manifest.gestures
        self._from_s, self._until_s = start_s, start_s + seconds
        self._begin_s = max(0.0, start_s - _BEFORE_S)
        capabilities = hand.capabilities
        self._gate = SafetyGate(GateLimits.for_hand(capabilities), capabilities.watchdog_action)
        self._gate_said = ""
        self._due_ns = [
            round((int(index) + 1 - session.first_sample) / session.info.rate_hz * NS)
            - round(self._begin_s * NS)
            for index in intents.sample_index
        ]
        self._hop = int(np.searchsorted(np.array(self._due_ns), 0, side="right")) - 1
        self._gripped_ns = self._empty_ns = 0
        self._is_lifted = False

    def moments(self, times_s: list[float]) -> Iterator[Moment]:
        """The moments at these times, ascending, in seconds into the session; the hand is then as it was at each."""
        now_ns = 0
        self._gate.arm(0, _WHO, LinkState.CONNECTED, self._report(0), overridden(_WHO, 0))
        for time_s in times_s:
            due_ns = round((time_s - self._begin_s) * NS)
            while now_ns + GATE_STEP_NS <= due_ns:
                now_ns += GATE_STEP_NS
                self._step(now_ns)
            yield self._moment(time_s)

    def _step(self, now_ns: int) -> None:
        self._hand.advance(now_ns)
        command = None
        while self._hop + 1 < len(self._due_ns) and self._due_ns[self._hop + 1] <= now_ns:
            self._hop += 1
            command = self._command(now_ns)
        report = self._report(now_ns)
        decision = self._gate.step(now_ns, command, LinkState.CONNECTED, report)
        if decision.send:
            self._hand.command(decision.positions, now_ns)
        self._gate_said = decision.state.value + (f" ({decision.cause.value})" if decision.cause else "")
        self._move_the_arm(now_ns, report)

    def _command(self, now_ns: int) -> HandCommand:
        intents, hop = self._intents, self._hop
        return HandCommand(
            targets=intents.positions[hop],
            sample_index=int(intents.sample_index[hop]),
            issued_ns=now_ns,
            expires_ns=now_ns + round(COMMAND_LIFETIME_S * NS),
            gesture=self._gestures[int(intents.gesture[hop])],
            quality=Quality(
                warming=bool(intents.warming[hop]),
                confidence=float(intents.probability[hop]),
                healthy_fraction=float(intents.healthy_fraction[hop]),
            ),
        )

    def _report(self, now_ns: int) -> HandState:
        hand = self._hand
        return HandState(hand.positions, now_ns, hand.watchdog_tripped, forces_n=hand.forces_n)

    def _move_the_arm(self, now_ns: int, report: HandState) -> None:
        """Lift what the thumb and two fingers hold; come down when nothing is touched; put back what was dropped."""
        hand, forces = self._hand, report.forces_n
        assert forces is not None  # this hand measures it
        has_grip = forces[0] > 0.5 and (forces[1:5] > 0.5).sum() >= 2
        is_empty = not forces.any()
        self._gripped_ns = self._gripped_ns + GATE_STEP_NS if has_grip else 0
        self._empty_ns = self._empty_ns + GATE_STEP_NS if is_empty else 0
        if not self._is_lifted and self._gripped_ns >= _SURE_S * NS:
            self._is_lifted = True
            hand.lift(_LIFT_M, now_ns)
        elif self._is_lifted and self._empty_ns >= _SURE_S * NS:
            self._is_lifted = False
            hand.lift(0.0, now_ns)
        elif self._empty_ns >= _GONE_S * NS and hand.has_moved_object and self._is_waiting(report):
            hand.put_back(now_ns)

    def _is_waiting(self, report: HandState) -> bool:
        """Whether the hand is open, and down again."""
        return bool(np.abs(report.positions[:5]).max() < 0.2) and self._hand.lifted_m < 0.005

    def _moment(self, time_s: float) -> Moment:
        session, hop, hand = self._session, max(self._hop, 0), self._hand
        cue = ""
        if session.labels is not None:
            row = min(int(time_s * session.info.rate_hz), session.n_samples - 1)
            cue = session.gesture_names[int(session.labels[row])]
        return Moment(
            time_s=time_s,
            cue=cue,
            gesture=self._gestures[int(self._intents.gesture[hop])],
            probability=float(self._intents.probability[hop]),
            gate=self._gate_said,
            wanted=self._intents.positions[hop],
            positions=hand.positions,
            forces_n=hand.forces_n,
            lifted_m=hand.lifted_m,
        )
