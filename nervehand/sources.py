"""Sources by address: every front-end of firmware_bridge/sources, and recorded sessions; and what is there now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from firmware_bridge import sources
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import Found
from firmware_bridge.stream import Device, Source
from firmware_bridge.supervised import SourceEvent, SupervisedSource

SESSION, SIMULATED = "session", "simulated"
SESSION_ADDRESS = "session:FILE.nwb"
SESSION_BLOCK_S = 0.005
"""What a session delivers at a time: as much as a front-end does."""
EXTRAS: Mapping[str, str] = {"lsl": "mne_lsl", "brainflow": "brainflow", "openephys": "zmq"}
"""The extra that a scheme needs has its name; beside it the package that comes with it."""
FIND_S = 10.0
"""How long a search for front-ends may take before it is left behind; some begin by loading a vendor's library."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of source: the form of its address, and the extra that is missing ('' where none is)."""

    name: str
    address: str
    missing_extra: str = ""


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found of one scheme; `problem` says why it could not be looked for, '' where it could."""

    scheme: str
    found: tuple[Found, ...]
    problem: str = ""


def scheme_names() -> tuple[str, ...]:
    """Every kind of source, in the order of their names."""
    return tuple(sorted((*sources.schemes(), SESSION)))


def schemes() -> tuple[Scheme, ...]:
    """Every kind of source, described."""
    return tuple(Scheme(name, _form(name), missing_extra(name)) for name in scheme_names())


def missing_extra(scheme: str) -> str:
    """The extra that a scheme needs and that is not installed; '' where nothing is missing."""
    package = EXTRAS.get(scheme)
    return "" if package is None or find_spec(package) is not None else scheme


def how_to_install(extra: str) -> str:
    """The command that installs an extra."""
    return f'python -m pip install "nervehand[{extra}]"'


def split_address(address: str) -> tuple[str, str]:
    """'scheme:where' in its two parts; raises NervehandError where it names no source, saying what was meant."""
    scheme, _, where = address.partition(":")
    if scheme in scheme_names():
        return scheme, where
    known = f"use one of {', '.join(scheme_names())}"
    if not address.strip():
        raise NervehandError(f"no source given: {known}")
    path = Path(address)
    if path.suffix == ".nwb":
        raise NervehandError(f"{address!r} is no source: a recorded session is session:{address}")
    if address.startswith("/dev/") or (path.exists() and path.is_char_device()):
        raise NervehandError(f"{address!r} is no source: a serial port is serial:{address}")
    if path.exists():
        raise NervehandError(f"{address!r} is a file, not a source: import it as a session first, or {known}")
    raise NervehandError(
        f"source {scheme!r} is not known: {known}, for example simulated or serial:/dev/ttyACM0"
    )


def open_source(
    address: str,
    *,
    is_paced: bool = True,
    start_s: float = 0.0,
    on_event: Callable[[SourceEvent], None] = lambda event: None,
) -> Source:
    """The source at an address, described but not started.

    A device is supervised: it reconnects by itself, and `on_event` hears of it. A session begins `start_s` seconds
    after its first sample. With `is_paced` False a session and the simulated nerve come as fast as they are taken.

    Raises NervehandError where the address is malformed, an extra is not installed or nothing answers there.
    """
    scheme, where = split_address(address)
    if scheme == SESSION:
        return _open_session(where, is_paced, start_s)
    if not is_paced:
        if scheme != SIMULATED:
            raise NervehandError(
                f"{address} comes at its own pace: only simulated and session sources can wait"
            )
        from firmware_bridge.sources import simulated

        return simulated.open_device(where, is_paced=False)
    if start_s:
        raise NervehandError(f"{address} cannot begin {start_s:g} s later: only a session can")
    return SupervisedSource(open_device(address), on_event)


def open_device(address: str) -> Device:
    """The device at an address, not supervised; raises as `open_source` does, and for a session."""
    scheme, where = split_address(address)
    if scheme == SESSION:
        raise NervehandError(f"{address} is a recording, not a device: give a device's address")
    if extra := missing_extra(scheme):
        raise NervehandError(f"{address} needs the extra {extra}: {how_to_install(extra)}")
    return sources.load(scheme).open_device(where)


def _open_session(where: str, is_paced: bool, start_s: float) -> Source:
    from decoder.session.reader import read_session
    from decoder.session.source import SessionSource

    if not where:
        raise NervehandError(f"no file given: write {SESSION_ADDRESS}")
    session = read_session(where)
    rate_hz = session.info.rate_hz
    if not 0 <= start_s < session.duration_s:
        raise NervehandError(
            f"{where} lasts {session.duration_s:.1f} s: it cannot begin after {start_s:g} s, choose a time within"
        )
    first_sample = session.first_sample + round(start_s * rate_hz)
    last = session.first_sample + session.n_samples - 1
    block_samples = max(1, round(SESSION_BLOCK_S * rate_hz))
    return SessionSource(session, block_samples, is_paced, first_sample=min(first_sample, last))


def find_all(limit_s: float = FIND_S) -> tuple[Searched, ...]:
    """What is there of every scheme that can be searched for, all at once, `limit_s` seconds at most.

    A search that fails, or takes longer, is a problem of its own scheme only.
    """
    modules = {name: sources.load(name) for name in sources.schemes() if not missing_extra(name)}
    return search({name: module.find for name, module in modules.items()}, limit_s)


def search(finders: Mapping[str, Callable[[], tuple[Found, ...]]], limit_s: float) -> tuple[Searched, ...]:
    """Run each finder in a thread of its own; what has not answered after `limit_s` seconds is left behind."""
    results: dict[str, Searched] = {}

    def look(name: str, find: Callable[[], tuple[Found, ...]]) -> None:
        try:
            results[name] = Searched(name, find())
        except (
            Exception
        ) as error:  # whatever a vendor's library raises is said, and the others are still shown
            logger.debug("searching for %s sources", name, exc_info=True)
            results[name] = Searched(name, (), str(error) or repr(error))

    threads = {
        name: threading.Thread(target=look, args=(name, find), name=f"find-{name}", daemon=True)
        for name, find in finders.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + limit_s
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    answered = dict(results)  # a late answer changes nothing any more
    late = f"no answer within {limit_s:g} s"
    return tuple(answered.get(name, Searched(name, (), late)) for name in threads)


def _form(scheme: str) -> str:
    return SESSION_ADDRESS if scheme == SESSION else sources.load(scheme).ADDRESS
