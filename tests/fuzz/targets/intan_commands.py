"""RHX's answers as text, what they say of a setup, and the emulator's reading of commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from firmware_bridge.emulators._rhx import RhxState
from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import _intan_commands as commands
from firmware_bridge.sources import _intan_protocol as protocol
from firmware_bridge.sources._interrupt import Interrupt

_NOTHING_SET = Interrupt()


def _rhx() -> RhxState:
    state = RhxState("20000", ("A-000", "A-001"), 5001)
    state.enabled = {"A-000|", "A-001|"}
    return state


class _Answers(commands.CommandLink):
    """RHX's answers to every question, with those at the places that the input names replaced by its texts."""

    def __init__(self, replaced: dict[int, str]) -> None:
        super().__init__("127.0.0.1", 1, 0.0)
        self._replaced, self._rhx, self._asked = replaced, _rhx(), 0

    def ask(self, commands: Sequence[str], interrupt: Interrupt) -> tuple[str, str]:
        answers = []
        for command in commands:
            answers.append(self._replaced.get(self._asked % 256, self._rhx.answer(command)))
            self._asked += 1
        answer = protocol.split_answer("".join(answers) + self._rhx.answer("get runmode"))
        assert answer is not None
        return answer[0], answer[1]


def seeds() -> Iterator[bytes]:
    yield b"\0" + _rhx().answer("get sampleratehertz;get type;get nothing;get runmode").encode()
    yield b"\1\x03Return: SampleRateHertz 30000"
    yield b"\1\x00Return: SampleRateHertz nan\n\x06Return: TCPWaveformDataOutputPort 0000005001"
    yield b"\1\x08Return: NumberAmplifierChannels 3\n\x0cUnrecognized parameter"
    yield b"\2get type;set a-000.tcpdataoutputenabled true;set runmode run;execute clearalldataoutputs"


def check(data: bytes) -> None:
    kind, text = data[:1], data[1:].decode("latin-1")
    try:
        if kind == b"\0":
            answer = protocol.split_answer(text)
            for n in range(4):
                values = protocol.answered_values(text if answer is None else answer[0], n)
                assert len(values) == n
        elif kind == b"\1":
            lines = text.split("\n")
            setup = commands.ask_setup(_Answers({ord(one[0]): one[1:] for one in lines if one}), _NOTHING_SET)
            assert 1 <= setup.waveform_port <= 65535
            assert 1 <= setup.blocks_per_write <= 100
            assert 0 < setup.rate_hz < float("inf")
            assert setup.info().n_channels == len(setup.layout.channel_names)
        elif kind == b"\2":
            state = _rhx()
            state.answer(text)
            assert state.run_mode in ("Run", "Stop")
            assert set(state.words()) <= {f"A-00{i}{end}" for i in (0, 1) for end in _ENDS} | {
                protocol.DIGITAL_IN
            }
    except NervehandError:
        return


_ENDS = ("", "|LOW", "|HIGH", "|DC", "|STIM")
