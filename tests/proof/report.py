"""Tables of results in docs/proof.md, each between its two marks; the text around them is a person's."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "proof.md"


def write_rows(
    table: str, header: Sequence[str], rows: Mapping[str, Sequence[str]], known: Collection[str] | None = None
) -> None:
    """`updated` on docs/proof.md."""
    DOCUMENT.write_text(updated(DOCUMENT.read_text(), table, header, rows, known))


def updated(
    text: str,
    table: str,
    header: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    known: Collection[str] | None = None,
) -> str:
    """`text` with the rows of that table replaced or added, by their first cell, sorted by it.

    Rows that are not among `rows` stay as they were, unless `known` is given and their name is not in it: then
    what they were about is gone. Raises ValueError where the document has no marks for the table.
    """
    begin, end = f"<!-- {table} -->", f"<!-- /{table} -->"
    if begin not in text or end not in text:
        raise ValueError(f"docs/proof.md has no lines {begin} and {end}: put them where the table belongs")
    before, _, rest = text.partition(begin)
    old, _, after = rest.partition(end)
    lines = {cells[0]: cells[1:] for cells in map(_cells, old.splitlines()[2:]) if len(cells) == len(header)}
    kept = {name: cells for name, cells in lines.items() if known is None or name in known}
    kept |= {_plain(name): [_plain(cell) for cell in cells] for name, cells in rows.items()}
    made = [_row(header), _row(["---"] * len(header)), *(_row([name, *kept[name]]) for name in sorted(kept))]
    return before + begin + "\n" + "\n".join(made) + "\n" + end + after


def _plain(cell: str) -> str:
    return " ".join(cell.replace("|", "/").split())


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []


def machine() -> str:
    """What this ran on, for the report: processor, memory, system; no name of the host."""
    cores = len(os.sched_getaffinity(0))
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*: (.+)$", info, re.M)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = re.sub(r"\((R|TM)\)|CPU|Processor", "", model.group(1) if model else platform.machine())
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{cores} x {' '.join(name.split())}, {memory_gib:.0f} GiB, {platform.system()}, Python {python}"


def figures_text(figures: Mapping[str, object]) -> str:
    """{"lost_samples": 0, "values": 10000000} is "lost samples 0, values 10 000 000"."""
    return ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in figures.items())


def _figure(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
