"""Rows of the table `evals` for parts that tests write."""

from __future__ import annotations

from typing import Any


def eval_row(stage: str, class_id: int) -> dict[str, Any]:
    """Counts of a class of nine test images, of which `class_id` were classified correctly."""
    return {
        "stage_key": stage,
        "partition_id": "p",
        "readout_id": "last",
        "split": "test",
        "task": 0,
        "class_id": class_id,
        "seen": True,
        "n": 9,
        "correct": class_id,
        "correct_task_given": 9,
        "task_id_correct": None,
    }
