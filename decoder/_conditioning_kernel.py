"""The compiled part of conditioning: decimation, re-referencing and second-order sections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.kernels import LANES, compiled


@compiled
def condition(
    samples: NDArray[np.float32],
    mask: NDArray[np.bool_],
    phase: int,
    rereference: int,
    fir: NDArray[np.float64],
    sections: NDArray[np.float64],
    entered: NDArray[np.float64],
    decimated: NDArray[np.float64],
    state: NDArray[np.float64],
    refill: NDArray[np.int64],
    running: NDArray[np.bool_],
    conditioned: NDArray[np.float32],
    masked: NDArray[np.bool_],
) -> None:
    """Condition a block piece by piece.

    `phase` is the first sample's index modulo the decimation. `entered` (decimation, groups, width) holds input
    samples by phase, channels padded to LANES: first what the anti-alias filter still needs, then a group per
    decimated row. `refill` counts the samples until a channel's anti-alias filter holds no masked one;
    `running` are the channels whose band-pass has a state.
    """
    n, n_in = samples.shape
    n_out = conditioned.shape[1]
    decimation = entered.shape[0]
    groups_before = history(len(fir), decimation)
    room = (entered.shape[1] - groups_before - 1) * decimation
    emitted, begin, offset = 0, 0, phase
    while begin < n:
        rows = min(n - begin, room - offset)
        count = (offset + rows) // decimation
        raw, judged = samples[begin : begin + rows], mask[begin : begin + rows]
        gone, out = masked[emitted : emitted + count], decimated[:count]
        _enter(raw, judged, entered, groups_before, offset)
        dirty = False
        for t in range(rows):
            for c in range(n_in):
                dirty |= judged[t, c]
        for c in range(n_in):
            dirty |= refill[c] > 0
        if dirty:
            _mark(judged, offset, decimation, len(fir), rereference == 2, refill, gone)
        else:
            for m in range(count):
                for c in range(n_out):
                    gone[m, c] = False
        _decimate(entered, fir, groups_before, out)
        if count > 0:
            for p in range(decimation):
                for row in range(groups_before + 1):
                    for c in range(entered.shape[2]):
                        entered[p, row, c] = entered[p, row + count, c]
        if rereference > 0:
            _rereference(out, gone, rereference)
        for c in range(n_out):
            dirty |= not running[c]
        _filter(out, sections, state, gone, running, not dirty)
        _leave(out, conditioned[emitted : emitted + count])
        emitted += count
        begin += rows
        offset = (offset + rows) % decimation


@compiled
def history(taps: int, decimation: int) -> int:
    """How many groups before its own an output reaches back to."""
    return (taps - 1) // decimation


@compiled
def _enter(
    raw: NDArray[np.float32],
    judged: NDArray[np.bool_],
    entered: NDArray[np.float64],
    groups_before: int,
    offset: int,
) -> None:
    """Sort the samples by phase; a masked one enters as 0."""
    decimation = entered.shape[0]
    for t in range(len(raw)):
        row = entered[(offset + t) % decimation, groups_before + (offset + t) // decimation]
        for c in range(raw.shape[1]):
            row[c] = 0.0 if judged[t, c] else raw[t, c]


@compiled
def _leave(out: NDArray[np.float64], conditioned: NDArray[np.float32]) -> None:
    if out.shape[1] == conditioned.shape[1]:
        flat, target = out.reshape(-1), conditioned.reshape(-1)
        for i in range(len(flat)):
            target[i] = flat[i]
    else:
        for m in range(len(out)):
            for c in range(conditioned.shape[1]):
                conditioned[m, c] = out[m, c]


@compiled
def _mark(
    judged: NDArray[np.bool_],
    offset: int,
    decimation: int,
    taps: int,
    bipolar: bool,
    refill: NDArray[np.int64],
    gone: NDArray[np.bool_],
) -> None:
    """Count down the anti-alias filters that fill again, and mark the decimated rows."""
    m = 0
    for t in range(len(judged)):
        for c in range(judged.shape[1]):
            if judged[t, c]:
                refill[c] = taps
            elif refill[c] > 0:
                refill[c] -= 1
        if (offset + t + 1) % decimation == 0:
            for c in range(gone.shape[1]):
                gone[m, c] = refill[c] > 0 or (bipolar and refill[c + 1] > 0)
            m += 1


@compiled
def _decimate(
    entered: NDArray[np.float64], fir: NDArray[np.float64], groups_before: int, out: NDArray[np.float64]
) -> None:
    """The symmetric anti-alias filter, y_j = sum_k fir_k x_((j + 1) * decimation - 1 - k), one sum per output value.

    By phase, the inputs of consecutive outputs are neighbours: each tap is one long loop. Three pairs of taps
    are taken at a time, which spares loads and stores of the sums.
    """
    decimation, groups, width = entered.shape
    flat, y = entered.reshape(-1), out.reshape(-1)
    n, last = len(y), len(fir) - 1
    half = last // 2
    middle = _tap(flat, half, decimation, groups, width, groups_before, n)
    f0, k = fir[half], 0
    for i in range(n):
        y[i] = f0 * middle[i]
    while k + 3 <= half:
        f1, f2, f3 = fir[k], fir[k + 1], fir[k + 2]
        x1 = _tap(flat, k, decimation, groups, width, groups_before, n)
        x2 = _tap(flat, k + 1, decimation, groups, width, groups_before, n)
        x3 = _tap(flat, k + 2, decimation, groups, width, groups_before, n)
        z1 = _tap(flat, last - k, decimation, groups, width, groups_before, n)
        z2 = _tap(flat, last - k - 1, decimation, groups, width, groups_before, n)
        z3 = _tap(flat, last - k - 2, decimation, groups, width, groups_before, n)
        for i in range(n):
            y[i] += f1 * (x1[i] + z1[i]) + f2 * (x2[i] + z2[i]) + f3 * (x3[i] + z3[i])
        k += 3
    while k < half:
        f1 = fir[k]
        x1 = _tap(flat, k, decimation, groups, width, groups_before, n)
        z1 = _tap(flat, last - k, decimation, groups, width, groups_before, n)
        for i in range(n):
            y[i] += f1 * (x1[i] + z1[i])
        k += 1


@compiled
def _tap(
    flat: NDArray[np.float64], k: int, decimation: int, groups: int, width: int, groups_before: int, n: int
) -> NDArray[np.float64]:
    """The inputs that tap k multiplies, for consecutive outputs."""
    at = ((decimation - 1 - k % decimation) * groups + groups_before - k // decimation) * width
    return flat[at : at + n]


@compiled
def _rereference(rows: NDArray[np.float64], gone: NDArray[np.bool_], rereference: int) -> None:
    """In place: minus the mean over the channels that are there (1), or minus the next channel (2)."""
    n_out = gone.shape[1]
    for m in range(len(rows)):
        row = rows[m]
        if rereference == 2:
            for c in range(n_out):
                row[c] = 0.0 if gone[m, c] else row[c] - row[c + 1]
            row[n_out] = 0.0
            continue
        total, present = 0.0, 0
        for c in range(n_out):
            if not gone[m, c]:
                total += row[c]
                present += 1
        mean = total / max(present, 1)
        for c in range(n_out):
            row[c] = 0.0 if gone[m, c] else row[c] - mean


@compiled
def _filter(
    rows: NDArray[np.float64],
    sections: NDArray[np.float64],
    state: NDArray[np.float64],
    gone: NDArray[np.bool_],
    running: NDArray[np.bool_],
    steady: bool,
) -> None:
    """The sections over spans of rows in which no channel starts or stops; `steady`: the rows are one such span."""
    n_out = gone.shape[1]
    n_sections = len(sections)
    begin = 0
    while begin < len(rows):
        end = len(rows)
        if not steady:
            for c in range(n_out):
                present = not gone[begin, c]
                if present != running[c]:
                    running[c] = present
                    value = rows[begin, c] if present else 0.0
                    at = (c // LANES) * n_sections * 2 * LANES + c % LANES
                    for s in range(n_sections):
                        state[at + 2 * s * LANES] = sections[s, 6] * value
                        state[at + (2 * s + 1) * LANES] = sections[s, 7] * value
            end = begin + 1
            while end < len(rows):
                same = True
                for c in range(n_out):
                    same &= gone[end, c] == gone[begin, c]
                if not same:
                    break
                end += 1
            for m in range(begin, end):
                for c in range(n_out):
                    rows[m, c] = 0.0 if gone[begin, c] else rows[m, c]
        _run_sections(rows[begin:end], sections, state)
        begin = end


@compiled
def _run_sections(
    rows: NDArray[np.float64], sections: NDArray[np.float64], state: NDArray[np.float64]
) -> None:
    """Transposed direct form II, in place, two sections at a time: each is b0 b1 b2 1 a1 a2 and its zi.

    `state` is flat (groups, sections, 2, LANES).
    """
    n_sections, width = len(sections), rows.shape[1]
    flat = rows.reshape(-1)
    for base in range(0, width, LANES):
        for s in range(0, n_sections, 2):
            at = (base * n_sections + s * LANES) * 2
            own = state[at : at + 4 * LANES]
            b0, b1, b2, a1, a2 = (
                sections[s, 0],
                sections[s, 1],
                sections[s, 2],
                sections[s, 4],
                sections[s, 5],
            )
            d0, d1, d2 = sections[s + 1, 0], sections[s + 1, 1], sections[s + 1, 2]
            c1, c2 = sections[s + 1, 4], sections[s + 1, 5]
            for m in range(len(rows)):
                row = flat[m * width + base : m * width + base + LANES]
                for c in range(LANES):
                    x = row[c]
                    y = b0 * x + own[c]
                    own[c] = b1 * x - a1 * y + own[LANES + c]
                    own[LANES + c] = b2 * x - a2 * y
                    z = d0 * y + own[2 * LANES + c]
                    own[2 * LANES + c] = d1 * y - c1 * z + own[3 * LANES + c]
                    own[3 * LANES + c] = d2 * y - c2 * z
                    row[c] = z
