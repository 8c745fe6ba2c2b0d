"""The figures of docs/alignment.md: `python -m tests.calibration.alignment.figures`, ten minutes on one core.

`lag` or `bad` after it prints that table only; `bad SEED...` plants other trials than those of seed 0, by which
thresholds were chosen.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

from calibration.alignment.review import Review
from firmware_bridge.nerve.physiology import COHORT
from tests.calibration.alignment.bad_trials import planted, spoilt
from tests.calibration.alignment.two_hands import Cued, FromNerve, Glove, features_of, plan, samples

DRIFT_PPM = 20.0
LAGS_S = (0.0, 0.15, 0.1537, -0.08, 0.3)


def first_of(found: FromNerve, cued: Cued, repetitions: int, glove: Glove, seed: int) -> Review:
    """Reviewed as after the first repetitions, with all that the front end and the glove have said by then."""
    trials = [trial for trial in cued.records() if trial.repetition <= repetitions]
    return found.review(trials, glove.readings(cued, seed))


def lags() -> None:
    """How far off lag and drift are, for lags put into the truth; and the same of lags that vary by trial."""
    subjects = [
        (number, cued, features_of(samples(number, cued))) for number in COHORT for cued in [plan(10, number)]
    ]
    for repetitions in (10, 3, 1):
        for lag_s in LAGS_S:
            glove = Glove(lag_s=lag_s, drift_ppm=DRIFT_PPM)
            found = [first_of(features, cued, repetitions, glove, n) for n, cued, features in subjects]
            off_ms = np.array([1e3 * (one.lag.lag_s - lag_s) for one in found])
            own_ms = [1e3 * (lag - lag_s) for one in found for lag, _ in one.lag.by_trial]
            drift = np.array([abs(one.clock.drift_ppm - DRIFT_PPM) for one in found])
            print(
                f"{repetitions} repetitions, lag {1e3 * lag_s:.0f} ms: off by {off_ms.mean():+.1f} ms (s.d. "
                f"{off_ms.std():.1f}), worst {off_ms[np.abs(off_ms).argmax()]:+.1f} ms; a trial's own r.m.s. "
                f"{np.sqrt(np.mean(np.square(own_ms))):.1f} ms, worst {np.abs(own_ms).max():.1f} ms; least confidence "
                f"{min(one.lag.confidence for one in found):.2f}; drift off by {drift.max():.2f} ppm at worst",
                flush=True,
            )
        jitter = Glove(lag_s=0.15, lag_spread_s=0.04, drift_ppm=DRIFT_PPM)
        off, before, after, said = [], [], [], []
        for number, cued, features in subjects:
            one = first_of(features, cued, repetitions, jitter, number)
            true_s = jitter.late_s(len(cued.asked), number)[: len(one.trials)]
            own_s = np.array([lag for lag, _ in one.lag.by_trial])
            off.append(1e3 * (one.lag.lag_s - true_s.mean()))
            before.append(float(np.sqrt(np.mean((one.lag.lag_s - true_s) ** 2))))
            after.append(float(np.sqrt(np.mean((own_s - true_s) ** 2))))
            said.append(one.lag.spread_s)
        print(
            f"{repetitions} repetitions, lags of 150 +- 40 ms: off by {np.mean(off):+.1f} ms (s.d. {np.std(off):.1f}), "
            f"worst {max(off, key=abs):+.1f} ms; r.m.s. error of a trial's lag "
            f"{1e3 * np.mean(before):.0f} ms with the subject's, {1e3 * np.mean(after):.0f} ms with its own "
            f"(worst {1e3 * max(after):.0f}); spread said {1e3 * np.mean(said):.0f} ms",
            flush=True,
        )


def bad_trials(seed: int) -> None:
    """Ten bad trials among a hundred: found, and good ones said to be bad; each seed has its own."""
    found_by, planted_by = Counter[str](), Counter[str]()
    for number in COHORT:
        bad = planted(plan(10, 1000 + 50 * seed + number), 100 + 50 * seed + number)
        from_nerve = features_of(spoilt(samples(number, bad.cued), bad, 1))
        readings = Glove(lag_s=0.15, drift_ppm=DRIFT_PPM).readings(bad.cued, 1, bad.frozen)
        began = time.process_time()
        one = from_nerve.review(bad.cued.records(), readings)
        took_s = time.process_time() - began
        said = {i: judgement for i, judgement in enumerate(one.judgements) if judgement.reasons}
        hit = set(said) & set(bad.kinds)
        planted_by.update(bad.kinds.values())
        found_by.update(bad.kinds[i] for i in hit)
        false = "; ".join(
            f"{bad.cued.asked[i]} ({', '.join(reason.value for reason in said[i].reasons)})"
            for i in sorted(set(said) - hit)
        )
        missed = ", ".join(bad.kinds[i] for i in sorted(set(bad.kinds) - hit))
        print(
            f"subject {number}: {len(hit)} of {len(bad.kinds)} found, {len(said) - len(hit)} false alarms"
            f"{f', {false}' if false else ''}{f'; missed: {missed}' if missed else ''}; "
            f"lag {1e3 * one.lag.lag_s:.1f} ms; {took_s:.1f} s",
            flush=True,
        )
    for kind, n in sorted(planted_by.items()):
        print(f"{kind}: {found_by[kind]} of {n} found")


def main() -> None:
    wanted = sys.argv[1:]
    seeds = [int(word) for word in wanted if word.isdecimal()]
    if not wanted or "lag" in wanted:
        lags()
    if not wanted or "bad" in wanted:
        for seed in seeds or [0]:
            print(f"seed {seed}")
            bad_trials(seed)


if __name__ == "__main__":
    main()
