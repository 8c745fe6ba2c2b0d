"""`nervehand hand scan`: hands that advertise, serial ports, and a machine without Bluetooth."""

from __future__ import annotations

import json

import pytest

from firmware_bridge.errors import LinkError
from firmware_bridge.hands._scan import FoundHand
from firmware_bridge.hands.virtual_process import virtual_hand_process
from firmware_bridge.sources import serial
from nervehand import hand_scan
from tests.nervehand.conftest import Run


def test_a_hand_that_advertises_is_found_with_the_address_to_use(run: Run) -> None:
    with virtual_hand_process() as hand:
        words = ("hand", "scan", "--transport", hand.transport, "--seconds", "3")
        found = json.loads(run(*words, "--json").out)
        assert f"virtual:{hand.address}" in [one["address"] for one in found["near"]]
        assert found["bluetooth_problem"] == ""
        assert f"virtual:{hand.address}" in run(*words).out


def test_without_bluetooth_the_serial_ports_are_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(transport: str | None, timeout_s: float, everything: bool) -> tuple[FoundHand, ...]:
        raise LinkError("no adapter: switch it on")

    monkeypatch.setattr(hand_scan, "scan", fails)
    monkeypatch.setattr(hand_scan.serial, "find", lambda: (serial.Found("serial:/dev/ttyUSB7", "FT232R"),))
    found = json.loads(run("hand", "scan", "--json").out)
    assert found["serial_ports"] == [{"port": "/dev/ttyUSB7", "description": "FT232R"}]
    assert found["bluetooth_problem"] == "no adapter: switch it on"
    said = run("hand", "scan").out
    assert "/dev/ttyUSB7" in said
    assert "no adapter: switch it on" in said
    assert "inspire:/dev/ttyUSB0" in said


def test_what_is_no_known_hand_is_told_as_such(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = (FoundHand("11:22:33:44:55:66", "Kettle", -60, ""),)
    monkeypatch.setattr(hand_scan, "scan", lambda transport, seconds, everything: heard)
    monkeypatch.setattr(hand_scan.serial, "find", lambda: ())
    said = run("hand", "scan", "--all").out
    assert "11:22:33:44:55:66 (no hand known here)" in said
    assert "serial ports: none over USB" in said
