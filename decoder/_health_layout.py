"""Which row of the arrays of channel health is what.

Compiled kernels hold these numbers: a change of one asks for a cleared `__pycache__`, as one of LANES does.
"""

from __future__ import annotations

# Causes, in the order of their names in health.py.
NONE, NOT_FINITE, RAILED, FLAT, NOISY, MAINS, DRIFTING, DEAD, UNSTABLE, RECOVERING = range(10)
# Kinds of events.
MASKED, UNMASKED, ARTEFACT = range(3)
EVENT_COLUMNS = (
    6  # kind, sample, channel or how many, cause or samples, value in thousandths, when it was known
)
HARMONICS = 3

# `lanes` (groups, LANE_ROWS, LANES) float32: the sample-by-sample state, what judges it, and a frame's sums.
(
    LAST, REPEATS, LAST_SEEN, REPEATS_SEEN, UNWELL, FLAT_AT, BASE, THRESHOLD, CAP_LEVEL, CAP_ROUGH, ANCHOR,
    SUM, LEVEL_SUM, ROUGH_SUM, POWER_SUM, QUADRATURE,
) = range(16)  # fmt: skip
LANE_ROWS = QUADRATURE + 2 * HARMONICS
# Rows of `counts` (int64 per channel).
(
    HOLD, CAUSE, SICK_FROM, STARTS, SICK, ONSET, LAST_OVER, ANCHORED,
    SLOW_CAUSE, VALUE, SHOWN, SINCE, SAID, SAID_AT, SIZES, RECOVERED_BY, COUNT_ROWS,
) = range(17)  # fmt: skip
# `now` (int64): where the stream stands.
(
    NEXT, START, FIRST_OUT, GATHERED, BRIDGED, RUN_START, RUN_BIAS, RUN_END, STIMULATED_UNTIL, CASCADE_START,
    CASCADE_LIVE, CASCADE_END_BY, MARKED_UNTIL, HOLDING, SLOW_ANY, SHOWN_ANY, N_EVENTS, FRAME_DONE, NOW_ROWS,
) = range(19)  # fmt: skip
# `plan` (int64): settings in samples.
(
    DELAY, FRAME, CLEAN, BRIDGE, LEAD, TOGETHER, QUIET, TAIL, LONGEST, STIMULATION_TAIL, LINES, SAY, LAG, PLAN_ROWS,
) = range(14)  # fmt: skip
NEVER = -(1 << 60)
# Rows of `slow` (float64 per channel): of the frame, then smoothed, then for how many frames a condition prevailed.
(
    LIVE, ROUGH, STEP, SMOOTH, LOWEST_ROUGH, MAINS_POWER, POWER, LARGEST, LEARNED, FLAPS, LOG_MEAN, ARRAY_MEAN,
    COVARIANCE, ARRAY_VARIANCE, FOLLOWS, WELL_FOR, WELL_NEEDED, UNMASKED_AT, PREVAILED,
) = range(19)  # fmt: skip
SLOW_ROWS = PREVAILED + UNSTABLE + 1
# `limits` (float64): thresholds, factors per frame, and times in frames.
(
    NOISY_RATIO, MAINS_SHARE, MAINS_RATIO, DRIFT_FRACTION, DEAD_FOLLOWS, ARTEFACT_RATIO, SUSTAINED, DEAD_FOR,
    WELL_FIRST, WELL_MOST, MINUTE, LEARN, LONG_KNOWN, SMOOTH_BY, RISE, FOLLOW_BY, RELEASE, FORGET, AHEAD, LIMITS,
) = range(20)  # fmt: skip
