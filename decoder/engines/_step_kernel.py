"""The compiled part of the step program: every operation of every hop in one call.

A matrix's products are added row by row of the matrix, in order, side by side over its columns: the sums do not depend
on the width of a machine's vectors, and are the same on all that multiply and add in one instruction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoder.kernels import compiled, compiled_fused

# Fields of an operation: what it does, where the result lies and how long it is, the same of its input, where the
# weights or a second input begin, the bias, and the steps of weights that are whole numbers of them.
OPERATION, OUT, N_OUT, IN, N_IN, OTHER, BIAS, STEPS, N_FIELDS = range(9)
COPY, GEMM, GEMM_INT8, RELU, SIGMOID, TANH, ADD, SUB, MUL, SOFTMAX = range(10)

LARGEST_EXPONENT = np.float32(88.0)
"""Of exp: float32 ends at exp(88.72)."""
LOG2_E = np.float32(1.44269504)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""ln 2 in two parts, the first exact for every exponent (Cody and Waite 1980)."""
# exp(r) = 1 + r + r² P(r) for |r| <= ln 2 / 2: the Taylor series to r^7, whose error there is below 1e-8.
P2, P3, P4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
P5, P6, P7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
ONE, TWO, HALF, INFINITE = np.float32(1), np.float32(2), np.float32(0.5), np.float32(np.inf)


@compiled
def _exp(x: np.float32) -> np.float32:
    """exp(x) within 2e-7 of its value; infinite above 88, 0 below -87.3 (no denormals), NaN of NaN.

    Not a call of a mathematics library: a loop over it becomes vector instructions, with the same bits everywhere.
    """
    bounded = x if x > -LARGEST_EXPONENT else -LARGEST_EXPONENT  # NaN too, for it is no whole number
    bounded = bounded if bounded < LARGEST_EXPONENT else LARGEST_EXPONENT
    n = np.floor(bounded * LOG2_E + HALF)
    r = (bounded - n * LN2_HIGH) - n * LN2_LOW
    p = P7
    p = p * r + P6
    p = p * r + P5
    p = p * r + P4
    p = p * r + P3
    p = p * r + P2
    p = p * (r * r) + r + ONE
    exponent = np.uint32(np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23))
    found: np.float32 = p * exponent.view(np.float32)
    found = INFINITE if x > LARGEST_EXPONENT else found
    return found if x == x else x


@compiled_fused
def _add_products(
    x: NDArray[np.float32], weight: NDArray[np.float32] | NDArray[np.int8], y: NDArray[np.float32]
) -> None:
    """y (m,) += x (n,) @ weight (n * m,)."""
    n, m = len(x), len(y)
    even = n - n % 4
    for i in range(0, even, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        w0, w1 = weight[i * m : (i + 1) * m], weight[(i + 1) * m : (i + 2) * m]
        w2, w3 = weight[(i + 2) * m : (i + 3) * m], weight[(i + 3) * m : (i + 4) * m]
        for j in range(m):
            sum_ab = (y[j] + a * np.float32(w0[j])) + b * np.float32(w1[j])
            y[j] = (sum_ab + c * np.float32(w2[j])) + d * np.float32(w3[j])
    for i in range(even, n):
        a = x[i]
        w0 = weight[i * m : (i + 1) * m]
        for j in range(m):
            y[j] += a * np.float32(w0[j])


@compiled
def _softmax(x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    largest = x[0]
    for v in x:
        largest = v if v > largest or v != v else largest
    total = np.float32(0)
    for j in range(len(x)):
        y[j] = _exp(x[j] - largest)
        total += y[j]
    for j in range(len(x)):
        y[j] /= total


@compiled
def run_steps(
    operations: NDArray[np.int64],
    exact: NDArray[np.float32],
    small: NDArray[np.int8],
    arena: NDArray[np.float32],
    features_at: int,
    outputs_at: int,
    probabilities_at: int,
    z: NDArray[np.float32],
    outputs: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> int:
    """One step of the program for each row of `z` (n, f): fills `outputs` (n, o) and `probabilities` (n, g).

    Stops after the first answer that is not finite; how many steps were made.
    """
    for hop in range(len(z)):
        arena[features_at : features_at + z.shape[1]] = z[hop]
        for operation in operations:
            kind = operation[OPERATION]
            y = arena[operation[OUT] : operation[OUT] + operation[N_OUT]]
            x = arena[operation[IN] : operation[IN] + operation[N_IN]]
            if kind in (GEMM, GEMM_INT8):
                first, last = operation[OTHER], operation[OTHER] + len(x) * len(y)
                bias = exact[operation[BIAS] : operation[BIAS] + len(y)]
                if kind == GEMM:
                    y[:] = bias
                    _add_products(x, exact[first:last], y)
                else:
                    steps = exact[operation[STEPS] : operation[STEPS] + len(y)]
                    y[:] = 0
                    _add_products(x, small[first:last], y)
                    for j in range(len(y)):
                        y[j] = y[j] * steps[j] + bias[j]
            elif kind == COPY:
                y[:] = x
            elif kind == RELU:
                for j in range(len(y)):
                    y[j] = x[j] if x[j] > 0 or x[j] != x[j] else np.float32(0)
            elif kind == SIGMOID:
                for j in range(len(y)):
                    y[j] = ONE / (ONE + _exp(-x[j]))
            elif kind == TANH:
                for j in range(len(y)):
                    y[j] = ONE - TWO / (ONE + _exp(TWO * x[j]))
            elif kind == SOFTMAX:
                _softmax(x, y)
            else:
                other = arena[operation[OTHER] : operation[OTHER] + len(y)]
                if kind == ADD:
                    for j in range(len(y)):
                        y[j] = x[j] + other[j]
                elif kind == SUB:
                    for j in range(len(y)):
                        y[j] = x[j] - other[j]
                else:
                    for j in range(len(y)):
                        y[j] = x[j] * other[j]
        outputs[hop] = arena[outputs_at : outputs_at + outputs.shape[1]]
        probabilities[hop] = arena[probabilities_at : probabilities_at + probabilities.shape[1]]
        if not (np.isfinite(outputs[hop]).all() and np.isfinite(probabilities[hop]).all()):
            return hop + 1
    return len(z)
