"""A file that was made ahead is the file that would have been made."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from decoder.recording.spare import Spare
from decoder.session.layout import HEADER_PATH, STATE_PATH, Header
from decoder.session.recorder import LANES
from decoder.session.skeleton import create
from tests.decoder.recording.rig import HEADER


def with_spare(folder: Path, header: Header, state: bytes) -> Spare:
    spare = Spare(folder, "nervehand")
    spare.make(folder / "first.nwb", header, LANES[1:], state=state)
    spare.look()
    end_s = time.monotonic() + 60.0
    while spare.is_awaited:
        assert time.monotonic() < end_s
        time.sleep(0.02)
        spare.look()
    return spare


def contents(path: Path) -> dict[str, object]:
    """All data and attributes, but for what is each file's own."""
    found: dict[str, object] = {}
    with h5py.File(path, "r") as file:

        def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
            found.update(
                {f"{name}@{key}": str(value) for key, value in item.attrs.items() if key != "object_id"}
            )
            if isinstance(item, h5py.Dataset) and not h5py.check_dtype(ref=item.dtype):
                found[name] = (
                    str(item.dtype),
                    item.shape,
                    item.chunks,
                    item[()].tolist() if item.shape else item[()],
                )

        file.visititems(look)
    return {name: value for name, value in found.items() if not name.startswith("file_create_date")}


def test_a_file_from_a_spare_is_as_one_that_is_made(tmp_path: Path) -> None:
    header = replace(HEADER, dtype="int16", scale_uv=0.195, first_sample=1000)
    other = replace(
        header, first_sample=91_000, bundle="c" * 64, decision={"hysteresis": 0.5},
        meta=replace(header.meta, identifier="second", start_time="2026-11-23T18:00:00+00:00"),
    )  # fmt: skip
    spare = with_spare(tmp_path, header, b"abc")
    began_s = time.monotonic()
    spare.make(tmp_path / "second.nwb", other, LANES[1:], state=b"longer than before")
    assert time.monotonic() - began_s < 0.5  # and not the seconds that making one takes
    spare.close()
    create(tmp_path / "made.nwb", other, LANES[1:], state=b"longer than before")
    assert contents(tmp_path / "second.nwb") == contents(tmp_path / "made.nwb")
    assert (tmp_path / "second.nwb").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.nwb", "made.nwb", "second.nwb"]


@pytest.mark.parametrize("state", [b"", b"abc"])
def test_a_spare_of_another_form_is_not_used(tmp_path: Path, state: bytes) -> None:
    spare = with_spare(tmp_path, HEADER, state)
    other = replace(HEADER, output_names=("u", "v", "w")) if state else HEADER
    spare.make(tmp_path / "second.nwb", other, LANES[1:], state=b"abc")
    spare.close()
    with h5py.File(tmp_path / "second.nwb", "r") as file:
        assert Header.from_json(file[HEADER_PATH].asstr()[()]) == other
        assert file[STATE_PATH][:].tobytes() == b"abc"


def test_what_was_left_by_one_that_was_killed_goes(tmp_path: Path) -> None:
    for name in (".nervehand.17.spare", ".other.17.spare"):
        (tmp_path / name).touch()
    Spare(tmp_path, "nervehand")
    assert [path.name for path in tmp_path.iterdir()] == [".other.17.spare"]
