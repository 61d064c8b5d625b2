"""A sweep of any size that was never trained: real files with known truth.

    python -m tests.sweeps.simulated runs/simulated --rates 10 --orders 5 --seeds 5

The storage holds a sweep file that resolves to the trials at hand and the four tables in the real
schema, under the real keys. Accuracies come from an additive model whose effects are given, so an
analysis can be compared with the true effects. No stage is stored: what trains or exports has
nothing to read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.canonical import canonical_json, derive_seed
from clmethods.config import evaluation_id, partition_id
from sweeps.definition import Sweep, TrialSpec, expand, sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.results import TABLES, part_key, trial_part_id
from sweeps.results.parquet_files import part_bytes
from sweeps.results.rows import to_table
from sweeps.stages.stage_rows import NO_COST
from sweeps.storage import ObjectStore, open_storage

Values = npt.NDArray[np.float64]

RANKS = [4, 8, 16, 32]
THRESHOLDS = [0, 0.05, 0.1, 0.2, 0.4]
BLOCKS = 12
SITES = ("q", "k", "v", "o", "f1", "f2")
SPLITS = ("validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Standard deviations and sizes of what moves a task's final accuracy, in fractions."""

    mean: float = 0.7
    configuration: float = 0.05
    order: float = 0.02
    seed: float = 0.01
    configuration_order: float = 0.01
    configuration_seed: float = 0.005
    residual: float = 0.01
    task: float = 0.05
    position: float = 0.0
    """The last position less the first; the others lie on a line between them."""
    preceding: float = 0.0
    """Standard deviation, over the tasks, of what a task does to the one learned after it."""
    forgetting: float = 0.1
    """Decrease in accuracy, until the end, of the task learned first."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Parameters of a simulation: 20 configurations per learning rate in all orders and seeds."""

    rates: int = 1
    orders: dict[str, Any] = field(default_factory=lambda: {"design": "random", "count": 2})
    seeds: int = 2
    readouts: Sequence[dict[str, Any]] = ({"routing": "last"},)
    images: int = 100
    """Test images per class; validation has a tenth."""
    matrices: bool = True
    truth: Truth = field(default_factory=Truth)
    seed: int = 0
    name: str = "simulated"
    rules: Mapping[str, Any] = field(default_factory=dict)
    """Further sections of the sweep file, such as `early_stop` and `racing`."""

    @cached_property
    def document(self) -> dict[str, Any]:
        """The sweep file: CIFAR-100 in ten tasks."""
        rates = [round(float(r), 6) for r in np.geomspace(1e-4, 1e-1, self.rates)]
        return {
            "name": self.name,
            "stream": {"dataset": "cifar100", "tasks": 10},
            "method": {"kind": "lorac_ipc"},
            "search": {
                "train.lr": rates,
                "method.rank": RANKS,
                "method.importance_threshold": THRESHOLDS,
            },
            "orders": self.orders,
            "seeds": list(range(self.seeds)),
            "readouts": list(self.readouts),
            "objectives": {"average_accuracy": "max", "forgetting": "min"},
            **self.rules,
        }


def simulate(
    objects: ObjectStore, simulation: Simulation, layout: Literal["parts", "chunks"] = "parts"
) -> Sweep:
    """Write the sweep file and all parts; the sweep as it resolves.

    `parts` is the layout of a real sweep that was just run: a file per stage, readout and trial.
    `chunks` holds the same rows with 100 trials to a file and is quicker to write.
    """
    sweep = sweep_from_dict(simulation.document)
    keep_sweep_file(sweep, objects)
    chunks: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    count = 0

    def flush() -> None:
        for name, tables in chunks.items():
            if tables:
                put_table(
                    objects, sweep.name, name, f"chunk-{count:06d}", pa.concat_tables(tables)
                )
                tables.clear()

    for number, parts in enumerate(simulated_parts(sweep, simulation)):
        for name, part_id, table in parts:
            if layout == "parts":
                put_table(objects, sweep.name, name, part_id, table)
            else:
                chunks[name].append(table)
        count = number
        if number % 100 == 99:
            flush()
    flush()
    return sweep


def put_table(objects: ObjectStore, sweep: str, name: str, part_id: str, table: pa.Table) -> None:
    """One part of a table that was made by columns, which is faster than by rows."""
    objects.put_if_absent(part_key(sweep, name, part_id), part_bytes(table.combine_chunks()))


def simulated_parts(
    sweep: Sweep, simulation: Simulation
) -> Iterator[list[tuple[str, str, pa.Table]]]:
    """Trial by trial, (table, part id, rows) of what no trial before it wrote."""
    trials = expand(sweep)
    finals = final_accuracies(trials, sweep.base.stream.tasks, simulation)
    written: set[str] = set()
    for trial, final in zip(trials, finals, strict=True):
        generator = np.random.default_rng(derive_seed(simulation.seed, "trial", trial.trial_id))
        chain = trial.chain
        tasks = len(chain)
        fall = simulation.truth.forgetting * (tasks - 1 - np.arange(tasks)) / max(tasks - 1, 1)
        accuracy = np.clip(final[None, :] + fall[:, None], 0.02, 0.98)  # (T, T): stage, position
        parts = [("trials", trial_part_id(trial.trial_id, 1), _trial_table(trial, chain))]
        stages = _stage_table(trial, chain, generator)
        evals = {
            evaluation_id(readout, partition_id(trial.run)): _eval_tables(
                chain, trial, readout, accuracy, simulation.images, generator
            )
            for readout in trial.readouts
        }
        for position, stage in enumerate(chain):
            if stage.key in written:
                continue
            written.add(stage.key)
            parts.append(("stages", stage.key, stages.slice(position, 1)))
            if simulation.matrices:
                rows = _matrix_table(stage.key, position, trial, generator)
                parts.append(("matrices", stage.key, rows))
            for identity, tables in evals.items():
                parts.append(("evals", f"{stage.key}-{identity}", tables[position]))
        yield parts


def final_accuracies(
    trials: Sequence[TrialSpec], tasks: int, simulation: Simulation
) -> list[Values]:
    """Expected final accuracy of each trial on each position, (T,), by the additive model."""
    truth = simulation.truth

    def draw(spread: float, *purpose: str | int) -> float:
        seed = derive_seed(simulation.seed, "effect", *purpose)
        return spread * float(np.random.default_rng(seed).standard_normal())

    group = np.array([draw(truth.task, "task", g) for g in range(tasks)])
    carried = np.array([draw(truth.preceding, "preceding", g) for g in range(tasks)])
    line = truth.position * (np.arange(tasks) / max(tasks - 1, 1) - 0.5)
    known: dict[tuple[str, ...], float] = {}

    def effect(spread: float, *purpose: str) -> float:
        if purpose not in known:
            known[purpose] = draw(spread, *purpose)
        return known[purpose]

    found = []
    for trial in trials:
        c, o, s = trial.config_id, trial.order_id, str(trial.seed)
        level = (
            truth.mean
            + effect(truth.configuration, "configuration", c)
            + effect(truth.order, "order", o)
            + effect(truth.seed, "seed", s)
            + effect(truth.configuration_order, "configuration_order", c, o)
            + effect(truth.configuration_seed, "configuration_seed", c, s)
            + draw(truth.residual, "residual", c, o, s)
        )
        order = np.asarray(trial.run.stream.order)
        before = np.append(0.0, carried[order[:-1]])
        found.append(level + group[order] + line + before)
    return found


def _trial_table(trial: TrialSpec, chain: Sequence[Any]) -> pa.Table:
    row = {
        "trial_id": trial.trial_id,
        "config_id": trial.config_id,
        "order_id": trial.order_id,
        "task_order": list(trial.run.stream.order),
        "class_order_seed": trial.run.stream.class_order_seed,
        "split_seed": trial.run.stream.split_seed,
        "seed": trial.seed,
        "partition_id": partition_id(trial.run),
        "label": trial.label,
        "role": trial.role,
        "factors": canonical_json(trial.factors),
        "method": trial.run.method.kind,
        "readout_ids": [readout.readout_id for readout in trial.readouts],
        "attempt": 1,
        "status": "finished",
        "error": None,
        "error_kind": None,
        "stages_done": len(chain),
        "stages_total": len(chain),
        "stage_keys": [stage.key for stage in chain],
        "run": canonical_json(trial.run),
        "trainable_parameters": 1000 * trial.factors.get("method.rank", 16),
        "stored_bytes": 4000 * trial.factors.get("method.rank", 16) * len(chain),
        "cpus": 1.0,
        "gpus": 0.0,
        "code_version": "simulated",
    }
    return to_table(TABLES["trials"], [row])


def _stage_table(
    trial: TrialSpec, chain: Sequence[Any], generator: np.random.Generator
) -> pa.Table:
    """One row per stage of the chain."""
    rank = trial.factors.get("method.rank", 16)
    rows: list[dict[str, Any]] = []
    for stage in chain:
        seconds = float(generator.uniform(5.0, 15.0))
        rows.append(
            {
                "stage_key": stage.key,
                "parent": stage.parent,
                "position": stage.position,
                "task_key": stage.task_key,
                "task": trial.run.stream.order[stage.position],
                "classes": list(stage.classes),
                "cross_entropy": float(generator.uniform(0.2, 0.6)),
                "orthogonality": 0.01,
                "grad_norm": 1.0,
                "steps": 100,
                "frozen_count": _frozen(trial, stage.position),
                "trainable_parameters": 1000 * rank,
                "ortho_residual_max": 0.1,
                "state_bytes": 4000 * rank,
                **NO_COST,
                "wall_s": seconds,
                "cpu_s": seconds,
                "peak_rss_bytes": 10**9,
            }
        )
    return to_table(TABLES["stages"], rows)


def _frozen(trial: TrialSpec, position: int) -> int:
    """Matrices frozen while the task at `position` trains: a share of those left, each time."""
    share = float(trial.factors.get("method.importance_threshold", 0.0))
    left = BLOCKS * len(SITES)
    for _ in range(position):
        left -= round(share * left)
    return BLOCKS * len(SITES) - left


def _matrix_table(
    key: str, position: int, trial: TrialSpec, generator: np.random.Generator
) -> pa.Table:
    count = BLOCKS * len(SITES)
    profile = np.add.outer(np.linspace(1.0, 2.0, BLOCKS), np.linspace(0.0, 0.5, len(SITES)))
    importance = profile.ravel() * generator.uniform(0.9, 1.1, count)
    frozen = np.zeros(count, dtype=bool)
    frozen[np.argsort(-profile.ravel())[: _frozen(trial, position)]] = True
    columns = [
        pa.array([key] * count),
        pa.array(np.repeat(np.arange(BLOCKS, dtype=np.int16), len(SITES))),
        pa.array(list(SITES) * BLOCKS),
        pa.array(importance),
        pa.array(frozen),
        _lists(np.where(np.arange(position + 1) < position, 0.5, 1.0)[None].repeat(count, 0)),
        pa.array(generator.uniform(0.1, 0.3, count)),
        _lists(generator.uniform(0.0, 0.2, (count, position)) * ~frozen[:, None]),
    ]
    return pa.Table.from_arrays(columns, schema=TABLES["matrices"].arrow)


def _lists(values: Values) -> pa.Array:
    """Rows of (N, K) as lists."""
    n, k = values.shape
    return pa.ListArray.from_arrays(
        np.arange(n + 1, dtype=np.int32) * np.int32(k), pa.array(values.ravel())
    )


def _eval_tables(
    chain: Sequence[Any],
    trial: TrialSpec,
    readout: Any,
    accuracy: Values,
    images: int,
    generator: np.random.Generator,
) -> list[pa.Table]:
    """Counts after each stage, of both splits; `accuracy` (T, T) is by stage and position."""
    groups, order, stages = trial.run.stream.groups(), trial.run.stream.order, len(chain)
    sizes = [len(groups[g].classes) for g in order]
    n_classes = sum(sizes)
    place = np.tile(np.repeat(np.arange(len(order)), sizes), 2)  # (2 K,) of both splits
    n = np.repeat([max(images // 10, 1), images], n_classes)
    seen = place <= np.arange(stages)[:, None]  # (T, 2 K)
    chance = accuracy[:, place]

    def counted(p: Values) -> npt.NDArray[np.int64]:
        """Binomial counts by the normal approximation, which is many times as fast."""
        noise = np.sqrt(n * p * (1 - p)) * generator.standard_normal(p.shape, dtype=np.float32)
        return np.clip(np.rint(n * p + noise), 0, n).astype(np.int64).ravel()

    unseen, rows = ~seen.ravel(), stages * len(n)
    route = pa.nulls(rows, pa.int32())
    if readout.routing != "last":
        route = pa.array(counted(0.5 + chance / 2), pa.int32(), mask=unseen)
    columns = [
        pa.array([stage.key for stage in chain]).take(np.repeat(np.arange(stages), len(n))),
        pa.array([partition_id(trial.run)]).take(np.zeros(rows, dtype=np.int64)),
        pa.array([readout.readout_id]).take(np.zeros(rows, dtype=np.int64)),
        pa.array(SPLITS).take(np.tile(np.repeat([0, 1], n_classes), stages)),
        pa.array(np.tile(np.repeat(order, sizes), 2 * stages), pa.int16()),
        pa.array(
            np.tile(np.concatenate([groups[g].classes for g in order]), 2 * stages), pa.int32()
        ),
        pa.array(seen.ravel()),
        pa.array(np.tile(n, stages), pa.int32()),
        pa.array(counted(chance), pa.int32(), mask=unseen),
        pa.array(counted(np.where(seen, 0.5 + chance / 2, 0.3)), pa.int32()),
        route,
    ]
    table = pa.Table.from_arrays(columns, schema=TABLES["evals"].arrow)
    return [table.slice(k * len(n), len(n)) for k in range(stages)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a simulated sweep to a storage."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("storage")
    parser.add_argument("--rates", type=int, default=1, help="20 configurations each")
    parser.add_argument("--orders", default="2", help="how many random ones, or a design")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--layout", choices=["parts", "chunks"], default="parts")
    given = parser.parse_args(arguments)
    orders = (
        {"design": "random", "count": int(given.orders)}
        if given.orders.isdigit()
        else {"design": given.orders}
    )
    simulation = Simulation(rates=given.rates, orders=orders, seeds=given.seeds)
    sweep = simulate(open_storage(given.storage), simulation, given.layout)
    sys.stdout.write(f"{len(expand(sweep))} trials of {sweep.name} in {given.storage}\n")


if __name__ == "__main__":
    main()
