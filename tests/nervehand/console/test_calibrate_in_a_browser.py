"""A calibration in a real browser: the list of trials, people who share it, and a whole one to a hand that moves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from tests.nervehand.console.browsing import Browser
from tests.nervehand.console.conftest import Place

pytestmark = pytest.mark.slow

OpenPage = Callable[..., Browser]
Picture = Callable[[Browser, str], None]
START_S = 120.0
FIT_S = 900.0
"""The last fit and the report take a minute on an idle machine."""
TAB, ENTER = "\ue004", "\ue007"


def trial(browser: Browser, number: int) -> str:
    """What the list says of a trial."""
    rows = browser.text(".nh-trial-rows").split(f"{number}\n", 1)
    return rows[1] if len(rows) > 1 else ""


def shown(browser: Browser) -> None:
    """The top of the page, with nothing before it."""
    browser.until(lambda: not browser.all(".q-notification"), "nothing before the page")
    browser.driver.execute_script("window.scrollTo(0, 0)")


def test_trials_are_accepted_left_out_and_redone_and_it_says_who_did(
    place: Place, open_page: OpenPage
) -> None:
    place.start("-m", "tests.nervehand.console.standin")
    one, other = open_page("/calibrate"), open_page("/calibrate", 1024, 768)
    one.write("Operator", "Ada")
    one.reads("the hands disagree", ".nh-trials")
    one.press("Accept trial 2")
    for browser in (one, other):
        browser.reads("accepted", ".nh-trials")
        browser.reads("Ada: accept trial 2", ".nh-who-list")
    other.write("Operator", "Grace")
    other.press("Redo trial 4")
    for browser in (one, other):
        browser.reads("redone", ".nh-trials")
        browser.reads("Grace: redo trial 4", ".nh-who-list")
    other.press("Finish early")
    other.press("Finish now")
    one.reads("Grace: finish early", ".nh-who-list")
    one.reads("Finishing", ".nh-h1")


def test_it_is_paused_and_resumed_with_the_keyboard_only(place: Place, open_page: OpenPage) -> None:
    place.start("-m", "tests.nervehand.console.standin")
    browser = open_page("/calibrate")
    browser.reads("Now: bend the index finger", ".nh-h1")
    for wanted, then in (("Pause", "Paused"), ("Resume", "Now: bend the index finger")):
        for _ in range(40):
            if browser.focused() == wanted:
                break
            browser.keys(TAB)
        assert browser.focused() == wanted
        shadow = browser.driver.execute_script("return getComputedStyle(document.activeElement).boxShadow")
        assert "6px" in shadow, f"the focus on {wanted} cannot be seen"
        browser.keys(ENTER)
        browser.reads(then, ".nh-h1")
    browser.keys("?")
    browser.reads("STOP: the hand stays where it is", ".nh-help")
    browser.keys(" ")
    browser.reads("Paused", ".nh-h1")
    browser.reads("operator: stop", ".nh-footer")


def test_a_whole_calibration_from_begin_to_a_hand_that_moves(
    place: Place, open_page: OpenPage, picture: Picture
) -> None:
    browser = open_page("/calibrate")
    browser.choose("Movements", "Fingers, fist and wrist (8)")
    browser.choose("Pace", "Fast")
    browser.write("Repetitions", "2")
    browser.reads("16 trials")
    browser.press("Begin")
    browser.reads("Able hand:", ".nh-h1", START_S)
    while "Ready?" not in browser.text(".nh-h1"):  # five poses of the able hand
        with contextlib.suppress(AssertionError):  # it is being measured, or was the last one
            browser.press("Pose held", patience_s=1.0)
    assert browser.bones()
    browser.press("Start")
    browser.reads("Hold:", ".nh-h1")
    at_rest = browser.bones()
    browser.until(lambda: browser.bones() != at_rest, "a cue that moves")
    browser.reads("good", ".nh-trials")
    shown(browser)
    browser.reads("Hold:", ".nh-h1")
    shown(browser)
    picture(browser, "calibrate")
    browser.driver.refresh()  # in the middle of it
    browser.reads("of 16", ".nh-cal-count")
    browser.reads("good", ".nh-trials")
    browser.reads("Round complete", ".nh-h1", 120)
    browser.press("Finish")
    browser.press("Finish now")
    browser.reads("Calibration complete", ".nh-h1", FIT_S)
    browser.reads("Decoder", ".nh-cal-result")
    shown(browser)
    picture(browser, "result")

    browser.go("/sessions")
    browser.reads("session.nwb")
    name = next(line for line in browser.text(".nh-list").splitlines() if line.endswith("/session.nwb"))
    browser.press(f"Open {name}")
    browser.reads("16 trials")
    browser.press("Play")
    still = browser.bones()
    browser.until(lambda: browser.bones() != still, "a replayed hand that moves")
    browser.press("Pause")
    shown(browser)
    picture(browser, "sessions")
    browser.go("/decoders")
    browser.reads("decoder.nhb")

    browser.go("/device")
    browser.write("Nerve signals from", "simulated:default/1/0?steered")
    browser.write("Hand (virtual, none, an address, or a file)", "none")
    browser.choose("Decoder", f"{name.split('/')[0]}/decoder.nhb")
    browser.press("Start")
    browser.reads("live run", ".nh-list")
    shown(browser)
    picture(browser, "device")
    browser.go("/")
    browser.until(lambda: "armed" in browser.text(".nh-facts"), "an armed gate", START_S)
    browser.press("Fist")
    browser.reads("fist", ".nh-gesture")
    made = browser.bones()
    browser.press("Rest")
    browser.until(lambda: browser.bones() != made, "the new decoder's hand that moves")
