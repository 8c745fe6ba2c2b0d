"""`nervehand health`: a recording's bad channels and artefacts, found where they were put."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calibration.channel_loss import ChannelLoss, lose_channels
from decoder.session.writer import write_session
from firmware_bridge.nerve.subject import SimulatedSubject
from nervehand.health_report import report_on, run_health
from nervehand.simulate import simulated_session

SECONDS = 24.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    session = simulated_session(1, 1, seconds=SECONDS, preset="hard")
    path = tmp_path_factory.mktemp("health") / "hard.nwb"
    write_session(lose_channels(session, (ChannelLoss(3, "railed", 120_000),), 1), path)
    return path


def test_what_was_put_in_is_found_and_nothing_else(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "p.svg"
    run_health(recorded, picture, 5.0, 10.0, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert list(said["masked_s"]) == ["ch03"]
    assert said["masked_s"]["ch03"] == pytest.approx(SECONDS - 12, abs=0.1)
    masked = [event for event in said["events"] if event["kind"] == "masked"]
    assert [(e["channel"], e["cause"]) for e in masked] == [("ch03", "railed")]
    assert abs(masked[0]["sample_index"] - 120_000) <= 1
    subject = SimulatedSubject(1, preset="hard")
    discharges = [a.start for a in subject.artefacts(0, round(SECONDS * 10_000)) if a.kind == "discharge"]
    found = [event["sample_index"] for event in said["events"] if event["kind"] == "artefact"]
    assert len(found) == len(
        [start for start in discharges if start > 10_000]
    )  # the first second is not judged
    assert all(min(abs(np.array(discharges) - index)) < 20 for index in found)
    assert "<svg" in picture.read_text()


def test_a_person_reads_times_channels_and_causes(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_health(recorded, None, 0.0, 10.0, as_json=False)
    out = capsys.readouterr().out
    assert "12.000 s  ch03 masked: railed" in out
    assert "masked: ch03 12.0 s; artefacts by channels hit:" in out


def test_a_sound_recording_has_nothing_to_say() -> None:
    report = report_on(simulated_session(2, 1, seconds=6.0, preset="easy"))
    assert report.events == ()
    assert set(report.masked_s) == {0.0}
