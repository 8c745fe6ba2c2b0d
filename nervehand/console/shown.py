"""Names of files in pages: Linux lets them be any bytes, and pages are UTF-8."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, quote


def shown(text: str | Path) -> str:
    """As it can be shown: each byte of a name that is not UTF-8 as U+FFFD. It is no name of a file any more."""
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def in_address(name: str) -> str:
    """A file's name for the query of an address; `named_in` gives it back, whatever it is."""
    return quote(name, errors="surrogateescape")


def named_in(query: bytes, key: str) -> str:
    """The file's name under `key` in a query, "" where there is none."""
    found = parse_qs(query.decode("latin-1"), errors="surrogateescape").get(key, [""])
    return found[0]
