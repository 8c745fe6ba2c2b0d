"""Rokoko Studio's stream across a real socket of the loopback: both forms, both hands, noise, silence."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.truth import rokoko
from calibration.truth._hand_points import JOINTS, joint_angles
from calibration.truth.reader import TruthReader
from calibration.truth.rokoko import NotRokokoError, RokokoSource, described, hand_of, open_truth
from firmware_bridge.emulators.gloves.rokoko import RokokoStudio, datagram
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError
from firmware_bridge.physics.anatomy import Side
from tests.calibration.truth.glove_rig import PATIENCE_S, Hand, replayed, taken, wait_for
from tests.calibration.truth.skeleton_points import hand_points

POSTURES = [[0.5, -0.5, 1.0, 0.0, -1.0, 0.3], [-0.2, 0.9, 0.1, 0.7, 0.4, -0.8]]


@pytest.fixture
def port() -> int:
    """A UDP port that nobody listens to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def patient(port: int, stall_s: float = PATIENCE_S) -> RokokoSource:
    return RokokoSource(described("right", False), port=port, stall_s=stall_s)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_datagram_has_the_hands_angles_and_studios_time(side: Side, version: Literal[2, 3]) -> None:
    posture = np.array(POSTURES[0])
    time_s, points, elbow = hand_of(datagram(posture, 12.5, side, version), side)
    assert time_s == 12.5
    found = joint_angles(points[None], side)
    np.testing.assert_allclose(found, joint_angles(hand_points(POSTURES[0], side)[None], side), atol=1e-6)
    assert np.isfinite(elbow).all()
    # The other hand is not in this stream.
    assert np.isnan(
        hand_of(datagram(posture, 12.5, side, version), "left" if side == "right" else "right")[1]
    ).all()


def test_an_actor_is_found_by_name_and_one_who_is_not_there_has_no_hand() -> None:
    data = datagram(np.zeros(6), 0.0, "right", actor="Ben")
    assert np.isfinite(hand_of(data, "right", "Ben")[1]).all()
    assert np.isnan(hand_of(data, "right", "Anna")[1]).all()
    nobody = json.loads(data)
    nobody["scene"]["actors"] = []
    assert np.isnan(hand_of(json.dumps(nobody).encode(), "right")[1]).all()


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(NotRokokoError, match="choose JSON v3"):
        hand_of(data, "right")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("scene", "actors", "timestamp", "body", "name", "rightHand", "position", "x")),
            inner,
        )
    ),
    max_leaves=15,
)


@given(JSON)
def test_json_of_any_kind_is_refused_in_words_or_has_no_hand(message: object) -> None:
    try:
        _, points, _ = hand_of(json.dumps(message).encode(), "right")
    except NotRokokoError:
        return
    assert np.isnan(points).any()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("wrist", ["yes", "no"])
def test_six_positions_worn_come_back_across_the_socket(
    port: int, version: Literal[2, 3], wrist: str
) -> None:
    hand = Hand()
    with RokokoStudio(hand, port, "left", version, rate_hz=200):
        source = open_truth(f"127.0.0.1:{port}?side=left&wrist={wrist}")
        source.connect()
        found = replayed(source, hand, POSTURES)
        source.close()
    if wrist == "no":
        assert np.isnan(found[:, 5]).all()
        found[:, 5] = np.array(POSTURES)[:, 5]
    np.testing.assert_allclose(found, POSTURES, atol=0.05)


def test_readings_have_studios_own_clock(port: int) -> None:
    with RokokoStudio(Hand(), port):
        source = patient(port)
        source.connect()
        block = taken(source, 30)
        source.close()
    np.testing.assert_allclose(np.diff(block.device_s), 0.01, atol=1e-9)
    assert block.values.shape == (30, len(JOINTS))


def test_datagrams_of_others_are_passed_over_and_counted(port: int) -> None:
    with RokokoStudio(Hand(), port) as studio:
        source = patient(port)
        source.connect()
        studio.obey("noise")
        assert np.isfinite(taken(source, 20).values).all()
        source.close()
    assert source.bad_frames >= 10


def test_an_actor_without_fingers_is_not_a_number_where_they_are_missing(port: int) -> None:
    with RokokoStudio(Hand(), port) as studio:
        source = patient(port)
        source.connect()
        studio.obey("no hand")
        block = taken(source, 3, lambda block: bool(np.isnan(block.values).any()))
        source.close()
    pip = [JOINTS.index(f"{finger} pip") for finger in ("index", "middle", "ring", "little")]
    assert np.isnan(block.values[:, pip]).all()


def test_a_compressed_stream_is_told_how_to_be_sent(port: int) -> None:
    with RokokoStudio(Hand(), port) as studio:
        studio.obey("compressed")
        with pytest.raises(LinkError, match="compressed data: choose JSON v3"):
            patient(port, 1.0).connect()
        studio.obey("clear")
        source = patient(port, 1.0)
        source.connect()
        studio.obey("compressed")
        with pytest.raises(SourceLostError, match="compressed data"):
            list(source.blocks())


def test_a_studio_that_falls_silent_is_lost_and_found_again(port: int) -> None:
    with pytest.raises(LinkError, match=f"sends nothing to 127.0.0.1:{port}: start its livestream"):
        patient(port, 0.2).connect()
    with RokokoStudio(Hand(), port) as studio:
        source = patient(port, 1.0)
        source.connect()
        studio.obey("silent")
        with pytest.raises(SourceLostError, match=r"silent for 1 s: is its livestream on"):
            list(source.blocks())
        with TruthReader(source) as reader:
            wait_for(lambda: "sends nothing" in reader.problem)
            studio.obey("clear")
            wait_for(lambda: reader.problem == "" and reader.take() is not None)


def test_a_port_that_another_program_listens_to_is_said(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(LinkError, match=f"UDP port 127.0.0.1:{port} cannot be listened to"):
            patient(port).connect()


def test_closing_ends_a_wait_from_another_thread(port: int) -> None:
    with RokokoStudio(Hand(), port) as studio:
        source = patient(port)
        source.connect()
        studio.obey("silent")
        threading.Timer(0.2, source.close).start()
        begun_s = time.monotonic()
        for _ in source.blocks():
            pass
        assert time.monotonic() - begun_s < PATIENCE_S / 2


def test_an_address_has_this_machine_and_studios_port_unless_it_says_otherwise() -> None:
    source = open_truth("")
    assert (source._host, source._port, source.info.side) == ("127.0.0.1", 14043, "right")
    source = open_truth("15000?side=left&actor=Ben")
    assert (source._host, source._port, source.info.side) == ("127.0.0.1", 15000, "left")
    assert open_truth("0.0.0.0:15000")._host == "0.0.0.0"
    for wrong in ("host", "127.0.0.1:0", "70000", "?wrist=perhaps"):
        with pytest.raises(NervehandError):
            open_truth(wrong)
    assert isinstance(rokoko.find(), tuple)
