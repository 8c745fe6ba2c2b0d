"""The fuzzed parsers take what our own code makes, and what blind changes make of it. No fuzzer is needed here."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.__main__ import said
from tests.fuzz.registry import TARGETS, Target, chosen

N_CHANGED = 30


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_target_takes_its_own_seeds_and_changed_ones(target: Target) -> None:
    module = target.load()
    seeds = list(module.seeds())
    assert seeds
    assert all(len(seed) <= target.max_len for seed in seeds)
    for seed in seeds:
        module.check(seed)
    chance = random.Random(1)
    for _ in range(N_CHANGED):
        module.check(changed(chance.choice(seeds), chance))


def changed(data: bytes, chance: random.Random) -> bytes:
    """A few bytes replaced, taken out, put in or doubled."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, n = chance.randrange(len(out) + 1), chance.randint(1, 8)
        match chance.randrange(4):
            case 0:
                out[at : at + n] = chance.randbytes(n)
            case 1:
                del out[at : at + n]
            case 2:
                out[at:at] = chance.randbytes(n)
            case _:
                out[at:at] = out[at : at + n]
    return bytes(out)


def test_every_target_is_listed_once_and_found_by_its_name() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    assert [target.name for target in chosen("intan")] == ["intan-waveforms", "intan-commands"]


def test_a_finding_is_named_by_its_error_and_its_place() -> None:
    output = """INFO: seed corpus
 === Uncaught Python exception: ===
KeyError: 'x'
Traceback (most recent call last):
  File "/somewhere/tests/fuzz/targets/bundle.py", line 10, in check
  File "/somewhere/decoder/bundle.py", line 42, in unpack
==123== ERROR: libFuzzer: fuzz target exited
"""
    assert said(output) == "KeyError: 'x' (bundle.py:42)"
    assert said("==1== ERROR: libFuzzer: timeout after 20 seconds\n") == "timeout after 20 seconds"
