"""`nervehand sources`: what is there, and the forms of addresses."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nervehand.output import print_json, saying
from nervehand.sources import Scheme, Searched, find_all, how_to_install, schemes


def sources_json(known: Sequence[Scheme], searched: Sequence[Searched]) -> dict[str, object]:
    """What is there, every kind of source, and what could not be searched for."""
    return {
        "sources": [
            {"scheme": one.scheme, "address": found.address, "description": found.description}
            for one in searched
            for found in one.found
        ],
        "schemes": [
            {
                "scheme": scheme.name,
                "address": scheme.address,
                "missing_extra": scheme.missing_extra,
                "install": how_to_install(scheme.missing_extra) if scheme.missing_extra else "",
            }
            for scheme in known
        ],
        "problems": {one.scheme: one.problem for one in searched if one.problem},
    }


def run_sources(*, as_json: bool) -> None:
    """Search and print."""
    with saying("looking for front-ends", as_json):
        searched = find_all()
    known = schemes()
    if as_json:
        print_json(sources_json(known, searched))
        return
    console = Console()
    there = _table("there now", "address", "what it is")
    for one in searched:
        for found in one.found:
            there.add_row(escape(found.address), escape(found.description))
    console.print(there)
    forms = _table("forms of addresses", "kind", "address", "")
    problems = {one.scheme: one.problem for one in searched if one.problem}
    for scheme in known:
        note = problems.get(scheme.name, "")
        if scheme.missing_extra:
            note = f"not installed: {how_to_install(scheme.missing_extra)}"
        forms.add_row(scheme.name, escape(scheme.address), escape(note))
    console.print(forms)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
