"""A simulated person who goes through a paradigm, as a session in memory whose truth is what the phantom really did."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from calibration.conductor import Conductor, PlannedTrial
from calibration.paradigm import Paradigm
from calibration.simulated_address import SIMULATED
from calibration.simulated_wearer import SimulatedWearer, Wearer
from calibration.view import Phase
from decoder.session.model import Session, SessionMeta
from firmware_bridge.hand import DOF_NAMES


def performance(wearer: Wearer, paradigm: Paradigm) -> Session:
    """Every round of the paradigm, from rest to rest: for scoring a decoder against what is known for certain.

    A movement's label holds while the phantom is out of rest.
    """
    person = SimulatedWearer(wearer, paradigm, is_paced=False)
    info = person.source.info
    conductor = Conductor(paradigm, info.rate_hz)
    trials: list[PlannedTrial] = []
    signal, scale_uv, at = [], 1.0, 0
    conductor.start()
    person.source.connect()
    for block in person.source.blocks():
        signal.append(np.asarray(block.samples))
        scale_uv, at = block.scale_uv, block.first_sample + block.n_samples
        for cue in conductor.advance(at):
            person.cue(cue)
            if cue.kind == "end" and cue.trial is not None:
                trials.append(cue.trial)
        if conductor.phase is Phase.ROUND_DONE:
            break
    person.source.close()
    n = trials[-1].stop_sample
    truth = person.positions(0, n)
    labels, trial, repetition = np.zeros(n, np.int16), np.zeros(n, np.int32), np.zeros(n, np.int16)
    for one in trials:
        rows = slice(one.first_sample, one.stop_sample)
        trial[rows], repetition[rows] = one.number, one.repetition
        labels[rows] = np.where(np.abs(truth[rows]).max(1) > 0, one.movement + 1, 0)
    # Between two rounds: rest that belongs to the trial before it.
    for before, after in pairwise(trials):
        rows = slice(before.stop_sample, after.first_sample)
        trial[rows], repetition[rows] = before.number, before.repetition
    return Session(
        info=info,
        meta=SessionMeta(
            identifier=f"performance-{wearer.preset}-{wearer.number}-day{wearer.day}-{paradigm.seed}",
            subject=f"{SIMULATED}-{wearer.preset}-{wearer.number}",
            side=wearer.side,
            description=f"Simulated subject {wearer.number} ({wearer.preset}) on day {wearer.day}",
            array=SIMULATED,
        ),
        signal=np.concatenate(signal)[:n],
        scale_uv=scale_uv,
        labels=labels,
        gesture_names=paradigm.gesture_names,
        trial=trial,
        repetition=repetition,
        truth=truth.astype(np.float32),
        truth_names=DOF_NAMES,
        truth_units=("position",) * len(DOF_NAMES),
        postures=paradigm.postures,
    )
