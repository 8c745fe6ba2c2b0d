"""Room on a disk for a file that grows, taken before it is needed: what another program leaves free is gone at once.

Blocks behind a file's end belong to it and do not show in its size (fallocate(2), FALLOC_FL_KEEP_SIZE). Where a file
system cannot do that, or writes to other blocks than it had given (btrfs), only the reserve of free space is left.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache
from typing import cast

KEEP_SIZE = 1
_CANNOT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """Keeps up to `ahead_bytes` behind the end of the file open for writing at `fd`."""

    def __init__(self, fd: int, ahead_bytes: int) -> None:
        self._fd, self._ahead = fd, ahead_bytes
        self._end = 0  # up to here blocks are there

    def hold(self, need_bytes: int) -> bool:
        """Whether the file can grow by `need_bytes` whatever else fills the disk. OSError where the disk fails."""
        size = os.fstat(self._fd).st_size
        if self._end >= size + need_bytes + self._ahead // 2:
            return True
        for n_bytes in (need_bytes + self._ahead, need_bytes):
            error = 0 if self._end >= size + n_bytes else _allocate(self._fd, size, n_bytes)
            if error == 0:
                self._end = max(self._end, size + n_bytes)
                return True
            if error in _CANNOT:
                return True
            if error not in _FULL:
                raise OSError(error, os.strerror(error))
        return False

    def release(self) -> None:
        """Give back what was not needed."""
        os.ftruncate(self._fd, os.fstat(self._fd).st_size)
        self._end = 0


def _allocate(fd: int, offset: int, n_bytes: int) -> int:
    """The error number, 0 for none."""
    return ctypes.get_errno() if _fallocate()(fd, KEEP_SIZE, offset, n_bytes) else 0


@cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return cast("Callable[[int, int, int, int], int]", function)
