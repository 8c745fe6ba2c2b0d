"""The run's side of the recorder: takes what a SessionWriter takes, and hands it on without ever waiting."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decoder.carried import Carried, to_bytes
from decoder.intent import Intents
from decoder.recording import messages
from decoder.recording.messages import Kind, Moment, Pin
from decoder.recording.ring import RingSize, RingWriter
from decoder.session.layout import Header
from decoder.session.recorded import Event, Note
from decoder.session.sidecar import OnItsWay
from firmware_bridge.errors import NervehandError
from firmware_bridge.guard import Sent
from firmware_bridge.hand import HandCommand, HandState
from firmware_bridge.stream import SignalBlock

LOOK_S = 0.01


class Sender:
    """Hands over to a recorder in another process, through the ring at `memory`. One thread owns it.

    Before the first block, and each few seconds from then on, comes a `moment`: a file may begin there.
    """

    def __init__(self, memory: int, size: RingSize, header: Header) -> None:
        self._ring = RingWriter(memory, size)
        self._header = header
        self._mask: NDArray[np.bool_] | None = None
        self._judged = 0
        self._next: int | None = None
        self._reports = 0
        self._way: OnItsWay | None = None
        self._way_to = ""
        self._is_closed = False
        self._looked_s = float("-inf")
        self.report: Mapping[str, object] = {}
        """The newest that `look` has taken."""

    @property
    def present_sample(self) -> int:
        """Where what happens now belongs: the last sample handed over, 0 where none came yet. From any thread."""
        return max((self._next or 0) - 1, 0)

    @property
    def taken(self) -> int:
        """The newest message that the recorder is through with."""
        return self._ring.taken

    @property
    def sign_of_life(self) -> tuple[int, int]:
        """Changes as long as the recorder lives: what it is through with, how often it reported. From any thread."""
        return self._ring.taken, self._ring.report.read()[0]

    @property
    def backlog(self) -> int:
        """Messages that the recorder is not through with."""
        return self._ring.written - self._ring.taken

    def moment(self, carried: Carried | None, header: Header | None = None, begins_anew: str = "") -> None:
        """A file may begin here; it must where `begins_anew` says why. `header` None is the one of before.

        `carried` is what the decoder carries before the next sample, None where it begins there.
        """
        self._header = header or self._header
        state = b"" if carried is None else to_bytes(carried)
        self._put(Kind.MOMENT, messages.encode_moment(Moment(self._header, state, begins_anew)))
        if self._mask is not None:  # a file that begins here begins with it
            self._put(Kind.HEALTH, messages.encode_health(self._judged, self._mask))

    def append(self, block: SignalBlock) -> None:
        """A block as it was received."""
        self._put(Kind.BLOCK, messages.encode_block(block))
        self._next = block.first_sample + block.n_samples
        now_s = time.monotonic()
        if now_s - self._looked_s > LOOK_S:
            self._looked_s = now_s
            self.look()
        if self._way is not None:
            self._way.note(self._next)

    def health(self, sample_index: int, mask: NDArray[np.bool_]) -> None:
        """The mask (c,) that holds from this sample on."""
        self._judged = sample_index
        if self._mask is None or not np.array_equal(mask, self._mask):
            self._mask = np.array(mask, np.bool_)
            self._put(Kind.HEALTH, messages.encode_health(sample_index, self._mask))

    def intents(self, intents: Intents) -> None:
        self._put(Kind.INTENTS, messages.encode_intents(intents))

    def command(self, command: HandCommand) -> None:
        self._put(Kind.COMMAND, messages.encode_told(command))

    def sent(self, sent: Sequence[Sent]) -> None:
        """What was handed to the hand, in that order."""
        self._put(Kind.SENT, messages.encode_all_sent(sent))

    def state(self, state: HandState) -> None:
        """A report of the hand."""
        self._put(Kind.STATE, messages.encode_state(state))

    def event(self, event: Event) -> None:
        self._put(Kind.EVENT, messages.encode_event(event))

    def note(self, note: Note) -> None:
        self._put(Kind.NOTE, messages.encode_note(note))

    def traces(self, sample_index: NDArray[np.int64], times_ns: NDArray[np.int64]) -> None:
        """When commands were where (recorded.TRACE_TIMES)."""
        self._put(Kind.TRACES, messages.encode_traces(sample_index, times_ns))

    def pin(self, pin: Pin) -> None:
        """Keep the files of the last seconds, whatever the budget says."""
        self._put(Kind.PIN, messages.encode_pin(pin))

    def newest_report(self) -> Mapping[str, object]:
        """What the recorder said last of itself (keeper.Report as plain JSON); empty before that. From any thread."""
        n, payload = self._ring.report.read()
        found: Mapping[str, object] = json.loads(payload) if n else {}
        return found

    def look(self) -> None:
        """Take the recorder's newest report, and note from now on in its present file how far samples have come.

        `append` does so each LOOK_S.
        """
        n, payload = self._ring.report.read()
        if n == self._reports or not n:
            return
        self._reports, self.report = n, json.loads(payload)
        path = str(self.report.get("tail", ""))
        if path and path != self._way_to:  # between two files the one before still counts what is on its way
            if self._way is not None:
                self._way.note(0)  # what was on its way there is in the next one
            self._leave_way()
            self._way_to = path
            with contextlib.suppress(NervehandError):  # it has ended meanwhile
                self._way = OnItsWay(Path(path))

    def close(self, *, failing: bool = False) -> None:
        """Nothing more comes: the recorder closes its file."""
        if self._is_closed:
            return
        self._is_closed = True
        self._put(Kind.END, ())
        self._leave_way()
        self._ring.close()

    def _put(self, kind: Kind, parts: messages.Parts) -> None:
        self._ring.write(kind, *parts)

    def _leave_way(self) -> None:
        if self._way is not None:
            self._way.close()
            self._way = None
