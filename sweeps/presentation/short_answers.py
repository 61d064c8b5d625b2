"""Short answers about a sweep, in the same words at the end of `sweeps run` and in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from clmethods.config.readout import is_batch_wise, is_upper_bound
from sweeps.analysis.orders.order_effect import OrderSensitivity, order_sensitivity
from sweeps.analysis.trials.metric_choice import SPLITS
from sweeps.presentation.numbers import count, seconds

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.results.rows import StageRow, TrialRow


def order_answer(
    trials: pa.Table, evals: pa.Table, ranked: Sequence[str], readouts: Sequence[str]
) -> str | None:
    """Return the disparity between orders of the best configuration; None if there is none.

    `ranked`: config_ids, the best first. The configuration is the first one with several orders.
    `readouts`: the first one decides; the disparity with the others is reported alongside, apart
    from those that receive the task.
    """
    for config_id in ranked:
        row = _sensitivity(trials, evals, config_id, readouts[0])
        if row is not None:
            break
    else:
        return None
    fair = [name for name in readouts[1:] if not (is_upper_bound(name) or is_batch_wise(name))]
    other = {name: _sensitivity(trials, evals, config_id, name) for name in fair}
    return " ".join(
        [
            _disparity(row, _seeds_per_order(trials, config_id)),
            *_disparity_with({name: found for name, found in other.items() if found is not None}),
        ]
    )


def _sensitivity(
    trials: pa.Table, evals: pa.Table, config_id: str, readout: str
) -> OrderSensitivity | None:
    """Return the order sensitivity of one configuration; None with fewer than two orders."""
    own = trials.filter(pc.equal(trials["config_id"], config_id))
    rows: list[OrderSensitivity] = order_sensitivity(own, evals, readout, SPLITS[0]).to_pylist()
    return next((row for row in rows if row["aopd"] is not None), None)


def _seeds_per_order(trials: pa.Table, config_id: str) -> int:
    """Return the largest number of seeds with which finished runs have one order."""
    own = trials.filter(
        pc.and_(pc.equal(trials["config_id"], config_id), pc.equal(trials["status"], "finished"))
    )
    columns = (own[name].to_pylist() for name in ("order_id", "seed", "split_seed"))
    runs = set(zip(*columns, strict=True))
    return max(Counter(order for order, _, _ in runs).values(), default=0)


def _disparity(row: OrderSensitivity, seeds: int) -> str:
    """Return the sentences on one configuration with the readout that decides."""
    orders = count(row["n_orders"], "order")
    answer = (
        f"With {row['label']}, the final accuracy of a task differs between {orders} by "
        f"{_points(row['aopd'])} points on average, and by {_points(row['mopd'])} points for the "
        "most sensitive task"
    )
    if row["seed_aopd"] is None:
        return (
            f"{answer}. The contribution of seeds to these differences is not known, because each "
            "order has one seed."
        )
    answer += (
        f". Between {count(seeds, 'seed')} of one order it differs by "
        f"{_points(row['seed_aopd'])} points"
    )
    if seeds < row["n_orders"]:
        return (
            f"{answer}. There are fewer seeds per order than orders, and the range of fewer "
            "values is smaller on average."
        )
    return f"{answer}."


def _disparity_with(rows: Mapping[str, OrderSensitivity]) -> list[str]:
    """Return a sentence on the same runs with the other readouts; empty if there are none."""
    parts = [f"{_points(row['aopd'])} points with readout `{name}`" for name, row in rows.items()]
    return [f"Between orders it differs by {' and '.join(parts)}."] if parts else []


def _points(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f}"


@dataclass(frozen=True, slots=True)
class StageSharing:
    """Stages of the finished runs, and what sharing them saved."""

    runs: int
    steps: int
    """Sum of the lengths of the chains: stages without sharing."""
    stages: int
    """Different stages of these chains."""
    spent_s: float
    """Seconds of processor time of the stages."""
    alone_s: float
    """Seconds of processor time without sharing."""
    readouts: int
    """Largest number of readouts of a run."""

    @property
    def text(self) -> str:
        """One or two sentences for readers."""
        less = f", {1 - self.spent_s / self.alone_s:.0%} less." if self.alone_s else "."
        if self.readouts > 1:
            less += (
                f" The {self.readouts} readouts of a run use the same stages, without further "
                "training."
            )
        verb = "was" if self.steps - self.stages == 1 else "were"
        return (
            f"{count(self.runs, 'finished run')} took {count(self.steps, 'step')}, of which "
            f"{self.steps - self.stages:,} {verb} shared: {count(self.stages, 'stage')} and "
            f"{seconds(self.spent_s)} of processor time instead of {seconds(self.alone_s)}{less}"
        )


def stage_sharing(trials: Iterable[TrialRow], stages: Iterable[StageRow]) -> StageSharing | None:
    """Return what shared stages saved; None if no stage of a finished run has a known cost."""
    costs = {row["stage_key"]: row["cpu_s"] for row in stages}
    finished = [trial for trial in trials if trial["status"] == "finished"]
    steps = Counter(key for trial in finished for key in trial["stage_keys"])
    known = [key for key in steps if key in costs]
    if not known:
        return None
    return StageSharing(
        runs=len(finished),
        steps=sum(steps.values()),
        stages=len(steps),
        spent_s=sum(costs[key] for key in known),
        alone_s=sum(costs[key] * steps[key] for key in known),
        readouts=max(len(trial["readout_ids"]) for trial in finished),
    )
