"""Pictures without a screen: the hand is on them, and closing it changes them; what is missing is named."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.physics import GraspObject, make

pytest.importorskip("mujoco", reason="needs the extra physics")
from firmware_bridge.physics import camera as camera_module
from firmware_bridge.physics.camera import Camera

CALM = replace(VIRTUAL_HAND, watchdog_s=None)


def test_the_hand_and_its_object_are_seen_and_seen_to_move() -> None:
    hand = make(CALM, 0, "right", GraspObject())
    try:
        camera = Camera(hand.scene, 120, 90)
    except NervehandError as error:
        pytest.skip(str(error))
    with camera:
        still = camera.picture().astype(int)
        assert still.shape == (90, 120, 3)
        orange = (still[..., 0] > still[..., 2] + 80).mean()
        assert 0.03 < orange < 0.4
        np.testing.assert_array_equal(camera.picture(), still)
        hand.command(np.array([1, 1, 1, 1, 1, 0], np.float32), 0)
        hand.advance(1_000_000_000)
        assert (np.abs(camera.picture().astype(int) - still).max(2) > 40).mean() > 0.02


def test_where_opengl_is_missing_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setitem(sys.modules, "mujoco.egl", None)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    with pytest.raises(NervehandError, match=r"through egl .* apt install libegl1 libgl1-mesa-dri"):
        Camera(make(CALM, 0).scene, 64, 48)


def test_a_picture_that_is_too_large_is_refused() -> None:
    with pytest.raises(NervehandError, match="give 16 x 16 to 1920 x 1080"):
        Camera(make(CALM, 0).scene, 4000, 3000)
