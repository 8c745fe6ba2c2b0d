"""The kinds of values in a daemon's configuration, each with what is refused and what to write instead.

They raise ValueError, which pydantic collects; config_errors.py makes a line of it that names key, value and place.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from nervehand.config_units import UNIT_WORDS, written

FOLDER = "folder"
"""Under this name the folder of the file is in the context of a validation: what relative paths begin at."""
SIGNER_BYTES = 32
"""Of an Ed25519 public key (RFC 8032, section 5.1.5)."""
_MISTAKEN = {"s": (1e-3, "milliseconds"), "mib": (2.0**-20, "bytes")}
"""Which smaller unit a number that is far too large was probably meant in, and what it is of ours."""


def seconds(least: float, most: float) -> AfterValidator:
    """A time that is plausible, in seconds."""
    return AfterValidator(partial(plausible, unit="s", least=least, most=most))


def mebibytes(least: int, most: int) -> AfterValidator:
    """A size that is plausible, in MiB (2^20 bytes)."""
    return AfterValidator(partial(plausible, unit="mib", least=least, most=most))


def plausible(value: float, *, unit: str, least: float, most: float) -> float:
    """The value, where it is within `least` to `most`; ValueError says which smaller unit it may have been meant in."""
    if least <= value <= most:
        return value
    share, smaller = _MISTAKEN[unit]
    wanted = f"give {UNIT_WORDS[unit]} from {least:g} to {most:.10g}"
    if least <= value * share <= most:
        raise ValueError(f"that looks like {smaller}, {wanted}: {written(value * share, unit)}")
    raise ValueError(wanted)


def _mains(value: float) -> float:
    if value not in (50.0, 60.0):
        raise ValueError("give 50.0 or 60.0, the frequency of the mains in Hz, or leave it out")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,40}", value):
        raise ValueError('use letters, digits, "-" and "_", at most 40')
    return value


def _own_name(value: str) -> str:
    if not value:
        raise ValueError("give a name, by which other programs find the daemon")
    return _name(value)


def _signer(value: str) -> str:
    wanted = f"give an Ed25519 public key as `nervehand signer` prints it, {SIGNER_BYTES} bytes in base64"
    try:
        key = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{wanted} (44 characters)") from None
    if len(key) != SIGNER_BYTES:
        raise ValueError(f"{wanted} (44 characters): this one has {len(key)}")
    if base64.b64encode(key).decode() != value:
        raise ValueError(f"{wanted}: the last characters are not what such a key ends in")
    return value


def _resolved(value: str, info: ValidationInfo) -> str:
    """From the folder of the file, where it is relative; "" stays, which is for none."""
    if value.startswith("~"):
        raise ValueError("~ is not known here, where no shell reads it: give the whole path")
    if "\0" in value:
        raise ValueError("a path has no zero byte: leave it out")
    folder = (info.context or {}).get(FOLDER)
    return value if not value or folder is None else str(Path(folder).absolute() / value)


def _address(value: str, info: ValidationInfo) -> str:
    """With the path of a session from the folder of the file."""
    scheme, colon, where = value.partition(":")
    return value if scheme != "session" or not where else f"{scheme}{colon}{_resolved(where, info)}"


def _cpus(value: tuple[int, ...]) -> tuple[int, ...]:
    if any(cpu < 0 for cpu in value) or len(set(value)) < len(value):
        raise ValueError("give numbers of processors, from 0 and each once, [2, 3] say")
    return value


def _person(value: str) -> str:
    if value and not any(one.isprintable() and not one.isspace() for one in value):
        raise ValueError("that is nobody's name: give the name of who answers for it, or leave it out")
    return value


def _priority(value: int) -> int:
    if not 1 <= value <= 99:
        raise ValueError("give a priority of SCHED_FIFO, 1 to 99")
    return value


MainsHz = Annotated[float, AfterValidator(_mains)]
Name = Annotated[str, AfterValidator(_name)]
Person = Annotated[str, AfterValidator(_person)]
"""Who answers for something; "" for nobody."""
OwnName = Annotated[str, AfterValidator(_own_name)]
Signer = Annotated[str, AfterValidator(_signer)]
FilePath = Annotated[str, AfterValidator(_resolved)]
SourceAddress = Annotated[str, AfterValidator(_address)]
Priority = Annotated[int, AfterValidator(_priority)]
CpusChecked = AfterValidator(_cpus)
