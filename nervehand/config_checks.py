"""What no single value of a daemon's configuration tells: each check under the keys that are to blame where it raises.

`checks` need the configuration alone; `decoder_of` and `file_checks` read the files that it names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import HandCapabilities
from firmware_bridge.hand_config import HandConfig
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from nervehand.config import DaemonConfig
from nervehand.config_errors import Keys, shown
from nervehand.config_values import plausible

if TYPE_CHECKING:
    from decoder.bundle import Bundle

Check = tuple[Keys, Callable[[], object]]
MOST_LIMIT_S = 60.0
"""Longer than that no limit of the gate waits: 200 were meant to be milliseconds."""
_LONG_LIMITS = ("check_valid_s",)
_FOR_A_REAL_HAND = ("transport", "bonded", "watchdog_acknowledged_by", "joints", "grips")


def checks(config: DaemonConfig) -> Iterator[Check]:
    """Everything but [hand] of a real hand, which firmware_bridge.hand_config checks."""
    yield ("source", "address"), partial(_source, config.source.address)
    yield ("source", "start_s"), partial(_start, config)
    for name, value in config.decision.said.items():
        yield ("decision", name), partial(_decision, name, value)
    if not config.is_worn:
        yield from _brought_hand(config.hand)
    for limit in sorted(config.hand.limits_table.model_fields_set):
        yield ("hand", "limits", limit), partial(_limit_time, limit, getattr(config.hand.limits_table, limit))
    is_said = "arm_as" in config.arming.model_fields_set
    yield ("arming", "as") if is_said else ("hand", "address"), partial(_armed, config)
    yield ("arming", "check"), partial(_checked, config)
    for key in ("stop_lines", "release_lines"):
        for i, line in enumerate(getattr(config.guard, key)):
            yield ("guard", key, i), partial(_line, f"guard.{key}", line)
    for key in ("reserve_mib", "rotate_mib"):
        yield _blamed(config, key), partial(_room, config, key)
    yield ("port", "listen"), partial(_listen, "port.listen", config.port.listen)
    yield ("port", "tls_certificate" if config.port.tls_certificate else "tls_key"), partial(_pair, config)
    yield ("metrics", "listen"), partial(_listen, "metrics.listen", config.metrics.listen)
    yield ("metrics", "listen"), partial(_metrics, config)


def decoder_of(config: DaemonConfig) -> Bundle:
    """The bundle that the configuration names, read and checked; NervehandError where it cannot be."""
    from decoder.bundle import read_bundle

    if config.decoder.bundle:
        return read_bundle(Path(config.decoder.bundle), config.decoder.allowed_signers)
    with as_file(files("nervehand") / "bundles" / "demo.nhb") as path:
        return read_bundle(path, config.decoder.allowed_signers)


def file_checks(config: DaemonConfig, bundle: Bundle) -> Iterator[Check]:
    """What depends on the bundle, and whether the other files are there."""
    for gesture in config.hand.grips:
        yield ("hand", "grips", gesture), partial(_decides, gesture, bundle.manifest.gestures)
    for key in ("tls_certificate", "tls_key"):
        if path := getattr(config.port, key):
            yield ("port", key), partial(_readable, f"port.{key}", Path(path))


def capabilities_of(hand: HandConfig) -> HandCapabilities:
    """Of the hand that is configured, before it is connected."""
    return VIRTUAL_HAND if hand.address in ("virtual", "none") else hand.open().capabilities


def _source(address: str) -> None:
    # Here, since a bundle's or a supervisor's reader needs no front-ends.
    from nervehand.sources import split_address

    split_address(address)


def _start(config: DaemonConfig) -> None:
    if config.source.start_s and not config.source.address.startswith("session:"):
        raise NervehandError(
            f"source.start_s is {config.source.start_s:g} and {config.source.address} cannot begin later, which only a"
            " session can: leave it out"
        )


def _decision(name: str, value: float) -> None:
    # Here, since it loads the compiler, which nothing else of a configuration needs.
    from decoder.decision import DecisionSettings

    DecisionSettings(**{name: value})


def _brought_hand(hand: HandConfig) -> Iterator[Check]:
    """Of a hand that the daemon brings along only limits, safe actions, adjustments and the side have a meaning."""
    for key in _FOR_A_REAL_HAND:
        if getattr(hand, key):
            yield ("hand", key), partial(_no_use, key, hand.address)
    for limit in sorted(hand.limits_table.model_fields_set):
        yield (
            ("hand", "limits", limit),
            partial(_limits, hand, limits={limit: getattr(hand.limits_table, limit)}),
        )
    for cause, action in hand.actions.items():
        yield ("hand", "actions", cause.name.lower()), partial(_limits, hand, actions={cause: action})
    yield ("hand", "limits"), partial(hand.limits, VIRTUAL_HAND)
    for adjustment in sorted(hand.adjustments_table.model_fields_set):
        value = getattr(hand.adjustments_table, adjustment)
        yield ("hand", "adjustments", adjustment), partial(_adjustment, hand, adjustment, value)


def _no_use(key: str, address: str) -> None:
    raise NervehandError(f'hand.{key} is for a real hand, and address is "{address}": leave it out')


def _limits(hand: HandConfig, **part: object) -> None:
    HandConfig.model_validate({"address": hand.address} | part).limits(VIRTUAL_HAND)


def _adjustment(hand: HandConfig, name: str, value: object) -> object:
    return HandConfig.model_validate({"address": hand.address, "adjustments": {name: value}}).adjustments


def _limit_time(limit: str, value: object) -> None:
    if (
        limit.endswith("_s")
        and "_per_" not in limit
        and limit not in _LONG_LIMITS
        and isinstance(value, float)
    ):
        try:
            plausible(value, unit="s", least=0.0, most=MOST_LIMIT_S)
        except ValueError as error:
            raise NervehandError(f"hand.limits.{limit} is {shown(value)}: {error}") from None


def _armed(config: DaemonConfig) -> None:
    if config.is_worn and not config.arming.arm_as:
        raise NervehandError(f"nobody answers for arming {config.hand.address}: add as = NAME in [arming]")


def _checked(config: DaemonConfig) -> None:
    check, override = config.arming.check, config.arming.override_check
    if check and override:
        raise NervehandError(
            f"arming.check is true and arming.override_check is {override!r}: leave one of them out"
        )
    if check is False and config.is_worn and not override:
        raise NervehandError(
            f"arming.check is false and {config.hand.address} is checked before use: leave it out, or name who takes"
            " that on themselves in override_check"
        )


def _line(key: str, address: str) -> None:
    from firmware_bridge.stop_lines import contact

    try:
        contact(address)
    except NervehandError as error:
        raise NervehandError(f"{key}: {error}") from error


def _blamed(config: DaemonConfig, key: str) -> Keys:
    return "recording", key if key in config.recording.model_fields_set else "budget_mib"


def _room(config: DaemonConfig, key: str) -> None:
    value, budget_mib = getattr(config.recording, key), config.recording.budget_mib
    if value >= budget_mib:
        raise NervehandError(
            f"recording.{key} is {value} and recording.budget_mib {budget_mib}: give a budget above it"
        )


def _listen(key: str, where: str) -> None:
    if not where:
        return
    # Here, since the port's package is needed by nobody who does not listen.
    from firmware_bridge.port.addresses import LOOPBACK, split

    try:
        host, number = split(where)
    except NervehandError as error:
        raise NervehandError(f"{key}: {error}, numbers from 0 (any free one) to 65535") from error
    if ":" not in where:
        raise NervehandError(f"{key} is {where!r} and has no host: give HOST:PORT, {LOOPBACK}:{number} say")
    if not _is_host(host):
        raise NervehandError(
            f"{key} is {where!r} and {host!r} is no host: give an address or a name, {LOOPBACK}:{number} say"
        )


def _is_host(host: str) -> bool:
    """Whether it may be one: an address, or a name (RFC 1123, section 2.1), which is not looked up here."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        *_, last = labels = host.removesuffix(".").split(".")
        is_name = all(re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", one) for one in labels)
        return is_name and len(host) < 254 and not last.isdecimal()
    return True


def _pair(config: DaemonConfig) -> None:
    given = {"tls_certificate": config.port.tls_certificate, "tls_key": config.port.tls_key}
    missing = [key for key, path in given.items() if not path]
    if len(missing) == 1:
        other = next(key for key in given if key not in missing)
        raise NervehandError(
            f"port.{other} is {given[other]!r} and port.{missing[0]} is missing: give both, or neither for a pair that"
            " is made and signs itself"
        )


def _metrics(config: DaemonConfig) -> None:
    if not config.metrics.listen:
        return
    from firmware_bridge.port.addresses import split

    host, number = split(config.metrics.listen)
    if not is_loopback(host):
        raise NervehandError(
            f"metrics.listen is {config.metrics.listen!r} and metrics are for this machine alone:"
            f" give 127.0.0.1:{number}"
        )
    if config.port.listen and number and split(config.port.listen)[1] == number:
        raise NervehandError(
            f"metrics.listen is {config.metrics.listen!r} and port.listen {config.port.listen!r}: give one of them"
            " another number"
        )


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _decides(gesture: str, gestures: tuple[str, ...]) -> None:
    if gesture not in gestures:
        raise NervehandError(
            f"hand.grips names {gesture!r}, which the decoder cannot decide: its gestures are"
            f" {', '.join(map(repr, gestures))}"
        )


def _readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise NervehandError(
            f"{key} is {str(path)!r} and cannot be read ({error.strerror}): name a PEM file that this user may read"
        ) from error
