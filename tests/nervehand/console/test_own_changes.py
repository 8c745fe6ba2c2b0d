"""Two operators adjust at the same time: neither undoes what the other has changed."""

from __future__ import annotations

import pytest

from firmware_bridge.adjustments import Adjustments
from firmware_bridge.plain import from_plain, to_plain
from nervehand.console.own_changes import OWN_S, Control, OwnChanges, value_of


class Engine:
    """What holds, changed as an engine does it: by the names of adjustments."""

    def __init__(self, *pages: OwnChanges) -> None:
        self.holds = Adjustments()
        self.pages = pages

    def show(self, now_s: float) -> None:
        for page in self.pages:
            page.show(self.holds, now_s)

    def moved(
        self, page: OwnChanges, control: Control, value: float | bool, now_s: float
    ) -> dict[str, object]:
        _, sent = page.move(control, value, now_s)
        plain = to_plain(self.holds)
        assert isinstance(plain, dict)
        self.holds = from_plain(Adjustments, plain | sent, "adjustments")
        return sent


@pytest.fixture
def two() -> tuple[OwnChanges, OwnChanges, Engine]:
    ada, grace = OwnChanges(), OwnChanges()
    engine = Engine(ada, grace)
    engine.show(0.0)
    return ada, grace, engine


def test_a_slider_that_is_moved_again_and_again_undoes_no_lock_of_another(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    ada, grace, engine = two
    engine.moved(grace, ("gain", 1), 1.05, 0.0)
    engine.show(0.5)
    engine.moved(ada, ("hand_locked", 0), True, 0.5)
    engine.show(1.3)
    assert engine.moved(grace, ("gain", 1), 1.10, 1.3).keys() == {"gain"}
    assert engine.holds.hand_locked
    assert engine.holds.gain[1] == 1.10


def test_another_joint_that_another_moved_keeps_its_strength(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    ada, grace, engine = two
    engine.moved(grace, ("gain", 1), 1.05, 0.0)
    engine.show(0.1)
    engine.moved(ada, ("gain", 1), 0.5, 0.2)
    engine.show(0.3)
    engine.moved(grace, ("gain", 4), 0.8, 0.4)  # within the time in which the own slider stays
    assert engine.holds.gain == (1.0, 0.5, 1.0, 1.0, 0.8, 1.0)


def test_what_was_sent_and_is_not_shown_yet_is_not_undone_by_the_next(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    _, grace, engine = two
    engine.moved(grace, ("locked", 0), True, 0.0)
    engine.moved(grace, ("locked", 5), True, 0.05)  # no view came between
    assert engine.holds.locked == (True, False, False, False, False, True)


def test_what_is_moved_back_before_the_engine_has_shown_it_goes_back(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    _, grace, engine = two
    engine.moved(grace, ("locked", 5), True, 0.0)
    engine.moved(grace, ("locked", 5), False, 0.1)
    assert engine.holds == Adjustments()


def test_only_the_control_that_was_moved_stays_where_it_was_put(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    _, grace, engine = two
    engine.moved(grace, ("gain", 1), 1.05, 10.0)
    assert not grace.follows(("gain", 1), 10.0 + OWN_S / 2)
    assert grace.follows(("gain", 2), 10.0 + OWN_S / 2)
    assert grace.follows(("hand_locked", 0), 10.0)
    assert grace.follows(("gain", 1), 10.0 + OWN_S)


def test_what_was_refused_goes_back_and_is_not_sent_with_the_next(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    _, grace, _ = two
    grace.move(("gain", 1), 1.5, 0.0)
    grace.refused(("gain", 1))
    assert grace.follows(("gain", 1), 0.0)
    then, _ = grace.move(("gain", 2), 0.5, 0.1)
    assert (value_of(then, ("gain", 1)), value_of(then, ("gain", 2))) == (1.0, 0.5)


def test_a_control_that_stands_where_it_holds_asks_for_nothing(
    two: tuple[OwnChanges, OwnChanges, Engine],
) -> None:
    assert two[0].move(("gain", 1), 1.0, 0.0)[1] == {}
