"""A glove as an LSL stream from another process, over liblsl on the loopback: labels, units, maps, losses."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from calibration.truth import lsl
from calibration.truth.lsl import joint_of, open_truth, read_map
from calibration.truth.reader import TruthReader
from firmware_bridge.errors import LinkError, NervehandError, SourceLostError, StreamMismatchError
from firmware_bridge.sources import lsl as streams
from tests.calibration.truth.glove_rig import PATIENCE_S, taken, wait_for
from tests.lsl_sender import Sender, lsl_sender, values

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mne_lsl") is None, reason="mne-lsl is not installed (the extra lsl)"
)

RATE_HZ = 100.0
LABELS = ["Index_MCP", "index-pip", "battery", "wrist"]
UNITS = ["degrees", "rad", "", "counts"]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_CONNECT_S", PATIENCE_S)


@pytest.fixture(scope="module")
def process() -> Iterator[Sender]:
    with lsl_sender() as sender:
        yield sender


@pytest.fixture
def sender(process: Sender) -> Iterator[Sender]:
    yield process
    process.close()


def offer(sender: Sender, name: str, labels: list[str] | None = None, units: list[str] | None = None) -> None:
    sender.open(
        name, 4, RATE_HZ, labels=labels or LABELS, units=units or UNITS, stype="Mocap", source_id=f"id {name}"
    )


def test_labels_that_name_a_joint_tell_it_in_the_unit_that_the_stream_says(sender: Sender) -> None:
    offer(sender, "glove")
    source = open_truth("glove?side=left")
    assert source.info.sensors == ("Index_MCP", "index-pip", "wrist")
    assert source.info.joints == ("index mcp", "index pip", "wrist flexion")
    assert source.info.units == ("rad", "rad", "raw")
    assert (source.info.rate_hz, source.info.side, source.info.name) == (RATE_HZ, "left", "LSL glove")
    source.connect()
    sender.begin(do="paced", n=60, chunk=5, dropped=[], stamps="by index")
    block = taken(source, 60)
    sender.finish()
    source.close()
    sent = values(np.arange(60), 4).astype(np.float32)
    np.testing.assert_allclose(block.values[:, 0], np.radians(sent[:, 0]), rtol=1e-6)
    np.testing.assert_array_equal(block.values[:, 1:], sent[:, [1, 3]])
    np.testing.assert_allclose(np.diff(block.device_s), 1 / RATE_HZ, atol=1e-6)
    assert (np.diff(block.arrival_ns) >= 0).all()


def test_a_map_gives_names_to_channels_that_have_others(sender: Sender, tmp_path: Path) -> None:
    offer(sender, "odd", ["CH1", "CH2", "CH3", "CH4"], ["", "", "", ""])
    with pytest.raises(
        NervehandError, match=r"no channel of LSL stream 'odd' names a joint .*CH1, CH2.*map=FILE"
    ):
        open_truth("odd")
    path = tmp_path / "map.toml"
    path.write_text('[joints]\n"CH2" = "thumb ip"\n"CH4" = "ring pip"\n')
    source = open_truth(f"odd?map={path}&unit=deg")
    assert (source.info.sensors, source.info.joints) == (("CH2", "CH4"), ("thumb ip", "ring pip"))
    assert source.info.units == ("rad", "rad")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[joints\n", "map .*map.toml"),
        ("x = 1\n", r"give a table \[joints\]"),
        ('[joints]\n"CH1" = "elbow"\n', "CH1 is given joint 'elbow': there are thumb cmc"),
        ('[joints]\n"CH1" = 3\n', r"give a table \[joints\]"),
    ],
)
def test_a_map_that_says_nothing_useful_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(NervehandError, match=words):
        read_map(str(path))
    with pytest.raises(NervehandError, match="No such file"):
        read_map(str(tmp_path / "none.toml"))


def test_a_label_is_a_joint_however_it_is_spelled_and_a_finger_is_its_root() -> None:
    assert (
        joint_of("INDEX MCP", {})
        == joint_of("index__mcp", {})
        == joint_of("x", {"x": "index mcp"})
        == "index mcp"
    )
    assert [joint_of(name, {}) for name in ("thumb", "Ring", "wrist", "elbow", "")] == [
        "thumb mcp", "ring mcp", "wrist flexion", "", "",
    ]  # fmt: skip


def test_a_stream_that_vanishes_is_lost_and_found_again_by_a_reader(sender: Sender) -> None:
    offer(sender, "coming and going")
    source = open_truth("coming and going")
    source.connect()
    sender.send([(0, 10)], chunk=5)
    taken(source, 10)
    sender.close()
    with pytest.raises(SourceLostError, match=r"LSL coming and going is (lost|silent)"):
        list(source.blocks())
    with pytest.raises(LinkError, match="no LSL stream is called 'coming and going'"):
        source.connect()
    with TruthReader(source) as reader:
        wait_for(lambda: "no LSL stream" in reader.problem)
        offer(sender, "coming and going")
        sender.begin(do="paced", n=100_000, chunk=5, dropped=[], stamps="by index")
        wait_for(lambda: reader.take() is not None)
        sender.begin(do="nothing")
        sender.finish()
        sender.finish()


def test_a_stream_with_other_channels_under_the_same_name_is_another_one(sender: Sender) -> None:
    offer(sender, "changing")
    source = open_truth("changing")
    sender.close()
    offer(sender, "changing", ["thumb", "index", "middle", "ring"])
    with pytest.raises(
        StreamMismatchError, match=r"has other channels than before .*thumb, index, middle, ring"
    ):
        source.connect()


def test_an_address_says_what_is_wrong_with_it() -> None:
    for wrong, words in (
        ("", "needs the stream's name"),
        ("x?unit=turns", "unit=turns"),
        ("x?hue=1", "hue=1"),
    ):
        with pytest.raises(NervehandError, match=words):
            open_truth(wrong)
    assert isinstance(lsl.find(), tuple)
