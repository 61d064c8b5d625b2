"""Text output of `sweeps orders` on the ranking of the configurations in each task order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clmethods.metrics import METRICS
from sweeps.presentation.numbers import count, p_value, percent_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.analysis.trials.replicates import Replicates
    from sweeps.presentation.documents import Block

BEST = 20
"""Maximum number of configurations that are compared in pairs, the best by their mean."""
CONTESTED = 5
"""Maximum number of pairs of configurations shown, the most contested first."""


def ranking_blocks(configs: Sequence[Replicates], metric: str) -> list[Block]:
    """Return Kendall's W with the most contested pairs, and the best and worst orders."""
    from sweeps.analysis.orders.rankings import (
        TIE,
        by_order,
        extreme_orders,
        pairwise_comparisons,
        rank_agreement,
        ranked_configurations,
    )
    from sweeps.presentation.documents import Block, Cell, Column, value_cell

    direction = METRICS[metric].direction
    kept, means = by_order(ranked_configurations(configs), metric)
    concordance = rank_agreement(means)
    heading = f"Is the ranking by {metric} the same in every order?"
    if concordance is None:
        reason = "at least two configurations with two common orders are needed"
        ranking = Block(key="ranking", title=heading, notes=[f"not known: {reason}"])
    else:
        sign = -1.0 if direction == "max" else 1.0
        best = np.argsort(sign * means.mean(axis=1), kind="stable")[:BEST].tolist()
        labels = [kept[c].label for c in best]
        pairs = pairwise_comparisons(labels, means[best], direction)[:CONTESTED]
        ranking = Block(
            key="ranking",
            title=heading,
            lead=[
                f"Kendall's W {concordance.w:.2f} over "
                f"{count(concordance.configurations, 'configuration')} of the search (1: the same "
                f"ranking in all {concordance.orders} orders; 0: no agreement), "
                f"p {p_value(concordance.p_value)} for no agreement"
            ],
            facts={
                "kendall_w": concordance.w,
                "p_value": concordance.p_value,
                "orders": concordance.orders,
                "configurations": concordance.configurations,
            },
            columns=[
                Column("first", "better on average"),
                Column("second", "than"),
                Column("wins", "in orders", number=True),
                Column("probability", "probability", number=True),
                Column("range", "95 %", number=True),
                Column("flips", "flips", number=True),
            ],
            rows=[
                {
                    "first": pair.first,
                    "second": pair.second,
                    "wins": Cell(pair.wins, f"{pair.wins} of {pair.orders}"),
                    "probability": Cell(pair.probability, f"{pair.probability:.0%}"),
                    "range": Cell(
                        {"low": pair.low, "high": pair.high}, percent_range(pair.low, pair.high)
                    ),
                    "flips": pair.flips,
                }
                for pair in pairs
            ],
            notes=[
                f"the {count(len(pairs), 'most contested pair')} of the best {len(best)}; flips: "
                "orders in which the ranking of the two is reversed"
            ],
        )
    rows = extreme_orders(configs, metric, direction)
    equal = [row.label for row in rows if abs(row.best - row.worst) < TIE]
    extremes = Block(
        key="extremes",
        title="Best and worst order, means over seeds",
        columns=[
            Column("label", "configuration"),
            Column("best_order", "best order"),
            Column("best", "best", number=True),
            Column("worst_order", "worst order"),
            Column("worst", "worst", number=True),
        ],
        rows=[
            {
                "label": row.label,
                "best_order": row.best_order,
                "best": value_cell(metric, row.best),
                "worst_order": row.worst_order,
                "worst": value_cell(metric, row.worst),
            }
            for row in rows
            if row.label not in equal
        ],
        notes=[f"the same in every order: {', '.join(equal)}"] if equal else [],
    )
    return [ranking, extremes] if rows else [ranking]
