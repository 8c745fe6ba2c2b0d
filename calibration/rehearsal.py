"""A whole calibration of a simulated person, as fast as it can be computed, with nobody to answer."""

from __future__ import annotations

from collections.abc import Mapping

from calibration.folder import CalibrationFolder
from calibration.runner import Runner
from calibration.simulated_wearer import Mishap, SimulatedWearer, Wearer
from calibration.view import Phase
from firmware_bridge.errors import NervehandError

BY = "nobody"


def rehearse(folder: CalibrationFolder, wearer: Wearer, mishaps: Mapping[int, Mishap] | None = None) -> None:
    """Record every trial of the folder's paradigm, bad ones made again; what follows is `finishing.finish`."""
    paradigm = folder.plan.paradigm
    person = SimulatedWearer(wearer, paradigm, is_paced=False, mishaps=mishaps)
    person.source.connect()
    blocks = person.source.blocks()
    first = next(blocks)
    able = person if folder.plan.truth else None
    with Runner(folder, person.source.info, first, able, person=person, is_live=False) as runner:
        runner.block(first)
        for block in blocks:
            answer(runner)
            if runner.is_over:
                break
            runner.block(block)
    person.source.close()


def answer(runner: Runner) -> None:
    """Whatever waits for a word gets it: poses are held, trials begun, and all of it finished after the last round.

    Raises NervehandError where the poses do not calibrate the hand: nobody would hold them another way.
    """
    match runner.phase:
        case Phase.POSES if not runner.is_measuring:
            if runner.pose_problem:
                raise NervehandError(runner.pose_problem)
            runner.ask("pose", {}, BY)
        case Phase.READY:
            runner.ask("start", {}, BY)
        case Phase.ROUND_DONE:
            runner.ask("finish", {}, BY)
