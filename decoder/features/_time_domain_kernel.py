"""The compiled part of the time-domain features.

Work is shared in three ways. Sums are kept per *segment*, a piece of a hop, and a window is put together from
its segments: overlapping windows add no sample twice. Segments end at every hop and wherever a window, its
halves or its middle half may begin, on the absolute grid. Features that are functions of others are computed
from them. Only the three counts against a threshold of the window itself (its mean, its deviation) visit all
of its samples, in one pass.

A segment's sums are added sample by sample and a window's segment by segment, oldest first, so that neither
blocks nor earlier windows change a bit. Deviations are taken about the segment's first sample and combined by
Chan, Golub and LeVeque's formula (1983): no cancellation where a mean is large.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from decoder.kernels import LANES, compiled

LOG_FLOOR = 1e-12
"""Logarithms are of max(value, LOG_FLOOR), the value in microvolts."""
LARGEST = 1e19
"""The log detector counts a larger magnitude as this one: LOG_GROUP of them still multiply without overflow."""
LOG_GROUP = 16
"""Magnitudes multiplied before one logarithm is taken; LOG_FLOOR to this power is still a normal float64."""
FLOAT32_MAX = float(np.finfo(np.float32).max)

# Rows of a segment under way: about its first sample (REFERENCE), then plain.
(
    REFERENCE, SHIFTED, SHIFTED_SQUARE, MAGNITUDE, CUBE, LENGTH, DIFFERENCE_SQUARE, TURNS, PRODUCT, LOGS,
    ENTRY, TURN_FIRST, TURN_SECOND, OPEN_ROWS,
) = range(14)  # fmt: skip
# Rows of a finished one: the differences LENGTH, DIFFERENCE_SQUARE and slope changes TURNS that lie within it, and
# apart from these the difference that leads into it (ENTRY) and the slope changes at its first two samples.
MEAN, DEVIATION_SQUARE, SQUARE, CLOSED_ROWS = 0, 1, 2, 13
# Rows of a window.
(
    W_MEAN, W_STD, W_SQUARE, W_QUARTER_1, W_QUARTER_2, W_QUARTER_3, W_QUARTER_4, W_CUBE, W_LENGTH,
    W_DIFFERENCE_SQUARE, W_TURNS, W_LOGS, W_CROSSINGS, W_JUMPS, W_PULSES, WINDOW_ROWS,
) = range(16)  # fmt: skip
FEATURES = 14
# The plan: counts, the first segment of a window's quarters counted back from its end, then the segments' lengths.
WINDOW, HOP, SEGMENTS, SLOTS, START, QUARTER, HALF, THREE_QUARTERS, SPLITS = range(9)


@compiled
def _add(
    own: NDArray[np.float64],
    ring: NDArray[np.float32],
    index: int,
    local: int,
    rows: int,
) -> None:
    """Add `rows` samples to an open segment, from conditioned `index` on, which is its `local`-th sample."""
    window = len(ring) // LANES
    now = index % window
    before = now - 1 if now >= 1 else window - 1
    earlier = before - 1 if before >= 1 else window - 1
    for step in range(local, local + rows):
        newest = ring[now * LANES : (now + 1) * LANES]
        previous = ring[before * LANES : (before + 1) * LANES]
        oldest = ring[earlier * LANES : (earlier + 1) * LANES]
        if step == 0:
            for c in range(LANES):
                x, x1, x2 = np.float64(newest[c]), np.float64(previous[c]), np.float64(oldest[c])
                magnitude = abs(x)
                own[REFERENCE * LANES + c] = x
                own[SHIFTED * LANES + c] = 0.0
                own[SHIFTED_SQUARE * LANES + c] = 0.0
                own[MAGNITUDE * LANES + c] = magnitude
                own[CUBE * LANES + c] = x * x * x
                own[LENGTH * LANES + c] = 0.0
                own[DIFFERENCE_SQUARE * LANES + c] = 0.0
                own[TURNS * LANES + c] = 0.0
                own[PRODUCT * LANES + c] = min(max(magnitude, LOG_FLOOR), LARGEST)
                own[LOGS * LANES + c] = 0.0
                own[ENTRY * LANES + c] = x - x1
                own[TURN_FIRST * LANES + c] = 1.0 if (x - x1) * (x1 - x2) < 0.0 else 0.0
                own[TURN_SECOND * LANES + c] = 0.0
        else:
            for c in range(LANES):
                x, x1, x2 = np.float64(newest[c]), np.float64(previous[c]), np.float64(oldest[c])
                magnitude, difference = abs(x), x - x1
                shifted = x - own[REFERENCE * LANES + c]
                own[SHIFTED * LANES + c] += shifted
                own[SHIFTED_SQUARE * LANES + c] += shifted * shifted
                own[MAGNITUDE * LANES + c] += magnitude
                own[CUBE * LANES + c] += x * x * x
                own[LENGTH * LANES + c] += abs(difference)
                own[DIFFERENCE_SQUARE * LANES + c] += difference * difference
                own[TURNS * LANES + c] += 1.0 if difference * (x1 - x2) < 0.0 else 0.0
                own[PRODUCT * LANES + c] *= min(max(magnitude, LOG_FLOOR), LARGEST)
            if step == 1:
                for c in range(LANES):
                    own[TURN_SECOND * LANES + c] = own[TURNS * LANES + c]
                    own[TURNS * LANES + c] = 0.0
        if (step + 1) % LOG_GROUP == 0:
            for c in range(LANES):
                own[LOGS * LANES + c] += math.log(own[PRODUCT * LANES + c])
                own[PRODUCT * LANES + c] = 1.0
        earlier, before = before, now
        now = now + 1 if now + 1 < window else 0


@compiled
def _close(own: NDArray[np.float64], closed: NDArray[np.float64], count: int) -> None:
    """Write an open segment of `count` samples as a finished one."""
    for c in range(LANES):
        reference, shifted, shifted_square = own[c], own[SHIFTED * LANES + c], own[SHIFTED_SQUARE * LANES + c]
        closed[MEAN * LANES + c] = reference + shifted / count
        closed[DEVIATION_SQUARE * LANES + c] = max(shifted_square - shifted * shifted / count, 0.0)
        closed[SQUARE * LANES + c] = (
            shifted_square + 2.0 * reference * shifted + count * (reference * reference)
        )
        if count % LOG_GROUP != 0:
            own[LOGS * LANES + c] += math.log(own[PRODUCT * LANES + c])
    for c in range((CLOSED_ROWS - MAGNITUDE) * LANES):
        closed[MAGNITUDE * LANES + c] = own[MAGNITUDE * LANES + c]


@compiled
def _combine(
    segments: NDArray[np.float64],
    group: int,
    groups: int,
    plan: NDArray[np.int64],
    end: int,
    total: NDArray[np.float64],
) -> None:
    """Sum the segments of the window that ends before segment `end`."""
    window, per_hop, slots = plan[WINDOW], plan[SEGMENTS], plan[SLOTS]
    for c in range(WINDOW_ROWS * LANES):
        total[c] = 0.0
    quarter = W_QUARTER_1
    for back in range(plan[START], 0):
        if back == plan[QUARTER] or back == plan[HALF] or back == plan[THREE_QUARTERS]:
            quarter += 1
        segment = end + back
        place = segment % per_hop
        count = plan[SPLITS + place + 1] - plan[SPLITS + place]
        at = ((segment % slots) * groups + group) * CLOSED_ROWS * LANES
        own = segments[at : at + CLOSED_ROWS * LANES]
        for c in range(LANES):
            total[W_MEAN * LANES + c] += count * own[MEAN * LANES + c]
            total[W_SQUARE * LANES + c] += own[SQUARE * LANES + c]
            total[quarter * LANES + c] += own[MAGNITUDE * LANES + c]
            total[W_CUBE * LANES + c] += own[CUBE * LANES + c]
            total[W_LOGS * LANES + c] += own[LOGS * LANES + c]
        first, second = back == plan[START], back == plan[START]
        if back == plan[START] + 1:
            first = _length(plan, segment - 1) == 1
        keep_first, keep_second = 0.0 if first else 1.0, 0.0 if second else 1.0
        keep_entry = 0.0 if back == plan[START] else 1.0
        for c in range(LANES):
            entry = own[ENTRY * LANES + c] * keep_entry
            total[W_LENGTH * LANES + c] += abs(entry) + own[LENGTH * LANES + c]
            total[W_DIFFERENCE_SQUARE * LANES + c] += entry * entry + own[DIFFERENCE_SQUARE * LANES + c]
            total[W_TURNS * LANES + c] += (
                own[TURNS * LANES + c]
                + own[TURN_FIRST * LANES + c] * keep_first
                + own[TURN_SECOND * LANES + c] * keep_second
            )
    for c in range(LANES):
        total[W_MEAN * LANES + c] /= window
    for back in range(plan[START], 0):
        segment = end + back
        count = _length(plan, segment)
        at = ((segment % slots) * groups + group) * CLOSED_ROWS * LANES
        own = segments[at : at + CLOSED_ROWS * LANES]
        for c in range(LANES):
            apart = own[MEAN * LANES + c] - total[W_MEAN * LANES + c]
            total[W_STD * LANES + c] += own[DEVIATION_SQUARE * LANES + c] + count * (apart * apart)
    for c in range(LANES):
        total[W_STD * LANES + c] = math.sqrt(total[W_STD * LANES + c] / window)


@compiled
def _length(plan: NDArray[np.int64], segment: int) -> int:
    place = segment % plan[SEGMENTS]
    return int(plan[SPLITS + place + 1] - plan[SPLITS + place])


@compiled
def _count(ring: NDArray[np.float32], oldest: int, total: NDArray[np.float64]) -> None:
    """Count against the window's mean and deviation; `oldest` is the row of the window's first sample.

    The pairs of neighbours in the ring are counted four at a time; where the ring's seam is not the window's,
    one pair is taken back and one added. Counts are whole numbers: their order does not matter.
    """
    window = len(ring) // LANES
    row = 0
    while row + 4 < window:
        at = row * LANES
        row_0, row_1 = ring[at : at + LANES], ring[at + LANES : at + 2 * LANES]
        row_2, row_3 = ring[at + 2 * LANES : at + 3 * LANES], ring[at + 3 * LANES : at + 4 * LANES]
        row_4 = ring[at + 4 * LANES : at + 5 * LANES]
        for c in range(LANES):
            mean, std = total[W_MEAN * LANES + c], total[W_STD * LANES + c]
            x0, x1, x2 = np.float64(row_0[c]), np.float64(row_1[c]), np.float64(row_2[c])
            x3, x4 = np.float64(row_3[c]), np.float64(row_4[c])
            y0, y1, y2, y3, y4 = x0 - mean, x1 - mean, x2 - mean, x3 - mean, x4 - mean
            total[W_CROSSINGS * LANES + c] += (
                (1.0 if y0 * y1 < 0.0 else 0.0)
                + (1.0 if y1 * y2 < 0.0 else 0.0)
                + (1.0 if y2 * y3 < 0.0 else 0.0)
                + (1.0 if y3 * y4 < 0.0 else 0.0)
            )
            total[W_JUMPS * LANES + c] += (
                (1.0 if abs(x1 - x0) > std else 0.0)
                + (1.0 if abs(x2 - x1) > std else 0.0)
                + (1.0 if abs(x3 - x2) > std else 0.0)
                + (1.0 if abs(x4 - x3) > std else 0.0)
            )
            total[W_PULSES * LANES + c] += (
                (1.0 if abs(x0) > std else 0.0)
                + (1.0 if abs(x1) > std else 0.0)
                + (1.0 if abs(x2) > std else 0.0)
                + (1.0 if abs(x3) > std else 0.0)
            )
        row += 4
    while row < window:
        pair = 1.0 if row + 1 < window else 0.0
        _count_pair(ring, row * LANES, min(row + 1, window - 1) * LANES, pair, 1.0, total)
        row += 1
    if oldest > 0:
        _count_pair(ring, (window - 1) * LANES, 0, 1.0, 0.0, total)
        _count_pair(ring, (oldest - 1) * LANES, oldest * LANES, -1.0, 0.0, total)


@compiled
def _count_pair(
    ring: NDArray[np.float32], first: int, second: int, pair: float, alone: float, total: NDArray[np.float64]
) -> None:
    """Add `pair` times the counts between two samples, and `alone` times the first one's own."""
    for c in range(LANES):
        mean, std = total[W_MEAN * LANES + c], total[W_STD * LANES + c]
        x, y = np.float64(ring[first + c]), np.float64(ring[second + c])
        total[W_CROSSINGS * LANES + c] += pair if (x - mean) * (y - mean) < 0.0 else 0.0
        total[W_JUMPS * LANES + c] += pair if abs(y - x) > std else 0.0
        total[W_PULSES * LANES + c] += alone if abs(x) > std else 0.0


@compiled
def _formulas(total: NDArray[np.float64], window: int, lanes: int, values: NDArray[np.float64]) -> None:
    """A group's features from its totals: `values` (14, LANES) flat, in the order of FEATURE_NAMES."""
    for c in range(lanes):
        quarter_1, quarter_2 = total[W_QUARTER_1 * LANES + c], total[W_QUARTER_2 * LANES + c]
        quarter_3, quarter_4 = total[W_QUARTER_3 * LANES + c], total[W_QUARTER_4 * LANES + c]
        mean_square = total[W_SQUARE * LANES + c] / window
        difference_square = total[W_DIFFERENCE_SQUARE * LANES + c]
        values[c] = total[W_CROSSINGS * LANES + c]
        values[LANES + c] = total[W_TURNS * LANES + c]
        values[2 * LANES + c] = total[W_LENGTH * LANES + c]
        values[3 * LANES + c] = total[W_JUMPS * LANES + c]
        values[4 * LANES + c] = (quarter_1 + quarter_2 + quarter_3 + quarter_4) / window
        values[5 * LANES + c] = mean_square
        values[6 * LANES + c] = math.sqrt(mean_square)
        values[7 * LANES + c] = np.cbrt(total[W_CUBE * LANES + c] / window)
        values[8 * LANES + c] = math.exp(total[W_LOGS * LANES + c] / window)
        values[9 * LANES + c] = math.sqrt(difference_square / (window - 1))
        values[10 * LANES + c] = math.log(max(math.sqrt(difference_square), LOG_FLOOR))
        values[11 * LANES + c] = total[W_PULSES * LANES + c]
        values[12 * LANES + c] = ((quarter_1 + quarter_2) - (quarter_3 + quarter_4)) / (0.5 * window)
        values[13 * LANES + c] = (0.5 * (quarter_1 + quarter_4) + (quarter_2 + quarter_3)) / window


@compiled
def extract(
    conditioned: NDArray[np.float32],
    mask: NDArray[np.bool_],
    first_index: int,
    start: int,
    plan: NDArray[np.int64],
    chosen: NDArray[np.int64],
    ring: NDArray[np.float32],
    sums: NDArray[np.float64],
    last_masked: NDArray[np.int64],
    features: NDArray[np.float32],
    masked: NDArray[np.bool_],
) -> int:
    """Take (n, c) samples from `first_index` on; fill the rows of `features` and `masked`; return how many.

    `start` is the first index since the reset. `ring` is (groups, window, LANES) flat, `sums` holds
    one window's totals and features, then the open segment and the finished ones.
    """
    n, n_channels = conditioned.shape
    window, hop, per_hop, slots = plan[WINDOW], plan[HOP], plan[SEGMENTS], plan[SLOTS]
    groups = len(ring) // (window * LANES)
    total = sums[: WINDOW_ROWS * LANES]
    values = sums[WINDOW_ROWS * LANES : (WINDOW_ROWS + FEATURES) * LANES]
    opened = sums[(WINDOW_ROWS + FEATURES) * LANES : (WINDOW_ROWS + FEATURES + groups * OPEN_ROWS) * LANES]
    segments = sums[(WINDOW_ROWS + FEATURES + groups * OPEN_ROWS) * LANES :]
    n_chosen = len(chosen)
    emitted = 0
    t = 0
    while t < n:
        index = first_index + t
        hop_begin = (index // hop) * hop
        place = 0
        while hop_begin + plan[SPLITS + place + 1] <= index:
            place += 1
        segment_begin = max(hop_begin + plan[SPLITS + place], start)
        segment_end = hop_begin + plan[SPLITS + place + 1]
        rows = min(n - t, segment_end - index)
        for step in range(rows):
            any_masked = False
            for c in range(n_channels):
                any_masked |= mask[t + step, c]
            if any_masked:
                for c in range(n_channels):
                    if mask[t + step, c]:
                        last_masked[c] = index + step
        segment = (index // hop) * per_hop + place
        for group in range(groups):
            own_ring = ring[group * window * LANES : (group + 1) * window * LANES]
            lanes = min(LANES, n_channels - group * LANES)
            for step in range(rows):
                at = ((index + step) % window) * LANES
                row = own_ring[at : at + LANES]
                for c in range(lanes):
                    row[c] = conditioned[t + step, group * LANES + c]
            own = opened[group * OPEN_ROWS * LANES : (group + 1) * OPEN_ROWS * LANES]
            _add(own, own_ring, index, index - segment_begin, rows)
            if index + rows == segment_end:
                at = ((segment % slots) * groups + group) * CLOSED_ROWS * LANES
                _close(own, segments[at : at + CLOSED_ROWS * LANES], segment_end - segment_begin)
        t += rows
        last = index + rows - 1
        if (last + 1) % hop == 0 and last + 1 - start >= window:
            for group in range(groups):
                _combine(segments, group, groups, plan, segment + 1, total)
                own_ring = ring[group * window * LANES : (group + 1) * window * LANES]
                _count(own_ring, (last + 1) % window, total)
                lanes = min(LANES, n_channels - group * LANES)
                _formulas(total, window, lanes, values)
                for c in range(lanes):
                    channel = group * LANES + c
                    gone = last_masked[channel] > last - window
                    for column in range(n_chosen):
                        value = min(max(values[chosen[column] * LANES + c], -FLOAT32_MAX), FLOAT32_MAX)
                        features[emitted, channel * n_chosen + column] = value
                        masked[emitted, channel * n_chosen + column] = gone
            emitted += 1
    return emitted
