"""Contents of `production.yaml`: the selected run, its readout, and the data of its selection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from clmethods.canonical import plain
from clmethods.config import RunConfig, run_from_dict, run_to_dict
from clmethods.config.readout import ReadoutConfig
from clmethods.errors import refuse, require
from sweeps.analysis.selection.selection_candidates import Candidate
from sweeps.analysis.trials.replicates import Replicates
from sweeps.presentation.selection_card import SelectionQuestion, predicted_interval
from sweeps.statistics.configuration_means import LOWER_LEVEL
from sweeps.statistics.intervals import LEVEL


def production_run(trials: pa.Table, config_id: str, order: str | None) -> RunConfig:
    """Return the run of a configuration in one order, with a seed that the sweep did not use.

    `order` lists the task groups, such as `2-0-1`; None takes the order of the configuration's
    first trial. Class order and split are those of that trial. Raises `InvalidConfigError` for an
    order that is not a permutation of the groups.
    """
    rows = [row for row in trials.to_pylist() if row["config_id"] == config_id]
    first = run_from_dict(json.loads(rows[0]["run"]))
    seed = max(row["seed"] for row in trials.select(["seed"]).to_pylist()) + 1
    groups = tuple(first.stream.order) if order is None else parse_order(order, first)
    return replace(first, seed=seed, stream=replace(first.stream, task_order=groups))


def parse_order(order: str, run: RunConfig) -> tuple[int, ...]:
    """Parse an order such as `2-0-1`.

    Raises `InvalidConfigError` if it is not a permutation of the groups of `run`.
    """
    parts = order.split("-")
    groups = tuple(int(part) for part in parts if part.isdecimal())
    constraint = f"the groups 0 to {run.stream.tasks - 1}, each once, such as 0-1-2"
    valid = len(groups) == len(parts) and sorted(groups) == list(range(run.stream.tasks))
    refuse([require(valid, "--order", order, constraint)])
    return groups


def production_document(
    sweep: str,
    run: RunConfig,
    readout: ReadoutConfig,
    chosen: Candidate,
    question: SelectionQuestion,
    test: Mapping[tuple[str, str], Replicates],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Return the contents of `production.yaml`: `run`, `readout` and `evidence`, as plain data.

    `evidence.prediction` contains, per objective, the prediction interval of the test metric of
    this run. It is used to check that the production run behaves like the selected configuration.
    """
    order = "-".join(map(str, run.stream.order))
    predicted = {}
    for metric in question.objectives:
        interval = predicted_interval(chosen, test, metric, order)
        if interval is not None and interval.low is not None:
            predicted[metric] = {
                "split": "test",
                "level": LEVEL,
                "low": interval.low,
                "mean": interval.mean,
                "high": interval.high,
                "basis": interval.note,
            }
    evidence = {
        "sweep": sweep,
        "label": chosen.replicates.label,
        "config_id": chosen.replicates.config_id,
        "readout_id": chosen.replicates.readout_id,
        "order": order,
        "chosen": {
            "prefer": question.prefer or "knee",
            "limits": [str(limit) for limit in question.limits],
            "by": question.basis,
            "bound_level": LOWER_LEVEL if question.basis == "bound" else None,
            "within": question.within,
            "split": "validation",
        },
        "validation": {
            metric: {
                "mean": value.interval.mean,
                "low": value.interval.low,
                "high": value.interval.high,
                "worst_order": value.worst_order,
                "worst": value.worst,
                "runs": value.interval.n,
                "design": value.interval.note,
                "bound": None if value.common is None else value.common.bound,
                "corrected_for_selection": None
                if value.selected is None
                else asdict(value.selected),
            }
            for metric, value in chosen.estimates.items()
        },
        "prediction": predicted,
        "seeds_used": list(seeds),
    }
    document: dict[str, Any] = json.loads(json.dumps(plain(run_to_dict(run))))
    return {"run": document, "readout": plain(readout), "evidence": evidence}
