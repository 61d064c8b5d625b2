"""What a sweep must end like, whatever hits it, and a storage to be hit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recovery.sweeping import Target, target_in, unbroken_tables
from tests.sweeps.tune.tables import Tables


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return unbroken_tables(tmp_path_factory.mktemp("unbroken"))


@pytest.fixture
def target(tmp_path: Path, unbroken: Tables) -> Target:
    return target_in(tmp_path, unbroken)
