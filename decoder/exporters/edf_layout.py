"""How EDF+ and BDF+ files are laid out: numbers in eight characters, data records, headers and annotations.

EDF+: Kemp and Olivan, Clin Neurophysiol 2003, 114:1755 (edfplus.info/specs/edfplus.html); BDF+: the same with 24 bits
(teuniz.net/edfbrowser/bdfplus format description.html). Little-endian; header fields are ASCII, padded with spaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError

RECORD_BYTES = 61440
"""A data record is not to be longer (EDF, section "data records")."""

_MOST_RATE_ERROR = 1e-6
_MOST_SAMPLES = 1 << 20
_DRIFT_SAMPLES = 0.1
"""By which the last sample may be off where the rate cannot be written."""

_MOST_RANGES = 2000
_MOST_TEXT_BYTES = 200
"""Of one annotation: every data record has room for the longest."""


@dataclass(frozen=True, slots=True)
class Width:
    """A sample's bits in EDF+ (16) or BDF+ (24)."""

    bits: int

    @property
    def form(self) -> str:
        return "EDF" if self.bits == 16 else "BDF"

    @property
    def bytes(self) -> int:
        return self.bits // 8

    @property
    def least(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def greatest(self) -> int:
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True, slots=True)
class Records:
    """Every data record has `n` samples of each signal and lasts `duration_s`, as the header writes it."""

    n: int
    duration: str

    @property
    def rate_hz(self) -> float:
        """The sampling rate as readers work it out."""
        return self.n / float(self.duration)


def records(rate_hz: float, n_samples: int, signals: int, width: Width) -> Records:
    """Data records by which samples keep their times, with as little padding as can be; of at most a second and
    RECORD_BYTES where that will do.

    Errors: NervehandError where no record comes within a millionth of the rate.
    """
    second = min(math.ceil(rate_hz), _MOST_SAMPLES)
    for most in (min(second, RECORD_BYTES // (signals * width.bytes)), second, 10 * second):
        n = np.arange(1, max(1, most) + 1)
        duration_s = _eight_characters(n / rate_hz, 8)
        with np.errstate(divide="ignore"):
            error = np.abs(n / duration_s / rate_hz - 1)
        if error.min() <= _MOST_RATE_ERROR:
            break
    else:
        raise NervehandError(
            f"a sampling rate of {rate_hz:g} Hz cannot be written in EDF's header, which has eight characters for the"
            " duration of a record: export to nwb, xdf or mne"
        )
    near = (error <= _MOST_RATE_ERROR) & (error * n_samples <= _DRIFT_SAMPLES)
    fit = near if error.min() > 0.0 and near.any() else error == error.min()
    large = fit & (n >= min(n[-1], n_samples) // 4)
    chosen = n[large if large.any() else fit]
    padding = -n_samples % chosen
    best = int(chosen[padding == padding.min()].max())
    return Records(best, eight(best / rate_hz))


def _eight_characters(values: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    """Numbers from 0 on as `room` characters hold them: what `eight` says, of many at once."""
    digits = np.maximum(room - 2 - np.floor(np.log10(np.maximum(values, 1.0))), 0.0)
    rounded: NDArray[np.float64] = np.rint(values * 10**digits) / 10**digits
    return rounded


def eight(value: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """The decimal number nearest to a value (or not below, not above it) that fits into eight characters.

    Errors: NervehandError where it is too large for that.
    """
    for digits in range(7, -1, -1):
        text = f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding):f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        text = "0" if text in ("-0", "") else text
        if len(text) <= 8:
            return text
    raise NervehandError(
        f"{value:g} does not fit into the eight characters of EDF's header: export to nwb or xdf"
    )


def physical_range(low: float, high: float) -> tuple[str, str]:
    """Eight characters each for limits that hold all values from `low` to `high`, and are not the same."""
    if low == high:
        low, high = low - 1.0, high + 1.0
    return eight(low, ROUND_FLOOR), eight(high, ROUND_CEILING)


def count_range(scale: float, low: int, high: int) -> tuple[tuple[str, str], tuple[int, int]]:
    """The physical and the digital range for whole counts of a scale that lie between two counts.

    Of the ranges that hold them, the one whose limits in eight characters are nearest to what they should be.
    """

    def best(counts: NDArray[np.int64], room: int) -> int:
        exact = counts.astype(np.float64) * scale
        return int(counts[np.argmin(np.abs(_eight_characters(exact, room) - exact))])

    least = -best(np.arange(32768, max(-low, 32768 - _MOST_RANGES) - 1, -1), 7)
    greatest = best(np.arange(32767, max(high, 32767 - _MOST_RANGES) - 1, -1), 8)
    return (eight(least * scale), eight(greatest * scale)), (least, greatest)


@dataclass(frozen=True, slots=True)
class SignalHeader:
    """One signal's fields; `physical` and `digital` are its least and greatest value, as the header writes them."""

    label: str
    unit: str
    physical: tuple[str, str]
    digital: tuple[int, int]
    n: int
    transducer: str = ""
    prefiltering: str = ""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What is said of the whole file; `date` is dd.mm.yy, `time` hh.mm.ss."""

    patient: str
    recording: str
    date: str
    time: str
    n_records: int
    duration: str


def header_bytes(file: FileHeader, signals: list[SignalHeader], width: Width) -> bytes:
    """256 bytes for the file and as many for each signal."""
    version = b"0       " if width.bits == 16 else b"\xffBIOSEMI"
    if file.n_records > 99_999_999 or len(signals) > 9999:
        raise NervehandError(
            f"{file.n_records} records of {len(signals)} signals are more than {width.form}'s header can count:"
            " export less at a time with --start and --seconds"
        )
    head = version + b"".join(
        _field(text, size)
        for text, size in (
            (file.patient, 80),
            (file.recording, 80),
            (file.date, 8),
            (file.time, 8),
            (str(256 * (1 + len(signals))), 8),
            (f"{width.form}+C", 44),
            (str(file.n_records), 8),
            (file.duration, 8),
            (str(len(signals)), 4),
        )
    )
    columns: list[tuple[list[str], int]] = [
        ([s.label for s in signals], 16),
        ([s.transducer for s in signals], 80),
        ([s.unit for s in signals], 8),
        ([s.physical[0] for s in signals], 8),
        ([s.physical[1] for s in signals], 8),
        ([str(s.digital[0]) for s in signals], 8),
        ([str(s.digital[1]) for s in signals], 8),
        ([s.prefiltering for s in signals], 80),
        ([str(s.n) for s in signals], 8),
        ([""] * len(signals), 32),
    ]
    return head + b"".join(_field(text, size) for texts, size in columns for text in texts)


def _field(text: str, size: int) -> bytes:
    plain = "".join(c if " " <= c <= "~" else "_" for c in text)
    return plain[:size].ljust(size).encode("ascii")


def annotation_bytes(onset_s: float, duration_s: float, text: str) -> list[bytes]:
    """Time-stamped annotation lists (EDF+, section 2.2.4) of one annotation, several where its text is long.

    Line breaks become spaces, for readers that end a text there, and {COLON} a colon, since MNE-Python opens no file
    with that word.
    """
    text = text.replace("{COLON}", ":")
    clean = "".join(" " if c in "\r\n\t" else "\N{REPLACEMENT CHARACTER}" if c < " " else c for c in text)
    time = f"+{seconds(onset_s)}"
    if duration_s:
        time += f"\x15{seconds(duration_s)}"
    pieces = _pieces(clean)
    if len(pieces) > 1:
        pieces = [f"{piece} ({i}/{len(pieces)})" for i, piece in enumerate(pieces, start=1)]
    return [f"{time}\x14{piece}\x14\0".encode() for piece in pieces]


def seconds(value: float) -> str:
    """Without an exponent, to the nanosecond."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def _pieces(text: str) -> list[str]:
    pieces, size = [""], 0
    for c in text:
        size += len(c.encode())
        if size > _MOST_TEXT_BYTES:
            pieces.append("")
            size = len(c.encode())
        pieces[-1] += c
    return pieces


def packed(
    lists: list[tuple[int, bytes]], n_records: int, duration: str, offset: Decimal
) -> tuple[list[bytes], int]:
    """Annotations (the record in which each begins, and its bytes; in order) as what each record holds of them, and
    the bytes that every record needs for them.

    A record begins with its own time, `offset` seconds later than a whole number of durations. An annotation that
    finds its record full is in a later one, or where there is none an earlier one: readers go by its time.
    """
    step = Decimal(duration)
    stamps = [f"+{offset + step * i:f}\x14\x14\0".encode() for i in range(n_records)]
    size = max(map(len, stamps)) + max((len(text) for _, text in lists), default=0)
    while (filled := _fill(stamps, lists, size)) is None:
        size += size // 2
    return filled, size


def _fill(stamps: list[bytes], lists: list[tuple[int, bytes]], size: int) -> list[bytes] | None:
    filled, following = list(stamps), 0
    for i in range(len(stamps)):
        while following < len(lists) and lists[following][0] <= i:
            if len(filled[i]) + len(lists[following][1]) > size:
                break
            filled[i] += lists[following][1]
            following += 1
    i = len(stamps) - 1
    for _, text in lists[following:]:
        while i >= 0 and len(filled[i]) + len(text) > size:
            i -= 1
        if i < 0:
            return None
        filled[i] += text
    return filled
