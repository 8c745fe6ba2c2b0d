"""The check before use: what it finds, what it says, and when it is over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import HandCapabilities, HandState, LinkState, Quantity
from firmware_bridge.hands import virtual
from firmware_bridge.preuse import CHECKED, CheckItem, PreUseReport, overridden
from firmware_bridge.preuse_check import EITHER, ChannelReading, CheckSettings, PreUseCheck

HOP_S = 0.02
S = 1_000_000_000
GOOD = tuple(ChannelReading(f"ch{i}", 0.0, 0.3) for i in range(16))
NO_POSITION = np.full(6, np.nan, np.float32)
REST = np.zeros(6, np.float32)


@dataclass
class Wearer:
    """Somebody at rest, with a good hand and good channels, until told otherwise; told at each hop."""

    check: PreUseCheck
    now_ns: int = 0
    position: float = 0.0
    is_rest: bool = True
    warming: bool = False
    decodes: bool = True
    link: LinkState = LinkState.CONNECTED
    state: HandState | None = field(default_factory=lambda: HandState(REST, 0))
    readings: tuple[ChannelReading, ...] = GOOD

    def live(self, seconds: float) -> PreUseReport | None:
        """The report, as soon as there is one."""
        for _ in range(round(seconds / HOP_S)):
            self.now_ns += round(HOP_S * S)
            if self.decodes:
                targets = np.array([[0, self.position, 0, 0, 0, 0]], np.float32)
                self.check.intents(self.now_ns, targets, np.array([self.is_rest]), np.array([self.warming]))
            state = None if self.state is None else replace(self.state, reported_ns=self.now_ns)
            self.check.hand(self.now_ns, self.link, state)
            self.check.channels(self.readings)
            if (report := self.check.step(self.now_ns)) is not None:
                return report
        return None


def wearer(
    limits: GateLimits | None = None,
    hand_side: str = "left",
    decoder_side: str = "left",
    settings: CheckSettings | None = None,
    capabilities: HandCapabilities = virtual.CAPABILITIES,
) -> Wearer:
    limits = limits or GateLimits.for_hand(capabilities)
    return Wearer(PreUseCheck(limits, capabilities, hand_side, decoder_side, HOP_S, 0, settings))


def item(report: PreUseReport | None, name: str) -> CheckItem:
    assert report is not None
    return next(one for one in report.items if one.name == name)


def failing(report: PreUseReport | None, name: str) -> str:
    """What the only thing that failed says; what was not finished is no finding."""
    assert report is not None
    assert not report.passed
    failed = {one.name: one.text for one in report.items if not one.passed and one.text != "not finished"}
    assert set(failed) == {name}
    assert ": " in failed[name]  # and what to do
    return failed[name]


def test_ten_seconds_of_rest_pass_and_each_thing_is_named() -> None:
    one = wearer()
    assert one.live(9.9) is None
    report = one.live(0.2)
    assert report is not None
    assert report.passed
    assert tuple(each.name for each in report.items) == CHECKED
    assert report.finished_ns == pytest.approx(10 * S, abs=0.05 * S)
    assert item(report, "rest").text == "10.00 s, away from rest for 0.00 s of them"
    assert "16 as in training" in item(report, "channels").text


def test_the_report_stays_the_same_once_it_is_there() -> None:
    one = wearer()
    report = one.live(11)
    one.position = 1.0
    assert one.live(5) is report


def test_it_says_how_long_to_rest() -> None:
    one = wearer()
    one.live(4)
    assert one.check.left_s == pytest.approx(6, abs=0.05)


def test_what_is_not_measured_is_said_and_passes() -> None:
    one = wearer(capabilities=replace(virtual.CAPABILITIES, measures=frozenset()))
    one.state = HandState(NO_POSITION, 0)
    report = one.live(11)
    assert report is not None
    assert report.passed
    assert item(report, "position").text == "not measured"
    assert item(report, "battery").text == "not measured"
    assert "not measured" in item(report, "temperature").text


def test_a_hand_that_measures_positions_and_reports_none_fails_once_it_had_time_to_settle() -> None:
    one = wearer()
    one.state = HandState(NO_POSITION, 0)
    assert one.live(1.9) is None
    assert "measures positions and reports none" in failing(one.live(0.2), "position")


def test_hops_that_come_in_one_burst_are_no_ten_seconds_of_rest() -> None:
    one = wearer()
    rest = np.zeros((500, 6), np.float32)
    one.check.intents(1, rest, np.ones(500, np.bool_), np.zeros(500, np.bool_))
    assert one.live(9.9) is None
    assert one.live(0.2) is not None


def test_a_hand_that_was_not_looked_at_once_it_had_settled_does_not_pass() -> None:
    one = wearer()
    assert one.live(0.5) is None
    for i in range(500):
        one.check.intents(one.now_ns + i, np.zeros((1, 6), np.float32), np.array([True]), np.array([False]))
    one.check.channels(GOOD)
    assert "was not looked at" in failing(one.check.step(one.now_ns + 10 * S), "position")


def test_a_report_of_the_future_is_none() -> None:
    one = wearer()
    one.check.hand(0, LinkState.CONNECTED, HandState(REST, 3600 * S))
    one.state = None
    assert "has not reported" in failing(one.live(31), "link")


def test_a_report_that_leaves_something_out_has_not_passed() -> None:
    items = tuple(CheckItem(name, True, "good") for name in CHECKED)
    assert PreUseReport(0, items).passed
    assert not PreUseReport(0, items[1:]).passed
    assert not PreUseReport(0, (*items, CheckItem("more", False, "not good"))).passed


def test_what_is_measured_is_said() -> None:
    one = wearer()
    one.state = HandState(REST, 0, temperature_c=31.4, battery=0.8)
    report = one.live(11)
    assert item(report, "battery").text == "80%"
    assert "31 °C" in item(report, "temperature").text


def test_warming_is_waited_for_and_not_counted() -> None:
    one = wearer()
    one.warming, one.position = True, 1.0
    assert one.live(5) is None
    one.warming, one.position = False, 0.0
    assert one.live(9.9) is None
    report = one.live(0.2)
    assert report is not None
    assert report.passed


@pytest.mark.parametrize("beyond", [0.1500001, 0.5, -0.5, np.nan])
def test_rest_that_does_not_stay_rest_fails_as_soon_as_it_cannot_pass(beyond: float) -> None:
    one = wearer()
    one.live(2)
    one.position = beyond
    report = one.live(8)
    assert "index" in failing(report, "rest") or np.isnan(beyond)
    assert one.now_ns < 3 * S


def test_a_target_on_the_edge_of_the_rest_band_is_rest() -> None:
    one = wearer()
    one.position = 0.15
    report = one.live(11)
    assert report is not None
    assert report.passed


def test_the_time_away_from_rest_is_told_beside_the_time_that_it_was_counted_in() -> None:
    one = wearer()
    one.position = 1.0
    said = failing(one.live(11), "rest")
    assert "away from rest for 0.52 s of the first 0.52 s, up to 0.50 s of 10 s is good" in said


def test_a_gesture_that_is_not_rest_is_no_rest() -> None:
    one = wearer()
    one.is_rest = False
    assert "away from rest" in failing(one.live(11), "rest")


def test_a_blink_of_movement_is_told_and_passes() -> None:
    one = wearer()
    one.position = 1.0
    one.live(0.5)
    one.position = 0.0
    report = one.live(11)
    assert report is not None
    assert report.passed
    assert "away from rest for 0.50 s" in item(report, "rest").text


@pytest.mark.parametrize(
    ("hand", "decoder", "words"),
    [
        ("left", "right", "the hand is a left one"),
        ("", "right", "nobody said which side"),
        ("left", "", "the decoder does not say its side"),
    ],
)
def test_sides_that_are_not_known_to_be_the_same_fail_at_once(hand: str, decoder: str, words: str) -> None:
    one = wearer(hand_side=hand, decoder_side=decoder)
    report = one.live(1)
    assert words in failing(report, "side")
    assert one.now_ns <= 0.1 * S


def test_a_drawn_hand_fits_either_side() -> None:
    report = wearer(hand_side=EITHER, decoder_side="").live(11)
    assert report is not None
    assert report.passed


def with_fault(state: HandState) -> HandState:
    return replace(state, fault="motor 3")


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        (with_fault, "hand", "'motor 3'"),
        (lambda s: replace(s, stalled=True), "hand", "stalls"),
        (lambda s: replace(s, hot=True), "temperature", "too hot"),
        (lambda s: replace(s, temperature_c=60.5), "temperature", "up to 60 °C is good"),
        (lambda s: replace(s, temperature_c=math.nan), "temperature", "up to 60 °C is good"),
        (lambda s: replace(s, temperature_c=60.04), "temperature", "60.04 °C, up to 60 °C is good"),
        (lambda s: replace(s, temperature_c=71.5), "temperature", "72 °C, up to 60 °C is good"),
        (lambda s: replace(s, battery=math.nan), "battery", "from 20% is good"),
        (lambda s: replace(s, battery=0.19), "battery", "19%, from 20% is good"),
        (lambda s: replace(s, battery=0.1996), "battery", "19.96%, from 20% is good"),
    ],
)
def test_a_hand_that_is_not_well_fails_at_once(
    change: Callable[[HandState], HandState], name: str, words: str
) -> None:
    one = wearer(replace(GateLimits.for_hand(virtual.CAPABILITIES), max_temperature_c=60.0, min_battery=0.2))
    one.live(1)
    one.state = change(HandState(REST, 0))
    assert words in failing(one.live(1), name)
    assert one.now_ns < 1.1 * S


@pytest.mark.parametrize("state", [HandState(REST, 0, temperature_c=60.0), HandState(REST, 0, battery=0.2)])
def test_a_reading_on_its_limit_passes(state: HandState) -> None:
    one = wearer(replace(GateLimits.for_hand(virtual.CAPABILITIES), max_temperature_c=60.0, min_battery=0.2))
    one.state = state
    report = one.live(11)
    assert report is not None
    assert report.passed


def test_a_hand_on_its_way_to_rest_has_time_to_get_there() -> None:
    one = wearer()
    one.state = HandState(np.full(6, 0.8, np.float32), 0)
    assert one.live(1.9) is None
    one.state = HandState(REST, 0)
    report = one.live(11)
    assert report is not None
    assert report.passed


def test_a_hand_that_is_not_at_rest_fails() -> None:
    one = wearer()
    one.state = HandState(np.array([0, 0, 0.3, np.nan, 0, 0], np.float32), 0)
    assert "middle is at +0.30, up to 0.25 from rest is good" in failing(one.live(11), "position")


def test_a_hand_that_is_hardly_not_at_rest_is_told_so_that_it_can_be_understood() -> None:
    one = wearer()
    one.state = HandState(np.array([-0.2504, 0, 0, 0, 0, 0], np.float32), 0)
    assert "thumb is at -0.2504, up to 0.25 from rest is good" in failing(one.live(11), "position")


def test_a_link_that_goes_down_fails() -> None:
    one = wearer()
    one.live(3)
    one.link = LinkState.LOST
    assert "lost" in failing(one.live(1), "link")


def test_reports_that_stop_are_a_lost_link() -> None:
    one = wearer()
    one.live(1)
    one.check.hand(one.now_ns + round(0.29 * S), LinkState.CONNECTED, HandState(REST, one.now_ns))
    assert one.check.step(one.now_ns) is None
    one.check.hand(one.now_ns + round(0.31 * S), LinkState.CONNECTED, HandState(REST, one.now_ns))
    assert "link" in failing(one.check.step(one.now_ns), "link")


def test_a_hand_that_never_comes_is_waited_for_as_long_as_said() -> None:
    one = wearer(settings=CheckSettings(patience_s=5, duration_s=20))
    one.state = None
    assert one.live(4.9) is None
    assert "has not reported for 5 s" in failing(one.live(1), "link")


def test_a_rest_without_a_hand_is_no_check() -> None:
    one = wearer()
    one.state = None
    assert "has not reported" in failing(one.live(11), "link")


def test_a_decoder_that_says_nothing_fails() -> None:
    one = wearer(settings=CheckSettings(patience_s=5))
    one.decodes = False
    assert "nothing was decoded after 5 s" in failing(one.live(6), "rest")


def test_a_decoder_that_stays_warming_fails() -> None:
    one = wearer(settings=CheckSettings(patience_s=5))
    one.warming = True
    assert "still warming after 5 s" in failing(one.live(6), "rest")


def test_a_decoder_that_falls_silent_fails() -> None:
    one = wearer()
    one.live(3)
    one.decodes = False
    assert "nothing was decoded for 2.0 s" in failing(one.live(5), "rest")


def test_a_channel_unlike_training_fails_at_the_end() -> None:
    one = wearer()
    one.readings = (*GOOD[:5], ChannelReading("ch5", 0.0, 4.2), *GOOD[6:])
    said = failing(one.live(11), "channels")
    assert "ch5 (4.2)" in said
    assert "ch6" not in said


def test_channels_that_may_be_why_rest_was_none_are_named_too() -> None:
    one = wearer()
    one.readings = (*GOOD[:5], ChannelReading("ch5", 0.0, 4.2), *GOOD[6:])
    one.live(1)
    one.position = 1.0
    report = one.live(9)
    assert not item(report, "rest").passed
    assert "ch5 (4.2)" in item(report, "channels").text
    one = wearer()
    one.position = 1.0
    assert item(one.live(10), "channels").text == "not finished"  # too soon to tell


def test_a_distance_that_is_no_number_is_far() -> None:
    one = wearer()
    one.readings = (*GOOD[:15], ChannelReading("ch15", 0.0, float("nan")))
    assert "ch15" in failing(one.live(11), "channels")


def test_some_masked_channels_are_told_and_pass_more_do_not() -> None:
    one = wearer()
    one.readings = (*GOOD[:14], ChannelReading("ch14", 1.0, 0.0), ChannelReading("ch15", 0.5, 0.2))
    report = one.live(11)
    assert report is not None
    assert report.passed
    assert "masked now: ch14, ch15" in item(report, "channels").text
    one = wearer()
    one.readings = (*GOOD[:13], *(ChannelReading(f"ch{i}", 1.0, 0.0) for i in (13, 14, 15)))
    assert "ch13, ch14, ch15; up to 2 may be" in failing(one.live(11), "channels")


def test_a_decoder_that_tells_nothing_of_its_channels_fails() -> None:
    one = wearer()
    one.readings = ()
    assert "nothing of its channels" in failing(one.live(11), "channels")


@pytest.mark.parametrize(
    "wrong", [{"duration_s": 0.0}, {"patience_s": float("nan")}, {"most_away": 1.0}, {"most_masked": -0.1}]
)
def test_settings_that_make_no_check_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(NervehandError, match=next(iter(wrong))):
        CheckSettings(**wrong)


def test_a_check_of_nothing_has_not_passed_and_an_override_names_who() -> None:
    report = overridden("ada", 5)
    assert not report.passed
    assert report.overridden_by == "ada"


def test_the_virtual_hand_measures_what_these_tests_take_it_to() -> None:
    assert virtual.CAPABILITIES.measures == {Quantity.POSITION}
