"""What of a hand's reports is against moving it: each limit just below, at and just above, and for how long."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from firmware_bridge.gate import Cause, GateLimits
from firmware_bridge.hand import HandState
from firmware_bridge.hand_watch import HandWatch

MS = 1_000_000
ONE = np.ones(6, np.float32)
LIMITS = GateLimits(
    -ONE,
    ONE,
    ONE,
    max_current_a=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    max_force_n=10.0,
    max_temperature_c=60.0,
    min_battery=0.1,
)
REST = (0.0,) * 6
NO_LIMITS = GateLimits(-ONE, ONE, ONE)


def report(at_ms: float = 0, there: float = 0.0, **says: object) -> HandState:
    return replace(HandState(np.full(6, there, np.float32), round(at_ms * MS)), **says)  # type: ignore[arg-type]


def six(index: int, value: float, others: float = 0.0) -> np.ndarray:
    values = np.full(6, others, np.float32)
    values[index] = value
    return values


def found(watch: HandWatch, *reports: HandState) -> list[tuple[Cause, ...]]:
    return [watch.look(one, REST) for one in reports]


def news(watch: HandWatch, *reports: HandState) -> list[tuple[str, ...]]:
    told = []
    for one in reports:
        watch.look(one, REST)
        told.append(watch.news)
    return told


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ({"temperature_c": 59.9}, ""),
        ({"temperature_c": 60.0}, ""),
        ({"temperature_c": 60.1}, "hand too hot: 60.1 °C, limit 60 °C"),
        ({"temperature_c": math.nan}, "hand too hot: nan °C, limit 60 °C"),
        ({"temperature_c": 20.0, "hot": True}, "hand too hot: it says so"),
        ({"hot": True}, "hand too hot: it says so"),
    ],
)
def test_too_hot_is_above_the_limit_or_what_it_says_itself(says: dict[str, object], text: str) -> None:
    watch = HandWatch(LIMITS)
    assert found(watch, report(**says)) == [(Cause.OVERHEATED,) if text else ()]
    assert watch.news == ((text,) if text else ())
    assert watch.objection(report(**says)) == text


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ({"currents_a": six(2, 0.7)}, ""),
        ({"currents_a": six(2, -0.7)}, ""),
        ({"currents_a": six(2, 0.71)}, "hand overloaded: middle 0.71 A, limit 0.70 A"),
        ({"currents_a": six(2, -0.71)}, "hand overloaded: middle 0.71 A, limit 0.70 A"),
        ({"currents_a": six(5, 1.01)}, "hand overloaded: wrist 1.01 A, limit 1.00 A"),
        ({"currents_a": six(0, 0.51)}, "hand overloaded: thumb 0.51 A, limit 0.50 A"),
        ({"currents_a": six(0, math.nan)}, ""),
        ({"forces_n": six(1, 10.0)}, ""),
        ({"forces_n": six(1, 10.1)}, "hand overloaded: index 10.10 N, limit 10.00 N"),
        ({"forces_n": six(4, -10.1)}, "hand overloaded: little 10.10 N, limit 10.00 N"),
        ({"stalled": True}, "hand overloaded: it says that it stalls"),
        ({"currents_a": six(0, 0.1), "stalled": True}, "hand overloaded: it says that it stalls"),
    ],
)
def test_overloaded_is_above_a_limit_or_what_it_says_itself(says: dict[str, object], text: str) -> None:
    watch = HandWatch(LIMITS)
    assert found(watch, report(0, **says), report(299.999, **says)) == [(), ()]
    assert watch.news == ()
    assert found(watch, report(300, **says)) == [(Cause.OVERLOADED,) if text else ()]
    assert watch.news == ((text,) if text else ())
    assert watch.objection(report(**says)) == ""


def test_overloaded_is_found_again_as_often_as_it_lasts_so_long_but_told_once() -> None:
    watch = HandWatch(LIMITS)
    reports = [report(10 * i, stalled=True) for i in range(100)]
    times = [10 * i for i, causes in enumerate(found(watch, *reports)) if causes]
    assert times == [300, 600, 900]
    watch.forget()
    assert sum(map(bool, news(watch, *reports))) == 1
    assert found(watch, report(1100), report(1110, stalled=True), report(1400, stalled=True)) == [()] * 3
    assert news(watch, report(1410, stalled=True))[0] != ()


def test_single_good_readings_hide_no_load() -> None:
    watch = HandWatch(LIMITS)
    loads = [report(at, stalled=at % 100 != 50) for at in range(0, 1000, 10)]
    times = [10 * i for i, causes in enumerate(found(watch, *loads)) if causes]
    assert times == [420, 840]  # of each 100 ms 80 count, and 10 are taken off
    watch.forget()
    assert sum(map(bool, news(watch, *loads))) == 1


def test_a_load_for_less_than_half_of_the_time_is_none() -> None:
    watch = HandWatch(LIMITS)
    loads = [report(at, stalled=at % 100 < 50) for at in range(0, 5000, 10)]
    assert found(watch, *loads) == [()] * 500


def test_the_same_report_again_counts_nothing_and_what_was_found_counts_anew_from_then_on() -> None:
    watch = HandWatch(LIMITS)
    at_ms = (0, *([299.999999] * 5), 300, 599.999999, 600)
    causes = found(watch, *[report(at, stalled=True) for at in at_ms])
    assert [bool(one) for one in causes] == [False] * 6 + [True, False, True]


def test_time_that_runs_backwards_counts_nothing() -> None:
    watch = HandWatch(LIMITS)
    assert found(watch, *[report(at, stalled=True) for at in (500, 0, 200, 0, 99)]) == [()] * 5


@pytest.mark.parametrize(
    ("battery", "text"),
    [
        (0.11, ""),
        (0.1, ""),
        (0.099, "hand battery low: 10% of full, limit 10%"),
        (0.0, "hand battery low: 0% of full, limit 10%"),
        (math.nan, "hand battery low: nan% of full, limit 10%"),
    ],
)
def test_a_battery_is_low_once_it_has_been_for_long(battery: float, text: str) -> None:
    watch = HandWatch(LIMITS)
    assert found(watch, report(0, battery=battery), report(1999.999, battery=battery)) == [(), ()]
    assert found(watch, report(2000, battery=battery)) == [(Cause.LOW_BATTERY,) if text else ()]
    assert watch.news == ((text,) if text else ())
    assert watch.objection(report(battery=battery)) == text


def test_a_battery_that_sags_for_a_moment_is_not_low() -> None:
    watch = HandWatch(LIMITS)
    assert (
        found(watch, *[report(at, battery=0.05 if at % 1900 < 900 else 0.5) for at in range(0, 9000, 100)])
        == [()] * 90
    )


def test_astray_is_found_once_it_has_lasted() -> None:
    watch = HandWatch(LIMITS)
    reports = [report(0), report(10, 0.5), report(309.999, 0.5), report(310, 0.5), report(320, 0.5)]
    assert found(watch, *reports) == [(), (), (), (Cause.ASTRAY,), (Cause.ASTRAY,)]
    watch.forget()
    text = "hand where it was not sent: wrist is at 0.50 and was sent to 0.00"
    assert news(watch, *reports) == [(), (), (), (text,), ()]


def test_where_nothing_is_sent_nothing_is_astray() -> None:
    watch = HandWatch(LIMITS)
    watch.look(report(0), REST)
    for at in range(10, 1000, 10):
        assert watch.look(report(at, 0.9), None) == ()
    assert watch.look(report(1000, 0.9), REST) == ()  # and where it is then, it may be
    assert watch.look(report(2000, 0.9), REST) == ()


def test_positions_of_another_shape_are_none() -> None:
    watch = HandWatch(LIMITS)
    watch.look(report(0), REST)
    for at in range(10, 1000, 10):
        odd = HandState(np.ones(5, np.float32), at * MS)
        assert watch.look(odd, REST) == ()


def test_nothing_is_news_before_the_first_report() -> None:
    assert HandWatch(LIMITS).news == ()


def test_what_has_no_limit_or_no_reading_is_never_too_much() -> None:
    much = {"temperature_c": 1e3, "currents_a": 1e3 * ONE, "forces_n": 1e3 * ONE, "battery": 0.0}
    watch = HandWatch(NO_LIMITS)
    assert found(watch, report(0, **much), report(9000, **much)) == [(), ()]
    assert watch.objection(report(**much)) == ""
    watch = HandWatch(LIMITS)
    assert found(watch, report(0), report(9000)) == [(), ()]
    assert watch.objection(None) == ""


def test_several_are_found_together_and_forgotten_together() -> None:
    watch = HandWatch(LIMITS)
    says = {"hot": True, "stalled": True, "battery": 0.0}
    assert found(watch, report(0, **says)) == [(Cause.OVERHEATED,)]
    assert found(watch, report(2000, **says)) == [(Cause.OVERHEATED, Cause.OVERLOADED, Cause.LOW_BATTERY)]
    assert [text.split(":")[0] for text in watch.news] == ["hand overloaded", "hand battery low"]
    assert watch.objection(report(**says)) == "hand too hot: it says so"
    watch.forget()
    assert watch.news == ()
    assert found(watch, report(4000, **says)) == [(Cause.OVERHEATED,)]
    assert watch.news == ("hand too hot: it says so",)


def test_what_is_over_and_comes_back_is_told_again() -> None:
    told = news(HandWatch(LIMITS), report(0, hot=True), report(1, hot=True), report(2), report(3, hot=True))
    assert [bool(one) for one in told] == [True, False, False, True]


def test_a_shorter_time_finds_what_has_lasted_so_long_already_and_a_longer_one_waits_on() -> None:
    watch = HandWatch(LIMITS)
    found(watch, *[report(10 * i, stalled=True) for i in range(21)])
    watch.limit(replace(LIMITS, overload_s=0.21))
    assert found(watch, report(210, stalled=True)) == [(Cause.OVERLOADED,)]
    watch.limit(replace(LIMITS, overload_s=0.4))
    reports = [report(10 * i, stalled=True) for i in range(22, 62)]
    times = [220 + 10 * i for i, causes in enumerate(found(watch, *reports)) if causes]
    assert times == [610]


def test_what_was_told_is_not_told_again_because_limits_change() -> None:
    watch = HandWatch(LIMITS)
    assert news(watch, report(0, temperature_c=61.0)) == [("hand too hot: 61 °C, limit 60 °C",)]
    watch.limit(replace(LIMITS, max_temperature_c=50.0))
    assert found(watch, report(10, temperature_c=61.0)) == [(Cause.OVERHEATED,)]
    assert watch.news == ()
    watch.limit(NO_LIMITS)
    assert found(watch, report(20, temperature_c=61.0)) == [()]


def test_another_tolerance_and_lag_are_those_of_where_it_may_be() -> None:
    watch = HandWatch(replace(LIMITS, astray_after_s=0.001))
    at = [report(at_ms, there=0.2) for at_ms in (0, 10, 20)]
    for one in at:
        assert watch.look(one, (0.2,) * 6) == ()
    assert watch.look(report(30, there=0.45), (0.2,) * 6) == ()
    watch.limit(replace(LIMITS, astray_after_s=0.001, astray_tolerance=0.2))
    watch.look(report(40, there=0.45), (0.2,) * 6)
    assert watch.look(report(50, there=0.45), (0.2,) * 6) == (Cause.ASTRAY,)
