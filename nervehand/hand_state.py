"""`nervehand hand state`: what a hand reports, and each limit of the gate with its reading."""

from __future__ import annotations

import math
import time

from rich.console import Console
from rich.live import Live

from firmware_bridge.hand import Hand, Quantity
from firmware_bridge.hand_config import HandConfig
from nervehand.hand_picture import by_dof, picture_of
from nervehand.hand_use import connected, watchdog_text
from nervehand.output import print_json
from nervehand.stopping import stop_on_signals

WATCH_S = 0.125
READINGS_S = 0.3
"""A hand may report its battery, say, a moment after its joints."""


def state_json(config: HandConfig, hand: Hand) -> dict[str, object]:
    """All that a hand is and reports, units in the keys; None is not measured."""
    capabilities, state = hand.capabilities, hand.state
    limits = config.limits(capabilities)
    return {
        "address": config.address,
        "hand": capabilities.name,
        "side": config.side,
        "link": hand.link.value,
        "source": capabilities.source,
        "watchdog_s": capabilities.watchdog_s,
        "watchdog_action": capabilities.watchdog_action.value,
        "measures": [one.value for one in Quantity if one in capabilities.measures],
        "grips": list(capabilities.grips),
        "lower": by_dof(capabilities.lower),
        "upper": by_dof(capabilities.upper),
        "positions": None if state is None else by_dof(state.positions),
        "currents_a": None if state is None else by_dof(state.currents_a),
        "forces_n": None if state is None else by_dof(state.forces_n),
        "temperature_c": None if state is None else state.temperature_c,
        "battery": None if state is None else state.battery,
        "hot": None if state is None else state.hot,
        "stalled": None if state is None else state.stalled,
        "watchdog_tripped": None if state is None else state.watchdog_tripped,
        "fault": None if state is None else state.fault,
        "limits": [
            {"limit": one.name, "value": one.value, "measured": one.measured}
            for one in limits.describe(capabilities)
        ],
    }


def run_state(config: HandConfig, *, watch: bool, seconds: float | None, as_json: bool) -> None:
    """Connect, and show the hand once, or until Ctrl-C or `seconds` are over; nothing is ever sent to move it."""
    with connected(config, silent=as_json) as hand:
        if watch and not as_json:
            _watch(config, hand, seconds)
            return
        time.sleep(READINGS_S)
        found = state_json(config, hand)
        if as_json:
            print_json(found)
            return
        console = Console()
        console.print(picture_of(hand, config.side, f"{hand.capabilities.name} at {config.address}"))
        when = watchdog_text(hand.capabilities)
        console.print(
            f"when commands stop: {when} ({hand.capabilities.source})", markup=False, highlight=False
        )
        grips = ", ".join(hand.capabilities.grips) or "it has none"
        console.print(f"its own grips: {grips}", markup=False, highlight=False)
        for line in config.limits(hand.capabilities).describe(hand.capabilities):
            console.print(str(line), markup=False, highlight=False)


def _watch(config: HandConfig, hand: Hand, seconds: float | None) -> None:
    title = f"{hand.capabilities.name} at {config.address}"
    end = math.inf if seconds is None else time.monotonic() + seconds
    with stop_on_signals() as stop, Live(auto_refresh=False) as live:
        while not stop.wait(WATCH_S) and time.monotonic() < end:
            live.update(picture_of(hand, config.side, title, status="Ctrl-C ends"), refresh=True)
