"""What must hold before a calibration begins or goes on: the other hand, movements that are measured, one stream."""

from __future__ import annotations

from calibration.folder import CalibrationFolder, Plan
from calibration.paradigm import Paradigm
from calibration.truth import TruthInfo
from calibration.truth.hand_joints import BY_NAME
from decoder.session.reader import read_session
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES
from firmware_bridge.stream import StreamInfo


def require_other_side(info: TruthInfo, plan: Plan) -> None:
    """NervehandError where the phantom hand's side is measured."""
    if info.side == plan.side:
        raise NervehandError(
            f"{info.name} measures the {info.side} hand, which is the phantom one: give its address with "
            f"?side={'left' if plan.side == 'right' else 'right'}, or correct the phantom hand's side"
        )


def require_measured(info: TruthInfo, paradigm: Paradigm) -> None:
    """NervehandError where nothing is measured of a movement: it would teach nothing."""
    told = {BY_NAME[joint].dof for joint in info.joints if joint}
    unseen = [
        one.name
        for one in paradigm.movements
        if not any(position and dof in told for dof, position in zip(DOF_NAMES, one.posture, strict=True))
    ]
    if unseen:
        seen = [one.name for one in paradigm.movements if one.name not in unseen]
        raise NervehandError(
            f"{info.name} tells nothing of {', '.join(unseen)}: choose movements that it measures"
            + (f", --movements {','.join(seen)}" if seen else "")
        )


def require_same_stream(folder: CalibrationFolder, info: StreamInfo) -> None:
    """NervehandError where a recording of another stream is there: all of them become one session."""
    for part in folder.parts[:1]:
        before = read_session(part).info
        if before != info:
            raise NervehandError(
                f"{folder.path} was begun with {_described(before)}, and this is {_described(info)}: take it up again "
                "with the same stream, or begin another calibration"
            )


def _described(info: StreamInfo) -> str:
    return f"{info.n_channels} {info.kind} channels at {info.rate_hz:g} Hz"
