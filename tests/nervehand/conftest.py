"""The command line, called as a person would, and small sessions and decoders to call it with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from decoder.bundle import write_bundle
from decoder.session.model import Session
from decoder.session.writer import write_session
from firmware_bridge.sources import intan, serial
from nervehand import cli, driving, guarding, running
from nervehand.simulate import simulated_session
from tests.bundles import random_bundle

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Result:
    """How a command ended: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("evaluate", path, ...): the command in this process."""

    def call(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["nervehand", *map(str, words)])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Result(status, said.out, said.err)

    return call


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too late: a machine that is taken away for seconds is no lost front-end, link or sample."""
    patient_serial = partial(serial.SerialDevice, stall_s=PATIENCE_S, answer_s=PATIENCE_S)
    patient_intan = partial(intan.IntanDevice, stall_s=PATIENCE_S, timeout_s=PATIENCE_S)
    monkeypatch.setattr(serial, "SerialDevice", patient_serial)
    monkeypatch.setattr(serial, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(intan, "IntanDevice", patient_intan)
    monkeypatch.setattr(intan, "TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(running, "BoundedSource", partial(running.BoundedSource, grace_s=3600.0))
    monkeypatch.setattr(guarding, "CONNECT_S", PATIENCE_S)
    monkeypatch.setattr(driving, "_ARM_S", PATIENCE_S)


@pytest.fixture(scope="session")
def small_session() -> Session:
    """Eight movements of a simulated subject on four channels."""
    return simulated_session(3, repetitions=1, n_channels=4, rate_hz=5000.0)


@pytest.fixture(scope="session")
def small_decoder(small_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with random weights for that subject."""
    counts = np.asarray(small_session.signal[0:20_000])
    bundle = random_bundle(small_session.info, counts, small_session.scale_uv)
    meta = small_session.meta
    manifest = bundle.manifest.model_copy(
        update={"subject": meta.subject, "side": meta.side, "array": meta.array}
    )
    path = tmp_path_factory.mktemp("decoder") / "small.nhb"
    write_bundle(replace(bundle, manifest=manifest), path)
    return path


@pytest.fixture(scope="session")
def small_file(small_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That session as a file."""
    path = tmp_path_factory.mktemp("session") / "small.nwb"
    write_session(small_session, path)
    return path
