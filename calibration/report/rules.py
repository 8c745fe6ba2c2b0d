"""From numbers to advice: each rule is a function with its threshold beside it, and a sentence in texts.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from calibration.report.comparison import Comparison, Direction
from calibration.report.findings import ChannelFinding, Findings, MovementFinding
from calibration.report.learning import Judgement, LearningCurve
from calibration.report.texts import TEXTS, counted, duration, listed, percent
from calibration.report.tuning import best_channels

NEEDED: tuple[tuple[str, float], ...] = (
    ("exact_match", 0.70),
    ("per_dof_balanced_accuracy", 0.80),
    ("balanced_accuracy", 0.70),
)
"""Below one of these a decoder is not used: every third posture would be wrong."""
HALF_WAY = 0.5
"""From chance to perfect: below it a score is near chance."""
UNASKED_AT_LEAST, UNASKED_PER_HOUR = 2, 60.0
"""Times, and a rate: a hand that moves unasked once a minute is not left in peace."""
FEWEST_TRIALS = 2
WEAK = 0.75
"""Of a movement's time recognised; every fourth moment is wrong below."""
WORST_SHOWN = 3
BAD_CHANNEL, BAD_SHARE_OF_CHANNELS = 0.2, 0.25
MANY_LEFT_OUT = 0.2
UNSURE_LAG, UNSURE_SPREAD_S = 0.5, 0.06
"""Confidence, and spread over trials: a tenth of what people need to react to a cue, and three hops."""
SLOW_MS = 20.0
"""A hop: an answer that takes longer is not there when the next one is due."""
PERSON = "a person left them out"


class Readiness(Enum):
    """The headline."""

    READY = "ready"
    USABLE = "usable"
    NOT_READY = "not_ready"
    NOT_SCORED = "not_scored"


class Weight(Enum):
    """What a recommendation does to the verdict: forbid use, ask for more, or only be known."""

    FORBIDS = 0
    HELPS = 1
    NOTE = 2


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One thing to do or to know: which rule gave it, how much it weighs, and the sentence."""

    rule: str
    weight: Weight
    text: str


Rule = Callable[[Findings, Comparison | None], Iterator[Recommendation]]


def recommend(found: Findings, comparison: Comparison | None) -> tuple[Readiness, tuple[Recommendation, ...]]:
    """The verdict, and what to do about it, the weightiest first; what the rules give in their order else."""
    given = [one for rule in RULES for one in rule(found, comparison)]
    if any(one.rule == "not_scored" for one in given):
        verdict = Readiness.NOT_SCORED
    elif any(one.weight is Weight.FORBIDS for one in given):
        verdict = Readiness.NOT_READY
    elif any(one.weight is Weight.HELPS for one in given):
        verdict = Readiness.USABLE
    else:
        verdict = Readiness.READY
    given.sort(key=lambda one: one.weight.value)
    if verdict in (Readiness.READY, Readiness.USABLE):
        given.append(_say("check_before_use", Weight.NOTE))
    return verdict, tuple(given)


def not_scored(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """Nothing was held out, or no score has a meaning."""
    if all(found.headline(name) is None for name, _ in NEEDED):
        yield _say("not_scored", Weight.HELPS)


def low_scores(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """A score is below what is NEEDED; the first of them is named."""
    for name, least in NEEDED:
        score = found.headline(name)
        if score is not None and score < least:
            what = TEXTS[f"score.{name}"]
            words = {"what": what[0].upper() + what[1:], "score": percent(score), "least": percent(least)}
            yield _say("low_scores", Weight.FORBIDS, **words)
            return


def near_chance(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """The first score that is known is not half of the way from chance to perfect."""
    for name, _ in NEEDED:
        score, chance = found.headline(name), found.chance(name)
        if score is None or chance is None:
            continue
        if score < chance + HALF_WAY * (1.0 - chance):
            yield _say("near_chance", Weight.FORBIDS, score=percent(score), chance=percent(chance))
        return


def moves_unasked(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """The hand left rest more than once, and once a minute or more."""
    count, per_hour = found.score("unintended_activations"), found.score("unintended_activations_per_hour")
    hours = found.score("rest_hours")
    if count is None or per_hour is None or hours is None:
        return
    if count >= UNASKED_AT_LEAST and per_hour >= UNASKED_PER_HOUR:
        yield _say("moves_unasked", Weight.HELPS, count=counted(count, "time"), time=duration(3600.0 * hours))


def few_trials(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """A movement was made, and less than FEWEST_TRIALS of its trials are left, with more than one round made."""
    if not found.trials or max(trial.repetition for trial in found.trials) < FEWEST_TRIALS:
        return
    few = [movement.name for movement in found.movements if movement.made and movement.used < FEWEST_TRIALS]
    if few:
        yield _say("few_trials", Weight.HELPS, movements=listed(few, 4), least=str(FEWEST_TRIALS))


def weak_movements(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """Movements were recognised less than WEAK of their time; some of them by name, the worst first."""
    known = [(m.recognised, m) for m in found.movements if m.recognised is not None]
    weak = sorted((share, i) for i, (share, _) in enumerate(known) if share < WEAK)
    if len(weak) == 1:
        share, movement = weak[0][0], known[weak[0][1]][1]
        confused = ""
        if movement.taken_for:
            confused = TEXTS["rule.weak_movement.confused"].format(
                other=movement.taken_for, share=percent(movement.taken_share)
            )
        yield _say(
            "weak_movement", Weight.HELPS, movement=movement.name, share=percent(share), confused=confused
        )
    elif weak:
        each = [_weak(known[i][1], share) for share, i in weak]
        yield _say("weak_movements", Weight.HELPS, movements=listed(each, WORST_SHOWN))


def _weak(movement: MovementFinding, share: float) -> str:
    confused = ""
    if movement.taken_for:
        confused = TEXTS["rule.weak_movements.confused"].format(other=movement.taken_for)
    return TEXTS["rule.weak_movements.one"].format(
        movement=movement.name, share=percent(share), confused=confused
    )


def bad_channels(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """Channels masked for more than BAD_CHANNEL of the time: each by name, or together where a quarter is."""
    bad = sorted(
        (channel for channel in found.channels if channel.masked_share > BAD_CHANNEL),
        key=lambda channel: -channel.masked_share,
    )
    if len(bad) > max(2.0, BAD_SHARE_OF_CHANNELS * len(found.channels)):
        words = {
            "count": counted(len(bad), "channel"),
            "least": percent(BAD_CHANNEL),
            "channels": listed([channel.name for channel in bad], 6),
        }
        yield _say("more_bad_channels", Weight.HELPS, **words)
        return
    for channel in bad:
        yield _bad_channel(channel)


def _bad_channel(channel: ChannelFinding) -> Recommendation:
    return _say(
        "bad_channel",
        Weight.NOTE,
        channel=channel.name,
        share=percent(channel.masked_share),
        cause=channel.main_cause,
        remedy=TEXTS.get(f"remedy.{channel.main_cause}", TEXTS["remedy.other"]),
    )


def many_left_out(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """More than MANY_LEFT_OUT of the trials do not count: the most frequent reason, and what helps against it."""
    unused = [trial for trial in found.trials if not trial.is_used]
    if len(unused) <= MANY_LEFT_OUT * len(found.trials):
        return
    reasons = Counter(reason.value for trial in unused for reason in trial.reasons)
    reason = reasons.most_common(1)[0][0] if reasons else PERSON
    yield _say(
        "many_left_out",
        Weight.HELPS,
        left_out=str(len(unused)),
        made=counted(len(found.trials), "trial"),
        reason=reason,
        remedy=TEXTS[f"remedy.{reason}"],
    )


def another_round(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """The learning curve expects a point of a hundred or more; or it is flat below what is good enough."""
    curve = LearningCurve.of(found.fits)
    match curve.judgement:
        case Judgement.ANOTHER_ROUND:
            yield _say("another_round", Weight.HELPS, advice=curve.advice())
        case Judgement.STOP_LOW:
            yield _say("limited", Weight.NOTE, advice=curve.advice())
        case Judgement.STOP | Judgement.TOO_EARLY:
            return


def untuned(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """A part of the hand that moved has no channel that speaks for it clearly, in any direction."""
    if found.tuning is None:
        return
    clear: dict[str, bool] = {}
    for row, part in enumerate(found.tuning.rows):
        clear[part] = clear.get(part, False) or bool(best_channels(found.tuning, row))
    missing = [part for part, is_clear in clear.items() if not is_clear]
    if missing:
        yield _say("untuned", Weight.NOTE, parts=listed(missing))


def worse(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """A score fell by more than it varies; the first one is named."""
    for change in () if comparison is None else comparison.scores:
        if change.direction is Direction.WORSE and change.before is not None and change.now is not None:
            what = TEXTS[f"score.{change.score.removeprefix('decided_')}"]
            yield _say(
                "worse", Weight.NOTE, what=what, before=percent(change.before), now=percent(change.now)
            )
            return


def lost_channels(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """Channels that were fine last time and are masked now; implanted ones concern the surgical team."""
    if comparison is not None and comparison.lost:
        rule = "lost_channels" if found.occasion.kind == "nerve" else "lost_electrodes"
        yield _say(rule, Weight.NOTE, channels=listed(comparison.lost, 8))


def lag_unsure(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """The lag between the hands is found with little confidence, or differs much from trial to trial."""
    alignment = found.alignment
    if alignment is None:
        return
    if alignment.lag_confidence < UNSURE_LAG or alignment.lag_spread_s > UNSURE_SPREAD_S:
        yield _say("lag_unsure", Weight.NOTE, spread=f"{1000 * alignment.lag_spread_s:.0f}")


def slow(found: Findings, comparison: Comparison | None) -> Iterator[Recommendation]:
    """A stage takes longer than a hop in the slowest hundredth of the answers; the slowest one is named."""
    late = [stage for stage in found.latency if stage.p99_ms > SLOW_MS]
    if late:
        stage = max(late, key=lambda one: one.p99_ms)
        yield _say("slow", Weight.HELPS, stage=stage.stage, p99=f"{stage.p99_ms:.0f}", hop=f"{SLOW_MS:.0f}")


RULES: tuple[Rule, ...] = (
    not_scored,
    low_scores,
    near_chance,
    few_trials,
    weak_movements,
    moves_unasked,
    another_round,
    many_left_out,
    bad_channels,
    slow,
    lost_channels,
    worse,
    untuned,
    lag_unsure,
)


def _say(rule: str, weight: Weight, **words: str) -> Recommendation:
    return Recommendation(rule, weight, TEXTS[f"rule.{rule}"].format(**words).strip())
