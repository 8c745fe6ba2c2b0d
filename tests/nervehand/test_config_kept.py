"""A file that is edited into something wrong does not end a daemon whose engine is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_bridge.errors import NervehandError
from nervehand.config_file import read_config
from nervehand.config_kept import VARIABLE, config_to_start, keep, kept_before
from tests.nervehand.supervision import supervised

RIGHT, WRONG = 'name = "worn"\n[recording]\nfolder = "rec"\n', "name = 5\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a configuration that is right; its last one is kept in the same folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    file = tmp_path / "f.toml"
    file.write_text(RIGHT)
    return file


def test_a_first_start_needs_a_file_that_is_right(path: Path) -> None:
    assert config_to_start(path) == read_config(path)
    path.write_text(WRONG)
    with pytest.raises(NervehandError, match=r"f\.toml, line 1: name is 5"):
        config_to_start(path)


def test_another_start_takes_the_kept_one_and_says_what_is_wrong(path: Path) -> None:
    right = read_config(path)
    keep(right)
    path.write_text(WRONG)
    file = config_to_start(path)
    assert (file.config, file.text, file.sha256, file.path) == (right.config, RIGHT, right.sha256, path)
    assert file.config.recording.folder == f"{path.parent}/rec"
    assert file.problem.startswith(f"{path}, line 1: name is 5: give a text in quotes (until then")
    path.unlink()
    assert "f.toml: cannot be read (No such file" in config_to_start(path).problem
    path.write_text('[decoder]\nbundle = "gone.nhb"\n')
    assert "gone.nhb" in config_to_start(path).problem


def test_a_file_that_is_right_is_taken_again_with_what_is_new_in_it(path: Path) -> None:
    keep(read_config(path))
    path.write_text('name = "other"\n')
    file = config_to_start(path)
    assert (file.config.name, file.problem) == ("other", "")


def test_what_is_kept_is_its_users_alone_and_byte_for_byte(path: Path) -> None:
    path.write_bytes(RIGHT.replace("\n", "\r\n").encode() + "# Ä".encode())
    keep(read_config(path))
    kept = path.parent / "kept"
    assert kept.read_bytes() == path.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert config_to_start(path) == read_config(path)


def test_what_is_found_wrong_later_gives_way_to_another_that_is_kept(path: Path) -> None:
    wrong = NervehandError("gone.nwb is not there")
    edited = 'name = "edited"\n'
    assert kept_before(path, wrong, edited) is None
    keep(read_config(path))
    assert kept_before(path, wrong, RIGHT) is None
    before = kept_before(path, wrong, edited)
    assert before is not None
    assert (before.config.name, before.text) == ("worn", RIGHT)
    assert before.problem.startswith("gone.nwb is not there")


def test_an_older_one_does_not_stand_for_one_that_could_not_be_kept(path: Path) -> None:
    keep(read_config(path))
    path.write_text('name = "newer"\n')
    (path.parent / "kept.part").mkdir()
    keep(read_config(path))
    path.write_text(WRONG)
    with pytest.raises(NervehandError, match="name is 5"):
        config_to_start(path)


def test_what_cannot_be_kept_ends_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, str(path.parent / "gone" / "kept"))
    keep(read_config(path))
    assert "is not kept for another start" in caplog.text
    assert config_to_start(path).problem == ""


def test_without_a_supervisor_nothing_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    keep(read_config(path))
    assert [one.name for one in path.parent.iterdir()] == ["f.toml"]


def test_a_supervisors_engine_that_dies_is_started_again_with_it(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(RIGHT)
    script = f"""
from pathlib import Path
from nervehand.config_kept import config_to_start, keep
path = Path({str(path)!r})
file = config_to_start(path)
say(f"life {{life}}: {{file.config.name}}, {{bool(file.problem)}}, kept at {{os.environ['{VARIABLE}']}} ")
if life == 0:
    keep(file)
    path.write_text("name = 5")
    os.kill(os.getpid(), signal.SIGSEGV)
signal.pause()
"""
    with supervised(tmp_path, script, first_wait_s=0.01) as heard:
        assert "life 0: worn, False" in heard.said("life 0")
        said = heard.said("life 1")
        assert "life 1: worn, True" in said
        kept = Path(said.partition("kept at ")[2].split()[0])
        assert kept.read_text() == RIGHT
        assert str(heard.process.pid) in kept.name
        assert heard.end() == 0
        assert not kept.exists()
