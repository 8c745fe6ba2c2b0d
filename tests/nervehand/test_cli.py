"""Commands do what they say; bad input is one line with file, value and remedy, status 2, and leaves nothing."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from decoder.session.intents import read_intents_file
from decoder.session.model import Session
from decoder.session.reader import read_session
from decoder.session.writer import write_session
from firmware_bridge.stream import StreamInfo
from nervehand import replaying
from tests.nervehand.conftest import Result, Run


def assert_refused(result: Result, *said: str) -> None:
    assert result.status == 2, result
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("nervehand: ")
    for words in said:
        assert words in lines[0]
    assert "Traceback" not in result.err


def save_arrays(path: Path, **changes: object) -> Path:
    rng = np.random.default_rng(0)
    n = 4000
    labels = np.repeat(np.arange(8) % 2, n // 8)
    arrays: dict[str, object] = {
        "signal": rng.standard_normal((n, 3)).astype(np.float32) * 50,
        "rate": 1000.0,
        "kind": "raw",
        "labels": labels,
        "names": np.array(["rest", "fist"]),
    } | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_replay_gives_the_same_bits_for_any_block_size_and_says_how_fast_it_was(
    run: Run, small_file: Path, small_decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    times_s = itertools.count(10.0, 0.25)
    monkeypatch.setattr(replaying, "time", SimpleNamespace(monotonic=lambda: next(times_s)))
    for words in ((), ("--block", 7), ("--block", 1000)):
        result = run("replay", small_file, "--bundle", small_decoder, "--seconds", 3, "--json", *words)
        assert result.status == 0, result.err
        said = json.loads(result.out)
        assert (
            said["hops"] == 3 * 50 - 5
        )  # four without a full window, and the last one still in the delay line
        assert (said["elapsed_s"], said["x_real_time"]) == (0.25, 12.0)
        assert said["conditioning"].startswith("5000 Hz, 50-")
        digests.add(said["intents_sha256"])
    assert len(digests) == 1


def test_replay_writes_intents_that_can_be_read_back(
    run: Run, small_file: Path, small_decoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "intents.nwb"
    result = run("replay", small_file, "--bundle", small_decoder, "--seconds", 3, "--out", out, "--json")
    assert result.status == 0, result.err
    found = read_intents_file(out)
    assert len(found.intents) == json.loads(result.out)["hops"]
    assert found.bundle == json.loads(result.out)["bundle_sha256"]
    assert_refused(run("replay", small_file, "--bundle", small_decoder, "--out", out), str(out), "--force")


def test_simulate_writes_a_session_that_is_the_same_for_a_seed(run: Run, tmp_path: Path) -> None:
    words = ("--subject", 5, "--repetitions", 1, "--channels", 2, "--rate", 2000)
    for name in ("a.nwb", "b.nwb"):
        assert run("simulate", tmp_path / name, *words).status == 0
    a, b = (read_session(tmp_path / name) for name in ("a.nwb", "b.nwb"))
    assert a.microvolts().tobytes() == b.microvolts().tobytes()
    assert a.truth_names == ("thumb", "index", "middle", "ring", "little", "wrist")


def test_a_simulated_stimulator_tells_its_pulses(run: Run, tmp_path: Path) -> None:
    words = ("--repetitions", 1, "--channels", 2, "--rate", 2000, "--stimulation", 10, "--seconds", 1)
    assert run("simulate", tmp_path / "s.nwb", *words).status == 0
    session = read_session(tmp_path / "s.nwb")
    assert session.info.stimulation_lines == (0,)
    assert session.digital is not None
    assert list(session.digital.sample_index[::2]) == list(range(0, 2000, 200))
    assert set(session.digital.lines) == {0, 1}


def test_import_arrays_says_what_came_in_and_what_is_odd(run: Run, tmp_path: Path) -> None:
    signal = np.ones((4000, 3), np.float32)
    signal[5, 1] = np.nan
    result = run("import", "arrays", save_arrays(tmp_path / "lab.npz", signal=signal), tmp_path / "lab.nwb")
    assert result.status == 0, result.err
    assert "4.0 s of 3 channels at 1000 Hz" in result.out
    assert "note:" in result.out
    assert read_session(tmp_path / "lab.nwb").info.kind == "emg"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rate": -5.0}, "-5"),
        ({"rate": None}, "rate"),
        ({"signal": None}, "signal"),
        ({"signal": np.zeros((0, 3), np.float32), "labels": None, "names": None}, "empty"),
        ({"labels": np.full(4000, 9)}, "9"),
        ({"kind": "eeg"}, "eeg"),
        ({"truth": np.full((4000, 1), np.nan), "truth_names": np.array(["x"])}, "nan"),
        ({"signal": np.array([[object()]])}, "objects"),
    ],
)
def test_bad_arrays_are_refused_and_leave_nothing(
    run: Run, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = save_arrays(tmp_path / "lab.npz", **changes)
    assert_refused(run("import", "arrays", path, tmp_path / "lab.nwb"), "lab.npz", said)
    assert [p.name for p in tmp_path.iterdir()] == ["lab.npz"]


def truncated(path: Path, session: Session) -> None:
    write_session(session, path)
    path.write_bytes(path.read_bytes()[:20_000])


def foreign(path: Path, session: Session) -> None:
    with h5py.File(path, "w") as file:
        file["something"] = np.arange(5)


def no_hdf5(path: Path, session: Session) -> None:
    path.write_text("hello")


@pytest.mark.parametrize("make", [truncated, foreign, no_hdf5])
@pytest.mark.parametrize("command", ["replay", "evaluate", "fit"])
def test_a_file_that_is_no_session_is_refused_by_every_command(
    run: Run,
    make: Callable[[Path, Session], None],
    command: str,
    small_session: Session,
    small_decoder: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch", reason="fit needs the extra `train`")
    path = tmp_path / "bad.nwb"
    make(path, small_session)
    words = {
        "replay": ("replay", path, "--bundle", small_decoder),
        "evaluate": ("evaluate", small_decoder, path),
        "fit": ("fit", path, "-o", tmp_path / "out.nhb"),
    }[command]
    assert_refused(run(*words), "bad.nwb")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.nwb"]


def test_a_bundle_with_a_byte_changed_is_refused(
    run: Run, small_file: Path, small_decoder: Path, tmp_path: Path
) -> None:
    data = bytearray(small_decoder.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "changed.nhb"
    path.write_bytes(data)
    assert_refused(run("replay", small_file, "--bundle", path), "changed.nhb", "changed after it was written")


def test_a_decoder_of_another_person_needs_the_named_override(
    run: Run, small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.nwb"
    write_session(replace(small_session, meta=replace(small_session.meta, subject="somebody else")), path)
    words = ("replay", path, "--bundle", small_decoder, "--seconds", 1)
    assert_refused(run(*words), "simulated-default-3", "somebody else", "other.nwb", "small.nhb")
    assert run(*words, "--any-wearer").status == 0


def test_another_stream_is_refused_whatever_is_overridden(
    run: Run, small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    fewer = replace(
        small_session,
        info=StreamInfo(5000.0, small_session.info.channel_names[:3], "nerve"),
        signal=np.asarray(small_session.signal[0:5000])[:, :3],
        labels=None, trial=None, repetition=None, truth=None, truth_names=(), truth_units=(), postures=None,
        gesture_names=("rest",),
    )  # fmt: skip
    path = tmp_path / "fewer.nwb"
    write_session(fewer, path)
    result = run("replay", path, "--bundle", small_decoder, "--any-wearer")
    assert_refused(result, "number of channels", "4", "3")


def labelled(session: Session, gesture: int) -> Session:
    return replace(session, labels=np.full(session.n_samples, gesture, np.int16), truth=None,
                   truth_names=(), truth_units=(), trial=None, repetition=None)  # fmt: skip


def flat(session: Session) -> Session:
    return replace(session, signal=np.full(session.signal.shape, 7, np.int16))


def too_short(session: Session) -> Session:
    return replace(
        session, signal=session.signal[0:10], labels=None, trial=None, repetition=None, truth=None,
        truth_names=(), truth_units=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words", "said"),
    [
        (lambda s: labelled(s, 2), (), "one class only"),
        (flat, (), "masked"),
        (too_short, (), "too short"),
        (lambda s: s, ("--repetitions", "7"), "7"),
        (lambda s: s, ("--network", "transformer"), "transformer"),
    ],
)
def test_a_session_that_teaches_nothing_is_refused_and_leaves_no_decoder(
    run: Run,
    make: Callable[[Session], Session],
    words: tuple[str, ...],
    said: str,
    small_session: Session,
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch", reason="fit needs the extra `train`")
    path = tmp_path / "poor.nwb"
    write_session(make(small_session), path)
    result = run("fit", path, "-o", tmp_path / "out.nhb", *words)
    assert_refused(replace(result, err=result.err.strip().splitlines()[-1]), "poor.nwb", said)
    assert [p.name for p in tmp_path.iterdir()] == ["poor.nwb"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--speed", "2"), "'2'"),
        (("--hand", "robot"), "'robot'"),
        (("--hand", "virtual"), "--speed 1"),
        (("--out", "/nowhere/at/all.nwb"), "/nowhere/at"),
    ],
)
def test_senseless_options_are_refused(
    run: Run, small_file: Path, small_decoder: Path, words: tuple[str, ...], said: str
) -> None:
    assert_refused(run("replay", small_file, "--bundle", small_decoder, *words), said)


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--seconds", "inf"),
        ("simulate", "out.nwb", "--seconds", "inf"),
        ("simulate", "out.nwb", "--rate", "nan"),
        ("bench", "--hop", "inf"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(run: Run, words: tuple[str, ...]) -> None:
    assert_refused(run(*words), words[-1])


def test_the_demo_refuses_a_file_that_it_could_not_write_before_it_runs(run: Run, tmp_path: Path) -> None:
    assert_refused(run("demo", "--picture", tmp_path / "no" / "such.svg"), "such.svg", "does not exist")
    assert_refused(run("demo", "--picture", tmp_path), "is a folder")
    (tmp_path / "mine.nwb").write_text("precious")
    result = run("demo", "--record", tmp_path / "mine.nwb")
    assert_refused(result, "mine.nwb", "choose another name")
    assert "--force" not in result.err


def test_fit_without_the_extra_says_what_to_install(small_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from nervehand.cli import main\n"
        f"sys.argv = ['nervehand', 'fit', {str(small_file)!r}, '-o', {str(tmp_path / 'out.nhb')!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "nervehand: fitting needs torch: install nervehand[train]\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("repetitions", ["a", "1,,2", "0", "-3"])
def test_repetitions_that_are_no_numbers_are_refused(
    run: Run, small_file: Path, small_decoder: Path, repetitions: str
) -> None:
    assert_refused(run("evaluate", small_decoder, small_file, f"--repetitions={repetitions}"), "repetition")


def test_an_existing_file_is_kept_unless_forced(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.nwb"
    path.write_text("precious")
    assert_refused(run("simulate", path), "mine.nwb", "--force")
    assert path.read_text() == "precious"


def test_the_version_is_printed(run: Run) -> None:
    from nervehand import __version__

    assert run("--version").out.strip() == f"nervehand {__version__}"
