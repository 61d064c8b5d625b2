"""Order sensitivity: how much the task order matters, and whether it turns rankings around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweeps.analysis.orders.positions import (
    carry_over,
    position_effects,
    task_accuracies,
)
from sweeps.analysis.orders.variance_shares import variance_split
from sweeps.report import plots
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import between, count, metric_name, share
from sweeps.report.model import NOTHING, Column, Figure, Section, table
from sweeps.report.order_effects import effect_figures
from sweeps.report.order_rankings import extremes_table, ranking_figures
from sweeps.report.order_similarity import similarity_figure

SHOWN = 12
"""Configurations in a plot; the tables have `LISTED`."""
LISTED = 60
CURVES = 5
"""Configurations whose positions and orders are drawn as lines."""
BEST = 20
"""Configurations whose pairs are compared."""
LIKELY = 0.05
SPLIT = "validation"


def orders_section(evidence: Evidence) -> Section:
    """Five questions, in the order in which a reader asks them."""
    metric = evidence.metric
    found = [one for one in evidence.found if one.metrics.get(metric)]
    rows = list(evidence.disparities)
    ranked = _ranked(evidence, [row["config_id"] for row in rows])
    rows.sort(key=lambda row: ranked[row["config_id"]])
    figures: list[Figure] = []
    notes: list[str] = []
    if any(row["aopd"] is not None for row in rows):
        figures.append(_disparity(rows))
    else:
        notes.append("One task order: there is no order effect to see.")
    _variance(evidence, metric, figures, notes)
    tables = list(ranking_figures(evidence, metric, figures, notes))
    tasks = task_accuracies(evidence.trials, evidence.evals, evidence.readout, SPLIT)
    tasks.sort(key=lambda one: ranked[one.config_id])
    for fit, what in ((position_effects, "position"), (carry_over, "preceding task")):
        effect_figures(tasks, fit, what, figures, notes)
    similarity_figure(evidence, ranked, figures, notes)
    tables += [("Best and worst order", extremes_table(found, metric))] if len(found) else []
    return Section(
        id="orders",
        title="Task order",
        short="Orders",
        lead=order_answer(evidence) or "What the task order does is not known yet.",
        figures=tuple(figures),
        tables=tuple((title, one) for title, one in tables if one.rows),
        notes=tuple(notes),
    )


def order_answer(evidence: Evidence) -> str | None:
    """How much the order matters, in a sentence about the best configuration that has it."""
    known = [row for row in evidence.disparities if row["aopd"] is not None]
    searched = [row for row in known if row["role"] == "search"] or known
    if not searched:
        return None
    ranked = _ranked(evidence, [row["config_id"] for row in searched])
    row = min(searched, key=lambda one: ranked[one["config_id"]])
    answer = (
        f"With {row['label']}, a task's final accuracy differs by {100 * row['aopd']:.1f} points "
        f"between {count(row['n_orders'], 'order')} in the mean, and by {100 * row['mopd']:.1f} "
        "for the task that differs most"
    )
    if row["seed_aopd"] is None:
        return f"{answer}. How much of that seeds do alone is not known: each order has one."
    answer += (
        f"; between {count(row['n_seeds'], 'seed')} of one order by {100 * row['seed_aopd']:.1f}"
    )
    if row["n_seeds"] < row["n_orders"]:
        return f"{answer}. Fewer seeds than orders show a smaller range by themselves."
    return f"{answer}."


def _ranked(evidence: Evidence, config_ids: Sequence[str]) -> dict[str, int]:
    """Place of each configuration on the front's list."""
    listed = [row["config_id"] for row in evidence.fronts[evidence.readout]]
    order = dict.fromkeys([*listed, *config_ids])
    return {config_id: place for place, config_id in enumerate(order)}


def _disparity(rows: Sequence[dict[str, Any]]) -> Figure:
    known = [row for row in rows if row["aopd"] is not None]
    drawn = known[:SHOWN]
    labels = [row["label"] for row in drawn]
    at = range(len(labels))

    def values(name: str) -> list[float | None]:
        return [None if row[name] is None else round(100 * row[name], 2) for row in drawn]

    data = [
        plots.marks("between seeds (floor)", values("seed_aopd"), at, colour="@muted"),
        plots.marks("between orders", values("aopd"), at, colour="@1", size=11),
        plots.marks(
            "between orders, worst task",
            values("mopd"),
            at,
            colour="@2",
            symbol="triangle-up",
            hollow=True,
        ),
    ]
    orders = sorted({row["n_orders"] for row in known})
    return Figure(
        id="order-disparity",
        title="How far does the order move a task?",
        caption=(
            "Largest less smallest final accuracy of a task, in percentage points of validation "
            f"accuracy, seeds averaged first; n = {'/'.join(map(str, orders))} orders. A point "
            "left of the grey one is no more than what seeds do. Ranges grow with their number: "
            "compare rows of equal n."
        ),
        spec=plots.spec(data, plots.dot_rows(labels, "difference / points", legend=True)),
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
                    *(_points(row[k]) for k in ("aopd", "seed_aopd", "mopd", "seed_mopd")),
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


def _variance(evidence: Evidence, metric: str, figures: list[Figure], notes: list[str]) -> None:
    searched = [one for one in evidence.found if one.role == "search"]
    split = variance_split(searched, metric)
    if split.reason is not None:
        notes.append(f"Where the variance of {metric_name(metric)} comes from: {split.reason}.")
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
    data = [
        plots.marks(
            "share",
            means,
            range(len(labels)),
            colour="@1",
            error_x=plots.errors(means, lows, highs, "@1"),
        )
    ]
    figures.append(
        Figure(
            id="order-variance",
            title="Where does the variance come from?",
            caption=(
                f"Shares of the variance of validation {metric_name(metric)} over n = {over}, "
                f"with 95 % intervals; {split.note}. The residual holds the interaction of all "
                "that vary."
            ),
            spec=plots.spec(
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
                        share(part.share),
                        between(part.share_low, part.share_high),
                        f"{100 * part.variance**0.5:.1f}",
                    ]
                    for label, part in zip(labels, known, strict=True)
                ],
                note="; ".join(f"left out, incomplete: {name}" for name in split.left_out[:5]),
            ),
            terms=("variance share",),
        )
    )
