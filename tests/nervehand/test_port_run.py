"""A live run at its port: what it shows, what it answers, and another decoder in its place."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from decoder.bundle import Bundle, pack, unpack
from decoder.chain import compile_kernels
from decoder.decision import DecisionSettings
from decoder.session.reader import read_session
from decoder.session.recorded import EventKind
from decoder.shadow import ShadowRules
from firmware_bridge.adjustments import Adjustments
from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateEvent, GateLimits, SafetyGate
from firmware_bridge.guard import GuardLoop
from firmware_bridge.hand import LinkState
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.nerve.motion import SteeredMotion
from firmware_bridge.nerve.physiology import DEFAULT
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.port import PortClient, serving
from firmware_bridge.port.blocks import decoded_blocks
from firmware_bridge.port.entries import token_for
from firmware_bridge.port.link import Link
from firmware_bridge.preuse import overridden
from firmware_bridge.sources.simulated import SimulatedSource
from nervehand import live_port
from nervehand.live import LiveOptions, LiveRun, LiveSummary
from nervehand.live_port import Owner, ServedRun, answering
from nervehand.pushing import switched
from nervehand.recording import LiveRecorder, recording
from nervehand.screen import NoScreen
from tests.bundles import random_bundle
from tests.firmware_bridge.guarding import own_guards
from tests.firmware_bridge.port.proxy import proxied
from tests.nervehand.test_live import WiredHand

RATE_HZ = 5000.0
PATIENCE_S = 60.0
QUICK = ShadowRules(least_s=0.5, most_of_hop=0.99, rest_s=0.1)


@pytest.fixture(autouse=True)
def _own_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)
    monkeypatch.delenv("NERVEHAND_PORT_TOKEN", raising=False)


def person() -> SimulatedSubject:
    motion = SteeredMotion(DEFAULT, 2, 0, RATE_HZ)
    return SimulatedSubject(2, n_channels=4, rate_hz=RATE_HZ, motion=motion)


@cache
def made(seed: int = 0, offset: float = 0.0) -> Bundle:
    """Decides rest, always, and holds its positions near `offset`."""
    bundle = random_bundle(person().info, person().samples(0, 10_000), SCALE_UV, seed=seed)
    positions = bundle.position_map
    return unpack(
        pack(
            replace(
                bundle,
                manifest=bundle.manifest.model_copy(update={"decision": DecisionSettings(reject_below=1.0)}),
                position_map=replace(
                    positions, matrix=positions.matrix * 0.01, offset=np.full(6, offset, np.float32)
                ),
            )
        )
    )


@dataclass
class Served:
    """A run that is served, and a client of it."""

    client: PortClient
    live: LiveRun
    guard: GuardLoop
    hand: WiredHand
    events: list[GateEvent]
    finish: Callable[[], LiveSummary]

    @property
    def view(self) -> dict[str, object]:
        found = self.client.newest("live")
        assert found is not None
        return found[1]


def until(is_so: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)


@contextmanager
def served_run(
    bundle: Bundle | None = None,
    recorder: LiveRecorder | None = None,
    grips: tuple[str, ...] = (),
    who: str = "tester",
    loop: type[GuardLoop] = GuardLoop,
) -> Iterator[Served]:
    """The run of a steered person, in a thread, with an armed hand."""
    bundle = bundle or made()
    source = SimulatedSource(person(), 25)
    compile_kernels(bundle, source.info)
    hand, events, stop = WiredHand(), [], threading.Event()
    gate = SafetyGate(GateLimits.for_hand(VIRTUAL_HAND), VIRTUAL_HAND.watchdog_action)
    told: list[Callable[[object], None]] = []
    heard: list[Callable[[GateEvent], None]] = [events.append]
    with (
        serving("127.0.0.1:0", source.info, {"kind": "run"}) as port,
        loop(
            gate,
            hand,
            on_event=lambda event: [hear(event) for hear in heard],
            on_sent=lambda sent: [hear(sent) for hear in told],
        ) as guard,
    ):
        live = LiveRun(
            "a test",
            source,
            bundle,
            guard,
            hand,
            NoScreen(),
            recorder=recorder,
            port=port,
            options=LiveOptions(rules=QUICK),
        )
        told.append(live.sent)
        heard.append(live.gate_event)

        def refusal() -> str:
            return next((event.text for event in reversed(events) if event.kind == "arm refused"), "")

        served = ServedRun("", intend=source.intend, grips=grips)
        owner = Owner(
            live, guard, hand, source.info, lambda: overridden("test", time.monotonic_ns()), refusal, "",
            recorder is not None, served,
        )  # fmt: skip
        assert guard.request_arm("test", overridden("test", time.monotonic_ns()))
        summaries: list[LiveSummary] = []
        thread = threading.Thread(target=lambda: summaries.append(live.run(stop)))

        def finish() -> LiveSummary:
            stop.set()
            thread.join()
            return summaries[0]

        with answering(port, owner, lambda text: None):
            thread.start()
            try:
                client = PortClient(port.address, who=who)
                client.connect(PATIENCE_S)
                until(lambda: client.newest("live"), "a view")
                yield Served(client, live, guard, hand, events, finish)
                client.close()
            finally:
                stop.set()
                thread.join()


def test_the_view_holds_all_that_a_page_shows() -> None:
    with served_run() as run:
        until(lambda: run.view["adjustments"] is not None and run.view["hops"] > 30, "a whole view")
        view = run.view
        assert view["title"] == "a test"
        assert view["dof_names"] == ["thumb", "index", "middle", "ring", "little", "wrist"]
        assert view["bundle"] == made().sha256
        assert view["gestures"] == ["rest", "one", "two"]
        assert sum(view["probabilities"]) == pytest.approx(1, abs=0.01)
        assert (view["gesture"], view["gate"], view["link"]) == ("rest", "armed", "connected")
        assert len(view["wanted"]) == len(view["shown"]) == 6
        assert len(view["low_uv"]) == len(view["high_uv"]) == len(view["channels"]) == 4
        for low, high, level in zip(view["low_uv"], view["high_uv"], view["levels_uv"], strict=True):
            assert len(low) == 16
            assert all(least < most for least, most in zip(low, high, strict=True))
            assert max(high) - min(low) > level
        assert {row["stage"] for row in view["latency"]} >= {"engine", "sample to decided"}
        assert view["adjustments"]["gain"] == [1.0] * 6
        assert view["adjustments"]["max_speed_per_s"] == [None] * 6
        assert view["shadow"] == []
        json.dumps(view, allow_nan=False)
        assert view["rate_hz"] == RATE_HZ
        first = view["sample_index"]
        until(lambda: run.view["sample_index"] > first + 1000, "it goes on")


def test_its_samples_are_those_that_were_decoded() -> None:
    with served_run() as run:
        link = Link(run.client.address, token_for(run.client.address), "me", PATIENCE_S)
        link.send({"kind": "samples", "stream": link.stream, "from": 0})
        found = []
        while sum(block.n_samples for block in found) < 3000:
            for frame in link.receive(0.1):
                if frame.header["kind"] == "samples":
                    found += decoded_blocks(frame)
        link.close()
        samples = np.concatenate([block.samples for block in found])
        assert found[0].first_sample == 0
        np.testing.assert_array_equal(samples, person().block(0, len(samples)).samples)


def test_stop_release_and_arm_reach_the_gate_in_the_name_of_who_asks() -> None:
    with served_run() as run:
        assert run.client.request("stop") == {"gate": "holding"}
        assert run.guard.state.value == "holding"
        assert [event.who for event in run.events if event.kind == "stop"] == ["tester at the port"]
        until(lambda: "stop" in run.view["notice"], "it is shown")
        run.client.request("release")
        until(lambda: run.guard._gate.at_rest, "rest")
        until(lambda: run.guard.request_disarm("test") or run.guard.state.value == "disarmed", "disarmed")
        time.sleep(0.1)  # when the client asks is known to less than what its messages take on their way
        run.client.request("arm")
        until(lambda: run.guard.state.value == "armed", "armed again")
        run.hand.link = LinkState.LOST
        until(lambda: run.guard.state.value == "disarmed", "a lost link disarms")
        with pytest.raises(NervehandError, match=r"the gate does not arm: .*link"):
            run.client.request("arm")


def test_a_stop_is_heard_while_no_samples_come() -> None:
    with served_run() as run:
        run.finish()
        assert run.client.request("stop") == {"gate": "holding"}

        def shown() -> object:
            hand = run.client.newest("hand")  # none was shown yet where the run ended at once
            return None if hand is None else hand[1]["gate"]

        until(lambda: shown() == "holding", "the hand is shown all the same")


class DeafGuard(GuardLoop):
    """A guard that hears nothing, as one whose process was stopped."""

    is_deaf = False

    def request_stop(self, who: str) -> None:
        if not self.is_deaf:
            super().request_stop(who)

    def request_release(self, who: str) -> None:
        if not self.is_deaf:
            super().request_release(who)

    def adjust(self, who: str, adjustments: Adjustments) -> None:
        if not self.is_deaf:
            super().adjust(who, adjustments)


def test_what_the_guard_has_not_done_is_not_answered_as_done() -> None:
    with served_run(loop=DeafGuard) as run:
        until(lambda: run.guard.state.value == "armed", "the hand follows")
        run.guard.is_deaf = True
        for request in ("stop", "release"):
            with pytest.raises(NervehandError, match=f"the guard did not answer: the {request} was sent"):
                run.client.request(request)
        with pytest.raises(NervehandError, match="the guard has not taken the adjustments"):
            run.client.request("adjust", {"hand_locked": True})
        run.guard.is_deaf = False
        assert run.client.request("stop") == {"gate": "holding"}


@pytest.mark.parametrize("is_cut", [False, True], ids=["the link stood", "the link was cut"])
def test_a_request_to_arm_that_was_on_its_way_does_not_overrule_who_has_stopped_since(is_cut: bool) -> None:
    with (
        served_run() as run,
        proxied(run.client.address) as proxy,
        PortClient(proxy.address, who="Ann") as client,
    ):
        client.connect(PATIENCE_S)
        until(lambda: client.newest("live"), "a view")
        if is_cut:
            proxy.cut(refusing=True)
        else:
            proxy.hold()
        errors: list[str] = []

        def arm() -> None:
            try:
                client.request("arm", timeout_s=PATIENCE_S)
            except NervehandError as error:
                errors.append(str(error))

        arming = threading.Thread(target=arm)
        arming.start()
        until(lambda: client._asked, "it is asked")
        time.sleep(0.1)
        run.guard.request_stop("Bob")
        proxy.restore()
        arming.join()
        assert "somebody has asked for rest since" in errors[0] or "it took" in errors[0]
        assert run.guard.state.value == "holding"
        client.request("arm", timeout_s=PATIENCE_S)  # who asks anew has seen it
        until(lambda: run.guard.state.value == "armed", "armed again")


def test_a_request_to_arm_that_took_long_is_refused_though_nobody_has_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_port, "MOST_ARM_AGE_S", -1.0)
    with served_run() as run, pytest.raises(NervehandError, match=r"it took \S+ s until it was heard here"):
        run.client.request("arm")


def test_adjustments_are_changed_one_at_a_time() -> None:
    with served_run() as run:
        found = run.client.request("adjust", {"gain": [1, 1.5, 1, 1, 1, 1]})["adjustments"]
        assert found["gain"] == [1, 1.5, 1, 1, 1, 1]
        assert run.guard.adjustments.gain[1] == 1.5
        speeds = [None, 1.0, None, None, None, None]
        assert (
            run.client.request("adjust", {"max_speed_per_s": speeds})["adjustments"]["max_speed_per_s"]
            == speeds
        )
        assert run.guard.adjustments.gain[1] == 1.5
        for wrong in ({"gain": [99] * 6}, {"gain": "x"}, {"nothing": 1}):
            with pytest.raises(NervehandError):
                run.client.request("adjust", wrong)
        until(lambda: (run.view["adjustments"] or {"gain": [0, 0]})["gain"][1] == 1.5, "it is shown")


def test_a_steered_person_does_what_is_asked_of_it() -> None:
    with served_run() as run:
        run.client.request("intend", {"positions": [1, 0, 0, 0, 0, 0], "label": 3})
        for wrong in ({}, {"positions": [1, 2]}, {"positions": [9] * 6}):
            with pytest.raises(NervehandError, match=r"posture|positions"):
                run.client.request("intend", wrong)


def test_who_is_not_named_and_what_is_not_known_is_refused() -> None:
    with served_run() as run:
        with pytest.raises(NervehandError, match="there is no 'dance' here: ask for stop, release"):
            run.client.request("dance")
        with pytest.raises(NervehandError, match="no decoder was pushed"):
            run.client.request("switch")
    with served_run(who="") as run, pytest.raises(NervehandError, match="nobody is named"):
        run.client.request("stop")


def test_a_decoder_is_pushed_compared_takes_over_and_goes_back_and_the_recording_tells(
    tmp_path: Path,
) -> None:
    info = person().info
    with (
        recording(tmp_path / "s.nwb", info, made(), 0, SCALE_UV) as recorder,
        served_run(recorder=recorder) as run,
    ):
        newcomer = made(1)
        assert run.client.request("push", blob=pack(newcomer), timeout_s=PATIENCE_S) == {
            "bundle": newcomer.sha256
        }
        until(lambda: run.view["shadow"] and run.view["shadow"][0]["compared"] > 30, "it is compared")
        (state,) = run.client.request("shadow")["shadow"]
        assert (state["sha256"], state["gesture_agreement"]) == (newcomer.sha256, 1.0)
        assert state["who"] == "tester at the port"
        until(lambda: not run.view["shadow"][0]["missing"], "it is ready")
        applied = run.guard.counters.commands_applied
        assert run.client.request("switch", timeout_s=PATIENCE_S) == {"bundle": newcomer.sha256}
        until(lambda: run.view["bundle"] == newcomer.sha256, "it is shown")
        until(lambda: run.guard.counters.commands_applied > applied + 20, "the hand goes on")
        until(lambda: run.view["shadow"][0]["seconds"] > 0.3, "the one before is warm")
        assert run.client.request("rollback", timeout_s=PATIENCE_S) == {"bundle": made().sha256}
        run.client.request("push", blob=pack(made(2)), timeout_s=PATIENCE_S)
        until(lambda: len(run.view["shadow"]) == 2, "it runs in shadow")
        run.client.request("drop")
        until(lambda: len(run.view["shadow"]) == 1, "it is dropped")
        summary = run.finish()
        assert (summary.pushes, summary.switches, summary.rollbacks) == (2, 1, 1)
        assert "2 decoders pushed, 1 took over, 1 rolled back" in summary.describe()
        assert summary.to_json()["switches"] == 1
    session = read_session(tmp_path / "s.nwb")
    bundles = [event for event in session.recorded.events if event.kind == EventKind.BUNDLE]
    notes = [note.text for note in session.recorded.notes if note.text.startswith("decoder ")]
    assert len(bundles) == 2
    assert [note.split(":")[0] for note in notes] == [
        "decoder push", "decoder switch", "decoder rollback", "decoder push", "decoder drop",
    ]  # fmt: skip
    assert newcomer.sha256 in notes[1]
    assert "tester at the port" in notes[1]
    intents = session.recorded.intents
    assert set(np.diff(intents.sample_index)) == {made().hop_raw_samples}


def test_the_hand_does_not_jump_when_another_decoder_takes_over() -> None:
    """The newcomer holds 0.09 where the other holds 0: within rest, and yet more than the gate lets happen at once."""
    with served_run() as run:
        run.client.request("push", blob=pack(made(1, 0.09)), timeout_s=PATIENCE_S)
        until(lambda: run.view["shadow"] and not run.view["shadow"][0]["missing"], "it is ready")
        before = len(run.hand.sent)
        run.client.request("switch", timeout_s=PATIENCE_S)
        until(lambda: run.hand.sent[-1].min() > 0.07, "the hand follows the newcomer")
        sent = np.array(run.hand.sent[max(0, before - 5) :])
        speed_per_s = GateLimits.for_hand(VIRTUAL_HAND).max_speed_per_s.max()
        assert np.abs(np.diff(sent, axis=0)).max() < 0.09
        assert np.abs(np.diff(sent, axis=0)).max() <= speed_per_s * 0.1


@pytest.mark.parametrize(
    ("blob", "arguments", "why"),
    [
        (lambda: b"", {}, "is not a decoder bundle"),
        (lambda: pack(made(1))[:-200] + bytes(200), {}, "is not a decoder bundle"),
        (lambda: pack(made(1)).replace(b"somebody", b"Somebody", 1), {}, "was changed after it was written"),
        (lambda: pack(_changed(subject="another")), {}, "made for another, the one that runs for somebody"),
        (lambda: pack(_changed(side="left")), {}, "side: this decoder was made for left"),
    ],
)
def test_a_decoder_that_is_damaged_or_anothers_is_refused(
    blob: Callable[[], bytes], arguments: dict[str, object], why: str
) -> None:
    with served_run() as run:
        with pytest.raises(NervehandError, match=why):
            run.client.request("push", arguments, blob(), timeout_s=PATIENCE_S)
        assert run.client.request("shadow")["shadow"] == []
        assert run.live.shadows.is_idle


def test_who_answers_for_anothers_decoder_is_a_name_and_nothing_else() -> None:
    theirs = pack(_changed(subject="another"))
    nobody: object
    with served_run() as run:
        for nobody in (False, None, True, 0, "", "  ", [], "a\nb", "x" * 201):
            with pytest.raises(NervehandError, match=r"give the name of who answers|another decoder is just"):
                run.client.request("push", {"any_wearer": nobody}, theirs, timeout_s=PATIENCE_S)
        assert run.live.shadows.is_idle


def test_who_pushes_switches_to_what_was_pushed_and_to_nobody_elses() -> None:
    with served_run() as run:
        for seed in (1, 2):  # another one in between
            run.client.request("push", blob=pack(made(seed)), timeout_s=PATIENCE_S)
        until(lambda: run.view["shadow"] and not run.view["shadow"][0]["missing"], "it is ready")
        with pytest.raises(NervehandError, match=f"{made(1).sha256[:12]} is not there any more"):
            switched(run.client, made(1).sha256, 0.0, lambda text: None)
        with pytest.raises(NervehandError, match="sha256 is '1'"):
            run.client.request("switch", {"sha256": 1})
        assert run.live.bundle.sha256 == made().sha256
        switched(run.client, made(2).sha256, PATIENCE_S, lambda text: None)
        assert run.live.bundle.sha256 == made(2).sha256


def test_the_end_of_a_run_does_not_wait_for_a_decoder_that_is_prepared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def never_ready(*given: object, **more: object) -> None:
        begun.set()
        goes_on.wait(PATIENCE_S)
        raise NervehandError("it took too long")

    monkeypatch.setattr(live_port, "candidate", never_ready)
    with served_run() as run:
        pushing = threading.Thread(
            target=lambda: _refused(run.client, pack(made(1))),
        )
        pushing.start()
        assert begun.wait(PATIENCE_S)
        began_s = time.monotonic()
        run.finish()
    assert time.monotonic() - began_s < PATIENCE_S / 2
    goes_on.set()
    pushing.join()


def _refused(client: PortClient, blob: bytes) -> None:
    with contextlib.suppress(NervehandError):
        client.request("push", blob=blob, timeout_s=3.0)


def test_a_recording_survives_whoever_asks(tmp_path: Path) -> None:
    with (
        recording(tmp_path / "s.nwb", person().info, made(), 0, SCALE_UV) as recorder,
        served_run(recorder=recorder, who="\ud800") as run,
    ):
        with pytest.raises(NervehandError, match="no decoder was pushed"):
            run.client.request("switch")
        run.finish()
    notes = [note.text for note in read_session(tmp_path / "s.nwb").recorded.notes]
    assert any("decoder refused: no decoder was pushed (? at the port)" in note for note in notes)


def _changed(**update: object) -> Bundle:
    return replace(made(1), manifest=made(1).manifest.model_copy(update=update))


def test_anothers_decoder_is_taken_where_somebody_answers_for_it(tmp_path: Path) -> None:
    with (
        recording(tmp_path / "s.nwb", person().info, made(), 0, SCALE_UV) as recorder,
        served_run(recorder=recorder) as run,
    ):
        theirs = pack(_changed(subject="another"))
        run.client.request("push", {"any_wearer": "Dr Who"}, theirs, timeout_s=PATIENCE_S)
        until(lambda: run.view["shadow"], "it runs in shadow")
    notes = [note.text for note in read_session(tmp_path / "s.nwb").recorded.notes]
    assert any("its wearer was not compared, which Dr Who answers for" in note for note in notes)


def test_a_decoder_that_the_file_or_the_hand_cannot_take_is_refused(tmp_path: Path) -> None:
    fewer = _changed(gestures=("rest", "one", "three"))
    with served_run(grips=("two",)) as run, pytest.raises(NervehandError, match="grips need two"):
        run.client.request("push", blob=pack(fewer), timeout_s=PATIENCE_S)
    with (
        recording(tmp_path / "s.nwb", person().info, made(), 0, SCALE_UV) as recorder,
        served_run(recorder=recorder) as run,
        pytest.raises(NervehandError, match="this run is recorded"),
    ):
        run.client.request("push", blob=pack(fewer), timeout_s=PATIENCE_S)
