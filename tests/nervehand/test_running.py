"""Any source decoded live, recorded, or served as a front-end: what comes out is what went in."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from decoder.bundle import read_bundle
from decoder.session.model import Session, SessionMeta, iter_blocks
from decoder.session.reader import read_session
from decoder.session.recorder import SessionWriter
from decoder.session.source import SessionSource
from decoder.session.writer import write_session
from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands.virtual import VirtualHand
from firmware_bridge.sources import serial
from firmware_bridge.sources.serial import SerialDevice
from firmware_bridge.stream import SignalBlock
from firmware_bridge.supervised import SourceEvent
from nervehand import emulating, guarding, running
from nervehand.emulating import cut
from nervehand.guarding import virtual_hand
from nervehand.recording import recording
from nervehand.running import BoundedSource, NoHand
from nervehand.source_log import MOST_REMEMBERED, SourceLog
from tests.closing import StoppedClock
from tests.nervehand.conftest import PATIENCE_S, Run


def unpaced(session: Session, block_samples: int = 30) -> SessionSource:
    source = SessionSource(session, block_samples, is_paced=False)
    source.connect()
    return source


def test_a_bounded_source_ends_at_the_sample(small_session: Session) -> None:
    n = round(0.5 * small_session.info.rate_hz)
    blocks = list(BoundedSource(unpaced(small_session, 300), 0.5, grace_s=3600.0).blocks())
    assert sum(block.n_samples for block in blocks) == n
    np.testing.assert_array_equal(np.concatenate([b.samples for b in blocks]), small_session.signal[0:n])
    assert len(list(BoundedSource(unpaced(small_session, 300), None).blocks())) > len(blocks)


def test_a_bounded_source_counts_what_was_lost(small_session: Session) -> None:
    class Lossy(SessionSource):
        def blocks(self) -> Iterator[SignalBlock]:
            return (block for i, block in enumerate(super().blocks()) if i % 2)

    lossy = Lossy(small_session, 100, is_paced=False)
    lossy.connect()
    n = round(0.5 * small_session.info.rate_hz)
    found = list(BoundedSource(lossy, 0.5, grace_s=3600.0).blocks())
    assert sum(block.n_samples for block in found) == 1300  # every second hundred of 2500, from the second on
    assert found[-1].first_sample - found[0].first_sample < n


def test_a_bounded_source_from_which_nothing_comes_ends_by_the_clock(small_session: Session) -> None:
    stalled = SessionSource(small_session, 100, clock_ns=StoppedClock())
    stalled.connect()
    assert list(BoundedSource(stalled, 0.05, grace_s=0.05).blocks()) == []


def test_no_hand_moves_as_a_virtual_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic_ns=lambda: now_ns))
    hand = NoHand()
    hand.connect(1.0)
    wanted = np.full(6, 0.5, np.float32)
    for _ in range(100):
        applied = hand.send(wanted, now_ns)
        now_ns += 50_000_000
    np.testing.assert_array_equal(applied.positions, wanted)
    np.testing.assert_allclose(hand.state.positions, wanted, atol=0.02)
    hand.close()


def test_the_source_log_passes_events_on_and_remembers_so_many() -> None:
    log, heard = SourceLog(), []
    log.listen(heard.append)
    for i in range(MOST_REMEMBERED + 5):
        log(SourceEvent(i, "repeated", f"event {i}"))
    assert len(heard) == log.count == MOST_REMEMBERED + 5
    assert log.to_json()[0] == {"sample_index": 0, "kind": "repeated", "text": "event 0"}
    assert "5 more" in log.describe()[-1]


@pytest.mark.usefixtures("patient")
def test_run_gives_the_intents_of_a_replay_and_what_it_records_is_what_came(
    run: Run, small_session: Session, small_file: Path, small_decoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "live.nwb"
    words = (f"session:{small_file}", "--bundle", small_decoder, "--hand", "none", "--seconds", 1.5)
    result = run("run", *words, "--json", "--record", out)
    assert result.status == 0, result.err
    said = json.loads(result.out)
    replayed = json.loads(
        run("replay", small_file, "--bundle", small_decoder, "--seconds", 1.5, "--json").out
    )
    assert said["intents_sha256"] == replayed["intents_sha256"]
    assert said["hops"] == replayed["hops"]
    assert said["commands_applied"] + said["commands_withheld"] + said["commands_dropped"] == said["hops"]
    assert said["source_events"] == []
    recorded = read_session(out)
    assert recorded.first_sample == small_session.first_sample
    assert recorded.scale_uv == small_session.scale_uv
    np.testing.assert_array_equal(
        recorded.signal[0 : recorded.n_samples], small_session.signal[0 : recorded.n_samples]
    )
    assert recorded.n_samples == round(1.5 * small_session.info.rate_hz)
    assert any("gate arm" in note.text for note in recorded.recorded.notes)


@pytest.mark.usefixtures("patient")
def test_run_says_of_a_recording_that_stopped_that_it_did(
    run: Run, small_file: Path, small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(SessionWriter, "intents", fail)
    out = tmp_path / "live.nwb"
    words = (f"session:{small_file}", "--bundle", small_decoder, "--hand", "none", "--seconds", 1)
    result = run("run", *words, "--headless", "--record", out)
    assert result.status == 0, result.err
    assert "recording stopped: Input/output error" in result.out
    assert "recorded to" not in result.out


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_run_moves_the_virtual_hand(
    run: Run, monkeypatch: pytest.MonkeyPatch, small_file: Path, small_decoder: Path
) -> None:
    """Until the hand has acknowledged a position, which a machine that is taken away may put off."""
    acknowledged: list[int] = []

    @contextmanager
    def watched() -> Iterator[VirtualHand]:
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                if len(hand.round_trips_s()):
                    os.kill(os.getpid(), signal.SIGINT)
                    return

        with virtual_hand() as hand:
            assert isinstance(hand, VirtualHand)
            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                yield hand
            finally:
                over.set()
                watcher.join()
                acknowledged.append(len(hand.round_trips_s()))

    monkeypatch.setattr(guarding, "virtual_hand", watched)
    words = (f"session:{small_file}", "--bundle", small_decoder, "--headless", "--start", 0.5)
    result = run("run", *words, "--one-process")
    assert result.status == 0, result.err
    assert "commands applied" in result.out
    assert "link " in result.out
    assert acknowledged[0] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_run_is_guarded_by_another_process_which_every_command_reaches_and_which_tells_what_became_of_it(
    run: Run, small_file: Path, small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    out = tmp_path / "live.nwb"
    words = (f"session:{small_file}", "--bundle", small_decoder, "--seconds", 3, "--guard", "worn")
    result = run("run", *words, "--json", "--record", out)
    assert result.status == 0, result.err
    said = json.loads(result.out)
    assert said["commands_applied"] + said["commands_withheld"] + said["commands_dropped"] == said["hops"]
    recorded = read_session(out).recorded
    notes = [note.text for note in recorded.notes]
    assert any(note.startswith("gate arm: ") and note.endswith("(run)") for note in notes)
    assert any(note.startswith("gate release: ") for note in notes)
    assert recorded.sent is not None
    assert recorded.sent.state_names[recorded.sent.state[-1]] == "released"
    assert not recorded.sent.positions[-1].any()
    if recorded.commands is not None:  # else this machine let the gate see no rest in time
        followed = set(recorded.sent.sample_index.tolist())
        assert set(recorded.commands.sample_index.tolist()) <= followed
        assert said["latency_gate_send_p50_us"] > 0
    assert not list(tmp_path.glob("nervehand/*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--hand", "robot:here"), "'robot'"),
        (("--record", "/nowhere/at/all.nwb"), "/nowhere/at"),
        (("--hand", "virtual:F5:4E:48:00:00:01"), "--arm-as NAME"),
        (("--hand", "none", "--stop-line", "gpio:/x"), "leave out --one-process"),
        (("--one-process", "--guard", "left"), "leave out --one-process"),
        (("--hand", "none", "--transport", "usb:0"), "--transport does nothing with --hand none"),
        (("--bonded",), "--bonded does nothing with --hand virtual"),
        (("--side", "left"), "--side does nothing with --hand virtual"),
        (("--acknowledge-watchdog", "ada"), "--acknowledge-watchdog does nothing with --hand virtual"),
        (
            ("--hand", "rohand:/dev/none", "--arm-as", "ada", "--bonded"),
            "--bonded is for a hand over Bluetooth",
        ),
        (("--guard", "../left"), "cannot be called"),
        (("--stop-line", "door"), "there is no stop line 'door'"),
    ],
)
def test_run_refuses_senseless_options(
    run: Run, small_file: Path, small_decoder: Path, words: tuple[str, ...], said: str
) -> None:
    result = run("run", f"session:{small_file}", "--bundle", small_decoder, *words)
    assert result.status == 2
    assert said in result.err


def test_run_refuses_another_persons_decoder_and_another_stream(
    run: Run, small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.nwb"
    write_session(replace(small_session, meta=replace(small_session.meta, subject="somebody else")), path)
    words = (f"session:{path}", "--bundle", small_decoder, "--hand", "none", "--seconds", 0.5, "--json")
    refused = run("run", *words)
    assert refused.status == 2
    assert "somebody else" in refused.err
    assert run("run", *words, "--any-wearer").status == 0
    other = run("run", "simulated", "--bundle", small_decoder)
    assert other.status == 2
    assert "small.nhb" in other.err


def test_run_refuses_grips_for_gestures_that_the_decoder_does_not_have(
    run: Run, small_file: Path, small_decoder: Path, tmp_path: Path
) -> None:
    gesture = read_bundle(small_decoder).manifest.gestures[1]
    file = tmp_path / "hand.toml"
    file.write_text(
        f'address = "ability_hand:/dev/none"\n[grips]\n"{gesture}" = "power"\nfists = "power"\n',
        encoding="utf-8",
    )
    words = ("--bundle", small_decoder, "--hand", file, "--arm-as", "ada")
    result = run("run", f"session:{small_file}", *words)
    assert result.status == 2
    assert (
        "hand.toml: [grips] names 'fists', which the decoder cannot decide: its gestures are 'rest', "
        in result.err
    )
    assert repr(gesture) in result.err


def test_run_refuses_to_accept_any_wearer_where_nobody_is_compared(run: Run) -> None:
    bundle = Path(running.__file__).parent / "bundles" / "demo.nhb"
    result = run("run", "simulated", "--bundle", bundle, "--hand", "none", "--any-wearer")
    assert result.status == 2
    assert "--any-wearer is for a session" in result.err


@pytest.mark.usefixtures("patient")
def test_record_keeps_what_came_and_whose_it_is(
    run: Run, small_session: Session, small_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.nwb"
    result = run(
        "record", f"session:{small_file}", out, "--seconds", 1, "--start", 0.5, "--subject", "s7", "--side",
        "left", "--array", "cuff", "--mains", 60, "--json",
    )  # fmt: skip
    assert result.status == 0, result.err
    said = json.loads(result.out)
    n, first = round(small_session.info.rate_hz), round(0.5 * small_session.info.rate_hz)
    assert (said["samples"], said["lost_samples"]) == (n, 0)
    recorded = read_session(out)
    assert recorded.info == replace(small_session.info, mains_hz=60.0)
    assert (recorded.meta.subject, recorded.meta.side, recorded.meta.array) == ("s7", "left", "cuff")
    assert recorded.meta.start_time
    assert recorded.first_sample == small_session.first_sample + first
    np.testing.assert_array_equal(recorded.signal[0:n], small_session.signal[first : first + n])
    again = run("record", f"session:{small_file}", out)
    assert again.status == 2
    assert "exists already" in again.err
    assert run("record", f"session:{small_file}", tmp_path / "x.nwb", "--side", "up").status == 2


@contextmanager
def unplugged_once(session: Session, port: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SerialEmulator]:
    """The session at the other end of a serial line, at its own rate: unplugged once 100 blocks of it were taken,
    plugged in again at the second try to find it, and at its end 100 blocks later."""
    with SerialEmulator(session.info, iter_blocks(session, 25), port, speed=1.0) as emulator:

        class Unplugged(SerialDevice):
            tries = 0

            def connect(self) -> None:
                if self.counters.connections == 1:
                    self.tries += 1
                    if self.tries == 2:
                        emulator.plug()
                super().connect()

            def blocks(self) -> Iterator[SignalBlock]:
                for i, block in enumerate(super().blocks(), 1):
                    yield block
                    if i == 100 and self.counters.connections == 1:
                        emulator.unplug()
                    elif i == 100:
                        return

        patient = partial(Unplugged, stall_s=PATIENCE_S, answer_s=PATIENCE_S)
        monkeypatch.setattr(serial, "SerialDevice", patient)
        yield emulator


@pytest.mark.usefixtures("patient")
def test_a_recording_outlives_its_device_being_unplugged_and_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, small_session: Session, tmp_path: Path
) -> None:
    out = tmp_path / "out.nwb"
    with unplugged_once(small_session, tmp_path / "port", monkeypatch) as emulator:
        result = run("record", f"serial:{emulator.port}", out, "--json")
    assert result.status == 0, result.err
    said = json.loads(result.out)
    kinds = [event["kind"] for event in said["source_events"]]
    assert kinds[0] == "lost"
    assert "reconnected" in kinds
    assert said["lost_samples"] > 0
    recorded = read_session(out)
    assert sum(gap.stop - gap.start for gap in recorded.gaps) == said["lost_samples"]
    notes = [note.text for note in recorded.recorded.notes]
    assert any(note.startswith("source lost") for note in notes)
    assert any(note.startswith("source reconnected") for note in notes)
    if (
        "began anew" not in kinds
    ):  # else a host that stood still took the place of the last samples for impossible
        last = recorded.n_samples - 100
        at = recorded.first_sample + last - small_session.first_sample
        np.testing.assert_array_equal(recorded.signal[last : last + 100], small_session.signal[at : at + 100])


@pytest.mark.usefixtures("patient")
def test_a_live_run_outlives_its_device_being_unplugged_and_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, small_session: Session, small_decoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.nwb"
    with unplugged_once(small_session, tmp_path / "port", monkeypatch) as emulator:
        result = run(
            "run", f"serial:{emulator.port}", "--bundle", small_decoder, "--hand", "none", "--record", out,
            "--json",
        )  # fmt: skip
    assert result.status == 0, result.err
    said = json.loads(result.out)
    kinds = [event["kind"] for event in said["source_events"]]
    assert kinds[0] == "lost"
    assert "reconnected" in kinds
    assert said["restarts"] >= 1
    assert said["hops"] > 0
    recorded = read_session(out)
    assert recorded.gaps
    assert any(note.text.startswith("source lost") for note in recorded.recorded.notes)


def test_a_recording_whose_form_the_first_block_decides_keeps_what_comes_before_its_file_is_open(
    small_session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "deferred.nwb"
    with recording(path, small_session.info, None, meta=SessionMeta(identifier="x")) as recorder:
        recorder.source_event(SourceEvent(0, "lost", "before anything came"))
        for block, _ in zip(iter_blocks(small_session, 50), range(40), strict=False):
            recorder.samples(block)
    found = read_session(path)
    assert recorder.stopped == ""
    assert found.first_sample == small_session.first_sample
    np.testing.assert_array_equal(found.signal[0:2000], small_session.signal[0:2000])
    assert found.recorded.notes[0].text == "source lost: before anything came"


def test_microvolts_are_recorded_as_microvolts(small_session: Session, tmp_path: Path) -> None:
    path = tmp_path / "float.nwb"
    samples = small_session.microvolts(0, 500)
    with recording(path, small_session.info, None) as recorder:
        recorder.samples(SignalBlock(samples, 70))
    found = read_session(path)
    assert found.signal.dtype == np.float32
    assert found.first_sample == 70
    np.testing.assert_array_equal(found.signal[0:500], samples)


def test_a_recording_that_cannot_be_opened_stops_and_one_without_samples_is_an_error(
    small_session: Session, tmp_path: Path
) -> None:
    with recording(tmp_path / "no" / "such.nwb", small_session.info, None) as recorder:
        recorder.samples(next(iter_blocks(small_session, 50)))
    assert recorder.stopped
    with (
        pytest.raises(NervehandError, match="no sample was received"),
        recording(tmp_path / "empty.nwb", small_session.info, None),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_cutting_blocks_changes_no_sample_and_keeps_what_was_lost_before() -> None:
    samples = np.arange(23, dtype=np.int16)[:, None]
    digital = np.arange(23, dtype=np.uint32)
    parts = list(cut(iter([SignalBlock(samples, 7, lost_before=3, digital=digital)]), 10))
    assert [(part.first_sample, part.n_samples, part.lost_before) for part in parts] == [
        (7, 10, 3),
        (17, 10, 0),
        (27, 3, 0),
    ]
    np.testing.assert_array_equal(np.concatenate([part.samples for part in parts]), samples)
    found = [part.digital for part in parts if part.digital is not None]
    np.testing.assert_array_equal(np.concatenate(found), digital)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", ["serial", "intan"])
def test_a_session_served_as_a_front_end_can_be_recorded_from_it(
    run: Run, kind: str, small_session: Session, small_file: Path, tmp_path: Path
) -> None:
    words = ["emulate", kind, f"session:{small_file}", "--rate", "max", "--port", str(tmp_path / "port")]
    command = [sys.executable, "-m", "nervehand", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[-1]
            assert address.startswith(f"{kind}:")
            out = tmp_path / "out.nwb"
            result = run("record", address, out, "--seconds", 1, "--json")
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert result.status == 0, result.err
    assert json.loads(result.out)["lost_samples"] == 0
    found = read_session(out)
    n = round(small_session.info.rate_hz)
    np.testing.assert_array_equal(found.signal[0:n], small_session.signal[0:n])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("robot", "simulated"), "'robot'"),
        (("serial", "simulated", "--rate", "2"), "'2'"),
        (("serial", "lsl:x"), "its own pace"),
    ],
)
def test_emulate_refuses_what_it_cannot_serve(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("emulate", *words)
    assert result.status == 2
    assert said in result.err


def test_emulate_ends_with_the_error_of_its_source(
    run: Run, monkeypatch: pytest.MonkeyPatch, small_session: Session
) -> None:
    pytest.importorskip("zmq", reason="needs the extra openephys")

    class BreaksOff(SessionSource):
        def blocks(self) -> Iterator[SignalBlock]:
            yield from itertools.islice(super().blocks(), 2)
            raise NervehandError("the disk is gone")

    monkeypatch.setattr(
        emulating, "open_source", lambda *_, **__: BreaksOff(small_session, 100, is_paced=False)
    )
    result = run("emulate", "openephys", "session:any")
    assert result.status == 2
    assert "the disk is gone" in result.err
    assert "all samples are sent" not in result.out


def test_a_recording_that_was_stopped_before_it_was_connected_waits_for_no_sample(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @contextmanager
    def stopped_already() -> Iterator[threading.Event]:
        stop = threading.Event()
        stop.set()
        yield stop

    monkeypatch.setattr(running, "stop_on_signals", stopped_already)
    monkeypatch.setattr(running, "closed_by", lambda stop, source: nullcontext())  # had nothing to close
    out = tmp_path / "nothing.nwb"
    result = run("record", "simulated", out)
    assert "no sample was received" in result.err
    assert not out.exists()
