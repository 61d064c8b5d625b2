"""Whether one ranking of the configurations holds in every task order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clmethods.metrics import METRICS
from sweeps.analysis.orders.rankings import agreement, by_order, duels, extremes
from sweeps.analysis.runs.replicates import Replicates, sample
from sweeps.report import plots
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import between, count, metric_name, p_value
from sweeps.report.model import Column, Figure, Table, table

CURVES = 5
"""Configurations whose orders are drawn as lines."""
BEST = 20
"""Configurations whose pairs are compared."""
LISTED = 60


def ranking_figures(
    evidence: Evidence, metric: str, figures: list[Figure], notes: list[str]
) -> list[tuple[str, Table]]:
    """The figure of configurations over orders, and the table of contested pairs."""
    direction = METRICS[metric].direction
    found = [one for one in evidence.found if one.role == "search"]
    found = found or evidence.found
    kept, means = by_order(found, metric)
    together = agreement(means)
    if together is None:
        notes.append(
            "Whether the ranking holds in every order: two configurations in two common "
            "orders are needed."
        )
        return []
    sign = -1.0 if direction == "max" else 1.0
    best = np.argsort(sign * means.mean(axis=1), kind="stable")[:BEST].tolist()
    orders = list(dict.fromkeys(sample(kept[0], metric).orders))
    orders = [o for o in orders if all(o in sample(one, metric).by_order() for one in kept)]
    names = plots.texts([kept[c].label for c in best[:CURVES]], 60)
    seeds = max(len(set(sample(one, metric).seeds)) for one in kept)
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": names[k],
            "x": orders,
            "y": [round(100 * v, 2) for v in means[c].tolist()],
            "line": {"color": plots.COLOURS[k % 6], "width": 1.6},
            "marker": {"symbol": plots.SYMBOLS[k % 8], "size": 8, "color": plots.COLOURS[k % 6]},
        }
        for k, c in enumerate(best[:CURVES])
    ]
    look = plots.layout(
        "task order",
        f"{metric_name(metric)} / %",
        height=330 + 22 * len(names),
        xaxis={"type": "category"},
    )
    pairs = duels([kept[c].label for c in best], means[best], direction)
    contested = table(
        [
            "better in the mean",
            "than",
            "#in orders",
            "#probability",
            "#95 %",
            Column(title="flips", number=True, term="flip"),
        ],
        [
            [
                duel.first,
                duel.second,
                f"{duel.wins} of {duel.orders}",
                f"{duel.probability:.0%}",
                between(duel.low, duel.high),
                duel.flips,
            ]
            for duel in pairs[:10]
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
            title="Does the ranking hold in every order?",
            caption=(
                f"Validation {metric_name(metric)} of the best {min(len(best), CURVES)} searched "
                f"configurations, means over seeds; n = {count(len(orders), 'order')} with up to "
                f"{count(seeds, 'seed')} each. Lines that cross are rankings that flip. "
                f"Kendall's W over all {together.configurations}: {together.w:.2f} (1: the same "
                f"ranking in all {together.orders} orders), p {p_value(together.p_value)} for no "
                "agreement."
            ),
            spec=plots.spec(data, look),
            table=lines,
            terms=("Kendall's W", "flip"),
        )
    )
    return [("Most contested pairs", contested)]


def extremes_table(found: Sequence[Replicates], metric: str) -> Table:
    rows = extremes(found, metric, METRICS[metric].direction)
    cut = f"; the first {LISTED} of {len(rows):,}" if len(rows) > LISTED else ""
    return table(
        ["configuration", "best order", "#best / %", "worst order", "#worst / %"],
        [
            [r.label, r.best_order, f"{100 * r.best:.1f}", r.worst_order, f"{100 * r.worst:.1f}"]
            for r in rows[:LISTED]
        ],
        note=f"means over seeds{cut}",
    )
