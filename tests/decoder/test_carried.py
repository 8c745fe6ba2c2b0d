"""What a chain carries can be stored and gone on from, at any sample, bit for bit; what is damaged is refused."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes
from numpy.typing import NDArray

from calibration.stepgraph import Dense, StepNetwork, build_step_graph
from decoder.bundle import Bundle
from decoder.carried import (
    from_bytes,
    packed,
    part,
    real,
    refill,
    refill_to_next,
    to_bytes,
    under,
    whole,
    whole_or_none,
)
from decoder.chain import ChainEvent, DecodeChain
from decoder.decision import DecisionSettings
from decoder.intent import IntentDigest
from firmware_bridge.errors import NervehandError
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.bundles import random_bundle

N = 9_000
GAP = 700  # samples: more than is bridged


@cache
def nerve() -> tuple[StreamInfo, NDArray[np.float32], Bundle]:
    subject = SimulatedSubject(2, n_channels=5, rate_hz=10_000.0, schedule=Schedule(repetitions=1))
    clean = subject.samples(0, N).astype(np.float32) * np.float32(SCALE_UV)
    made = random_bundle(subject.info, clean)
    hurt = clean.copy()
    hurt[1500:1520, 0] = np.nan
    hurt[3000:3003, 1] = np.inf
    hurt[4000:4300, 2] = 1e9
    hurt[5000:6000, 3] = 7.0
    return subject.info, hurt, made


@cache
def envelope() -> tuple[StreamInfo, NDArray[np.float32], Bundle]:
    info = StreamInfo(100.0, tuple("abcd"), "envelope")
    samples = np.abs(np.random.default_rng(0).standard_normal((N, 4)).cumsum(0)).astype(np.float32)
    samples[3000:3100, 1] = np.nan
    return info, samples, random_bundle(info, samples, n_outputs=2)


@cache
def emg() -> tuple[StreamInfo, NDArray[np.float32], Bundle]:
    info = StreamInfo(2000.0, tuple("abc"), "emg", mains_hz=50.0)
    samples = (np.random.default_rng(1).standard_normal((N, 3)) * 30).astype(np.float32)
    samples[3000:3500, 2] = 0.0
    return info, samples, random_bundle(info, samples)


STREAMS = {"nerve": nerve, "envelope": envelope, "emg": emg}


def blocks(samples: NDArray[np.float32], cuts: list[int], begin: int, end: int) -> list[SignalBlock]:
    """The samples from `begin` to `end`, cut, without those of a gap in the middle."""
    gap = (6500, 6500 + GAP)
    edges = sorted({begin, end, *(cut for cut in [*cuts, *gap] if begin < cut < end)})
    pairs = itertools.pairwise(edges)
    return [SignalBlock(samples[a:b], a) for a, b in pairs if not gap[0] <= a < gap[1]]


def digest(chain: DecodeChain, given: list[SignalBlock]) -> str:
    found = IntentDigest()
    for block in given:
        found.update(chain.process(block))
    return found.hexdigest()


@pytest.mark.parametrize("kind", STREAMS)
@settings(max_examples=12, deadline=None)
@given(at=st.integers(1, N - 1), cuts=st.lists(st.integers(1, N - 1), max_size=6))
def test_a_chain_that_goes_on_from_what_another_carried_gives_the_same_bits(
    kind: str, at: int, cuts: list[int]
) -> None:
    info, samples, made = STREAMS[kind]()
    heard: list[ChainEvent] = []
    heard_after: list[ChainEvent] = []
    first = DecodeChain(made, info, heard.append)
    for block in blocks(samples, cuts, 0, at):
        first.process(block)
    stored = to_bytes(first.carried())
    heard.clear()
    expected = digest(first, blocks(samples, [], at, N))
    # Not a new one: whatever restoring forgets is left from another stretch of the signal.
    second = DecodeChain(made, info, heard_after.append)
    second.process(SignalBlock(samples[::-1].copy()[: N // 2], 123))
    heard_after.clear()
    second.restore(from_bytes(stored))
    assert digest(second, blocks(samples, cuts, at, N)) == expected
    assert heard_after == heard


def test_taking_what_is_carried_changes_nothing() -> None:
    info, samples, made = nerve()
    plain, asked = DecodeChain(made, info), DecodeChain(made, info)
    found = IntentDigest()
    for block in blocks(samples, list(range(0, N, 250)), 0, N):
        asked.carried()
        found.update(asked.process(block))
    assert found.hexdigest() == digest(plain, blocks(samples, [], 0, N))


def test_what_is_carried_are_copies() -> None:
    info, samples, made = nerve()
    chain = DecodeChain(made, info)
    chain.process(SignalBlock(samples[:4000], 0))
    carried = chain.carried()
    before = to_bytes(carried)
    chain.process(SignalBlock(samples[4000:], 4000))
    assert to_bytes(carried) == before


def test_a_chain_before_its_first_sample_can_be_stored_too() -> None:
    info, samples, made = nerve()
    stored = from_bytes(to_bytes(DecodeChain(made, info).carried()))
    chain = DecodeChain(made, info)
    chain.process(SignalBlock(samples, 0))
    chain.restore(stored)
    assert digest(chain, blocks(samples, [], 0, N)) == digest(
        DecodeChain(made, info), blocks(samples, [], 0, N)
    )


def test_another_decoders_state_is_refused_and_the_chain_begins_anew() -> None:
    info, samples, made = nerve()
    _, _, other = emg()
    carried = DecodeChain(other, emg()[0]).carried()
    chain = DecodeChain(made, info)
    chain.process(SignalBlock(samples[:4000], 0))
    with pytest.raises(NervehandError, match="state"):
        chain.restore(carried)
    fresh = DecodeChain(made, info)
    assert digest(chain, [SignalBlock(samples, 50_000)]) == digest(fresh, [SignalBlock(samples, 50_000)])


@pytest.mark.parametrize("name", ["warm_from", "engine.0", "front_end.health.lanes", "decision.level"])
def test_a_state_that_lacks_a_part_is_refused(name: str) -> None:
    info, samples, made = nerve()
    chain = DecodeChain(made, info)
    chain.process(SignalBlock(samples, 0))
    carried = dict(chain.carried())
    del carried[name]
    with pytest.raises(NervehandError, match="carried state"):
        chain.restore(carried)


def test_other_settings_of_the_decision_hold_from_the_next_hop_on_and_nothing_jumps() -> None:
    info, samples, made = nerve()
    slower = replace(made.manifest.decision, min_cutoff_hz=0.05, speed_gain=0.0)
    as_it_is, changed = DecodeChain(made, info), DecodeChain(made, info)
    head, tail = SignalBlock(samples[:4000], 0), SignalBlock(samples[4000:6000], 4000)
    last = as_it_is.process(head).outputs[-1]
    changed.process(head)
    changed.decide_by(slower)
    usual, slow = as_it_is.process(tail).outputs, changed.process(tail).outputs
    assert np.abs(slow[0] - last).max() < 0.1 * np.abs(usual - last).max()
    straight_away = DecodeChain(made, info, decision=slower)
    straight_away.restore(DecodeChain(made, info, decision=slower).carried())
    assert (straight_away.process(head).outputs != as_it_is.process(head).outputs).any()


def test_a_chain_with_other_settings_goes_on_from_a_state_of_theirs() -> None:
    info, samples, made = nerve()
    mine = DecisionSettings(min_cutoff_hz=0.5)
    first, second = DecodeChain(made, info, decision=mine), DecodeChain(made, info, decision=mine)
    first.process(SignalBlock(samples[:4000], 0))
    second.restore(first.carried())
    assert digest(first, blocks(samples, [], 4000, N)) == digest(second, blocks(samples, [], 4000, N))


def test_a_network_that_remembers_nothing_has_nothing_to_store() -> None:
    info, samples, made = nerve()
    rng = np.random.default_rng(0)

    def dense(n_in: int, n_out: int) -> Dense:
        return Dense(rng.standard_normal((n_in, n_out)).astype(np.float32), np.zeros(n_out, np.float32))

    n = made.normalisation.n_features
    network = StepNetwork((dense(n, 8),), dense(8, 6), dense(8, len(made.manifest.gestures)))
    plain = replace(made, step_graph=build_step_graph(network))
    first, second = DecodeChain(plain, info), DecodeChain(plain, info)
    first.process(SignalBlock(samples[:4000], 0))
    second.restore(from_bytes(to_bytes(first.carried())))
    assert digest(first, blocks(samples, [], 4000, N)) == digest(second, blocks(samples, [], 4000, N))


ARRAYS = st.dictionaries(
    st.text(max_size=8),
    arrays(
        st.one_of(floating_dtypes(endianness="="), integer_dtypes(endianness="=")), array_shapes(min_side=0)
    ),
    max_size=4,
)


@given(ARRAYS)
def test_any_arrays_come_back_from_bytes(state: dict[str, NDArray[np.generic]]) -> None:
    back = from_bytes(to_bytes(state))
    assert list(back) == list(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


@given(st.binary(max_size=200), st.data())
def test_damaged_bytes_are_one_clear_error_or_the_same_form(junk: bytes, data: st.DataObject) -> None:
    good = to_bytes({"a": np.arange(5.0), "b": np.arange(3)})
    at = data.draw(st.integers(0, len(good)))
    for bad in (junk, good[:at], good + junk[:1] + b"x", good[:at] + junk + good[at + len(junk) :]):
        with contextlib.suppress(NervehandError):  # any other error fails here
            assert len(to_bytes(from_bytes(bad))) == len(bad)


def test_numbers_come_back_as_what_they_were() -> None:
    state = packed({}, count=3, nothing=None, share=0.5)
    assert (whole(state, "count"), whole_or_none(state, "nothing"), real(state, "share")) == (3, None, 0.5)
    for read, name in ((whole, "nothing"), (whole, "share"), (real, "count"), (whole, "missing")):
        with pytest.raises(NervehandError, match=name):
            read(state, name)


def test_parts_keep_to_their_own_names() -> None:
    state = {**under("a", {"x": np.ones(1)}), **under("ab", {"x": np.zeros(1)})}
    assert part("a", state)["x"] == 1.0
    assert part("ab", state)["x"] == 0.0


def test_nothing_is_refilled_where_one_array_does_not_fit() -> None:
    mine = {"x": np.zeros(2), "y": np.zeros(3)}
    with pytest.raises(NervehandError, match="y is float64"):
        refill(mine, {"x": np.ones(2), "y": np.ones(4)})
    assert not mine["x"].any()


def test_the_next_sample_comes_back_with_the_arrays_and_without_it_nothing_does() -> None:
    mine = {"x": np.zeros(2)}
    with pytest.raises(NervehandError, match="no next"):
        refill_to_next(mine, {"x": np.ones(2)})
    assert mine["x"].tolist() == [0.0, 0.0]
    assert refill_to_next(mine, packed({"x": np.ones(2)}, next=7)) == 7
    assert mine["x"].tolist() == [1.0, 1.0]
    assert refill_to_next(mine, packed({"x": np.ones(2)}, next=None)) is None
