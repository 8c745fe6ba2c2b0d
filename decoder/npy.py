"""One array from a .npy file, which may come from anywhere."""

from __future__ import annotations

import math
from typing import IO

import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 20


def read_npy(stream: IO[bytes], size: int) -> NDArray[np.generic]:
    """The array in `size` bytes, as `numpy.save` wrote it.

    Raises ValueError for anything else, for an array of objects, and for one that does not fit the memory; and what
    the stream's `read` raises. (`numpy.load` allocates what the header claims before it looks whether that is there,
    and lets out the errors of the tokenizer that it reads the header with.)
    """
    magic = stream.read(np.lib.format.MAGIC_LEN)
    readers = {
        b"\x01\x00": np.lib.format.read_array_header_1_0,
        b"\x02\x00": np.lib.format.read_array_header_2_0,
    }
    if magic[:-2] != np.lib.format.MAGIC_PREFIX or magic[-2:] not in readers:
        raise ValueError(f"no array, it begins {magic!r}")
    try:
        shape, is_fortran, dtype = readers[magic[-2:]](stream)
    except Exception as error:  # what a damaged header raises has no common base
        raise ValueError(f"no header of an array: {' '.join(str(error).split())[:100]}") from error
    if dtype.hasobject:
        raise ValueError("Object arrays are refused: save numbers and text only")
    n_bytes = math.prod(shape) * dtype.itemsize
    # A header of 6 bytes or more lies before the values.
    if min(shape, default=0) < 0 or not (dtype.itemsize and n_bytes < size):
        raise ValueError(f"an array {str(shape)[:60]} of {dtype} does not take {size} bytes")
    try:
        values = np.empty(n_bytes, np.uint8)
    except MemoryError as error:
        raise ValueError(f"{n_bytes} bytes do not fit the memory") from error
    for at in range(0, n_bytes, _PIECE):
        piece = stream.read(min(_PIECE, n_bytes - at))
        if len(piece) != min(_PIECE, n_bytes - at):
            raise ValueError(f"{n_bytes - at - len(piece)} bytes of the values are missing")
        values[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
    if stream.read(1):
        raise ValueError("there is more than the header says")
    made = values.view(dtype)
    return made.reshape(shape[::-1]).transpose() if is_fortran else made.reshape(shape)
