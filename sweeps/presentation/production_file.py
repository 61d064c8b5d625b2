"""production.yaml: the run to ship, its readout, and the evidence that it was chosen by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from clmethods.canonical import plain
from clmethods.config import RunConfig, run_from_dict, run_to_dict
from clmethods.config.readout import ReadoutConfig
from clmethods.errors import refuse, require
from sweeps.analysis.runs.replicates import Replicates
from sweeps.analysis.selection.selection import Candidate
from sweeps.presentation.selection_card import Question, prediction
from sweeps.statistics.intervals import LEVEL


def production_run(trials: pa.Table, config_id: str, order: str | None) -> RunConfig:
    """The configuration in one order, with a seed that the sweep did not use.

    `order` spells the groups out, as `2-0-1`; None takes the order of the configuration's first
    trial. Class order and split stay those of that trial. Raises `InvalidConfigError` for an order
    that is no permutation of the groups.
    """
    rows = [row for row in trials.to_pylist() if row["config_id"] == config_id]
    first = run_from_dict(json.loads(rows[0]["run"]))
    seed = max(row["seed"] for row in trials.select(["seed"]).to_pylist()) + 1
    groups = tuple(first.stream.order) if order is None else parse_order(order, first)
    return replace(first, seed=seed, stream=replace(first.stream, task_order=groups))


def parse_order(order: str, run: RunConfig) -> tuple[int, ...]:
    """`2-0-1` as (2, 0, 1)."""
    parts = order.split("-")
    groups = tuple(int(part) for part in parts if part.isdecimal())
    constraint = f"the groups 0 to {run.stream.tasks - 1}, each once, as 0-1-2"
    whole = len(groups) == len(parts) and sorted(groups) == list(range(run.stream.tasks))
    refuse([require(whole, "--order", order, constraint)])
    return groups


def production_document(
    sweep: str,
    run: RunConfig,
    readout: ReadoutConfig,
    chosen: Candidate,
    question: Question,
    test: Mapping[tuple[str, str], Replicates],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """What production.yaml holds: `run`, `readout` and `evidence`, all plain data.

    `evidence.prediction` has, per objective, the interval that the test metric of this very run
    should fall into: the check that what was shipped is what was chosen.
    """
    order = "-".join(map(str, run.stream.order))
    predicted = {}
    for metric in question.objectives:
        found = prediction(chosen, test, metric, order)
        if found is not None and found.low is not None:
            predicted[metric] = {
                "split": "test",
                "level": LEVEL,
                "low": found.low,
                "mean": found.mean,
                "high": found.high,
                "basis": found.note,
            }
    one = chosen.replicates
    evidence = {
        "sweep": sweep,
        "label": one.label,
        "config_id": one.config_id,
        "readout_id": one.readout_id,
        "order": order,
        "chosen": {
            "prefer": question.prefer or "knee",
            "limits": [str(limit) for limit in question.limits],
            "by": question.basis,
            "split": "validation",
        },
        "validation": {
            metric: {
                "mean": held.interval.mean,
                "low": held.interval.low,
                "high": held.interval.high,
                "worst_order": held.worst_order,
                "worst": held.worst,
                "runs": held.interval.n,
                "design": held.interval.note,
            }
            for metric, held in chosen.standings.items()
        },
        "prediction": predicted,
        "seeds_used": list(seeds),
    }
    document: dict[str, Any] = json.loads(json.dumps(plain(run_to_dict(run))))
    return {"run": document, "readout": plain(readout), "evidence": evidence}
