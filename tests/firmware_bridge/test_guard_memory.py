"""Shared memory: what is newest and whole is read, what is torn is refused and counted, and nobody waits."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.gate import GateState
from firmware_bridge.guard import Sent
from firmware_bridge.guard_memory import (
    MOST_GESTURE_BYTES,
    Cell,
    GuardMemory,
    Ring,
    decode_command,
    decode_moved,
    decode_sent,
    encode_command,
    encode_moved,
    encode_sent,
)
from firmware_bridge.hand import HandCommand, Quality
from firmware_bridge.movement_trace import Moved


def cells(capacity: int = 64) -> tuple[Cell, Cell, mmap.mmap]:
    memory = mmap.mmap(-1, 2 * Cell.size_of(capacity))
    return Cell(memory, 0, capacity), Cell(memory, 0, capacity), memory


def rings(n: int = 16) -> tuple[Ring, Ring, mmap.mmap]:
    memory = mmap.mmap(-1, n * Ring.RECORD_BYTES)
    return Ring(memory, 0, n), Ring(memory, 0, n), memory


def test_the_newest_wins_and_nothing_is_there_before_the_first() -> None:
    writer, reader, _ = cells()
    assert reader.read() == (0, b"")
    for i in range(1, 6):
        writer.write(b"x" * i)
        assert reader.read() == (i, b"x" * i)
    writer.write(b"")
    assert reader.read() == (6, b"")
    assert reader.refused == 0


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_torn_write_is_refused_and_counted_once_and_the_one_before_stays_in_force(
    at: int, bit: int
) -> None:
    writer, reader, memory = cells()
    writer.write(b"one")
    writer.write(b"two" * 21)
    start = 0  # the second write is in the first buffer
    at = start + at % (Cell.size_of(63))
    memory[at] ^= 1 << bit
    assert reader.read() == (1, b"one")
    assert reader.read() == (1, b"one")
    assert reader.refused == 1
    writer.write(b"three")
    assert reader.read() == (3, b"three")


@given(st.integers(0, 76))
def test_a_writer_that_dies_in_the_middle_leaves_the_payload_before(written: int) -> None:
    writer, reader, memory = cells()
    writer.write(b"a" * 60)
    before = bytes(memory[: Cell.size_of(64)])
    writer.write(b"b" * 60)
    whole = bytes(memory[: Cell.size_of(64)])
    memory[: Cell.size_of(64)] = whole[:written] + before[written:]
    assert reader.read() in ((1, b"a" * 60), (2, b"b" * 60))


def test_what_does_not_fit_is_an_error() -> None:
    writer, _, _ = cells(8)
    with pytest.raises(NervehandError, match="9 bytes do not fit"):
        writer.write(b"123456789")


@given(st.lists(st.binary(max_size=700), max_size=40), st.data())
def test_messages_come_in_order_and_whole_and_the_missing_ones_are_counted(
    messages: list[bytes], data: st.DataObject
) -> None:
    """However the reader comes and goes: what it gets is a part of what was written, in order."""
    writer, reader, _ = rings(16)
    got: list[bytes] = []
    for message in messages:
        writer.write(message)
        if data.draw(st.booleans()):
            got += reader.read()
    got += reader.read()
    following = iter(messages)
    assert all(any(message == one for one in following) for message in got)
    if reader.lost == 0:
        assert got == messages
    else:
        assert got != messages
    if messages and len(messages[-1]) < 700 and reader.lost == 0:
        assert got[-1] == messages[-1]


def test_a_reader_that_sleeps_loses_the_oldest_counts_them_and_goes_on() -> None:
    writer, reader, _ = rings(16)
    for i in range(100):
        writer.write(str(i).encode())
    got = [int(message) for message in reader.read()]
    assert got == list(range(got[0], 100))
    assert reader.lost == got[0] > 80
    writer.write(b"next")
    assert list(reader.read()) == [b"next"]


def test_a_spoilt_record_loses_its_message_and_no_other() -> None:
    writer, reader, memory = rings(64)
    writer.write(b"first")
    writer.write(b"long" * 100)  # four records
    writer.write(b"last")
    memory[4 * Ring.RECORD_BYTES + 20] ^= 1
    assert list(reader.read()) == [b"first", b"last"]
    assert reader.lost == 4


def test_a_command_and_what_was_sent_travel_bit_for_bit() -> None:
    targets = np.array([0.1, -1, 1, np.nan, np.inf, 1e-30], np.float32)
    command = HandCommand(targets, 2**40, 123, 456, "pinch ✌", Quality(True, 0.1, 1 / 3))
    again = decode_command(encode_command(command))
    assert again.targets.tobytes() == targets.tobytes()
    assert (again.sample_index, again.issued_ns, again.expires_ns) == (2**40, 123, 456)
    assert (again.gesture, again.quality) == (command.gesture, command.quality)
    sent = Sent(99, -1, targets, GateState.RELEASED, 97, 98)
    back = decode_sent(encode_sent(sent))
    assert back.positions.tobytes() == targets.tobytes()
    assert (back.sent_ns, back.sample_index, back.state) == (99, -1, GateState.RELEASED)
    assert (back.taken_ns, back.decided_ns) == (97, 98)
    moved = Moved(2**40, 2**60, 2**60 + 1)
    assert decode_moved(encode_moved(moved)) == moved


def test_targets_that_are_not_six_stay_none_that_can_be_followed() -> None:
    command = HandCommand(np.zeros(4, np.float32), 0, 0, 1)
    assert decode_command(encode_command(command)).targets.shape != (6,)


def test_a_gesture_with_an_endless_name_is_an_error() -> None:
    command = HandCommand(np.zeros(6, np.float32), 0, 0, 1, "é" * MOST_GESTURE_BYTES)
    with pytest.raises(NervehandError, match="400 bytes"):
        encode_command(command)


def test_two_processes_see_whole_commands_only() -> None:
    """One writes as fast as it can, the other reads: never a mixture, never one that is older than the last."""
    script = """
import sys, numpy as np
from firmware_bridge.guard_memory import GuardMemory, encode_command
from firmware_bridge.hand import HandCommand
memory = GuardMemory(int(sys.argv[1]))
for i in range(20000):
    memory.command.write(encode_command(HandCommand(np.full(6, i, np.float32), i, i, i, "g" * (i % 50))))
"""
    descriptor = GuardMemory.make()
    memory = GuardMemory(descriptor)
    seen = [0]
    with subprocess.Popen([sys.executable, "-c", script, str(descriptor)], pass_fds=[descriptor]) as process:
        while process.poll() is None or seen[-1] < 20000:
            sequence, payload = memory.command.read()
            if sequence > seen[-1]:
                seen.append(sequence)
                found = decode_command(payload)
                i = found.sample_index
                assert sequence == i + 1
                assert found.targets.tolist() == [i] * 6
                assert (found.issued_ns, found.expires_ns, found.gesture) == (i, i, "g" * (i % 50))
            assert sequence == seen[-1] or sequence == 0 or memory.refused, "it went back"
            time.sleep(0)
    assert process.returncode == 0
    assert len(seen) > 2
    os.close(descriptor)
    memory.close()


@pytest.mark.parametrize("has_memfd", [True, False])
def test_the_heartbeat_counts_and_dates_itself(has_memfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptor = GuardMemory.make()
    ours, theirs = GuardMemory(descriptor), GuardMemory(descriptor)
    assert theirs.last_beat() == (0, 0)
    ours.beat(5)
    ours.beat(2**60)
    assert theirs.last_beat() == (2, 2**60)
    os.close(descriptor)
