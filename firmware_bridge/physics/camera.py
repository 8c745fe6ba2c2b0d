"""Pictures of a `PhysicalHand`, drawn without a screen; imports mujoco, and opens OpenGL when a camera is made."""

from __future__ import annotations

import ctypes.util
import os
from types import TracebackType
from typing import Protocol, Self

import mujoco
import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import NervehandError
from firmware_bridge.physics.body import Scene

WIDEST, HIGHEST = 1920, 1080
_PACKAGES = (
    "on Debian and Ubuntu: apt install libegl1 libgl1-mesa-dri,"
    " or libosmesa6 with MUJOCO_GL=osmesa in the environment"
)


class _GLContext(Protocol):
    def make_current(self) -> None: ...

    def free(self) -> None: ...


class Camera:
    """Looks at the palm from obliquely above; follows nothing, so that what moves is seen to move."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        if not (16 <= width <= WIDEST and 16 <= height <= HIGHEST):
            raise NervehandError(
                f"a picture of {width} x {height} pixels: give 16 x 16 to {WIDEST} x {HIGHEST}"
            )
        self._scene = scene
        self._gl = _open(width, height)
        self._context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._drawn = mujoco.MjvScene(scene.model, maxgeom=500)
        self._view = mujoco.MjrRect(0, 0, width, height)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[3] = 0  # what is felt; group 2 is what is seen
        away = 1.0 if scene.side == "right" else -1.0
        self._eye = mujoco.MjvCamera()
        self._eye.lookat[:] = (0.065, 0.03 * away, 0.020)
        self._eye.distance, self._eye.elevation = 0.56, -17.0
        self._eye.azimuth = -106.0 * away

    def picture(self) -> NDArray[np.uint8]:
        """The scene as it is now, (height, width, 3)."""
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._scene.model, self._scene.data, self._options, None, self._eye,
            mujoco.mjtCatBit.mjCAT_ALL.value, self._drawn,
        )  # fmt: skip
        mujoco.mjr_render(self._view, self._drawn, self._context)
        pixels = np.empty((self._view.height, self._view.width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._view, self._context)
        return pixels[::-1]

    def close(self) -> None:
        """Free what OpenGL holds."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(width: int, height: int) -> _GLContext:
    """OpenGL into memory: MUJOCO_GL if it says egl or osmesa, else whichever library there is, EGL first."""
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked not in ("egl", "osmesa"):
        asked = (
            "osmesa" if not ctypes.util.find_library("EGL") and ctypes.util.find_library("OSMesa") else "egl"
        )
    try:
        if asked == "osmesa":
            from mujoco.osmesa import GLContext
        else:
            from mujoco.egl import GLContext
        context: _GLContext = GLContext(width, height)
        context.make_current()
    except Exception as error:  # what a missing driver raises differs by library and version
        raise NervehandError(
            f"OpenGL could not be opened through {asked} to draw without a screen ({error}): {_PACKAGES}"
        ) from error
    return context
