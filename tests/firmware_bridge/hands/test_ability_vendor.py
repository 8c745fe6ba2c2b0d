"""The vendor's own client as the judge: its bytes are ours, and it reads in replies what we read."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.emulators.hands.ability_hand import AbilityDevice
from firmware_bridge.hands import _ability_frames as frames
from tests.peers.vendor import VendorClient, vendor_client

N = 500


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> VendorClient:
    return vendor_client(tmp_path_factory.mktemp("vendor"))


def test_every_command_is_the_vendors_byte_for_byte(vendor: VendorClient) -> None:
    chance = random.Random(1)
    orders: list[list[Any]] = []
    ours: list[bytes] = []

    def six(limit: float) -> list[float]:
        return [chance.uniform(-limit, limit) for _ in range(6)]

    for _ in range(N):
        variant = chance.randint(1, 3)
        degrees, speeds, currents, duties = six(150), six(3000), six(5), six(100)
        orders += [
            ["create_pos_msg", variant - 1, degrees],
            ["create_vel_msg", variant - 1, speeds],
            ["create_torque_msg", variant - 1, currents],
            ["create_duty_msg", variant - 1, duties],
        ]
        ours += [
            frames.position_frame(degrees, variant),
            frames.velocity_frame(speeds, variant),
            frames.torque_frame(currents, variant),
            frames.voltage_frame(duties, variant),
        ]
        register, value = chance.randint(0, 100), chance.randint(-(2**31), 2**31 - 1)
        grip, speed = chance.randint(0, 255), chance.randint(0, 255)
        orders += [
            ["create_write_reg_msg", register, value],
            ["create_read_reg_msg", register],
            ["create_grip_msg", grip, speed],
        ]
        ours += [
            frames.write_register_frame(register, value),
            frames.read_register_frame(register),
            frames.grip_frame(grip, speed),
        ]
    for frame, header in (
        (frames.read_frame(1), 0xA0),
        (frames.read_frame(2), 0xA1),
        (frames.read_frame(3), 0xA2),
        (frames.upsampling_frame(True), 0xC2),
        (frames.upsampling_frame(False), 0xC3),
        (frames.leave_frame(), 0x7C),
    ):
        orders.append(["create_misc_msg", header])
        ours.append(frame)
    theirs = vendor.run(encode=orders)["encode"]
    assert [frames.stuffed(frame).hex() for frame in ours] == theirs


def test_it_reads_in_every_reply_what_we_read(vendor: VendorClient) -> None:
    generator = np.random.default_rng(2)
    replies = []
    for i in range(N):
        length = frames.REPLY_LENGTHS[i % 3 + 1]
        replies.append(frames.sealed(bytes([0x10 + i % 3]) + generator.bytes(length - 2)))
    device = AbilityDevice(0, is_stuffed=False)
    device.receive(frames.position_frame([90, 80, 70, 60, 50, -40]), 1_000_000)
    for i in range(30):
        replies += device.receive(frames.read_frame(i % 3 + 1), (i + 1) * 5_000_000)
    for reply, theirs in zip(replies, vendor.run(parse=[r.hex() for r in replies])["parse"], strict=True):
        ours = frames.decode_reply(reply)
        np.testing.assert_allclose(theirs["pos"], ours.positions_deg, rtol=1e-12)
        if ours.currents_a is not None:
            np.testing.assert_allclose(theirs["cur"], ours.currents_a, rtol=1e-12)
        if ours.speeds_deg_per_s is not None:
            np.testing.assert_allclose(theirs["vel"], ours.speeds_deg_per_s, rtol=1e-12)
        if ours.touch is not None:
            np.testing.assert_allclose(theirs["fsr"], frames.touch_newtons(ours.touch).ravel(), rtol=1e-12)
        assert theirs["hot_cold"] == struct.unpack("b", bytes([ours.limited]))[0]


def test_what_it_refuses_we_refuse(vendor: VendorClient) -> None:
    good = frames.sealed(b"\x12" + bytes(range(1, 37)) + b"\0")
    wrong = [good[:-1], good[1:], good[:5] + b"\xff" + good[6:], frames.sealed(b"\x13" + good[1:-1])]
    assert vendor.run(parse=[frame.hex() for frame in wrong])["parse"] == [None] * len(wrong)
    for frame in wrong:
        with pytest.raises(frames.FrameError):
            frames.decode_reply(frame)


def test_it_writes_only_where_it_runs(vendor: VendorClient, tmp_path: Path) -> None:
    elsewhere = VendorClient(vendor.site, tmp_path)
    elsewhere.run(encode=[])
    assert not (Path.cwd() / "config.py").exists()
