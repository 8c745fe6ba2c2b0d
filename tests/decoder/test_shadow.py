"""A decoder in shadow moves nothing, is compared, and takes over only where and when its owner lets it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stepgraph import CausalConv, Dense, StepNetwork, build_step_graph
from decoder import deployable
from decoder.bundle import Bundle, pack, unpack
from decoder.chain import DecodeChain
from decoder.decision import DecisionSettings
from decoder.intent import IntentDigest, Intents
from decoder.shadow import Decoder, ShadowEvent, ShadowRules, Shadows, candidate
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock
from tests.bundles import random_bundle

RATE_HZ = 5000.0
BLOCK = 25
RULES = ShadowRules(least_s=1.0, rest_position=0.1, longest_wait_s=1.0)
RESTING = DecisionSettings(reject_below=1.0)  # nothing is ever sure enough: rest


@cache
def subject() -> SimulatedSubject:
    return SimulatedSubject(2, n_channels=4, rate_hz=RATE_HZ, schedule=Schedule(repetitions=1))


@cache
def made(seed: int = 0) -> Bundle:
    """Decides rest, always; another one for each seed."""
    bundle = random_bundle(subject().info, subject().samples(0, 10_000), SCALE_UV, seed=seed)
    bundle = replace(
        bundle,
        manifest=bundle.manifest.model_copy(update={"decision": RESTING}),
        position_map=replace(bundle.position_map, matrix=bundle.position_map.matrix * 0.01),
    )
    return unpack(pack(bundle))


class Acting(Decoder):
    """A decoder whose first position is what `acts` says at each sample, and whose gesture follows from it."""

    def __init__(self, bundle: Bundle, acts: Callable[[int], float]) -> None:
        super().__init__(bundle, subject().info)
        self._acts = acts

    def process(self, block: SignalBlock) -> Intents:
        intents = super().process(block)
        positions, gesture = intents.positions.copy(), intents.gesture.copy()
        for k, index in enumerate(intents.sample_index.tolist()):
            positions[k, 0] = self._acts(index)
            gesture[k] = abs(positions[k, 0]) > 0.5
        return replace(intents, positions=positions, gesture=gesture)


class Failing(Decoder):
    """A decoder that raises from a sample on."""

    def process(self, block: SignalBlock) -> Intents:
        if block.first_sample > 10_000:
            raise RuntimeError("a bug in somebody's decoder")
        return super().process(block)


class Run:
    """An owner: decodes block by block with whichever decoder is deployed."""

    def __init__(self, deployed: Decoder | None = None, rules: ShadowRules = RULES) -> None:
        self.deployed = deployed or Decoder(made(), subject().info)
        self.events: list[ShadowEvent] = []
        self.answers: list[str] = []
        self.intents: list[Intents] = []
        self.obstacle = ""
        self.now_ns = 0
        self.next = 0
        self.shadows = Shadows(
            self.deployed,
            subject().info,
            self.events.append,
            rules,
            lambda: self.obstacle,
            lambda: self.now_ns,
        )

    def decode(self, seconds: float, arrival_ns: int = 0) -> None:
        for _ in range(round(seconds * RATE_HZ / BLOCK)):
            block = subject().block(self.next, BLOCK)
            block = replace(block, arrival_ns=arrival_ns)
            self.next += BLOCK
            intents = self.deployed.process(block)
            self.intents.append(intents)
            successor = self.shadows.after(block, intents)
            if successor is not None:
                self.deployed = successor

    def push(self, decoder: Decoder, who: str = "laptop") -> None:
        self.shadows.offer(decoder, who)
        self.decode(BLOCK / RATE_HZ)

    def ask(self, role: str = "candidate", expires_ns: int = 1) -> None:
        self.shadows.ask(role, "somebody", self.answers.append, expires_ns)
        self.decode(BLOCK / RATE_HZ)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def positions(self) -> np.ndarray:
        return np.concatenate([intents.positions for intents in self.intents])


def decoder(seed: int = 1) -> Decoder:
    return Decoder(made(seed), subject().info)


def switched(run: Run, newcomer: Decoder) -> None:
    """Pushed, run for long enough, and taken over."""
    run.push(newcomer)
    run.decode(1.5)
    run.ask()
    run.decode(0.1)
    assert run.answers[-1:] == [""]
    assert run.deployed is newcomer


def test_a_decoder_in_shadow_changes_nothing_of_what_is_decided() -> None:
    alone, beside = Run(), Run()
    beside.push(decoder())
    alone.decode(BLOCK / RATE_HZ)
    digests = []
    for run in (alone, beside):
        run.decode(2.0)
        digest = IntentDigest()
        for intents in run.intents:
            digest.update(intents)
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]
    assert beside.shadows.states()[0].hops > 90


def test_the_same_decoder_agrees_with_itself_in_everything() -> None:
    run = Run()
    run.push(Decoder(made(), subject().info))
    run.decode(2.0)
    (state,) = run.shadows.states()
    assert state.compared > 80
    assert (state.gesture_agreement, state.position_difference) == (1.0, 0.0)
    assert state.seconds == pytest.approx(2.0 - 0.2, abs=0.1)
    assert not state.is_warming
    assert state.is_resting
    assert state.compute_us is not None
    assert 0 < state.compute_us[0] <= state.compute_us[1]
    assert state.missing == ()


def test_another_one_is_compared_hop_by_hop() -> None:
    half = round(2 * RATE_HZ)
    run = Run()
    run.push(Acting(made(1), lambda index: 0.9 if index > half else 0.0))
    run.decode(4.0)
    (state,) = run.shadows.states()
    assert state.gesture_agreement == pytest.approx(0.5, abs=0.1)
    assert state.position_difference == pytest.approx(0.9 / 6 / 2, abs=0.02)


def test_decoders_of_other_hops_are_compared_at_the_samples_that_both_decide() -> None:
    slower = made(1)
    features = slower.manifest.features
    manifest = slower.manifest.model_copy(
        update={
            "features": features.model_copy(
                update={"settings": replace(features.settings, hop_samples=2 * features.settings.hop_samples)}
            )
        }
    )
    run = Run()
    run.push(Decoder(replace(slower, manifest=manifest), subject().info))
    run.decode(2.0)
    (state,) = run.shadows.states()
    assert state.hops == pytest.approx(50, abs=5)
    assert state.hops - 8 <= state.compared <= state.hops


def test_what_is_not_yet_proven_is_refused_with_its_reasons() -> None:
    run = Run()
    run.ask()
    assert run.answers == ["no decoder was pushed"]
    run.ask("previous")
    assert run.answers[-1] == "there is no decoder of before"
    run.push(decoder())
    run.ask()
    assert "it has run for 0.0 s without warming: at least 1 s" in run.answers[-1]
    assert "it is warming" in run.answers[-1]
    run.decode(1.5)
    run.obstacle = "the check before use is not over"
    run.ask()
    assert run.answers[-1] == "the check before use is not over"
    assert run.kinds == ["refused", "refused", "push", "refused", "refused"]
    run.obstacle = ""
    run.ask()
    assert run.answers[-1] == ""


def test_a_decoder_that_leaves_too_little_of_a_hop_is_refused() -> None:
    run = Run(rules=replace(RULES, most_of_hop=0.0))
    run.push(decoder())
    run.decode(1.5)
    run.ask()
    assert "all decoders together leave" in run.answers[-1]


def test_a_decoder_that_takes_half_of_a_hop_is_dropped() -> None:
    run = Run(rules=replace(RULES, too_slow=0.0))
    run.push(decoder())
    run.decode(6.0)
    assert run.kinds == ["push", "fault"]
    assert "% of a hop" in run.events[-1].text
    assert run.shadows.is_idle


class Slow(Decoder):
    """A decoder whose hops take that long each; `now` hears of it as the owner's clock would."""

    def __init__(self, hop_cost_s: float, tick: Callable[[float], None]) -> None:
        super().__init__(made(1), subject().info)
        self._cost_s, self._tick = hop_cost_s, tick

    def process(self, block: SignalBlock) -> Intents:
        intents = super().process(block)
        self._cost_ns += round(self._cost_s * 1e9) * len(intents)
        self._tick(self._cost_s * len(intents))
        return intents


@pytest.mark.parametrize("hops_a_block", [0.25, 1, 3, 7])
def test_a_decoder_that_takes_longer_than_a_hop_is_dropped_before_it_takes_the_hand_away(
    hops_a_block: float,
) -> None:
    """In samples' own time: the owner's clock is what the decoder in shadow takes, and else waits for the samples."""
    run = Run()

    def tick(seconds: float) -> None:
        run.now_ns += round(seconds * 1e9)

    n = round(made().hop_raw_samples * hops_a_block)
    run.shadows.offer(Slow(0.03, tick), "laptop")
    late_hops = 0
    for _ in range(round(3 * RATE_HZ / n)):
        block = subject().block(run.next, n)
        run.next += n
        arrival_ns = round(run.next / RATE_HZ * 1e9)
        run.now_ns = max(run.now_ns, arrival_ns)
        intents = run.deployed.process(block)
        late_hops += len(intents) * (
            run.now_ns - arrival_ns > 2 * made().hop_s * 1e9
        )  # what a run commands not
        run.shadows.after(replace(block, arrival_ns=arrival_ns), intents)
    assert run.kinds == ["push", "fault"]
    assert "% of a hop" in run.events[-1].text
    assert run.events[-1].sample_index < 1.0 * RATE_HZ
    assert late_hops <= 2 * max(1, hops_a_block)


def test_a_decoder_that_becomes_slow_later_is_dropped_within_some_hops() -> None:
    run = Run()
    slow = Slow(0.0, lambda seconds: None)
    run.push(slow)
    run.decode(5.0)
    assert run.kinds == ["push"]
    slow._cost_s = 0.03
    run.decode(0.4)
    assert run.kinds == ["push", "fault"]


def test_a_decoder_that_fails_is_dropped_and_the_deployed_one_goes_on() -> None:
    run = Run()
    run.push(Failing(made(1), subject().info))
    run.decode(3.0)
    assert run.kinds == ["push", "fault"]
    assert "a bug in somebody's decoder" in run.events[-1].text
    assert len(run.positions()) > 140
    run.ask()
    assert run.answers == ["no decoder was pushed"]


def test_a_decoder_whose_answers_are_not_finite_is_dropped() -> None:
    sick = made(1)
    n = sick.normalisation.n_features
    network = StepNetwork(
        (CausalConv(np.full((2, n, 4), 3e38, np.float32), np.zeros(4, np.float32)),),
        Dense(np.zeros((4, 6), np.float32), np.zeros(6, np.float32)),
        Dense(np.zeros((4, 3), np.float32), np.zeros(3, np.float32)),
    )
    run = Run()
    run.push(Decoder(replace(sick, step_graph=build_step_graph(network)), subject().info))
    run.decode(1.0)
    assert run.kinds == ["push", "fault"]
    assert "not finite" in run.events[-1].text


def test_the_switch_waits_for_a_moment_of_rest_of_both() -> None:
    moves_until = {"deployed": 2.4, "newcomer": 2.5}

    def acts(name: str) -> Callable[[int], float]:
        return lambda index: 0.9 if index < moves_until[name] * RATE_HZ else 0.05

    run = Run(Acting(made(), acts("deployed")))
    newcomer = Acting(made(1), acts("newcomer"))
    run.push(newcomer)
    run.decode(2.0)
    run.ask()
    run.decode(0.7)
    assert run.deployed is not newcomer
    assert run.answers == []
    run.decode(0.2)
    assert run.deployed is newcomer
    (event,) = [event for event in run.events if event.kind == "switch"]
    assert event.sample_index / RATE_HZ == pytest.approx(2.5 + 0.3, abs=0.03)
    assert (event.who, event.sha256) == ("somebody", newcomer.bundle.sha256)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.05, 0.6)), min_size=1, max_size=8), st.integers(0, 3)
)
def test_whatever_the_two_do_the_hand_is_never_handed_over_while_one_moves(
    movements: list[tuple[float, float]], seed: int
) -> None:
    ends = np.cumsum([length_s for _, length_s in movements]) + 1.2

    def acts(shift: int) -> Callable[[int], float]:
        def position(index: int) -> float:
            k = int(np.searchsorted(ends, index / RATE_HZ))
            return 0.0 if k >= len(movements) else movements[(k + shift) % len(movements)][0]

        return position

    was, newcomer = Acting(made(), acts(0)), Acting(made(1), acts(seed))
    run = Run(was)
    run.push(newcomer)
    run.decode(1.3)
    run.ask()
    run.decode(1.3)
    switches = [event.sample_index for event in run.events if event.kind == "switch"]
    assert len(switches) + run.kinds.count("refused") == 1
    for index in switches:
        for one in (was, newcomer):
            moved = [one._acts(at) for at in range(index - round(0.3 * RATE_HZ), index, 50)]
            assert max(map(abs, moved)) <= RULES.rest_position


def test_where_no_rest_comes_the_switch_is_refused_in_time() -> None:
    run = Run(Acting(made(), lambda index: 0.9))
    run.push(decoder())
    run.decode(1.5)
    run.ask()
    run.decode(0.9)
    assert run.answers == []
    run.ask()
    assert run.answers == ["another change waits for a moment of rest already"]
    run.decode(0.2)
    assert run.answers[1:] == ["no moment of rest came within 1 s: let the wearer rest, ask again"]
    assert run.kinds[-1] == "refused"


def test_a_switch_for_which_nobody_waits_any_more_does_not_happen() -> None:
    run = Run(Acting(made(), lambda index: 0.9 if index < 2 * RATE_HZ else 0.0))
    run.push(decoder())
    run.decode(1.5)
    run.ask(expires_ns=5)
    run.now_ns = 6
    run.decode(1.0)
    assert "no moment of rest came" in run.answers[0]
    assert run.kinds == ["push", "refused"]


def test_after_the_switch_the_new_one_decides_without_a_gap_and_the_old_one_stays_warm() -> None:
    run, newcomer, was = Run(), decoder(), None
    was = run.deployed
    switched(run, newcomer)
    run.decode(1.0)
    index = np.concatenate([intents.sample_index for intents in run.intents])
    hop = was.bundle.hop_raw_samples
    assert set(np.diff(index)) == {hop}
    warm_from = np.concatenate([intents.warming for intents in run.intents]).argmin()
    assert not np.concatenate([intents.warming for intents in run.intents])[warm_from:].any()
    # Its answers are those of a chain that has decoded from its push on.
    fresh = DecodeChain(newcomer.bundle, subject().info)
    expected = [fresh.process(subject().block(first, BLOCK)) for first in range(0, run.next, BLOCK)]
    late = np.concatenate([intents.positions for intents in expected])[-10:]
    np.testing.assert_allclose(run.positions()[-10:], late, atol=1e-6)
    (state,) = run.shadows.states()
    assert (state.role, state.is_warming, state.sha256) == ("previous", False, was.bundle.sha256)


def test_the_one_before_comes_back_and_the_other_one_stays_in_shadow() -> None:
    run, newcomer = Run(), decoder()
    was = run.deployed
    switched(run, newcomer)
    run.decode(0.5)
    run.ask("previous")
    run.decode(0.5)
    assert run.deployed is was
    assert run.kinds == ["push", "switch", "rollback"]
    assert run.shadows.states()[0].sha256 == newcomer.bundle.sha256
    run.ask("previous")
    run.decode(0.5)
    assert run.deployed is newcomer


def test_a_decoder_that_never_rests_can_be_rolled_back_once_the_one_before_rests() -> None:
    run = Run()
    was = run.deployed
    stuck = Acting(made(1), lambda index: 0.0 if index < 2 * RATE_HZ else 0.9)
    switched(run, stuck)
    run.decode(1.5)
    run.ask("previous")
    run.decode(0.1)
    assert run.deployed is was


def test_a_switch_to_one_decoder_does_not_become_one_to_another_that_is_pushed_while_it_waits() -> None:
    run = Run(Acting(made(), lambda index: 0.9 if index < 2.2 * RATE_HZ else 0.0))
    was = run.deployed
    run.push(decoder(1))
    run.decode(1.5)
    run.shadows.ask("candidate", "somebody", run.answers.append, 1, made(1).sha256)
    run.decode(0.1)
    run.push(decoder(2), "another")
    run.decode(1.5)
    assert run.deployed is was
    assert run.answers == [
        f"{made(1).sha256[:12]} is not there any more, but {made(2).sha256[:12]} of another: push it again"
    ]


def test_a_new_candidate_replaces_the_one_before_it_and_leaves_the_way_back() -> None:
    run = Run()
    was = run.deployed
    switched(run, decoder(1))
    run.push(decoder(2))
    run.push(decoder(3))
    assert {state.role: state.sha256 for state in run.shadows.states()} == {
        "previous": was.bundle.sha256,
        "candidate": made(3).sha256,
    }
    assert run.kinds == ["push", "switch", "push", "drop", "push"]
    run.shadows.drop("somebody")
    run.decode(0.5)
    assert [state.role for state in run.shadows.states()] == ["previous"]
    run.ask("previous")
    run.decode(0.5)
    assert run.deployed is was


def test_pushing_what_is_in_shadow_already_does_not_begin_anew() -> None:
    run = Run()
    run.push(decoder())
    run.decode(1.0)
    run.push(decoder())
    assert run.kinds == ["push"]
    assert run.shadows.states()[0].hops > 40


def test_a_faulting_candidate_that_waits_for_rest_ends_the_wait() -> None:
    run = Run(Acting(made(), lambda index: 0.9))
    run.push(Failing(made(1), subject().info))
    run.decode(1.5)
    run.ask()
    run.decode(0.9)
    assert run.kinds == ["push", "fault", "refused"]
    assert run.answers == ["no decoder was pushed"]


def test_where_the_deployed_one_is_late_the_others_wait_and_catch_up_without_losing_anything() -> None:
    run = Run(Acting(made(), lambda index: 0.9 if index < 1.6 * RATE_HZ else 0.0))
    run.push(decoder())
    run.decode(1.5)
    hops = run.shadows.states()[0].hops
    run.now_ns = 10**9
    run.shadows.ask("candidate", "somebody", run.answers.append, 10**12)
    run.decode(0.6, arrival_ns=1)
    assert run.shadows.states()[0].hops == hops
    assert run.answers == []  # it does not take over before it has decoded what the other has
    run.decode(0.25, arrival_ns=10**9)
    assert run.answers == [""]
    run.decode(0.25, arrival_ns=10**9)
    index = np.concatenate([intents.sample_index for intents in run.intents])
    assert set(np.diff(index)) == {made().hop_raw_samples}
    assert not run.deployed.is_warming


def test_where_the_deployed_one_is_late_for_long_the_others_leave_blocks_out_and_warm_up_again() -> None:
    run = Run()
    run.push(decoder())
    run.decode(1.5)
    run.now_ns = 10**9
    run.decode(5.01, arrival_ns=1)
    run.decode(0.15, arrival_ns=10**9)
    assert run.shadows.states()[0].is_warming
    run.ask()
    assert "it is warming" in run.answers[0]
    run.decode(0.5)
    assert not run.shadows.states()[0].is_warming


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"subject": "another"},
            "subject: this decoder was made for another, the one that runs for somebody",
        ),
        ({"side": "left"}, "side: this decoder was made for left"),
        ({"array": "array-2"}, "electrode array"),
    ],
)
def test_another_wearers_decoder_is_refused_unless_somebody_overrides_it(
    changed: dict[str, str], why: str
) -> None:
    theirs = replace(made(1), manifest=made(1).manifest.model_copy(update=changed))
    with pytest.raises(StreamMismatchError, match=why):
        candidate(theirs, subject().info, made(), most_delay=100)
    assert candidate(theirs, subject().info, made(), most_delay=100, any_wearer=True).bundle is theirs


def test_a_decoder_that_takes_half_of_a_hop_on_this_machine_is_never_run_beside_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, hop_s = DecodeChain.process, made(1).hop_s

    def process(chain: DecodeChain, block: SignalBlock) -> Intents:
        intents = real(chain, block)
        end_ns = time.thread_time_ns() + round(0.6 * hop_s * 1e9) * len(intents)
        while time.thread_time_ns() < end_ns:
            pass
        return intents

    candidate(made(1), subject().info, made(), most_delay=100)
    monkeypatch.setattr(DecodeChain, "process", process)
    with pytest.raises(NervehandError, match=r"it takes \d+% of a hop on this machine"):
        candidate(made(1), subject().info, made(), most_delay=100)


def test_a_decoder_whose_window_is_a_bomb_is_refused_before_any_memory_is_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = made(1)
    features = bundle.manifest.features
    window = replace(features.settings, window_samples=3_000_000)
    bomb = replace(
        bundle,
        manifest=bundle.manifest.model_copy(
            update={"features": features.model_copy(update={"settings": window})}
        ),
    )
    monkeypatch.setattr(deployable, "compile_kernels", lambda *given: pytest.fail("it was tried"))
    with pytest.raises(NervehandError, match="a window of 600 s, a decoder beside another one at most 2 s"):
        candidate(bomb, subject().info, made(), most_delay=100)


def test_a_decoder_of_another_stream_or_with_too_long_a_delay_is_refused() -> None:
    with pytest.raises(StreamMismatchError, match="sampling rate"):
        candidate(made(1), replace(subject().info, rate_hz=2000.0), made(), most_delay=100, any_wearer=True)
    with pytest.raises(NervehandError, match="delay line takes 10 samples, this run at most 9"):
        candidate(made(1), subject().info, made(), most_delay=9)
