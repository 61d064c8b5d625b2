"""Tables of results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from clmethods.config import Fault, InvalidConfigError
from clmethods.config.faults import nearest, refuse, require
from clmethods.config.readout import readout_notes
from clmethods.metrics import DIRECTIONS, METRICS
from sweeps.results import latest_trials, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from sweeps.spec import Sweep
    from sweeps.storage import ObjectStore


NAMED = 5
"""Configurations that are named where several share a reason; the rest are counted."""


class Results(NamedTuple):
    """What the commands that analyse read from a storage."""

    trials: pa.Table
    evals: pa.Table
    warnings: tuple[str, ...]
    """One sentence per part that was left out, and one about runs that are missing."""


def read_results(sweep: Sweep, objects: ObjectStore) -> Results:
    """Trials that the sweep wants now, last attempts only, and all evaluations.

    Parts of trials and readouts that an earlier version of the sweep wanted stay in the storage.
    """
    import pyarrow.compute as pc

    from sweeps.cli.missing import missing_runs
    from sweeps.search.stored import wanted

    trials, evals = (
        read_table(objects, sweep.name, name, encoded=True) for name in ("trials", "evals")
    )
    step = wanted(sweep, objects)
    ids = sorted(trial.trial_id for trial in step.trials)
    latest = latest_trials(trials.table)
    latest = latest.filter(pc.is_in(latest["trial_id"], value_set=pa_array(ids)))
    going = [trial for trial in step.trials if trial.trial_id not in step.stopped]
    warnings = (*trials.warnings, *evals.warnings, *missing_runs(going, latest))
    return Results(latest, evals.table, warnings)


def pa_array(values: list[str]) -> Any:
    """A string array, also when it is empty."""
    import pyarrow as pa

    return pa.array(values, pa.string())


def chosen_readout(sweep: Sweep, readout: str | None) -> str:
    """The readout asked for, or the sweep's first; objectives are read from that one."""
    names = [r.readout_id for r in sweep.readouts]
    if readout is None:
        return names[0]
    if readout not in names:
        raise InvalidConfigError([Fault("--readout", readout, f"one of {names}")])
    return readout


def direction_of(metric: str) -> Literal["max", "min"]:
    """Which direction of a measure is better; what is not a metric is a cost."""
    return DIRECTIONS.get(metric, "min")


def chosen_metric(sweep: Sweep, metric: str | None) -> str:
    """The metric of the accuracy matrix asked for, or the first objective that is one."""
    if metric is None:
        return next((name for name in sweep.objectives if name in METRICS), "average_accuracy")
    refuse(
        [
            require(
                metric in METRICS,
                "--metric",
                metric,
                f"one of {list(METRICS)}",
                nearest(metric, list(METRICS)),
            )
        ]
    )
    return metric


def front_rows(
    sweep: Sweep, results: Results, readout: str | None, iqm: bool = False
) -> list[dict[str, Any]]:
    """One row per configuration: objectives on validation decide, those on test stand beside.

    The front is that of the searched configurations under one readout. Baselines and references
    follow it, to be compared with: they answer whether the method is worth its cost at all.
    """
    from sweeps.analysis.front_probability import front_probability
    from sweeps.analysis.hypervolume import knee
    from sweeps.analysis.pareto import pareto_table
    from sweeps.analysis.replicates import replicates
    from sweeps.analysis.summary import summarise

    name = chosen_readout(sweep, readout)
    merged: dict[str, dict[str, Any]] = {}
    for split, prefix in (("validation", ""), ("test", "test ")):
        searched, others = _by_role(summarise(results.trials, results.evals, split), name)
        fixed = all_orders(sweep)
        rows = pareto_table(searched, sweep.objectives, fixed_orders=fixed, iqm=iqm).to_pylist()
        if not prefix:
            found = replicates(searched, list(sweep.objectives))
            sure = front_probability(found, sweep.objectives, fixed_orders=fixed).tolist()
            share = dict(zip([one.config_id for one in found], sure, strict=True))
            means = [[row[name] for name in sweep.objectives] for row in rows]
            points = np.array(means, dtype=np.float64).reshape(len(rows), len(sweep.objectives))
            bend = knee(points, list(sweep.objectives.values()))
            several = sum(row["on_front"] for row in rows) >= 3
            for index, row in enumerate(rows):
                luck = row["n_replicates"] > 1  # else there is nothing to draw from
                row |= {
                    "p_front": share[row["config_id"]] if luck else None,
                    "knee": several and index == bend,
                }
        rows += [
            row | {"on_front": False}
            for row in pareto_table(
                others, sweep.objectives, fixed_orders=fixed, iqm=iqm
            ).to_pylist()
        ]
        for row in rows:
            values = {f"{prefix}{key}": value for key, value in row.items()}
            merged.setdefault(row["config_id"], {}).update(values)
    first, direction = next(iter(sweep.objectives.items()))
    sign = -1.0 if direction == "max" else 1.0

    def place(row: dict[str, Any]) -> tuple[bool, bool, float]:
        value = float("inf") if row[first] is None else sign * row[first]
        return row["role"] != "search", not row["on_front"], value

    return sorted(merged.values(), key=place)


def all_orders(sweep: Sweep) -> bool:
    """Whether the sweep runs every order that may be, so that orders are a fixed factor."""
    return sweep.orders.exhaustive


def _by_role(summary: pa.Table, readout: str) -> tuple[pa.Table, pa.Table]:
    """(searched, others) under a readout; a baseline that lacks it is read by `last`."""
    import pyarrow.compute as pc

    searched = pc.equal(summary["role"], "search")
    wanted = pc.equal(summary["readout_id"], readout)
    routed = pc.unique(summary.filter(wanted)["config_id"])
    fallback = pc.and_(
        pc.invert(pc.is_in(summary["config_id"], value_set=routed)),
        pc.equal(summary["readout_id"], "last"),
    )
    return (
        summary.filter(pc.and_(searched, wanted)),
        summary.filter(pc.and_(pc.invert(searched), pc.or_(wanted, fallback))),
    )


def front_text(
    sweep: Sweep, results: Results, readout: str | None = None, iqm: bool = False
) -> str:
    """The searched configurations, front first, then what they are compared with."""
    from sweeps.analysis.render import render_table

    name = chosen_readout(sweep, readout)
    rows = front_rows(sweep, results, name, iqm)
    if not rows:
        return "\n".join([*results.warnings, "no finished trial yet"])
    table = [
        {
            "front": ("*" if row["on_front"] else "") + (" knee" if row.get("knee") else ""),
            "in": _share(row.get("p_front")),
            "configuration": _titled(row, name),
            "runs": row["n_replicates"],
            **{f"val. {_short(key)}": _shown(row, key) for key in sweep.objectives},
            **{f"test {_short(key)}": _shown(row, f"test {key}") for key in sweep.objectives},
        }
        for row in rows
        if not _stopped(row)
    ]
    mean = "interquartile mean" if iqm else "mean"
    notes = [
        f"readout `{name}`, percent; {mean} ± half of the 95 % interval over orders and seeds",
        f"front: by the validation {mean}s; in: how often it is on the front when orders and "
        "seeds are drawn again (bootstrap)",
        *_volume_text(sweep, rows),
        *(f"`{name}`: {note}" for note in readout_notes(name)),
    ]
    for row in rows:
        if (row["n_missing"] or row["n_fewer"] or row["approximate"]) and not _stopped(row):
            notes.append(f"{row['label']}: {_missing(row)}")
    notes += _stopped_text(rows)
    notes += _few_text(results)
    need = need_text(sweep, results, readout)
    return "\n".join(
        [*results.warnings, render_table(table), *notes, *(["", need] if need else [])]
    )


def _few_text(results: Results) -> list[str]:
    """What two orders or seeds, or one run each, cannot tell."""
    trials = results.trials.select(["order_id", "seed"]).to_pylist()
    orders = len({row["order_id"] for row in trials} - {"any"})
    seeds = len({row["seed"] for row in trials})
    if max(orders, seeds) <= 1:
        return ["one run each: intervals and shares are unavailable; take three orders and seeds"]
    if min(orders, seeds) == 2:
        return [
            f"{orders} orders x {seeds} seeds leave one degree of freedom, hence the wide "
            "intervals and shares that are too sure: take three or more of each"
        ]
    return []


def need_text(sweep: Sweep, results: Results, readout: str | None) -> str:
    """Where the best trained configuration stands against the best that trains nothing."""
    from sweeps.analysis.paired import configurations
    from sweeps.analysis.replicates import replicates
    from sweeps.analysis.summary import summarise
    from sweeps.analysis.training_free import lora_need

    name, metric = chosen_readout(sweep, readout), chosen_metric(sweep, None)
    of_split = {
        split: configurations(
            replicates(summarise(results.trials, results.evals, split), [metric]), name, split
        )
        for split in ("validation", "test")
    }
    found = lora_need(
        of_split["validation"],
        of_split["test"],
        metric,
        METRICS[metric].direction,
        fixed_orders=all_orders(sweep),
    )
    return found.text if found else ""


def _volume_text(sweep: Sweep, rows: list[dict[str, Any]]) -> list[str]:
    """The hypervolume of the searched means, and over which corner; nothing for one objective."""
    from sweeps.analysis.hypervolume import hypervolume, worst_point

    directions = list(sweep.objectives.values())
    points = np.array(
        [[row[name] for name in sweep.objectives] for row in rows if row["role"] == "search"],
        dtype=np.float64,
    ).reshape(-1, len(directions))
    corner = worst_point(points, directions)
    if len(directions) < 2 or not np.isfinite(corner).all():
        return []
    volume = hypervolume(points, directions, corner)
    worst = ", ".join(
        f"{_short(n)} {v:.4g}" for n, v in zip(sweep.objectives, corner, strict=True)
    )
    return [f"hypervolume {volume:.4g} over the worst means ({worst}), as fractions"]


def _missing(row: dict[str, Any]) -> str:
    """What a row lacks, in words."""
    lacks = f"{row['n_missing']} of its runs have no metrics; " if row["n_missing"] else ""
    if row["n_fewer"]:
        lacks += f"{row['n_fewer']} runs fewer than others, compared over common runs; "
    return f"{lacks}interval over {row['interval']}"


def _stopped(row: dict[str, Any]) -> bool:
    """Whether early stopping left the configuration without an end."""
    return row["n_replicates"] == 0 and str(row["interval"]).startswith("stopped")


def _stopped_text(rows: list[dict[str, Any]]) -> list[str]:
    """Who was stopped early, by when."""
    by_rung: dict[str, list[str]] = {}
    for row in filter(_stopped, rows):
        by_rung.setdefault(row["interval"], []).append(row["label"])
    return left_out_text(by_rung)


def left_out_text(by_reason: Mapping[str, Sequence[str]]) -> list[str]:
    """One line per reason why configurations take no part, with their labels."""
    return [
        f"left out, {reason}: {', '.join(labels[:NAMED])}"
        + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")
        for reason, labels in sorted(by_reason.items())
    ]


def _share(share: float | None) -> str:
    """A share of bootstrap draws."""
    if share is None:
        return ""
    return (
        f"{share:.0%}"
        if share in {0.0, 1.0} or 0.005 <= share < 0.995
        else ("<1%" if share < 0.5 else ">99%")
    )


def _titled(row: dict[str, Any], readout: str) -> str:
    """The label, with the role of what is compared with, and its readout where it is another."""
    if row["role"] == "search":
        return str(row["label"])
    other = f", {row['readout_id']}" if row["readout_id"] != readout else ""
    return f"{row['label']} ({row['role']}{other})"


def _shown(row: dict[str, Any], name: str) -> str:
    from sweeps.analysis.render import percent

    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if name.endswith("trainable_parameters"):
        return "-" if value is None else f"{value:,.0f}"
    if value is not None and low is not None and high is not None and high - low > 1.0:
        return f"{percent(value)} ± >50"
    return percent(value, low, high)


def _short(name: str) -> str:
    return {"average_accuracy": "accuracy", "average_incremental_accuracy": "incremental"}.get(
        name, name
    )
