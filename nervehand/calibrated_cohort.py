"""`nervehand cohort --calibrated`: simulated people are calibrated as a whole; what their decoders do a day later."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

import nervehand
from calibration.calibrated_cohort import MODELS, SCORES, STEADY, Case, Result, means, score_person
from calibration.fit import source_commit
from calibration.paradigm import Paradigm
from calibration.simulated_wearer import Wearer
from calibration.truth.simulated import Imperfections
from firmware_bridge.errors import NervehandError
from nervehand.output import print_json

LAG_S, DRIFT_PPM = 0.15, 20.0
"""What is put into the able hand's glove, to be found."""
FEW = 3
"""Repetitions of a short calibration."""
Record = dict[str, object]


def cases(repetitions: int, models: Sequence[str]) -> list[Case]:
    """The rows of a person: each model, the product with few repetitions, and with labels as they arrived."""
    found = [Case(model, repetitions) for model in models if model in MODELS]
    if "compact" in models:
        found += [Case("compact", FEW)] if repetitions > FEW else []
        found.append(Case("compact", repetitions, is_aligned=False))
    return found


def run_calibrated_cohort(
    numbers: Sequence[int],
    preset: str,
    repetitions: int,
    day: int,
    test_day: int,
    models: Sequence[str],
    threads: int,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Score what `out` does not hold yet, add it there, and print all with mean and worst."""
    wanted = cases(repetitions, models)
    known = [] if out is None or not out.exists() else _read(out)
    commit = source_commit()
    records: list[Record] = []
    console = Console(stderr=True)
    with console.status("calibrating") as status:
        for number in numbers:
            about: Record = {"subject": number, "preset": preset, "day": day, "test_day": test_day}
            mine = [one for one in known if {name: one[name] for name in about} == about]
            there = [_case(one) for one in mine]
            records += [one for one in mine if _case(one) in wanted]
            missing = [case for case in wanted if case not in there]
            if not missing:
                continue
            glove = Imperfections(lag_s=LAG_S, drift_ppm=DRIFT_PPM, jitter_s=0.01)
            wearer = Wearer(number, day, preset, glove=glove)
            paradigm = Paradigm(repetitions=repetitions)
            for result in score_person(
                wearer,
                paradigm,
                test_day,
                missing,
                threads,
                lambda text, number=number: status.update(f"subject {number}: {text}"),  # type: ignore[misc]
            ):
                record = about | _flat(result) | {"commit": commit}
                records.append(record)
                if out is not None:
                    with open(out, "a", encoding="utf-8") as file:
                        file.write(json.dumps(record, allow_nan=False) + "\n")
                if not as_json:
                    print(_line(f"{number}", record), flush=True)
    summary = _summary(records, wanted)
    if as_json:
        print_json({"version": nervehand.__version__, "rows": records, "summary": summary})
        return
    print()
    print(_header())
    for row in summary:
        for which in ("mean", "worst"):
            print(_line(which, {**row, **_part(row, which)}))
    lags = [abs(_number(one["lag_s"]) - LAG_S) * 1e3 for one in records]
    if lags:
        print(
            f"lag of {1e3 * LAG_S:.0f} ms found within {max(lags):.1f} ms, on the mean {sum(lags) / len(lags):.1f}"
        )


def _read(path: Path) -> list[Record]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            print(f"{path}: line {number} is none of ours and is left out ({error})", file=sys.stderr)
    if any("is_aligned" not in one for one in found):
        raise NervehandError(f"{path}: holds results of another kind: choose another file")
    return found


def _flat(result: Result) -> Record:
    return {
        **asdict(result.case),
        "scores": result.trained,
        "untrained": result.untrained,
        "fit_s": result.fit_s,
        "lag_s": result.lag_s,
        "drift_ppm": result.drift_ppm,
    }


def _case(record: Record) -> Case:
    return Case(str(record["model"]), int(_number(record["repetitions"])), bool(record["is_aligned"]))


def _summary(records: Sequence[Record], wanted: Sequence[Case]) -> list[Record]:
    rows: list[Record] = []
    for case in wanted:
        same = [one for one in records if _case(one) == case]
        row: Record = {**asdict(case), "n_subjects": len(same)}
        for kind in ("scores", "untrained"):
            tables = [_table(one, kind) for one in same]
            found = {name: means(tables, name) for name in SCORES}
            row[kind] = {name: {"mean": mean, "worst": worst} for name, (mean, worst) in found.items()}
        rows.append(row)
    return rows


def _part(row: Record, which: str) -> Record:
    parts: Record = {}
    for kind in ("scores", "untrained"):
        table = row[kind]
        assert isinstance(table, dict)  # as `_summary` makes it
        parts[kind] = {name: values[which] for name, values in table.items()}
    return parts


def _table(record: Record, kind: str) -> Mapping[str, float | None]:
    table = record[kind]
    assert isinstance(table, dict)  # as `_flat` makes it
    return table


def _header() -> str:
    names = "".join(f"{name:>10}" for name in ("accuracy", "balanced", "exact"))
    return f"{'':8}{'decoder':10}{'times':>6}{'':>10}{names}{'':4}never trained:{names}"


def _line(first: str, record: Record) -> str:
    values = [[_table(record, kind)[name] for name in STEADY] for kind in ("scores", "untrained")]
    trained, untrained = (
        "".join(f"{'-' if value is None else f'{value:.3f}':>10}" for value in row) for row in values
    )
    how = "aligned" if record["is_aligned"] else "as it came"
    times = f"{record['repetitions']}"
    return f"{first:8}{record['model']!s:10}{times:>6}{how:>12}{trained}{'':16}{untrained}"


def _number(value: object) -> float:
    assert isinstance(value, int | float)  # as `_flat` makes it
    return float(value)
