"""A hand that wants a bond: paired with once, encrypted ever after, and nothing goes out before."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.bumble_bonds import Bonds
from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.hand import LinkState
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.hands.virtual_process import VirtualHandProcess, virtual_hand_process

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def process() -> Iterator[VirtualHandProcess]:
    with virtual_hand_process(arguments=["--bonded"]) as process:
        yield process


@pytest.fixture
def bonds(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bonds.json"


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def hand_of(process: VirtualHandProcess, bonds: Path | None) -> VirtualHand:
    return VirtualHand(process.address, process.transport, link_timeout_s=4 * PATIENCE_S, bonds=bonds)


def why_not(hand: VirtualHand) -> str:
    """Once it had the time to answer."""
    for timeout_s in (1.0, 5.0, PATIENCE_S):
        with pytest.raises(LinkError) as raised:
            hand.connect(timeout_s)
        if "bond" in str(raised.value):
            break
    return str(raised.value)


def test_it_is_paired_with_once_and_the_link_is_encrypted_with_the_same_keys_ever_after(
    process: VirtualHandProcess, bonds: Path
) -> None:
    hand = hand_of(process, bonds)
    hand.connect(PATIENCE_S)
    keys = json.loads(bonds.read_text())
    (peers,) = keys.values()
    assert list(peers) == [process.address]
    process.order("disconnect")
    until(lambda: hand.counters.connections == 2)
    hand.close()
    again = hand_of(process, bonds)
    again.connect(PATIENCE_S)
    assert again.link is LinkState.CONNECTED
    again.close()
    assert json.loads(bonds.read_text()) == keys


def test_a_hand_with_a_public_address_is_known_again_by_it(bonds: Path) -> None:
    arguments = ["--bonded", "--address", "00:1A:7D:DA:71:13/P"]
    with virtual_hand_process(arguments=arguments) as process:
        for _ in range(2):
            hand = hand_of(process, bonds)
            hand.connect(PATIENCE_S)
            hand.close()
            (peers,) = json.loads(bonds.read_text()).values()
            assert list(peers) == ["00:1A:7D:DA:71:13/P"]


def test_its_keys_are_for_nobody_elses_eyes(process: VirtualHandProcess, bonds: Path) -> None:
    hand = hand_of(process, bonds)
    hand.connect(PATIENCE_S)
    hand.close()
    assert stat.S_IMODE(bonds.stat().st_mode) == 0o600
    assert stat.S_IMODE(bonds.parent.stat().st_mode) == 0o700
    assert [path.name for path in bonds.parent.iterdir()] == [bonds.name]


def test_without_a_bond_it_says_what_it_wants(process: VirtualHandProcess) -> None:
    assert why_not(hand_of(process, None)).endswith("it wants an encrypted link: connect to it as bonded")


def test_a_hand_that_forgot_its_bond_is_not_quietly_paired_with_again(
    process: VirtualHandProcess, bonds: Path
) -> None:
    hand = hand_of(process, bonds)
    hand.connect(PATIENCE_S)
    hand.close()
    keys = bonds.read_text()
    with virtual_hand_process(arguments=["--bonded"]) as stranger:
        assert "does not know its bond any more" in why_not(hand_of(stranger, bonds))
    assert bonds.read_text() == keys


def test_bonds_that_cannot_be_read_are_not_overwritten(bonds: Path) -> None:
    bonds.parent.mkdir()
    bonds.write_text("{")
    with pytest.raises(NervehandError, match=r"the bonds in .* cannot be read: .*: move the file away"):
        Bonds(bonds)
    assert bonds.read_text() == "{"
