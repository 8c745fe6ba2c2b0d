"""One fit of a calibration under way, in a process of its own: `python -m calibration.refit FOLDER ROUND`.

It reads the folder as it stands, the recording that still grows included, scores the last round's decoder on this
round's trials, and leaves a new decoder there. What it says goes to standard output, a JSON object on each line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from calibration.fit import FitOptions, SourceSession, fit
from calibration.folder import CalibrationFolder
from calibration.labelling import labelled
from calibration.records import FitRecord
from calibration.round_scores import score_rounds
from calibration.training import Progress
from decoder.bundle import read_bundle, write_bundle
from firmware_bridge.errors import NervehandError
from firmware_bridge.plain import to_plain

STEPS = 200
"""Of training: a quarter of a whole fit, some ten seconds, so that the phantom follows while the next round is made."""
NICENESS = 10


def refit(folder: CalibrationFolder, round_number: int) -> None:
    """Score the newest decoder of earlier rounds on what came after it, then fit one of all rounds up to this one."""
    kept = folder.kept()
    with labelled(folder, up_to_round=round_number) as parts:
        earlier = max((number for number in kept.fits if number < round_number), default=0)
        if earlier and folder.bundle_of_round(earlier).exists():
            scores = score_rounds(
                read_bundle(folder.bundle_of_round(earlier)), parts, range(earlier + 1, round_number + 1)
            )
            before = kept.fits[earlier]
            _say({"fit": to_plain(FitRecord(earlier, before.n_trials, scores, before.fit_s))})
        began = time.monotonic()

        def show(progress: Progress) -> None:
            _say({"progress": round(progress.step / progress.n_steps, 3)})

        used = sorted({trial.repetition for part in parts for trial in part.taught})
        bundle = fit(
            [SourceSession(part.session, "") for part in parts],
            FitOptions(repetitions=tuple(used), threads=1, steps=STEPS),
            show,
        )
        n_trials = sum(len(part.taught) for part in parts)
    path = folder.bundle_of_round(round_number)
    path.unlink(missing_ok=True)
    write_bundle(bundle, path)
    _say({"fit": to_plain(FitRecord(round_number, n_trials, {}, time.monotonic() - began))})


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    """As the module says."""
    os.nice(NICENESS)
    try:
        refit(CalibrationFolder.reopen(Path(sys.argv[1])), int(sys.argv[2]))
    except NervehandError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
