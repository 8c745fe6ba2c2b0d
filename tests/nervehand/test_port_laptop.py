"""A laptop beside a small computer: it takes samples over a link that is cut, and brings a better decoder.

The other side is a process of its own; with NERVEHAND_BASE_PYTHON, of an interpreter that has the base install alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from decoder.bundle import read_bundle, write_bundle
from decoder.session.reader import read_session
from decoder.session.recorded import EventKind
from firmware_bridge.errors import NervehandError
from firmware_bridge.port import PortClient, running
from tests.firmware_bridge.guarding import own_guards
from tests.firmware_bridge.port.proxy import Proxy, proxied
from tests.firmware_bridge.port.serving_rig import until
from tests.nervehand.conftest import Run
from tests.nervehand.nano import nano

ROOT = Path(__file__).resolve().parents[2]
BASE = "NERVEHAND_BASE_PYTHON"
TRAINING = ("torch", "sklearn", "nicegui", "mujoco")
"""What a small computer does not have."""
PATIENCE_S = 120.0


@pytest.fixture(autouse=True)
def _own_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)
    monkeypatch.delenv("NERVEHAND_PORT_TOKEN", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "laptop"))


def demo() -> Path:
    return Path(str(files("nervehand") / "bundles" / "demo.nhb"))


def another(tmp_path: Path, **update: object) -> Path:
    """The decoder of the demo under another identity."""
    bundle = read_bundle(demo())
    path = tmp_path / f"another-{len(list(tmp_path.glob('*.nhb')))}.nhb"
    update = update or {"warmup_s": bundle.manifest.warmup_s + 0.1}
    write_bundle(replace(bundle, manifest=bundle.manifest.model_copy(update=update)), path)
    return path


def cut_now_and_then(proxy: Proxy, begun: Path, over: threading.Event) -> None:
    """In the middle of whatever it says, once `begun` is there; and once for two seconds."""
    n = 0
    until(lambda: begun.exists() or over.is_set(), "it begins", PATIENCE_S)
    while not over.wait(0.7):
        n += 1
        if n == 3:
            proxy.cut(refusing=True)
            over.wait(2.0)
            proxy.restore()
        else:
            proxy.budget = 997 * n


def copied_to_the_laptop(there: str, at: str, tmp_path: Path) -> list[object]:
    """The one file that opens the port at `there`, which the laptop reaches at `at`; as options of a push."""
    (entry,) = (entry for entry in running() if entry.address == there)
    assert entry.fingerprint
    assert entry.token_path.is_relative_to(tmp_path / "nano")
    for path in (tmp_path / "laptop" / "nervehand" / "ports" / at, tmp_path / "copied.token"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(entry.token_path.read_text())
    return ["--token-file", tmp_path / "copied.token"]


def a_laptop_beside(
    python: str, run: Run, tmp_path: Path, cwd: Path | None = None, *, is_secret: bool = False
) -> None:
    newcomer = another(tmp_path)
    sha256 = read_bundle(newcomer).sha256
    config = tmp_path / "nano" if is_secret else None
    with nano(demo(), tmp_path / "nano.nwb", python, cwd, config) as there, proxied(there.address) as proxy:
        token = copied_to_the_laptop(there.address, proxy.address, tmp_path) if is_secret else []
        over = threading.Event()
        cutting = threading.Thread(target=cut_now_and_then, args=(proxy, tmp_path / "laptop.nwb", over))
        client = PortClient(proxy.address, who="laptop")
        client.connect(PATIENCE_S)
        assert client.about["steered"] is True
        until(lambda: client.newest("live"), "a view", PATIENCE_S)
        cutting.start()
        try:
            recorded = run(
                "record", f"port:{proxy.address}", tmp_path / "laptop.nwb", "--seconds", "6", "--json"
            )
            assert recorded.status == 0, recorded.err
            assert json.loads(recorded.out)["lost_samples"] == 0
            pushed = run("push", newcomer, f"port:{proxy.address}", "--as", "laptop", "--json", *token)
            assert pushed.status == 0, pushed.err
        finally:
            over.set()
            cutting.join()
        assert json.loads(pushed.out)["bundle"] == sha256

        def shadow() -> dict[str, object]:
            return next(iter(client.newest("live")[1]["shadow"]), {})

        until(lambda: (shadow().get("compared") or 0) > 100, "it is compared", PATIENCE_S)
        # The same network: what differs is how long it warmed up.
        assert shadow()["sha256"] == sha256
        assert shadow()["gesture_agreement"] > 0.95
        switched = run(
            "push", newcomer, f"port:{proxy.address}", "--as", "laptop", "--switch", "--patience", PATIENCE_S,
            *token,
        )  # fmt: skip
        assert switched.status == 0, switched.err + switched.out
        assert "has taken over" in switched.out
        assert proxy.cuts >= 3
        client.request("intend", {"positions": [1, 1, 1, 1, 1, 0], "label": 1}, timeout_s=PATIENCE_S)
        until(
            lambda: client.newest("live")[1]["wanted"][1] > 0.5, "the new decoder moves the hand", PATIENCE_S
        )
        assert client.newest("live")[1]["bundle"] == sha256
        client.request("intend", {"positions": [0] * 6}, timeout_s=PATIENCE_S)

        def has_rolled_back() -> bool:
            try:
                client.request("rollback", timeout_s=20)
            except NervehandError:  # it is warming, or moves: a busy machine takes its time
                time.sleep(0.5)
                return False
            return True

        until(has_rolled_back, "the one before is back", PATIENCE_S)
        until(
            lambda: client.newest("live")[1]["bundle"] == read_bundle(demo()).sha256,
            "it is shown",
            PATIENCE_S,
        )
        client.close()
        assert (b"challenge" in proxy.seen) is not is_secret
        there.end()
    assert (there.summary["pushes"], there.summary["switches"], there.summary["rollbacks"]) == (1, 1, 1)
    mine, theirs = read_session(tmp_path / "laptop.nwb"), read_session(tmp_path / "nano.nwb")
    assert mine.n_samples == 60_000
    assert mine.gaps == ()
    start = mine.first_sample - theirs.first_sample
    np.testing.assert_array_equal(mine.microvolts(), theirs.microvolts(start, start + mine.n_samples))
    assert [event.kind for event in theirs.recorded.events].count(EventKind.BUNDLE) == 2
    assert any(
        f"decoder switch: took over from {read_bundle(demo()).sha256[:12]}" in note.text
        for note in theirs.recorded.notes
    )


@pytest.mark.slow
def test_a_laptop_takes_every_sample_and_brings_a_decoder_over_a_link_that_is_cut(
    run: Run, tmp_path: Path
) -> None:
    a_laptop_beside(sys.executable, run, tmp_path)


@pytest.mark.slow
def test_the_same_over_tls_with_the_one_file_that_was_copied(run: Run, tmp_path: Path) -> None:
    a_laptop_beside(os.environ.get(BASE, "") or sys.executable, run, tmp_path, tmp_path, is_secret=True)


@pytest.mark.slow
def test_a_laptop_beside_the_base_install_without_torch(run: Run, tmp_path: Path) -> None:
    python = os.environ.get(BASE, "")
    if not python:
        pytest.skip(
            f"set {BASE} to the Python of an environment with the base install, to run it against that"
        )
    code = f"import importlib.util as u; print([n for n in {TRAINING!r} if u.find_spec(n)])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.strip() == "[]", f"{python} has {found.stdout.strip()}: that is no base install"
    a_laptop_beside(python, run, tmp_path, cwd=tmp_path)


def test_a_push_to_nobody_and_a_damaged_decoder_are_said_in_a_line(run: Run, tmp_path: Path) -> None:
    nobody = run("push", demo(), "port:127.0.0.1:9", "--as", "me")
    assert nobody.status == 2
    assert "no token for the port" in nobody.err
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("ab" * 32 + "\n")
    nobody = run("push", demo(), "port:127.0.0.1:9", "--as", "me", "--token-file", token)
    assert nobody.status == 2
    assert "nothing answers at port 127.0.0.1:9" in nobody.err
    damaged = tmp_path / "damaged.nhb"
    damaged.write_bytes(demo().read_bytes()[:-1])
    refused = run("push", damaged, "port:127.0.0.1:9")
    assert refused.status == 2
    assert "cut short" in refused.err
    missing = run("push", demo(), "port:127.0.0.1:9", "--token-file", tmp_path / "none")
    assert "cannot be read" in missing.err


def test_only_a_simulated_person_that_is_steered_is_asked_for_by_that_name(run: Run, tmp_path: Path) -> None:
    for address in (
        "simulated:default/1/1?wrong",
        "simulated:default/1/1?steered?x",
        "simulated:nobody?steered",
    ):
        refused = run("run", address, "--bundle", demo(), "--hand", "none", "--headless", "--seconds", "1")
        assert refused.status == 2, address
    refused = run(
        "run", "simulated:default/1/1?steered", "--bundle", demo(), "--hand", "none", "--start", "3"
    )
    assert "only a session can" in refused.err
    refused = run("run", "simulated", "--bundle", demo(), "--hand", "none", "--headless", "--port", "nowhere")
    assert "is no address of a port" in refused.err
