"""What a person is asked to do, as data: movements, how often, how fast, and in which order."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from calibration.postures import Posture
from firmware_bridge.errors import NervehandError
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.nerve.motion import minimum_jerk
from firmware_bridge.plain import from_plain

Kind = Literal["mirrored", "mimic", "tracking"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_TRIALS = 2000
"""An hour and a half without a break: more is a slip of the pen."""
SINES_HZ = (0.11, 0.17, 0.29)
"""A target to follow moves this slowly, with a period that does not repeat within a trial: people follow up to about
0.5 Hz without thinking (Poulton, Tracking Skill and Manual Control, 1974)."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A posture with a name: six positions in -1..1 (DOF_NAMES), 0 relaxed, 1 full flexion, -1 full extension."""

    name: str
    posture: Posture

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name.strip().lower() == "rest":
            raise NervehandError(f"a movement is called {self.name!r}: give it a name that is not rest")
        if len(self.posture) != N_DOF or not all(-1 <= position <= 1 for position in self.posture):
            raise NervehandError(
                f"the movement {self.name} has the posture {self.posture}: give {N_DOF} positions in -1..1"
            )
        if not any(self.posture):
            raise NervehandError(f"the movement {self.name} moves nothing: give it a position that is not 0")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each part of a trial lasts, in seconds: half of the rest, the way there, the hold, the way back, half of
    the rest. `track_s` is how long a moving target is followed."""

    rest_s: float = 1.5
    move_s: float = 0.3
    hold_s: float = 1.2
    track_s: float = 12.0
    round_rest_s: float = 3.0
    """Between two rounds, beside the rest of their trials."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("rest_s", 0.6, 60.0),
            ("move_s", 0.1, 10.0),
            ("hold_s", 0.3, 60.0),
            ("track_s", 4.0, 120.0),
            ("round_rest_s", 0.0, 600.0),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise NervehandError(f"timing.{name} is {value} s: give {least:g} to {most:g}")


FIVE_FINGERS = tuple(
    Movement(name, tuple(float(k == i) for k in range(N_DOF)))  # type: ignore[arg-type]  # six of them
    for i, name in enumerate(DOF_NAMES[:5])
)
HAND_MOVEMENTS: tuple[Movement, ...] = (*FIVE_FINGERS, Movement("fist", (1, 1, 1, 1, 1, 0)))
"""For what measures no wrist: a camera, or a glove that ends before it."""
BASIC_MOVEMENTS: tuple[Movement, ...] = (
    *HAND_MOVEMENTS,
    Movement("wrist flexion", (0, 0, 0, 0, 0, 1)),
    Movement("wrist extension", (0, 0, 0, 0, 0, -1)),
)
"""Five fingers, one grasp, and the wrist both ways."""
COMBINED_MOVEMENTS: tuple[Movement, ...] = (
    *BASIC_MOVEMENTS,
    Movement("thumb and middle", (1, 0, 1, 0, 0, 0)),
    Movement("index and ring", (0, 1, 0, 1, 0, 0)),
    Movement("middle and little", (0, 0, 1, 0, 1, 0)),
    Movement("fist, wrist back", (1, 1, 1, 1, 1, -1)),
    Movement("point, wrist bent", (1, 0, 1, 1, 1, 1)),
)
"""And combinations of them: fingers that are no neighbours, and the wrist both ways with fingers. Training composes
others from the single movements as well (`calibration.composition`), so these are for who wants them measured."""


@dataclass(frozen=True, slots=True)
class Paradigm:
    """A calibration to be done.

    "mirrored": both hands make each movement, and the able hand is measured. "mimic": only the phantom hand does, what
    the cue shows; for people without an able hand. "tracking": both hands follow a target that moves along each
    movement's way. Each round holds every movement once; `seed` gives their orders. At the subject's own pace
    (`is_self_paced`) every trial waits for a word. A bad trial is asked for again at the end of its round, up to
    `most_redone` times in a round.
    """

    kind: Kind = "mirrored"
    repetitions: int = 10
    movements: tuple[Movement, ...] = BASIC_MOVEMENTS
    timing: Timing = field(default_factory=Timing)
    is_self_paced: bool = False
    most_redone: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise NervehandError(f"the paradigm is {self.kind!r}: use one of {', '.join(KINDS)}")
        names = [movement.name for movement in self.movements]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise NervehandError(f"the movement {repeated[0]} is there twice: name each one differently")
        if len(names) < 2:
            raise NervehandError(f"{len(names)} movements: give at least two, or nothing can be told apart")
        if self.repetitions < 1 or self.repetitions * len(names) > MOST_TRIALS:
            raise NervehandError(
                f"{self.repetitions} repetitions of {len(names)} movements: give at least one, and at most "
                f"{MOST_TRIALS} trials in all"
            )
        if not 0 <= self.most_redone <= 100:
            raise NervehandError(f"most_redone is {self.most_redone}: give 0 to 100")
        if self.seed < 0:
            raise NervehandError(f"the seed is {self.seed}: give 0 or more")

    @property
    def gesture_names(self) -> tuple[str, ...]:
        """Rest, then the movements: what the labels of a session index."""
        return ("rest", *(movement.name for movement in self.movements))

    @property
    def postures(self) -> NDArray[np.float32]:
        """(n_movements + 1, 6) in the order of `gesture_names`."""
        return np.array([[0.0] * N_DOF, *(movement.posture for movement in self.movements)], np.float32)

    @property
    def way_s(self) -> float:
        """From the cue to move to the cue to return."""
        t = self.timing
        return t.track_s if self.kind == "tracking" else t.move_s + t.hold_s

    @property
    def trial_s(self) -> float:
        """How long a trial lasts, with half of the rest on either side."""
        return self.timing.rest_s + self.way_s + self.timing.move_s

    @property
    def duration_s(self) -> float:
        """How long all of it takes where nothing is redone and nobody is waited for."""
        rounds = self.repetitions * (len(self.movements) * self.trial_s + self.timing.round_rest_s)
        return rounds - self.timing.round_rest_s

    def round_order(self, round_number: int) -> tuple[int, ...]:
        """Indices of the movements in the order of a round (from 1): each once, none twice in a row over its border."""
        n = len(self.movements)
        last = -1
        order: list[int] = []
        for number in range(1, round_number + 1):
            rng = np.random.default_rng([self.seed, number])
            order = rng.permutation(n).tolist()
            if order[0] == last:
                order[0], order[1] = order[1], order[0]
            last = order[-1]
        return tuple(order)

    def target(self, movement: int, since_cue_s: float) -> Posture:
        """Six positions of the hand to imitate, so long after the cue to move; before it, rest."""
        t, posture = self.timing, self.movements[movement].posture
        if since_cue_s <= 0:
            return _scaled(posture, 0.0)
        if self.kind == "tracking":
            return _scaled(posture, _followed(since_cue_s, t.track_s, movement, self.seed))
        there, back = minimum_jerk(np.array([since_cue_s, since_cue_s - self.way_s]) / t.move_s)
        return _scaled(posture, float(there - back))


def _scaled(posture: Posture, part: float) -> Posture:
    a, b, c, d, e, f = posture
    return (a * part, b * part, c * part, d * part, e * part, f * part)


def _followed(t_s: float, track_s: float, movement: int, seed: int) -> float:
    """A target's way, 0..1: a sum of slow sines that begins and ends at rest."""
    phases = np.random.default_rng([seed, movement]).uniform(0, 2 * math.pi, len(SINES_HZ))
    waves = sum(math.sin(2 * math.pi * hz * t_s + phase) for hz, phase in zip(SINES_HZ, phases, strict=True))
    fade = min(1.0, max(0.0, min(t_s, track_s - t_s)))  # a second to get under way, and to come back
    return fade * (0.5 + 0.5 * waves / len(SINES_HZ))


def paradigm_text(paradigm: Paradigm) -> str:
    """As the text of a TOML file that `read_paradigm` reads."""
    t = paradigm.timing
    lines = [
        f"kind = {json.dumps(paradigm.kind)}  # {', '.join(KINDS)}",
        f"repetitions = {paradigm.repetitions}",
        f"is_self_paced = {json.dumps(paradigm.is_self_paced)}  # every trial waits for the subject",
        f"most_redone = {paradigm.most_redone}  # bad trials asked for again in each round",
        f"seed = {paradigm.seed}  # of the orders",
        "",
        "[timing]  # seconds",
        *(f"{name} = {getattr(t, name):g}" for name in t.__dataclass_fields__),
    ]
    for movement in paradigm.movements:
        posture = ", ".join(f"{position:g}" for position in movement.posture)
        lines += ["", "[[movements]]", f"name = {json.dumps(movement.name, ensure_ascii=False)}"]
        lines += [f"posture = [{posture}]  # {', '.join(DOF_NAMES)}"]
    return "\n".join(lines) + "\n"


def read_paradigm(path: Path) -> Paradigm:
    """The paradigm in a TOML file. What is left out has its default; NervehandError names what does not fit."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NervehandError(f"{path}: cannot be read ({error.strerror}): check the name") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NervehandError(f"{path}: is no TOML file ({error}): correct it") from None
    try:
        return from_plain(Paradigm, given, "paradigm")
    except NervehandError as error:
        raise NervehandError(f"{path}: {error}") from None


def chosen_movements(names: Sequence[str], paradigm: Paradigm) -> Paradigm:
    """The paradigm with these of its movements only. Raises NervehandError for one that it does not have."""
    known = {movement.name: movement for movement in paradigm.movements}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NervehandError(f"there is no movement {unknown[0]!r}: use {', '.join(known)}")
    return replace(paradigm, movements=tuple(known[name] for name in names))
