"""Keeps signals out of logs: what is logged says how many numbers there were, not which."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath

MOST_NUMBERS = 8
"""So many in a row are six positions and a little more; a longer row is taken for a signal."""
MOST_LETTERS = 4000
_MOST_DEPTH = 4
_NUMBER = r"(?:[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?|[-+]?\b(?:nan|inf)\b)"
# A row as Python and NumPy print it: brackets, commas, blanks, types and "..." between the numbers.
_BETWEEN = r"(?:[\s,;\[\]()]|\.\.\.|np\.\w++\()++"
_ROW = re.compile(rf"(?<![\d.]){_NUMBER}(?:{_BETWEEN}{_NUMBER}){{{MOST_NUMBERS},}}", re.IGNORECASE)
_NUMBERS = re.compile(rf"(?<![\w.]){_NUMBER}", re.IGNORECASE)
_BYTES = re.compile(r"(?:\\x[0-9a-f]{2}[ -~]{0,3}){8,}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{65,}", re.IGNORECASE)  # longer than a SHA-256


def scrubbed(value: object, depth: int = 0) -> object:
    """What may be formatted into a message instead of `value`: numbers and texts as they are, rows as how many."""
    if value is None or isinstance(value, bool | int | float | str | PurePath):
        return value
    if isinstance(value, Enum):
        return value.value
    if (shape := getattr(value, "shape", None)) is not None and hasattr(
        value, "dtype"
    ):  # NumPy's, not loaded for this
        if shape == () and hasattr(value, "item"):
            return scrubbed(value.item(), depth + 1)
        return f"<array {'x'.join(map(str, shape))} {value.dtype}>"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= _MOST_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        some = list(value.items())[: 2 * MOST_NUMBERS]
        return {str(key): scrubbed(one, depth + 1) for key, one in some}
    if isinstance(value, list | tuple | set | frozenset):
        if len(value) > MOST_NUMBERS:
            return f"<{len(value)} of {type(value).__name__}>"
        return [scrubbed(one, depth + 1) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
        return f"{type(value).__name__} {scrubbed(fields, depth + 1)}"
    return value  # its text is scrubbed like any other


def scrubbed_text(text: str, most_letters: int = MOST_LETTERS) -> str:
    """A text without long rows of numbers, without bytes, and of about `most_letters` at most."""
    if len(text) > most_letters:
        half = most_letters // 2
        text = f"{text[:half]} ... {len(text) - 2 * half} letters ... {text[-half:]}"
    text = _ROW.sub(lambda row: f"<{len(_NUMBERS.findall(row[0]))} numbers>", text)
    text = _BYTES.sub("<bytes>", text)
    return _HEX.sub(lambda digits: f"<{len(digits[0])} hexadecimal digits>", text)


def one_line(text: str) -> str:
    """Without line ends or anything that moves a terminal's cursor, so that nobody writes lines of his own."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
