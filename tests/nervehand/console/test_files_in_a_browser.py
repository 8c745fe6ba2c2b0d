"""Files of any name and content, in a real browser: they are shown as text, opened as they are, and freeze nothing."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.nervehand.console.browsing import Browser
from tests.nervehand.console.conftest import BUNDLE, ROOT, Place

pytestmark = pytest.mark.slow

OpenPage = Callable[..., Browser]
RECORDING = ROOT / "tests" / "replay" / "simulated.nwb"
SCRIPT = 'x" :onmouseover="window.wasRun = 1" y'
SIGNS = "a+b&c#d%20"
BYTES = b"Jos\xe9"
HARMED = "return document.querySelectorAll('[onmouseover]').length + (window.wasRun || 0)"


def test_names_are_text_and_open_what_they_name(place: Place, open_page: OpenPage) -> None:
    for stem in (SCRIPT, SIGNS, os.fsdecode(BYTES)):
        shutil.copy(RECORDING, place.folder / f"{stem}.nwb")
        shutil.copy(BUNDLE, place.folder / f"{stem}.nhb")
    (place.folder / "damaged.nwb").write_bytes(RECORDING.read_bytes()[:5000])
    browser = open_page("/device")
    browser.until(lambda: browser.all("button:not([disabled]).nh-button-main"), "a list of decoders")
    for stem in (SCRIPT, SIGNS, "Jos\ufffd"):
        browser.go("/sessions")
        browser.reads(f"{stem}.nwb", ".nh-list")
        assert browser.driver.execute_script(HARMED) == 0
        browser.press(f"Open {stem}.nwb")
        browser.reads(f"{stem}.nwb", ".nh-h1")
        browser.until(lambda: browser.all(".nh-signals"), "signals")
    browser.press("Play")
    still = browser.text(".nh-clock")
    browser.until(lambda: browser.text(".nh-clock") != still, "a clock that moves")
    browser.go("/decoders")
    browser.reads("Jos\ufffd.nhb", ".nh-stack")
    browser.reads(f"{SCRIPT}.nhb", ".nh-stack")
    assert browser.driver.execute_script(HARMED) == 0
    assert browser.complaints() == []


def test_what_is_no_name_of_a_file_is_said_and_a_damaged_file_too(place: Place, open_page: OpenPage) -> None:
    (place.folder / "damaged.nwb").write_bytes(RECORDING.read_bytes()[:5000])
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{place.url}/files/%00", timeout=30)
    assert caught.value.code == 404
    browser = open_page("/sessions?open=%00")
    browser.reads("there is no such file", ".nh-problem")
    browser.go("/sessions?open=damaged.nwb")
    browser.until(lambda: len(browser.all(".nh-problem")) == 2, "why it cannot be opened, and so in the list")
