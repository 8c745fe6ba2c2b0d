"""Stop and release from a page: to the guard of the watched run and to its engine, and which guard that is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import Entry
from nervehand.console import rest
from nervehand.console.rest import ask_rest, guards_of
from nervehand.console.server import require_free


@dataclass
class Watched:
    """What `rest` needs of a watch: an engine that answers, or does not."""

    kind: str = "run"
    pid: int = 42
    about: dict[str, object] = field(default_factory=dict)
    refusal: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def chosen(self) -> Entry | None:
        return Entry("127.0.0.1:1", "", self.about, Path(), self.pid) if self.kind else None

    is_remote: bool = False

    def ask(self, who: str, request: str, arguments: dict[str, object], **more: object) -> dict[str, object]:
        self.asked.append((who, request))
        if self.refusal:
            raise LinkError(self.refusal)
        return {"gate": "holding"}


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str, str]]]:
    """guards("run-42", ...): these run and answer; gives what they were asked."""
    asked: list[tuple[str, str, str]] = []

    def run(*names: str, error: str = "") -> list[tuple[str, str, str]]:
        def answer(name: str, request: str, who: str, said: object) -> dict[str, object]:
            asked.append((name, request, who))
            if error:
                raise LinkError(error)
            return {"state": "holding"}

        monkeypatch.setattr(rest, "guards_running", lambda: names)
        monkeypatch.setattr(rest, "ask_for_rest", answer)
        return asked

    return run


Guards = Callable[..., list[tuple[str, str, str]]]


def test_a_stop_goes_to_the_runs_own_guard_and_to_its_engine(guards: Guards) -> None:
    asked, watch = guards("run-42", "run-7"), Watched()
    assert ask_rest(watch, "stop", "Ada") == "holding"  # type: ignore[arg-type]
    assert asked == [("run-42", "stop", "Ada")]
    assert watch.asked == [("Ada", "stop")]


@pytest.mark.parametrize(
    ("watch", "wanted"),
    [
        (Watched(), ("run-7", "worn")),  # no guard of that run: to stop one too many harms nobody
        (Watched(about={"guard": "worn"}), ("worn",)),
        (Watched(kind=""), ("run-7", "worn")),
        (
            Watched(kind="calibration"),
            ("run-7", "worn"),
        ),  # a run that nobody watches may move a hand beside it
        (Watched(pid=0), ("run-7", "worn")),  # found by its address: its process is not known
        (Watched(is_remote=True), ()),
    ],
)
def test_which_guards_are_asked(watch: Watched, wanted: tuple[str, ...], guards: Guards) -> None:
    guards("run-7", "worn")
    assert guards_of(watch) == wanted  # type: ignore[arg-type]


def test_one_answer_is_enough(guards: Guards) -> None:
    guards("run-42")
    assert ask_rest(Watched(refusal="cut off"), "release", "Ada") == "holding"  # type: ignore[arg-type]
    guards("run-42", error="it has ended")
    assert ask_rest(Watched(), "release", "Ada") == "holding"  # type: ignore[arg-type]


def test_no_answer_at_all_is_an_error_with_all_reasons(guards: Guards) -> None:
    guards("run-42", error="it has ended")
    with pytest.raises(NervehandError, match="cut off") as caught:
        ask_rest(Watched(refusal="cut off"), "stop", "Ada")  # type: ignore[arg-type]
    assert "it has ended" in str(caught.value)


def test_a_calibration_has_no_hand_to_release_and_pauses(guards: Guards) -> None:
    guards()
    watch = Watched(kind="calibration")
    ask_rest(watch, "release", "Ada")  # type: ignore[arg-type]
    assert watch.asked == [("Ada", "stop")]


def test_a_guard_that_hangs_keeps_the_next_one_waiting_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3)  # two guards and the port: who waits for another breaks it

    def answer(name: str, request: str, who: str, said: object) -> dict[str, object]:
        together.wait(20)
        return {"state": f"{name} holds"}

    class Meeting(Watched):
        def ask(self, *given: object, **more: object) -> dict[str, object]:  # type: ignore[override]
            together.wait(20)
            return {"gate": "holding"}

    monkeypatch.setattr(rest, "guards_running", lambda: ("run-7", "worn"))
    monkeypatch.setattr(rest, "ask_for_rest", answer)
    assert ask_rest(Meeting(kind=""), "stop", "Ada") == "run-7 holds"  # type: ignore[arg-type]


def test_who_never_answers_is_not_waited_for_and_is_said(
    guards: Guards, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards("run-42", error="it has ended")
    monkeypatch.setattr(rest, "ALL_S", 0.05)
    over = threading.Event()

    class Hung(Watched):
        def ask(self, *given: object, **more: object) -> dict[str, object]:  # type: ignore[override]
            over.wait()
            return {}

    with pytest.raises(NervehandError, match=r"port has not answered within 0\.05 s"):
        ask_rest(Hung(), "stop", "Ada")  # type: ignore[arg-type]
    over.set()


def test_a_number_that_is_taken_is_said_before_anything_is_served() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NervehandError, match="cannot be served"):
            require_free("127.0.0.1", taken.getsockname()[1])
