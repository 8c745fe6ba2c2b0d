"""Intents files: what goes in comes out, and nothing half-written stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from decoder.intent import IntentDigest, Intents
from decoder.session import Session
from decoder.session.intents import read_intents_file, write_intents
from firmware_bridge.errors import NervehandError


def pieces(intents: Intents, sizes: list[int]) -> Iterator[Intents]:
    at = 0
    for size in sizes:
        k = slice(at, at + size)
        yield Intents(
            intents.sample_index[k],
            intents.outputs[k],
            intents.positions[k],
            intents.gesture[k],
            intents.probability[k],
            intents.warming[k],
            intents.healthy_fraction[k],
        )
        at += size


def digest(intents: Intents) -> str:
    running = IntentDigest()
    running.update(intents)
    return running.hexdigest()


@pytest.mark.parametrize("sizes", [[40], [0, 1, 0, 39], [1] * 40])
def test_intents_come_back_bit_for_bit(
    session: Session, intents: Intents, tmp_path: Path, sizes: list[int]
) -> None:
    path = tmp_path / "i.nwb"
    blocks = pieces(intents, sizes)
    assert write_intents(path, session, "b" * 64, ("u", "v"), ("rest", "x", "y"), blocks) == 40
    read = read_intents_file(path)
    assert digest(read.intents) == digest(intents)
    assert np.array_equal(read.intents.positions, intents.positions)
    assert np.array_equal(read.intents.warming, intents.warming)
    assert np.array_equal(read.intents.healthy_fraction, intents.healthy_fraction)
    assert (read.session, read.bundle) == ("s-1", "b" * 64)
    assert (read.output_names, read.gesture_names) == (("u", "v"), ("rest", "x", "y"))
    assert os.listdir(tmp_path) == ["i.nwb"]


def test_a_replay_that_fails_leaves_no_file(session: Session, intents: Intents, tmp_path: Path) -> None:
    def failing() -> Iterator[Intents]:
        yield intents
        raise NervehandError("the engine stopped")

    with pytest.raises(NervehandError, match="the engine stopped"):
        write_intents(tmp_path / "i.nwb", session, "b", ("u", "v"), ("rest",), failing())
    assert os.listdir(tmp_path) == []


def test_a_session_is_not_an_intents_file(written: Path) -> None:
    with pytest.raises(NervehandError, match="holds no intents"):
        read_intents_file(written)
