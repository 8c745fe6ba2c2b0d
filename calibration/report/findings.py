"""What a report holds: every number of the page, as plain data that goes to JSON and comes back."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.records import AlignmentRecord, FitRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Occasion:
    """Whose calibration, when, by whom and with what. `made_at` is ISO 8601, '' where unknown; `source` names the array
    and the nerve; `kind` is the stream's (nerve, emg, envelope); `minutes` of recording."""

    subject: str
    side: str
    session: str
    made_at: str
    made_by: str
    notes: str
    source: str
    kind: str
    rate_hz: float
    n_channels: int
    minutes: float
    network: str
    decoder_sha256: str


@dataclass(frozen=True, slots=True)
class MovementFinding:
    """One movement: trials `made` and `used`; of its time in held-out trials, the share that was `recognised`, and what
    it was most often taken for, with that share; None and '' where not scored."""

    name: str
    made: int
    used: int
    recognised: float | None = None
    taken_for: str = ""
    taken_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ChannelFinding:
    """One channel: r.m.s. `noise_uv` of settled rest in the decoder's band (None: never believed at rest), the share of
    the recording in which it was masked, and that share by cause, the causes in words."""

    name: str
    noise_uv: float | None
    masked_share: float
    causes: dict[str, float]

    @property
    def main_cause(self) -> str:
        """What masked it longest; '' where nothing did."""
        return max(self.causes, key=lambda cause: self.causes[cause]) if self.causes else ""


@dataclass(frozen=True, slots=True)
class TuningMap:
    """Which channel speaks for which part of the hand.

    `values[row][channel]` in -1..1: how well the channel's level alone tells the row's motion from rest and from the
    other movements (twice the area under the ROC curve, minus 1): 1 always louder in it, -1 always quieter, 0 the same;
    None where the channel was masked. `rows` are (degree of freedom, 1 flexion or -1 extension).
    """

    rows: tuple[str, ...]
    signs: tuple[int, ...]
    channels: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores on trials that the decoder had not seen, pooled over the parts of a cross-validation.

    `mean` and `chance` by METRICS' names (None: without meaning; `not_scored` says why); `spread` over the parts, over
    orders where there is one. `per_dof` is the decided steady accuracy by degree of freedom. Of events, counts and
    hours of all parts are added.
    """

    mean: dict[str, float | None]
    spread: dict[str, float | None]
    chance: dict[str, float | None]
    not_scored: dict[str, str]
    per_dof: dict[str, float | None]
    n_trials: int
    n_parts: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Hops of steady postures by what was true (rows) and what the decoder decided (columns); `names[0]` is rest."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Traces:
    """Six positions over held-out trials, one after another: `true` and `decoded` (6 lists of points), `step_s` apart;
    `movements` and where each begins, in seconds. `true` None where it is not known."""

    step_s: float
    true: tuple[tuple[float, ...], ...] | None
    decoded: tuple[tuple[float, ...], ...]
    movements: tuple[str, ...]
    begins_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StageLatency:
    """How long a stage of the program takes per answer, in ms."""

    stage: str
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it; None where something is not known or not measured."""

    occasion: Occasion
    movements: tuple[MovementFinding, ...]
    rest_recognised: float | None
    trials: tuple[TrialRecord, ...]
    alignment: AlignmentRecord | None
    fits: tuple[FitRecord, ...]
    channels: tuple[ChannelFinding, ...]
    tuning: TuningMap | None
    scores: Scores | None
    confusion: Confusion | None
    traces: Traces | None
    algorithmic_latency_ms: float | None
    latency: tuple[StageLatency, ...] = ()

    def score(self, name: str) -> float | None:
        """A score by its name; None where there is none."""
        return None if self.scores is None else self.scores.mean.get(name)

    def headline(self, name: str) -> float | None:
        """What the hand is told, in steady postures; at all moments where nobody said what is steady."""
        steady = self.score(f"decided_steady_{name}")
        return self.score(f"decided_{name}") if steady is None else steady

    def chance(self, name: str) -> float | None:
        """What the best answer that is always the same scores, at all moments."""
        return None if self.scores is None else self.scores.chance.get(name)
