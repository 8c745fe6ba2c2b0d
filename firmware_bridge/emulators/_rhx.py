"""What Intan RHX's command port knows and answers: state and text, no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from firmware_bridge.sources._intan_protocol import DIGITAL_IN, is_amplifier


def rate_text(rate_hz: float) -> str:
    """A sampling rate as RHX says it: a third of 10 kHz is "3333"."""
    return f"{rate_hz:.0f}" if rate_hz.is_integer() or abs(rate_hz - 1e4 / 3) < 1 else repr(rate_hz)


@dataclass(slots=True)
class RhxState:
    """RHX's settings as its commands see them; outputs are named as RHX names channels, with "low", "high", "dc" or
    "stim" after a "|" for an amplifier's other outputs."""

    rate_text: str
    amplifiers: tuple[str, ...]
    waveform_port: int
    kind: str = "ControllerRecordUSB3"
    n_digital: int = 2
    blocks_per_write: int = 10
    enabled: set[str] = field(default_factory=set)
    run_mode: str = "Stop"
    waveform_status: str = "Disconnected"
    wants_waveforms: bool = False

    def words(self) -> tuple[str, ...]:
        """The names of a frame's words, in the order in which RHX sends them."""
        words: list[str] = []
        for name in self.amplifiers:
            for end, suffix in (
                ("", ""),
                ("low", "|LOW"),
                ("high", "|HIGH"),
                ("dc", "|DC"),
                ("stim", "|STIM"),
            ):
                if f"{name}|{end}" in self.enabled:
                    words.append(name + suffix)
        if any(f"{name}|" in self.enabled for name in self.digital_inputs()):
            words.append(DIGITAL_IN)
        return tuple(words)

    def digital_inputs(self) -> tuple[str, ...]:
        return tuple(f"DIGITAL-IN-{i + 1:02d}" for i in range(self.n_digital))

    def answer(self, request: str) -> str:
        """RHX's answers to one read of its socket, run together as it writes them."""
        return "".join(self._answer(command.split()) for command in request.split(";") if command.strip())

    def _answer(self, words: list[str]) -> str:
        verb = words[0].lower()
        if verb == "get" and len(words) == 2:
            return self._get(words[1].lower())
        if verb == "set" and len(words) == 3:
            return self._set(words[1].lower(), words[2].lower())
        if verb == "execute" and len(words) == 2:
            return self._execute(words[1].lower())
        return f"Error - Command 1: Unrecognized command {words[0]}"

    def _get(self, name: str) -> str:
        channel, dot, item = name.partition(".")
        output = self._output(channel, item) if dot else None
        if output is not None:
            return f"Return: TCPDataOutputEnabled{_spelled(output)} {output in self.enabled}"
        if dot and item == "numberamplifierchannels" and len(channel) == 1 and channel in "abcdefgh":
            n = sum(one.startswith(f"{channel.upper()}-") for one in self.amplifiers)
            return f"Return: NumberAmplifierChannels {n}"
        if dot and item in ("numberauxiliarychannels", "numbersupplyvoltagechannels") and len(channel) == 1:
            return "Return: NumberAuxiliaryChannels 0"
        values = {
            "sampleratehertz": f"SampleRateHertz {self.rate_text}",
            "type": f"Type {self.kind}",
            "expanderconnected": f"ExpanderConnected {self.n_digital == 16}",
            "actuallowerbandwidthhertz": "ActualLowerBandwidthHertz 0.0945291",
            "actualupperbandwidthhertz": "ActualUpperBandwidthHertz 7603.77",
            "notchfilterfreqhertz": "NotchFilterFreqHertz None",
            "tcpwaveformdataoutputport": f"TCPWaveformDataOutputPort {self.waveform_port}",
            "tcpnumberdatablocksperwrite": f"TCPNumberDataBlocksPerWrite {self.blocks_per_write}",
            "tcpwaveformdataoutputconnectionstatus": f"TCPWaveformDataOutputConnectionStatus {self.waveform_status}",
            "runmode": f"RunMode {self.run_mode}",
        }
        return f"Return: {values[name]}" if name in values else "Unrecognized parameter"

    def _set(self, name: str, value: str) -> str:
        channel, dot, item = name.partition(".")
        output = self._output(channel, item) if dot else None
        if output is not None and value in ("true", "false"):
            (self.enabled.add if value == "true" else self.enabled.discard)(output)
            return ""
        if name == "tcpnumberdatablocksperwrite" and value.isdigit() and 1 <= int(value) <= 100:
            if self.run_mode != "Stop":
                return "TCPNumberDataBlocksPerWrite cannot be set while the board is running"
            self.blocks_per_write = int(value)
            return ""
        if name == "runmode" and value in ("run", "stop"):
            if value == "run" and self.run_mode != "Stop":
                return "Board must be stopped in order to start running"
            if value == "stop" and self.run_mode == "Stop":
                return "Board must be running in order to stop"
            self.run_mode = value.capitalize()
            return ""
        return "Unrecognized parameter"

    def _execute(self, action: str) -> str:
        if action == "clearalldataoutputs":
            self.enabled.clear()
        elif action == "connecttcpwaveformdataoutput":
            self.wants_waveforms = True
            self.waveform_status = "Pending"
        elif action == "disconnecttcpwaveformdataoutput":
            self.wants_waveforms = False
            self.waveform_status = "Disconnected"
        else:
            return "Unrecognized action"
        return ""

    def _output(self, channel: str, item: str) -> str | None:
        """The output that "a-000", "tcpdataoutputenabledlow" names; None where there is none."""
        name, prefix = channel.upper(), "tcpdataoutputenabled"
        if not item.startswith(prefix):
            return None
        end = item.removeprefix(prefix)
        is_there = (
            name in self.amplifiers if is_amplifier(name) else name in self.digital_inputs() and not end
        )
        return f"{name}|{end}" if is_there and end in ("", "low", "high", "dc", "stim") else None


def _spelled(output: str) -> str:
    end = output.partition("|")[2]
    return end.upper() if end == "dc" else end.capitalize()
