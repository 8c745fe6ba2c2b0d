"""The picture of what channel health makes of a recording holds what was found, where it was found."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from decoder.session.model import Session
from firmware_bridge.errors import NervehandError
from nervehand.health_picture import draw
from nervehand.simulate import simulated_session

SVG = "{http://www.w3.org/2000/svg}"
RATE = 5000


@cache
def session() -> Session:
    """6 s of the simulated nerve; an artefact at 3 s, and a channel that breaks into noise at 4 s."""
    clean = simulated_session(1, 1, n_channels=6, rate_hz=float(RATE), seconds=6.0)
    x = np.array(clean.signal[0 : clean.n_samples]).astype(np.float32) * np.float32(clean.scale_uv)
    x[3 * RATE : 3 * RATE + 4] += 900.0
    x[4 * RATE :, 2] += (np.random.default_rng(0).standard_normal(2 * RATE) * 400).astype(np.float32)
    return replace(clean, signal=x, scale_uv=1.0)


def test_it_shows_traces_masks_with_their_cause_and_the_artefact_close(tmp_path: Path) -> None:
    path = tmp_path / "health.svg"
    found = draw(session(), path, from_s=2.0, seconds=4.0)
    assert found.bridged[RATE : RATE + 4].all()
    assert found.mask[-1].tolist() == [False, False, True, False, False, False]
    assert 3 * RATE in [event.sample_index for event in found.artefacts]
    root = ElementTree.parse(path).getroot()
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "noisy" in texts
    assert set(session().info.channel_names) <= set(texts)
    assert any("around an artefact on 6 channels" in str(text) for text in texts)
    assert len(list(root.iter(f"{SVG}polyline"))) == 12
    assert "nan" not in path.read_text().lower()


def test_a_quiet_stretch_is_drawn_without_an_artefact(tmp_path: Path) -> None:
    found = draw(session(), tmp_path / "quiet.svg", from_s=1.2, seconds=0.5)
    assert not found.mask.any()
    assert not found.bridged.any()
    assert "no artefact" in (tmp_path / "quiet.svg").read_text()


def test_a_time_after_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match="earlier time"):
        draw(session(), tmp_path / "none.svg", from_s=60.0)
