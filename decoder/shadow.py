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

import numpy as np
from numpy.typing import NDArray

from decoder.chain import ChainEvent
from decoder.deployable import Decoder, candidate
from decoder.intent import Intents
from decoder.shadow_records import (
    DEFAULT_RULES,
    Role,
    ShadowEvent,
    ShadowEventKind,
    ShadowRules,
    ShadowState,
)
from firmware_bridge.stream import SignalBlock, StreamInfo

MOST_OPEN = 512
"""Hops that wait to be compared, where two decoders have other delays."""
BEHIND_HOPS = 1.0
"""Where the deployed decoder is so late, the others wait: soon enough that its hand is still told what it decides."""
JUDGED_HOPS = 8
"""After so many hops of a decoder in shadow, each time, it is looked at whether it takes too long."""
MOST_LATE_S = 5.0
"""What they may have before them then; they leave out what is more, and warm up again."""
CATCH_UP = 8
"""So many blocks they take at a time afterwards."""
NS = 1_000_000_000

__all__ = [
    "DEFAULT_RULES", "Decoder", "Role", "ShadowEvent", "ShadowRules", "ShadowState", "Shadows", "candidate",
]  # fmt: skip

logger = logging.getLogger(__name__)


class _Beside:
    """A decoder in shadow, compared with the deployed one."""

    def __init__(self, decoder: Decoder, role: Role, who: str) -> None:
        self.decoder, self.role, self.who = decoder, role, who
        self.hops = self.same = self.compared = 0
        self.judged_at = JUDGED_HOPS
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
        self.decoder.note(intents, rules.rest_position)
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
        return 0.0 if self._warm_from is None else (self.decoder.newest - self._warm_from) / rate_hz


@dataclass(slots=True)
class _Asked:
    """Somebody wants another decoder to take over; `until` is the last sample that is waited for."""

    role: Role
    who: str
    answered: Callable[[str], None]
    expires_ns: int
    sha256: str = ""
    until: int | None = None


class Shadows:
    """The deployed decoder and those beside it: a candidate that was pushed, and the one that was deployed before.

    `on_event` hears what becomes of them, in the thread that decodes. `obstacle` says in words what else speaks against
    a change now, "" where nothing. `adapt` is what a decoder goes through before it runs in shadow.
    """

    def __init__(
        self,
        deployed: Decoder,
        info: StreamInfo,
        on_event: Callable[[ShadowEvent], None],
        rules: ShadowRules = DEFAULT_RULES,
        obstacle: Callable[[], str] = lambda: "",
        clock_ns: Callable[[], int] = time.monotonic_ns,
        adapt: Callable[[Decoder], Decoder] = lambda decoder: decoder,
    ) -> None:
        self.deployed = deployed
        self._info, self._on_event, self._rules = info, on_event, rules
        self._obstacle, self._clock_ns, self._adapt = obstacle, clock_ns, adapt
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
                decoder.chain.close()
                return
            self._remove("candidate", sample_index, who, "another one was pushed")
            self._beside["candidate"] = _Beside(self._adapt(decoder), "candidate", who)
            self._tell(sample_index, "push", "runs in shadow" + (f", {note}" if note else ""), who, decoder)

        self._inbox.append(place)

    def ask(
        self, role: Role, who: str, answered: Callable[[str], None], expires_ns: int, sha256: str = ""
    ) -> None:
        """Let the one of that role take over; `answered` gets "" once it has, else why it has not. From any thread.

        Nothing happens after `expires_ns` (host), nor where another one than that of `sha256` ("": any) is there by
        then. The owner decides: see ShadowRules.
        """

        def note(sample_index: int) -> None:
            reasons = self._reasons(role, sha256)
            if self._asked is not None:
                reasons = ("another change waits for a moment of rest already",)
            if reasons:
                self._refuse(sample_index, who, role, "; ".join(reasons), answered)
                return
            self._asked = _Asked(role, who, answered, expires_ns, sha256)

        self._inbox.append(note)

    def drop(self, who: str) -> None:
        """Take the candidate away. From any thread."""
        self._inbox.append(
            lambda sample_index: self._remove("candidate", sample_index, who, "it was asked for")
        )

    @property
    def decoders(self) -> tuple[Decoder, ...]:
        """The deployed one and those beside it; in the thread that decodes."""
        return (self.deployed, *(one.decoder for one in self._beside.values()))

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
            self.deployed.forget_rest()
            return self._change(end)
        self.deployed.note(intents, self._rules.rest_position)
        self._remember(intents)
        self._late.append(block)
        for _ in range(min(CATCH_UP, len(self._late))):
            if self._is_behind(block):
                break
            self._decode(self._late.popleft(), end)
        if self._late and end - self._late[0].first_sample > MOST_LATE_S * self._info.rate_hz:
            self._late.clear()
        return self._change(end)

    def _is_behind(self, block: SignalBlock) -> bool:
        """Whether the deployed decoder has no time for others, with `block` the newest."""
        behind_ns = BEHIND_HOPS * self.deployed.bundle.hop_s * NS
        return bool(block.arrival_ns) and self._clock_ns() - block.arrival_ns > behind_ns

    def _decode(self, block: SignalBlock, sample_index: int) -> None:
        for role, one in list(self._beside.items()):
            one.process(block, self._rules)
            one.compare(self._decided)
            why = f"it failed: {one.fault}" if one.fault else ""
            if not why and one.hops >= one.judged_at:
                one.judged_at = one.hops + JUDGED_HOPS
                share = one.decoder.newest_cost_us(JUDGED_HOPS) / (one.decoder.bundle.hop_s * 1e6)
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
        reasons = self._reasons(asked.role, asked.sha256)
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

    def _reasons(self, role: Role, sha256: str) -> tuple[str, ...]:
        one = self._beside.get(role)
        if one is None:
            return ("no decoder was pushed" if role == "candidate" else "there is no decoder of before",)
        there = one.decoder.bundle.sha256
        if sha256 not in ("", there):
            return (f"{sha256[:12]} is not there any more, but {there[:12]} of {one.who}: push it again",)
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
        return 1.0 - sum(self._share(one, 99) for one in self.decoders)

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
            one.decoder.chain.close()
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
