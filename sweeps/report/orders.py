"""Report section on order sensitivity: disparity, variance shares, rankings, and effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sweeps.analysis.orders.order_effect import OrderSensitivity
from sweeps.analysis.orders.positions import (
    carry_over,
    position_effects,
    task_accuracies,
)
from sweeps.analysis.orders.variance_shares import variance_split
from sweeps.presentation import short_answers
from sweeps.presentation.numbers import count, percent_range, share_text
from sweeps.presentation.text_tables import NOTHING
from sweeps.report import plots
from sweeps.report.formatting import metric_name
from sweeps.report.order_effects import effect_figures
from sweeps.report.order_rankings import extremes_table, ranking_figures
from sweeps.report.order_similarity import similarity_figure
from sweeps.report.page_model import Column, Figure, Section, table
from sweeps.report.report_inputs import ReportInputs

SHOWN = 12
"""Maximum number of configurations in a plot; the tables have up to `LISTED`."""
LISTED = 60
SPLIT = "validation"


def orders_section(inputs: ReportInputs) -> Section:
    """Return disparities, variance shares, rankings, effects, and association with similarity."""
    metric = inputs.metric
    configs = [config for config in inputs.replicates if config.metrics.get(metric)]
    rows = list(inputs.disparities)
    ranked = _ranked(inputs, [row["config_id"] for row in rows])
    rows.sort(key=lambda row: ranked[row["config_id"]])
    figures: list[Figure] = []
    notes: list[str] = []
    if any(row["aopd"] is not None for row in rows):
        figures.append(_disparity(rows))
    else:
        notes.append("The sweep has one task order, so order effects are not known.")
    _variance(inputs, metric, figures, notes)
    tables = list(ranking_figures(inputs, metric, figures, notes))
    tasks = task_accuracies(inputs.trials, inputs.evals, inputs.readout, SPLIT)
    tasks.sort(key=lambda task: ranked[task.config_id])
    for fit, factor in ((position_effects, "position"), (carry_over, "preceding task")):
        effect_figures(tasks, fit, factor, figures, notes)
    similarity_figure(inputs, ranked, figures, notes)
    tables += [("Best and worst order", extremes_table(configs, metric))] if configs else []
    return Section(
        id="orders",
        title="Task order",
        short="Orders",
        lead=order_answer(inputs) or "The effect of the task order is not known yet.",
        figures=tuple(figures),
        tables=tuple((title, rows) for title, rows in tables if rows.rows),
        notes=tuple(notes),
    )


def order_answer(inputs: ReportInputs) -> str | None:
    """Return the disparity of the best searched configuration; None if there is none."""
    ranked = list(_ranked(inputs, [row["config_id"] for row in inputs.disparities]))
    return short_answers.order_answer(inputs.trials, inputs.evals, ranked, inputs.readouts)


def _ranked(inputs: ReportInputs, config_ids: Sequence[str]) -> dict[str, int]:
    """Return the rank of each configuration among the front rows."""
    listed = [row.config_id for row in inputs.fronts[inputs.readout]]
    order = dict.fromkeys([*listed, *config_ids])
    return {config_id: place for place, config_id in enumerate(order)}


def _disparity(rows: Sequence[OrderSensitivity]) -> Figure:
    known = [row for row in rows if row["aopd"] is not None]
    drawn = known[:SHOWN]
    labels = [row["label"] for row in drawn]
    at = range(len(labels))

    def values(name: Literal["aopd", "mopd", "seed_aopd"]) -> list[float | None]:
        return [None if (v := row[name]) is None else round(100 * v, 2) for row in drawn]

    data = [
        plots.marker_trace("between seeds (floor)", values("seed_aopd"), at, color="@muted"),
        plots.marker_trace("between orders", values("aopd"), at, color="@1", size=11),
        plots.marker_trace(
            "between orders, worst task",
            values("mopd"),
            at,
            color="@2",
            symbol="triangle-up",
            hollow=True,
        ),
    ]
    orders = sorted({row["n_orders"] for row in known})
    return Figure(
        id="order-disparity",
        title="Disparity of a task between orders",
        caption=(
            "Largest minus smallest final accuracy of a task, in percentage points of validation "
            f"accuracy, after averaging over seeds; n = {'/'.join(map(str, orders))} orders. A "
            "disparity below the gray point is not larger than the disparity between seeds. "
            "Ranges increase with the number of values: compare only rows with equal n."
        ),
        spec=plots.plot_spec(data, plots.dot_rows(labels, "difference / points", legend=True)),
        table=table(
            [
                "configuration",
                "#orders",
                "#seeds",
                Column(title="AOPD / points", number=True, term="AOPD"),
                Column(title="floor", number=True, term="seed floor"),
                Column(title="MOPD", number=True, term="MOPD"),
                Column(title="floor", number=True, term="seed floor"),
            ],
            [
                [
                    row["label"],
                    row["n_orders"],
                    row["n_seeds"],
                    _points(row["aopd"]),
                    _points(row["seed_aopd"]),
                    _points(row["mopd"]),
                    _points(row["seed_mopd"]),
                ]
                for row in known[:LISTED]
            ],
            note=_cut(len(known)),
        ),
        terms=("OPD", "AOPD", "MOPD", "seed floor"),
    )


def _points(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"


def _cut(n: int) -> str:
    return f"the first {LISTED} of {n:,}" if n > LISTED else ""


def _variance(inputs: ReportInputs, metric: str, figures: list[Figure], notes: list[str]) -> None:
    searched = [config for config in inputs.replicates if config.role == "search"]
    split = variance_split(searched, metric)
    if split.reason is not None:
        notes.append(f"Variance shares of {metric_name(metric)} are not known: {split.reason}.")
        return
    known = [part for part in split.components if part.share is not None]
    if not known:
        notes.append(f"{metric_name(metric).capitalize()} does not vary.")
        return
    labels = [part.source.replace(":", " x ") for part in known]
    means, lows, highs = (
        [None if v is None else round(100 * v, 1) for v in column]
        for column in zip(*((p.share, p.share_low, p.share_high) for p in known), strict=True)
    )
    over = " x ".join(count(n, name) for name, n in split.levels.items())
    intervals = ", with 95 % intervals" if any(low is not None for low in lows) else ""
    data = [
        plots.marker_trace(
            "share",
            means,
            range(len(labels)),
            color="@1",
            error_x=plots.error_bars(means, lows, highs, "@1"),
        )
    ]
    figures.append(
        Figure(
            id="order-variance",
            title="Sources of variance",
            caption=(
                f"Shares of the variance of validation {metric_name(metric)} over n = {over}"
                f"{intervals}; {split.note}. The residual contains the interaction of all "
                "factors that vary."
            ),
            spec=plots.plot_spec(
                data,
                plots.dot_rows(
                    labels, "share of the variance / %", whole=True, xaxis={"range": [-3, 103]}
                ),
            ),
            table=table(
                [
                    "source",
                    Column(title="share", number=True, term="variance share"),
                    "#95 %",
                    "#standard deviation / points",
                ],
                [
                    [
                        label,
                        share_text(part.share),
                        percent_range(part.share_low, part.share_high),
                        f"{100 * part.variance**0.5:.1f}",
                    ]
                    for label, part in zip(labels, known, strict=True)
                ],
                note="; ".join(f"left out as incomplete: {name}" for name in split.left_out[:5]),
            ),
            terms=("variance share",),
        )
    )
