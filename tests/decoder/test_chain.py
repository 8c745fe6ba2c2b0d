"""The whole chain: any cutting gives the same bits, a gap restarts it, a bad value stays where it is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from calibration.stepgraph import CausalConv, Dense, StepNetwork, build_step_graph
from decoder.bundle import Bundle
from decoder.chain import ChainEvent, DecodeChain
from decoder.health import Cause
from decoder.intent import Intents
from firmware_bridge.errors import StreamMismatchError
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.bundles import random_bundle
from tests.decoder.chunks import Arrays, Step, assert_any_cut, assert_cut, random_cuts

N = 8_000
RATE_HZ = 10_000.0
HOP = 200  # raw samples: 20 ms


@cache
def subject() -> SimulatedSubject:
    return SimulatedSubject(2, n_channels=5, rate_hz=RATE_HZ, schedule=Schedule(repetitions=1))


@cache
def nerve() -> NDArray[np.float32]:
    return subject().samples(0, N).astype(np.float32) * np.float32(SCALE_UV)


@cache
def bundle() -> Bundle:
    return random_bundle(subject().info, nerve())


@cache
def envelope() -> tuple[StreamInfo, NDArray[np.float32], Bundle]:
    info = StreamInfo(100.0, tuple("abcd"), "envelope")
    samples = np.abs(np.random.default_rng(0).standard_normal((3000, 4)).cumsum(0)).astype(np.float32)
    return info, samples, random_bundle(info, samples, n_outputs=2)


def arrays(intents: Intents) -> Arrays:
    return (
        intents.sample_index,
        intents.outputs,
        intents.positions,
        intents.gesture,
        intents.probability,
        intents.warming,
        intents.healthy_fraction,
    )


def stepper(made: Bundle, info: StreamInfo) -> Step:
    chain = DecodeChain(made, info)

    def step(piece: NDArray[np.float32], first: int) -> Arrays:
        return arrays(chain.process(SignalBlock(piece, first)))

    return step


def hurt(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A burst that is not finite on one channel, a railed one, and a channel that goes flat."""
    bad = samples.copy()
    bad[1500:1520, 0] = np.nan
    bad[3000:3003, 1] = np.inf
    bad[4000:4300, 2] = 1e9
    bad[5000:, 3] = 7.0
    return bad


@pytest.mark.parametrize("damage", [False, True])
def test_any_cutting_of_a_raw_stream_gives_the_same_bits(damage: bool) -> None:
    samples = hurt(nerve()) if damage else nerve()
    assert_any_cut(lambda: stepper(bundle(), subject().info), [samples])


def test_any_cutting_of_an_envelope_gives_the_same_bits() -> None:
    info, samples, made = envelope()
    assert_any_cut(lambda: stepper(made, info), [samples])


@settings(max_examples=15, deadline=None)
@given(random_cuts(N))
def test_random_cuts_give_the_same_bits(cuts: list[int]) -> None:
    assert_cut(lambda: stepper(bundle(), subject().info), [hurt(nerve())], cuts)


def test_a_start_elsewhere_keeps_the_grid_of_hops() -> None:
    first = 12_345
    chain = DecodeChain(bundle(), subject().info)
    intents = chain.process(SignalBlock(nerve(), first))
    assert ((intents.sample_index + 1) % HOP == 0).all()
    assert (np.diff(intents.sample_index) == HOP).all()
    assert intents.sample_index[0] >= first + 1000 - 1  # a whole window of 0.1 s


def test_it_warms_for_the_declared_time_after_a_start_and_after_a_gap() -> None:
    events: list[ChainEvent] = []
    chain = DecodeChain(bundle(), subject().info, events.append)
    before = chain.process(SignalBlock(nerve()[:4000], 0))
    after = chain.process(SignalBlock(nerve()[4500:], 4500, lost_before=500))
    assert before.warming.tolist() == (before.sample_index < 2000).tolist()
    assert after.warming.tolist() == (after.sample_index < 4500 + 2000).tolist()
    assert [(event.kind, event.sample_index) for event in events] == [("gap", 4500)]
    assert "500 samples lost" in events[0].text


def test_after_a_gap_it_answers_as_if_it_had_started_there() -> None:
    chain = DecodeChain(bundle(), subject().info)
    chain.process(SignalBlock(nerve()[:4000], 0))
    after = chain.process(SignalBlock(nerve()[4500:], 4500, lost_before=500))
    fresh = DecodeChain(bundle(), subject().info).process(SignalBlock(nerve()[4500:], 4500))
    for a, b in zip(arrays(after), arrays(fresh), strict=True):
        assert a.tobytes() == b.tobytes()


def test_what_is_not_finite_never_reaches_an_intent_and_lowers_the_healthy_share() -> None:
    intents = DecodeChain(bundle(), subject().info).process(SignalBlock(hurt(nerve()), 0))
    for values in (intents.outputs, intents.positions, intents.probability):
        assert np.isfinite(values).all()
    assert intents.healthy_fraction.min() == pytest.approx(0.6)  # two of five channels at the worst moment
    assert intents.healthy_fraction[0] == 1.0


def broken_bundle() -> Bundle:
    """A decoder whose network overflows at a large first feature, and remembers that for a hop."""
    n = bundle().normalisation.n_features
    weight = np.zeros((2, n, 4), np.float32)
    weight[:, 0] = 3e38
    broken = StepNetwork(
        (CausalConv(weight, np.zeros(4, np.float32)),),
        Dense(np.full((4, 6), np.float32(1e-38)), np.zeros(6, np.float32)),
        Dense(np.full((4, 3), np.float32(-1e-38)), np.zeros(3, np.float32)),
    )
    return replace(bundle(), step_graph=build_step_graph(broken))


def test_an_answer_that_is_not_finite_stays_visible_and_is_forgotten_before_the_next_hop() -> None:
    events: list[ChainEvent] = []
    chain = DecodeChain(broken_bundle(), subject().info, events.append)
    intents = chain.process(SignalBlock(nerve(), 0))
    bad = ~np.isfinite(intents.outputs).all(1)
    assert 0 < bad.sum() < len(bad)
    assert [event.sample_index for event in events] == intents.sample_index[bad].tolist()
    assert {event.kind for event in events} == {"fault"}
    warmup = round(bundle().manifest.warmup_s * RATE_HZ)
    last = intents.sample_index[bad][-1]
    after = intents.sample_index[intents.sample_index > last]
    assert intents.warming[intents.sample_index > last].tolist() == (after <= last + warmup).tolist()
    assert chain.raw is not None
    assert len(chain.raw) == len(intents)


def test_where_an_answer_is_not_finite_any_cutting_gives_the_same_bits_too() -> None:
    made = broken_bundle()
    assert_any_cut(lambda: stepper(made, subject().info), [nerve()])


def test_integer_samples_with_a_scale_are_the_same_stream() -> None:
    counts = subject().samples(0, N)
    integers = DecodeChain(bundle(), subject().info).process(SignalBlock(counts, 0, scale_uv=SCALE_UV))
    floats = DecodeChain(bundle(), subject().info).process(SignalBlock(nerve(), 0))
    assert integers.outputs.tobytes() == floats.outputs.tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rate_hz": 9000.0},
            "sampling rate in Hz: this decoder was made for 10000.0, the stream has 9000.0",
        ),
        ({"kind": "emg"}, "kind: this decoder was made for nerve, the stream has emg"),
        ({"electrodes": ("x", "y", "z", "u", "v")}, "electrode map"),
        ({"channel_names": tuple("abcde")}, "channel names"),
        ({"channel_names": tuple("abcd"), "electrodes": ()}, "number of channels: .* 5, the stream has 4"),
    ],
)
def test_another_stream_is_refused_naming_both_sides(change: dict[str, object], said: str) -> None:
    with pytest.raises(StreamMismatchError, match=said):
        DecodeChain(bundle(), replace(subject().info, **change))


def test_a_block_of_another_width_is_refused() -> None:
    with pytest.raises(StreamMismatchError, match="5 channels"):
        DecodeChain(bundle(), subject().info).process(SignalBlock(nerve()[:, :4], 0))


def test_an_intent_is_there_two_milliseconds_after_its_last_sample_came_and_names_that_sample() -> None:
    chain = DecodeChain(bundle(), subject().info)
    assert chain.front_end.delay == 20
    first = HOP * 6
    assert len(chain.process(SignalBlock(nerve()[: first + 19], 0))) == 1  # the window ends at 1000
    assert len(chain.process(SignalBlock(nerve()[first + 19 : first + 20], first + 19))) == 1
    rest = chain.process(SignalBlock(nerve()[first + 20 :], first + 20))
    assert rest.sample_index.tolist() == list(range(first + HOP - 1, N - 20, HOP))


@pytest.mark.parametrize("lost", [1, 20, 57, 200])
def test_a_loss_of_up_to_20_ms_restarts_nothing_and_no_hop_is_missing(lost: int) -> None:
    events: list[ChainEvent] = []
    chain = DecodeChain(bundle(), subject().info, events.append)
    parts = [
        chain.process(SignalBlock(nerve()[:4000], 0)),
        chain.process(SignalBlock(nerve()[4000 + lost :], 4000 + lost, lost_before=lost)),
    ]
    whole = DecodeChain(bundle(), subject().info).process(SignalBlock(nerve(), 0))
    index = np.concatenate([part.sample_index for part in parts])
    assert index.tolist() == whole.sample_index.tolist()
    assert np.concatenate([p.warming for p in parts]).tolist() == whole.warming.tolist()
    assert np.concatenate([p.healthy_fraction for p in parts]).min() == 1.0
    assert [(event.kind, event.first, event.restarts) for event in events] == [("filled", lost, False)]


def test_with_one_frame_of_5_ms_in_a_hundred_lost_the_decoder_goes_on_and_answers_nearly_the_same() -> None:
    events: list[ChainEvent] = []
    chain = DecodeChain(bundle(), subject().info, events.append)
    rng = np.random.default_rng(0)
    frames = [SignalBlock(nerve()[a : a + 50], a) for a in range(0, N, 50)]
    parts = [chain.process(frame) for i, frame in enumerate(frames) if i == 0 or rng.random() >= 0.01]
    whole = DecodeChain(bundle(), subject().info).process(SignalBlock(nerve(), 0))
    outputs = np.concatenate([part.outputs for part in parts])
    assert {event.kind for event in events} == {"filled"}
    assert len(outputs) == len(whole)
    assert np.abs(outputs - whole.outputs).mean() < 0.1 * whole.outputs.std()


@pytest.mark.parametrize("block", [50, 500])
def test_losses_are_said_at_once_and_then_once_a_second_with_their_number_however_blocks_are_cut(
    block: int,
) -> None:
    events: list[ChainEvent] = []
    chain = DecodeChain(bundle(), subject().info, events.append)
    lost = {2000: 50, 4000: 20, 5000: 7, 14_000: 3}
    samples = np.concatenate([nerve()] * 3)
    first = 0
    while first < len(samples):
        first += lost.get(first, 0)
        stop = min([at for at in lost if at > first] + [first + block, len(samples)])
        chain.process(SignalBlock(samples[first:stop], first))
        first = stop
    assert [(event.sample_index, event.kind, event.first) for event in events if event.kind == "filled"] == [
        (2050, "filled", 50),
        (5007, "filled", 27),
        (14_003, "filled", 3),
    ]


def test_masks_are_told_with_channel_and_cause() -> None:
    events: list[ChainEvent] = []
    info = subject().info
    DecodeChain(bundle(), info, events.append).process(SignalBlock(hurt(nerve()), 0))
    told = [(event.kind, event.first, event.second) for event in events]
    assert ("masked", 0, int(Cause.NOT_FINITE)) in told
    assert ("masked", 2, int(Cause.RAILED)) in told
    assert f"{info.channel_names[2]} masked: railed" in [event.text for event in events]
    assert not any(event.restarts for event in events)


def test_other_health_settings_serve_a_comparison() -> None:
    hurt_nerve = hurt(nerve())
    hurt_nerve[4000:, 2] = 1000.0
    off = bundle().health.without_masking()
    intents = DecodeChain(bundle(), subject().info, health=off).process(SignalBlock(hurt_nerve, 0))
    assert intents.healthy_fraction[-1] == 1.0
    assert (
        DecodeChain(bundle(), subject().info).process(SignalBlock(hurt_nerve, 0)).healthy_fraction[-1] < 0.8
    )
