"""Means of every configuration under one readout on the images of one split."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

KEYS = ("sweep", "label", "readout_id", "split", "role", "method", "config_id")
"""Columns that identify a row, the first columns of the table."""

PER_RUN = frozenset(
    {
        "trial_id",
        "order_id",
        "class_order_seed",
        "split_seed",
        "seed",
        "status",
        "reason",
        "references",
        "wanted",
        "partition_id",
    }
)
"""Columns of a summary that differ from run to run; the table does not have them."""


def configuration_table(summary: pa.Table) -> pa.Table:
    """Return one row per configuration, readout and split, with means over its runs.

    `summary` has one row per trial, readout and split, with the columns `sweep` and `wanted`.
    Trials that the sweep file does not request, and runs without metrics, are left out: the means
    are those of `sweeps pareto`. `runs` is the number of runs with metrics. Other numbers are
    means, null if no run has the metric; searched fields are the same in all runs of a row.
    """
    kept = pc.and_(
        pc.fill_null(pc.not_equal(summary["wanted"], pa.scalar(False)), True),
        pc.is_null(summary["reason"]),
    )
    rows = _plain(summary.filter(kept))
    names = [name for name in rows.column_names if name not in PER_RUN | set(KEYS)]
    grouped = rows.group_by(list(KEYS), use_threads=False).aggregate(
        [([], "count_all"), *((name, _function(rows.schema.field(name))) for name in names)]
    )
    order = [*KEYS, "count_all", *(f"{n}_{_function(rows.schema.field(n))}" for n in names)]
    return grouped.select(order).rename_columns([*KEYS, "runs", *names])


def _function(field: pa.Field) -> str:
    """Return how the values of a column are combined; fields of a configuration are equal."""
    metric = "." not in field.name and pa.types.is_floating(field.type)
    return "mean" if metric else "first"


def _plain(table: pa.Table) -> pa.Table:
    """Return the table without dictionaries, which cannot be combined."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
