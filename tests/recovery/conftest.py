"""Expected results of a sweep after any failure, and a storage for failure injection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recovery.sweeping import DOCUMENTS, SEARCHED, SWEEP, Target, target_in, unbroken_tables
from tests.sweeps.execution.tables import Tables


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return unbroken_tables(tmp_path_factory.mktemp("unbroken"), SWEEP)


@pytest.fixture(scope="session")
def unbroken_searched(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return unbroken_tables(tmp_path_factory.mktemp("searched"), SEARCHED)


@pytest.fixture(scope="session")
def all_unbroken(unbroken: Tables, unbroken_searched: Tables) -> dict[str, Tables]:
    """By the names of `DOCUMENTS`."""
    return dict(zip(DOCUMENTS, (unbroken, unbroken_searched), strict=True))


@pytest.fixture
def target(tmp_path: Path, unbroken: Tables) -> Target:
    return target_in(tmp_path, unbroken, SWEEP)


@pytest.fixture
def searched_target(tmp_path: Path, unbroken_searched: Tables) -> Target:
    return target_in(tmp_path, unbroken_searched, SEARCHED)
