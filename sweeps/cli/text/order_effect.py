"""Text output of `sweeps orders`: effects of the task order, in five parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clmethods.config.readout import readout_notes
from sweeps.analysis.trials.metric_choice import Results, chosen_readout
from sweeps.cli.text.order_ranking import ranking_blocks
from sweeps.cli.text.task_lines import SHOWN_TASKS, task_lines
from sweeps.presentation.numbers import correlation_range, count, percent_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeps.analysis.orders.positions import EffectEstimates, TaskAccuracies
    from sweeps.analysis.trials.replicates import Replicates
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block, Document, Row

SIGNIFICANCE = 0.05
"""p-value below which an effect is significant."""


def orders_document(
    sweep: Sweep, results: Results, readout: str | None, split: str, metric: str
) -> Document:
    """Return the order sensitivity of every configuration with one readout."""
    from sweeps.analysis.orders.positions import carry_over, position_effects, task_accuracies
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.presentation.documents import Block, Document

    name = chosen_readout(sweep, readout)
    facts = {"sweep": sweep.name, "readout": name, "split": split, "metric": metric}
    every = replicates(summarize(results.trials, results.evals, split), [metric])
    warned = Block(key="left_out", lead=results.warnings)
    blocks = [warned] if results.warnings else []
    notes = ["no finished trial yet"]
    if every:
        configs = configurations(every, name, split)
        tasks = task_accuracies(results.trials, results.evals, name, split)
        blocks += [
            _disparity(results, name, split, metric),
            _variance([config for config in configs if config.role == "search"], metric),
            *ranking_blocks(configs, metric),
            _effects(tasks, position_effects, "position", "at stage {}", first=1),
            _effects(tasks, carry_over, "preceding task", "after task {}", first=0),
            *_similarity(sweep, results, name, split),
        ]
        notes = [
            f"readout `{name}`, {split} images, percent and percentage points; ± half of the "
            "95 % interval",
            *(f"`{name}`: {note}" for note in readout_notes(name)),
            "",
            "tasks are counted from 0, as in orders; stages, the steps of a run, from 1",
            *task_lines(sweep, SHOWN_TASKS),
        ]
    return Document(
        command="orders", facts=facts, blocks=blocks, notes=notes, warnings=results.warnings
    )


def _disparity(results: Results, readout: str, split: str, metric: str) -> Block:
    from sweeps.analysis.orders.order_effect import order_sensitivity
    from sweeps.presentation.documents import Block, Column, value_cell

    table = order_sensitivity(results.trials, results.evals, readout, split, metric)
    rows = table.to_pylist()
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for reason in (row["reason"] or "").split("; "):
            if reason and "variance shares" not in reason:  # the next part states its reasons
                reasons.setdefault(reason, []).append(row["label"])
    names = ("aopd", "seed_aopd", "mopd", "seed_mopd")
    return Block(
        key="disparity",
        title="Disparity of a task between orders",
        columns=[
            Column("label", "configuration"),
            Column("orders", "orders", number=True),
            Column("seeds", "seeds", number=True),
            *(Column(n, f"{n.replace('_', ' ')} %", number=True) for n in names),
        ],
        rows=[
            {
                "config_id": row["config_id"],
                "label": row["label"],
                "orders": row["n_orders"],
                "seeds": row["n_seeds"],
                **{name: value_cell(name, row[name]) for name in names},
            }
            for row in rows
        ],
        notes=[
            "aopd/mopd: mean and maximum over tasks of the difference of final accuracy between "
            "orders",
            "seed aopd/mopd: the same between seeds of one order, which an order effect must "
            "exceed",
            *(
                f"{'all' if len(labels) == len(rows) else ', '.join(labels)}: {reason}"
                for reason, labels in reasons.items()
            ),
        ],
    )


def _variance(configs: Sequence[Replicates], metric: str) -> Block:
    from sweeps.analysis.orders.variance_shares import variance_split
    from sweeps.presentation.documents import Block, Cell, Column
    from sweeps.presentation.numbers import share_text

    split = variance_split(configs, metric)
    heading = f"Sources of the variance of {metric}"
    left_out = [f"left out as incomplete: {name}" for name in split.left_out]
    if split.reason is not None:
        return Block(
            key="variance", title=heading, notes=[f"not known: {split.reason}", *left_out]
        )
    over = " x ".join(count(n, name) for name, n in split.levels.items())
    return Block(
        key="variance",
        title=heading,
        columns=[
            Column("source", "source"),
            Column("share", "share", number=True),
            Column("range", "95 %", number=True),
            Column("standard_deviation", "std. dev.", number=True),
        ],
        rows=[
            {
                "source": part.source.replace(":", " x "),
                "share": Cell(part.share, share_text(part.share)),
                "range": Cell(
                    {"low": part.share_low, "high": part.share_high},
                    percent_range(part.share_low, part.share_high),
                ),
                "standard_deviation": Cell(part.variance**0.5, f"{100 * part.variance**0.5:.1f}"),
            }
            for part in split.components
        ],
        notes=[
            f"the search, {over}, {split.note}; the residual contains the interaction of all "
            "factors that vary",
            *left_out,
        ],
    )


def _effects(
    tasks: Sequence[TaskAccuracies],
    fit: Callable[..., EffectEstimates],
    factor: str,
    column: str,
    *,
    first: int,
) -> Block:
    """Return the effects of position or preceding task on the final accuracy of a task."""
    from sweeps.presentation.documents import Block, Cell, Column, effect_cell, p_cell

    fitted = {task.label: fit(task.orders, task.values) for task in tasks}
    known = {label: effects for label, effects in fitted.items() if effects.reason is None}
    reasons = dict.fromkeys(effects.reason for effects in fitted.values() if effects.reason)
    notes = [f"p: F test of no effect of the {factor}"] if known else []
    for reason in reasons:
        labels = [label for label, effects in fitted.items() if effects.reason == reason]
        scope = "" if len(labels) == len(fitted) else f" for {', '.join(labels)}"
        notes.append(f"not known{scope}: {reason}")
    if not fitted:
        notes.append("not known: no finished run")
    most = max((len(effects.effects) for effects in known.values()), default=0)
    rows: list[Row] = []
    for label, effects in known.items():
        pairs = zip(effects.effects.tolist(), effects.half.tolist(), strict=True)
        p = effects.p_value
        significant = p is not None and p < SIGNIFICANCE
        rows.append(
            {
                "label": label,
                "p_value": p_cell(p),
                **{str(k + first): effect_cell(*pair) for k, pair in enumerate(pairs)},
                "significant": Cell(significant, "yes" if significant else "no"),
            }
        )
    return Block(
        key=factor.replace(" ", "_"),
        title=f"Effect of the {factor} on the final accuracy of a task",
        columns=[
            Column("label", "configuration"),
            Column("p_value", "p", number=True),
            *(Column(str(k + first), column.format(k + first), number=True) for k in range(most)),
            Column("significant", "significant"),
        ],
        rows=rows,
        notes=notes,
    )


def _similarity(sweep: Sweep, results: Results, readout: str, split: str) -> list[Block]:
    """Return the association of task similarity with forgetting; empty if it was not measured."""
    from sweeps.analysis.orders.task_similarity import similarity_association
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.definition.orders.task_similarity_measurement import known_tables
    from sweeps.presentation.documents import Block, Cell, Column

    tables = known_tables(sweep)
    if not tables:
        return []
    associations = similarity_association(
        results.trials, results.evals, readout, split, tables, fixed_orders=all_orders(sweep)
    )
    rows: list[Row] = [
        {
            "label": each.label,
            "correlation": Cell(each.interval.mean, f"{each.interval.mean:+.2f}"),
            "range": Cell(
                {"low": each.interval.low, "high": each.interval.high},
                correlation_range(each.interval.low, each.interval.high),
            ),
            "runs": each.interval.n,
        }
        for each in associations
        if each.interval is not None
    ]
    reasons: dict[str, list[str]] = {}
    for each in associations:
        if each.reason is not None:
            reasons.setdefault(each.reason, []).append(each.label)
    notes = [
        "mean rank correlation between similarity and the loss of accuracy on the earlier task "
        "while the later one is learned, adjusted for the number of tasks in between; an "
        "association, not a causal effect"
    ]
    block = Block(
        key="similarity",
        title="Are similar tasks forgotten more?",
        columns=[
            Column("label", "configuration"),
            Column("correlation", "correlation", number=True),
            Column("range", "95 %", number=True),
            Column("runs", "runs", number=True),
        ],
        rows=rows,
        notes=[
            *(notes if rows else []),
            *(f"not known for {', '.join(labels)}: {why}" for why, labels in reasons.items()),
        ],
    )
    return [block] if associations else []
