"""`nervehand cohort`: how hard the simulated subjects are, one after another, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.status import Status

import nervehand
from calibration.cohort import LOSS_CASES, Key, Plan, Row, fingerprints, planned, score_subject
from calibration.fit import source_commit
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from nervehand.output import print_json
from nervehand.simulate import simulated_session

TABLE_SCORES = (
    ("balanced", "per_dof_balanced_accuracy"),
    ("accuracy", "per_dof_accuracy"),
    ("exact", "exact_match"),
)
WIDTH = 10


@dataclass(frozen=True, slots=True)
class Cohort:
    """Subjects of one preset; `plan` holds for each of them but for its subject."""

    subjects: tuple[int, ...]
    preset: str
    repetitions: int
    crosstalk: tuple[bool, ...]
    plan: Plan

    def plans(self) -> Iterable[Plan]:
        """What is done, subject by subject."""
        for subject in self.subjects:
            for crosstalk in self.crosstalk:
                yield replace(self.plan, subject=subject, crosstalk=crosstalk)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Sessions of one subject: the only place that knows how the simulation is called."""

    subject: int
    preset: str
    repetitions: int

    def __call__(self, day: int, crosstalk: bool, seconds: float | None) -> Session:
        return simulated_session(
            self.subject,
            self.repetitions,
            seconds=seconds,
            day=day,
            preset=self.preset,
            crosstalk=crosstalk,
        )


@dataclass(frozen=True, slots=True)
class _Saying:
    """Progress beside the name of what it is about."""

    status: Status
    name: str

    def __call__(self, text: str) -> None:
        self.status.update(f"{self.name}: {text}")


Record = dict[str, object]


def run_cohort(cohort: Cohort, out: Path | None, *, as_json: bool) -> None:
    """Score what `out` does not hold yet, add it there, and print everything that was asked for."""
    known = {} if out is None else read_records(out)
    records: list[Record] = []
    commit = source_commit()
    console = Console(stderr=True)
    if not as_json:
        print(_header(), flush=True)
    with console.status("simulating") as status:
        for plan in cohort.plans():
            make_session = _Maker(plan.subject, cohort.preset, cohort.repetitions)
            context = _context(cohort, plan)
            prints = fingerprints(make_session, plan)
            found = {
                key: known.get(_identity({**context, "fingerprint": prints[key.front_end]}, key))
                for key in planned(plan)
            }
            wanted = [key for key, record in found.items() if record is None]
            says = _Saying(status, f"subject {plan.subject}{'' if plan.crosstalk else ' without crosstalk'}")
            for row in score_subject(make_session, plan, wanted, says):
                own = {"fingerprint": prints[row.key.front_end], "commit": commit}
                record = context | own | _flat(row)
                found[row.key] = record
                if out is not None:
                    _append(out, record)
            done = [record for record in found.values() if record is not None]
            records += done
            if not as_json:
                _print_subject(done, plan)
    means = mean_records(records)
    if as_json:
        print_json({"version": nervehand.__version__, "rows": records, "means": means})
        return
    print()
    if len(cohort.subjects) > 1:
        for mean in means:
            print(_line("mean", mean))
            print(_line("spread", mean, part="spread"))
    _print_losses(means)


def mean_records(records: Sequence[Record]) -> list[Record]:
    """Mean and sample standard deviation over the subjects, for each kind of row."""
    kinds: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        kinds.setdefault(_kind(record), []).append(record)
    means: list[Record] = []
    for same in kinds.values():
        scores: dict[str, float | None] = {}
        spread: dict[str, float | None] = {}
        for name in _scores(same[0]):
            values = [value for record in same if (value := _scores(record).get(name)) is not None]
            scores[name] = float(np.mean(values)) if values else None
            spread[name] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        kept = {name: same[0][name] for name in ("crosstalk", "front_end", "model", "case")}
        means.append({"n_subjects": len(same), **kept, "scores": scores, "spread": spread})
    return means


def read_records(path: Path) -> dict[str, Record]:
    """Records of a results file by identity. A last line that was cut short is removed, and said."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        print(f"{path}: the last line was cut short and is scored again", file=sys.stderr)
        path.write_text(whole, encoding="utf-8")
    found: dict[str, Record] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = json.loads(line)
            key = Key(record["front_end"], record["model"], record["case"])
            found[_identity(record, key)] = record
        except (ValueError, KeyError, TypeError) as error:
            raise NervehandError(
                f"{path}: line {number} is no result of a cohort ({error!r}): choose another file"
            ) from error
    return found


def _context(cohort: Cohort, plan: Plan) -> Record:
    """What a row rests on, beside its key and fingerprint: two rows that agree in all of it are the same."""
    return {
        "subject": plan.subject,
        "preset": cohort.preset,
        "repetitions": cohort.repetitions,
        "train_days": list(plan.train_days),
        "test_day": plan.test_day,
        "crosstalk": plan.crosstalk,
        "seed": plan.seed,
    }


_CONTEXT = (
    "subject", "preset", "repetitions", "train_days", "test_day", "crosstalk", "seed", "fingerprint",
)  # fmt: skip


def _identity(record: Record, key: Key) -> str:
    return json.dumps([*(record[name] for name in _CONTEXT), key.front_end, key.model, key.case])


def _flat(row: Row) -> Record:
    return {
        **asdict(row.key),
        "scores": row.scores,
        "each": {name: list(values) for name, values in row.each.items()},
        "fit_s": row.fit_s,
        "score_s": row.score_s,
    }


def _append(path: Path, record: Record) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")


def _kind(record: Record) -> tuple[object, ...]:
    return tuple(record[name] for name in ("crosstalk", "front_end", "model", "case"))


def _scores(record: Record, part: str = "scores") -> dict[str, float | None]:
    scores = record[part]
    assert isinstance(scores, dict)  # as written by `_flat`
    return scores


def _header() -> str:
    names = "".join(f"{name:>{WIDTH}}" for name, _ in TABLE_SCORES)
    return f"{'subject':8}{'crosstalk':>10}  {'front end':13}{'model':9}{'session':9}{names}"


def _line(first: str, record: Record, part: str = "scores") -> str:
    scores = _scores(record, part)
    shown = (scores.get(name) for _, name in TABLE_SCORES)
    values = "".join(f"{'-' if value is None else f'{value:.3f}':>{WIDTH}}" for value in shown)
    crosstalk = "on" if record["crosstalk"] else "off"
    return f"{first:8}{crosstalk:>10}  {record['front_end']:13}{record['model']:9}{record['case']:9}{values}"


def _print_subject(records: Sequence[Record], plan: Plan) -> None:
    for record in records:
        print(_line(str(plan.subject), record), flush=True)


def _print_losses(means: Sequence[Record]) -> None:
    """How far the mean balanced accuracy falls when channels die, masked and not masked."""
    balanced = {_kind(mean): _scores(mean)["per_dof_balanced_accuracy"] for mean in means}
    for mean in means:
        if mean["case"] != LOSS_CASES[0]:
            continue
        intact, *lost = (balanced.get((*_kind(mean)[:3], case)) for case in LOSS_CASES)
        falls = [
            "-" if intact is None or value is None else f"{100 * (intact - value):.1f}" for value in lost
        ]
        crosstalk = "" if mean["crosstalk"] else ", crosstalk off"
        print(
            f"4 channels lost, {mean['model']}{crosstalk}: balanced accuracy falls by {falls[0]} points masked, "
            f"{falls[1]} not masked"
        )
