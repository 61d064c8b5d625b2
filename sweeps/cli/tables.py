"""Tables of results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clmethods.config import Fault, InvalidConfigError
from clmethods.config.readout import readout_notes
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
    """One row per configuration: objectives on validation decide, those on test stand beside.

    The front is that of the searched configurations under one readout. Baselines and references
    follow it, to be compared with: they answer whether the method is worth its cost at all.
    """
    from sweeps.analysis.pareto import pareto_table
    from sweeps.analysis.summary import summarise

    trials, evals, _ = read_results(sweep, objects)
    name = chosen_readout(sweep, readout)
    merged: dict[str, dict[str, Any]] = {}
    for split, prefix in (("validation", ""), ("test", "test ")):
        searched, others = _by_role(summarise(trials, evals, split), name)
        rows = pareto_table(searched, sweep.objectives).to_pylist()
        rows += [
            row | {"on_front": False} for row in pareto_table(others, sweep.objectives).to_pylist()
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


def front_text(sweep: Sweep, objects: ObjectStore, readout: str | None = None) -> str:
    """The searched configurations, front first, then what they are compared with."""
    from sweeps.analysis.render import render_table

    name = chosen_readout(sweep, readout)
    rows = front_rows(sweep, objects, name)
    if not rows:
        return "no finished trial yet"
    table = [
        {
            "front": "*" if row["on_front"] else "",
            "configuration": _titled(row, name),
            "runs": row["n_replicates"],
            **{f"val. {_short(key)}": _shown(row, key) for key in sweep.objectives},
            **{f"test {_short(key)}": _shown(row, f"test {key}") for key in sweep.objectives},
        }
        for row in rows
    ]
    notes = [
        f"readout `{name}`, percent; mean ± half of the 95 % interval "
        "over orders and seeds; front: by the validation means",
        *(f"`{name}`: {note}" for note in readout_notes(name)),
    ]
    orders = len(sweep.orders.orders(sweep.base.stream.tasks))
    if min(orders, len(sweep.seeds)) == 2:
        notes.append(
            f"{orders} orders x {len(sweep.seeds)} seeds leave one degree of freedom, hence the "
            "wide intervals: three or more of each narrow them"
        )
    return "\n".join([render_table(table), *notes])


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


def orders_text(sweep: Sweep, objects: ObjectStore, readout: str | None, split: str) -> str:
    """Order sensitivity per configuration."""
    from sweeps.analysis.order_effect import order_sensitivity
    from sweeps.analysis.render import render_table

    trials, evals, _ = read_results(sweep, objects)
    name = chosen_readout(sweep, readout)
    table = order_sensitivity(trials, evals, name, split)
    columns = ["label", "n_orders", "n_seeds", "aopd", "seed_aopd", "mopd", "seed_mopd"]
    columns += ["share_order", "share_seed", "share_residual", "reason"]
    note = (
        f"{split} images, in percent. aopd/mopd: mean and largest difference of a task's final "
        "accuracy between orders;\nseed aopd/mopd: the same between seeds of one order, the floor "
        "to compare with; share: of the variance of average accuracy"
    )
    notes = [note, *(f"`{name}`: {said}" for said in readout_notes(name))]
    return "\n".join([render_table(table, columns), *notes])


def _short(name: str) -> str:
    return {"average_accuracy": "accuracy", "average_incremental_accuracy": "incremental"}.get(
        name, name
    )
