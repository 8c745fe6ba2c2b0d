"""Makes the demo's bundle, the recorded session and its reference outputs anew: `python -m tests.replay.update`.

`--keep-bundle` makes only the session and the reference. Run it when a change is meant to change the outputs,
and say so in the commit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from calibration.fit import FitOptions, SourceSession, fit
from decoder.bundle import read_bundle, write_bundle
from decoder.session.reader import read_session
from decoder.session.writer import write_session
from nervehand import __version__
from nervehand.demo import SUBJECT, TRAINED_DAY, TRAINED_REPETITIONS
from nervehand.fitting import file_sha256
from nervehand.simulate import simulated_session
from tests.replay.reference import BUNDLE, REFERENCE, SESSION, decode

SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep-bundle", action="store_true")
    if not parser.parse_args().keep_bundle:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "demo.nwb"
            write_session(simulated_session(SUBJECT, TRAINED_REPETITIONS, day=TRAINED_DAY), path)
            source = SourceSession(read_session(path), file_sha256(path))
            BUNDLE.parent.mkdir(exist_ok=True)
            write_bundle(fit([source], FitOptions(threads=1, version=__version__)), BUNDLE)
    session = simulated_session(SUBJECT, 1, day=TRAINED_DAY + 1, seconds=SECONDS)
    write_session(session, SESSION)
    intents, raw = decode(read_session(SESSION), read_bundle(BUNDLE))
    np.savez_compressed(
        REFERENCE,
        sample_index=intents.sample_index,
        outputs=intents.outputs,
        positions=intents.positions,
        gesture=intents.gesture,
        probability=intents.probability,
        warming=intents.warming,
        raw_outputs=raw.outputs,
        raw_probabilities=raw.probabilities,
    )


if __name__ == "__main__":
    main()
