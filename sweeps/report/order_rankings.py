"""Report figure and tables on the ranking of the configurations in each task order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clmethods.metrics import METRICS
from sweeps.analysis.orders.mean_ranks import MeanRanks, mean_ranks
from sweeps.analysis.orders.rankings import (
    by_order,
    extreme_orders,
    pairwise_comparisons,
    rank_agreement,
    ranked_configurations,
)
from sweeps.analysis.trials.replicates import Replicates, sample
from sweeps.presentation.numbers import count, p_value, percent_range
from sweeps.report import plots
from sweeps.report.formatting import metric_name
from sweeps.report.page_model import Column, Figure, Table, table
from sweeps.report.report_inputs import ReportInputs

CURVES = 5
"""Maximum number of configurations in the plot."""
RANKED = 12
"""Maximum number of configurations in the figure of mean ranks."""
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
    kept, means = by_order(ranked_configurations(inputs.replicates), metric)
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
                f"Kendall's W over {count(concordance.configurations, 'configuration')} of the "
                "search: "
                f"{concordance.w:.2f} (1: the same ranking in all {concordance.orders} orders), "
                f"p {p_value(concordance.p_value)} for no agreement."
            ),
            spec=plots.plot_spec(data, look),
            table=lines,
            terms=("Kendall's W", "flip"),
        )
    )
    ranked = mean_ranks(
        ranked_configurations(inputs.replicates),
        metric,
        direction,
        most=RANKED,
        fixed_orders=inputs.fixed_orders,
    )
    if ranked is not None:
        figures.append(mean_rank_figure(ranked, metric))
    return [("Most contested pairs", contested)]


def mean_rank_figure(ranked: MeanRanks, metric: str) -> Figure:
    """Return mean ranks, with a bar beside each group of configurations that do not differ."""
    places = range(len(ranked.labels))
    ranks = [round(rank, 3) for rank in ranked.ranks]
    dots = plots.marker_trace("mean rank", ranks, list(places), color="@1")
    end = max(ranked.ranks)
    step = (end - 1.0 or 1.0) / 25
    bars: list[plots.PlotPart] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "not distinguished",
            "x": [end + step * (k + 1)] * 2,
            "y": [first - 0.2, last + 0.2],
            "line": {"color": "@muted", "width": 4},
            "hoverinfo": "skip",
        }
        for k, (first, last) in enumerate(ranked.groups)
    ]
    groups_of = [
        ", ".join(str(k + 1) for k, (a, b) in enumerate(ranked.groups) if a <= place <= b)
        for place in places
    ]
    listed = "" if len(places) == ranked.compared else f", the best {len(places)} of them"
    verdict = (
        "A bar joins configurations of which no two differ significantly"
        if ranked.groups
        else "Each configuration differs significantly from the next one"
    )
    return Figure(
        id="order-mean-ranks",
        title="Which configurations can be distinguished?",
        caption=(
            f"Mean rank by validation {metric_name(metric)} over n = "
            f"{count(ranked.orders, 'order')} among "
            f"{count(ranked.compared, 'configuration')}{listed}. {verdict}, by paired intervals "
            "over orders and seeds, with p values adjusted for all pairs by Holm's method at 5 %. "
            "Configurations that share a bar can still differ: more runs make bars shorter."
        ),
        spec=plots.plot_spec(
            [dots, *bars],
            plots.dot_rows(ranked.labels, "mean rank (a number; 1: the best in every order)"),
        ),
        table=table(
            ["configuration", Column(title="mean rank", number=True, term="mean rank"), "bars"],
            [
                [label, f"{rank:.2f}", group]
                for label, rank, group in zip(ranked.labels, ranked.ranks, groups_of, strict=True)
            ],
            note="bars are counted from the best configurations",
        ),
        terms=("mean rank",),
    )


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
