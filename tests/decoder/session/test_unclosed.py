"""Superblocks of files whose writer never closed them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from decoder.session.unclosed import CHECKSUM_AT, UnclosedFile, lookup3
from firmware_bridge.errors import NervehandError


def test_the_checksum_is_the_one_that_hdf5_wrote(tmp_path: Path) -> None:
    for size in (1, 1000):
        with h5py.File(tmp_path / f"{size}.h5", "w", libver="latest") as file:
            file["x"] = np.zeros(size)
        start = (tmp_path / f"{size}.h5").read_bytes()[:48]
        assert lookup3(start[:CHECKSUM_AT]) == int.from_bytes(start[CHECKSUM_AT:], "little")


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],
)
def test_the_checksum_has_the_values_of_its_author(data: bytes, expected: int) -> None:
    """From the self-test in lookup3.c (burtleburtle.net/bob/c/lookup3.c, driver5)."""
    assert lookup3(data) == expected


def test_a_file_in_use_reads_as_if_closed_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    writer = h5py.File(path, "w", libver="latest")
    data = writer.create_dataset("x", shape=(0,), maxshape=(None,), chunks=(16,), dtype="i4")
    writer.swmr_mode = True
    data.resize(100, axis=0)
    data[:] = np.arange(100)
    writer.flush()
    before = path.read_bytes()
    with UnclosedFile(path) as raw, h5py.File(raw, "r") as file:
        assert np.array_equal(file["x"][:], np.arange(100))
    assert path.read_bytes() == before
    writer.close()


def test_what_is_no_such_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(NervehandError, match="no HDF5 superblock of version 3"):
        UnclosedFile(tmp_path / "x")
    with pytest.raises(NervehandError, match="No such file"):
        UnclosedFile(tmp_path / "y")
