"""Tables of large sweeps with a known truth, made by drawing counts, without training."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from clmethods.config.run import run_to_dict
from sweeps.definition import Sweep, expand, sweep_from_dict
from sweeps.report import ReportInputs, report_inputs_of
from sweeps.results import TABLES

IMAGES = 100
SITES = ("q", "k", "v", "o", "f1", "f2")
BLOCKS = 2


def simulated_sweep(configurations: int, orders: int, seeds: int, tasks: int = 10) -> Sweep:
    """A random search, with a baseline that trains nothing."""
    return sweep_from_dict(
        {
            "name": "simulated",
            "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
            "stream": {"dataset": "digits", "tasks": tasks},
            "method": {"kind": "lorac_ipc", "rank": 2, "importance_threshold": 0.1},
            "search": {
                "method.rank": [2, 4, 8],
                "method.ortho_lambda": {"log": [0.01, 10]},
                "train.lr": {"log": [0.0001, 0.1]},
            },
            "algorithm": {"kind": "random", "trials": configurations},
            "orders": {"design": "random", "count": orders},
            "seeds": list(range(seeds)),
            "baselines": [{"method": {"kind": "nearest_class_mean"}}],
        }
    )


def simulated(configurations: int, orders: int, seeds: int, tasks: int = 10) -> ReportInputs:
    """ReportInputs as a finished sweep leaves it: a run per configuration, order and seed."""
    sweep = simulated_sweep(configurations, orders, seeds, tasks)
    return report_inputs_of(sweep, simulated_tables(sweep))


def simulated_tables(sweep: Sweep) -> dict[str, pa.Table]:
    """The four tables; accuracy falls from task to task, more so for some configurations."""
    rng = np.random.default_rng(0)
    specs = expand(sweep)
    tasks, count = sweep.base.stream.tasks, len(specs)
    trials = [_trial(spec, tasks) for spec in specs]
    keys = [key for trial in trials for key in trial["stage_keys"]]
    skill = {spec.config_id: rng.uniform(0.6, 0.95) for spec in specs}
    level = np.array([skill[spec.config_id] for spec in specs])  # (N,)
    noise = rng.normal(0.0, 0.01, (count, 1, 1))
    age = np.maximum(np.arange(tasks)[:, None] - np.arange(tasks)[None, :], 0)  # (T, T)
    truth = np.clip(level[:, None, None] - 0.02 * age + noise, 0.02, 0.98)  # (N, T, T) as learned
    order = np.array([trial["task_order"] for trial in trials])  # (N, T)
    return {
        "trials": _table("trials", {n: [t[n] for t in trials] for n in trials[0]}),
        "evals": _evals(rng, keys, truth, order),
        "stages": _stages(rng, trials, keys, tasks),
        "matrices": _matrices(rng, keys, tasks),
    }


def _trial(spec: Any, tasks: int) -> dict[str, Any]:
    return {
        "trial_id": spec.trial_id,
        "config_id": spec.config_id,
        "order_id": spec.order_id,
        "task_order": list(spec.run.stream.order),
        "class_order_seed": None,
        "split_seed": 0,
        "seed": spec.seed,
        "partition_id": "p",
        "label": spec.label,
        "role": spec.role,
        "factors": json.dumps(spec.factors),
        "method": spec.run.method.kind,
        "readout_ids": [r.readout_id for r in spec.readouts],
        "attempt": 1,
        "status": "finished",
        "error": None,
        "error_kind": None,
        "stages_done": tasks,
        "stages_total": tasks,
        "stage_keys": [f"{spec.trial_id}-{t}" for t in range(tasks)],
        "run": json.dumps(run_to_dict(spec.run)),
        "trainable_parameters": 1000,
        "stored_bytes": 4000,
        "cpus": 1.0,
        "gpus": 0.0,
        "code_version": "0",
    }


def _evals(rng: Any, keys: list[str], truth: Any, order: Any) -> pa.Table:
    """One class per task; a row per stage, split and task."""
    count, tasks, _ = truth.shape
    by_group = np.empty_like(truth)
    position = np.argsort(order, axis=1)  # (N, T): when a group is learned
    for group in range(tasks):
        by_group[:, :, group] = truth[np.arange(count), :, position[:, group]]
    seen = position[:, None, :] <= np.arange(tasks)[None, :, None]  # (N, T, T)
    parts = []
    for split in ("validation", "test"):
        correct = rng.binomial(IMAGES, by_group).astype(np.int32).ravel()
        known = seen.ravel()
        rows = correct.size
        groups = np.tile(np.arange(tasks), rows // tasks)
        parts.append(
            _table(
                "evals",
                {
                    "stage_key": _repeated(keys, tasks),
                    "partition_id": _constant("p", rows),
                    "readout_id": _constant("last", rows),
                    "split": _constant(split, rows),
                    "task": groups.astype(np.int16),
                    "class_id": groups.astype(np.int32),
                    "seen": known,
                    "n": np.full(rows, IMAGES, np.int32),
                    "correct": pa.array(correct, mask=~known),
                    "correct_task_given": correct,
                    "task_id_correct": pa.nulls(rows, pa.int32()),
                },
            )
        )
    return pa.concat_tables(parts)


def _stages(rng: Any, trials: list[dict[str, Any]], keys: list[str], tasks: int) -> pa.Table:
    rows = len(keys)
    position = np.tile(np.arange(tasks), len(trials)).astype(np.int16)
    ones = np.ones(rows)
    constant = {"cross_entropy": ones, "orthogonality": ones, "grad_norm": ones}
    return _table(
        "stages",
        {
            "stage_key": keys,
            "parent": [None if p == 0 else "x" for p in position.tolist()],
            "position": position,
            "task_key": _constant("k", rows),
            "task": position,
            "classes": [[0]] * rows,
            **constant,
            "steps": np.full(rows, 10, np.int32),
            "frozen_count": np.zeros(rows, np.int32),
            "trainable_parameters": np.full(rows, 1000),
            "ortho_residual_max": ones,
            "state_bytes": np.full(rows, 400),
            "wall_s": rng.uniform(1.0, 2.0, rows),
            "cpu_s": rng.uniform(1.0, 2.0, rows),
            "peak_rss_bytes": np.full(rows, 500_000_000),
            "host": _constant("gpu-3", rows),
            "host_kind": _constant("x86_64", rows),
            "torch_version": _constant("2.9.0", rows),
            "timm_version": _constant("1.0.31", rows),
            "code_version": _constant("0", rows),
            "started_at": _constant("2026-01-01T00:00:00+00:00", rows),
        },
    )


def _matrices(rng: Any, keys: list[str], tasks: int) -> pa.Table:
    per = BLOCKS * len(SITES)
    rows = len(keys) * per
    position = np.repeat(np.tile(np.arange(tasks), len(keys) // tasks), per)
    offsets = pa.array(np.concatenate([[0], np.cumsum(position)]).astype(np.int32))
    change = pa.ListArray.from_arrays(offsets, pa.array(rng.uniform(0, 0.3, position.sum())))
    own = pa.array(np.arange(rows + 1, dtype=np.int32))
    return _table(
        "matrices",
        {
            "stage_key": _repeated(keys, per),
            "block": np.tile(np.repeat(np.arange(BLOCKS), len(SITES)), len(keys)).astype(np.int16),
            "site": list(SITES) * (BLOCKS * len(keys)),
            "importance": rng.uniform(0, 1, rows),
            "frozen": rng.uniform(0, 1, rows) < position / (2 * tasks),
            "omega": pa.ListArray.from_arrays(own, pa.array(np.ones(rows))),
            "delta_norm": np.ones(rows),
            "change_since": change,
        },
    )


def _constant(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [text]).cast(pa.string())


def _repeated(keys: list[str], times: int) -> pa.Array:
    index = np.repeat(np.arange(len(keys), dtype=np.int32), times)
    return pa.array(keys, pa.string()).take(pa.array(index))


def _table(name: str, columns: dict[str, Any]) -> pa.Table:
    schema = TABLES[name].arrow
    arrays = [
        columns[f.name]
        if isinstance(columns[f.name], pa.Array)
        else pa.array(columns[f.name], f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(
        [a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
    )
