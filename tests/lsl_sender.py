"""An LSL sender in a process of its own, kept to the loopback: `with lsl_sender(folder) as sender`.

Its samples are `values(index, n_channels)`, a pure function of the sample's index, so a test can say what must arrive.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ANSWER = "sender: "
LOOPBACK = "[ports]\nIPv6 = disable\n[multicast]\nResolveScope = machine\n[log]\nlevel = -2\n"


def keep_lsl_on_the_loopback(folder: Path) -> None:
    """For this process and its children; must come before the library is first used."""
    path = folder / "lsl_api.cfg"
    path.write_text(LOOPBACK)
    os.environ["LSLAPICFG"] = str(path)


def values(index: NDArray[np.int64], n_channels: int) -> NDArray[np.int16]:
    """(len(index), n_channels): no two neighbouring samples are alike, and no two channels."""
    mixed = index[:, None] * 7919 + np.arange(n_channels) * 104_729
    return (mixed % 65_521 - 32_760).astype(np.int16)


class Sender:
    """The other process, by what it is told to do; each call returns when it is done."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **command: object) -> None:
        self.begin(**command)
        self.finish()

    def begin(self, **command: object) -> None:
        assert self._process.stdin is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)

    def finish(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                assert line.strip() == ANSWER + "done", line
                return
        raise AssertionError("the sender's process ended")

    def open(
        self,
        name: str,
        n_channels: int = 4,
        rate_hz: float = 1000.0,
        dtype: str = "float32",
        stype: str = "EMG",
        source_id: str = "",
        labels: list[str] | None = None,
        units: list[str] | None = None,
        types: list[str] | None = None,
    ) -> None:
        """Offer a stream; sample 0 has the stamp of now."""
        self.tell(do="open", name=name, n_channels=n_channels, rate_hz=rate_hz, dtype=dtype, stype=stype,
                  source_id=source_id, labels=labels, units=units, types=types)  # fmt: skip

    def send(self, pieces: list[tuple[int, int]], chunk: int = 50) -> None:
        """Samples first .. end - 1 for each piece, as fast as it goes, stamped by their index."""
        self.tell(do="send", pieces=pieces, chunk=chunk)

    def close(self) -> None:
        """The stream vanishes."""
        self.tell(do="close")


@contextmanager
def lsl_sender() -> Iterator[Sender]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lsl_sender"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            sender = Sender(process)
            sender.tell(do="nothing")  # its libraries are loaded
            yield sender
        finally:
            process.kill()


def main() -> None:
    from mne_lsl.lsl import StreamInfo, StreamOutlet, local_clock

    outlet = None
    rate_hz, n_channels, origin_s = 0.0, 0, 0.0
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "open":
                rate_hz, n_channels = command["rate_hz"], command["n_channels"]
                info = StreamInfo(
                    command["name"],
                    command["stype"],
                    n_channels,
                    rate_hz,
                    command["dtype"],
                    command["source_id"],
                )
                for what in ("names", "units", "types"):
                    said = command["labels" if what == "names" else what]
                    if said is not None:
                        getattr(info, f"set_channel_{what}")(said)
                outlet = StreamOutlet(info)
                origin_s = local_clock()
            case "send" if outlet is not None:
                for first, end in command["pieces"]:
                    for begin in range(first, end, command["chunk"]):
                        index = np.arange(begin, min(begin + command["chunk"], end))
                        push(outlet, index, n_channels, origin_s + index / rate_hz)
            case "stamped" if outlet is not None:  # stamps of the test's own making, for one sample each
                for index, stamp_s in zip(command["index"], command["stamps_s"], strict=True):
                    push(outlet, np.array([index]), n_channels, np.array([origin_s + stamp_s]))
            # Each piece when it is due, without `dropped`, until told something.
            case "paced" if outlet is not None:
                start, pace_hz = time.monotonic(), command.get("pace_hz", rate_hz)
                dropped = np.array(command["dropped"], np.int64)
                for begin in range(0, command["n"], command["chunk"]):
                    if select.select([sys.stdin], [], [], 0)[0]:
                        break
                    index = np.arange(begin, min(begin + command["chunk"], command["n"]))
                    time.sleep(max(0.0, start + (index[-1] + 1) / pace_hz - time.monotonic()))
                    index = index[~np.isin(index, dropped, assume_unique=True)]
                    if index.size:
                        stamps = None if command["stamps"] == "when sent" else origin_s + index / pace_hz
                        push(outlet, index, n_channels, stamps)
            case "close":
                outlet = None
        print(f"{ANSWER}done", flush=True)


def push(
    outlet: object, index: NDArray[np.int64], n_channels: int, stamps: NDArray[np.float64] | None
) -> None:
    from mne_lsl.lsl import StreamOutlet

    assert isinstance(outlet, StreamOutlet)
    rows = values(index, n_channels)
    if index.size == 1:
        outlet.push_sample(rows[0].astype(outlet.dtype), 0.0 if stamps is None else float(stamps[0]))
    else:
        outlet.push_chunk(rows, stamps)


if __name__ == "__main__":
    main()
