"""The long proofs' fixture, marker and options, for every test."""

from tests.proof.plugin import (  # noqa: F401
    proof,
    pytest_addoption,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_makereport,
)
