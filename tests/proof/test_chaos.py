"""Whatever happens to the processes of a daemon, its source, its hand and its clock: nothing forbidden is done to the
hand, and it decodes again (docs/chaos.md)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.faults import IN_REAL_TIME, IN_SIMULATED_TIME, planned
from tests.chaos.real_faults import run_faults
from tests.chaos.simulated_run import SimulatedRun
from tests.proof.plugin import Proof

AT_A_TIME = 50
"""Faults of one run in simulated time."""
LEAST = 3
SHARDS = 2
"""Of the faults in real time, each on a daemon of its own: half an hour would be too long for one proof."""


def test_faults_in_simulated_time(proof: Proof, caplog: pytest.LogCaptureFixture) -> None:
    plan = planned(proof.count(950), proof.seed, IN_SIMULATED_TIME)
    violations: list[object] = []
    decodes_s: list[float] = []
    follows_s: list[float] = []
    watchdogs: dict[int, bool] = {}
    simulated_s = targets = hops = lives = lost = 0.0
    with caplog.at_level(logging.ERROR):
        for begin in range(0, len(plan), AT_A_TIME):
            outcome = SimulatedRun(plan[begin : begin + AT_A_TIME], proof.seed * 100_000 + begin).run()
            violations += outcome.violations
            decodes_s += outcome.decodes_again_s
            follows_s += outcome.follows_again_s
            watchdogs |= outcome.watchdogs
            simulated_s += outcome.simulated_s
            targets += outcome.targets
            hops += outcome.hops
            lives += outcome.lives
            lost += outcome.lost_messages
    unhandled = [record.getMessage() for record in caplog.records if record.exc_info]
    proof.record(
        faults=len(decodes_s),
        violations=len(violations),
        unhandled_exceptions=len(unhandled),
        simulated_s=round(simulated_s),
        hops=int(hops),
        targets=int(targets),
        starts=int(lives),
        watchdogs_seen=sum(watchdogs.values()),
        messages_lost=int(lost),
        decodes_again_p95_s=round(float(np.percentile(decodes_s, 95)), 2),
        decodes_again_max_s=round(max(decodes_s), 2),
        follows_again_max_s=round(max(follows_s), 2),
    )
    assert len(decodes_s) == len(plan)
    assert violations == []
    assert unhandled == []
    assert all(watchdogs.values())
    assert lost == 0


@pytest.mark.proof(alone=True)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_faults_in_real_time(proof: Proof, tmp_path: Path, shard: int) -> None:
    plan = planned(proof.count(50), proof.seed, IN_REAL_TIME)[shard::SHARDS]
    if len(plan) < LEAST:
        pytest.skip("tests/chaos/test_real.py does as many")
    verdict = run_faults(tmp_path, plan)
    took_s = [one for each in verdict.decodes_again_s.values() for one in each]
    proof.record(
        faults=verdict.faults,
        violations=len(verdict.violations),
        unhandled_exceptions=len(verdict.unhandled),
        targets=verdict.targets,
        engine_restarts=verdict.restarts,
        watchdogs_seen=sum(verdict.watchdogs.values()),
        decodes_again_max_s=max(took_s),
        files=verdict.files,
        hops_decoded_again=verdict.compared_hops,
        files_that_differ=len(verdict.differing),
    )
    assert verdict.faults == len(plan)
    assert verdict.violations == []
    assert verdict.unhandled == []
    assert all(verdict.watchdogs.values())
    assert verdict.differing == []
