"""The compiled part of channel health that judges a frame: levels, medians over the array, and slow conditions.

Runs once per frame of 0.1 s on the absolute grid, for what the samples of the frame have left behind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder._health_layout import (
    AHEAD,
    ARRAY_MEAN,
    ARRAY_VARIANCE,
    ARTEFACT_RATIO,
    BASE,
    BRIDGED,
    CAP_LEVEL,
    CAP_ROUGH,
    COVARIANCE,
    DEAD,
    DEAD_FOLLOWS,
    DEAD_FOR,
    DELAY,
    DRIFT_FRACTION,
    DRIFTING,
    FLAPS,
    FOLLOW_BY,
    FOLLOWS,
    FORGET,
    FRAME,
    GATHERED,
    HARMONICS,
    LANE_ROWS,
    LARGEST,
    LEARN,
    LEARNED,
    LEVEL_SUM,
    LIVE,
    LOG_MEAN,
    LONG_KNOWN,
    LOWEST_ROUGH,
    MAINS,
    MAINS_POWER,
    MAINS_RATIO,
    MAINS_SHARE,
    MASKED,
    MINUTE,
    N_EVENTS,
    NEXT,
    NOISY,
    NOISY_RATIO,
    NONE,
    POWER,
    POWER_SUM,
    PREVAILED,
    QUADRATURE,
    RELEASE,
    RISE,
    ROUGH,
    ROUGH_SUM,
    SAID,
    SAID_AT,
    SAY,
    SHOWN,
    SICK,
    SINCE,
    SLOW_ANY,
    SLOW_CAUSE,
    SMOOTH,
    SMOOTH_BY,
    STARTS,
    STEP,
    SUM,
    SUSTAINED,
    THRESHOLD,
    UNMASKED,
    UNMASKED_AT,
    UNSTABLE,
    VALUE,
    WELL_FIRST,
    WELL_FOR,
    WELL_MOST,
    WELL_NEEDED,
)
from decoder.kernels import LANES, compiled

FEWEST = 4
"""Channels without which none is compared with the others."""
CAP = 4.0
FINEST_UV = 0.5
"""Below any amplifier's noise: what a cap grows from where a channel was flat."""
TINY = 1e-9
SIGMA = 0.8862
"""The standard deviation of Gaussian noise over its differences' mean magnitude, sqrt(pi) / 2."""
TYPICAL_ROUGH, TYPICAL_LOWEST_ROUGH, TYPICAL_LEVEL, LOW_FOLLOWS, REFERENCES = range(5)
ARRAY_MOVES = 0.35
"""Standard deviation of the logarithm of the array's level, from which it shows who follows."""
ARRAY_TOGETHER = 0.5
FLAPPING = 5.0
"""Times ill within some ten seconds, from which a channel is masked until it is quiet."""


@compiled
def judge(
    limit: float,
    n_channels: int,
    lanes: NDArray[np.float32],
    slow: NDArray[np.float64],
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    limits: NDArray[np.float64],
    events: NDArray[np.int64],
) -> None:
    """Judge the frame whose last sample has just left, and begin the next one.

    A frame that began late or of which more than half was bridged says nothing of the channels.
    """
    end = now[NEXT] - 1 - plan[DELAY]
    if now[GATHERED] == plan[FRAME] and 2 * now[BRIDGED] <= plan[FRAME]:
        _measure(n_channels, lanes, slow, counts, plan, limits)
        typical = np.zeros(REFERENCES)
        compared = _compare(n_channels, slow, counts, typical)
        now[SLOW_ANY] = 0
        for c in range(n_channels):
            reach = abs(np.float64(lanes[c // LANES, BASE, c % LANES])) + abs(slow[STEP, c]) * limits[AHEAD]
            _decide(c, reach / limit, compared, typical, slow, counts, limits, end // plan[FRAME])
            now[SLOW_ANY] |= counts[SLOW_CAUSE, c] != NONE
    for c in range(n_channels):
        counts[SICK, c], counts[STARTS, c] = 0, 0
        # What happened too soon after the last word is said now, if it still holds.
        is_news = counts[SHOWN, c] != counts[SAID, c] and end - counts[SAID_AT, c] >= plan[SAY]
        if is_news and now[N_EVENTS] < len(events):
            event = events[now[N_EVENTS]]
            event[0] = UNMASKED if counts[SHOWN, c] == NONE else MASKED
            event[1], event[2], event[5] = counts[SINCE, c], c, now[NEXT]
            event[3] = counts[SAID, c] if counts[SHOWN, c] == NONE else counts[SHOWN, c]
            event[4] = counts[VALUE, c] if NOISY <= counts[SHOWN, c] <= UNSTABLE else 0
            counts[SAID, c], counts[SAID_AT, c] = counts[SHOWN, c], end
            now[N_EVENTS] += 1
    for group in range(len(lanes)):
        for row in range(SUM, LANE_ROWS):
            for c in range(LANES):
                lanes[group, row, c] = np.float32(0.0)
    now[GATHERED], now[BRIDGED] = 0, 0


@compiled
def _measure(
    n_channels: int,
    lanes: NDArray[np.float32],
    slow: NDArray[np.float64],
    counts: NDArray[np.int64],
    plan: NDArray[np.int64],
    limits: NDArray[np.float64],
) -> None:
    """From a frame's sums to levels, and what they leave in the channel's memory."""
    for c in range(n_channels):
        own = lanes[c // LANES, :, c % LANES]
        n = plan[FRAME] - counts[SICK, c]
        slow[FLAPS, c] = slow[FLAPS, c] * limits[FORGET] + counts[STARTS, c]
        slow[LIVE, c] = 1.0 if 2 * n >= plan[FRAME] else 0.0
        if slow[LIVE, c] == 0.0:
            continue
        mean = np.float64(own[SUM]) / n
        level, rough = np.float64(own[LEVEL_SUM]) / n, np.float64(own[ROUGH_SUM]) / n
        power = max(np.float64(own[POWER_SUM]) / n - mean * mean, 0.0)
        mains = 0.0
        for k in range(2 * HARMONICS):
            wave = np.float64(own[QUADRATURE + k]) / n
            mains += 2.0 * wave * wave
        if slow[LEARNED, c] == 0.0:
            slow[SMOOTH, c], slow[LOWEST_ROUGH, c] = level, rough
            slow[MAINS_POWER, c], slow[POWER, c] = mains, power
        slow[LEARNED, c] += 1.0
        by = limits[SMOOTH_BY]
        slow[ROUGH, c], slow[STEP, c] = rough, mean
        slow[SMOOTH, c] += (level - slow[SMOOTH, c]) * by
        slow[MAINS_POWER, c] += (mains - slow[MAINS_POWER, c]) * by
        slow[POWER, c] += (power - slow[POWER, c]) * by
        slow[LOWEST_ROUGH, c] = min(rough, slow[LOWEST_ROUGH, c] * limits[RISE])
        slow[LARGEST, c] = max(level, slow[LARGEST, c] * limits[RELEASE])
        own[BASE] += np.float32(mean)
        own[CAP_LEVEL] = np.float32(CAP * level + FINEST_UV)
        own[CAP_ROUGH] = np.float32(CAP * rough + FINEST_UV)
        known = slow[LEARNED, c] >= limits[LEARN]
        own[THRESHOLD] = np.float32(limits[ARTEFACT_RATIO] * slow[LARGEST, c] if known else np.inf)


@compiled
def _compare(
    n_channels: int, slow: NDArray[np.float64], counts: NDArray[np.int64], typical: NDArray[np.float64]
) -> bool:
    """What is typical of the channels that are believed; False where these are too few to be compared with."""
    found = np.empty((REFERENCES, n_channels))
    n = 0
    for c in range(n_channels):
        if slow[LIVE, c] > 0.0 and counts[SLOW_CAUSE, c] == NONE:
            found[TYPICAL_ROUGH, n], found[TYPICAL_LOWEST_ROUGH, n] = slow[ROUGH, c], slow[LOWEST_ROUGH, c]
            found[TYPICAL_LEVEL, n], found[LOW_FOLLOWS, n] = slow[SMOOTH, c], slow[FOLLOWS, c]
            n += 1
    if n < FEWEST:
        return False
    for k in range(LOW_FOLLOWS):
        typical[k] = np.median(found[k, :n]) + TINY
    typical[LOW_FOLLOWS] = np.sort(found[LOW_FOLLOWS, :n])[n // 4]
    return True


@compiled
def _follow(c: int, level: float, slow: NDArray[np.float64], limits: NDArray[np.float64]) -> None:
    """How channel c's level follows the array's: the slope of one logarithm over the other, forgotten gradually."""
    mine, array = np.log(slow[SMOOTH, c] + TINY), np.log(level)
    if slow[LEARNED, c] == 1.0:
        slow[LOG_MEAN, c], slow[ARRAY_MEAN, c] = mine, array
    by = limits[FOLLOW_BY]
    my_step, array_step = mine - slow[LOG_MEAN, c], array - slow[ARRAY_MEAN, c]
    slow[LOG_MEAN, c] += by * my_step
    slow[ARRAY_MEAN, c] += by * array_step
    slow[COVARIANCE, c] = (1.0 - by) * (slow[COVARIANCE, c] + by * my_step * array_step)
    slow[ARRAY_VARIANCE, c] = (1.0 - by) * (slow[ARRAY_VARIANCE, c] + by * array_step * array_step)
    slow[FOLLOWS, c] = slow[COVARIANCE, c] / (slow[ARRAY_VARIANCE, c] + TINY)


@compiled
def _decide(
    c: int,
    reach: float,
    compared: bool,
    typical: NDArray[np.float64],
    slow: NDArray[np.float64],
    counts: NDArray[np.int64],
    limits: NDArray[np.float64],
    frame: int,
) -> None:
    """Whether channel c is masked after this frame; `reach` is where its mean will be in a second, as a
    share of the amplifier's range."""
    current = counts[SLOW_CAUSE, c]
    live = slow[LIVE, c] > 0.0
    worst, worst_value = NONE, 0.0
    stays = current != NONE and (not live or (not compared and current != DRIFTING))
    for cause in (MAINS, NOISY, DRIFTING, DEAD, UNSTABLE):
        enters, keeps, value, needed = False, False, 0.0, limits[SUSTAINED]
        if cause == UNSTABLE:
            value, needed = slow[FLAPS, c], 1.0
            enters, keeps = value >= FLAPPING, value >= 1.0
        elif not live:
            continue
        elif cause == DRIFTING:
            value = reach
            enters, keeps = value > limits[DRIFT_FRACTION], value > 0.75 * limits[DRIFT_FRACTION]
        elif not compared:
            continue
        elif cause == MAINS:
            value = slow[MAINS_POWER, c] / (slow[POWER, c] + TINY)
            above = np.sqrt(slow[MAINS_POWER, c]) / (SIGMA * typical[TYPICAL_LEVEL])
            enters = value > limits[MAINS_SHARE] and above > limits[MAINS_RATIO]
            keeps = value > 0.7 * limits[MAINS_SHARE] and above > 0.5 * limits[MAINS_RATIO]
        elif cause == NOISY:
            value = slow[ROUGH, c] / typical[TYPICAL_ROUGH]
            lowest = slow[LOWEST_ROUGH, c] / typical[TYPICAL_LOWEST_ROUGH]
            old = slow[LEARNED, c] >= limits[LONG_KNOWN]
            enters = value > limits[NOISY_RATIO] or (old and lowest > 0.5 * limits[NOISY_RATIO])
            keeps = value > 0.5 * limits[NOISY_RATIO] or lowest > 0.25 * limits[NOISY_RATIO]
        elif cause == DEAD:
            value, needed = slow[SMOOTH, c], limits[DEAD_FOR]
            _follow(c, typical[TYPICAL_LEVEL], slow, limits)
            shows = slow[ARRAY_VARIANCE, c] > ARRAY_MOVES**2 and typical[LOW_FOLLOWS] > ARRAY_TOGETHER
            old = slow[LEARNED, c] >= limits[LONG_KNOWN]
            enters = shows and old and slow[FOLLOWS, c] < limits[DEAD_FOLLOWS]
            keeps = not shows or slow[FOLLOWS, c] < 2.0 * limits[DEAD_FOLLOWS]
        before = slow[PREVAILED + cause, c]
        prevailed = min(before + 1.0, needed) if enters else max(before - 1.0, 0.0)
        slow[PREVAILED + cause, c] = prevailed
        if enters and prevailed >= needed and worst == NONE:
            worst, worst_value = cause, value
        if cause == current and (enters or keeps):
            stays = True
    if current == NONE:
        if worst != NONE:
            again = frame - slow[UNMASKED_AT, c] < limits[MINUTE]
            needed = min(2.0 * slow[WELL_NEEDED, c], limits[WELL_MOST])
            slow[WELL_NEEDED, c] = needed if again else limits[WELL_FIRST]
            slow[WELL_FOR, c] = 0.0
            counts[SLOW_CAUSE, c], counts[VALUE, c] = worst, round(1000.0 * worst_value)
    elif stays:
        slow[WELL_FOR, c] = 0.0
    elif worst != NONE:
        slow[WELL_FOR, c] = 0.0
        counts[SLOW_CAUSE, c], counts[VALUE, c] = worst, round(1000.0 * worst_value)
    else:
        slow[WELL_FOR, c] += 1.0
        if slow[WELL_FOR, c] >= slow[WELL_NEEDED, c]:
            counts[SLOW_CAUSE, c] = NONE
            slow[UNMASKED_AT, c] = frame
