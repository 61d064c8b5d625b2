"""Tables of results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clmethods.config import Fault, InvalidConfigError
from sweeps.results import latest_trials, read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.spec import Sweep
    from sweeps.storage import ObjectStore


def read_results(sweep: Sweep, objects: ObjectStore) -> tuple[pa.Table, pa.Table, list[str]]:
    """(trials, evals, warnings) of the trials that the sweep wants now, last attempts only.

    Parts of trials and readouts that an earlier version of the sweep wanted stay in the storage.
    """
    import pyarrow.compute as pc

    from sweeps.spec import expand

    trials, evals = (read_table(objects, sweep.name, name) for name in ("trials", "evals"))
    wanted = {trial.trial_id for trial in expand(sweep)}
    latest = latest_trials(trials.table)
    kept = pc.is_in(latest["trial_id"], value_set=pa_array(sorted(wanted)))
    return latest.filter(kept), evals.table, [*trials.warnings, *evals.warnings]


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


def front_rows(sweep: Sweep, objects: ObjectStore, readout: str | None) -> list[dict[str, Any]]:
    """One row per configuration: objectives on validation decide, those on test stand beside."""
    from sweeps.analysis.pareto import pareto_table
    from sweeps.analysis.summary import summarise

    trials, evals, _ = read_results(sweep, objects)
    name = chosen_readout(sweep, readout)
    by_split: dict[str, dict[str, dict[str, Any]]] = {}
    for split in ("validation", "test"):
        table = pareto_table(summarise(trials, evals, split), sweep.objectives)
        rows = [row for row in table.to_pylist() if row["readout_id"] == name]
        # a baseline that cannot be routed stands beside the routed methods with `last`
        there = {row["config_id"] for row in rows}
        rows += [
            row
            for row in table.to_pylist()
            if row["config_id"] not in there
            and row["role"] != "search"
            and row["readout_id"] == "last"
        ]
        by_split[split] = {row["config_id"]: row for row in rows}
    merged = []
    for config, row in by_split["validation"].items():
        test = by_split["test"].get(config, {})
        values = {
            f"test {key}": test.get(key) for key in test if key.startswith(tuple(sweep.objectives))
        }
        merged.append({**row, **values})
    first, direction = next(iter(sweep.objectives.items()))
    sign = -1.0 if direction == "max" else 1.0
    worst = float("inf")
    return sorted(
        merged,
        key=lambda row: (
            not row["on_front"],
            worst if row[first] is None else sign * row[first],
        ),
    )


def front_text(sweep: Sweep, objects: ObjectStore, readout: str | None = None) -> str:
    """The front as a table: first its members, then the others."""
    from sweeps.analysis.render import percent, render_table

    rows = front_rows(sweep, objects, readout)
    if not rows:
        return "no finished trial yet"

    def shown(row: dict[str, Any], name: str) -> str:
        value = row.get(name)
        if name.endswith("trainable_parameters"):
            return "-" if value is None else f"{value:,.0f}"
        return percent(value, row.get(f"{name}_low"), row.get(f"{name}_high"))

    table = [
        {
            "": "*" if row["on_front"] else "",
            "configuration": row["label"],
            "runs": row["n_replicates"],
            **{f"val. {_short(name)}": shown(row, name) for name in sweep.objectives},
            **{f"test {_short(name)}": shown(row, f"test {name}") for name in sweep.objectives},
            "role": row["role"] if row["role"] != "search" else "",
        }
        for row in rows
    ]
    name = chosen_readout(sweep, readout)
    note = (
        f"readout `{name}`; mean ± half of the 95 % interval over orders and seeds, in percent; "
        "* on the front of the validation means"
    )
    return f"{render_table(table)}\n{note}"


def orders_text(sweep: Sweep, objects: ObjectStore, readout: str | None, split: str) -> str:
    """Order sensitivity per configuration."""
    from sweeps.analysis.order_effect import order_sensitivity
    from sweeps.analysis.render import render_table

    trials, evals, _ = read_results(sweep, objects)
    table = order_sensitivity(trials, evals, chosen_readout(sweep, readout), split)
    columns = ["label", "n_orders", "n_seeds", "aopd", "seed_aopd", "mopd", "seed_mopd"]
    columns += ["share_order", "share_seed", "share_residual", "reason"]
    note = (
        f"{split} images, in percent. aopd/mopd: mean and largest difference of a task's final "
        "accuracy between orders;\nseed aopd/mopd: the same between seeds of one order, the floor "
        "to compare with; share: of the variance of average accuracy"
    )
    return f"{render_table(table, columns)}\n{note}"


def _short(name: str) -> str:
    return {"average_accuracy": "accuracy", "average_incremental_accuracy": "incremental"}.get(
        name, name
    )
