"""Report figure and tables on the ranking of the configurations in each task order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clmethods.metrics import METRICS
from sweeps.analysis.orders.rankings import (
    by_order,
    extreme_orders,
    pairwise_comparisons,
    rank_agreement,
)
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.presentation.numbers import count, p_value, percent_range
from sweeps.report import plots
from sweeps.report.formatting import metric_name
from sweeps.report.page_model import Column, Figure, Table, table
from sweeps.report.report_inputs import ReportInputs

CURVES = 5
"""Maximum number of configurations in the plot."""
BEST = 20
"""Maximum number of configurations that are compared in pairs."""
LISTED = 60


def ranking_figures(
    inputs: ReportInputs, metric: str, figures: list[Figure], notes: list[str]
) -> list[tuple[str, Table]]:
    """Append the figure of configurations over orders; return the table of contested pairs.

    If there is no ranking to compare, the reason is appended to `notes`.
    """
    direction = METRICS[metric].direction
    searched = [config for config in inputs.replicates if config.role == "search"]
    kept, means = by_order(searched or inputs.replicates, metric)
    concordance = rank_agreement(means)
    if concordance is None:
        notes.append(
            "Agreement of the rankings between orders is not known: it needs at least two "
            "configurations with two common orders."
        )
        return []
    sign = -1.0 if direction == "max" else 1.0
    best = np.argsort(sign * means.mean(axis=1), kind="stable")[:BEST].tolist()
    orders = list(dict.fromkeys(sample(kept[0], metric).orders))
    orders = [o for o in orders if all(o in sample(c, metric).by_order() for c in kept)]
    names = plots.plot_labels([kept[c].label for c in best[:CURVES]], 60)
    seeds = max(len(set(sample(config, metric).seeds)) for config in kept)
    data: list[plots.PlotPart] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": names[k],
            "x": orders,
            "y": [round(100 * v, 2) for v in means[c].tolist()],
            "line": {"color": plots.COLORS[k % 6], "width": 1.6},
            "marker": {"symbol": plots.SYMBOLS[k % 8], "size": 8, "color": plots.COLORS[k % 6]},
        }
        for k, c in enumerate(best[:CURVES])
    ]
    look = plots.layout(
        "task order",
        f"{metric_name(metric)} / %",
        height=330 + 22 * len(names),
        xaxis={"type": "category"},
    )
    pairs = pairwise_comparisons([kept[c].label for c in best], means[best], direction)
    contested = table(
        [
            "better on average",
            "than",
            "#in orders",
            "#probability",
            "#95 %",
            Column(title="flips", number=True, term="flip"),
        ],
        [
            [
                pair.first,
                pair.second,
                f"{pair.wins} of {pair.orders}",
                f"{pair.probability:.0%}",
                percent_range(pair.low, pair.high),
                pair.flips,
            ]
            for pair in pairs[:10]
        ],
        note=f"the {min(len(pairs), 10)} most contested pairs of the best {len(best)}",
    )
    lines = table(
        ["configuration", *(f"#{order}" for order in orders)],
        [[kept[c].label, *(f"{100 * v:.1f}" for v in means[c].tolist())] for c in best],
        note="percent, means over the seeds of each order",
    )
    figures.append(
        Figure(
            id="order-ranking",
            title="Is the ranking the same in every order?",
            caption=(
                f"Validation {metric_name(metric)} of the best {min(len(best), CURVES)} searched "
                f"configurations, means over seeds; n = {count(len(orders), 'order')} with up to "
                f"{count(seeds, 'seed')} each. Where lines cross, the ranking is reversed. "
                f"Kendall's W over all {concordance.configurations} configurations: "
                f"{concordance.w:.2f} (1: the same ranking in all {concordance.orders} orders), "
                f"p {p_value(concordance.p_value)} for no agreement."
            ),
            spec=plots.plot_spec(data, look),
            table=lines,
            terms=("Kendall's W", "flip"),
        )
    )
    return [("Most contested pairs", contested)]


def extremes_table(configs: Sequence[Replicates], metric: str) -> Table:
    """Return the table of the best and the worst order of each configuration."""
    rows = extreme_orders(configs, metric, METRICS[metric].direction)
    cut = f"; the first {LISTED} of {len(rows):,}" if len(rows) > LISTED else ""
    return table(
        ["configuration", "best order", "#best / %", "worst order", "#worst / %"],
        [
            [r.label, r.best_order, f"{100 * r.best:.1f}", r.worst_order, f"{100 * r.worst:.1f}"]
            for r in rows[:LISTED]
        ],
        note=f"means over seeds{cut}",
    )
