"""Pictures of signals, joints and curves: whole SVG, and what is drawn is where it should be."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervehand.console.traces import band_path, curve_svg, joints_svg, ring_svg, signals_svg, still
from nervehand.console.views import NOWHERE, ChannelSeen

numbers = st.one_of(st.floats(-1e7, 1e7), st.just(math.nan))
channels = st.builds(
    lambda name, level, masked, bands: ChannelSeen(
        name, level, masked, tuple(a for a, _ in bands), tuple(b for _, b in bands)
    ),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    numbers,
    st.sampled_from(["", "railed", "<b>&"]),
    st.lists(st.tuples(numbers, numbers), max_size=40),
)


@given(st.lists(channels, max_size=16))
def test_any_signals_make_whole_svg_without_numbers_that_are_none(seen: list[ChannelSeen]) -> None:
    svg = signals_svg(seen, 40)
    ElementTree.fromstring(svg)
    assert "nan" not in re.sub(r">[^<]*<", "><", svg)
    assert "inf" not in re.sub(r">[^<]*<", "><", svg)


def points(path: str) -> list[tuple[float, float]]:
    """The places that a path of one M and relative lines goes through."""
    x, y = map(float, re.findall(r"^M(\S+) (-?[\d.]+)", path)[0])
    found = [(x, y)]
    for across, down in re.findall(r"l(-?[\d.]+) (-?[\d.]+)", path):
        x, y = x + float(across), y + float(down)
        found.append((x, y))
    return found


def test_the_newest_column_is_at_the_right_edge_and_high_is_up() -> None:
    path = band_path([-1.0, -1.0, -9.0], [1.0, 1.0, 9.0], 10, middle=50, scale=10, left=0, width=90, row=40)
    at = points(path)
    assert max(x for x, _ in at) == pytest.approx(90)
    newest = [y for x, y in at if x == pytest.approx(90)]
    assert min(newest) < 50 < max(newest)
    assert max(newest) - min(newest) > 20


def test_a_band_stays_in_its_row_however_loud_it_is() -> None:
    at = points(band_path([-1e6] * 5, [1e6] * 5, 5, middle=50, scale=1, left=0, width=90, row=40))
    assert all(30 <= y <= 70 for _, y in at)


def test_the_slow_wander_of_an_electrode_is_taken_out_and_its_signal_stays() -> None:
    wander = np.linspace(-4000, 4000, 160)
    channel = ChannelSeen("e1", 0.0, "", tuple((wander - 10).tolist()), tuple((wander + 10).tolist()))
    seen = still(channel)
    middle = (np.array(seen.low_uv) + np.array(seen.high_uv)) / 2
    assert np.abs(middle[10:-10]).max() < 1
    assert np.subtract(seen.high_uv, seen.low_uv) == pytest.approx(20)


def test_a_masked_channel_says_why_and_is_grey() -> None:
    band = ((-1.0,) * 9, (1.0,) * 9)
    svg = signals_svg([ChannelSeen("e1", 5.0, "railed", *band), ChannelSeen("e2", 5.0, "", *band)], 9)
    first, second = re.findall(r"<path[^>]*>", svg)
    assert "railed" in svg
    assert svg.count("µV") == 1
    assert first.split("fill=")[1] != second.split("fill=")[1]


@pytest.mark.parametrize(("position", "side"), [(1.0, "right"), (-1.0, "left")])
def test_flexion_of_a_joint_goes_right_and_extension_left(position: float, side: str) -> None:
    svg = joints_svg((position, 0, 0, 0, 0, 0), NOWHERE, NOWHERE, "sure", "hands.truth")
    x, width = map(float, re.findall(r'<rect x="([\d.]+)" y="13.0" width="([\d.]+)"', svg)[0])
    middle = float(re.findall(r'<line x1="([\d.]+)"', svg)[0])
    assert width == 140
    assert (x if side == "right" else x + width) == middle


def test_joints_that_nobody_knows_are_not_drawn() -> None:
    svg = joints_svg(NOWHERE, NOWHERE, NOWHERE, "unknown", "hands.truth")
    ElementTree.fromstring(svg)
    assert "circle" not in svg
    assert svg.count("–") == 6


@given(st.one_of(st.none(), st.floats(-5, 100)), st.one_of(st.none(), st.floats(0, 50)))
def test_a_ring_is_never_more_than_full_nor_less_than_empty(
    left_s: float | None, phase_s: float | None
) -> None:
    svg = ring_svg(left_s, phase_s, "wait")
    ElementTree.fromstring(svg)
    dash, around = map(float, re.findall(r'stroke-dasharray="([\d.]+) ([\d.]+)"', svg)[0])
    assert 0 <= dash <= around


def test_a_learning_curve_has_a_point_for_each_known_score() -> None:
    svg = curve_svg([0.8, None, 0.95], "learning")
    ElementTree.fromstring(svg)
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)]
    assert len(heights) == 2
    assert heights[1] < heights[0]
