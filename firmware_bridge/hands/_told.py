"""What a hand has told on one connection, from what it said piece by piece."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from firmware_bridge.hand import N_DOF, HandCapabilities, HandState, Quantity
from firmware_bridge.hands._dialect import Report
from firmware_bridge.joint_map import JointMap

Value = TypeVar("Value")

NOTHING_TOLD = HandState(np.full(N_DOF, np.nan, np.float32), 0)
"""`reported_ns` 0: nothing that counts as a report was said yet."""


class Told:
    """`state` is what was told so far; what a report leaves unsaid stands as it was.

    Only a position makes a report where the hand measures positions: of other news `reported_ns` is not newer.
    `oldest_ns` says how old the oldest of it all is. `connection` counts the hand's connections.
    """

    def __init__(self, capabilities: HandCapabilities, joint_map: JointMap, connection: int = 0) -> None:
        self.state = replace(NOTHING_TOLD, connection=connection)
        self.measures_position = Quantity.POSITION in capabilities.measures
        self._joint_map = joint_map
        self._measured_ns: int | None = None
        self._status_ns: int | None = None

    @property
    def oldest_ns(self) -> int:
        """When the hand last told the group of readings that it has left unsaid for longest; 0 before a report.

        The groups are positions; currents, forces, temperature and battery; alarms, fault and watchdog: each from when
        the hand first told it. A status that it says unasked and alone is an event, and stands however old it is.
        """
        others = [at_ns for at_ns in (self._measured_ns, self._status_ns) if at_ns is not None]
        return min(self.state.reported_ns, *others) if others else self.state.reported_ns

    def add(self, report: Report, now_ns: int) -> HandState:
        """The state with this report in it."""
        told, to_dof = self.state, self._joint_map.by_dof
        is_news = report.joints is not None or not self.measures_position
        self._date(report, now_ns)
        self.state = HandState(
            told.positions if report.joints is None else self._joint_map.to_positions(report.joints),
            now_ns if is_news else told.reported_ns,
            _newest(report.watchdog_tripped, told.watchdog_tripped),
            _newest(report.fault, told.fault),
            _newest(report.hot, told.hot),
            _newest(report.stalled, told.stalled),
            told.currents_a if report.currents_a is None else to_dof(report.currents_a),
            told.forces_n if report.forces_n is None else to_dof(report.forces_n),
            _newest(report.temperature_c, told.temperature_c),
            _newest(report.battery, told.battery),
            told.connection,
        )
        return self.state

    def _date(self, report: Report, now_ns: int) -> None:
        measured = (report.currents_a, report.forces_n, report.temperature_c, report.battery)
        status = (report.watchdog_tripped, report.fault, report.hot, report.stalled)
        has_measured = any(value is not None for value in measured)
        if has_measured:
            self._measured_ns = now_ns
        is_reading = report.is_answer or has_measured or report.joints is not None
        if is_reading and any(value is not None for value in status):
            self._status_ns = now_ns


def _newest(said: Value | None, before: Value) -> Value:
    return before if said is None else said
