"""MediaPipe's own model on hands drawn by us, in its own environment behind a real process; and what is said without.

The environment is the one that NERVEHAND_CAMERA_PYTHON names; without it the tests that need the model are skipped.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.truth import TruthBlock, camera
from calibration.truth.camera import PYTHON_VARIABLE, CameraSource, described, open_truth
from calibration.truth.hand_angles import HandCalibration, Pose, Poses
from calibration.truth.reader import TruthReader
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.physics.anatomy import Side
from tests.calibration.truth.glove_rig import PATIENCE_S, wait_for

CAMERA_PYTHON = os.environ.get(PYTHON_VARIABLE, "")
needs_model = pytest.mark.skipif(
    not CAMERA_PYTHON or not Path(CAMERA_PYTHON).exists(),
    reason=f"{PYTHON_VARIABLE} names no interpreter of an environment with mediapipe==0.10.21 (docs/ground-truth.md)",
)
FINGERS = DOF_NAMES[:5]


@dataclass(frozen=True)
class Seen:
    """What a film of drawn hands gave: positions that were drawn, and what the source said of each picture."""

    drawn: NDArray[np.float64]
    values: NDArray[np.float32]
    calibration: HandCalibration
    first_sweep: int
    first_single: int

    @property
    def found(self) -> NDArray[np.float32]:
        return self.calibration.positions(self.values)


def film() -> tuple[NDArray[np.float64], int, int]:
    """Three poses of ten pictures each, a sweep from open to fist, and each finger bent by itself."""
    poses = [[0.0] * 5, [-1.0] * 5, [1.0] * 5]
    rows = [pose for pose in poses for _ in range(10)]
    first_sweep = len(rows)
    rows += [[p] * 5 for p in (*np.linspace(1, -1, 9), *np.linspace(-1, 1, 31))]
    first_single = len(rows)
    for finger in range(5):
        rows += [[p * (k == finger) for k in range(5)] for p in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.5)]
    return np.column_stack([np.array(rows), np.zeros(len(rows))]), first_sweep, first_single


def drawn(folder: Path, positions: NDArray[np.float64], side: Side) -> Path:
    from tests.calibration.truth.drawn_hand import draw

    sway = np.random.default_rng(0)
    folder.mkdir()
    for i, row in enumerate(positions):
        draw(row.tolist(), side, float(sway.normal(0, 1))).save(folder / f"{i:04d}.png")
    return folder


def looked_at(where: str) -> list[TruthBlock]:
    source = open_truth(where)
    source.connect()
    blocks = list(source.blocks())
    source.close()
    return blocks


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[Side, Path]:
    pytest.importorskip("PIL", reason="pillow is not installed (the extra physics)")
    positions, *_ = film()
    sides: tuple[Side, Side] = ("right", "left")
    return {side: drawn(tmp_path_factory.mktemp("film") / side, positions, side) for side in sides}


@pytest.fixture(scope="module", params=["right", "left"])
def seen(pictures: dict[Side, Path], request: pytest.FixtureRequest) -> Seen:
    side: Side = "right" if request.param == "right" else "left"
    positions, first_sweep, first_single = film()
    values = np.concatenate([block.values for block in looked_at(f"{pictures[side]}?side={side}")])
    poses = Poses(described(side))
    for pose, first in ((Pose.RELAXED, 0), (Pose.OPEN, 10), (Pose.FIST, 20)):
        poses.hold(pose, values[first : first + 10])
    poses_film = Seen(positions, values, poses.calibration(is_tolerant=True), first_sweep, first_single)
    sweep = slice(first_sweep, first_single)
    share = np.isfinite(values).all(axis=1).mean()
    correlations = ", ".join(
        f"{name} {correlation(poses_film.found[sweep, k], positions[sweep, k]):.3f}"
        for k, name in enumerate(FINGERS)
    )
    print(
        f"\nmediapipe, drawn {side} hand: seen in {share:.1%} of {len(values)} pictures; open to fist: {correlations}"
    )
    return poses_film


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    return float(np.corrcoef(one[both], other[both])[0, 1])


@needs_model
@pytest.mark.slow
def test_the_model_sees_a_drawn_hand_in_nearly_every_picture(seen: Seen) -> None:
    assert len(seen.values) == len(seen.drawn)
    assert np.isfinite(seen.values).all(axis=1).mean() >= 0.95


@needs_model
@pytest.mark.slow
@pytest.mark.parametrize("finger", FINGERS)
def test_from_open_to_fist_the_measured_flexion_goes_with_the_drawn_one(seen: Seen, finger: str) -> None:
    k, sweep = FINGERS.index(finger), slice(seen.first_sweep, seen.first_single)
    assert correlation(seen.found[sweep, k], seen.drawn[sweep, k]) >= 0.9


@needs_model
@pytest.mark.slow
@pytest.mark.parametrize("finger", FINGERS)
def test_the_finger_that_is_bent_by_itself_is_the_one_that_is_measured(seen: Seen, finger: str) -> None:
    k = FINGERS.index(finger)
    bent = seen.first_single + 7 * k + 4
    found = seen.found[bent : bent + 2, :5].mean(axis=0)
    assert np.argmax(found) == k, found
    assert found[k] - np.delete(found, k).max() > 0.15, found


@needs_model
@pytest.mark.slow
def test_the_wrist_is_not_measured_by_a_camera_that_sees_no_forearm(seen: Seen) -> None:
    assert seen.calibration.measured == (True,) * 5 + (False,)
    assert np.isnan(seen.found[:, 5]).all()


@needs_model
@pytest.mark.slow
def test_a_film_is_read_like_its_pictures_and_has_their_times(
    pictures: dict[Side, Path], tmp_path: Path
) -> None:
    from tests.calibration.truth.drawn_hand import empty

    folder = tmp_path / "few"
    folder.mkdir()
    for i in range(8):
        empty().save(folder / f"{i:04d}.png")
    for i in range(8, 24):
        (folder / f"{i:04d}.png").write_bytes((pictures["right"] / f"{i:04d}.png").read_bytes())
    make = (
        "import cv2, sys, glob; names = sorted(glob.glob(sys.argv[1] + '/*.png')); "
        "out = cv2.VideoWriter(sys.argv[2], cv2.VideoWriter_fourcc(*'MJPG'), 20.0, (480, 360)); "
        "[out.write(cv2.imread(name)) for name in names]; out.release()"
    )
    film = tmp_path / "film.avi"
    subprocess.run([CAMERA_PYTHON, "-I", "-c", make, str(folder), str(film)], check=True, capture_output=True)
    blocks = looked_at(str(film))
    assert [len(block) for block in blocks] == [1] * 24
    np.testing.assert_allclose([block.device_s[0] for block in blocks], np.arange(24) / 20.0, atol=1e-6)
    is_seen = np.array([np.isfinite(block.values).all() for block in blocks])
    assert not is_seen[:8].any(), "a picture without a hand has none"
    assert is_seen[10:].mean() > 0.8


@needs_model
@pytest.mark.slow
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_of_two_hands_in_view_the_one_that_was_asked_for_is_measured(
    is_mirrored: bool, tmp_path: Path
) -> None:
    """A right hand that closes beside a left one that opens, as the camera sees them and as a mirror does."""
    from PIL import Image, ImageOps

    from tests.calibration.truth.drawn_hand import HEIGHT, WIDTH, draw

    bends = np.linspace(0.0, 0.8, 10)
    for i, bend in enumerate(bends):
        both = Image.new("RGB", (2 * WIDTH, HEIGHT))
        both.paste(draw([bend] * 5 + [0], "right"), (0, 0))
        both.paste(draw([0.8 - bend] * 5 + [0], "left"), (WIDTH, 0))
        (ImageOps.mirror(both) if is_mirrored else both).save(tmp_path / f"{i:04d}.png")
    pip = described("right").sensors.index("middle pip")
    for side, sign in (("right", 1), ("left", -1)):
        where = f"{tmp_path}?side={side}&mirrored={'yes' if is_mirrored else 'no'}"
        values = np.concatenate([block.values for block in looked_at(where)])[:, pip]
        assert np.isfinite(values).sum() >= 8
        assert sign * correlation(values, bends) > 0.9
        assert np.nanmean(values) > 0.2, "it bends towards the palm"


@needs_model
def test_a_camera_or_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "no.avi").write_bytes(b"nothing")
    for where, words in (
        (str(tmp_path / "none.avi"), "there is no such film or folder of pictures"),
        (str(tmp_path / "folder"), "holds no pictures"),
        (str(tmp_path / "no.avi"), "it is no film"),
        ("/dev/video99", "there is no such camera: plug it in"),
    ):
        with pytest.raises(LinkError, match=f"camera {where}: .*{words}"):
            open_truth(where).connect()


@needs_model
def test_a_process_that_dies_is_a_lost_source_that_works_again(tmp_path: Path) -> None:
    from tests.calibration.truth.drawn_hand import empty

    for i in range(200):
        empty().save(tmp_path / f"{i:04d}.png")
    source = open_truth(str(tmp_path))
    source.connect()
    blocks = source.blocks()
    next(blocks)
    os.kill(child_of(source), signal.SIGKILL)
    with pytest.raises(SourceLostError, match="is lost: its process ended"):
        list(blocks)
    source.connect()
    assert len(next(source.blocks())) == 1
    source.close()


def child_of(source: CameraSource) -> int:
    assert source._process is not None
    return source._process._process.pid


# From here on no model is needed: another program stands where the camera's interpreter is expected.


def program(tmp_path: Path, lines: Sequence[str]) -> Path:
    """An interpreter that runs these lines of Python whatever it is asked to run."""
    script, path = tmp_path / "other.py", tmp_path / "python"
    script.write_text("import sys, time\n" + "\n".join(lines) + "\n")
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u "{script}"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def through(python: Path, stall_s: float = PATIENCE_S) -> CameraSource:
    return CameraSource(described("right"), "0", python, stall_s=stall_s)


def test_without_an_environment_the_two_commands_that_make_it_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    words = (
        r"make it by `python3.11 -m venv .*/nervehand/camera` and `.*/bin/pip install mediapipe==0\.10\.\d+`"
    )
    with pytest.raises(NervehandError, match=words):
        open_truth("")
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "no" / "python"))
    with pytest.raises(NervehandError, match=f"{PYTHON_VARIABLE} names .*, which is not there: {words}"):
        open_truth("0")
    assert all("mediapipe" in found.description for found in camera.find())


def test_an_environment_without_mediapipe_is_told_how_to_be_made() -> None:
    pytest.importorskip("numpy")
    if subprocess.run([sys.executable, "-I", "-c", "import cv2"], capture_output=True).returncode == 0:
        pytest.skip("this environment has OpenCV itself")
    with pytest.raises(LinkError, match="camera 0: its environment lacks cv2: make it by"):
        through(Path(sys.executable)).connect()


READY = 'print(\'{"ready": {"rate_hz": 30, "width": 1, "height": 1}}\')'
NOTHING = 'print(\'{"time_s": 0.0, "points": null, "score": 0}\')'


def test_a_program_that_is_not_the_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="says b'hello': is its environment the one of mediapipe"):
        through(program(tmp_path, ["print('hello')", "time.sleep(60)"])).connect()
    with pytest.raises(LinkError, match=r"its process ended \(ValueError: broken\)"):
        through(program(tmp_path, ["raise ValueError('broken')"])).connect()


def test_a_camera_that_falls_silent_is_lost(tmp_path: Path) -> None:
    source = through(program(tmp_path, [READY, NOTHING, "time.sleep(60)"]), stall_s=0.3)
    source.connect()
    blocks = source.blocks()
    assert np.isnan(next(blocks).values).all()
    with pytest.raises(SourceLostError, match=r"camera 0 is lost: silent for 0\.3 s"):
        next(blocks)


def test_much_said_on_its_standard_error_does_not_stop_the_process(tmp_path: Path) -> None:
    lines = [READY, "sys.stderr.write('warning ' * 100_000)", NOTHING, "print('{\"end\": true}')"]
    source = through(program(tmp_path, lines))
    source.connect()
    assert len(list(source.blocks())) == 1


def test_closing_ends_a_wait_from_another_thread_and_the_process_with_it(tmp_path: Path) -> None:
    source = through(program(tmp_path, [READY, "time.sleep(600)"]))
    source.connect()
    pid = child_of(source)
    threading.Timer(0.2, source.close).start()
    begun_s = time.monotonic()
    assert list(source.blocks()) == []
    assert time.monotonic() - begun_s < PATIENCE_S / 2
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


@needs_model
def test_the_process_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    """Its standard input closes then, whatever else happens to it."""
    from tests.calibration.truth.drawn_hand import empty

    for i in range(500):
        empty().save(tmp_path / f"{i:04d}.bmp")
    running = subprocess.Popen(
        [CAMERA_PYTHON, "-I", str(Path(camera.__file__).with_name("_camera_process.py")), str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert running.stdin is not None
    assert running.stdout is not None
    assert b"ready" in running.stdout.readline()
    running.stdin.close()
    said = running.stdout.read()
    assert running.wait(PATIENCE_S) == 0
    assert b"end" not in said
    running.stdout.close()


def test_a_reader_says_that_nobody_sees_the_hand(tmp_path: Path) -> None:
    lines = [READY, "while True:", f"    {NOTHING}", "    time.sleep(0.02)"]
    with TruthReader(through(program(tmp_path, lines))) as reader:
        wait_for(lambda: "does not see the hand" in reader.problem)
        assert "bring it into view" in reader.problem


def test_an_address_says_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    for wrong, words in (
        ("?confidence=2", "give 0 to 1"),
        ("?mirrored=1", "yes or no"),
        ("?zoom=2", "zoom=2"),
    ):
        with pytest.raises(NervehandError, match=words):
            open_truth(wrong)
    assert open_truth("2?side=left").info.side == "left"
