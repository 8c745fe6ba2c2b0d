"""What a score is worth: the best constant answer, and a fit on permuted gestures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.scores import dof
from calibration.scores.run import Answers, Reference, ScoreTable, score_hops

NO_TRAINING = "no trial is left to learn the constant from"
MEANINGLESS = "a constant answer gives it no meaning"


def best_constant(training: Reference, test: Reference, n_gestures: int) -> ScoreTable:
    """For each score over hops, the constant answer that is best on `training`, scored on `test`.

    Gestures: the class that scores best, score by score. Outputs: the training mean. Positions: the most
    frequent state of each degree of freedom.
    """
    answers = [_gesture_answer(test, gesture) for gesture in range(n_gestures)]
    taught = [_table(training, _gesture_answer(training, gesture)) for gesture in range(n_gestures)]
    reached = [_table(test, answer) for answer in answers]
    result = _table(test, _level_answer(training, test))
    for name in list(reached[0].scores):
        values = [-np.inf if (value := table.scores[name]) is None else value for table in taught]
        chosen = reached[int(np.argmax(values))]
        if chosen.scores[name] is not None:
            result.scores[name] = chosen.scores[name]
            result.not_scored.pop(name, None)
    result.absent(MEANINGLESS, "joint_r")
    result.each.clear()
    return result


def _table(reference: Reference, answers: Answers) -> ScoreTable:
    table = ScoreTable()
    score_hops(table, "", reference, answers, reference.trusted)
    return table


def _gesture_answer(reference: Reference, gesture: int) -> Answers:
    constant = np.full(len(reference.label), gesture, np.int64)
    return Answers(gesture=constant, movement=constant)


def _level_answer(training: Reference, test: Reference) -> Answers:
    n = len(test.label)
    outputs = None
    if training.truth is not None and test.truth is not None:
        outputs = np.broadcast_to(training.truth[training.scored].mean(0), (n, training.truth.shape[1]))
    positions = None
    if training.positions is not None and test.positions is not None:
        known = training.scored & np.isfinite(training.positions).all(1)
        common = _most_common(dof.states(training.positions[known]))
        positions = np.broadcast_to(common, (n, len(common)))
    return Answers(outputs=outputs, positions=positions)


def _most_common(states: NDArray[np.int8]) -> NDArray[np.float64]:
    counts = np.stack([(states == state).sum(0) for state in (-1, 0, 1)])
    common: NDArray[np.int64] = np.argmax(counts, axis=0) - 1
    return common.astype(np.float64)
