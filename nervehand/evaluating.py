"""`nervehand evaluate`: every score of a decoder on sessions, as a table or as one JSON object."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from calibration.evaluation import evaluate
from decoder.bundle import read_bundle
from decoder.session.reader import read_session
from nervehand.output import naming, print_json
from nervehand.tables import evaluation_table


def run_evaluate(
    decoder: Path,
    paths: list[Path],
    repetitions: tuple[int, ...] | None,
    recorded_order: bool,
    any_wearer: bool,
    unscored_after_change_s: float,
    *,
    as_json: bool,
) -> None:
    """Score and print."""
    bundle = read_bundle(decoder)
    sessions = [read_session(path) for path in paths]
    for path, session in zip(paths, sessions, strict=True):
        with naming(decoder, path):
            bundle.require_stream(session.info)
            if not any_wearer:
                bundle.require_wearer(session.meta.subject, session.meta.side, session.meta.array)
    with naming(*paths), Console(stderr=True).status("features") as status:
        found = evaluate(
            bundle,
            sessions,
            repetitions,
            recorded_order=recorded_order,
            unscored_after_change_s=unscored_after_change_s,
            on_progress=status.update,
        )
    conditioning = bundle.coefficients.describe()
    if as_json:
        print_json(found.to_json() | {"any_wearer": any_wearer, "conditioning": conditioning})
        return
    out = Console()
    out.print(evaluation_table(found))
    out.print(f"conditioning: {conditioning}", highlight=False)
    if recorded_order:
        out.print("recorded order: optimistic, a stateful decoder can learn the order of the protocol")
    if unscored_after_change_s:
        out.print(
            f"scores of hops without the first {unscored_after_change_s:g} s after each change of label; "
            "latencies, events and throughput count all hops"
        )
