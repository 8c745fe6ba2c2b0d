"""The live screen: complete, in its own process, and never in the way of the decoder."""

from __future__ import annotations

import io
import math
import re
import signal
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from nervehand.drawing import draw_hand
from nervehand.latency import LatencyHistogram
from nervehand.live_summary import SHOWN
from nervehand.panels import screen_of
from nervehand.picture import PictureScreen
from nervehand.screen import (
    MAX_SNAPSHOT_BYTES,
    MOST_CHANNELS,
    ProcessScreen,
    Snapshot,
    StageLatency,
    bar,
    process_screen,
    sparkline,
)

SNAPSHOT = Snapshot(
    title="a title",
    level_title="channels, r.m.s. µV",
    side="right",
    elapsed_s=12.3,
    channels=["ch0", "ch1"],
    n_channels=2,
    levels_uv=[3.0, 9.5],
    history_uv=[[1.0, 3.0], [2.0, 9.5]],
    masked=["", "mains"],
    wanted=[0.5] * 6,
    shown=[0.25, 0.0, 0.0, 0.0, 0.0, -1.0],
    gesture="wrist extension",
    probability=0.93,
    cue="wrist extension",
    warming=False,
    gate="armed",
    link="connected",
    hops=600,
    commands_applied=580,
    commands_dropped=3,
    latency=[StageLatency("engine", 51.0, 62.0, 1070.0), StageLatency("gate + send", None, None, None)],
)


def drawn(snapshot: Snapshot, width: int = 130) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen_of(snapshot, width))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 130])
def test_the_screen_shows_all_that_a_person_needs(width: int) -> None:
    text = " ".join(drawn(SNAPSHOT, width).split())
    for words in (
        "a title", "12.3 s", "ch0", "mains", "wrist extension", "0.93", "thumb", "+0.25", "-1.00", "engine",
        "51", "1,070", "link connected", "gate armed", "600 hops", "580 commands applied", "3 dropped",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize("width", [80, 130])
def test_what_happens_to_the_source_is_shown_without_taking_a_row(width: int) -> None:
    told = replace(SNAPSHOT, notice="source lost: serial port /dev/ttyACM0 is gone, " + "and more " * 20)
    text = drawn(told, width)
    assert "source lost: serial port" in text
    assert len(text.splitlines()) == len(drawn(SNAPSHOT, width).splitlines())


@pytest.mark.parametrize("width", [80, 130])
def test_the_screen_fits_a_terminal_of_thirty_rows(width: int) -> None:
    many = replace(
        SNAPSHOT,
        channels=[f"ch{i}" for i in range(MOST_CHANNELS)],
        n_channels=64,
        levels_uv=[1.0] * MOST_CHANNELS,
        history_uv=[[1.0] * 24] * MOST_CHANNELS,
        masked=[""] * MOST_CHANNELS,
        latency=[StageLatency(stage, 9_999.0, 123_456.0, 12_345_678.0) for stage in SHOWN],
    )
    text = drawn(many, width)
    assert "…" not in text
    assert len(text.splitlines()) <= 30
    assert "and 48 more" in text
    for stage in SHOWN:
        assert re.search(rf"{re.escape(stage)} +9,999 +123ms +12\.3s", text)


@pytest.mark.parametrize("width", [80, 130])
def test_what_a_hand_does_not_measure_is_said_and_never_a_number_that_is_none(width: int) -> None:
    text = drawn(replace(SNAPSHOT, shown=[0.25, *[math.nan] * 5]), width)
    assert "nan" not in text
    assert text.count("not measured") == 5
    wrist = next(line for line in text.splitlines() if "not measured" in line and "wrist" in line)
    assert "+0.50" in wrist  # what the decoder wants
    assert max(map(len, text.splitlines())) <= width


def test_a_decoder_that_is_warming_says_so_instead_of_a_gesture() -> None:
    assert "warming up" in drawn(replace(SNAPSHOT, warming=True))


def test_a_screen_that_stalls_never_makes_the_decoder_wait() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    screen = ProcessScreen(ours)

    def show() -> None:
        for _ in range(2000):
            screen.show(SNAPSHOT)

    showing = threading.Thread(target=show, daemon=True)
    with ours, theirs:  # nobody reads
        showing.start()
        showing.join(120)
        assert not showing.is_alive()  # it returned at all: nothing waited for a reader


def test_a_screen_that_died_stops_nothing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    with ours:
        ProcessScreen(ours).show(SNAPSHOT)


def test_the_drawing_process_draws_and_ends(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nervehand.screen.ENDING_S", 120.0)  # what it has to draw waits until it has started
    with process_screen() as screen:
        screen.show(SNAPSHOT)
    assert "a title" in capfd.readouterr().out


def test_fingers_that_flex_are_drawn_shorter() -> None:
    def dots_in_upper_half(positions: list[float]) -> int:
        rows = draw_hand(np.array(positions, np.float32))
        return sum(bin(ord(cell) - 0x2800).count("1") for row in rows[: len(rows) // 2] for cell in row)

    open_hand = dots_in_upper_half([0, 0, 0, 0, 0, 0])
    assert dots_in_upper_half([1, 1, 1, 1, 1, 0]) < 0.35 * open_hand
    assert 0.5 * open_hand < dots_in_upper_half([0, 1, 0, 0, 0, 0]) < 0.95 * open_hand


def test_a_left_hand_is_the_mirror_of_a_right_one_and_nan_is_drawn_as_rest() -> None:
    rest, left = draw_hand(np.zeros(6)), draw_hand(np.zeros(6), side="left")
    assert rest != left
    assert draw_hand(np.full(6, np.nan)) == rest


def test_bars_and_sparklines_show_their_ends() -> None:
    assert bar(0.0).count("█") == 0
    assert bar(1.0).endswith("█")
    assert bar(-1.0).startswith("█")
    assert bar(float("nan")) == bar(0.0)
    assert sparkline([0.0, 5.0, 10.0], 10.0)[0] == " "
    assert sparkline([0.0, 5.0, 10.0], 10.0)[-1] == "█"


def test_the_latency_histogram_is_exact_to_its_bucket() -> None:
    histogram = LatencyHistogram()
    assert histogram.percentile_us(50) is None
    values_ns = np.random.default_rng(0).lognormal(12, 1.0, 5000).astype(np.int64)
    for value in values_ns:
        histogram.add(int(value))
    for percent in (50, 95, 99, 100):
        exact_us = float(np.percentile(values_ns, percent, method="inverted_cdf")) / 1e3
        assert histogram.percentile_us(percent) == pytest.approx(exact_us, rel=0.012)
    assert histogram.largest_us == values_ns.max() / 1e3
    histogram.add(10**9, times=5000)
    assert len(histogram) == 10_000
    assert histogram.percentile_us(51) == 1e6


def test_the_picture_is_of_the_moment_when_the_hand_moved_most_and_fetches_nothing(tmp_path: Path) -> None:
    painter = PictureScreen()
    assert not painter.save(tmp_path / "none.svg")
    painter.show(replace(SNAPSHOT, title="the best"))
    painter.show(replace(SNAPSHOT, title="a lesser one", shown=[0.0] * 6))
    painter.show(replace(SNAPSHOT, title="not yet", shown=[1.0] * 6, warming=True))
    assert painter.save(tmp_path / "best.svg")
    svg = (tmp_path / "best.svg").read_text(encoding="utf-8")
    assert "best" in svg
    assert "lesser" not in svg
    assert "url(" not in svg.replace("url(#", "")


def test_a_snapshot_that_is_too_large_is_dropped() -> None:
    n = 4096
    huge = replace(
        SNAPSHOT,
        channels=[f"ch{i}" for i in range(n)],
        levels_uv=[1.0] * n,
        history_uv=[[1.0] * 24] * n,
        masked=[""] * n,
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ProcessScreen(ours).show(huge)
        ProcessScreen(ours).show(SNAPSHOT)
        assert b"a title" in theirs.recv(MAX_SNAPSHOT_BYTES)


def test_a_screen_that_no_longer_draws_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(command: list[str], **more: object) -> subprocess.Popen[bytes]:
        started.append(popen(command, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.setattr("nervehand.screen.ENDING_S", 0.05)
    with process_screen():
        started[0].send_signal(signal.SIGSTOP)  # as a terminal that was paused
    assert started[0].returncode == -signal.SIGKILL
