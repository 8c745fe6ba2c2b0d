"""Every way to measure a hand is found by its file's name and offers the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from calibration.truth import load, names
from calibration.truth.hand_angles import JOINT_NAMES
from firmware_bridge.errors import NervehandError


def test_the_ways_to_measure_a_hand_are_those() -> None:
    assert names() == ("camera", "cyberglove", "forte", "lsl", "rokoko", "simulated")
    with pytest.raises(NervehandError, match="'mirror' is not known: use one of camera, cyberglove"):
        load("mirror")


@pytest.mark.parametrize("name", names())
def test_each_has_an_address_that_begins_with_its_name(name: str) -> None:
    module = load(name)
    assert module.ADDRESS.startswith(name)
    assert callable(module.find)
    assert callable(module.open_truth)


def test_every_joint_that_a_source_tells_is_a_joint_of_the_hand() -> None:
    from calibration.truth import cyberglove, forte, rokoko
    from calibration.truth._hand_points import JOINTS

    told = [joint for _, joint in (*cyberglove.SENSORS_22, *forte.SENSORS) if joint]
    assert set(told) | set(JOINTS) | set(rokoko.WRIST_JOINTS) <= set(JOINT_NAMES)


def test_looking_at_the_sources_loads_none_of_their_libraries() -> None:
    code = (
        "import sys; from calibration.truth import load, names; [load(name) for name in names()]; "
        "print(' '.join(sys.modules))"
    )
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert loaded & {"mne_lsl", "cv2", "mediapipe", "torch", "numba", "scipy", "mujoco", "PIL"} == set()
