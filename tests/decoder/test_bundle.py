"""A bundle: whole, unchanged and for this person, or refused."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder.bundle import Bundle, Manifest, content_of, pack, read_bundle, unpack, write_bundle
from decoder.bundle_archive import archived
from decoder.health_settings import default_health, instant_health
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import StreamInfo
from tests.bundles import random_bundle


@cache
def bundle() -> Bundle:
    info = StreamInfo(100.0, ("a", "b"), "envelope", ("e1", "e2"))
    samples = np.abs(np.random.default_rng(0).standard_normal((500, 2))).astype(np.float32)
    return random_bundle(info, samples, n_outputs=2)


@cache
def packed() -> bytes:
    return pack(bundle())


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    sha256 = write_bundle(bundle(), tmp_path / "a.nhb")
    found = read_bundle(tmp_path / "a.nhb")
    assert found.sha256 == sha256
    assert found.manifest == bundle().manifest
    assert found.step_graph == bundle().step_graph
    assert found.coefficients.fir.tobytes() == bundle().coefficients.fir.tobytes()
    assert found.normalisation.mean.tobytes() == bundle().normalisation.mean.tobytes()
    assert found.position_map.matrix.tobytes() == bundle().position_map.matrix.tobytes()
    assert pack(found) == packed()


def test_it_is_private_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_bundle(bundle(), tmp_path / "a.nhb")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nhb"]
    assert (tmp_path / "a.nhb").stat().st_mode & 0o777 == 0o600


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(packed()) - 1))
    change = data.draw(st.integers(1, 255))
    changed = bytearray(packed())
    changed[position] ^= change
    with pytest.raises(NervehandError):
        unpack(bytes(changed))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9))
def test_any_truncation_is_refused(length: int) -> None:
    with pytest.raises(NervehandError):
        unpack(packed()[: length % len(packed())])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(NervehandError):
        unpack(data)


def test_errors_name_the_file_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.nhb"
    path.write_bytes(packed()[:-1] + b"x")
    for wrong in (path, tmp_path / "absent.nhb"):
        with pytest.raises(NervehandError) as caught:
            read_bundle(wrong)
        assert wrong.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match=r"no/such.nhb: cannot be written"):
        write_bundle(bundle(), tmp_path / "no" / "such.nhb")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NervehandError, match="folder: cannot be written"):
        write_bundle(bundle(), tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_pickle_inside_is_never_loaded() -> None:
    """An archive that is sealed correctly but holds an object array is refused by the reader, not executed."""
    evil = io.BytesIO()
    np.save(evil, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    sealed = archived(content_of(bundle()) | {"arrays/normalisation.mean.npy": evil.getvalue()})
    with pytest.raises(NervehandError, match="no complete decoder"):
        unpack(sealed)


@pytest.mark.parametrize(
    ("wearer", "said"),
    [
        (("another", "right", "array-1"), "subject: .* somebody, the session is of another"),
        (("somebody", "left", "array-1"), "side: .* right, the session is of left"),
        (("somebody", "right", "array-2"), "electrode array: .* array-1, the session is of array-2"),
        (("", "right", "array-1"), "somebody, the session is of unnamed"),
    ],
)
def test_another_wearer_is_refused_naming_both(wearer: tuple[str, str, str], said: str) -> None:
    with pytest.raises(StreamMismatchError, match=said):
        bundle().require_wearer(*wearer)


def test_its_own_wearer_is_accepted() -> None:
    bundle().require_wearer("somebody", "right", "array-1")


def test_a_decoder_judges_channels_with_the_settings_that_travel_with_it() -> None:
    own = replace(default_health("emg"), delay_s=0.004, noisy_ratio=None)
    made = replace(bundle(), manifest=bundle().manifest.model_copy(update={"health": own}))
    assert unpack(pack(made)).health == own


def test_a_bundle_from_before_there_were_such_settings_judges_as_it_was_trained() -> None:
    earlier = replace(bundle(), manifest=bundle().manifest.model_copy(update={"health": None}))
    text = json.loads(earlier.manifest.model_dump_json())
    del text["health"]
    assert Manifest.model_validate_json(json.dumps(text)).health is None
    assert earlier.health == instant_health("envelope")
    assert (earlier.health.delay_s, earlier.health.bridge_s, earlier.health.noisy_ratio) == (0.0, 0.0, None)
