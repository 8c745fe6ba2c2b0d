"""What the tests of every glove share: a worn hand that is told what to do, and readings with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.truth import TruthBlock, TruthSource
from calibration.truth.hand_angles import HandCalibration, Poses, poses_of
from tests.calibration.truth.held import POSTURES

PATIENCE_S = 30.0
"""For a machine that does something else for seconds."""


class Hand:
    """Makes the positions that it was told last: a `Posture` of the emulated gloves."""

    def __init__(self) -> None:
        self.positions: NDArray[np.float64] = np.zeros(6)

    def __call__(self, now_ns: int) -> NDArray[np.float64]:
        return self.positions


def taken(source: TruthSource, n: int, until: Callable[[TruthBlock], bool] = lambda _: True) -> TruthBlock:
    """The next n readings, counted from the first block for which `until` holds."""
    blocks: list[TruthBlock] = []
    end_s = time.monotonic() + PATIENCE_S
    for block in source.blocks():
        assert time.monotonic() < end_s
        if blocks or until(block):
            blocks.append(block)
        if sum(map(len, blocks)) >= n:
            break
    return TruthBlock(
        np.concatenate([block.values for block in blocks]),
        np.concatenate([block.device_s for block in blocks]),
        np.concatenate([block.arrival_ns for block in blocks]),
    )


def worn(source: TruthSource, hand: Hand, posture: Sequence[float]) -> None:
    """The hand makes this posture, and nothing is on its way any more of the one before, which read otherwise."""
    before = taken(source, 1).values[-1]
    is_other = not np.array_equal(hand.positions, posture)
    hand.positions = np.array(posture, np.float64)
    taken(
        source, 1, lambda block: not (is_other and np.array_equal(block.values[-1], before, equal_nan=True))
    )


def calibrated_by_wearing(source: TruthSource, hand: Hand) -> HandCalibration:
    """The source's poses, held by this hand; `source` is connected."""
    poses = Poses(source.info)
    for pose in poses_of(source.info):
        worn(source, hand, POSTURES[pose])
        poses.hold(pose, taken(source, 12).values)
    return poses.calibration()


def replayed(source: TruthSource, hand: Hand, postures: list[list[float]]) -> NDArray[np.float32]:
    """(k, 6): what calibrated readings say of each posture."""
    calibration = calibrated_by_wearing(source, hand)
    found = []
    for posture in postures:
        worn(source, hand, posture)
        found.append(np.median(calibration.positions(taken(source, 5).values), axis=0))
    return np.array(found, np.float32)


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)
