"""Order sensitivity: disparity of the final accuracies over task orders, with the seed as floor.

Order-normalized performance disparity (Yoon et al. 2020, additive parameter decomposition) over R
orders of the same T task groups. P[r, j] is the final accuracy on group j under order r, at
whichever position the group came:

    OPD_j = max_r P[r, j] - min_r P[r, j]     AOPD = mean_j OPD_j     MOPD = max_j OPD_j

Both AOPD and MOPD lie in [0, 1]; lower is better. Both grow with R, so that methods must be
compared at equal R. The seed also changes P. The same numbers over seeds at a fixed order are
therefore the floor that an order effect must exceed.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clmethods.metrics import METRICS, disparity
from sweeps.analysis.trials.accuracy import SequenceCounts, task_counts
from sweeps.analysis.trials.summary import counted_runs
from sweeps.results import latest_trials
from sweeps.results.rows import TrialRow
from sweeps.statistics.variance_components import Unbalanced, components, crossed, unbalanced

Values = npt.NDArray[np.float64]

_CONFIGURATION = ("config_id", "label", "role", "partition_id")

ORDER_SENSITIVITY = pa.schema(
    [
        *((name, pa.string()) for name in _CONFIGURATION),
        ("readout_id", pa.string()),
        ("split", pa.string()),
        ("n_orders", pa.int32()),
        ("n_seeds", pa.int32()),
        ("n_missing", pa.int32()),
        ("opd", pa.list_(pa.float64())),
        ("aopd", pa.float64()),
        ("mopd", pa.float64()),
        ("seed_aopd", pa.float64()),
        ("seed_mopd", pa.float64()),
        ("metric", pa.string()),
        ("order_std", pa.float64()),
        ("share_order", pa.float64()),
        ("share_seed", pa.float64()),
        ("share_residual", pa.float64()),
        ("reason", pa.string()),
    ]
)
"""Columns of the result; `reason` names the causes of null values."""


class OrderSensitivity(TypedDict):
    """Row of the result, by column of `ORDER_SENSITIVITY`."""

    config_id: str
    label: str
    role: str
    partition_id: str
    readout_id: str
    split: str
    n_orders: int
    n_seeds: int
    n_missing: int
    opd: list[float] | None
    aopd: float | None
    mopd: float | None
    seed_aopd: float | None
    seed_mopd: float | None
    metric: str
    order_std: float | None
    share_order: float | None
    share_seed: float | None
    share_residual: float | None
    reason: str | None


class _Run(NamedTuple):
    """Contribution of one finished trial."""

    order: str
    seed: tuple[int, int]
    """Seed and split seed; both change with the replicate."""
    final: Values  # (T,), final accuracies by group index
    metric: float | None


def order_sensitivity(
    trials: pa.Table,
    evals: pa.Table,
    readout_id: str,
    split: str,
    metric: str = "average_accuracy",
) -> pa.Table:
    """Return one row per configuration and grouping of classes, with `ORDER_SENSITIVITY` columns.

    opd (by group index), aopd and mopd are computed from final accuracies that are averaged over
    the seeds of each order. seed_aopd and seed_mopd are the floor: the disparity over single seeds
    at a fixed order, averaged over the orders. The comparison with the floor is best where n_seeds
    and n_orders are similar. order_std is the standard deviation of `metric` over the means of the
    orders; it includes seed noise. The shares split the variance of `metric` into two-way
    components (the residual contains the interaction). They need some orders and some seeds with
    several runs; if each run has a different seed, its effect cannot be separated from noise.

    Values that the design cannot provide are null, with a `reason`.

    Raises:
        KeyError: If the metric is unknown.
    """
    METRICS[metric]
    with_readout = [t for t in latest_trials(trials).to_pylist() if readout_id in t["readout_ids"]]
    counted = counted_runs(with_readout, task_counts(evals, split), readout_id)
    groups: dict[tuple[str, ...], list[_Run | None]] = {}
    for trial, run_counts in zip(with_readout, counted, strict=True):
        configuration = tuple(trial[name] for name in _CONFIGURATION)
        run = None if run_counts is None else _run(trial, run_counts, metric)
        groups.setdefault(configuration, []).append(run)
    rows = [
        dict(zip(_CONFIGURATION, configuration, strict=True))
        | {"readout_id": readout_id, "split": split, "metric": metric}
        | _row(runs)
        for configuration, runs in groups.items()
    ]
    return pa.Table.from_pylist(rows, schema=ORDER_SENSITIVITY)


def _run(trial: TrialRow, run_counts: SequenceCounts, metric: str) -> _Run:
    """Return the final accuracies of a trial, and its metric."""
    matrix = run_counts.accuracy
    final = np.empty(matrix.shape[1])
    final[np.asarray(trial["task_order"])] = matrix[-1]  # from learning order to group index
    seed = (trial["seed"], trial["split_seed"])
    return _Run(trial["order_id"], seed, final, METRICS[metric].function(matrix))


def _row(runs: list[_Run | None]) -> dict[str, object]:
    done = [run for run in runs if run is not None]
    by_order: dict[str, list[_Run]] = {}
    for run in done:
        by_order.setdefault(run.order, []).append(run)
    n_seeds = len({run.seed for run in done})
    row: dict[str, object] = {
        "n_orders": len(by_order),
        "n_seeds": n_seeds,
        "n_missing": len(runs) - len(done),
    }
    reasons = ["no finished run"] if not done else []
    if len(by_order) >= 2:
        means = np.stack(
            [np.mean([r.final for r in order_runs], axis=0) for order_runs in by_order.values()]
        )
        opd = disparity(means)
        row |= {"opd": opd.tolist(), "aopd": float(opd.mean()), "mopd": float(opd.max())}
    elif done:
        reasons.append("one task order: the order effect cannot be measured")
    floors = [
        disparity([r.final for r in order_runs])
        for order_runs in by_order.values()
        if len(order_runs) >= 2
    ]
    if floors:
        row["seed_aopd"] = float(np.mean([opd.mean() for opd in floors]))
        row["seed_mopd"] = float(np.mean([opd.max() for opd in floors]))
    elif done:
        reasons.append("one seed per order: no floor, seed noise is part of the order effect")
    shares, reason = _shares(done, len(by_order), n_seeds)
    reasons += [reason] if reason else []
    return row | shares | {"reason": "; ".join(reasons) or None}


def _shares(done: list[_Run], n_orders: int, n_seeds: int) -> tuple[dict[str, float], str | None]:
    """Return the spread over orders, the variance shares, and the reason if shares are missing."""
    values = [run.metric for run in done]
    known = np.array([v for v in values if v is not None])
    if not done:
        return {}, None
    if len(known) < len(values):
        return {}, "the metric does not exist for these runs"
    orders = [run.order for run in done]
    spread: dict[str, float] = {}
    if n_orders >= 2:
        means = [known[[o == order for o in orders]].mean() for order in dict.fromkeys(orders)]
        spread["order_std"] = float(np.std(means, ddof=1))
    if n_orders < 2 or n_seeds < 2:
        return spread, "no variance shares with fewer than 2 orders x 2 seeds"
    seeds = [run.seed for run in done]
    grid = crossed(known, orders, seeds)
    if grid is not None:
        shares = components(grid).shares
    else:
        parts = unbalanced(known, orders, seeds)
        if parts is None or parts.confounded is not None:
            return spread, f"no variance shares: {_inseparable(parts, len(done), n_orders)}"
        total = parts.order + parts.seed + parts.residual
        shares = (
            None
            if total <= 0.0
            else (parts.order / total, parts.seed / total, parts.residual / total)
        )
    if shares is None:
        return spread, "no variance shares: nothing varies"
    return spread | dict(
        zip(("share_order", "share_seed", "share_residual"), shares, strict=True)
    ), None


def _inseparable(parts: Unbalanced | None, runs: int, n_orders: int) -> str:
    """Return the reason why the runs do not separate the effects of order and seed."""
    if parts is not None:
        return f"each run has a different {parts.confounded}, which is not separable from noise"
    if runs == n_orders:
        return "each run has a different order and seed, which are not separable"
    return "not every order ran once with every seed, and too few of them ran several times"
