"""The console in a real browser, with real engines: a live run is watched, steered, stopped, and lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.nervehand.console.browsing import Browser
from tests.nervehand.console.conftest import Place

pytestmark = pytest.mark.slow

OpenPage = Callable[..., Browser]
Picture = Callable[[Browser, str], None]


def test_a_steered_person_moves_the_hand_on_the_page(
    place: Place, open_page: OpenPage, picture: Picture
) -> None:
    place.run("simulated:default/1/1?steered")
    browser = open_page("/", 1280, 900)
    browser.reads("armed", ".nh-facts")
    browser.press("Fist")
    browser.reads("fist", ".nh-gesture")
    rest = browser.bones()
    browser.press("Wrist up")
    browser.reads("wrist extension", ".nh-gesture")
    browser.until(lambda: browser.bones() != rest, "another posture of the hand")
    browser.press("Fist")
    time.sleep(1)  # for the picture: the hand has come to rest
    browser.driver.execute_script("window.scrollTo(0, 0)")
    picture(browser, "live")
    browser.go("/decoders")
    browser.reads("demo.nhb")
    browser.reads("deployed", ".nh-decoder .nh-pill")
    picture(browser, "decoders")
    assert browser.complaints() == []


def test_a_page_that_was_there_before_its_engine_shows_the_hand_too(
    place: Place, open_page: OpenPage
) -> None:
    browser = open_page("/")
    browser.reads("No decoder is running")
    place.run("simulated:default/1/1?steered")
    browser.reads("armed", ".nh-facts")
    width = "return document.querySelector('.nh-scene canvas').clientWidth"
    browser.until(lambda: browser.driver.execute_script(width) > 300, "a hand that is wide enough to be seen")


def test_every_page_can_be_seen_and_asks_nobody_else_for_anything(
    place: Place, open_page: OpenPage, picture: Picture
) -> None:
    browser = open_page("/device", 1024, 768)
    for path, words in (
        ("/", "No decoder is running"),
        ("/calibrate", "New calibration"),
        ("/sessions", "No session is in this folder yet"),
        ("/decoders", "demo.nhb"),
        ("/device", "Start a live run"),
    ):
        browser.go(path)
        browser.reads(words)
        wider = browser.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{path} is wider than a window of 1024 by 768"
    own = urlsplit(browser.driver.current_url).netloc
    asked = {urlsplit(url).netloc for url in browser.requested() if not url.startswith(("data:", "blob:"))}
    assert asked == {own}
    assert browser.complaints() == []


def test_what_is_to_be_touched_is_large_enough_for_a_finger(place: Place, open_page: OpenPage) -> None:
    place.run("simulated:default/1/1?steered")
    browser = open_page("/", 1024, 768)
    browser.reads("armed", ".nh-facts")
    for path in ("/", "/calibrate", "/decoders", "/device"):
        browser.go(path)
        for element in browser.all("button, a.nh-tab, a.nh-link-button, .q-toggle, .nh-slider"):
            size = element.size
            assert min(size["width"], size["height"]) >= 44, f"{path}: {element.text!r} is {size}"


def test_stop_on_the_page_and_by_the_space_bar_stops_the_guard(place: Place, open_page: OpenPage) -> None:
    place.run(hand="virtual")
    browser = open_page("/calibrate")
    browser.until(lambda: "Gate armed" in browser.text(".nh-footer"), "an armed gate", 60)
    browser.press("STOP")
    browser.reads("Stopped by operator", ".nh-outcome")
    browser.until(lambda: "Gate armed" not in browser.text(".nh-footer"), "a gate that is not armed")
    browser.reads("operator: stop", ".nh-footer")


def test_a_space_stops_although_a_button_has_the_focus_and_presses_nothing(
    place: Place, open_page: OpenPage
) -> None:
    place.run(hand="virtual")
    browser = open_page("/device")
    browser.until(lambda: "Gate armed" in browser.text(".nh-footer"), "an armed gate", 60)
    for _ in range(30):
        browser.keys("\ue004")
        if browser.focused() == "Examine":
            break
    assert browser.focused() == "Examine"
    browser.keys(" ")
    browser.reads("Stopped by operator", ".nh-outcome")
    browser.until(lambda: "Gate armed" not in browser.text(".nh-footer"), "a gate that is not armed")
    assert "Python" not in browser.text(".nh-found")


def test_whoever_writes_may_use_a_space_and_names_what_they_do(place: Place, open_page: OpenPage) -> None:
    place.run("simulated:default/1/1?steered")
    browser = open_page("/")
    browser.until(lambda: "Gate armed" in browser.text(".nh-footer"), "an armed gate")
    browser.write("Operator", "Dr Ada L")
    time.sleep(0.5)
    assert "Gate armed" in browser.text(".nh-footer")
    browser.keys("r")
    browser.reads("Dr Ada L: release", ".nh-footer")


def test_two_operators_see_the_same_and_who_did_it(place: Place, open_page: OpenPage) -> None:
    place.run("simulated:default/1/1?steered")
    one, other = open_page("/"), open_page("/", 1024, 768)
    one.write("Operator", "Ada")
    other.write("Operator", "Grace")
    one.press("Fist")
    for browser in (one, other):
        browser.reads("fist", ".nh-gesture")
    other.press("STOP")
    for browser in (one, other):
        browser.reads("holding (stop requested)", ".nh-facts")
        browser.reads("Grace: stop", ".nh-footer")


def test_two_operators_adjust_at_once_and_neither_undoes_the_other(place: Place, open_page: OpenPage) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    place.run(hand="virtual")
    one, other = open_page("/"), open_page("/", 1024, 768)
    for browser in (one, other):
        browser.reads("armed", ".nh-facts")
    one.press("Lock the whole hand", ".q-toggle")
    locked = '.q-toggle:not([aria-label])[aria-checked="true"]'
    for browser in (one, other):
        browser.until(lambda browser=browser: browser.all(locked), "a hand that is locked")
    (slider,) = other.all('.nh-slider[aria-label="Strength of Index"]')
    other.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    ActionChains(other.driver).move_to_element_with_offset(slider, 30, 0).click().perform()
    for browser in (one, other):
        browser.reads("adjust gain of index", ".nh-footer")
        assert browser.all(locked)


def test_a_page_that_is_loaded_again_has_everything_again(place: Place, open_page: OpenPage) -> None:
    place.run("simulated:default/1/1?steered")
    browser = open_page("/")
    browser.write("Operator", "Ada")
    browser.press("Fist")
    browser.reads("fist", ".nh-gesture")
    browser.driver.refresh()
    browser.reads("fist", ".nh-gesture")
    browser.reads("Ada: move the simulated intent", ".nh-footer")
    browser.until(lambda: len(browser.all(".nh-signals")) == 1, "the signals")


def test_a_killed_engine_is_said_and_the_next_one_is_watched(place: Place, open_page: OpenPage) -> None:
    engine = place.run("simulated:default/1/1?steered")
    browser = open_page("/")
    browser.reads("armed", ".nh-facts")
    engine.kill()
    engine.wait()
    browser.reads("has ended", ".nh-banner")
    place.run("simulated:default/1/2?steered")
    browser.until(lambda: not browser.all(".nh-banner"), "the banner's end")
    browser.reads("simulated:default/1/2", ".nh-footer")


def test_a_frozen_engine_is_a_lost_connection_which_comes_back(place: Place, open_page: OpenPage) -> None:
    engine = place.run("simulated:default/1/1?steered")
    browser = open_page("/")
    browser.reads("armed", ".nh-facts")
    (face,) = children(engine.pid, "port")
    os.kill(face, signal.SIGKILL)
    browser.until(lambda: not browser.all(".nh-banner"), "a connection")
    before = browser.text(".nh-facts")
    browser.until(lambda: browser.text(".nh-facts") != before, "news from the engine")


def children(pid: int, name: str) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if name in Path(f"/proc/{child}/cmdline").read_text():
            found.append(int(child))
    return found


def test_the_console_ends_and_the_engine_runs_on(place: Place, open_page: OpenPage) -> None:
    browser = open_page("/device")
    browser.write("Nerve signals from", "simulated:default/1/1?steered")
    browser.write("Hand (virtual, none, an address, or a file)", "none")
    browser.press("Start")
    browser.reads("live run", ".nh-list")
    browser.until(place.engine_pids, "the engine's note")
    (pid,) = place.engine_pids()
    place.processes[0].terminate()
    place.processes[0].wait(15)
    os.kill(pid, 0)
    assert place.engine_pids() == [pid]
