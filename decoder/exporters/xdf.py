"""Exporting to XDF, the format of Lab Streaming Layer's recorder.

XDF 1.0 (github.com/sccn/xdf/wiki/Specifications): "XDF:", then chunks: how many bytes the length has (1, 4 or 8), the
length of what follows, a tag, the content; little-endian. A sample is the number of bytes of its time stamp (8, or 0:
one sampling interval after the one before), the time stamp, and its values; a string has its length in front, as a
chunk has.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from decoder.exporters.cut import Cut, Exported
from decoder.exporters.xdf_streams import Block, StreamHeader, marker_blocks, regular_streams, table_streams
from decoder.session.skeleton import create_private
from decoder.session.writer import whole_file

FILE_HEADER, STREAM_HEADER, SAMPLES, BOUNDARY, STREAM_FOOTER = 1, 2, 3, 5, 6
BOUNDARY_MARK = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
FORMATS = {"float32": "<f4", "double64": "<f8", "int8": "<i1", "int64": "<i8"}

_BOUNDARY_S = 10.0
"""Where reading can be resumed behind damage, as often as LabRecorder writes them."""

_CHUNK_S = 1.0


def export(cut: Cut, out: Path) -> Exported:
    """Write a cut to an XDF file. Errors: NervehandError where it cannot be written."""
    width = cut.info.n_channels + len(cut.header.truth_names)
    with whole_file(out, cut.n_samples * (4 * width + 2)) as part:
        create_private(part)
        with part.open("r+b") as file:
            _write(cut, file)
    error = 0.0
    if cut.is_integer:
        error = float(np.spacing(np.float32(32768 * cut.header.scale_uv))) / 2
    note = "samples that were never received are NaN in it, between the markers begin and end BAD_gap"
    return Exported((out,), "XDF 1.0, 32-bit microvolts", error, (note,) if cut.gaps else ())


def _write(cut: Cut, file: BinaryIO) -> None:
    file.write(b"XDF:")
    head = {"version": "1.0"}
    if cut.header.meta.start_time:
        head["datetime"] = cut.header.meta.start_time
    file.write(chunk(FILE_HEADER, _xml("info", head)))
    regular = regular_streams(cut)
    lanes = [_Lane(header, blocks) for header, blocks in table_streams(cut)]
    lanes = [lane for lane in lanes if lane.block is not None]
    markers = _Lane(*marker_blocks(cut))
    lanes += [markers] if markers.block is not None else []
    writers = [_Written(file, i, header) for i, header in enumerate(regular, start=1)]
    others = [_Written(file, i, lane.header) for i, lane in enumerate(lanes, start=len(writers) + 1)]
    rate_hz = cut.info.rate_hz
    rows = max(1, min(round(_CHUNK_S * rate_hz), next(cut.slabs(cut.info.n_channels))[1]))
    last_boundary = 0
    for start in range(0, cut.n_samples, rows):
        stop = min(start + rows, cut.n_samples)
        for written in writers:
            values = (
                cut.microvolts(start, stop) if written.header.name == "signal" else cut.truth(start, stop)
            )
            written.regular((cut.first + start) / rate_hz, values, rate_hz)
        for lane, written in zip(lanes, others, strict=True):
            for block in lane.until(stop + (stop == cut.n_samples)):  # the last marker may be an end
                written.irregular((cut.first + block.rows) / rate_hz, block.values)
        if (stop - last_boundary) / rate_hz >= _BOUNDARY_S:
            file.write(chunk(BOUNDARY, BOUNDARY_MARK))
            last_boundary = stop
    for written in (*writers, *others):
        written.finish()


class _Lane:
    """The blocks of a stream, handed out as far as time has come."""

    def __init__(self, header: StreamHeader, blocks: Iterator[Block]) -> None:
        self.header, self._blocks = header, blocks
        self.block = next(blocks, None)

    def until(self, row: int) -> Iterator[Block]:
        while self.block is not None:
            n = int(np.searchsorted(self.block.rows, row, "left"))
            if n:
                yield Block(self.block.rows[:n], self.block.values[:n])
            if n < len(self.block.rows):
                self.block = Block(self.block.rows[n:], self.block.values[n:])
                return
            self.block = next(self._blocks, None)


class _Written:
    """A stream in the file; counts what its footer says."""

    def __init__(self, file: BinaryIO, number: int, header: StreamHeader) -> None:
        self.header, self._file, self._id = header, file, struct.pack("<I", number)
        self._n, self._first, self._last = 0, 0.0, 0.0
        file.write(chunk(STREAM_HEADER, self._id + header_xml(header)))

    def regular(self, start_s: float, values: NDArray[np.float32], rate_hz: float) -> None:
        """Samples one interval apart; only the first has a time stamp."""
        c = values.shape[1]
        rest = np.zeros(len(values) - 1, np.dtype([("size", "u1"), ("values", "<f4", (c,))]))
        rest["values"] = values[1:]
        first = b"\x08" + struct.pack("<d", start_s) + values[0].astype("<f4").tobytes()
        self._samples(len(values), first + rest.tobytes(), start_s, start_s + (len(values) - 1) / rate_hz)

    def irregular(self, at_s: NDArray[np.float64], values: NDArray[np.generic] | list[str]) -> None:
        """Samples with a time stamp each: values (k, c), or k strings."""
        if isinstance(values, list):
            data = b"".join(
                b"\x08" + struct.pack("<d", s) + counted(text.encode(errors="replace"))
                for s, text in zip(at_s.tolist(), values, strict=True)
            )
        else:
            kind = FORMATS[self.header.form]
            row = np.dtype([("size", "u1"), ("stamp", "<f8"), ("values", kind, values.shape[1:])])
            rows = np.zeros(len(at_s), row)
            rows["size"], rows["stamp"], rows["values"] = 8, at_s, values
            data = rows.tobytes()
        self._samples(len(at_s), data, float(at_s[0]), float(at_s[-1]))

    def _samples(self, n: int, data: bytes, first_s: float, last_s: float) -> None:
        self._file.write(chunk(SAMPLES, self._id + b"\x04" + struct.pack("<I", n) + data))
        self._first = first_s if self._n == 0 else self._first
        self._n, self._last = self._n + n, last_s

    def finish(self) -> None:
        said = {
            "first_timestamp": repr(self._first),
            "last_timestamp": repr(self._last),
            "sample_count": str(self._n),
        }
        self._file.write(chunk(STREAM_FOOTER, self._id + _xml("info", said)))


def chunk(tag: int, content: bytes) -> bytes:
    """One chunk; its length counts the tag."""
    return counted(struct.pack("<H", tag) + content)


def counted(content: bytes) -> bytes:
    """The content with its length in front, in 1, 4 or 8 bytes."""
    n = len(content)
    if n < 1 << 8:
        return struct.pack("<BB", 1, n) + content
    return (struct.pack("<BI", 4, n) if n < 1 << 32 else struct.pack("<BQ", 8, n)) + content


def header_xml(header: StreamHeader) -> bytes:
    """A stream's header, with names and units of its channels where Lab Streaming Layer's programs look for them."""
    root = _element("info", {})
    for name, text in (
        ("name", header.name),
        ("type", header.kind),
        ("channel_count", str(len(header.channels))),
        ("nominal_srate", repr(header.rate_hz)),
        ("channel_format", header.form),
        ("source_id", header.source),
    ):
        root.append(_element(name, text))
    desc = ElementTree.SubElement(root, "desc")
    channels = ElementTree.SubElement(desc, "channels")
    for label, unit in header.channels:
        channels.append(_element("channel", {"label": label, "unit": unit, "type": header.kind}))
    for name, text in header.more.items():
        desc.append(_element(name, text))
    return _encoded(root)


def _xml(name: str, fields: dict[str, str]) -> bytes:
    return _encoded(_element(name, fields))


def _encoded(root: ElementTree.Element) -> bytes:
    return ('<?xml version="1.0"?>' + ElementTree.tostring(root, encoding="unicode")).encode()


def _element(name: str, content: str | dict[str, str]) -> ElementTree.Element:
    element = ElementTree.Element(name)
    if isinstance(content, str):
        # XML 1.0 has no other control characters, and no halves of characters.
        text = content.encode(errors="replace").decode()
        element.text = "".join(c if c >= " " or c in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" for c in text)
    else:
        element.extend(_element(key, value) for key, value in content.items())
    return element
