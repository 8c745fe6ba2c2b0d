"""How every numerical kernel of this package is compiled, said once.

No fast-math: a sum is added in the order in which it is written, so that bits do not depend on the machine's
vector width or on how the samples were cut into blocks. Kernels vectorise across channels instead: state
lies in groups of `LANES` channels, and the innermost loop runs over that constant number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

LANES = 16
"""Channels that a kernel handles side by side: 16 float32 fill one 512-bit register, or four of NEON's."""

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(kernel: Kernel) -> Kernel:
    """Compile `kernel` at its first call and keep the machine code on disk.

    The cache knows only the kernel's own file: a kernel calls no function of another module, and a change of
    `LANES` asks for a cleared `__pycache__`.
    """
    return cast(Kernel, numba.njit(cache=True, nogil=True, error_model="numpy")(kernel))


def compiled_fused(kernel: Kernel) -> Kernel:
    """As `compiled`, where a product and the sum that it goes into may be rounded once instead of twice.

    A quarter faster where the processor multiplies and adds in one instruction, as x86-64-v3 and every aarch64 do;
    their bits are the same, and differ by a rounding from a processor that cannot.
    """
    fused = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast(Kernel, fused(kernel))


def lane_groups(n_channels: int) -> int:
    """How many groups of `LANES` hold `n_channels`."""
    return -(-n_channels // LANES)
