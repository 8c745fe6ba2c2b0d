"""The page: valid HTML that needs nothing beside it, says what it must, and trusts no name."""

from __future__ import annotations

import dataclasses
import functools
import re
from html.parser import HTMLParser

import pytest

from calibration.records import AlignmentRecord
from calibration.report.comparison import compare
from calibration.report.page import html_page
from tests.calibration.report import made

VOID = {"meta", "br", "img", "hr", "link", "input"}
CASES = {
    "good": made.content(made.findings()),
    "unscored": made.content(made.unscored()),
    "extreme": made.content(made.extreme(), compare(made.extreme(), made.extreme())),
}


class Page(HTMLParser):
    """What a reader of the page meets: elements with their attributes, and text; unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@functools.cache
def html_of(case: str) -> str:
    return html_page(CASES[case], "report.json")


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def text(case: str) -> str:
    return html_of(case)


@pytest.fixture
def page(text: str) -> Page:
    return Page(text)


def test_it_is_one_document_with_a_language_a_title_and_headings_in_order(text: str, page: Page) -> None:
    assert text.startswith("<!DOCTYPE html>")
    tags = [tag for tag, _ in page.elements]
    assert page.elements[0] == ("html", {"lang": "en"})
    assert [tags.count(tag) for tag in ("title", "h1", "main")] >= [1, 1, 1]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_it_asks_nobody_for_anything_and_runs_nothing(text: str, page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "image", "foreignobject")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href"):
                assert value.startswith("#")
    assert set(re.findall(r"https?://[^\s\"'<>]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in text


def test_ids_are_unique_and_every_reference_finds_one(text: str, page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = {
        value[1:] for _, attributes in page.elements for name, value in attributes.items() if name == "href"
    }
    for _, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("clip-path", "style", "fill", "mask"):
                asked |= set(re.findall(r"url\(#([^)]*)\)", value))
    assert asked <= set(ids)


def test_every_chart_has_words_for_those_who_do_not_see_it_and_its_text_is_text(page: Page) -> None:
    charts = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert charts
    for attributes in charts:
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"]) > 20
    assert any(tag == "text" for tag, _ in page.elements)


def test_the_same_content_gives_the_same_page() -> None:
    assert html_page(CASES["good"], "report.json") == html_of("good")


def test_the_verdict_and_every_section_are_on_it(page: Page) -> None:
    for heading in (
        "What to do", "What was done", "How well the hand is understood", "Compared with last time",
        "What was meant and what was decoded", "Which movements are mixed up", "Which channel speaks for which finger",
        "Would another round help?", "Quality of the channels", "Quality of the trials",
    ):  # fmt: skip
        assert heading in page.text


def test_a_good_calibration_says_so_with_its_figures_explained() -> None:
    text = Page(html_of("good")).text
    for said in (
        "Ready to use",
        "96 % all six parts right at once",
        "96.0 % ± 1.0",
        "50.0 %",  # chance beside it
        "thumb, four fingers and wrist right at once",
        "1 in 30 min: 2/h (95 % sure: < 10/h)",
        "120 ms and 140 ms",
        "9 trials that the decoder had not seen: 3 times a decoder was fitted",
        "9 trials (one movement each) in 3 rounds, 9 used",
        "moved 150 ms after the nerve said",
        "thumb: c0, index: c2/c1",
        "All trials were used.",
        "Make the check before use",
    ):
        assert said in text, said


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    text = Page(html_of("unscored")).text
    for said in ("Not scored yet", "an unnamed person", "side not given", "no record of single trials",
                 "not measured: what was asked for is taken as done", "No earlier report"):  # fmt: skip
        assert said in text, said


def test_an_able_hand_that_ran_ahead_is_told_as_such() -> None:
    early = dataclasses.replace(made.findings(), alignment=AlignmentRecord(-5.0, 0.0, -0.05, 0.9, 0.01))
    text = Page(html_page(made.content(early), "report.json")).text
    assert "moved 50 ms before the nerve said" in text
    assert "5 ppm (millionths) slow" in text


def test_names_are_text_and_nothing_else() -> None:
    page = Page(html_of("extreme"))
    assert "<script>" in page.text  # as text: there is no such element
    assert all(tag != "b" or not attributes for tag, attributes in page.elements)
    # In charts too: neither markup nor formulas are made of them.
    assert page.words.count('$x^2$ & "y" <') == 2
    assert "$x^2$ &" in page.text
    assert "\x00" not in page.text
    assert "\u202e" not in page.text
