"""What was decoded live is decoded again, bit for bit, over a rotation, overload, swap, gap, mask and reload."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decoder.as_recorded import compared, left_out, replay_as_recorded, without
from decoder.bundle import Bundle, pack, unpack
from decoder.chain import compile_kernels, joined
from decoder.decision import DecisionSettings
from decoder.intent import Intents
from decoder.recording import ring
from decoder.recording.files import kept_in
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import recorder_process
from decoder.session import Session, read_session
from decoder.session.recorded import EventKind
from decoder.session.source import SessionSource
from decoder.shadow import Decoder, ShadowRules
from firmware_bridge.buffered import BufferedSource
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.nerve.motion import Schedule
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.stream import SignalBlock, StreamInfo
from nervehand import live as live_module
from nervehand.daemon import header_for
from nervehand.guarding import in_this_process
from nervehand.live import LiveOptions, LiveRun
from nervehand.recording import LiveRecorder
from nervehand.running import NoHand
from nervehand.screen import NoScreen
from tests.bundles import random_bundle

RATE_HZ = 5000.0
BLOCK = 25
GAP = (10_000, 11_200)
GAP_IN_OVERLOAD = (45_350, 45_800)
"""Among what is left out, so that it is no restart of its own."""
RAILED = (15_000, 17_500)
RELOAD_AT, SWAP_AT, OVERLOAD_AT, END = 22_000, 30_000, 45_000, 60_000
EAGER = ShadowRules(
    least_s=0.2, most_of_hop=1e9, too_slow=1e9, rest_s=0.0, rest_position=1e9, longest_wait_s=60.0
)


@cache
def subject() -> SimulatedSubject:
    return SimulatedSubject(2, n_channels=4, rate_hz=RATE_HZ, schedule=Schedule(repetitions=1))


@cache
def bundle(seed: int = 0) -> Bundle:
    made = random_bundle(subject().info, subject().samples(0, 10_000), SCALE_UV, seed=seed)
    return unpack(pack(made))


class Eventful:
    """A front-end that loses samples, rails a channel, and delivers a second of samples at once where it is told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stands_still, self.has_caught_up = threading.Event(), threading.Event()
        self._closed = threading.Event()

    @property
    def info(self) -> StreamInfo:
        return subject().info

    def connect(self) -> None:
        self._closed.clear()

    def close(self) -> None:
        self._closed.set()

    def blocks(self) -> Iterator[SignalBlock]:
        lost = 0
        for first in range(0, END, BLOCK):
            if self._closed.is_set():
                return
            if GAP[0] <= first < GAP[1] or GAP_IN_OVERLOAD[0] <= first < GAP_IN_OVERLOAD[1]:
                lost += BLOCK
                continue
            samples = subject().samples(first, BLOCK).copy()
            if RAILED[0] <= first < RAILED[1]:
                samples[:, 2] = 32767
            yield SignalBlock(samples, first, time.monotonic_ns(), lost, SCALE_UV)
            lost = 0
            if first == OVERLOAD_AT:
                self.stands_still.set()
            elif first == OVERLOAD_AT + 10_000:
                self.has_caught_up.set()
            elif not (OVERLOAD_AT < first < OVERLOAD_AT + 10_000):
                time.sleep(0.0005)
            if first == RAILED[0]:
                self._await_next_file()

    def _await_next_file(self) -> None:
        """It is made ahead; until it is there no file follows another for its length."""
        end_s, sizes = time.monotonic() + 60, [0]
        while not sizes[0] or len(sizes) < 20 or len(set(sizes[-20:])) > 1:
            assert time.monotonic() < end_s
            time.sleep(0.05)
            sizes.append(sum(one.stat().st_size for one in self._folder.glob(".*.spare")))
            sizes[0] = sizes[-1]


def run_of(folder: Path, **keeping: object) -> tuple[list[Intents], LiveRun]:
    """All that happens, recorded by a recorder in its own process; what was decided live."""
    for one in (bundle(0), bundle(1)):
        compile_kernels(one, subject().info)
    eventful = Eventful(folder)
    source = BufferedSource(eventful)
    decided: list[Intents] = []
    done: set[str] = set()
    settings = replace(KeepSettings(str(folder), reserve_bytes=0), **keeping)  # type: ignore[arg-type]
    first = header_for(subject().info, bundle(0), bundle(0).manifest.decision)
    with (
        recorder_process(settings, first) as (sender, _),
        in_this_process(NoHand(), lambda event: None, lambda sent: None) as guarded,
    ):
        recorder = LiveRecorder(
            sender, sender=sender, header_of=lambda d: header_for(subject().info, d.bundle, d.decision)
        )

        def on_intents(intents: Intents) -> None:
            decided.append(intents)
            at = int(intents.sample_index[-1])
            if at > RELOAD_AT and "reload" not in done:
                done.add("reload")
                mine = DecisionSettings(min_cutoff_hz=0.7, hysteresis=0.3)
                live.decide_by(lambda bundle: mine, lambda: done.add("reloaded"))
                live.shadows.offer(live.adapted(Decoder(bundle(1), subject().info)), "Ann")
            if at > SWAP_AT and "swap" not in done:
                done.add("swap")
                live.shadows.ask("candidate", "Ann", done.add, time.monotonic_ns() + 60 * 10**9)
            if at > OVERLOAD_AT and "overload" not in done:
                done.add("overload")
                assert eventful.has_caught_up.wait(30)

        live = LiveRun(
            "test", source, bundle(0), guarded.guard, guarded.hand, NoScreen(), on_intents=on_intents,
            recorder=recorder, options=LiveOptions(rules=EAGER, backlog=source, restart_after_s=1.0),
        )  # fmt: skip
        live.run(threading.Event())
        recorder.close(failing=True)
    assert {"reloaded", "", "overload"} <= done, done
    return decided, live


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Session], Intents, LiveRun]:
    """The files of one run, in their order, and what was decided live."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_module, "MOMENT_S", 0.5)
        patch.setattr(ring, "LEAST_BYTES", 64 << 20)  # it all comes faster than it would
        decided, live = run_of(folder, rotate_s=3.0)
    end_s = time.monotonic() + 30
    while list(folder.glob("*.tail")):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return [read_session(one.path) for one in kept_in(folder, "nervehand")], joined(decided), live


def again(session: Session) -> Intents:
    made = {one.sha256: one for one in (bundle(0), bundle(1))}[session.recorded.bundle]
    source = SessionSource(session, 777, is_paced=False)
    source.connect()
    return joined(list(replay_as_recorded(session, made, source.blocks())))


def test_every_file_replays_to_the_recorded_bits(recorded: tuple[list[Session], Intents, LiveRun]) -> None:
    sessions, _, _ = recorded
    assert len(sessions) >= 4
    for session in sessions:
        assert session.recorded.intents is not None
        found = compared(again(session), session.recorded.intents)
        assert found.is_equal, (session.meta.identifier, found)
        assert found.hops == len(session.recorded.intents)


def test_the_files_together_hold_every_intent_once_and_every_sample(
    recorded: tuple[list[Session], Intents, LiveRun],
) -> None:
    sessions, decided, _ = recorded
    parts = [s.recorded.intents for s in sessions]
    whole = joined([part for part in parts if part is not None])
    assert compared(whole, decided).is_equal
    assert len(whole) == len(decided)
    samples = np.concatenate([s.signal[0 : s.n_samples] for s in sessions])
    assert len(samples) == END
    received = [
        i
        for i in range(0, END, 1000)
        if not GAP[0] <= i < GAP[1] and not RAILED[0] <= i < RAILED[1] and i != 45_000
    ]
    for i in received:
        assert np.array_equal(samples[i : i + 5], subject().samples(i, 5)), i


def test_each_of_the_six_happened(recorded: tuple[list[Session], Intents, LiveRun]) -> None:
    sessions, _, live = recorded
    events = [event for s in sessions for event in s.recorded.events]
    kinds = {event.kind for event in events}
    assert {
        EventKind.GAP,
        EventKind.MASKED,
        EventKind.UNMASKED,
        EventKind.RESTART,
        EventKind.SNAPSHOT,
    } <= kinds
    assert {s.recorded.bundle for s in sessions} == {bundle(0).sha256, bundle(1).sha256}
    assert {s.recorded.decision is None for s in sessions} == {True, False}
    notes = [note.text for s in sessions for note in s.recorded.notes]
    for reason in ("3 s are full", "another decoder took over", "other settings of the decision hold"):
        assert any(reason in note for note in notes), reason
    spans = [span for s in sessions for span in left_out(s)]
    assert len(spans) == 1
    assert OVERLOAD_AT < spans[0][0] < spans[0][1] <= END
    assert spans[0][1] - spans[0][0] > RATE_HZ
    assert live.restarts == 2  # the gap and the overload


def test_without_what_was_carried_the_bits_are_others(
    recorded: tuple[list[Session], Intents, LiveRun],
) -> None:
    sessions, _, _ = recorded
    later = sessions[1]
    assert later.recorded.state
    forgetful = replace(later, recorded=replace(later.recorded, state=b""))
    assert later.recorded.intents is not None
    assert not compared(again(forgetful), later.recorded.intents).is_equal


def test_with_the_bundles_own_decision_the_bits_are_others(
    recorded: tuple[list[Session], Intents, LiveRun],
) -> None:
    sessions, _, _ = recorded
    mine = next(s for s in sessions if s.recorded.decision is not None)
    assert mine.recorded.intents is not None
    assert not compared(
        again(replace(mine, recorded=replace(mine.recorded, decision=None))), mine.recorded.intents
    ).is_equal


def test_another_decoder_is_refused(recorded: tuple[list[Session], Intents, LiveRun]) -> None:
    sessions, _, _ = recorded
    with pytest.raises(StreamMismatchError, match="give its own"):
        list(replay_as_recorded(sessions[0], bundle(1), []))


def test_a_decision_of_another_release_is_refused(recorded: tuple[list[Session], Intents, LiveRun]) -> None:
    sessions, _, _ = recorded
    strange = replace(sessions[0], recorded=replace(sessions[0].recorded, decision={"mood": 1.0}))
    with pytest.raises(NervehandError, match="does not know"):
        list(replay_as_recorded(strange, bundle(0), []))


def test_samples_are_left_out_wherever_blocks_are_cut() -> None:
    def blocks(n: int) -> list[SignalBlock]:
        rows = np.arange(100, dtype=np.int16)[:, None]
        return [SignalBlock(rows[i : i + n], i) for i in range(0, 100, n)]

    for n in (1, 7, 30, 100):
        kept = np.concatenate([b.samples[:, 0] for b in without(blocks(n), ((10, 20), (55, 56), (90, 200)))])
        assert kept.tolist() == [*range(10), *range(20, 55), *range(56, 90)]
        for b in without(blocks(n), ((10, 20),)):
            assert b.samples[0, 0] == b.first_sample


def test_intents_that_differ_are_found_at_their_sample() -> None:
    k = 5
    one = Intents(
        np.arange(k) * 10, np.zeros((k, 2), np.float32), np.zeros((k, 6), np.float32), np.zeros(k, np.int16),
        np.zeros(k, np.float32), np.zeros(k, np.bool_), np.ones(k, np.float32),
    )  # fmt: skip
    other = replace(one, positions=one.positions.copy())
    assert compared(one, other).is_equal
    other.positions[3, 5] = 1e-7
    assert compared(one, other).differs_at == 30
    shorter = Intents(*(getattr(one, name)[[0, 1, 3, 4]] for name in Intents.__dataclass_fields__))
    assert compared(shorter, one).differs_at == 20
