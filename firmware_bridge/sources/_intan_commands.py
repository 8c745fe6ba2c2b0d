"""The command connection to Intan RHX: questions and orders, and what RHX streams."""

from __future__ import annotations

import math
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.sources._intan_protocol import (
    DIGITAL_IN,
    DIGITAL_OUT,
    SCALE_UV,
    STIMULATION_LINE,
    FrameLayout,
    answered_values,
    request,
    split_answer,
)
from firmware_bridge.sources._interrupt import Interrupt
from firmware_bridge.stream import StreamInfo

_MAX_ANSWER_BYTES = 1 << 16
_COMMANDS_PER_REQUEST = 24
"""So that a request stays within one segment: RHX takes what one read gives it for whole commands."""
_MAX_DIGITS = 9
_PORTS = "ABCDEFGH"
_PORT_CHANNELS = 128
_GLOBALS = (
    "sampleratehertz",
    "type",
    "expanderconnected",
    "actuallowerbandwidthhertz",
    "actualupperbandwidthhertz",
    "notchfilterfreqhertz",
    "tcpwaveformdataoutputport",
    "tcpnumberdatablocksperwrite",
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What RHX says of itself. `amplifiers` are all that are connected, `layout` what a frame holds, nothing
    where no output is enabled; `blocks_per_write` how many waveform blocks RHX gathers before it sends them."""

    rate_hz: float
    amplifiers: tuple[str, ...]
    layout: FrameLayout
    hardware_band_hz: tuple[float, float] | None
    mains_hz: float
    waveform_port: int
    blocks_per_write: int

    def info(self) -> StreamInfo:
        """The stream; raises NervehandError where no wideband channel is enabled."""
        names = self.layout.channel_names
        if not names:
            raise NervehandError(
                "RHX has no wideband channel enabled for its TCP output: enable the channels to decode in "
                "Network > Remote TCP Control > Data Output"
            )
        return StreamInfo(
            rate_hz=self.rate_hz,
            channel_names=names,
            kind="nerve",
            full_scale_uv=32767 * SCALE_UV,
            hardware_band_hz=self.hardware_band_hz,
            mains_hz=self.mains_hz,
            stimulation_lines=(STIMULATION_LINE,) if self.layout.has_stimulation else (),
        )


class CommandLink:
    """One command connection, opened at the first question and kept: RHX takes one client each time that somebody
    presses Connect. Questions may come from several threads; one is asked at a time."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.host, self.port, self.timeout_s = host, port, timeout_s
        self._socket: socket.socket | None = None
        self._text = ""
        self._unread = 0  # answers that nobody waited for
        self._lock = threading.Lock()

    def ask(self, commands: Sequence[str], interrupt: Interrupt) -> tuple[str, str]:
        """What RHX answered, and its run mode: Run, Record, Trigger or Stop.

        Raises LinkError where RHX is not there, does not answer in time, or `interrupt` was set.
        """
        with self._lock:
            try:
                link = self._opened()
                link.sendall(request(commands))
                self._unread += 1
                return self._read_answer(link, interrupt)
            except OSError as error:
                self._drop()
                raise LinkError(
                    f"the command connection to RHX at {self.host}:{self.port} failed ({error}): press Connect in "
                    "RHX under Network > Remote TCP Control > Commands, once for each program that connects"
                ) from error

    def values(self, names: Sequence[str], interrupt: Interrupt) -> tuple[str | None, ...]:
        """The value of each name; None for one that RHX does not know."""
        found: list[str | None] = []
        for i in range(0, len(names), _COMMANDS_PER_REQUEST):
            some = names[i : i + _COMMANDS_PER_REQUEST]
            text, _ = self.ask([f"get {name}" for name in some], interrupt)
            found += answered_values(text, len(some))
        return tuple(found)

    def order(self, commands: Sequence[str], interrupt: Interrupt) -> None:
        """Have commands carried out. Raises LinkError with what RHX objects."""
        for i in range(0, len(commands), _COMMANDS_PER_REQUEST):
            some = commands[i : i + _COMMANDS_PER_REQUEST]
            text, _ = self.ask(some, interrupt)
            if text.strip():
                raise LinkError(f"RHX refused {'; '.join(some)[:120]}: {text.strip()[:200]}")

    def run_mode(self, interrupt: Interrupt) -> str:
        """Run, Record, Trigger or Stop."""
        return self.ask([], interrupt)[1]

    def tell(self, command: str) -> None:
        """Send one command that answers only where RHX objects; nothing is waited for, and nothing said of a link
        that is gone. `set runmode run` goes this way: RHX reads nothing more in that request until the run ends."""
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.sendall(command.encode("ascii"))
                except OSError:
                    self._drop()

    def close(self) -> None:
        """Let the connection go, for good or until the next question."""
        with self._lock:
            self._drop()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection((self.host, self.port), self.timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._text, self._unread = "", 0
            weakref.finalize(self, self._socket.close)
        return self._socket

    def _read_answer(self, link: socket.socket, interrupt: Interrupt) -> tuple[str, str]:
        give_up = time.monotonic() + self.timeout_s
        while True:
            while (answer := split_answer(self._text)) is not None:
                text, mode, self._text = answer
                self._unread -= 1
                if self._unread == 0:
                    return text, mode
            if not interrupt.wait_readable((link.fileno(),), give_up - time.monotonic()):
                if interrupt.is_set:
                    raise LinkError("the connection to RHX was closed while it was made")
                raise OSError(f"no answer within {self.timeout_s:g} s")
            data = link.recv(4096)
            if not data:
                raise OSError("RHX closed it")
            self._text += data.decode("latin-1")
            if len(self._text) > _MAX_ANSWER_BYTES:
                raise OSError("an answer without an end")

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def ask_setup(link: CommandLink, interrupt: Interrupt) -> Setup:
    """What RHX streams and how. Raises LinkError where an answer makes no sense."""
    said = dict(zip(_GLOBALS, link.values(_GLOBALS, interrupt), strict=True))
    is_stimulator = said["type"] == "ControllerStimRecord"
    counts = link.values([f"{port}.numberamplifierchannels" for port in _PORTS], interrupt)
    words: list[str] = []
    amplifiers: list[str] = []
    for port, count in zip(_PORTS, counts, strict=True):
        n = 0 if count is None else _whole(count, 0, _PORT_CHANNELS, f"amplifiers of port {port}")
        if n:
            there, enabled = _port_words(link, interrupt, port, n, is_stimulator)
            amplifiers += there
            words += enabled
    words += _board_words(link, interrupt, said["type"], said["expanderconnected"] == "True", is_stimulator)
    rate = said["sampleratehertz"]
    low, high = said["actuallowerbandwidthhertz"], said["actualupperbandwidthhertz"]
    return Setup(
        rate_hz=_positive(rate, "the sampling rate") if rate != "3333" else 1e4 / 3,  # which RHX rounds
        amplifiers=tuple(amplifiers),
        layout=FrameLayout(tuple(words)),
        hardware_band_hz=(_positive(low, "the lower bandwidth"), _positive(high, "the upper bandwidth"))
        if low is not None and high is not None
        else None,
        mains_hz=60.0 if said["notchfilterfreqhertz"] == "60" else 50.0,
        waveform_port=_whole(said["tcpwaveformdataoutputport"], 1, 65535, "the waveform port"),
        blocks_per_write=_whole(said["tcpnumberdatablocksperwrite"] or "10", 1, 100, "the blocks per write"),
    )


def _port_words(
    link: CommandLink, interrupt: Interrupt, port: str, n: int, is_stimulator: bool
) -> tuple[list[str], list[str]]:
    """The amplifiers of a port, and the words of its enabled outputs. Numbers may have holes in a played-back file."""
    outputs = [("", ""), ("low", "|LOW"), ("high", "|HIGH")]
    if is_stimulator:
        outputs += [("dc", "|DC"), ("stim", "|STIM")]
    amplifiers: list[str] = []
    words: list[str] = []
    step = _COMMANDS_PER_REQUEST // len(outputs)
    for first in range(0, _PORT_CHANNELS, step):
        if len(amplifiers) == n:
            break
        names = [f"{port}-{i:03d}" for i in range(first, min(first + step, _PORT_CHANNELS))]
        asked = [(name, end, suffix) for name in names for end, suffix in outputs]
        answers = link.values([f"{name}.tcpdataoutputenabled{end}" for name, end, _ in asked], interrupt)
        for (name, end, suffix), value in zip(asked, answers, strict=True):
            if end == "" and value is not None:
                amplifiers.append(name)
            if _is_true(value, name):
                words.append(name + suffix)
    if not is_stimulator:
        counts = link.values(
            [f"{port}.numberauxiliarychannels", f"{port}.numbersupplyvoltagechannels"], interrupt
        )
        others = [f"{port}-AUX{i + 1}" for i in range(_whole(counts[0] or "0", 0, 6, "auxiliary inputs"))]
        others += [f"{port}-VDD{i + 1}" for i in range(_whole(counts[1] or "0", 0, 2, "supply voltages"))]
        words += _enabled(link, interrupt, others)
    return amplifiers, words


def _board_words(
    link: CommandLink, interrupt: Interrupt, kind: str | None, has_expander: bool, is_stimulator: bool
) -> Iterator[str]:
    """Analog ones each have a word; digital ones share one as soon as any is enabled."""
    is_usb2 = kind == "ControllerRecordUSB2"
    first = 0 if is_usb2 else 1
    n_analog, n_digital = (8, 16) if is_usb2 or has_expander else (2, 2)
    analog = [f"{i:02d}" if is_usb2 else f"{i}" for i in range(first, first + n_analog)]
    digital = [f"{i:02d}" for i in range(first, first + n_digital)]
    yield from _enabled(link, interrupt, [f"ANALOG-IN-{i}" for i in analog])
    if is_stimulator:
        yield from _enabled(link, interrupt, [f"ANALOG-OUT-{i}" for i in analog])
    if _enabled(link, interrupt, [f"DIGITAL-IN-{i}" for i in digital]):
        yield DIGITAL_IN
    if _enabled(link, interrupt, [f"DIGITAL-OUT-{i}" for i in digital]):
        yield DIGITAL_OUT


def _enabled(link: CommandLink, interrupt: Interrupt, names: Sequence[str]) -> list[str]:
    answers = link.values([f"{name}.tcpdataoutputenabled" for name in names], interrupt)
    return [name for name, value in zip(names, answers, strict=True) if _is_true(value, name)]


def _is_true(value: str | None, name: str) -> bool:
    if value not in (None, "True", "False"):
        raise LinkError(f"RHX says {value!r} of the output of {name}: True or False was expected")
    return value == "True"


def _whole(value: str | None, low: int, high: int, what: str) -> int:
    is_whole = value is not None and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS
    if value is None or not is_whole or not low <= int(value) <= high:
        raise LinkError(f"RHX says {value!r} of {what}: a whole number from {low} to {high} was expected")
    return int(value)


def _positive(value: str | None, what: str) -> float:
    try:
        number = float(value or "")
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise LinkError(f"RHX says {value!r} of {what}: a positive number was expected")
    return number
