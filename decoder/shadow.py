"""A decoder beside the deployed one: it decodes the same samples and moves nothing, until its owner lets it take over.

Time is the sample index, as everywhere in the decoder. One thread decodes, and calls `after` with each block; what is
offered and asked may come from any other.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoder.bundle import Bundle
from decoder.chain import ChainEvent, DecodeChain, compile_kernels
from decoder.decision import REST
from decoder.intent import Intents
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import SignalBlock, StreamInfo

COSTS = 256
"""Hops over which the time of computing is looked at."""
MOST_OPEN = 512
"""Hops that wait to be compared, where two decoders have other delays."""
BEHIND_S = 0.25
"""Where the deployed decoder is so late, the others wait."""
MOST_LATE_S = 5.0
"""What they may have before them then; they leave out what is more, and warm up again."""
CATCH_UP = 8
"""So many blocks they take at a time afterwards."""
NS = 1_000_000_000

Role = Literal["candidate", "previous"]
ShadowEventKind = Literal["push", "drop", "fault", "switch", "rollback", "refused"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShadowRules:
    """When a decoder may take over. Times are of samples.

    It must have run for `least_s` without a fault, not be warming, and all decoders together must leave a share of each
    hop: at most `most_of_hop` of it may go to computing, in 99 of 100 hops. It happens once both decoders have decided
    rest, all positions within `rest_position`, for `rest_s`; that is waited for `longest_wait_s`. A decoder that
    takes more than `too_slow` of a hop is dropped.
    """

    least_s: float = 10.0
    most_of_hop: float = 0.7
    too_slow: float = 0.5
    rest_s: float = 0.3
    rest_position: float = 0.15
    longest_wait_s: float = 10.0


DEFAULT_RULES = ShadowRules()


@dataclass(frozen=True, slots=True)
class ShadowEvent:
    """Something that became of a decoder at `sample_index`; `sha256` is its identity, `who` asked for it."""

    sample_index: int
    kind: ShadowEventKind
    text: str
    who: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ShadowState:
    """How a decoder does beside the deployed one.

    `seconds` it has run without warming; `compared` hops that both decided, `gesture_agreement` the share of them with
    the same gesture, `position_difference` the mean absolute difference of the six positions; None before the first.
    `compute_us` are the p50 and p99 of its own computing per hop, `budget_left` the share of a hop that all decoders
    leave (p99). `missing` is what speaks against its taking over now, in words; a moment of rest is not among it.
    """

    sha256: str
    role: Role
    who: str
    subject: str
    seconds: float
    hops: int
    compared: int
    gesture_agreement: float | None
    position_difference: float | None
    compute_us: tuple[float, float] | None
    budget_left: float | None
    is_warming: bool
    is_resting: bool
    missing: tuple[str, ...]


class Decoder:
    """A bundle at work on a stream. `listener` hears of its chain's events."""

    def __init__(
        self,
        bundle: Bundle,
        info: StreamInfo,
        listener: Callable[[ChainEvent], None] = lambda event: None,
    ) -> None:
        self.bundle, self.listener = bundle, listener
        self.chain = DecodeChain(bundle, info, lambda event: self.listener(event))
        self.is_warming = True
        self.is_timed = False
        self._rate_hz, self._costs = info.rate_hz, np.zeros(COSTS)
        self._n_costs = 0
        self._cost_ns = 0
        self._rests_from: int | None = None
        self._last = 0

    def process(self, block: SignalBlock) -> Intents:
        """The intents of the hops that this block completes. Where it `is_timed`, what that costs is added up."""
        if not self.is_timed:
            return self.chain.process(block)
        began_ns = time.thread_time_ns()  # its own computing, however busy the machine is with others
        intents = self.chain.process(block)
        self._cost_ns += time.thread_time_ns() - began_ns
        return intents

    def note(self, intents: Intents, rules: ShadowRules) -> None:
        """What it has decided of the last block: what that cost, and whether it rests."""
        for k in range(len(intents)):
            self._costs[self._n_costs % COSTS] = self._cost_ns / len(intents)
            self._n_costs += 1
            is_rest = intents.gesture[k] == REST and not intents.warming[k]
            if not is_rest or np.abs(intents.positions[k]).max() > rules.rest_position:
                self._rests_from = None
            elif self._rests_from is None:
                self._rests_from = int(intents.sample_index[k])
        if len(intents):
            self._cost_ns = 0
            self.is_warming, self._last = bool(intents.warming[-1]), int(intents.sample_index[-1])

    @property
    def rested_s(self) -> float:
        """For how long it has decided rest, up to its newest hop."""
        return 0.0 if self._rests_from is None else (self._last - self._rests_from) / self._rate_hz

    def cost_us(self, percent: float) -> float | None:
        """Percentile of its computing per hop, of the last COSTS hops; None before the first."""
        n = min(self._n_costs, COSTS)
        return float(np.percentile(self._costs[:n], percent)) / 1e3 if n else None


def candidate(
    bundle: Bundle, info: StreamInfo, deployed: Bundle, *, most_delay: int, any_wearer: bool = False
) -> Decoder:
    """A decoder that may run beside `deployed`, its kernels compiled; takes long, so not where it decodes.

    StreamMismatchError where it was made for another stream or, unless `any_wearer`, for another wearer than that one;
    NervehandError where its delay line is longer than `most_delay` samples.
    """
    bundle.require_stream(info)
    if not any_wearer:
        wearer, theirs = deployed.manifest, bundle.manifest
        for what, here, there in (
            ("subject", wearer.subject, theirs.subject),
            ("side", wearer.side, theirs.side),
            ("electrode array", wearer.array, theirs.array),
        ):
            if here != there:
                raise StreamMismatchError(
                    f"{what}: this decoder was made for {there or 'unnamed'}, the one that runs for "
                    f"{here or 'unnamed'}: use that person's own decoder, or override by name"
                )
    compile_kernels(bundle, info)
    made = Decoder(bundle, info)
    if made.chain.front_end.delay > most_delay:
        raise NervehandError(
            f"its delay line takes {made.chain.front_end.delay} samples, this run at most {most_delay}: start a run "
            "with this decoder"
        )
    return made


class _Beside:
    """A decoder in shadow, compared with the deployed one."""

    def __init__(self, decoder: Decoder, role: Role, who: str) -> None:
        self.decoder, self.role, self.who = decoder, role, who
        self.hops = self.same = self.compared = 0
        self.difference = 0.0
        self.fault = ""
        self._warm_from: int | None = None
        self._open: dict[int, tuple[str, NDArray[np.float32]]] = {}
        decoder.listener, decoder.is_timed = self._heard, True

    def _heard(self, event: ChainEvent) -> None:
        if event.kind == "fault":
            self.fault = event.text

    def process(self, block: SignalBlock, rules: ShadowRules) -> None:
        """Decode; whatever goes wrong is its `fault`."""
        try:
            intents = self.decoder.process(block)
        except Exception as error:  # it must not hurt the deployed one, whatever is wrong with it
            logger.exception("a decoder in shadow failed")
            self.fault = repr(error)
            return
        self.decoder.note(intents, rules)
        names = self.decoder.bundle.manifest.gestures
        for k in np.flatnonzero(~intents.warming).tolist():
            index = int(intents.sample_index[k])
            self._warm_from = index if self._warm_from is None else self._warm_from
            self._open[index] = (names[int(intents.gesture[k])], intents.positions[k])
        self.hops += len(intents)

    def compare(self, deployed: dict[int, tuple[str, NDArray[np.float32]]]) -> None:
        """With what the deployed one decided at the same samples."""
        for index in [index for index in self._open if index in deployed]:
            gesture, positions = self._open.pop(index)
            self.compared += 1
            self.same += gesture == deployed[index][0]
            self.difference += float(np.abs(positions - deployed[index][1]).mean())
        while len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]

    def seconds(self, rate_hz: float) -> float:
        """Since its first hop that was not warming."""
        return 0.0 if self._warm_from is None else (self.decoder._last - self._warm_from) / rate_hz


@dataclass(slots=True)
class _Asked:
    """Somebody wants another decoder to take over; `until` is the last sample that is waited for."""

    role: Role
    who: str
    answered: Callable[[str], None]
    expires_ns: int
    until: int | None = None


class Shadows:
    """The deployed decoder and those beside it: a candidate that was pushed, and the one that was deployed before.

    `on_event` hears what becomes of them, in the thread that decodes. `obstacle` says in words what else speaks against
    a change now, "" where nothing.
    """

    def __init__(
        self,
        deployed: Decoder,
        info: StreamInfo,
        on_event: Callable[[ShadowEvent], None],
        rules: ShadowRules = DEFAULT_RULES,
        obstacle: Callable[[], str] = lambda: "",
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.deployed = deployed
        self._info, self._on_event, self._rules = info, on_event, rules
        self._obstacle, self._clock_ns = obstacle, clock_ns
        self._beside: dict[Role, _Beside] = {}
        self._inbox: deque[Callable[[int], None]] = deque()
        self._asked: _Asked | None = None
        self._late: deque[SignalBlock] = deque()  # what those beside it have yet to decode
        self._decided: dict[int, tuple[str, NDArray[np.float32]]] = {}

    def offer(self, decoder: Decoder, who: str, note: str = "") -> None:
        """Let it run in shadow from the next block on, in place of the candidate before it. From any thread.

        One that is there already goes on as it is. `note` is what is to be remembered of it: who overrides what.
        """

        def place(sample_index: int) -> None:
            before = self._beside.get("candidate")
            if before is not None and before.decoder.bundle.sha256 == decoder.bundle.sha256 != "":
                return
            self._remove("candidate", sample_index, who, "another one was pushed")
            self._beside["candidate"] = _Beside(decoder, "candidate", who)
            self._tell(sample_index, "push", "runs in shadow" + (f", {note}" if note else ""), who, decoder)

        self._inbox.append(place)

    def ask(self, role: Role, who: str, answered: Callable[[str], None], expires_ns: int) -> None:
        """Let the one of that role take over; `answered` gets "" once it has, else why it has not. From any thread.

        Nothing happens after `expires_ns` (host). The owner decides: see ShadowRules.
        """

        def note(sample_index: int) -> None:
            reasons = self._reasons(role)
            if self._asked is not None:
                reasons = ("another change waits for a moment of rest already",)
            if reasons:
                self._refuse(sample_index, who, role, "; ".join(reasons), answered)
                return
            self._asked = _Asked(role, who, answered, expires_ns)

        self._inbox.append(note)

    def drop(self, who: str) -> None:
        """Take the candidate away. From any thread."""
        self._inbox.append(
            lambda sample_index: self._remove("candidate", sample_index, who, "it was asked for")
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs beside the deployed one, nor is about to."""
        return not self._beside and not self._inbox

    def states(self) -> tuple[ShadowState, ...]:
        """How those beside it do; in the thread that decodes."""
        return tuple(self._state(one) for one in self._beside.values())

    def after(self, block: SignalBlock, intents: Intents) -> Decoder | None:
        """Hear of a block that the deployed decoder has made `intents` of; the decoder that takes over, if one does.

        The one that takes over has decoded this block, as the others have: the next block is its own.
        """
        end = block.first_sample + block.n_samples
        while self._inbox:
            self._inbox.popleft()(end)
        self.deployed.is_timed = bool(self._beside)
        if not self._beside:
            self._late.clear()
            return self._change(end)
        self.deployed.note(intents, self._rules)
        self._remember(intents)
        self._late.append(block)
        if not block.arrival_ns or self._clock_ns() - block.arrival_ns <= BEHIND_S * NS:
            for _ in range(min(CATCH_UP, len(self._late))):
                self._decode(self._late.popleft(), end)
        elif end - self._late[0].first_sample > MOST_LATE_S * self._info.rate_hz:
            self._late.clear()
        return self._change(end)

    def _decode(self, block: SignalBlock, sample_index: int) -> None:
        for role, one in list(self._beside.items()):
            one.process(block, self._rules)
            one.compare(self._decided)
            why = f"it failed: {one.fault}" if one.fault else ""
            if not why and one.hops and one.hops % COSTS == 0:
                share = self._share(one.decoder, 50)
                why = f"it takes {share:.0%} of a hop" if share > self._rules.too_slow else ""
            if why:
                self._remove(role, sample_index, one.who, why, "fault")

    def _remember(self, intents: Intents) -> None:
        names = self.deployed.bundle.manifest.gestures
        for k in np.flatnonzero(~intents.warming).tolist():
            self._decided[int(intents.sample_index[k])] = (
                names[int(intents.gesture[k])],
                intents.positions[k],
            )
        while len(self._decided) > MOST_OPEN:
            del self._decided[next(iter(self._decided))]

    def _change(self, sample_index: int) -> Decoder | None:
        asked = self._asked
        if asked is None:
            return None
        rules = self._rules
        if asked.until is None:
            asked.until = sample_index + round(rules.longest_wait_s * self._info.rate_hz)
        reasons = self._reasons(asked.role)
        if not reasons and (sample_index > asked.until or self._clock_ns() > asked.expires_ns):
            reasons = (
                f"no moment of rest came within {rules.longest_wait_s:g} s: let the wearer rest, ask again",
            )
        if reasons:
            self._asked = None
            self._refuse(sample_index, asked.who, asked.role, "; ".join(reasons), asked.answered)
            return None
        one, was = self._beside[asked.role], self.deployed
        # Who goes back to the decoder of before may do so because this one never rests.
        rested_s = one.decoder.rested_s
        if asked.role == "candidate":
            rested_s = min(rested_s, was.rested_s)
        if rested_s < rules.rest_s or self._late:
            return None
        self._asked = None
        del self._beside[asked.role]
        self._beside["previous"] = _Beside(was, "previous", asked.who)
        self._decided.clear()
        for other in self._beside.values():
            other.same = other.compared = 0  # with another decoder than this
            other.difference = 0.0
        self.deployed = one.decoder
        kind: ShadowEventKind = "switch" if asked.role == "candidate" else "rollback"
        self._tell(sample_index, kind, f"took over from {was.bundle.sha256[:12]}", asked.who, one.decoder)
        asked.answered("")
        return one.decoder

    def _reasons(self, role: Role) -> tuple[str, ...]:
        one = self._beside.get(role)
        if one is None:
            return ("no decoder was pushed" if role == "candidate" else "there is no decoder of before",)
        return self._missing(one)

    def _missing(self, one: _Beside) -> tuple[str, ...]:
        rules, found = self._rules, []
        ran_s = one.seconds(self._info.rate_hz)
        if one.role == "candidate" and ran_s < rules.least_s:
            found.append(
                f"it has run for {ran_s:.1f} s without warming: at least {rules.least_s:g} s are needed"
            )
        if one.decoder.is_warming:
            found.append("it is warming")
        left = self._budget_left()
        if one.role == "candidate" and left < 1 - rules.most_of_hop:
            found.append(
                f"all decoders together leave {left:.0%} of a hop: at least {1 - rules.most_of_hop:.0%}"
            )
        obstacle = self._obstacle()
        return (*found, obstacle) if obstacle else tuple(found)

    def _share(self, decoder: Decoder, percent: float) -> float:
        return (decoder.cost_us(percent) or 0.0) / (decoder.bundle.hop_s * 1e6)

    def _budget_left(self) -> float:
        decoders = [self.deployed, *(one.decoder for one in self._beside.values())]
        return 1.0 - sum(self._share(one, 99) for one in decoders)

    def _state(self, one: _Beside) -> ShadowState:
        half, most = one.decoder.cost_us(50), one.decoder.cost_us(99)
        n = one.compared
        return ShadowState(
            sha256=one.decoder.bundle.sha256,
            role=one.role,
            who=one.who,
            subject=one.decoder.bundle.manifest.subject,
            seconds=round(one.seconds(self._info.rate_hz), 3),
            hops=one.hops,
            compared=n,
            gesture_agreement=round(one.same / n, 4) if n else None,
            position_difference=round(one.difference / n, 4) if n else None,
            compute_us=None if half is None or most is None else (round(half, 1), round(most, 1)),
            budget_left=round(self._budget_left(), 4),
            is_warming=one.decoder.is_warming,
            is_resting=one.decoder.rested_s >= self._rules.rest_s,
            missing=self._missing(one),
        )

    def _remove(
        self, role: Role, sample_index: int, who: str, why: str, kind: ShadowEventKind = "drop"
    ) -> None:
        one = self._beside.pop(role, None)
        if one is not None:
            self._tell(sample_index, kind, f"runs in shadow no more: {why}", who, one.decoder)

    def _refuse(
        self, sample_index: int, who: str, role: Role, why: str, answered: Callable[[str], None]
    ) -> None:
        one = self._beside.get(role)
        self._tell(sample_index, "refused", why, who, None if one is None else one.decoder)
        answered(why)

    def _tell(
        self, sample_index: int, kind: ShadowEventKind, text: str, who: str, decoder: Decoder | None
    ) -> None:
        sha256 = "" if decoder is None else decoder.bundle.sha256
        self._on_event(ShadowEvent(sample_index, kind, text, who, sha256))
