"""For every test: the long proofs' fixture, marker and options; Lab Streaming Layer kept to the loopback."""

import os

import pytest
from hypothesis import settings

# Two threads that wait for each other beside another busy process take ten times as long as one. Before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.lsl_sender import keep_lsl_on_the_loopback
from tests.proof.plugin import (  # noqa: F401
    proof,
    pytest_addoption,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_makereport,
)

# The rest as it was: Hypothesis has a profile of its own for CI.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _lsl_on_the_loopback(tmp_path_factory: pytest.TempPathFactory) -> None:
    keep_lsl_on_the_loopback(tmp_path_factory.mktemp("lsl"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test was tried again (`--reruns`, in CI): the plugin says only that it was."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"first try of {report.nodeid}")
        terminalreporter.line(report.longreprtext)
