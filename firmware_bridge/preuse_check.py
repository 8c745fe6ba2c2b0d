"""The check before a hand may be armed: 10 s in which the wearer rests.

`PreUseCheck` is a state machine without clock or I/O: the decoder's intents, the hand's reports and what the decoder
makes of its channels are told to it, each with the host time (ns), and `step` says when it is over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import DOF_NAMES, HandCapabilities, HandState, LinkState, Quantity
from firmware_bridge.preuse import CHECKED, CheckItem, PreUseReport

NS = 1_000_000_000
TELLING_S = 1.0
"""After so much rest channels are judged too where the check ends early: they may be why."""
EITHER = "either"
"""The side of a hand that is drawn, and fits both."""


@dataclass(frozen=True, slots=True)
class ChannelReading:
    """A channel beside its training session, so far in the check.

    `masked` is the share (0..1) of hops in which it was masked, though in training it was not; `distance` how far its
    features are from the training's, in the training's spreads, over the hops in which it was not masked.
    """

    name: str
    masked: float
    distance: float


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What the check asks for; docs/hands.md says by which figures the defaults were chosen.

    For `duration_s` of hops the decoded intent is at rest but for `most_away` of them. `patience_s` is how long what is
    needed may take to come: the hand, the first hop, and the end of warming; `gap_s` how long hops may stay away later.
    Where it is measured, the hand is within `near_rest` of rest, `settle_s` after the begin. A channel is as in
    training up to a distance of `most_distance`; it counts as masked where it was for more than `masked_share` of the
    hops, and no more than `most_masked` of all channels may be.
    """

    duration_s: float = 10.0
    most_away: float = 0.05
    patience_s: float = 30.0
    gap_s: float = 2.0
    near_rest: float = 0.25
    settle_s: float = 2.0
    most_distance: float = 2.0
    masked_share: float = 0.1
    most_masked: float = 0.125

    def __post_init__(self) -> None:
        for name in ("duration_s", "patience_s", "gap_s", "settle_s", "most_distance", "near_rest"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise NervehandError(f"pre-use check: {name} is {value}: give a number above 0")
        for name in ("most_away", "masked_share", "most_masked"):
            if not 0 <= getattr(self, name) < 1:
                raise NervehandError(
                    f"pre-use check: {name} is {getattr(self, name)}: give a share from 0 to below 1"
                )


class PreUseCheck:
    """Made when the check begins. It is over as soon as something was found that cannot pass.

    `limits` are those that the gate will go by. `hand_side` and `decoder_side` are "left", "right" or, where nobody
    said, ""; a hand's may be EITHER. `hop_s` is the time from one intent to the next.
    """

    def __init__(
        self,
        limits: GateLimits,
        capabilities: HandCapabilities,
        hand_side: str,
        decoder_side: str,
        hop_s: float,
        now_ns: int,
        settings: CheckSettings | None = None,
    ) -> None:
        self._limits, self._capabilities = limits, capabilities
        self._sides, self._hop_s, self._began_ns = (hand_side, decoder_side), hop_s, now_ns
        self._settings = settings or CheckSettings()
        self._failed: dict[str, str] = {}
        self._report: PreUseReport | None = None
        self._hops = self._away = self._warming = 0
        self._heard_ns = now_ns
        self._was_linked = self._was_settled = False
        self._state: HandState | None = None
        self._channels: tuple[ChannelReading, ...] | None = None
        self._check_side()

    def intents(
        self,
        now_ns: int,
        positions: NDArray[np.float32],
        is_rest: NDArray[np.bool_],
        warming: NDArray[np.bool_],
    ) -> None:
        """k decoded hops, in their order: positions (k, 6), whether the gesture is rest (k,), and warming (k,)."""
        for position, rests, warms in zip(positions, is_rest.tolist(), warming.tolist(), strict=True):
            self._heard_ns = now_ns
            if warms:
                self._warming += 1
                continue
            self._hops += 1
            reach = float(np.abs(position).max()) if np.isfinite(position).all() else math.inf
            if rests and reach <= np.float32(self._limits.rest_band):
                continue
            self._away += 1
            s = self._settings
            if self._away * self._hop_s > s.most_away * s.duration_s:
                which = int(np.argmax(np.abs(position)))
                in_s, most_s = self._hops * self._hop_s, s.most_away * s.duration_s
                away_s = _told_apart(self._away * self._hop_s, most_s, 2)
                self._fail(
                    "rest",
                    f"the decoder moved {DOF_NAMES[which]} to {position[which]:+.2f} while you rested, and was away"
                    f" from rest for {away_s} s of the first {in_s:.2f} s, up to {most_s:.2f} s of"
                    f" {s.duration_s:g} s is good: rest and check again; where it stays so, calibrate anew",
                )

    def hand(self, now_ns: int, link: LinkState, state: HandState | None) -> None:
        """The hand as it is now; told at a steady rate."""
        age_ns = math.inf if state is None else abs(now_ns - state.reported_ns)
        is_linked = link is LinkState.CONNECTED and age_ns < self._limits.link_timeout_s * NS
        if not is_linked:
            if self._was_linked:
                self._fail("link", f"the link to the hand was lost (link {link.value}): bring it nearer")
            return
        assert state is not None
        self._was_linked, self._state = True, state
        if state.fault:
            self._fail("hand", f"the hand reports {state.fault!r}: clear it")
        if state.stalled:
            self._fail("hand", "the hand says that it stalls: free it")
        most_c, least = self._limits.max_temperature_c, self._limits.min_battery
        if state.hot:
            self._fail("temperature", "the hand says that it is too hot: let it cool")
        if state.temperature_c is not None and most_c is not None and not state.temperature_c <= most_c:
            self._fail(
                "temperature",
                f"{_told_apart(state.temperature_c, most_c, 0)} °C, up to {most_c:g} °C is good: let it cool",
            )
        if state.battery is not None and least is not None and not state.battery >= least:
            share = _told_apart(100 * state.battery, round(100 * least, 6), 0)
            self._fail(
                "battery",
                f"{share}%, from {100 * least:g}% is good: charge it",
            )
        if now_ns - self._began_ns > self._settings.settle_s * NS:
            self._was_settled = True
            away = np.abs(state.positions)
            if Quantity.POSITION in self._capabilities.measures and not np.isfinite(away).any():
                self._fail("position", "the hand measures positions and reports none: start it anew")
            elif (away > self._settings.near_rest).any():
                which = int(np.nanargmax(away))
                near = self._settings.near_rest
                self._fail(
                    "position",
                    f"{DOF_NAMES[which]} is at {'-' if state.positions[which] < 0 else '+'}"
                    f"{_told_apart(float(away[which]), near, 2)}, up to {near:g} from rest is good: release the hand,"
                    " and look what holds it",
                )

    def channels(self, readings: Sequence[ChannelReading]) -> None:
        """Every channel, over the check so far: the newest takes the place of what was told before."""
        self._channels = tuple(readings)

    def step(self, now_ns: int) -> PreUseReport | None:
        """The report once the check is over, the same from then on; None while it goes on."""
        if self._report is None:
            # Hops that come in one burst do not show that the wearer rested, nor that the hand did.
            rested_s = min(self._hops * self._hop_s, (now_ns - self._began_ns) / NS)
            is_over = rested_s >= self._settings.duration_s
            if not (is_over or self._failed):
                self._check_patience(now_ns)
            if is_over or (self._failed and self._hops * self._hop_s >= TELLING_S):
                self._check_channels()
            if is_over and not self._was_linked:
                self._fail("link", "the hand has not reported: connect it")
            elif is_over and not self._was_settled:
                self._fail("position", "the hand was not looked at in its rest: check again")
            if is_over or self._failed:
                self._report = PreUseReport(now_ns, tuple(self._item(name, is_over) for name in CHECKED))
        return self._report

    @property
    def left_s(self) -> float:
        """How long the wearer still has to rest."""
        return max(self._settings.duration_s - self._hops * self._hop_s, 0.0)

    def _check_side(self) -> None:
        hand, decoder = self._sides
        if hand == EITHER or (hand and hand == decoder):
            return
        if not hand:
            self._fail(
                "side",
                'nobody said which side the hand is: say it in its file, side = "left", or with --side',
            )
        elif not decoder:
            self._fail(
                "side", "the decoder does not say its side: record sessions with --side, and fit it anew"
            )
        else:
            self._fail(
                "side", f"the hand is a {hand} one, the decoder was made for a {decoder} one: use the other"
            )

    def _check_patience(self, now_ns: int) -> None:
        """Fail where what is needed does not come."""
        waited_s = (now_ns - self._began_ns) / NS
        silent_s = (now_ns - self._heard_ns) / NS
        patience_s = self._settings.patience_s
        if not self._was_linked and waited_s > patience_s:
            self._fail("link", f"the hand has not reported for {patience_s:g} s: connect it")
        if self._hops:
            if silent_s > self._settings.gap_s:
                self._fail("rest", f"nothing was decoded for {silent_s:.1f} s: see to the front-end")
        elif waited_s > patience_s:
            what = "the decoder is still warming" if self._warming else "nothing was decoded"
            self._fail("rest", f"{what} after {patience_s:g} s: see to the front-end")

    def _check_channels(self) -> None:
        s = self._settings
        if not self._channels:
            self._fail("channels", "the decoder said nothing of its channels: start it again")
            return
        masked, far = self._masked(), self._far()
        if far:
            named = ", ".join(f"{one.name} ({_told_apart(one.distance, s.most_distance, 1)})" for one in far)
            self._fail(
                "channels",
                f"unlike in training, by so many of its spreads: {named}; up to {s.most_distance:g} is usual: see to "
                "electrodes and gains, or calibrate anew",
            )
        elif len(masked) > s.most_masked * len(self._channels):
            self._fail(
                "channels",
                f"masked and not so in training: {', '.join(one.name for one in masked)}; up to"
                f" {math.floor(s.most_masked * len(self._channels))} may be: see to the electrodes, or calibrate anew",
            )

    def _masked(self) -> list[ChannelReading]:
        return [one for one in self._channels or () if one.masked > self._settings.masked_share]

    def _far(self) -> list[ChannelReading]:
        return [one for one in self._channels or () if not one.distance <= self._settings.most_distance]

    def _fail(self, name: str, text: str) -> None:
        self._failed.setdefault(name, text)

    def _item(self, name: str, is_over: bool) -> CheckItem:
        if name in self._failed:
            return CheckItem(name, False, self._failed[name])
        if name == "side":
            hand, decoder = self._sides
            return CheckItem(
                name, True, "drawn, fits either side" if hand == EITHER else f"{decoder}, as the decoder"
            )
        if not is_over or self._state is None:
            return CheckItem(name, False, "not finished")
        return CheckItem(name, True, self._found(name, self._state))

    def _found(self, name: str, state: HandState) -> str:
        """What was found good, for people."""
        match name:
            case "link":
                return "up all the time"
            case "hand":
                return "no fault"
            case "temperature":
                return (
                    "no alarm"
                    + ("" if state.temperature_c is None else f", {state.temperature_c:.0f} °C")
                    + ("" if Quantity.TEMPERATURE in self._capabilities.measures else "; not measured")
                )
            case "battery":
                return "not measured" if state.battery is None else f"{state.battery:.0%}"
            case "position":
                if not np.isfinite(state.positions).any():
                    return "not measured"
                return f"within {np.nanmax(np.abs(state.positions)):.2f} of rest"
            case "rest":
                return f"{self._hops * self._hop_s:.2f} s, away from rest for {self._away * self._hop_s:.2f} s of them"
            case _:
                readings = self._channels or ()
                masked = self._masked()
                named = f"; masked now: {', '.join(one.name for one in masked)}" if masked else ""
                furthest = max((one.distance for one in readings), default=0.0)
                return f"{len(readings)} as in training, the furthest by {furthest:.1f} of its spread{named}"


def _told_apart(value: float, limit: float, decimals: int) -> str:
    """`value` with `decimals`, or with as many more as tell it from the limit that it is beyond."""
    texts = (f"{value:.{many}f}" for many in range(decimals, 9))
    return next((text for text in texts if float(text) != limit), str(value))
