"""Gestures, hop by hop and trial by trial.

Labels and gestures are (n,) integers: 0 rest, 1.. movements; a label below 0 is unknown and its hop is left
out; a gesture below 0 is a rejection and counts as rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.scores.errors import NotScoredError

REST = 0


def best_gesture(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """The most probable class (n,) of probabilities (n, g); the first of equals."""
    best: NDArray[np.int64] = np.argmax(probabilities, axis=1)
    return best


def best_movement(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """The most probable movement (n,), rest left out, of probabilities (n, g)."""
    if probabilities.shape[1] < 2:
        raise NotScoredError("the decoder knows no movement")
    best: NDArray[np.int64] = np.argmax(probabilities[:, 1:], axis=1) + 1
    return best


def movement_accuracy(label: NDArray[np.int64], movement: NDArray[np.int64]) -> float:
    """Share of the hops of movement at which `movement`, the decoder's best one, is the true one."""
    moving = label > REST
    if not moving.any():
        raise NotScoredError("no hop of movement")
    return float(np.mean(movement[moving] == label[moving]))


def gesture_accuracy(label: NDArray[np.int64], gesture: NDArray[np.int64]) -> float:
    """Share of the labelled hops, rest included, whose gesture is the true one."""
    label, gesture = _known(label, gesture)
    return float(np.mean(gesture == label))


def recalls(label: NDArray[np.int64], gesture: NDArray[np.int64]) -> dict[int, float]:
    """For each class that occurs, the share of its hops that were recognised."""
    label, gesture = _known(label, gesture)
    return {int(c): float(np.mean(gesture[label == c] == c)) for c in np.unique(label)}


def balanced_accuracy(label: NDArray[np.int64], gesture: NDArray[np.int64]) -> float:
    """Mean recall of the classes that occur."""
    by_class = recalls(label, gesture)
    if len(by_class) < 2:
        raise NotScoredError("one class only")
    return float(np.mean(list(by_class.values())))


def macro_f1(label: NDArray[np.int64], gesture: NDArray[np.int64]) -> float:
    """Mean F1, 2 TP / (2 TP + FP + FN), of the classes that occur or are decoded."""
    label, gesture = _known(label, gesture)
    if len(np.unique(label)) < 2:
        raise NotScoredError("one class only")
    scores = [
        2.0 * np.sum((label == c) & (gesture == c)) / (np.sum(label == c) + np.sum(gesture == c))
        for c in np.union1d(label, gesture)
    ]
    return float(np.mean(scores))


def trial_vote_accuracy(
    label: NDArray[np.int64], movement: NDArray[np.int64], trial: NDArray[np.int64]
) -> float:
    """Share of the trials whose most frequent `movement` over their hops of movement is the true one.

    `trial` (n,) numbers the trials, one movement each. A tie is a miss.
    """
    moving = label > REST
    if not moving.any():
        raise NotScoredError("no hop of movement")
    hits = []
    for number in np.unique(trial[moving]):
        here = moving & (trial == number)
        votes = np.bincount(np.maximum(movement[here], REST), minlength=int(label[here].max()) + 1)
        true = int(np.bincount(label[here]).argmax())
        hits.append(votes[true] > np.delete(votes, true).max(initial=0))
    return float(np.mean(hits))


def _known(
    label: NDArray[np.int64], gesture: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    known = label >= REST
    if not known.any():
        raise NotScoredError("no labelled hop")
    return label[known], np.maximum(gesture[known], REST)
