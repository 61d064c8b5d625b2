"""What `sweeps orders` prints: how much the task order matters, in five questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clmethods.config.readout import readout_notes
from clmethods.metrics import METRICS
from sweeps.analysis.runs.metric_choice import Results, chosen_readout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeps.analysis.orders.positions import Fitted, TaskAccuracies
    from sweeps.analysis.runs.replicates import Replicates
    from sweeps.definition import Sweep
    from sweeps.statistics.intervals import Interval

BEST = 20
"""Configurations, the best by their mean over the orders, whose pairs are compared."""
CONTESTED = 5
"""Pairs of configurations shown, the most contested first."""
LIKELY = 0.05
"""p-value above which an effect is called not shown."""


def orders_text(
    sweep: Sweep, results: Results, readout: str | None, split: str, metric: str
) -> str:
    """Order sensitivity of every configuration under one readout."""
    from sweeps.analysis.orders.positions import carry_over, position_effects, task_accuracies
    from sweeps.analysis.runs.paired_differences import configurations
    from sweeps.analysis.runs.replicates import replicates
    from sweeps.analysis.runs.summary import summarise

    name = chosen_readout(sweep, readout)
    found = replicates(summarise(results.trials, results.evals, split), [metric])
    if not found:
        return "\n".join([*results.warnings, "no finished trial yet"])
    found = configurations(found, name, split)
    tasks = task_accuracies(results.trials, results.evals, name, split)
    parts = [
        *results.warnings,
        _disparity(results, name, split, metric),
        _variance([one for one in found if one.role == "search"], metric),
        *_rankings(found, metric),
        _effects(tasks, position_effects, "position", "at {}", first=1),
        _effects(tasks, carry_over, "preceding task", "after {}", first=0),
        *_similarity(sweep, results, name, split),
        "\n".join(
            [
                f"readout `{name}`, {split} images, percent and percentage points; ± half of the "
                "95 % interval",
                *(f"`{name}`: {note}" for note in readout_notes(name)),
            ]
        ),
    ]
    return "\n\n".join(parts)


def _disparity(results: Results, readout: str, split: str, metric: str) -> str:
    from sweeps.analysis.orders.order_effect import order_sensitivity
    from sweeps.presentation.text_tables import render_table

    table = order_sensitivity(results.trials, results.evals, readout, split, metric)
    columns = ["label", "n_orders", "n_seeds", "aopd", "seed_aopd", "mopd", "seed_mopd"]
    note = (
        "aopd/mopd: mean and largest difference of a task's final accuracy between orders\n"
        "seed aopd/mopd: the same between seeds of one order, the floor to rise above"
    )
    rows = table.to_pylist()
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for reason in (row["reason"] or "").split("; "):
            if reason and "variance shares" not in reason:  # the next question has its own
                reasons.setdefault(reason, []).append(row["label"])
    lines = [
        f"{'all' if len(labels) == len(rows) else ', '.join(labels)}: {reason}"
        for reason, labels in reasons.items()
    ]
    return "\n".join(
        ["How far does the order move a task?", render_table(table, columns), note, *lines]
    )


def _variance(found: Sequence[Replicates], metric: str) -> str:
    from sweeps.analysis.orders.variance_shares import variance_split
    from sweeps.presentation.text_tables import render_table

    split = variance_split(found, metric)
    heading = f"Where does the variance of {metric} come from?"
    left_out = [f"left out, incomplete: {name}" for name in split.left_out]
    if split.reason is not None:
        return "\n".join([heading, f"not known: {split.reason}", *left_out])
    rows = [
        {
            "source": part.source.replace(":", " x "),
            "share": "–" if part.share is None else f"{part.share:.0%}",  # noqa: RUF001
            "95 %": _range(part.share_low, part.share_high),
            "std. dev.": f"{100 * part.variance**0.5:.1f}",
        }
        for part in split.components
    ]
    over = " x ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in split.levels.items())
    note = f"the search, {over}, {split.note}; the residual holds the interaction of all that vary"
    return "\n".join([heading, render_table(rows), note, *left_out])


def _rankings(found: Sequence[Replicates], metric: str) -> list[str]:
    """Agreement over the orders, the most contested pairs, and each one's best and worst order."""
    from sweeps.analysis.orders.rankings import agreement, by_order, duels, extremes
    from sweeps.presentation.text_tables import render_table

    direction = METRICS[metric].direction
    kept, means = by_order(found, metric)
    together = agreement(means)
    heading = f"Does the ranking by {metric} hold in every order?"
    if together is None:
        lines = [heading, "not known: two configurations in two common orders are needed"]
    else:
        lines = [
            heading,
            f"Kendall's W {together.w:.2f} (1: the same ranking in all {together.orders} orders; "
            f"0: none in common), p {_p(together.p_value)} for no agreement",
        ]
        sign = -1.0 if direction == "max" else 1.0
        best = np.argsort(sign * means.mean(axis=1), kind="stable")[:BEST].tolist()
        rows = [
            {
                "better in the mean": duel.first,
                "than": duel.second,
                "in orders": f"{duel.wins} of {duel.orders}",
                "probability": f"{duel.probability:.0%}",
                "95 %": _range(duel.low, duel.high),
                "flips": duel.flips,
            }
            for duel in duels([kept[c].label for c in best], means[best], direction)[:CONTESTED]
        ]
        lines.append(render_table(rows))
        lines.append(
            f"the {len(rows)} most contested pairs of the best {len(best)}; flips: orders that "
            "turn the two around"
        )
    ends = [
        {
            "configuration": row.label,
            "best order": row.best_order,
            "best": f"{100 * row.best:.1f}",
            "worst order": row.worst_order,
            "worst": f"{100 * row.worst:.1f}",
        }
        for row in extremes(found, metric, direction)
    ]
    if not ends:
        return ["\n".join(lines)]
    return ["\n".join(lines), f"Best and worst order, means over seeds\n{render_table(ends)}"]


def _effects(
    tasks: Sequence[TaskAccuracies],
    fit: Callable[..., Fitted],
    what: str,
    column: str,
    *,
    first: int,
) -> str:
    """Deviations of a task's final accuracy, by position or by the task before it."""
    from sweeps.presentation.text_tables import render_table

    heading = f"Does the {what} matter to a task's final accuracy?"
    fitted = {one.label: fit(one.orders, one.values) for one in tasks}
    known = {label: found for label, found in fitted.items() if found.reason is None}
    reasons = dict.fromkeys(found.reason for found in fitted.values() if found.reason)
    lines = [heading]
    if known:
        rows = [_effect_row(label, found, column, first) for label, found in known.items()]
        lines.append(render_table(rows))
        lines.append(f"p: of no effect of the {what} at all (F test)")
    for reason in reasons:
        labels = [label for label, found in fitted.items() if found.reason == reason]
        whose = "" if len(labels) == len(fitted) else f" for {', '.join(labels)}"
        lines.append(f"not known{whose}: {reason}")
    if not fitted:
        lines.append("not known: no finished run")
    return "\n".join(lines)


def _similarity(sweep: Sweep, results: Results, readout: str, split: str) -> list[str]:
    """Whether similar tasks cost each other more; nothing where similarity was not measured."""
    from sweeps.analysis.orders.task_similarity import similarity_association
    from sweeps.analysis.runs.metric_choice import all_orders
    from sweeps.definition.orders.task_similarity_measurement import known_tables
    from sweeps.presentation.text_tables import render_table

    tables = known_tables(sweep)
    if not tables:
        return []
    found = similarity_association(
        results.trials, results.evals, readout, split, tables, fixed_orders=all_orders(sweep)
    )
    rows = [
        {
            "configuration": one.label,
            "correlation": f"{one.interval.mean:+.2f}",
            "95 %": _ends(one.interval),
            "runs": one.interval.n,
        }
        for one in found
        if one.interval is not None
    ]
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.reason is not None:
            reasons.setdefault(one.reason, []).append(one.label)
    lines = ["Do similar tasks cost each other more?"]
    if rows:
        lines.append(render_table(rows))
        lines.append(
            "mean rank correlation of similarity with the loss of accuracy while the other task "
            "is learned, given how long ago; an association only"
        )
    lines += [f"not known for {', '.join(of)}: {reason}" for reason, of in reasons.items()]
    return ["\n".join(lines)] if found else []


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "–"  # noqa: RUF001
    return f"{max(interval.low, -1.0):+.2f} to {min(interval.high, 1.0):+.2f}"


def _effect_row(label: str, found: Fitted, column: str, first: int) -> dict[str, Any]:
    row: dict[str, Any] = {"configuration": label, "p": _p(found.p_value)}
    for index, (effect, half) in enumerate(zip(found.effects, found.half, strict=True)):
        row[column.format(index + first)] = f"{_points(effect)} ± {100 * half:.1f}"
    row["shown"] = "yes" if found.p_value is not None and found.p_value < LIKELY else "no"
    return row


def _points(value: float) -> str:
    """Percentage points with their sign; a rounded 0 has none that means anything."""
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def _range(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.0%} to {high:.0%}"  # noqa: RUF001
