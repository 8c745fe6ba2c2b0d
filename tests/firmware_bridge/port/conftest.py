"""Ports of tests are found by no one else, and find no one else's."""

from pathlib import Path

import pytest

from tests.firmware_bridge.guarding import own_guards


@pytest.fixture(autouse=True)
def _own_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)
    monkeypatch.delenv("NERVEHAND_PORT_TOKEN", raising=False)
    monkeypatch.delenv("NERVEHAND_PORT_TOKEN_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
