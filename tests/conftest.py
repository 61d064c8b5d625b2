"""Settings of the whole suite: no network, one thread, no deadline on a first, cold call."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that wants to download fails at once
os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is first imported, here or in a subprocess

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests that need torch have imported it by now; the others must not pay for it."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
