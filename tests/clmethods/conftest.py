"""A trained chain that several test modules read; it is trained once because that is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clmethods.config import LoracIpcConfig, StreamConfig

if TYPE_CHECKING:
    from tests.clmethods.runs import Trained

SHUFFLED = StreamConfig(tasks=5, limit=6, class_order_seed=1, task_order=(2, 0, 4, 1, 3))


@pytest.fixture(scope="session")
def lorac() -> Trained:
    """LoRAC-IPC over five tasks, all parts on, two more matrices frozen at every task.

    Weight decay is on because it would change any parameter that is in the optimizer needlessly.
    Neither the classes nor the tasks are in their natural order.
    """
    from tests.clmethods.runs import tiny_run, train  # torch, which not every module needs

    method = LoracIpcConfig(rank=2, importance_threshold=0.2, omega_lr_scale=1.0)
    return train(tiny_run(method, SHUFFLED, optimizer="adamw", weight_decay=0.1))
