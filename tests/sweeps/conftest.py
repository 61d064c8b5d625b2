"""Small studies made by hand: trials and evaluations with known accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sweeps.results import TABLES
from sweeps.results.rows import to_table

IMAGES = 1000
"""Images per class, so that accuracies with three decimals are exact."""


class Study:
    """Collects trials whose groups have two classes each, and the counts of their stages."""

    def __init__(self) -> None:
        self.trial_rows: list[dict[str, Any]] = []
        self.eval_rows: list[dict[str, Any]] = []

    @property
    def trials(self) -> pa.Table:
        return to_table(TABLES["trials"], self.trial_rows)

    @property
    def evals(self) -> pa.Table:
        return to_table(TABLES["evals"], self.eval_rows)

    def add(
        self,
        matrix: Sequence[Sequence[float]],
        *,
        order: Sequence[int] | None = None,
        seed: int = 0,
        split: str = "test",
        readout: str = "last",
        **changes: Any,
    ) -> dict[str, Any]:
        """A finished trial with this accuracy matrix (rows by stage, columns as learned)."""
        a = np.asarray(matrix, dtype=float)
        stages, tasks = a.shape
        order = list(range(tasks)) if order is None else list(order)
        trial_id = f"trial{len(self.trial_rows)}"
        trial = {
            "trial_id": trial_id,
            "config_id": "config",
            "order_id": "any" if stages < tasks else "-".join(map(str, order)),
            "task_order": order,
            "class_order_seed": None,
            "split_seed": 0,
            "seed": seed,
            "partition_id": "halves",
            "label": "label",
            "role": "search",
            "factors": "{}",
            "method": "lorac_ipc",
            "readout_ids": [readout],
            "attempt": 1,
            "status": "finished",
            "error": None,
            "error_kind": None,
            "stages_done": stages,
            "stages_total": stages,
            "stage_keys": [f"{trial_id}-{k}" for k in range(stages)],
            "run": "{}",
            "trainable_parameters": 1000,
            "stored_bytes": 4000,
            "cpus": 1.0,
            "gpus": 0.0,
            "code_version": "0",
        } | changes
        self.trial_rows.append(trial)
        for stage, key in enumerate(trial["stage_keys"]):
            for place, group in enumerate(order):
                seen = stages < tasks or place <= stage
                for half, class_id in enumerate((2 * group, 2 * group + 1)):
                    value = a[stage, place]
                    right = round(value * IMAGES) + (5 if half else -5) * (
                        5 <= value * IMAGES <= 995
                    )
                    self.eval_rows.append(
                        {
                            "stage_key": key,
                            "partition_id": trial["partition_id"],
                            "readout_id": readout,
                            "split": split,
                            "task": group,
                            "class_id": class_id,
                            "seen": seen,
                            "n": IMAGES,
                            "correct": right if seen else None,
                            "correct_task_given": IMAGES,
                            "task_id_correct": None,
                        }
                    )
        return trial


@pytest.fixture
def study() -> Study:
    return Study()
