"""Each rule of the recommendation: when it speaks, when it is silent, and what it does to the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calibration.records import AlignmentRecord, FitRecord, Reason
from calibration.report import rules
from calibration.report.comparison import Comparison, Direction, ScoreChange
from calibration.report.findings import ChannelFinding, Findings, StageLatency
from calibration.report.rules import Readiness, Weight, recommend
from tests.calibration.report.made import findings, scores, trial, unscored


def given(found: Findings, comparison: Comparison | None = None) -> dict[str, str]:
    return {one.rule: one.text for one in recommend(found, comparison)[1]}


def verdict(found: Findings) -> Readiness:
    return recommend(found, None)[0]


def against(**changes: object) -> Comparison:
    same = ScoreChange("decided_steady_exact_match", 0.96, 0.96, 0.01, Direction.SAME)
    return replace(Comparison("2026-02-01", (same,), (), (), 4.0, 4.0), **changes)  # type: ignore[arg-type]


def channel(share: float, cause: str = "noisy", name: str = "c9") -> ChannelFinding:
    return ChannelFinding(name, 5.0, share, {cause: share} if share else {})


def test_a_good_calibration_is_ready_after_the_check_before_use() -> None:
    assert verdict(findings()) is Readiness.READY
    assert list(given(findings())) == ["check_before_use"]


def test_without_held_out_trials_nothing_is_called_ready() -> None:
    found = unscored()
    assert verdict(found) is Readiness.NOT_SCORED
    assert "another round" in given(found)["not_scored"]
    assert "check_before_use" not in given(found)


@pytest.mark.parametrize(("name", "least"), rules.NEEDED)
def test_a_score_below_what_is_needed_forbids_use(name: str, least: float) -> None:
    low = replace(findings(), scores=scores(**{name: least - 0.01}))
    assert verdict(low) is Readiness.NOT_READY
    assert f"{100 * least:.0f} % is needed" in given(low)["low_scores"]
    assert "low_scores" not in given(replace(findings(), scores=scores(**{name: least})))


def test_where_nobody_said_what_is_steady_all_moments_count() -> None:
    changes = {"decided_steady_exact_match": None, "decided_exact_match": 0.3}
    assert verdict(replace(findings(), scores=scores(**changes))) is Readiness.NOT_READY


def test_a_score_nearer_to_chance_than_to_perfect_forbids_use() -> None:
    # 0.5 by chance: half way is 0.75, and 0.70 would be enough otherwise.
    near = replace(findings(), scores=scores(exact_match=0.74))
    assert "an answer that never changes would be right 50 %" in given(near)["near_chance"]
    assert verdict(near) is Readiness.NOT_READY
    assert "near_chance" not in given(replace(findings(), scores=scores(exact_match=0.75)))


def test_a_hand_that_moves_unasked_once_a_minute_wants_work() -> None:
    def moving(count: float, hours: float) -> Findings:
        return replace(
            findings(),
            scores=scores(
                unintended_activations=count, unintended_activations_per_hour=count / hours, rest_hours=hours
            ),
        )

    assert "2 times in 60 s" in given(moving(2, 1 / 60))["moves_unasked"]
    assert verdict(moving(2, 1 / 60)) is Readiness.USABLE
    assert "moves_unasked" not in given(moving(1, 1 / 600))  # once is no rate
    assert "moves_unasked" not in given(moving(2, 1 / 20))


def test_a_movement_with_too_few_good_trials_is_redone() -> None:
    found = findings()
    few = replace(found, movements=(replace(found.movements[0], used=1), *found.movements[1:]))
    assert given(few)["few_trials"].startswith("Redo thumb:")
    assert verdict(few) is Readiness.USABLE
    # After the first round every movement has one trial, and that is no fault.
    first = replace(few, trials=few.trials[:3])
    assert "few_trials" not in given(first)


def test_a_movement_that_is_seldom_recognised_is_redone_and_what_it_is_taken_for_is_said() -> None:
    found = findings()
    weak = replace(found.movements[0], recognised=0.4, taken_for="fist", taken_share=0.5)
    one = replace(found, movements=(weak, *found.movements[1:]))
    assert (
        "Redo thumb: it was recognised only 40 % of the time, and taken for fist 50 %"
        in given(one)["weak_movement"]
    )
    two = replace(found, movements=(weak, replace(weak, name="index", recognised=0.2), found.movements[2]))
    assert "Redo index (20 %, taken for fist) and thumb (40 %" in given(two)["weak_movements"]
    fair = replace(found, movements=(replace(weak, recognised=0.75), *found.movements[1:]))
    assert "weak_movement" not in given(fair)
    assert verdict(one) is verdict(two) is Readiness.USABLE


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [("noisy", "re-seat"), ("flat", "plug and cable"), ("mains", "mains"), ("not finite", "Check")],
)
def test_a_channel_that_is_seldom_usable_is_named_with_what_helps(cause: str, remedy: str) -> None:
    found = replace(findings(), channels=(*findings().channels, channel(0.3, cause)))
    assert given(found)["bad_channel"].startswith(f"c9 was not usable 30 % of the time ({cause})")
    assert remedy in given(found)["bad_channel"]
    assert verdict(found) is Readiness.READY  # the scores say that the others suffice
    assert "bad_channel" not in given(replace(found, channels=(*findings().channels, channel(0.2))))


def test_many_bad_channels_are_one_matter_of_plug_and_cable() -> None:
    bad = tuple(channel(0.5, name=f"b{i}") for i in range(3))
    found = replace(findings(), channels=(*findings().channels, *bad))
    assert "3 channels were not usable" in given(found)["more_bad_channels"]
    assert "bad_channel" not in given(found)
    assert verdict(found) is Readiness.USABLE


def test_many_trials_left_out_are_told_with_the_most_frequent_reason() -> None:
    bad = [
        trial(1, "thumb", Reason.TRUTH_LOST),
        trial(2, "index", Reason.TRUTH_LOST, Reason.HANDS_DISAGREE),
    ]
    found = replace(findings(), trials=(*bad, *findings().trials[2:]))
    assert "2 of 9 trials" in given(found)["many_left_out"]
    assert "the able hand was not seen" in given(found)["many_left_out"]
    assert "in sight of the sensor" in given(found)["many_left_out"]
    assert "many_left_out" not in given(replace(found, trials=found.trials[1:]))
    by_hand = [trial(i, "thumb", accepted=False) for i in (1, 2)]
    assert (
        "a person left them out"
        in given(replace(found, trials=(*by_hand, *findings().trials[2:])))["many_left_out"]
    )


def test_every_reason_has_its_remedy() -> None:
    for reason in Reason:
        bad = tuple(trial(i, "thumb", reason) for i in (1, 2, 3))
        assert reason.value in given(replace(findings(), trials=bad))["many_left_out"]


def test_the_learning_curve_asks_for_another_round() -> None:
    steep = (FitRecord(1, 10, {"exact_match": 0.6}, 1.0), FitRecord(2, 20, {"exact_match": 0.75}, 1.0))
    assert "One more round would help" in given(replace(findings(), fits=steep))["another_round"]
    assert verdict(replace(findings(), fits=steep)) is Readiness.USABLE
    flat = tuple(FitRecord(i, 10 * i, {"exact_match": 0.8}, 1.0) for i in (1, 2, 3, 4))
    assert "More rounds like these would bring" in given(replace(findings(), fits=flat))["limited"]
    assert verdict(replace(findings(), fits=flat)) is Readiness.READY


def test_a_part_of_the_hand_without_a_channel_is_named() -> None:
    found = findings()
    assert found.tuning is not None
    quiet = replace(found.tuning, values=((0.9, 0.1, -0.2, 0.0), (0.1, 0.4, -0.3, None)))
    assert "clearly for index" in given(replace(found, tuning=quiet))["untuned"]
    # One direction is enough: an extensor is missed only where nothing speaks for the joint at all.
    both = replace(quiet, rows=("index", "index"), signs=(1, -1))
    assert "untuned" not in given(replace(found, tuning=both))


def test_what_is_worse_than_last_time_is_told() -> None:
    fell = ScoreChange("decided_steady_exact_match", 0.97, 0.90, 0.02, Direction.WORSE)
    assert "97 % then, 90 % now" in given(findings(), against(scores=(fell,)))["worse"]
    rose = replace(fell, direction=Direction.BETTER)
    assert "worse" not in given(findings(), against(scores=(rose,)))


def test_a_lost_channel_of_an_implant_concerns_the_surgical_team_and_one_on_the_skin_does_not() -> None:
    assert "surgical team" in given(findings(), against(lost=("c1", "c2")))["lost_channels"]
    emg = replace(findings(), occasion=replace(findings().occasion, kind="emg"))
    assert "skin contact" in given(emg, against(lost=("c1",)))["lost_electrodes"]


@pytest.mark.parametrize(
    ("confidence", "spread_s", "speaks"), [(0.9, 0.01, False), (0.4, 0.01, True), (0.9, 0.07, True)]
)
def test_an_uncertain_lag_is_told(confidence: float, spread_s: float, speaks: bool) -> None:
    found = replace(findings(), alignment=AlignmentRecord(0.0, 0.0, 0.15, confidence, spread_s))
    assert ("lag_unsure" in given(found)) is speaks


def test_a_computer_that_is_slower_than_a_hop_is_told() -> None:
    slow = (StageLatency("network", 1.0, 25.0), StageLatency("features", 1.0, 21.0))
    assert "network took 25 ms" in given(replace(findings(), latency=slow))["slow"]
    assert "slow" not in given(replace(findings(), latency=(StageLatency("network", 1.0, 19.0),)))


def test_what_forbids_use_comes_first_and_what_is_only_to_be_known_last() -> None:
    found = replace(
        findings(),
        scores=scores(exact_match=0.3),
        channels=(*findings().channels, channel(0.5)),
        latency=(StageLatency("network", 1.0, 25.0),),
    )
    weights = [one.weight for one in recommend(found, against(lost=("c1",)))[1]]
    assert weights == sorted(weights, key=lambda weight: weight.value)
    assert {Weight.FORBIDS, Weight.HELPS, Weight.NOTE} == set(weights)
