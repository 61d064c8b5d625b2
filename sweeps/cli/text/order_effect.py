"""Text output of `sweeps orders`: effects of the task order, in five parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clmethods.config.readout import readout_notes
from clmethods.metrics import METRICS
from sweeps.analysis.trials.metric_choice import Results, chosen_readout
from sweeps.cli.text.task_lines import SHOWN_TASKS, task_lines
from sweeps.presentation.numbers import p_value, percent_range, signed_points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeps.analysis.orders.positions import EffectEstimates, TaskAccuracies
    from sweeps.analysis.trials.replicates import Replicates
    from sweeps.definition import Sweep
    from sweeps.statistics.intervals import Interval

BEST = 20
"""Maximum number of configurations that are compared in pairs, the best by their mean."""
CONTESTED = 5
"""Maximum number of pairs of configurations shown, the most contested first."""
SIGNIFICANCE = 0.05
"""p-value below which an effect is significant."""


def orders_text(
    sweep: Sweep, results: Results, readout: str | None, split: str, metric: str
) -> str:
    """Return the order sensitivity of every configuration with one readout as text."""
    from sweeps.analysis.orders.positions import carry_over, position_effects, task_accuracies
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize

    name = chosen_readout(sweep, readout)
    every = replicates(summarize(results.trials, results.evals, split), [metric])
    if not every:
        return "\n".join([*results.warnings, "no finished trial yet"])
    configs = configurations(every, name, split)
    tasks = task_accuracies(results.trials, results.evals, name, split)
    parts = [
        *results.warnings,
        _disparity(results, name, split, metric),
        _variance([config for config in configs if config.role == "search"], metric),
        *_rankings(configs, metric),
        _effects(tasks, position_effects, "position", "at stage {}", first=1),
        _effects(tasks, carry_over, "preceding task", "after task {}", first=0),
        *_similarity(sweep, results, name, split),
        "\n".join(
            [
                f"readout `{name}`, {split} images, percent and percentage points; ± half of the "
                "95 % interval",
                *(f"`{name}`: {note}" for note in readout_notes(name)),
            ]
        ),
    ]
    names = task_lines(sweep, SHOWN_TASKS)
    numbers = "tasks are counted from 0, as in orders; stages, the steps of a run, from 1"
    return "\n\n".join([*parts, "\n".join([numbers, *names])])


def _disparity(results: Results, readout: str, split: str, metric: str) -> str:
    from sweeps.analysis.orders.order_effect import order_sensitivity
    from sweeps.presentation.text_tables import render_table

    table = order_sensitivity(results.trials, results.evals, readout, split, metric)
    columns = ["label", "n_orders", "n_seeds", "aopd", "seed_aopd", "mopd", "seed_mopd"]
    note = (
        "aopd/mopd: mean and maximum over tasks of the difference of final accuracy between "
        "orders\nseed aopd/mopd: the same between seeds of one order, which an order effect must "
        "exceed"
    )
    rows = table.to_pylist()
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for reason in (row["reason"] or "").split("; "):
            if reason and "variance shares" not in reason:  # the next part states its reasons
                reasons.setdefault(reason, []).append(row["label"])
    lines = [
        f"{'all' if len(labels) == len(rows) else ', '.join(labels)}: {reason}"
        for reason, labels in reasons.items()
    ]
    return "\n".join(
        ["Disparity of a task between orders", render_table(table, columns), note, *lines]
    )


def _variance(configs: Sequence[Replicates], metric: str) -> str:
    from sweeps.analysis.orders.variance_shares import variance_split
    from sweeps.presentation.text_tables import render_table

    split = variance_split(configs, metric)
    heading = f"Sources of the variance of {metric}"
    left_out = [f"left out as incomplete: {name}" for name in split.left_out]
    if split.reason is not None:
        return "\n".join([heading, f"not known: {split.reason}", *left_out])
    rows = [
        {
            "source": part.source.replace(":", " x "),
            "share": "–" if part.share is None else f"{part.share:.0%}",  # noqa: RUF001
            "95 %": percent_range(part.share_low, part.share_high),
            "std. dev.": f"{100 * part.variance**0.5:.1f}",
        }
        for part in split.components
    ]
    over = " x ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in split.levels.items())
    note = (
        f"the search, {over}, {split.note}; the residual contains the interaction of all factors "
        "that vary"
    )
    return "\n".join([heading, render_table(rows), note, *left_out])


def _rankings(configs: Sequence[Replicates], metric: str) -> list[str]:
    """Return Kendall's W, the most contested pairs, and the best and worst orders."""
    from sweeps.analysis.orders.rankings import (
        by_order,
        extreme_orders,
        pairwise_comparisons,
        rank_agreement,
    )
    from sweeps.presentation.text_tables import render_table

    direction = METRICS[metric].direction
    kept, means = by_order(configs, metric)
    concordance = rank_agreement(means)
    heading = f"Is the ranking by {metric} the same in every order?"
    if concordance is None:
        lines = [
            heading,
            "not known: at least two configurations with two common orders are needed",
        ]
    else:
        lines = [
            heading,
            f"Kendall's W {concordance.w:.2f} (1: the same ranking in all {concordance.orders} "
            f"orders; 0: no agreement), p {p_value(concordance.p_value)} for no agreement",
        ]
        sign = -1.0 if direction == "max" else 1.0
        best = np.argsort(sign * means.mean(axis=1), kind="stable")[:BEST].tolist()
        rows = [
            {
                "better on average": pair.first,
                "than": pair.second,
                "in orders": f"{pair.wins} of {pair.orders}",
                "probability": f"{pair.probability:.0%}",
                "95 %": percent_range(pair.low, pair.high),
                "flips": pair.flips,
            }
            for pair in pairwise_comparisons(
                [kept[c].label for c in best], means[best], direction
            )[:CONTESTED]
        ]
        lines.append(render_table(rows))
        lines.append(
            f"the {len(rows)} most contested pairs of the best {len(best)}; flips: orders in "
            "which the ranking of the two is reversed"
        )
    ends = [
        {
            "configuration": row.label,
            "best order": row.best_order,
            "best": f"{100 * row.best:.1f}",
            "worst order": row.worst_order,
            "worst": f"{100 * row.worst:.1f}",
        }
        for row in extreme_orders(configs, metric, direction)
    ]
    if not ends:
        return ["\n".join(lines)]
    return ["\n".join(lines), f"Best and worst order, means over seeds\n{render_table(ends)}"]


def _effects(
    tasks: Sequence[TaskAccuracies],
    fit: Callable[..., EffectEstimates],
    factor: str,
    column: str,
    *,
    first: int,
) -> str:
    """Return the effects of position or preceding task on the final accuracy of a task."""
    from sweeps.presentation.text_tables import render_table

    fitted = {task.label: fit(task.orders, task.values) for task in tasks}
    known = {label: effects for label, effects in fitted.items() if effects.reason is None}
    reasons = dict.fromkeys(effects.reason for effects in fitted.values() if effects.reason)
    lines = [f"Effect of the {factor} on the final accuracy of a task"]
    if known:
        rows = [_effect_row(label, effects, column, first) for label, effects in known.items()]
        lines.append(render_table(rows))
        lines.append(f"p: F test of no effect of the {factor}")
    for reason in reasons:
        labels = [label for label, effects in fitted.items() if effects.reason == reason]
        scope = "" if len(labels) == len(fitted) else f" for {', '.join(labels)}"
        lines.append(f"not known{scope}: {reason}")
    if not fitted:
        lines.append("not known: no finished run")
    return "\n".join(lines)


def _similarity(sweep: Sweep, results: Results, readout: str, split: str) -> list[str]:
    """Return the association of task similarity with forgetting; empty if it was not measured."""
    from sweeps.analysis.orders.task_similarity import similarity_association
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.definition.orders.task_similarity_measurement import known_tables
    from sweeps.presentation.text_tables import render_table

    tables = known_tables(sweep)
    if not tables:
        return []
    associations = similarity_association(
        results.trials, results.evals, readout, split, tables, fixed_orders=all_orders(sweep)
    )
    rows = [
        {
            "configuration": each.label,
            "correlation": f"{each.interval.mean:+.2f}",
            "95 %": _ends(each.interval),
            "runs": each.interval.n,
        }
        for each in associations
        if each.interval is not None
    ]
    reasons: dict[str, list[str]] = {}
    for each in associations:
        if each.reason is not None:
            reasons.setdefault(each.reason, []).append(each.label)
    lines = ["Are similar tasks forgotten more?"]
    if rows:
        lines.append(render_table(rows))
        lines.append(
            "mean rank correlation between similarity and the loss of accuracy on the earlier "
            "task while the later one is learned, adjusted for the number of tasks in between; "
            "an association, not a causal effect"
        )
    lines += [f"not known for {', '.join(labels)}: {reason}" for reason, labels in reasons.items()]
    return ["\n".join(lines)] if associations else []


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "–"  # noqa: RUF001
    return f"{max(interval.low, -1.0):+.2f} to {min(interval.high, 1.0):+.2f}"


def _effect_row(label: str, effects: EffectEstimates, column: str, first: int) -> dict[str, str]:
    row = {"configuration": label, "p": p_value(effects.p_value)}
    for index, (effect, half) in enumerate(zip(effects.effects, effects.half, strict=True)):
        row[column.format(index + first)] = f"{signed_points(effect)} ± {100 * half:.1f}"
    p = effects.p_value
    row["significant"] = "yes" if p is not None and p < SIGNIFICANCE else "no"
    return row
