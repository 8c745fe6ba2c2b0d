"""What a run tells its recorder comes out as it went in."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.intent import Intents
from decoder.recording import messages
from decoder.recording.messages import Moment, Pin
from decoder.session.recorded import TRACE_TIMES, Event, EventKind, Note
from firmware_bridge.gate import GateState
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand, HandState, Quality
from firmware_bridge.stream import SignalBlock
from tests.decoder.recording.rig import HEADER


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("lines", [None, np.array([0, 1, 1 << 31], np.uint32)])
def test_a_block(dtype: type, lines: np.ndarray | None) -> None:
    samples = (np.arange(12).reshape(4, 3).T[:, ::-1] * 3).astype(dtype)  # lies otherwise than it is sent
    sent = SignalBlock(samples, 1 << 40, 7, 3, 0.195, lines)
    got = messages.decode_block(b"".join(messages.encode_block(sent)))
    assert np.array_equal(got.samples, samples)
    assert got.samples.dtype == dtype
    assert (got.first_sample, got.arrival_ns, got.lost_before, got.scale_uv) == (1 << 40, 7, 3, 0.195)
    assert (got.digital is None) == (lines is None)
    assert lines is None or np.array_equal(np.asarray(got.digital), lines)


def test_a_moment_with_its_header_and_state() -> None:
    sent = Moment(HEADER, bytes(range(256)), "another decoder")
    assert messages.decode_moment(b"".join(messages.encode_moment(sent))) == sent


def test_intents_of_several_hops() -> None:
    rng = np.random.default_rng(0)
    sent = Intents(
        np.array([5, 25]), rng.normal(size=(2, 2)).astype(np.float32), rng.normal(size=(2, 6)).astype(np.float32),
        np.array([0, 1], np.int16), np.array([0.5, np.nan], np.float32), np.array([True, False]),
        np.ones(2, np.float32),
    )  # fmt: skip
    got = messages.decode_intents(b"".join(messages.encode_intents(sent)))
    for name in Intents.__dataclass_fields__:
        assert getattr(got, name).dtype == getattr(sent, name).dtype
        assert np.array_equal(
            getattr(got, name), getattr(sent, name), equal_nan=getattr(sent, name).dtype.kind == "f"
        )


def test_what_becomes_of_a_command() -> None:
    command = HandCommand(
        np.linspace(-1, 1, 6, dtype=np.float32), 99, 5, 6, "fäust", Quality(False, 0.5, 1.0)
    )
    got = messages.decode_told(b"".join(messages.encode_told(command)))
    assert np.array_equal(got.targets, command.targets)
    assert (got.sample_index, got.gesture, got.quality) == (99, "fäust", command.quality)
    sent = [
        Sent(i, i + 1, np.full(6, i, np.float32), state)
        for i, state in enumerate((GateState.ARMED, GateState.HOLDING))
    ]
    back = messages.decode_all_sent(b"".join(messages.encode_all_sent(sent)))
    assert [(one.sent_ns, one.sample_index, one.state) for one in back] == [
        (0, 1, GateState.ARMED),
        (1, 2, GateState.HOLDING),
    ]
    times = np.arange(2 * len(TRACE_TIMES)).reshape(2, -1)
    index, got_times = messages.decode_traces(b"".join(messages.encode_traces(np.array([3, 4]), times)))
    assert index.tolist() == [3, 4]
    assert np.array_equal(got_times, times)


def test_states_events_notes_health_and_pins() -> None:
    state = HandState(np.array([0, 1, np.nan, 0, 0, -1], np.float32), 77, True, "jämmed")
    got = messages.decode_state(b"".join(messages.encode_state(state)))
    assert (got.reported_ns, got.watchdog_tripped, got.fault) == (77, True, "jämmed")
    assert np.array_equal(got.positions, state.positions, equal_nan=True)
    event = Event(1 << 40, EventKind.GAP, -5, 1 << 50)
    assert messages.decode_event(b"".join(messages.encode_event(event))) == event
    note = Note(3, "gegrüßt\nsei")
    assert messages.decode_note(b"".join(messages.encode_note(note))) == note
    mask = np.array([True] * 3 + [False] * 8)
    index, got_mask = messages.decode_health(b"".join(messages.encode_health(12, mask)))
    assert index == 12
    assert np.array_equal(got_mask, mask)
    pin = Pin("Ann", "it fell", 60.0)
    assert messages.decode_pin(b"".join(messages.encode_pin(pin))) == pin
