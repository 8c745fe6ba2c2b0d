"""The compiled part of channel health that sees every sample: judgement, delay line, bridges, a frame's sums.

Channels are padded to LANES. `line` (rows, width) holds 1 ms (`LAG`) of what has left, the delay line, and the
samples under way; `marks` the cause for which each of them is masked, `runs` how far into a bridged
stretch it lies (0: in none). Whatever happens to sample i is decided when sample i + delay is there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder._health_layout import (
    ANCHOR,
    ANCHORED,
    ARTEFACT,
    BASE,
    BRIDGE,
    BRIDGED,
    CAP_LEVEL,
    CAP_ROUGH,
    CASCADE_END_BY,
    CASCADE_LIVE,
    CASCADE_START,
    CAUSE,
    CLEAN,
    DELAY,
    FIRST_OUT,
    FLAT,
    FLAT_AT,
    FRAME,
    FRAME_DONE,
    GATHERED,
    HOLD,
    HOLDING,
    LAG,
    LAST,
    LAST_OVER,
    LAST_SEEN,
    LEAD,
    LEVEL_SUM,
    LINES,
    LONGEST,
    MARKED_UNTIL,
    MASKED,
    N_EVENTS,
    NEXT,
    NOISY,
    NONE,
    NOT_FINITE,
    ONSET,
    POWER_SUM,
    QUADRATURE,
    QUIET,
    RAILED,
    RECOVERED_BY,
    RECOVERING,
    REPEATS,
    REPEATS_SEEN,
    ROUGH_SUM,
    RUN_BIAS,
    RUN_END,
    RUN_START,
    SAID,
    SAID_AT,
    SAY,
    SHOWN,
    SHOWN_ANY,
    SICK,
    SICK_FROM,
    SINCE,
    SIZES,
    SLOW_ANY,
    SLOW_CAUSE,
    START,
    STARTS,
    STIMULATED_UNTIL,
    STIMULATION_TAIL,
    SUM,
    TAIL,
    THRESHOLD,
    TOGETHER,
    UNMASKED,
    UNSTABLE,
    UNWELL,
    VALUE,
)
from decoder.kernels import LANES, compiled


@compiled
def advance(
    raw: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int16],
    begin: int,
    missing: int,
    scale: np.float32,
    limit: np.float32,
    share: float,
    digital: NDArray[np.uint32],
    line: NDArray[np.float32],
    marks: NDArray[np.uint8],
    runs: NDArray[np.int64],
    lanes: NDArray[np.float32],
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    table: NDArray[np.float32],
    events: NDArray[np.int64],
    samples: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> int:
    """Take rows of `raw` from `begin` on, or that many `missing` ones, at most up to the end of a frame.

    What leaves goes to `samples` and `mask` at row now[FIRST_OUT]. Returns how many rows were taken;
    now[FRAME_DONE] says that a frame is complete and wants to be judged before the next call.
    """
    n_channels = samples.shape[1]
    delay, frame, index = plan[DELAY], plan[FRAME], now[NEXT]
    history = delay + plan[LAG]
    to_end = frame - (index - delay) % frame
    rows = missing if missing > 0 else len(raw) - begin
    rows = min(rows, to_end, len(line) - history)
    stimulated = False
    if missing == 0:
        for t in range(rows):
            row = line[history + t]
            for c in range(n_channels):
                row[c] = np.float32(raw[begin + t, c]) * scale
        if plan[LINES] != 0 and len(digital):
            for t in range(rows):
                stimulated |= (np.int64(digital[begin + t]) & plan[LINES]) != 0
    if index == now[START]:
        for c in range(n_channels):
            value = line[history, c]
            value = value if abs(value) < limit else np.float32(0.0)
            lanes[c // LANES, BASE, c % LANES] = value
            for t in range(history):
                line[t, c] = value
    uneasy = (
        missing > 0
        or stimulated
        or now[HOLDING] > 0
        or now[RUN_START] >= 0
        or now[CASCADE_START] >= 0
        or index <= now[STIMULATED_UNTIL]
    )
    if uneasy or not _all_well(line, lanes, history, plan[LAG], rows, limit):
        _walk(
            line, marks, runs, lanes, counts, now, plan, events, digital, begin, missing, limit, share, rows,
            n_channels,
        )  # fmt: skip
    else:
        for t in range(rows):
            runs[history + t] = 0
        calm = marks[history : history + rows].reshape(-1)
        for i in range(len(calm)):
            calm[i] = 0
    first = index - delay
    skip = min(max(now[START] - first, 0), rows)
    if skip < rows:
        _gather(line, lanes, table, plan[LAG], skip, rows, (first + skip) % frame)
        now[GATHERED] += rows - skip
        out = now[FIRST_OUT]
        _leave(
            line, marks, runs, counts, now, plan, events, first, skip, rows, samples[out : out + rows - skip],
            mask[out : out + rows - skip],
        )  # fmt: skip
        now[FIRST_OUT] = out + rows - skip
    for t in range(history):
        runs[t] = runs[rows + t]
        for c in range(line.shape[1]):
            line[t, c] = line[rows + t, c]
            marks[t, c] = marks[rows + t, c]
    now[NEXT] = index + rows
    now[FRAME_DONE] = 1 if rows == to_end else 0
    return int(rows)


@compiled
def _all_well(
    line: NDArray[np.float32],
    lanes: NDArray[np.float32],
    history: int,
    lag: int,
    rows: int,
    limit: np.float32,
) -> bool:
    """Whether nothing in these samples wants a closer look; if so, they have been taken note of."""
    one, zero = np.float32(1.0), np.float32(0.0)
    for group in range(len(lanes)):
        own = lanes[group].reshape(-1)
        for c in range(LANES):
            own[LAST_SEEN * LANES + c] = own[LAST * LANES + c]
            own[REPEATS_SEEN * LANES + c] = own[REPEATS * LANES + c]
            own[UNWELL * LANES + c] = zero
        for t in range(rows):
            row = line[history + t, group * LANES : (group + 1) * LANES]
            earlier = line[history + t - lag, group * LANES : (group + 1) * LANES]
            for c in range(LANES):
                value = row[c]
                same = value == own[LAST_SEEN * LANES + c]
                repeats = min(own[REPEATS_SEEN * LANES + c] + one, own[FLAT_AT * LANES + c]) if same else zero
                own[LAST_SEEN * LANES + c] = value
                own[REPEATS_SEEN * LANES + c] = repeats
                well = (
                    (abs(value) < limit)
                    & (repeats < own[FLAT_AT * LANES + c])
                    & (abs(value - earlier[c]) <= own[THRESHOLD * LANES + c])
                )
                own[UNWELL * LANES + c] = own[UNWELL * LANES + c] if well else one
        unwell = zero
        for c in range(LANES):
            unwell += own[UNWELL * LANES + c]
        if unwell > zero:
            return False
    for group in range(len(lanes)):
        own = lanes[group].reshape(-1)
        for c in range(LANES):
            own[LAST * LANES + c] = own[LAST_SEEN * LANES + c]
            own[REPEATS * LANES + c] = own[REPEATS_SEEN * LANES + c]
    return True


@compiled
def _walk(
    line: NDArray[np.float32],
    marks: NDArray[np.uint8],
    runs: NDArray[np.int64],
    lanes: NDArray[np.float32],
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    events: NDArray[np.int64],
    digital: NDArray[np.uint32],
    begin: int,
    missing: int,
    limit: np.float32,
    share: float,
    rows: int,
    n_channels: int,
) -> None:
    """Row by row: who is masked, what is an artefact, what is bridged."""
    delay, lag, index = plan[DELAY], plan[LAG], now[NEXT]
    history = delay + lag
    bad = np.zeros(n_channels, np.int64)
    last, repeats = _per_channel(lanes, LAST), _per_channel(lanes, REPEATS)
    flat, base, threshold = (
        _per_channel(lanes, FLAT_AT),
        _per_channel(lanes, BASE),
        _per_channel(lanes, THRESHOLD),
    )
    for t in range(rows):
        i, at = index + t, history + t
        row, mark, earlier = line[at], marks[at], line[at - lag]
        runs[at] = 0
        for c in range(line.shape[1]):
            mark[c] = 0
        began, bridging = False, now[RUN_START] >= 0
        if missing > 0:
            for c in range(n_channels):
                row[c], bad[c] = base[c], NONE
        else:
            for c in range(n_channels):
                value = row[c]
                again = np.float32(0.0)
                if value == last[c]:
                    again = min(repeats[c] + np.float32(1.0), flat[c])
                last[c], repeats[c] = value, again
                bad[c] = NONE
                if not abs(value) < limit:
                    bad[c] = RAILED if abs(value) < np.inf else NOT_FINITE
                    row[c] = base[c]
                elif again >= flat[c]:
                    bad[c] = FLAT
                recovering = counts[HOLD, c] > 0 and i <= counts[RECOVERED_BY, c]
                far = abs(value - earlier[c])
                if bridging or recovering:  # from where it was before the artefact
                    far = max(far, abs(value - lanes[c // LANES, ANCHOR, c % LANES]))
                if far > threshold[c]:
                    if i - counts[LAST_OVER, c] > plan[QUIET]:
                        counts[ONSET, c] = i
                        began = True
                    counts[LAST_OVER, c] = i
                    if recovering and bad[c] == NONE:
                        bad[c] = RECOVERING
            if plan[LINES] != 0 and len(digital) and (np.int64(digital[begin + t]) & plan[LINES]) != 0:
                now[STIMULATED_UNTIL] = i + plan[STIMULATION_TAIL]
        if now[CASCADE_START] >= 0 and not _lasts(counts, now, plan, n_channels, i):
            _end_cascade(counts, now, plan, events, n_channels, i)
        if began and now[CASCADE_START] < 0 and i > now[STIMULATED_UNTIL]:
            _look_for_cascade(counts, now, plan, share, n_channels, i)
        struck = now[CASCADE_START] >= 0
        if missing > 0 or struck or i <= now[STIMULATED_UNTIL]:
            if now[RUN_START] < 0:
                start = i
                if missing == 0:
                    start = (now[CASCADE_START] if struck else i) - plan[LEAD]
                _begin_run(line, marks, lanes, counts, now, start, i, delay, history - index, n_channels)
                for k in range(now[RUN_START], i):
                    runs[history + k - index] = k - now[RUN_START] + 1 + now[RUN_BIAS]
            runs[at] = i - now[RUN_START] + 1 + now[RUN_BIAS]
            for c in range(n_channels):
                mark[c] = counts[ANCHORED, c]
            now[MARKED_UNTIL] = i
        else:
            held = False
            for c in range(n_channels):
                if bad[c] != NONE:
                    if counts[HOLD, c] == 0:
                        counts[SICK_FROM, c] = i
                        counts[STARTS, c] += 1
                    counts[HOLD, c], counts[CAUSE, c] = plan[CLEAN] + 1, bad[c]
                elif counts[HOLD, c] > 0:
                    counts[HOLD, c] -= 1
                if counts[HOLD, c] > 0:
                    mark[c] = counts[CAUSE, c]
                    row[c] = base[c]
                    held = True
            if held:
                now[MARKED_UNTIL] = i
            if now[RUN_START] >= 0:
                _end_run(line, now, i, delay, history - index, n_channels)
        leaving = i - delay
        if now[RUN_START] >= 0 and leaving >= now[RUN_START]:
            # Nobody knows yet where it ends: from the last good sample to the channel's mean, and along it.
            along = np.float32(0.0)
            if now[RUN_BIAS] > 0:
                along = np.float32(1.0)
            elif delay > 0:
                along = np.float32(min((leaving - now[RUN_START] + 1) / (delay + 1.0), 1.0))
            bridge = line[t + lag]
            for c in range(n_channels):
                anchor = lanes[c // LANES, ANCHOR, c % LANES]
                bridge[c] = anchor + (base[c] - anchor) * along
    for c in range(n_channels):
        lanes[c // LANES, LAST, c % LANES], lanes[c // LANES, REPEATS, c % LANES] = last[c], repeats[c]
    now[HOLDING] = 0
    for c in range(n_channels):
        if counts[HOLD, c] > 0:
            now[HOLDING] = 1


@compiled
def _per_channel(lanes: NDArray[np.float32], row: int) -> NDArray[np.float32]:
    """A row of `lanes` as one value per channel, copied."""
    return lanes[:, row].copy().reshape(-1)


@compiled
def _look_for_cascade(
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    share: float,
    n_channels: int,
    i: int,
) -> None:
    """Excursions that began within 1 ms on a large share of the channels that are believed."""
    live, hit, earliest = 0, 0, i
    for c in range(n_channels):
        ailing = counts[HOLD, c] > 0 and counts[SICK_FROM, c] <= i - plan[TOGETHER]
        if counts[SLOW_CAUSE, c] == NONE and not ailing:
            live += 1
            if counts[ONSET, c] > i - plan[TOGETHER]:
                hit += 1
                earliest = min(earliest, counts[ONSET, c])
    if hit >= 3 and hit >= share * live:
        now[CASCADE_START] = earliest
        now[CASCADE_LIVE] = live
        now[CASCADE_END_BY] = earliest + plan[LONGEST]


@compiled
def _is_away(
    counts: NDArray[np.int64], now: NDArray[np.int64], plan: NDArray[np.int64], c: int, i: int
) -> bool:
    """Whether channel c was hit, and is not back yet."""
    return bool(counts[ONSET, c] >= now[CASCADE_START] and i - counts[LAST_OVER, c] <= plan[TAIL])


@compiled
def _lasts(
    counts: NDArray[np.int64], now: NDArray[np.int64], plan: NDArray[np.int64], n_channels: int, i: int
) -> bool:
    """An artefact lasts until its channels are back. Once that masks all of them, a few slow ones are not waited for:
    where fewer than a quarter are left, the safety gate believes the others."""
    if i > now[CASCADE_END_BY]:
        return False
    away = 0
    for c in range(n_channels):
        away += _is_away(counts, now, plan, c, i)
    if i - now[RUN_START] + 1 + now[RUN_BIAS] > plan[BRIDGE]:
        return bool(4 * away >= now[CASCADE_LIVE])
    return away > 0


@compiled
def _end_cascade(
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    events: NDArray[np.int64],
    n_channels: int,
    i: int,
) -> None:
    """Counted and told; channels that are not back are masked by themselves until they are, or it is no artefact."""
    size = 0
    for c in range(n_channels):
        size += counts[ONSET, c] >= now[CASCADE_START]
        if i <= now[CASCADE_END_BY] and counts[HOLD, c] == 0 and _is_away(counts, now, plan, c, i):
            counts[HOLD, c], counts[CAUSE, c], counts[SICK_FROM, c] = plan[CLEAN] + 1, RECOVERING, i
            counts[RECOVERED_BY, c] = now[CASCADE_END_BY]
    counts[SIZES, size - 1] += 1
    if now[N_EVENTS] < len(events):
        event = events[now[N_EVENTS]]
        event[0], event[1], event[2], event[4] = ARTEFACT, now[CASCADE_START], size, 0
        event[3], event[5] = i - now[CASCADE_START], i
        now[N_EVENTS] += 1
    now[CASCADE_START] = -1


@compiled
def _begin_run(
    line: NDArray[np.float32],
    marks: NDArray[np.uint8],
    lanes: NDArray[np.float32],
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    start: int,
    i: int,
    delay: int,
    shift: int,
    n_channels: int,
) -> None:
    """A bridged stretch begins at `start`, or as far back as the delay line and the last bridge allow."""
    start = max(start, i - delay, now[START], now[RUN_END])
    now[RUN_START] = start
    # Without a sample before it there is nothing to bridge from: all of it is masked.
    now[RUN_BIAS] = 0 if start > now[START] else 1 << 40
    at = start + shift
    for c in range(n_channels):
        own, k = lanes[c // LANES], c % LANES
        own[ANCHOR, k], counts[ANCHORED, c] = own[BASE, k], NONE
        if start > now[START]:
            own[ANCHOR, k], counts[ANCHORED, c] = line[at - 1, c], marks[at - 1, c]
        if counts[HOLD, c] > 0 and counts[SICK_FROM, c] >= start:
            counts[HOLD, c] = 0  # what it fell ill of is what is being bridged, and no failing of the channel
            counts[STARTS, c] -= 1
    for k in range(start, i):
        for c in range(n_channels):
            marks[k + shift, c] = counts[ANCHORED, c]


@compiled
def _end_run(
    line: NDArray[np.float32],
    now: NDArray[np.int64],
    i: int,
    delay: int,
    shift: int,
    n_channels: int,
) -> None:
    """A straight line over what of the stretch has not left yet, up to sample i, the first good one."""
    start = max(now[RUN_START], i - delay)
    n, before, after = i - start, line[start - 1 + shift], line[i + shift]
    if now[RUN_BIAS] == 0:
        for k in range(n):
            along = np.float32((k + 1.0) / (n + 1.0))
            row = line[start + k + shift]
            for c in range(n_channels):
                row[c] = before[c] + (after[c] - before[c]) * along
    now[RUN_START], now[RUN_END] = -1, i


@compiled
def _gather(
    line: NDArray[np.float32],
    lanes: NDArray[np.float32],
    table: NDArray[np.float32],
    lag: int,
    begin: int,
    end: int,
    place: int,
) -> None:
    """Add rows `begin` to `end` that leave to the sums of their frame, in which the first is row `place`.

    Levels are winsorised means (Huber, Ann. Math. Stat. 1964): what exceeds the cap counts as the cap.
    """
    for group in range(len(lanes)):
        own = lanes[group].reshape(-1)
        for t in range(begin, end):
            row = line[t + lag, group * LANES : (group + 1) * LANES]
            before = line[t + lag - 1, group * LANES : (group + 1) * LANES]
            earlier = line[t, group * LANES : (group + 1) * LANES]
            wave = table[place + t - begin]
            a1, b1, a2, b2, a3, b3 = wave[0], wave[1], wave[2], wave[3], wave[4], wave[5]
            for c in range(LANES):
                value = row[c] - own[BASE * LANES + c]
                own[SUM * LANES + c] += value
                own[LEVEL_SUM * LANES + c] += min(abs(row[c] - earlier[c]), own[CAP_LEVEL * LANES + c])
                own[ROUGH_SUM * LANES + c] += min(abs(row[c] - before[c]), own[CAP_ROUGH * LANES + c])
                own[POWER_SUM * LANES + c] += value * value
                own[QUADRATURE * LANES + c] += value * a1
                own[(QUADRATURE + 1) * LANES + c] += value * b1
                own[(QUADRATURE + 2) * LANES + c] += value * a2
                own[(QUADRATURE + 3) * LANES + c] += value * b2
                own[(QUADRATURE + 4) * LANES + c] += value * a3
                own[(QUADRATURE + 5) * LANES + c] += value * b3


@compiled
def _leave(
    line: NDArray[np.float32],
    marks: NDArray[np.uint8],
    runs: NDArray[np.int64],
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    events: NDArray[np.int64],
    first: int,
    skip: int,
    rows: int,
    samples: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> None:
    """Write what leaves the delay line: 0 where masked; and take note of channels whose mask changes."""
    n_channels = samples.shape[1]
    if now[MARKED_UNTIL] < first + skip and now[SLOW_ANY] == 0 and now[SHOWN_ANY] == 0:
        flat_mask = mask.reshape(-1)
        for i in range(len(flat_mask)):
            flat_mask[i] = False
        if n_channels == line.shape[1]:
            source, target = line[skip + plan[LAG] : rows + plan[LAG]].reshape(-1), samples.reshape(-1)
            for i in range(len(target)):
                target[i] = source[i]
        else:
            for t in range(skip, rows):
                row, out = line[t + plan[LAG]], samples[t - skip]
                for c in range(n_channels):
                    out[c] = row[c]
        return
    shown_any = 0
    for t in range(skip, rows):
        at = t + plan[LAG]
        row, mark, out, masked = line[at], marks[at], samples[t - skip], mask[t - skip]
        long = runs[at] > plan[BRIDGE]
        now[BRIDGED] += runs[at] > 0
        shown_any = 0
        for c in range(n_channels):
            cause = int(mark[c])
            if counts[SLOW_CAUSE, c] != NONE:
                cause = int(counts[SLOW_CAUSE, c])
            masked[c] = long or cause != NONE
            out[c] = np.float32(0.0) if masked[c] else row[c]
            counts[SICK, c] += mark[c] != NONE
            if cause != counts[SHOWN, c]:
                _show(counts, now, plan, events, c, cause, first + t)
            shown_any |= cause != NONE
    now[SHOWN_ANY] = shown_any


@compiled
def _show(
    counts: NDArray[np.int64],
    now: NDArray[np.int64],
    plan: NDArray[np.int64],
    events: NDArray[np.int64],
    c: int,
    cause: int,
    i: int,
) -> None:
    """Channel c is masked for another cause, or no longer, from sample i on: said at once, but once a second."""
    counts[SHOWN, c], counts[SINCE, c] = cause, i
    if i - counts[SAID_AT, c] >= plan[SAY] and now[N_EVENTS] < len(events):
        event = events[now[N_EVENTS]]
        event[0] = UNMASKED if cause == NONE else MASKED
        event[1], event[2], event[5] = i, c, i + plan[DELAY]
        event[3] = counts[SAID, c] if cause == NONE else cause
        event[4] = counts[VALUE, c] if NOISY <= cause <= UNSTABLE else 0
        counts[SAID, c], counts[SAID_AT, c] = cause, i
        now[N_EVENTS] += 1
