"""Front-ends whose library comes as an extra, where it is not installed."""

from __future__ import annotations

import sys

import pytest

from firmware_bridge.errors import NervehandError
from firmware_bridge.sources import load


@pytest.mark.parametrize(
    ("scheme", "library", "where"),
    [("lsl", "mne_lsl", "amplifier"), ("brainflow", "brainflow", "synthetic")],
)
def test_nothing_is_found_and_opening_names_the_extra(
    scheme: str, library: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    module = load(scheme)
    assert module.find() == ()
    with pytest.raises(NervehandError, match=rf"pip install 'nervehand\[{scheme}\]'"):
        module.open_device(where)
