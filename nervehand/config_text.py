"""A daemon's configuration as the text of its TOML file: every key with its value, its unit and what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from pydantic import BaseModel

from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.gate_rules import RULES
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.hand_config import ACTIONS, CAUSES, HandConfig, LimitsConfig
from firmware_bridge.hand_config_text import LIMITS
from nervehand.config import DaemonConfig
from nervehand.config_changes import flat
from nervehand.config_checks import capabilities_of
from nervehand.config_errors import bare, quoted

MEANINGS: Mapping[str, str] = {
    "name": "by which other programs find this daemon",
    "source.address": "where samples come from: `nervehand sources` lists what is there",
    "source.mains_hz": "Hz: 50.0 or 60.0, where the device does not know it",
    "source.start_s": "s: of a session, begin so long after its first sample",
    "decoder.bundle": 'file of the decoder; "" is the one of the demo',
    "decoder.any_wearer": "name of who answers for a decoder of another wearer, side or array",
    "decoder.allowed_signers": "public keys, as `nervehand signer` prints them; of none, nobody has to have signed",
    "decoder.engine": "auto, compiled, onnxruntime or tensorrt; auto takes the fastest as measured here",
    "decision.min_cutoff_hz": "Hz: of the low-pass at rest",
    "decision.speed_gain": "Hz that it grows by at one full range a second",
    "decision.speed_cutoff_hz": "Hz: of the speed's own low-pass",
    "decision.probability_tau_s": "s: time constant of a gesture's probability",
    "decision.hysteresis": "probability by which another gesture has to lead, 0 to 1",
    "decision.min_hold_s": "s: a gesture lasts at least so long",
    "decision.reject_below": "a less probable gesture is rest, 0 to 1",
    "hand.address": 'virtual, none, or a real one: "ability_hand:/dev/ttyUSB0"',
    "hand.side": "left or right: which the hand is, compared with the decoder's in the check before use",
    "hand.transport": "Bluetooth by Bumble; else the system's own",
    "hand.bonded": "pair and encrypt before anything is written",
    "hand.watchdog_acknowledged_by": "who accepts that it is unknown what the hand does without commands",
    "hand.adjustments.gain": "0 to 4, multiplies; one number, or some by name: { index = 1.2 }",
    "hand.adjustments.dead_band": "0 to below 1: below it is rest",
    "hand.adjustments.max_speed_per_s": "full flexions per second, beside the limit above; inf for none",
    "hand.adjustments.locked": "names of what stays where it is",
    "hand.adjustments.hand_locked": "the whole hand stays where it is",
    "arming.as": "name of who answers for arming; needed with a real hand",
    "arming.check": "check the hand before it is armed; where nothing is said a real hand is, and no other",
    "arming.override_check": "name of who arms a real hand without that check",
    "guard.name": 'what `nervehand stop` and `release` know the guard by; "" is the daemon\'s name',
    "guard.stop_lines": "wires that stop the hand when they open: serial:DEVICE#cts, gpio:FILE#low",
    "guard.release_lines": "wires that release it",
    "overload.restart_after_s": "s: of samples that wait, before decoding starts anew with the newest",
    "realtime.policy": "auto (where the machine allows), off, or required (else no start)",
    "realtime.priority": "1 to 99: of SCHED_FIFO",
    "realtime.decode_cpus": "processors for decoding, [2, 3] say; of none, any",
    "realtime.guard_cpus": "processors for the guard",
    "realtime.lock_memory": "keep everything in memory",
    "recording.folder": 'where sessions are recorded; "" is nowhere',
    "recording.rotate_mib": "MiB: a file that is as large is followed by a new one",
    "recording.rotate_s": "s: and one that is as old",
    "recording.budget_mib": "MiB: of all files; the oldest that is not pinned goes first",
    "recording.reserve_mib": "MiB: with less free space recording stops",
    "recording.keep": "all, or pinned: what is not pinned goes after ring_s",
    "recording.ring_s": 's: for how long, with keep = "pinned"',
    "port.listen": 'HOST:PORT for consoles and laptops, 127.0.0.1:4711 say; "" is nowhere. Not loopback: by TLS',
    "port.tls_certificate": "PEM file; with neither of the two a pair is made that signs itself",
    "port.tls_key": "PEM file of its private key",
    "metrics.listen": 'HOST:PORT for Prometheus on the loopback, 127.0.0.1:9464 say; "" is nowhere',
    "watchdog.stall_s": "s: a decode loop that stands still for so long is started anew",
    "watchdog.start_s": "s: which the start may take",
    "log.format": "text or json",
    "log.level": "debug, info, warning or error",
} | {f"hand.limits.{name}": meaning for name, meaning in LIMITS.items()}
"""Every key, and what it means."""
HEADINGS: Mapping[str, str] = {
    "decision": "in place of the decoder's own; may change by a reload, while the hand moves",
    "hand": "`nervehand hand config HAND` prints a real hand's tables: write hand. before their names",
    "hand.limits": "in place of the hand's own; may change by a reload",
    "hand.adjustments": "the wearer's; may change by a reload",
    "overload": "what happens when decoding does not keep up",
    "realtime": "of decode and guard",
}
EXAMPLES: Mapping[str, object] = {
    "source.mains_hz": 50.0,
    "arming.check": True,
    "hand.side": "left",
    "hand.transport": "usb:0",
    "hand.bonded": True,
    "hand.watchdog_acknowledged_by": "NAME",
}
"""What is written behind a comment mark where nothing is said."""
_HEAD = """\
# A nervehand daemon: nervehand run --config FILE
# Every key may be left out, and then has the value that `nervehand config init` writes. Relative paths begin at this
# file's folder. Check it with `nervehand config check FILE`; let a running daemon take changes of [decision],
# [hand.limits] and [hand.adjustments] with `nervehand config reload`.
"""


def toml_of(config: DaemonConfig) -> str:
    """The file that holds `config`; what is not said in it stands behind a comment mark."""
    lines = [_HEAD, _line("name", config.name, "name")]
    for table in type(config).model_fields:
        part = getattr(config, table)
        if isinstance(part, HandConfig):
            lines += ["", *_hand(part)]
        elif isinstance(part, BaseModel):
            lines += ["", _heading(table), *_plain(table, part)]
    return "\n".join(lines) + "\n"


def _plain(table: str, part: BaseModel) -> Iterator[str]:
    for (key,), value in flat(part).items():
        name = f"{table}.{key}"
        yield _line(key, value, name) if value is not None else _unsaid(key, _example(name), name)


def _hand(hand: HandConfig) -> Iterator[str]:
    yield _heading("hand")
    values = flat(hand)
    for key in ("address", "side", "transport", "bonded", "watchdog_acknowledged_by"):
        name, value = f"hand.{key}", values[key,]
        yield _line(key, value, name) if value else _unsaid(key, EXAMPLES[name], name)
    for joint, part in hand.joints.items():
        yield f"\n[hand.joints.{bare(joint)}]"
        yield from (f"{key} = {written(value)}" for (key,), value in flat(part).items() if value is not None)
    yield f"\n{_heading('hand.limits')}"
    own = GateLimits.for_hand(capabilities_of(hand))
    for key in LimitsConfig.model_fields:
        name, value = f"hand.limits.{key}", values["limits", key]
        yield _line(key, value, name) if value is not None else _unsaid(key, getattr(own, key), name)
    yield f"\n[hand.actions] # in place of a cause's own: {', '.join(ACTIONS)}"
    for cause_name, cause in CAUSES.items():
        if cause in hand.actions:
            yield f"{cause_name} = {written(hand.actions[cause].value)} # {cause.value}"
        elif RULES[cause].action in ACTIONS.values():
            yield f"# {cause_name} = {written(RULES[cause].action.value)} # {cause.value}"
    yield "\n[hand.grips] # a decoder's gesture = the real hand's own grip"
    yield from (f"{bare(gesture)} = {written(grip)}" for gesture, grip in hand.grips.items())
    yield f"\n{_heading('hand.adjustments')}"
    for keys, value in values.items():
        if keys[0] == "adjustments":
            yield _line(keys[1], value, f"hand.adjustments.{keys[1]}")


def _heading(table: str) -> str:
    return f"[{table}]" + (f" # {HEADINGS[table]}" if table in HEADINGS else "")


def _line(key: str, value: object, name: str) -> str:
    return f"{key} = {written(value)} # {MEANINGS[name]}"


def _unsaid(key: str, example: object, name: str) -> str:
    return f"# {key} = {'' if example is None else written(example)} # {MEANINGS[name]}".replace(
        "=  #", "= #"
    )


def _example(name: str) -> object:
    table, key = name.split(".")
    if table != "decision":
        return EXAMPLES[name]
    # Here, since it loads the compiler.
    from decoder.decision import DecisionSettings

    return getattr(DecisionSettings(), key)


def written(value: object) -> str:
    """A value as TOML; numbers are the shortest that read back as the same."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case dict():
            return f"{{ {', '.join(f'{bare(str(key))} = {written(one)}' for key, one in value.items())} }}"
        case tuple() | list():
            return f"[{', '.join(map(written, value))}]"
        case np.ndarray() if (value == value[0]).all():
            return str(value[0])
        case np.ndarray():
            return written(dict(zip(DOF_NAMES, value, strict=True)))
        case _:
            return str(value)
