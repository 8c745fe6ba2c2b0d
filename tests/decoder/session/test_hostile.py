"""Bytes that pass their checksums and are still not what they should be; found by fuzzing."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from decoder.session import SessionMeta, recover
from decoder.session.journal import read_journal
from decoder.session.layout import Header
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo
from tests.fuzz.targets._rooms import unclosed

HEADER = Header(StreamInfo(1000.0, ("a",), "nerve"), SessionMeta("x"))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b"{}", b'{"sample_index": null, "text": ""}', b'{"sample_index": 1e999, "text": 1}'],
)
def test_a_journal_line_that_is_no_note_is_a_damaged_one(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    path.write_bytes(b"%08x %b\n" % (zlib.crc32(body), body))
    assert read_journal(path) == ((), 1)


@pytest.mark.parametrize("text", ["[]", "null", "[" * 100_000, '{"version": 1, "format": []}'])
def test_a_header_that_is_another_json_is_refused(text: str) -> None:
    with pytest.raises(NervehandError):
        Header.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [("scale_uv", float("nan")), ("scale_uv", float("inf")), ("postures", [[0.0], [0.0, 1.0]])],
)
def test_a_header_with_impossible_values_is_refused(field: str, value: object) -> None:
    fields = json.loads(HEADER.to_json()) | {field: value}
    with pytest.raises(NervehandError, match="damaged"):
        Header.from_json(json.dumps(fields)).postures_array()


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(NervehandError, match="not a finite number"):
        Header.from_json(HEADER.to_json().replace("1000.0", "1e999"))


@pytest.mark.parametrize("knows_places", [False, True])
def test_a_recording_with_damage_where_no_checksum_of_rows_reaches_is_said(
    tmp_path: Path, *, knows_places: bool
) -> None:
    """Zeros over any eighth of the file: either it is recovered, or one error says why not. With a journal that says
    where the rows are, no damage elsewhere matters."""
    file, tail, journal = unclosed()
    if not knows_places:  # as journals once were
        journal = b"".join(line for line in journal.splitlines(keepends=True) if b'"sample_index"' in line)
    refusals: list[str] = []
    for eighth in range(8):
        path = tmp_path / f"{eighth}.nwb"
        start, stop = len(file) * eighth // 8, len(file) * (eighth + 1) // 8
        path.write_bytes(file[:start] + bytes(stop - start) + file[stop:])
        path.with_name(f"{eighth}.nwb.tail").write_bytes(tail)
        path.with_name(f"{eighth}.nwb.journal").write_bytes(journal)
        try:
            recovery = recover(path)
        except NervehandError as error:
            refusals.append(str(error))
        else:
            assert 0 < recovery.verified <= recovery.received == 60
    assert bool(refusals) != knows_places
    assert all(refusal.startswith(str(tmp_path)) for refusal in refusals)
