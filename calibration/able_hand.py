"""The able hand of one recording: its poses, and its readings placed among the nerve's samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.alignment.review import Readings
from calibration.posing import Posing
from calibration.truth import TruthBlock, TruthInfo
from calibration.truth.hand_calibration import HandCalibration
from calibration.truth.hand_joints import Pose
from firmware_bridge.errors import NervehandError


class Able(Protocol):
    """What measures the able hand, read in its own time."""

    @property
    def info(self) -> TruthInfo: ...

    @property
    def problem(self) -> str: ...

    def take(self) -> TruthBlock | None: ...


class AbleHand:
    """Where its readings lie, what they say, and the poses that it is calibrated by.

    `calibration` is that of an earlier recording, None where the poses come first. Raises NervehandError where that is
    of another source.
    """

    def __init__(
        self, able: Able, rate_hz: float, first_sample: int, calibration: HandCalibration | None
    ) -> None:
        self._able, self._rate_hz = able, rate_hz
        if calibration is not None:
            calibration.require_source(able.info)
        self._calibration = calibration
        self._posing = Posing(able.info, rate_hz) if calibration is None else None
        self._waiting: list[TruthBlock] = []  # readings that arrived after the newest block
        self.readings: list[Readings] = []
        self.arrived = first_sample
        """The sample that was received as the newest reading arrived."""
        self.positions: NDArray[np.float32] | None = None
        """Six, mirrored, by the newest reading; None before the hand is calibrated."""

    @property
    def problem(self) -> str:
        """What is wrong with its sensors, "" where nothing is."""
        return self._able.problem

    @property
    def is_posing(self) -> bool:
        """Whether poses are held, or the hand comes back from the last."""
        return self._posing is not None

    @property
    def is_calibrated(self) -> bool:
        """Whether a calibration counts, until poses that are held now make another."""
        return self._calibration is not None

    @property
    def is_measuring(self) -> bool:
        """Whether a pose is being held, or the hand comes back from the last."""
        return self._posing is not None and (self._posing.is_measuring or self._posing.asked is None)

    @property
    def asked(self) -> Pose | None:
        """The pose to hold now."""
        return None if self._posing is None else self._posing.asked

    @property
    def pose_problem(self) -> str:
        """Why the last pose did not do; "" where it did."""
        return "" if self._posing is None else self._posing.problem

    def left_s(self, sample_index: int) -> float | None:
        """How long the pose is still to be held; None while none is measured."""
        return None if self._posing is None else self._posing.left_s(sample_index)

    def pose_again(self) -> None:
        """Its sensors lie otherwise than before: all poses are held again, and what follows is measured by them."""
        self._posing = Posing(self._able.info, self._rate_hz)

    def leave_poses(self) -> None:
        """What was calibrated before counts on. NervehandError where nothing was."""
        if not self.is_calibrated:
            raise NervehandError("first the poses: the able hand's sensors are not calibrated yet")
        self._posing = None

    def take_pose(self, sample_index: int) -> Pose:
        """The pose asked for is about to be held: which one it is. NervehandError where none is waited for."""
        if self._posing is None:
            raise NervehandError("no pose is waited for: the hand is calibrated")
        pose = self._posing.asked
        self._posing.take(sample_index)
        assert pose is not None  # `take` has refused otherwise
        return pose

    def advance(self, sample_index: int) -> tuple[bool, HandCalibration | None]:
        """Whether a pose was completed by now, and what all of them made, once."""
        if self._posing is None:
            return False, None
        is_completed, made = self._posing.advance(sample_index), None
        if is_completed and self._posing.calibration is not None:
            made = self._calibration = self._posing.calibration
        if self._posing.is_over(sample_index):
            self._posing = None
        return is_completed, made

    def take(self, sample_index: int, arrival_ns: int) -> Iterator[tuple[TruthBlock, NDArray[np.int64]]]:
        """The readings that arrived by then, the time at which the newest block did (0 where nobody knows it), and the
        sample at which each did; `sample_index` is one past the newest sample."""
        taken = self._able.take()
        waiting, self._waiting = [*self._waiting, *([] if taken is None else [taken])], []
        for block in waiting:
            n = len(block) if not arrival_ns else int(np.searchsorted(block.arrival_ns, arrival_ns, "right"))
            if n < len(block):
                self._waiting.append(_rows(block, slice(n, None)))
            if n:
                block = _rows(block, slice(0, n))
                yield block, self._took(block, sample_index, arrival_ns)

    def _took(self, block: TruthBlock, sample_index: int, arrival_ns: int) -> NDArray[np.int64]:
        at = np.full(len(block), sample_index - 1, np.int64)
        if arrival_ns:
            # Blocks may be long: a reading lies as much before the newest sample as it arrived earlier.
            at -= np.round((arrival_ns - block.arrival_ns) / 1e9 * self._rate_hz).astype(np.int64)
        at = np.maximum.accumulate(np.maximum(at, self.arrived))
        self.arrived = int(at[-1])
        if self._posing is not None:
            self._posing.readings(block, sample_index)
        if self._calibration is not None:
            positions = self._calibration.positions(block.values)
            self.positions = positions[-1]
            self.readings.append(Readings(block.device_s, at, positions, block.values))
        return at


def joined_readings(parts: tuple[Readings, ...]) -> Readings:
    """Readings of successive blocks as one."""
    if not parts:
        raise NervehandError("the able hand's sensors have said nothing so far: check them")
    return Readings(
        np.concatenate([part.device_s for part in parts]),
        np.concatenate([part.sample_index for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _rows(block: TruthBlock, rows: slice) -> TruthBlock:
    return TruthBlock(block.values[rows], block.device_s[rows], block.arrival_ns[rows])
