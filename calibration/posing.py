"""The able hand's sensors are calibrated: poses held one after the other, in sample time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.truth import TruthBlock, TruthInfo
from calibration.truth.hand_angles import Poses, poses_of
from calibration.truth.hand_calibration import HandCalibration
from calibration.truth.hand_joints import Pose
from firmware_bridge.errors import NervehandError

SETTLE_S, HOLD_S = 1.2, 1.5
"""A person takes about a second to get there; what is held after that is measured."""


@dataclass(slots=True)
class _Held:
    pose: Pose
    from_sample: int
    to_sample: int
    values: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


class Posing:
    """Asks for the poses of a source in turn; `take` begins to measure the one asked for.

    `calibration` is there once all of them were held, without sensors that said too little where their finger has
    others; where they make none, `problem` says why, and they begin anew.
    """

    def __init__(self, info: TruthInfo, rate_hz: float) -> None:
        self._info, self._rate_hz = info, rate_hz
        self._poses = Poses(info)
        self._waiting = list(poses_of(info))
        self._held: _Held | None = None
        self._settled = 0
        self.calibration: HandCalibration | None = None
        self.problem = ""

    def is_over(self, sample_index: int) -> bool:
        """Whether the hand is calibrated, and back at rest since."""
        return self.calibration is not None and sample_index >= self._settled

    @property
    def asked(self) -> Pose | None:
        """The pose to hold now; None once the hand is calibrated."""
        return self._waiting[0] if self._waiting else None

    @property
    def is_measuring(self) -> bool:
        """Whether it is being held."""
        return self._held is not None

    def left_s(self, sample_index: int) -> float | None:
        """How long to hold it still; None while it is not measured."""
        return None if self._held is None else max(0.0, (self._held.to_sample - sample_index) / self._rate_hz)

    def take(self, sample_index: int) -> None:
        """The person is about to hold the pose asked for."""
        if self.asked is None or self._held is not None:
            raise NervehandError("no pose is waited for: the hand is calibrated, or a pose is being measured")
        begin = sample_index + round(SETTLE_S * self._rate_hz)
        self._held = _Held(self.asked, begin, begin + round(HOLD_S * self._rate_hz), [])
        self.problem = ""

    def readings(self, block: TruthBlock, sample_index: int) -> None:
        """What the sensors said up to this sample."""
        held = self._held
        if held is not None and held.from_sample <= sample_index:
            held.values.append(block.values)

    def advance(self, sample_index: int) -> bool:
        """Whether a pose was completed by now."""
        held = self._held
        if held is None or sample_index < held.to_sample:
            return False
        self._held = None
        try:
            if not held.values:
                raise NervehandError(f"{self._info.name} said nothing while the pose was held: check it")
            self._poses.hold(held.pose, np.concatenate(held.values))
            self._waiting.pop(0)
            if not self._waiting:
                self.calibration = self._poses.calibration(is_tolerant=True)
                self._settled = sample_index + round(SETTLE_S * self._rate_hz)
        except NervehandError as error:
            self.problem = str(error)
            if not self._waiting:  # all were held, and do not go together
                self._waiting = list(poses_of(self._info))
        return True
