"""Inspecting a source: what a person is shown of a recording, and of a device at the other end of a real line."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from decoder.session.model import Session
from firmware_bridge.emulators.serial import SerialEmulator
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import LinkCounters, SignalBlock, StreamInfo
from nervehand import inspection
from nervehand.inspection import Inspection, Listener, remarks
from nervehand.inspection_table import channel_table, inspection_json, print_inspection
from tests.nervehand.conftest import Run

RATE_HZ = 2000.0


def info(n_channels: int = 4, **more: object) -> StreamInfo:
    return StreamInfo(RATE_HZ, tuple(f"c{i:04d}" for i in range(n_channels)), "nerve", **more)


def blocks(samples: np.ndarray, n: int = 20, scale_uv: float = 1.0) -> Iterator[SignalBlock]:
    for first in range(0, len(samples), n):
        rows = samples[first : first + n]
        at_ns = round((first + len(rows)) / RATE_HZ * 1e9)
        yield SignalBlock(rows, first, at_ns, scale_uv=scale_uv)


def noise(n: int, n_channels: int = 4) -> np.ndarray:
    return (np.random.default_rng(3).standard_normal((n, n_channels)) * 10).astype(np.float32)


def inspected(samples: np.ndarray, stream: StreamInfo | None = None, **more: object) -> Inspection:
    listener = Listener(stream or info(samples.shape[1]))
    for block in blocks(samples):
        listener.add(block)
    return listener.summed_up("test", **more)


def shown(found: Inspection, width: int = 80) -> str:
    out = io.StringIO()
    print_inspection(found, Console(file=out, width=width))
    return out.getvalue()


def telling(heard: threading.Event) -> type[Listener]:
    """One that says when it has heard a thousand samples."""

    class Telling(Listener):
        def add(self, block: SignalBlock) -> None:
            super().add(block)
            if self.samples >= 1000:
                heard.set()

    return Telling


def test_a_good_stream_is_summed_up_without_a_remark() -> None:
    found = inspected(noise(6000))
    assert (found.samples, found.gaps, found.lost_samples) == (6000, 0, 0)
    assert found.rate is not None
    assert found.rate.agrees_with(RATE_HZ)
    assert (found.block_samples_p50, found.block_samples_max) == (20, 20)
    assert remarks(found) == []
    assert "nothing conspicuous" in shown(found)


def test_gaps_are_counted_and_the_signal_is_judged_from_the_stretches_between() -> None:
    samples = noise(6000)
    listener = Listener(info())
    for block in blocks(samples):
        if 2000 <= block.first_sample < 2100 or block.first_sample == 4000:
            continue
        listener.add(block)
    found = listener.summed_up("test")
    assert (found.gaps, found.lost_samples) == (2, 120)
    assert found.kept_s == pytest.approx((6000 - 120) / RATE_HZ)
    assert found.rate is not None
    assert found.rate.agrees_with(RATE_HZ)
    assert any("120 samples were lost in 2 gaps" in remark for remark in remarks(found))


def test_only_the_last_part_of_a_long_stream_is_kept() -> None:
    listener = Listener(info(), most_bytes=4 * 4 * 1000)
    for block in blocks(noise(6000)):
        listener.add(block)
    found = listener.summed_up("test")
    assert found.samples == 6000
    assert found.kept_s == pytest.approx(1000 / RATE_HZ)


def test_each_thing_that_is_wrong_has_its_remark() -> None:
    samples = noise(6000)
    samples[:, 0] = 3.0
    samples[50, 1] = 5000.0
    samples[60, 2] = np.nan
    t = np.arange(6000) / RATE_HZ
    samples[:, 1:] += (100 * np.sin(2 * np.pi * 60 * t)).astype(np.float32)[:, None]
    said = "\n".join(
        remarks(inspected(samples, info(full_scale_uv=5000.0), counters=LinkCounters(bad_frames=3)))
    )
    assert "c0000 is flat" in said
    assert "c0001 is railed" in said
    assert "c0002 is not finite" in said
    assert "60 Hz is stronger than the declared mains of 50 Hz" in said
    assert "3 frames were damaged" in said
    at_sixty = remarks(inspected(samples, info(full_scale_uv=5000.0, mains_hz=60.0)))
    assert any("mostly mains" in remark for remark in at_sixty)
    loud = noise(6000)
    loud[:, 2] *= 10
    assert any("c0002 is noisier" in remark for remark in remarks(inspected(loud)))


def test_a_wrong_rate_is_a_remark() -> None:
    found = inspected(noise(6000), replace(info(), rate_hz=2100.0))
    assert any("-4.76 % off" in remark for remark in remarks(found))
    assert "NOT what it should be" in shown(found)


def test_sixteen_channels_have_a_row_each_in_eighty_columns() -> None:
    text = shown(inspected(noise(6000, 16) * 1000, info(16, full_scale_uv=30_000.0)))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for i in range(16):
        assert f"c{i:04d} " in text
    assert "…" not in text


def test_of_many_channels_the_range_and_the_worst_are_shown() -> None:
    samples = noise(3000, 200)
    samples[:, 123] = 0.0
    samples[:, 7] *= 5
    found = inspected(samples)
    assert len(channel_table(found).rows) == 3 + 8
    text = shown(found)
    assert "median" in text
    assert "c0123" in text
    assert "c0007" in text
    assert len(inspection_json(found)["channels"]) == 200


def test_what_was_found_is_json_without_anything_that_json_cannot_hold() -> None:
    found = inspected(noise(100), unjudged="not judged here")
    said = json.loads(json.dumps(inspection_json(found), allow_nan=False))
    assert said["rate_measured_hz"] is None
    assert said["rate_note"] == "not judged here"
    assert said["channels"][0]["noise_uv"] is None


@pytest.mark.usefixtures("patient")
def test_impedance_is_shown_where_the_device_measures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(inspection, "Listener", telling(stop))
    samples = (noise(20_000) / 0.195).astype(np.int16)
    measured = (12e3, None, 1e6, 47e3)
    with SerialEmulator(
        info(), blocks(samples, scale_uv=0.195), tmp_path / "port", speed=1.0, impedance_ohm=measured
    ) as emulator:
        found = inspection.inspect(f"serial:{emulator.port}", 3600.0, 0.0, stop)
    text = shown(found)
    assert "kΩ" in text
    assert "12.0" in text
    assert "1,000" in text


def test_where_nothing_comes_an_error_says_so() -> None:
    with pytest.raises(NervehandError, match="nothing came"):
        Listener(info()).summed_up("serial:x")


def test_a_recording_is_inspected_as_fast_as_it_is_read(
    run: Run, small_file: Path, small_session: Session
) -> None:
    result = run("inspect", f"session:{small_file}", "--seconds", 2, "--start", 1, "--json")
    assert result.status == 0, result.err
    said = json.loads(result.out)
    assert said["rate_measured_hz"] is None
    assert said["samples"] == 2 * small_session.info.rate_hz
    assert [row["name"] for row in said["channels"]] == list(small_session.info.channel_names)
    assert run("inspect", f"session:{small_file}").status == 0


def test_a_person_may_know_the_mains_better_than_the_device(run: Run, small_file: Path) -> None:
    said = json.loads(run("inspect", f"session:{small_file}", "--mains", 60, "--json").out)
    assert said["mains_declared_hz"] == 60
    refused = run("inspect", f"session:{small_file}", "--mains", 55)
    assert refused.status == 2
    assert "55 Hz" in refused.err


@pytest.mark.usefixtures("patient")
def test_a_device_is_inspected_on_its_line(
    run: Run, small_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class UntilItsRateIsSeen(Listener):
        """Ctrl-C, from then on: a host that stood still hears much at once, which says nothing about a rate."""

        def add(self, block: SignalBlock) -> None:
            super().add(block)
            if len(self._ends) % 100 == 0 and self.summed_up("so far").rate is not None:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(inspection, "Listener", UntilItsRateIsSeen)
    counts = np.asarray(small_session.signal[0:20_000])
    served = (
        SignalBlock(counts[at % 20_000 :][:25], at, scale_uv=small_session.scale_uv)
        for at in itertools.count(0, 25)
    )
    with SerialEmulator(small_session.info, served, tmp_path / "port", speed=1.0) as emulator:
        result = run("inspect", f"serial:{emulator.port}", "--seconds", 3600, "--json")
    assert result.status == 0, result.err
    said = json.loads(result.out)
    assert said["link"]["bad_frames"] == 0
    assert said["block_samples_max"] == 25
    assert said["rate_nominal_hz"] == small_session.info.rate_hz
    assert said["rate_measured_hz"] > 0
    assert said["samples"] > 0


def test_ctrl_c_shows_what_there_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = threading.Event()

    def interrupt() -> None:
        heard.wait()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(inspection, "Listener", telling(heard))
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    result = run("inspect", "simulated", "--seconds", 3600, "--json")
    thread.join(60)
    assert result.status == 0, result.err
    said = json.loads(result.out)
    assert said["samples"] >= 1000
    assert said["rate_measured_hz"] is None  # paced by the clock that it would be judged by


def test_a_device_that_is_not_there_is_one_clear_error(run: Run, tmp_path: Path) -> None:
    result = run("inspect", f"serial:{tmp_path / 'nothing'}")
    assert result.status == 2
    assert len(result.err.strip().splitlines()) == 1
    assert "nothing" in result.err
