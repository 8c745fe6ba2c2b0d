"""One watcher for all pages: it finds engines, follows one, and asks it for things in people's names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.port import Entry, Port, PortClient, running, serving
from firmware_bridge.stream import StreamInfo
from nervehand.console.watch import Watch, at

INFO = StreamInfo(rate_hz=10_000.0, channel_names=("e1",), electrodes=("e1",), kind="nerve")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Entry, ...]]:
    """What finds the engines of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    return lambda: tuple(entry for entry in running() if entry.token_path.is_relative_to(tmp_path))


@contextmanager
def engine(kind: str, title: str, **about: object) -> Iterator[tuple[Port, list[tuple[str, str]]]]:
    """An engine that answers all but "refuse"; what it was asked, and by whom."""
    asked: list[tuple[str, str]] = []
    over = threading.Event()
    with serving("127.0.0.1:0", INFO, {"kind": kind, "title": title, **about}) as port:

        def answer() -> None:
            while not over.is_set():
                port.wait(0.05)
                for request in port.requests():
                    asked.append((request.name, request.who))
                    if request.name == "refuse":
                        request.refuse("not now")
                    else:
                        request.answer({"gate": "holding"})

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield port, asked
        finally:
            over.set()
            thread.join()


@contextmanager
def watching(look: Callable[[], tuple[Entry, ...]]) -> Iterator[Watch]:
    watch = Watch(look=look)
    try:
        until(lambda: watch.look() or watch.is_connected or not look())
        yield watch
    finally:
        watch.close()


def until(holds: Callable[[], object], patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def live(serial: int) -> dict[str, object]:
    return {
        "channels": ["e1"], "levels_uv": [5.0], "masked": [""], "low_uv": [[-1.0] * 16], "high_uv": [[1.0] * 16],
        "sample_index": 1000 * serial, "wanted": [0.0] * 6, "shown": [None] * 6, "gesture": "rest", "gate": "armed",
        "adjustments": {"gain": [1.0] * 6, "max_speed_per_s": [None] * 6}, "shadow": [], "latency": [],
    }  # fmt: skip


def test_nothing_runs(own: Callable[[], tuple[Entry, ...]]) -> None:
    with watching(own) as watch:
        assert (watch.kind, watch.live(), watch.is_connected) == ("", None, False)
        with pytest.raises(NervehandError, match="no engine runs"):
            watch.ask("Ada", "stop", {})


def test_a_run_is_found_followed_and_asked_in_somebodys_name(own: Callable[[], tuple[Entry, ...]]) -> None:
    with engine("run", "one", steered=True) as (port, asked), watching(own) as watch:
        assert (watch.kind, watch.is_steered, watch.is_connected) == ("run", True, True)
        for serial in range(1, 4):
            port.show("live", live(serial))
            until(
                lambda serial=serial: (
                    (watch.live() or (0, None))[1] and watch.live()[1].sample_index == 1000 * serial
                )
            )
        seen = watch.live()
        assert seen is not None
        assert len(seen[1].channels[0].low_uv) == 3 * 4  # of three views, joined by four
        assert watch.ask("Ada", "stop", {}) == {"gate": "holding"}
        assert watch.ask("Grace", "adjust", {}, "gain") == {"gate": "holding"}
        assert asked == [("stop", "Ada"), ("adjust", "Grace")]
        assert [(done.who, done.request, done.about, done.error) for done in watch.done] == [
            ("Ada", "stop", "", ""),
            ("Grace", "adjust", "gain", ""),
        ]


def test_what_is_refused_is_remembered_with_the_engines_words(own: Callable[[], tuple[Entry, ...]]) -> None:
    with engine("run", "one"), watching(own) as watch:
        with pytest.raises(NervehandError, match="not now"):
            watch.ask("Ada", "refuse", {})
        assert watch.done[-1].error == "not now"


def test_the_one_that_was_chosen_stays_and_another_may_be_chosen(
    own: Callable[[], tuple[Entry, ...]],
) -> None:
    with engine("run", "one"), watching(own) as watch:
        first = watch.chosen
        with engine("calibration", "two"):
            until(lambda: watch.look() or len(watch.entries) == 2)
            assert watch.chosen == first
            other = next(entry for entry in watch.entries if entry.about["title"] == "two")
            watch.choose(other.address)
            assert watch.kind == "calibration"
            with pytest.raises(NervehandError, match="no engine answers"):
                watch.choose("127.0.0.1:1")


def test_what_an_engine_said_last_stays_until_another_is_found(own: Callable[[], tuple[Entry, ...]]) -> None:
    with watching(own) as watch:
        with engine("run", "one") as (port, _):
            watch.look()
            port.show("live", live(1))
            until(watch.live)
        until(lambda: not watch.is_connected)
        watch.look()
        assert watch.live() is not None
        with engine("run", "two"):
            until(lambda: watch.look() or (watch.chosen is not None and watch.chosen.about["title"] == "two"))
            assert watch.live() is None


def test_an_engine_that_was_named_by_its_address_is_remote_only_on_another_machine(
    own: Callable[[], tuple[Entry, ...]],
) -> None:
    with engine("run", "one"):
        (entry,) = own()
        watch = Watch(look=partial(at, entry.address))
        try:
            watch.look()
            assert watch.is_connected
            assert not watch.is_remote
        finally:
            watch.close()


@pytest.mark.parametrize(
    ("address", "is_remote"),
    [
        ("127.0.0.1:7", False), ("[::1]:7", False), ("localhost:7", False), ("192.0.2.7:7", True),
        ("[2001:db8::1]:7", True), ("nano.local:7", True),
    ],
)  # fmt: skip
def test_which_addresses_are_of_another_machine(address: str, is_remote: bool) -> None:
    watch = Watch(look=lambda: (Entry(address, "", {}, Path(), 0),), link=unreachable)
    watch.look()
    assert watch.is_remote == is_remote
    assert not Watch(look=lambda: ()).is_remote


def unreachable(address: str, who: str) -> PortClient:
    return PortClient("127.0.0.1:1", token="none", who=who)


def test_nobody_waits_for_a_lock_while_somebody_elses_request_is_on_its_way(
    own: Callable[[], tuple[Entry, ...]],
) -> None:
    with engine("run", "one") as (_, asked), watching(own) as watch:
        watch.ask("Grace", "stop", {})
        sending, going_on = threading.Event(), threading.Event()

        def slow(*given: object, **more: object) -> dict[str, object]:
            sending.set()
            assert going_on.wait(60)
            return {}

        watch.ask("Ada", "adjust", {})
        watch._asking["Ada"].request = slow  # type: ignore[method-assign]
        pushing = threading.Thread(target=watch.ask, args=("Ada", "push", {}))
        pushing.start()
        assert sending.wait(60)
        assert watch.ask("Grace", "stop", {}) == {"gate": "holding"}
        going_on.set()
        pushing.join()
        assert ("stop", "Grace") in asked
