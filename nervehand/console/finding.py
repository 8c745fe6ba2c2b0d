"""What can be found on this machine: sources, ground truths, hands, sessions and decoders."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nervehand.sources import schemes

MOST_FILES = 500


@cache
def source_choices() -> list[str]:
    """Addresses that a person may begin with; a search finds more."""
    return ["simulated:default/1/0", "simulated:easy/1/0", *(f"{scheme.name}:" for scheme in schemes())]


@cache
def truth_choices() -> list[str]:
    """The same for what measures an able hand."""
    from calibration import truth

    return ["simulated:default/1/0", *(f"{name}:" for name in truth.names())]


def files_below(folder: Path, suffix: str) -> list[Path]:
    """Files of that kind below a folder, the newest first; hidden ones and those in hidden folders left out."""
    found = []
    for path in folder.rglob(f"*{suffix}"):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inside) or not path.is_file():
            continue
        try:
            found.append((path.stat().st_mtime, path))
        except OSError:  # it was removed just now
            continue
        if len(found) >= MOST_FILES:
            break
    return [path for _, path in sorted(found, key=lambda pair: pair[0], reverse=True)]


def source_facts(address: str) -> list[tuple[str, str]]:
    """What a source says of itself, each with the key of its name; NervehandError where it cannot be opened."""
    from nervehand.sources import open_source

    source = open_source(address)
    info = source.info
    source.close()
    return [
        ("device.channels", str(info.n_channels)),
        ("device.rate", f"{info.rate_hz:g} Hz"),
        ("device.kind", info.kind),
        ("device.electrodes", ", ".join(dict.fromkeys(info.electrodes))[:80]),
    ]
