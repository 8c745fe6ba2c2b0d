"""Records onto a disk that becomes read-only, and later is as before (failing_disk.c). Prints what was said as JSON.

python -m tests.decoder.recording.read_only_run FOLDER FLAG
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from decoder.recording.keeper import KeepSettings
from decoder.recording.link import recorder_process
from tests.decoder.recording.full_disk_run import Run
from tests.decoder.recording.recording_run import BLOCK, FIRST, HEADER


def main(folder: str, flag: Path) -> None:
    said: dict[str, object] = {}
    with recorder_process(KeepSettings(folder, reserve_bytes=0), HEADER) as (sender, process):
        run = Run(sender, process)
        run.until(lambda: run.state() == "recording")
        ends = run.number + 40
        run.until(lambda: run.number >= ends)
        flag.touch()
        began_s = time.monotonic()
        run.until(lambda: run.state() == "stopped" and "Read-only" in str(sender.report["why"]))
        said["why"], said["problem"] = sender.report["why"], process.problem
        run.until(lambda: time.monotonic() > began_s + 8.0)
        said["deaths"], said["seconds"] = process.deaths, time.monotonic() - began_s
        flag.unlink()
        run.until(lambda: run.state() == "recording")
        ends = run.number + 30
        run.until(lambda: run.number >= ends)
        said["longest_s"], said["end"] = run.longest_s, FIRST + run.number * BLOCK
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
