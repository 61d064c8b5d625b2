"""Overview of a plan as text, printed by `sweeps plan`, and by `sweeps run` before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sweeps.cli.text.layout import count, fitted, item, more
from sweeps.cli.text.replicate_lines import pair_lines
from sweeps.cli.text.task_lines import task_lines
from sweeps.definition.resources import resource_warnings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sweeps.definition import Sweep
    from sweeps.planning.plan import Plan


SHOWN_ORDERS = 3
"""Maximum number of lists of orders shown; there are several if the number of tasks varies."""
SHOWN_FAILED = 10
"""Maximum number of failed trials shown."""
SHOWN_MERGES = 6
"""Maximum number of merged configurations shown."""


@final
@dataclass(frozen=True, slots=True)
class PlanCounts:
    """Counts of a plan; `docs/json.md` documents them."""

    trials: int
    configurations: int
    orders: int
    seeds: int
    finished: int
    stopped: int
    failed: int
    stages: int
    unshared: int
    stored: int
    to_train: int


def plan_counts(plan: Plan) -> PlanCounts:
    """Return the counts that text and JSON contain."""
    recorded = [trial for trial in plan.trials if plan.is_recorded(trial)]
    stopped = sum(trial.trial_id in plan.step.stopped for trial in recorded)
    return PlanCounts(
        trials=plan.tree.trials,
        configurations=len({trial.config_id for trial in plan.trials}),
        orders=order_count(plan),
        seeds=len(plan.sweep.seeds),
        finished=len(recorded) - stopped,
        stopped=stopped,
        failed=sum(plan.failed_before(trial) for trial in plan.trials),
        stages=plan.tree.distinct,
        unshared=plan.tree.total,
        stored=len(plan.stored),
        to_train=plan.tree.distinct - len(plan.stored),
    )


def order_count(plan: Plan) -> int:
    """Return the number of different task orders of the trials."""
    return len({trial.order_id for trial in plan.trials if trial.order_id != "any"})


def plan_text(plan: Plan, causes: bool = True) -> str:
    """Return counts of trials and stages, savings by shared stages, warnings, and failures.

    `causes`: True to list the failed trials with their causes.
    """
    from sweeps.cli.text.search_steps import search_lines

    sweep, counts = plan.sweep, plan_counts(plan)
    stopped = f", {counts.stopped} stopped" if counts.stopped else ""
    lines = [
        f"{sweep.name}: {count(counts.trials, 'trial')} of "
        f"{count(counts.configurations, 'configuration')} "
        f"({count(counts.orders, 'order')}, {count(counts.seeds, 'seed')}); "
        f"{counts.finished} finished{stopped}, {counts.failed} failed",
        f"  {count(counts.stages, 'distinct stage')} ({counts.unshared} without sharing): "
        f"{counts.stored} stored, {counts.to_train} to train",
    ]
    lines += search_lines(sweep, plan.step)
    lines += [f"  {line}" for line in task_lines(sweep)]
    lines += _order_lines(sweep)
    lines += [f"  {line}" for line in pair_lines(sweep)]
    lines += _settings_lines(sweep)
    lines += _warning_lines(plan)
    lines += plan.warnings
    lines = [each for line in lines for each in fitted(line)]
    if causes:
        failed = [trial for trial in plan.trials if plan.failed_before(trial)]
        lines += failed_lines([(t.name, plan.attempts[t.trial_id].error or "") for t in failed])
    return "\n".join(lines)


def failed_lines(failed: Sequence[tuple[str, str]]) -> list[str]:
    """Return the failed trials with their causes, and the command that retries them.

    `failed`: (name, cause) of each failed trial; the result is empty if there is none.
    """
    if not failed:
        return []
    lines = ["  failed (`sweeps run … --retry-failed` tries them again)"]
    for name, cause in failed[:SHOWN_FAILED]:
        lines += item(f"{name}: {cause}")
    return [*lines, *more(failed, SHOWN_FAILED, "`sweeps status --json` lists them all")]


def _warning_lines(plan: Plan) -> list[str]:
    """Return warnings about valid but probably unintended settings, with the configurations."""
    by_warning: dict[str, set[str]] = {}
    first_trials = {trial.config_id: trial for trial in reversed(plan.trials)}
    for trial in reversed(first_trials.values()):
        for sentence in trial.run.method.warnings_in(trial.run.context):
            by_warning.setdefault(sentence, set()).add(trial.label)
    general = resource_warnings(plan.sweep.resources, [trial.run for trial in plan.trials])
    return [f"  warning: {sentence}" for sentence in general] + [
        f"  warning: {sentence} ({next(iter(labels))}"
        + (f" and {len(labels) - 1} more)" if len(labels) > 1 else ")")
        for sentence, labels in by_warning.items()
    ]


def _order_lines(sweep: Sweep) -> list[str]:
    """Return the balance of the order design, and its cost for each list of orders."""
    from sweeps.definition.orders import balance_lines

    runs = [run for run in sweep.runs if not run.method.ORDER_FREE]
    runs_each = sweep.replicates.runs  # the first orders are used if there are more than runs
    lists = list(dict.fromkeys(sweep.orders_for(run)[:runs_each] for run in runs))
    lines = [f"  orders: {sweep.orders.design}. {sweep.orders.balances}"] if lists else []
    for orders in lists[:SHOWN_ORDERS]:
        lines += [f"    {line}" for line in balance_lines(orders, crossed=runs_each is None)]
    if len(lists) > SHOWN_ORDERS:
        lines.append(f"    and {len(lists) - SHOWN_ORDERS} more lists of orders")
    return lines


def _settings_lines(sweep: Sweep) -> list[str]:
    """Return the numbers of excluded and of merged settings, with the reasons."""
    lines = []
    if sweep.rejected:
        lines.append(f"  {sweep.rejected} settings are excluded by `where`")
    merged = sum(len(merge.settings) - 1 for merge in sweep.merges)
    if merged:
        lines.append(
            f"  {merged} settings have the same effect as others and are merged with them:"
        )
    for merge in sweep.merges[:SHOWN_MERGES]:
        equal = f"    {merge.label}: {len(merge.settings)} settings have the same effect"
        if merge.idle:
            fields = ", ".join(merge.idle)
            lines.append(f"{equal}, because it does not depend on {fields}")
        else:
            first, *others = merge.settings
            same = "; ".join(
                ", ".join(f"{k}={v}" for k, v in other.items() if first.get(k) != v)
                for other in others
            )
            lines.append(f"{equal}, also with {same}")
    if len(sweep.merges) > SHOWN_MERGES:
        lines.append(f"    and {len(sweep.merges) - SHOWN_MERGES} more configurations like these")
    return lines


def trials_text(plan: Plan, running: Collection[str] = ()) -> str:
    """Return a table with one row per trial: id, configuration, order, seed, stages, state.

    `running`: ids of the trials that are running.
    """
    from sweeps.presentation.text_tables import render_table

    rows = []
    for trial in plan.trials:
        chain = plan.tree.chains[trial.trial_id]
        done = sum(key in plan.complete for key in chain)
        state = "open" if done < len(chain) or not plan.is_whole(trial) else "finished"
        if trial.trial_id in plan.step.stopped:
            state = "stopped"
        if plan.failed_before(trial):
            state = "failed"
        if trial.trial_id in running:
            state = "running"
        rows.append(
            {
                "trial": trial.trial_id,
                "configuration": trial.label,
                "order": trial.order_id,
                "seed": trial.seed,
                "stages": f"{done}/{trial.run.stages}",
                "state": state,
            }
        )
    return render_table(rows)
