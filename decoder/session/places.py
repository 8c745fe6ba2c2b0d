"""Where in a recording's file the rows are, kept in its journal, so that they are found without HDF5's own index.

HDF5 writes its index (data set headers, extensible arrays) over in place, piece by piece. After a power cut a piece
may be half of one age and half of another, and then HDF5 reads none of the rows behind it, not even those that were on
the disk long before. The rows themselves never move: a chunk of an uncompressed data set keeps its address. So the
journal's first line says how the file is laid out, and each `sync` adds the addresses of the chunks that are new:

    {"layout": {"header": ..., "state": [address, bytes, CRC-32], "sets": {path: [dtype, [row...], rows in a chunk]}}}
    {"chunks": {path: [[chunk, address], ...]}}
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decoder.session.layout import SIGNAL_PATH, STATE_PATH, TRUTH_PATH, Header, streams
from firmware_bridge.errors import NervehandError

if TYPE_CHECKING:
    import h5py

MOST_CHUNKS = 1 << 32
"""Beyond any recording: a larger number is damage."""


class ChunkPlaces:
    """Follows the chunks of an open recording. `layout` and `added` are what goes into the journal."""

    def __init__(self, file: h5py.File, header: Header, lanes: Iterable[str]) -> None:
        self._header = header
        self._state: list[int] = []
        if STATE_PATH in file:
            data = file[STATE_PATH]
            at = data.id.get_offset()  # its bytes lie in one piece
            if at is not None:
                self._state = [int(at), int(data.nbytes), zlib.crc32(data[:].tobytes())]
        paths = [f"{SIGNAL_PATH}/data", *([f"{TRUTH_PATH}/data"] if header.truth_names else [])]
        for name in lanes:
            paths += [streams(header)[name].index_path(), *streams(header)[name].data_paths()]
        self._sets: dict[str, h5py.Dataset] = {path: file[path] for path in paths}
        self._known = dict.fromkeys(paths, 0)  # the first chunk of which nothing was said yet

    def layout(self) -> dict[str, object]:
        """What holds for as long as the recording goes on."""
        sets = {path: [d.dtype.str, list(d.shape[1:]), d.chunks[0]] for path, d in self._sets.items()}
        return {"layout": {"header": self._header.to_json(), "state": self._state, "sets": sets}}

    def added(self) -> dict[str, object]:
        """The chunks that came since the last call; all rows are flushed. Empty where there are none."""
        found: dict[str, list[tuple[int, int]]] = {}
        for path, data in self._sets.items():
            known = self._known[path]
            if data.shape[0] > known * data.chunks[0] and (new := _chunks_from(data, known)):
                found[path] = new
                self._known[path] = max(number for number, _ in new) + 1
        return {"chunks": found} if found else {}


def _chunks_from(data: h5py.Dataset, first: int) -> list[tuple[int, int]]:
    """Number and address of each chunk from that number on."""
    rows = data.chunks[0]
    found = []

    def look(chunk: h5py.h5d.StoreInfo) -> None:
        number = chunk.chunk_offset[0] // rows
        if number >= first:
            found.append((number, chunk.byte_offset))

    data.id.chunk_iter(look)
    return found


@dataclass(slots=True)
class Places:
    """What a journal says of where the rows are."""

    header: Header
    state: tuple[int, ...]
    sets: dict[str, tuple[np.dtype[np.generic], tuple[int, ...], int]]
    chunks: dict[str, dict[int, int]] = field(default_factory=dict)


def places_of(lines: Iterable[dict[str, object]]) -> Places | None:
    """The places in a journal's lines (journal.read_lines); None where it holds none, as before they were kept.

    Errors: NervehandError where they are not those of any recording.
    """
    places: Places | None = None
    try:
        for line in lines:
            if isinstance(layout := line.get("layout"), dict):
                sets = {
                    str(path): (np.dtype(str(kind)), tuple(int(n) for n in row), int(rows))
                    for path, (kind, row, rows) in layout["sets"].items()
                }
                if any(
                    kind.hasobject or rows < 1 or min(row, default=0) < 0 for kind, row, rows in sets.values()
                ):
                    raise ValueError("a data set that none is")
                state = tuple(int(n) for n in layout["state"])
                places = Places(Header.from_json(layout["header"]), state, sets)
            elif places is not None and isinstance(chunks := line.get("chunks"), dict):
                for path, new in chunks.items():
                    known = places.chunks.setdefault(path, {})
                    known.update(
                        (int(c), int(at)) for c, at in new if 0 <= int(c) < MOST_CHUNKS and int(at) > 0
                    )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise NervehandError(f"the journal's layout is damaged ({error}): restore it from a copy") from None
    return places


class PlacedFile:
    """A recording's rows by their places, and of chunks that no journal names by HDF5, where it still can.

    Stands for the h5py.File that it was, for what reads a recording. What cannot be read is zeros: who reads holds it
    against checksums.
    """

    def __init__(self, path: Path, places: Places, by_hdf5: h5py.File | None) -> None:
        self._places, self._by_hdf5 = places, by_hdf5
        self._fd = os.open(path, os.O_RDONLY)

    def __contains__(self, path: str) -> bool:
        if path == STATE_PATH:
            return bool(self._places.state)
        return any(one == path or one.startswith(f"{path}/") for one in self._places.sets)

    def __getitem__(self, path: str) -> PlacedRows | NDArray[np.uint8]:
        if path == STATE_PATH:
            return self._state()
        kind, row, rows = self._places.sets[path]
        return PlacedRows(self._fd, self._places.chunks.get(path, {}), kind, row, rows, self._dataset(path))

    def close(self) -> None:
        os.close(self._fd)

    def _state(self) -> NDArray[np.uint8]:
        at, n, crc = self._places.state
        found = os.pread(self._fd, n, at)
        if len(found) != n or zlib.crc32(found) != crc:
            raise NervehandError("what the decoder carried at its start fails its checksum")
        return np.frombuffer(found, np.uint8)

    def _dataset(self, path: str) -> h5py.Dataset | None:
        if self._by_hdf5 is None:
            return None
        try:
            return self._by_hdf5[path]
        except (KeyError, OSError, RuntimeError, ValueError):
            return None


class PlacedRows:
    """The rows of one data set."""

    def __init__(
        self,
        fd: int,
        chunks: dict[int, int],
        dtype: np.dtype[np.generic],
        row: tuple[int, ...],
        chunk_rows: int,
        by_hdf5: h5py.Dataset | None,
    ) -> None:
        self._fd, self._chunks, self._chunk_rows, self._by_hdf5 = fd, chunks, chunk_rows, by_hdf5
        self.dtype = dtype
        known = (max(chunks, default=-1) + 1) * chunk_rows
        self.shape = (max(known, 0 if by_hdf5 is None else int(by_hdf5.shape[0])), *row)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> NDArray[np.generic]:
        start, stop, step = key.indices(self.shape[0])
        rows = np.zeros((max(stop - start, 0), *self.shape[1:]), self.dtype)
        at = start
        while at < stop:
            chunk, within = divmod(at, self._chunk_rows)
            end = min((chunk + 1) * self._chunk_rows, stop)
            place = self._chunks.get(chunk)
            if place is not None:
                self._read(rows[at - start : end - start], place, within)
            elif self._by_hdf5 is not None:
                while end < stop and end // self._chunk_rows not in self._chunks:
                    end = min(end + self._chunk_rows, stop)
                self._ask(rows[at - start : end - start], at)
            at = end
        return rows[::step]

    def _read(self, into: NDArray[np.generic], place: int, within: int) -> None:
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        try:
            found = os.pread(self._fd, into.nbytes, place + within * row_bytes)
        except (OSError, OverflowError):
            return
        if row_bytes and len(found) >= row_bytes:
            n = len(found) // row_bytes
            into[:n] = np.frombuffer(found, self.dtype, n * (row_bytes // self.dtype.itemsize)).reshape(
                n, *self.shape[1:]
            )

    def _ask(self, into: NDArray[np.generic], at: int) -> None:
        assert self._by_hdf5 is not None
        try:
            found = self._by_hdf5[at : at + len(into)]
            into[: len(found)] = found
        except (OSError, RuntimeError, ValueError, TypeError):
            return
