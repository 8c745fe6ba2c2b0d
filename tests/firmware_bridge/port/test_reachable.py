"""At an address that others can reach a port speaks TLS, or is not served at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
APART = ["unshare", "--user", "--map-root-user", "--net"]


def has_networks() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_networks(), reason="needs a network of its own: unshare --user --net")
def test_what_others_can_reach_is_never_served_in_plain_text() -> None:
    words = [*APART, sys.executable, "-m", "tests.firmware_bridge.port.reachable"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for where in ("192.0.2.7:0", "0.0.0.0:0"):
        port = found[where]
        assert port["fingerprint"].startswith("sha256:")
        assert port["fingerprint"] == port["file"]
        assert "no fingerprint is given for it: copy the file of its token" in port["without"]
        assert "challenge" not in port["said"]
    assert found["without_tls"] == 1
    assert "speaks TLS: nothing is served" in done.stderr
    assert "with TLS needs cannot be kept" in found["without_a_home"]
