"""Run the proofs in full and write what came of them into docs/proof.md: `python -m tests.proof`.

A run that was broken off goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.proof.plugin import FOLDER, SEED
from tests.proof.report import figures_text, machine, write_rows
from tests.proof.running import ProofTest, Result, Run, collect, run_all, this_run

HEADER = ("proof", "result", "counted", "scale", "seed", "commit", "seconds", "machine", "date")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size, 1 being the full one (1)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what random choices begin from ({SEED})")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only the proofs whose name has this in it"
    )
    parser.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="keep what passed"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="processes at a time, where time is not measured (2)"
    )
    parser.add_argument(
        "--limit", type=float, default=1200.0, metavar="S", help="seconds for one proof (1200)"
    )
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help="write docs/proof.md (where the scale is 1)",
    )
    parser.add_argument("--list", action="store_true", help="list the proofs, run none")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 0 < options.scale <= 1:
        parser.error(f"--scale is {options.scale}: give more than 0 and at most 1")
    if options.jobs < 1 or options.seed < 0:
        parser.error("--jobs must be at least 1, --seed at least 0")

    every = collect(options.folder)
    proofs = [each for each in every if options.only in each.name]
    if not proofs:
        parser.error(f"no proof has {options.only!r} in its name: see --list")
    if options.list:
        print("\n".join(each.name + (" (alone)" if each.alone else "") for each in proofs))
        return 0
    run = this_run(options.seed, options.scale)
    state = options.state or run.state_path()
    if not options.resume:
        state.unlink(missing_ok=True)
    print(f"{len(proofs)} proofs at scale {run.scale:g}, seed {run.seed}, commit {run.commit}", flush=True)
    start = time.monotonic()
    results = run_all(proofs, run, state, options.jobs, options.limit, _say)
    bad = [name for name, result in results.items() if result.outcome == "failed"]
    skipped = sum(result.outcome == "skipped" for result in results.values())
    print(
        f"{len(results) - len(bad) - skipped} passed, {len(bad)} failed, {skipped} skipped; "
        f"{time.monotonic() - start:.0f} s this time, {sum(r.seconds for r in results.values()):.0f} s of proofs"
    )
    if options.write if options.write is not None else options.scale == 1.0:
        write_rows("proofs", HEADER, rows(results, run), {each.name for each in every})
    return 1 if bad else 0


def rows(results: dict[str, Result], run: Run) -> dict[str, list[str]]:
    """The table's cells after the name."""
    return {
        name: [
            f"{r.outcome}: {r.why}" if r.why else r.outcome,
            figures_text(r.figures),
            f"{run.scale:g}",
            str(run.seed),
            run.commit,
            f"{r.seconds:.0f}",
            machine(),
            r.date,
        ]
        for name, r in results.items()
    }


def _say(proof: ProofTest, result: Result) -> None:
    why = f" ({result.why})" if result.why else ""
    print(
        f"{result.outcome}{why} in {result.seconds:.1f} s: {proof.name}: {figures_text(result.figures)}",
        flush=True,
    )
    if result.outcome == "failed":
        print(result.output, flush=True)


if __name__ == "__main__":
    sys.exit(main())
