"""The status document: written whole or not at all, read back as it was, and judged by who really runs."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from nervehand.status import (
    MOST_BYTES,
    ProcessMark,
    SourceStatus,
    StatusFile,
    boot_id,
    find_statuses,
    judged,
    mark_of,
    path_of,
    read_status,
    write_status,
)
from nervehand.status_document import STALE_S
from tests.firmware_bridge.guarding import own_guards
from tests.nervehand.statuses import ended_status, full_status


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


def test_what_is_written_is_read_back_field_by_field() -> None:
    path = path_of("nervehand")
    status = full_status()
    assert write_status(path, status) == ""
    assert read_status(path) == status


def test_only_its_owner_may_read_it_whatever_lay_there_before() -> None:
    path = path_of("nervehand")
    unborn = path.with_name(f".{path.name}")
    unborn.write_text("left by a killed one")
    unborn.chmod(0o666)
    write_status(path, full_status())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_number_that_is_not_finite_was_not_measured_and_numpys_are_numbers() -> None:
    path = path_of("nervehand")
    status = full_status()
    assert status.source is not None
    odd = replace(status.source, rate_hz=math.nan, samples=np.int64(7), last_event_age_s=np.float32(0.5))  # type: ignore[arg-type]
    assert write_status(path, replace(status, source=odd)) == ""
    source = read_status(path).source
    assert source is not None
    assert (source.rate_hz, source.samples, source.last_event_age_s) == (None, 7, 0.5)


def test_a_full_disk_is_said_once_when_it_begins_and_once_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = StatusFile(path_of("nervehand"))
    assert file.write(full_status()) == ""
    before = file.path.read_bytes()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        for _ in range(3):
            assert "No space left on device" in file.write(full_status())
        assert len(caplog.records) == 1
    assert file.path.read_bytes() == before, "whoever reads has the last whole one"
    assert [one.name for one in file.path.parent.iterdir()] == [file.path.name]
    assert file.write(full_status()) == ""
    assert len(caplog.records) == 2
    assert "again" in caplog.records[-1].getMessage()


def test_a_folder_that_is_gone_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    assert "No such file" in write_status(tmp_path / "gone" / "daemon-x.json", full_status("x"))


def test_a_write_in_parts_is_still_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of("nervehand")
    really = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: really(descriptor, bytes(data[:100])))
    write_status(path, full_status())
    assert read_status(path).name == "nervehand"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "two\nlines"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(NervehandError, match="cannot be the name of a daemon"):
        path_of(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"[1, 2]", "not an object"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 100_000, "recursion"),
        (b'{"format": 1e999}', "format inf"),
        (b'{"format": NaN}', "NaN"),
        (b'{"format": 2, "version": "9.9"}', "format 2, of nervehand '9.9'"),
        (b'{"format": 1, "pid": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"format": 1, "started_unix_s": 1' + b"0" * 40 + b"}", "the number 1000"),
        (b'{"format": 1, "name": "\\ud800"}', "surrogates"),
        (b'{"format": 1}', "lacks name"),
        (b'{"format": 1, "other": 1}', "no other"),
        (b" " * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_document_is_one_clear_error(content: bytes, said: str) -> None:
    path = path_of("nervehand")
    path.write_bytes(content)
    with pytest.raises(NervehandError) as caught:
        read_status(path)
    text = str(caught.value)
    assert said in text
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 500
    found = judged(path)
    assert (found.status, found.alive, found.stale, found.problem) == (None, False, True, text)


def test_nobody_waits_for_a_pipe_and_no_link_is_followed() -> None:
    pipe, link = path_of("pipe"), path_of("link")
    os.mkfifo(pipe)
    write_status(path_of("real"), full_status("real"))
    link.symlink_to(path_of("real"))
    assert "not a file" in judged(pipe).problem
    assert "cannot be read" in judged(link).problem


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(0, 1, exclude_max=True), st.sampled_from(["cut", "left out", "zero", "nine", "null", "list"])
)
def test_a_document_cut_or_changed_anywhere_is_an_error_or_a_document(
    tmp_path: Path, where: float, how: str
) -> None:
    path = tmp_path / "daemon-nervehand.json"
    write_status(path, full_status())
    whole = path.read_bytes()
    at = int(where * len(whole))
    tails = {
        "cut": b"", "left out": whole[at + 1 :], "zero": b"\x00" + whole[at + 1 :], "nine": b"9" + whole[at:],
        "null": b"null" + whole[at:], "list": b"[]" + whole[at + 1 :],
    }  # fmt: skip
    path.write_bytes(whole[:at] + tails[how])
    found = judged(path)
    assert (found.status is None) == bool(found.problem)


def test_buckets_that_shrink_are_not_taken_for_counts() -> None:
    path = path_of("nervehand")
    write_status(path, full_status())
    plain = json.loads(path.read_text())
    plain["latency"]["engine"]["buckets"][3] = 10**9
    path.write_text(json.dumps(plain))
    assert "buckets of 'engine' do not add up" in judged(path).problem


def test_a_document_of_another_name_is_not_believed() -> None:
    write_status(path_of("mine"), full_status("yours"))
    assert "status of 'yours'" in judged(path_of("mine")).problem


def test_the_engine_that_wrote_it_is_alive_and_its_age_is_since_it_was_written() -> None:
    write_status(path_of("nervehand"), replace(full_status(), written_monotonic_s=time.monotonic() - 2.0))
    found = judged(path_of("nervehand"))
    assert found.alive
    assert found.supervised
    assert not found.stale
    assert found.age_s is not None
    assert 2.0 <= found.age_s < STALE_S


def test_a_document_of_more_than_three_seconds_is_stale() -> None:
    for age_s, stale in ((STALE_S - 0.5, False), (STALE_S + 0.01, True)):
        write_status(
            path_of("nervehand"), replace(full_status(), written_monotonic_s=time.monotonic() - age_s)
        )
        assert judged(path_of("nervehand")).stale == stale


def test_a_clock_that_was_set_an_hour_either_way_changes_no_age() -> None:
    for step_s in (-3600.0, 3600.0):
        status = replace(full_status(), written_unix_s=time.time() + step_s)
        write_status(path_of("nervehand"), status)
        found = judged(path_of("nervehand"))
        assert found.age_s is not None
        assert found.age_s < 1.0
        assert found.alive


def test_a_number_that_another_process_has_now_is_not_taken_for_ours() -> None:
    write_status(path_of("nervehand"), ended_status("nervehand"))
    assert not judged(path_of("nervehand")).alive


def test_a_process_that_has_ended_is_not_alive_not_even_before_it_is_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = mark_of(child.pid)
    assert mark is not None
    write_status(path_of("nervehand"), replace(full_status(), process=mark, supervisor=mark))
    assert judged(path_of("nervehand")).alive
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = judged(path_of("nervehand"))
    assert (found.alive, found.supervised) == (False, False)
    child.wait()
    assert mark_of(child.pid) is None


def test_what_an_earlier_boot_left_is_of_nobody_and_as_old_as_its_clock_says() -> None:
    status = replace(full_status(), boot_id="another", written_unix_s=time.time() - 500)
    write_status(path_of("nervehand"), status)
    found = judged(path_of("nervehand"))
    assert (found.alive, found.supervised, found.stale) == (False, False, True)
    assert found.age_s == pytest.approx(500, abs=5)


def test_a_program_whose_name_looks_like_the_fields_behind_it_is_read_right(tmp_path: Path) -> None:
    folder = tmp_path / "proc" / "42"
    folder.mkdir(parents=True)
    fields = " ".join(str(number) for number in range(4, 53))
    (folder / "stat").write_text(f"42 (evil) S 1 2 (x) R {fields}\n")
    assert mark_of(42, tmp_path / "proc") == ProcessMark(42, 22)
    (folder / "stat").write_text(f"42 (a) Z {fields}\n")
    assert mark_of(42, tmp_path / "proc") is None
    (folder / "stat").write_text("nonsense")
    assert mark_of(42, tmp_path / "proc") is None


def test_every_daemon_is_found_by_its_name_and_the_broken_one_is_told_of() -> None:
    for name in ("b", "a"):
        write_status(path_of(name), full_status(name))
    path_of("broken").write_text("{")
    assert [(one.name, one.alive) for one in find_statuses()] == [("a", True), ("b", True), ("broken", False)]


def test_of_two_of_one_name_the_one_that_runs_counts(tmp_path: Path) -> None:
    elsewhere = tmp_path / "temporary" / f"nervehand-{os.getuid()}"
    elsewhere.mkdir(mode=0o700)
    write_status(path_of("nervehand"), ended_status("nervehand"))
    write_status(elsewhere / "daemon-nervehand.json", full_status())
    (only,) = find_statuses()
    assert only.alive
    assert only.path.parent == elsewhere


def test_at_the_end_it_is_removed_and_nobody_minds_twice() -> None:
    file = StatusFile(path_of("nervehand"))
    file.write(full_status())
    file.remove()
    file.remove()
    assert find_statuses() == []


def test_this_machine_says_which_boot_it_is_and_a_machine_that_does_not_is_none(tmp_path: Path) -> None:
    assert len(boot_id()) == 36
    assert boot_id(tmp_path) == ""


def test_a_source_state_that_nobody_knows_is_refused() -> None:
    path = path_of("nervehand")
    status = replace(full_status(), source=SourceStatus("x", "asleep"))  # type: ignore[arg-type]
    write_status(path, status)
    assert "status.source.state is 'asleep'" in judged(path).problem
