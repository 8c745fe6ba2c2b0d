"""PSYONIC's own Python client for the Ability Hand, `ability-hand` 0.2.2, as a peer of our emulator and our driver.

It is installed into a folder of its own, without what it depends on: it asks for a matplotlib that is older than what
other test dependencies need, for its plots alone, and for pyserial, which is here. Nothing of it is in this project.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.proof.running import STATE_FOLDER

REQUIREMENT = (
    "ability-hand==0.2.2 --hash=sha256:b58540ac848e7a81e2340b2d0d9716da61e0c31a96c667907cbceaec55b0c122\n"
)
SCRIPT = Path(__file__).with_name("ability_client.py")
INSTALL_S = 300.0


@dataclass(frozen=True)
class VendorClient:
    """Installed at `site`; it writes files, and does so in `folder`."""

    site: Path
    folder: Path

    def run(self, limit_s: float = 120.0, **orders: Any) -> dict[str, Any]:
        """What came of the orders (see the script); AssertionError with the client's own words where it failed."""
        made = subprocess.run(
            [sys.executable, str(SCRIPT), str(self.site)],
            input=json.dumps(orders),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        done: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
        return done


def vendor_client(folder: Path) -> VendorClient:
    """The client, to run in `folder`; the test is skipped where it cannot be installed. What is installed is kept."""
    kept = STATE_FOLDER / "peers" / REQUIREMENT.partition(" ")[0]
    if not kept.is_dir():
        site, requirements = folder / "site", folder / "requirements.txt"
        requirements.write_text(REQUIREMENT)
        _install(site, requirements)
        kept.parent.mkdir(parents=True, exist_ok=True)
        copy = Path(shutil.copytree(site, kept.with_name(f"{kept.name}.{os.getpid()}")))
        try:
            copy.rename(kept)
        except OSError:  # another test was first
            shutil.rmtree(copy)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return VendorClient(kept, work)


def _install(site: Path, requirements: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    try:
        made = subprocess.run(
            [*pip, "--target", str(site), "--require-hashes", "-r", str(requirements)],
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"ability-hand 0.2.2 did not install within {INSTALL_S:g} s")
    if made.returncode:
        reason = made.stderr.strip().splitlines() or ["pip said nothing"]
        pytest.skip(f"ability-hand 0.2.2 does not install: {reason[-1]}")
