"""Fuzz every parser with atheris and write what came of it into docs/proof.md: `python -m tests.fuzz`.

Needs the extra `fuzz`. Each target runs in a process of its own, with its share of the time and a limit of memory;
what was learned about its inputs is kept in .proof/fuzz and used by the next run. A finding is an input beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.registry import TARGETS, Target, chosen
from tests.proof.report import figures_text, machine, write_rows
from tests.proof.running import ROOT, STATE_FOLDER, THREADS, this_run

HOUR_S = 3600.0
FOLDER = STATE_FOLDER / "fuzz"
MOST_FINDINGS = 10
"""Of one target; the time that is left is then not used."""
RSS_MB, INPUT_S = 2048, 20
HEADER = ("parser", "findings", "executions", "seconds", "counted", "commit", "machine", "date")


@dataclass(slots=True)
class Outcome:
    """`findings` maps what went wrong to an input that shows it; `inputs` are in the corpus, `edges` were reached."""

    findings: dict[str, Path]
    executions: int = 0
    seconds: float = 0.0
    inputs: int = 0
    edges: int = 0


def fuzz(target: Target, seconds: float, seed: int, folder: Path = FOLDER) -> Outcome:
    """Fuzz one target for that long; after a finding it goes on."""
    room = folder / target.name
    corpus = room / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    outcome = Outcome({})
    end = time.monotonic() + seconds
    with (room / "log").open("w") as log:
        while (left := round(end - time.monotonic())) > 0 and len(outcome.findings) < MOST_FINDINGS:
            begun = time.monotonic()
            text = _run(target, room, seed + outcome.executions, left, max(1, left))
            log.write(text)
            outcome.seconds += time.monotonic() - begun
            outcome.executions += _last(r"number_of_executed_units: (\d+)", text) or _last(r"^#(\d+)", text)
            outcome.edges = max(outcome.edges, _last(r" cov: (\d+)", text))
            artifact = re.search(r"Test unit written to (\S+)", text)
            if artifact:
                outcome.findings.setdefault(said(text), Path(artifact.group(1)))
            elif "DONE" not in text and "Done " not in text:
                outcome.findings.setdefault(f"ended early: {text.strip()[-300:]}", room / "log")
                break
    outcome.inputs = sum(1 for _ in corpus.iterdir())
    return outcome


def _run(target: Target, room: Path, seed: int, seconds: int, limit_s: float) -> str:
    """What the fuzzer said. It is ended where it does not end by itself a minute after its time."""
    command = [
        *(sys.executable, "-m", "tests.fuzz.one", target.name),
        f"-max_total_time={seconds}",
        f"-max_len={target.max_len}",
        f"-rss_limit_mb={RSS_MB}",
        f"-timeout={INPUT_S}",
        f"-seed={seed % 2**31 or 1}",
        "-print_final_stats=1",
        f"-artifact_prefix={room}/",
        str(room / "corpus"),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | dict.fromkeys(THREADS, "1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=limit_s + 60.0)[0]
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        text = process.communicate()[0]
        if isinstance(error, subprocess.TimeoutExpired):
            return text
        raise


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text, re.M)
    return int(found[-1]) if found else 0


def said(text: str) -> str:
    """What went wrong, in a line: the exception and where it was raised, or what libFuzzer calls it."""
    uncaught = text.partition("Uncaught Python exception: ===")[2].partition("== ")[0]
    lines = [line.strip() for line in uncaught.splitlines() if line.strip()]
    if lines:
        where = [line for line in lines if line.startswith("File ")]
        at = re.search(r'([^/"]+)", line (\d+)', where[-1]) if where else None
        what = next((line for line in lines if not line.startswith(("Traceback", "File "))), lines[0])
        return f"{what[:160]} ({at.group(1)}:{at.group(2)})" if at else what[:160]
    error = re.search(r"ERROR: libFuzzer: (.+)", text)
    return error.group(1) if error else "the process ended"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=HOUR_S, metavar="N", help="for all targets together (3600)"
    )
    parser.add_argument("--only", default="", metavar="NAME", help="only the targets with this in their name")
    parser.add_argument("--seed", type=int, default=1, help="what the fuzzer's choices begin from (1)")
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, default=True, help="write docs/proof.md"
    )
    parser.add_argument("--list", action="store_true", help="list the targets, run none")
    options = parser.parse_args(arguments)
    targets = chosen(options.only)
    if not targets:
        parser.error(f"no target has {options.only!r} in its name: see --list")
    if options.list:
        print("\n".join(target.name for target in targets))
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.error('atheris is not installed: python -m pip install -e ".[fuzz]"')
    run = this_run(options.seed, 1.0)
    n_findings = 0
    for target in targets:
        seconds = options.seconds * target.weight / sum(each.weight for each in targets)
        outcome = fuzz(target, seconds, options.seed)
        n_findings += len(outcome.findings)
        print(
            f"{target.name}: {len(outcome.findings)} findings in {outcome.executions} executions, "
            f"{outcome.seconds:.0f} s, {outcome.inputs} inputs reach {outcome.edges} edges",
            flush=True,
        )
        for what, artifact in outcome.findings.items():
            print(f"  {what}\n    {artifact}", flush=True)
        if options.write:
            row = [
                str(len(outcome.findings)),
                f"{outcome.executions:,}".replace(",", " "),
                f"{outcome.seconds:.0f}",
                figures_text({"inputs_kept": outcome.inputs, "edges": outcome.edges}),
                run.commit,
                machine(),
                time.strftime("%Y-%m-%d", time.gmtime()),
            ]
            write_rows("fuzzing", HEADER, {target.name: row}, {each.name for each in TARGETS})
    return 1 if n_findings else 0


if __name__ == "__main__":
    sys.exit(main())
