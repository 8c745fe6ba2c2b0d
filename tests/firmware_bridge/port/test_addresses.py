"""Addresses of ports, and which of them stay on this machine."""

from __future__ import annotations

import pytest

from firmware_bridge.port.addresses import is_loopback, joined, split


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.255.0.9", "::1", "localhost"])
def test_only_this_machine_reaches_its_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "192.0.2.1",
        "128.0.0.1",
        "fe80::1%eth0",
        "::ffff:192.0.2.1",
        "nano",
        "localhost.example",
    ],
)
def test_whatever_else_may_be_reached_by_others(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("address", ["127.0.0.1:4711", "[::1]:4711", "nano:1"])
def test_an_address_is_its_two_parts(address: str) -> None:
    assert joined(*split(address)) == address
