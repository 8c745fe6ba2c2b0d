"""A hand tells its state piece by piece; what it leaves unsaid stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from firmware_bridge.hands._dialect import Report
from firmware_bridge.hands._told import NOTHING_TOLD, Told
from firmware_bridge.joint_map import Joint, JointMap
from tests.firmware_bridge.hands.lines import HAND

JOINTS = JointMap(
    (
        Joint("a", "deg", 0.0, 90.0, None, {"index": 1.0}),
        Joint("b", "deg", 0.0, -90.0, None, {"thumb": 1.0}),
        Joint("c", "deg", 0.0, 45.0, None, {"thumb": 1.0}),
    )
)
WHERE = np.array([45.0, -90.0, 0.0])


def test_what_joints_measure_is_told_by_degree_of_freedom() -> None:
    told = Told(HAND, JOINTS)
    state = told.add(
        Report(joints=WHERE, currents_a=np.array([0.1, -0.3, 0.2]), forces_n=np.array([1.0, 2.0, 3.0])), 5
    )
    nan = np.nan
    np.testing.assert_array_equal(state.positions, np.array([0.5, 0.5, nan, nan, nan, nan], np.float32))
    np.testing.assert_array_equal(state.currents_a, np.array([0.3, 0.1, nan, nan, nan, nan], np.float32))
    np.testing.assert_array_equal(state.forces_n, np.array([3.0, 1.0, nan, nan, nan, nan], np.float32))
    assert state.reported_ns == 5


def test_what_is_not_said_stands_as_it_was() -> None:
    told = Told(HAND, JOINTS)
    told.add(
        Report(
            joints=WHERE,
            hot=True,
            stalled=True,
            fault="worn",
            watchdog_tripped=True,
            temperature_c=41.0,
            battery=0.25,
        ),
        5,
    )
    first = told.state
    second = told.add(Report(), 6)
    assert (second.hot, second.stalled, second.fault, second.watchdog_tripped) == (True, True, "worn", True)
    assert (second.temperature_c, second.battery) == (41.0, 0.25)
    np.testing.assert_array_equal(second.positions, first.positions)
    third = told.add(
        Report(hot=False, stalled=False, fault="", watchdog_tripped=False, temperature_c=40.0, battery=0.24),
        7,
    )
    assert (third.hot, third.stalled, third.fault, third.watchdog_tripped) == (False, False, "", False)
    assert (third.temperature_c, third.battery) == (40.0, 0.24)


def test_where_positions_are_measured_only_a_position_is_a_report() -> None:
    told = Told(HAND, JOINTS)
    assert told.add(Report(fault="worn"), 5).reported_ns == NOTHING_TOLD.reported_ns
    assert told.add(Report(joints=WHERE), 6).reported_ns == 6
    assert told.add(Report(fault="worn"), 7).reported_ns == 6


def test_where_none_are_any_answer_is_one() -> None:
    told = Told(replace(HAND, measures=frozenset()), JOINTS)
    state = told.add(Report(), 5)
    assert state.reported_ns == 5
    assert np.isnan(state.positions).all()
    assert state.currents_a is None


def test_every_state_names_its_connection() -> None:
    told = Told(HAND, JOINTS, connection=3)
    assert told.state.connection == 3
    assert told.add(Report(temperature_c=31.0), 5).connection == 3


def test_it_is_as_old_as_the_group_of_readings_that_was_left_unsaid_for_longest() -> None:
    told = Told(HAND, JOINTS)
    assert told.oldest_ns == 0
    told.add(Report(temperature_c=31.0), 3)
    assert told.oldest_ns == 0, "no report yet"
    told.add(Report(joints=WHERE), 5)
    assert told.oldest_ns == 3
    told.add(Report(currents_a=np.ones(3), hot=False), 6)
    assert told.oldest_ns == 5
    told.add(Report(joints=WHERE), 7)
    told.add(Report(joints=WHERE, battery=0.5), 8)
    assert (told.oldest_ns, told.state.reported_ns) == (6, 8)
    told.add(Report(stalled=False), 9)
    assert told.oldest_ns == 8
    told.add(Report(), 10)
    assert told.oldest_ns == 8


def test_a_status_that_it_says_unasked_and_alone_is_an_event_which_stands() -> None:
    told = Told(HAND, JOINTS)
    told.add(Report(is_answer=False, fault="worn"), 5)
    told.add(Report(is_answer=False, joints=WHERE), 9)
    assert (told.oldest_ns, told.state.fault) == (9, "worn")
    told.add(Report(is_answer=False, joints=WHERE, fault=""), 10)
    told.add(Report(is_answer=False, fault="again"), 11)
    told.add(Report(is_answer=False, joints=WHERE), 12)
    assert told.oldest_ns == 10, "an event renews no reading"
