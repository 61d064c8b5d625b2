"""Settings of the whole suite: no network, one thread, no deadline on a first, cold call."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that wants to download fails at once
os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is first imported, here or in a subprocess

# A shell starts jobs in the background with SIGINT ignored, and the commands that tests interrupt
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests that need torch have imported it by now; the others must not pay for it."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


LONGEST = (
    "tests/sweeps/execution/resources/test_gpu_measurement.py",
    "tests/sweeps/execution/test_sweep_end_to_end.py",
    "tests/clmethods/test_contract.py",
    "tests/sweeps/execution/resources/test_gpu_placement.py",
    "tests/sweeps/execution/cluster/test_node_types.py",
    "tests/recovery/test_recovery.py",
    "tests/adding/test_adding.py",
    "tests/sweeps/api/test_analyzed_sweep.py",
    "tests/s3/test_requests.py",
    "tests/sweeps/cli/test_every_reader.py",
    "tests/sweeps/planning/test_deletion_guard.py",
    "tests/recovery/test_restore.py",
    "tests/sweeps/execution/test_broken_output.py",
    "tests/sweeps/execution/resources/test_gpu_refusals.py",
    "tests/sweeps/execution/resources/test_impossible_demands.py",
    "tests/clmethods/training/test_sequence.py",
    "tests/clmethods/cli/test_predict.py",
)
"""Files that take longest, in this order, of the tests with and without Ray."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that all workers of `--dist loadfile` end together."""
    root = Path(__file__).parents[1]
    place = {root / file: index for index, file in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))
