"""Every proof in a process of its own, two at a time where time is not measured; what is finished is kept."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE_FOLDER = ROOT / ".proof"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PLUGINS = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest")
"""Not loaded: seconds at each start, and nothing that a proof needs (Hypothesis itself works without its plugin)."""


@dataclass(frozen=True, slots=True)
class ProofTest:
    """A proof: its name for people, what pytest calls it, and whether it needs the machine to itself."""

    name: str
    test: str
    alone: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a proof: "passed", "failed" or "skipped" (and why), its figures, and how long it took."""

    outcome: str
    seconds: float
    date: str
    figures: dict[str, int | float | str] = field(default_factory=dict)
    why: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """Which run this is. `commit` says where the code differs from it; `changes` is those differences' digest."""

    commit: str
    changes: str
    seed: int
    scale: float

    def state_path(self, folder: Path = STATE_FOLDER) -> Path:
        return folder / f"{self.commit[:12]}{self.changes}-seed{self.seed}-scale{self.scale:g}.json"


def this_run(seed: int, scale: float) -> Run:
    """The run of the code as it lies here, told from every other code by its commit and its changes since.

    docs/proof.md, which a run writes, is not counted among the changes.
    """
    commit = _git("rev-parse", "--short=12", "HEAD").strip()
    paths = ("--", ".", ":!docs/proof.md")
    changes = hashlib.sha256(_git("diff", "HEAD", *paths).encode())
    untracked = _git("ls-files", "-z", "--others", "--exclude-standard", *paths).split("\0")
    for name in filter(None, untracked):
        changes.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    is_clean = not _git("status", "--porcelain", *paths)
    return Run(
        commit if is_clean else f"{commit} with changes",
        "" if is_clean else f"-{changes.hexdigest()[:12]}",
        seed,
        scale,
    )


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def collect(folder: Path) -> tuple[ProofTest, ...]:
    """The proofs in a folder. Raises RuntimeError, with what pytest said, where one cannot be imported."""
    with tempfile.TemporaryDirectory() as room:
        path = Path(room) / "proofs.json"
        done = _pytest([str(folder), "--collect-only", f"--proof-list={path}"], 600.0, threading.Event())
        if done[0] not in (0, 5) or not path.exists():
            raise RuntimeError(f"the proofs could not be collected:\n{done[1]}")
        return tuple(ProofTest(**each) for each in json.loads(path.read_text()))


def run_one(proof: ProofTest, run: Run, limit_s: float, stop: threading.Event) -> Result:
    """One proof in a pytest process of its own, ended where it takes longer than `limit_s` or `stop` is set."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    with tempfile.TemporaryDirectory() as room:
        path = Path(room) / "result.json"
        options = [f"--proof-seed={run.seed}", f"--proof-scale={run.scale}", f"--proof-result={path}"]
        start = time.monotonic()
        code, output = _pytest([proof.test, *options], limit_s, stop)
        seconds = time.monotonic() - start
        said = json.loads(
            path.read_text() if path.exists() else '{"outcome": "failed", "why": "", "figures": {}}'
        )
    result = Result(said["outcome"], round(seconds, 1), date, said["figures"], said["why"])
    if code is None:
        return replace(result, outcome="failed", why=f"ended after {seconds:.0f} s", output=output)
    if code != 0 or result.outcome == "failed":
        return replace(result, outcome="failed", output=output)
    return result


def _pytest(arguments: Sequence[str], limit_s: float, stop: threading.Event) -> tuple[int | None, str]:
    """(exit status, what it said) of a pytest run; the status is None where it was ended by its limit or `stop`."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--config-file={ROOT / 'pyproject.toml'}",
        f"--rootdir={ROOT}",
    ]
    process = subprocess.Popen(
        [*command, *PLUGINS, *arguments],
        cwd=ROOT,
        env=os.environ | dict.fromkeys(THREADS, "1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what a proof started is ended with it
    )
    end = time.monotonic() + limit_s
    while time.monotonic() < end and not stop.is_set():
        try:
            output, _ = process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
        return process.returncode, output
    os.killpg(process.pid, signal.SIGKILL)
    return None, process.communicate()[0]


def read_state(path: Path) -> dict[str, Result]:
    """The results that earlier starts of the same run have left; none where there was none."""
    if not path.exists():
        return {}
    return {name: Result(**each) for name, each in json.loads(path.read_text()).items()}


def write_state(path: Path, results: dict[str, Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps({name: asdict(each) for name, each in results.items()}, indent=1))
    beside.replace(path)  # a reader sees the old or the new one, never half


def run_all(
    proofs: Sequence[ProofTest],
    run: Run,
    state: Path,
    jobs: int = 2,
    limit_s: float = 1200.0,
    said: Callable[[ProofTest, Result], None] = lambda proof, result: None,
) -> dict[str, Result]:
    """Every proof that has not passed yet in this run: those that may share the machine first, then the others.

    What has finished is in the state file at once, so a run that was broken off goes on where it stopped.
    """
    results = read_state(state)
    left = [p for p in proofs if p.name not in results or results[p.name].outcome != "passed"]

    def finished(proof: ProofTest, result: Result) -> None:
        results[proof.name] = result
        write_state(state, results)
        said(proof, result)

    stop = threading.Event()
    pool = ThreadPoolExecutor(jobs)
    try:
        waiting = {pool.submit(run_one, p, run, limit_s, stop): p for p in left if not p.alone}
        for done in as_completed(waiting):
            finished(waiting[done], done.result())
        for proof in (p for p in left if p.alone):
            finished(proof, pool.submit(run_one, proof, run, limit_s, stop).result())
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return {p.name: results[p.name] for p in proofs}
