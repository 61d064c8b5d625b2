"""Rows that fit the schemas."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def sample_rows() -> dict[str, list[dict[str, Any]]]:
    """Two rows per table, with nulls wherever they may be."""
    trial = {
        "trial_id": "t0",
        "config_id": "c0",
        "order_id": "1-0",
        "task_order": [1, 0],
        "class_order_seed": None,
        "split_seed": 0,
        "seed": 3,
        "partition_id": "p0",
        "label": 'rank 8, "quoted"',
        "role": "search",
        "factors": '{"method.rank": 8}',
        "method": "lorac_ipc",
        "readout_ids": ["last", "oracle"],
        "attempt": 1,
        "status": "failed",
        "error": "loss is NaN,\nat step 3",
        "error_kind": "NonFiniteLossError",
        "stages_done": 1,
        "stages_total": 2,
        "stage_keys": ["s0", "s1"],
        "run": "{}",
        "trainable_parameters": None,
        "stored_bytes": None,
        "cpus": 1.0,
        "gpus": 0.25,
        "code_version": "0.1.0",
    }
    retried = trial | {
        "attempt": 2,
        "status": "finished",
        "error": None,
        "error_kind": None,
        "stages_done": 2,
        "trainable_parameters": 12_345,
        "stored_bytes": 6_000_000_000,
    }
    stage = {
        "stage_key": "s0",
        "parent": None,
        "position": 0,
        "task_key": "k0",
        "task": 1,
        "classes": [2, 3],
        "cross_entropy": 0.5,
        "orthogonality": None,
        "grad_norm": 0.9,
        "steps": 40,
        "frozen_count": 0,
        "trainable_parameters": 12_345,
        "ortho_residual_max": None,
        "state_bytes": 400_000,
        "wall_s": 1.5,
        "cpu_s": 1.4,
        "peak_rss_bytes": 500_000_000,
        "host": "gpu-3",
        "host_kind": "x86_64",
        "torch_version": "2.9.0",
        "timm_version": "1.0.15",
        "code_version": "0.1.0",
        "started_at": "2025-01-01T00:00:00+00:00",
    }
    seen = {
        "stage_key": "s0",
        "partition_id": "p0",
        "readout_id": "last",
        "split": "test",
        "task": 1,
        "class_id": 2,
        "seen": True,
        "n": 30,
        "correct": 21,
        "correct_task_given": 25,
        "task_id_correct": None,
    }
    matrix = {
        "stage_key": "s0",
        "block": 0,
        "site": "q",
        "importance": None,
        "frozen": False,
        "omega": [1.0],
        "delta_norm": 0.25,
        "change_since": [],
    }
    return {
        "trials": [trial, retried],
        "stages": [stage, stage | {"stage_key": "s1", "parent": "s0", "position": 1, "task": 0}],
        "evals": [seen, seen | {"class_id": 0, "task": 0, "seen": False, "correct": None}],
        "matrices": [matrix, matrix | {"site": "k", "importance": 0.5, "omega": [0.5, 1.0]}],
    }
