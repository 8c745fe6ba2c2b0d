"""A simulated day through the daemon's loop, as fast as it goes: `python -m tests.day [--hours 24] [--json]`.

Exit status 1 where memory grew, times did, or a hop was lost (docs/day.md).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

TITLES = (
    "hours",
    "wall s",
    "PSS MiB",
    "fds",
    "threads",
    "objects",
    "hop p50",
    "p99 µs",
    "hops",
    "lost",
    "files",
    "kept",
    "waited s",
    "cpu s",
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.day", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of samples (24)")
    parser.add_argument(
        "--each-s", type=float, default=1800.0, help="one measurement for so many seconds (1800)"
    )
    parser.add_argument(
        "--settled-s", type=float, default=3600.0, help="what comes later is compared with then (3600)"
    )
    parser.add_argument("--rotate-mib", type=int, default=256, help="the size of a recording (256)")
    parser.add_argument("--budget-mib", type=int, default=1024, help="of all recordings (1024)")
    parser.add_argument(
        "--pin-each-s", type=float, default=6 * 3600.0, help="how often some are pinned (6 h)"
    )
    parser.add_argument("--folder", type=Path, help="where they lie for as long as it runs")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of tables")
    options = parser.parse_args(arguments)
    if not 0 < options.each_s <= options.settled_s < options.hours * 3600:
        parser.error("give more hours than --settled-s, and that at least --each-s")

    from nervehand.logs import configure_logs
    from tests.day.run import DaySettings, own_folder, run_day
    from tests.day.verdict import Period

    def line(one: Period) -> None:
        if one.hours < 2 * options.each_s / 3600 and not options.json:
            print("  ".join(f"{title:>9}" for title in TITLES), file=shown, flush=True)
        pss = "/".join(f"{mib:.0f}" for mib in one.pss_mib.values())
        numbers = [
            f"{one.hours:.2f}", f"{one.wall_s:.0f}", pss, "/".join(map(str, one.descriptors.values())),
            "/".join(map(str, one.threads.values())), str(one.objects), f"{one.hop_us['p50']:.0f}",
            f"{one.hop_us['p99']:.0f}", str(one.hops), str(one.hops_expected - one.hops), str(one.files),
            f"{one.kept_mib:.0f}", f"{one.waited_s:.0f}",
            "/".join(str(one.counts[name]) for name in one.counts if name.startswith("cpu_s")),
        ]  # fmt: skip
        growing = ", ".join(f"{name} +{n}" for name, n in one.growing.items())
        print("  ".join(f"{number:>9}" for number in numbers), growing, file=shown, flush=True)

    with own_folder(options.folder) as folder:
        path = Path(folder)
        (path / "run").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(path / "run")
        shown = os.fdopen(os.dup(2 if options.json else 1), "w")
        with (path / "log").open("a") as log:
            os.dup2(log.fileno(), 2)
        configure_logs("json", "info", "decode", queued=True)
        settings = DaySettings(
            path, options.hours, options.each_s, options.settled_s, options.rotate_mib, options.budget_mib,
            options.pin_each_s,
        )  # fmt: skip
        try:
            day = run_day(settings, line)
        finally:
            text = (path / "log").read_text(errors="replace")
            bad = [
                one
                for one in text.splitlines()
                if '"level":"error"' in one.replace(" ", "") or "Traceback" in one
            ]
            for one in bad[:20]:
                print(one, file=shown, flush=True)
    if options.json:
        print(json.dumps(asdict(day) | {"passed": day.passed, "errors_logged": len(bad)}))
    else:
        print(f"\n{options.hours:g} h of samples in {day.wall_s:.0f} s; {day.counts}", file=shown)
        for finding in day.findings:
            said = "passed" if finding.passed else "FAILED"
            print(f"{said}  {finding.name}: {finding.text}", file=shown)
        print(f"errors logged: {len(bad)}", file=shown)
    return 0 if day.passed else 1


if __name__ == "__main__":
    sys.exit(main())
