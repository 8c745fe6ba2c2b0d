"""A device that changed while it was away is named, with the first difference."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from firmware_bridge.errors import StreamMismatchError
from firmware_bridge.sources._same_stream import check_same
from firmware_bridge.stream import StreamInfo

ALL = [field.name for field in fields(StreamInfo)]
INFO = StreamInfo(10_000.0, ("a", "b"), "nerve", full_scale_uv=6000.0)


def test_an_equal_stream_passes_and_what_the_device_does_not_say_is_not_asked() -> None:
    check_same("RHX", INFO, replace(INFO), ALL)
    check_same("RHX", INFO, replace(INFO, nerve="median", electrodes=("m/1", "m/2")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate_hz": 20_000.0}, r"sampling rate \(Hz\) changed from 10000.0 to 20000.0"),
        ({"channel_names": ("a", "c")}, "channels changed from a, b to a, c"),
        ({"kind": "emg"}, "kind changed from nerve to emg"),
        ({"full_scale_uv": None}, r"full scale \(µV\) changed from 6000.0 to None"),
        ({"mains_hz": 60.0}, r"mains \(Hz\) changed from 50.0 to 60.0"),
        ({"stimulation_lines": (3,)}, "stimulation lines changed from none to 3"),
    ],
)
def test_each_difference_is_said_with_both_sides(change: dict[str, Any], said: str) -> None:
    with pytest.raises(StreamMismatchError, match=f"^RHX: its {said}: change it back"):
        check_same("RHX", INFO, replace(INFO, **change), ALL)
