"""`nervehand export` writes whole files, says what differs, and asks for what is missing in one line."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import edfio
import mne
import pytest
import pyxdf
import typer

from decoder.session import read_session, write_session
from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from nervehand.export_command import add_export_command

Export = Callable[..., str]


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str]) -> Export:
    """export(FILE, "--to", ...): what it prints."""
    app = typer.Typer(pretty_exceptions_enable=False)
    add_export_command(app)

    def call(*words: object) -> str:
        capsys.readouterr()
        app([str(word) for word in words], standalone_mode=False)
        return capsys.readouterr().out

    return call


@pytest.fixture
def path(small_session: Session, tmp_path: Path) -> Path:
    write_session(small_session, tmp_path / "s.nwb")
    return tmp_path / "s.nwb"


@pytest.mark.parametrize("to", ["nwb", "edf", "xdf", "mne"])
def test_each_format_is_written_and_described(
    export: Export, path: Path, small_session: Session, tmp_path: Path, to: str
) -> None:
    out = tmp_path / {"nwb": "o.nwb", "edf": "o.edf", "xdf": "o.xdf", "mne": "o_raw.fif"}[to]
    said = export(path, "--to", to, "-o", out, "--start", 1, "--seconds", 2)
    assert said.startswith(f"{out}: 2.0 s of {small_session.info.n_channels} channels at")
    n = round(2 * small_session.info.rate_hz)
    match to:
        case "nwb":
            assert read_session(out).n_samples == n
        case "edf":
            assert edfio.read_edf(out).duration == pytest.approx(2.0, rel=0.01)
        case "xdf":
            streams, _ = pyxdf.load_xdf(out, dejitter_timestamps=False)
            assert len(streams[0]["time_stamps"]) == n
        case _:
            assert mne.io.read_raw_fif(out, verbose="error").n_times == n


def test_a_program_is_told_the_same_in_one_object(export: Export, path: Path, tmp_path: Path) -> None:
    said = json.loads(export(path, "--to", "edf", "-o", tmp_path / "o.edf", "--json"))
    session = read_session(path)
    assert said["files"] == [str(tmp_path / "o.edf")]
    assert (said["samples"], said["first_sample"], said["lost_samples"]) == (session.n_samples, 0, 0)
    assert (said["channels"], said["rate_hz"]) == (session.info.n_channels, session.info.rate_hz)
    assert said["largest_error_uv"] < 0.1
    assert all(isinstance(note, str) for note in said["notes"])


def test_what_is_there_is_replaced_only_when_forced_and_the_session_itself_never(
    export: Export, path: Path, tmp_path: Path
) -> None:
    before = path.read_bytes()
    (tmp_path / "o.edf").write_text("mine")
    with pytest.raises(NervehandError, match="exists already"):
        export(path, "--to", "edf", "-o", tmp_path / "o.edf")
    assert (tmp_path / "o.edf").read_text() == "mine"
    export(path, "--to", "edf", "-o", tmp_path / "o.edf", "--force")
    assert edfio.read_edf(tmp_path / "o.edf").signals
    (tmp_path / "link.nwb").symlink_to(path)
    with pytest.raises(NervehandError, match="is the session itself"):
        export(tmp_path / "link.nwb", "--to", "nwb", "-o", path, "--force")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "o.edf"), "neither --to nor --target is given"),
        (("--to", "edf", "--target", "orin", "-o", "o.edf"), "both --to and --target are given"),
        (("--to", "edf"), "-o is not given"),
        (("--to", "matlab", "-o", "o.mat"), "use one of nwb, edf, xdf, mne"),
        (("--to", "edf", "-o", "o.txt"), "name it .edf"),
        (("--to", "edf", "-o", "none/o.edf"), "does not exist"),
        (("--to", "edf", "-o", "o.edf", "--start", "1e9"), "choose a time within it"),
        (("--to", "edf", "-o", "o.edf", "--seconds", "inf"), "give a finite number"),
        (("--target", "orin", "-o", "folder", "--seconds", "2"), "are for sessions"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(
    export: Export,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NervehandError) as error:
        export(path, *words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["s.nwb"]


def test_a_decoder_is_no_session(export: Export, tmp_path: Path) -> None:
    (tmp_path / "d.nhb").write_bytes(b"PK\x03\x04 not a session")
    with pytest.raises(NervehandError, match="is not an NWB file"):
        export(tmp_path / "d.nhb", "--to", "edf", "-o", tmp_path / "o.edf")


def test_a_target_is_asked_of_what_makes_it(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    target = types.ModuleType("nervehand.export_target")
    vars(target)["run_export_target"] = lambda *words, as_json: asked.append((*words, as_json))
    monkeypatch.setitem(sys.modules, "nervehand.export_target", target)
    export(tmp_path / "d.nhb", "--target", "orin", "-o", tmp_path / "folder", "--json")
    assert asked == [(tmp_path / "d.nhb", "orin", tmp_path / "folder", True)]
