"""What a person reads before and after a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeps.analysis.asking import chosen_readout, summaries
from sweeps.cli.tables import front_text
from sweeps.spec.resources import resource_warnings
from sweeps.wanted import read_results

if TYPE_CHECKING:
    from sweeps.spec import Sweep
    from sweeps.stages.plan import Plan
    from sweeps.storage import ObjectStore
    from sweeps.tune.driver import SweepOutcome


SHOWN_ORDERS = 3
"""Of how many lists of orders a plan speaks; several are there if the number of tasks varies."""
SHOWN_MERGES = 6
"""How many merged configurations a plan names."""


def plan_text(plan: Plan) -> str:
    """Trials and stages: how many, how many are there, what sharing saves, what failed."""
    from sweeps.cli.search_text import search_lines

    tree, sweep = plan.tree, plan.sweep
    recorded = [trial for trial in plan.trials if plan.is_recorded(trial)]
    stopped = sum(trial.trial_id in plan.step.stopped for trial in recorded)
    ended = f"{len(recorded) - stopped} finished" + (f", {stopped} stopped" if stopped else "")
    failed = [trial for trial in plan.trials if plan.failed_before(trial)]
    left = tree.distinct - len(plan.stored)
    saved = tree.total - tree.distinct
    configurations = len({trial.config_id for trial in plan.trials})
    orders = len({trial.order_id for trial in plan.trials if trial.order_id != "any"})
    lines = [
        f"{sweep.name}: {tree.trials} trials of {configurations} configurations "
        f"({orders} orders, {len(sweep.seeds)} seeds); {ended}, {len(failed)} failed",
        f"  {tree.distinct} distinct stages for {tree.total} steps of the chains: "
        f"{saved} are shared; {len(plan.stored)} stored, {left} to train",
    ]
    lines += search_lines(sweep, plan.step)
    lines += _order_lines(sweep)
    lines += _settings_lines(sweep)
    lines += _warning_lines(plan)
    for trial in failed:
        lines.append(f"  failed: {trial.name}: {plan.attempts[trial.trial_id].error}")
    if failed:
        lines.append("  `sweeps run … --retry-failed` tries them again")
    return "\n".join(lines)


def _warning_lines(plan: Plan) -> list[str]:
    """What is allowed but hardly meant, once, with how many configurations it concerns."""
    found: dict[str, set[str]] = {}
    one_each = {trial.config_id: trial for trial in reversed(plan.trials)}
    for trial in reversed(one_each.values()):
        for sentence in trial.run.method.warnings_in(trial.run.context):
            found.setdefault(sentence, set()).add(trial.label)
    general = resource_warnings(plan.sweep.resources, [trial.run for trial in plan.trials])
    return [f"  warning: {sentence}" for sentence in general] + [
        f"  warning: {sentence} ({next(iter(labels))}"
        + (f" and {len(labels) - 1} more)" if len(labels) > 1 else ")")
        for sentence, labels in found.items()
    ]


def _order_lines(sweep: Sweep) -> list[str]:
    """What the order design balances, and what it costs; once for each list of orders."""
    from sweeps.spec.orders import balance_lines

    runs = [c.run for c in sweep.configurations if not c.run.method.ORDER_FREE]
    found = list(dict.fromkeys(sweep.orders_for(run) for run in runs))
    lines = [f"  orders: {sweep.orders.design}. {sweep.orders.balances}"] if found else []
    for orders in found[:SHOWN_ORDERS]:
        lines += [f"    {line}" for line in balance_lines(orders)]
    if len(found) > SHOWN_ORDERS:
        lines.append(f"    and {len(found) - SHOWN_ORDERS} more lists of orders")
    return lines


def _settings_lines(sweep: Sweep) -> list[str]:
    """What became of the settings of the search: which were rejected, which are one, and why."""
    lines = []
    if sweep.rejected:
        lines.append(f"  {sweep.rejected} settings are left out by `where`")
    gone = sum(len(merge.settings) - 1 for merge in sweep.merges)
    if gone:
        lines.append(f"  {gone} settings act like others and are merged into them:")
    for merge in sweep.merges[:SHOWN_MERGES]:
        count = len(merge.settings)
        if merge.idle:
            acts = "does not act" if len(merge.idle) == 1 else "do not act"
            lines.append(f"    {merge.label}: {count} are one, {', '.join(merge.idle)} {acts}")
        else:
            first, *others = merge.settings
            same = "; ".join(
                ", ".join(f"{k}={v}" for k, v in other.items() if first.get(k) != v)
                for other in others
            )
            lines.append(f"    {merge.label}: {count} are one, the same comes of {same}")
    if len(sweep.merges) > SHOWN_MERGES:
        lines.append(f"    and {len(sweep.merges) - SHOWN_MERGES} more configurations like these")
    return lines


def trials_text(plan: Plan) -> str:
    """One line per trial: id, configuration, order, seed, stages, state."""
    from sweeps.analysis.render import render_table

    rows = []
    for trial in plan.trials:
        chain = plan.tree.chains[trial.trial_id]
        done = sum(key in plan.complete for key in chain)
        state = "open" if done < len(chain) or not plan.is_whole(trial) else "finished"
        if trial.trial_id in plan.step.stopped:
            state = "stopped"
        rows.append(
            {
                "trial": trial.trial_id,
                "configuration": trial.label,
                "order": trial.order_id,
                "seed": trial.seed,
                "stages": f"{done}/{trial.run.stages}",
                "state": "failed" if plan.failed_before(trial) else state,
            }
        )
    return render_table(rows)


def result_text(outcome: SweepOutcome, objects: ObjectStore, storage: str) -> str:
    """The end of a run: what was done, the front, where LoRA stands, where the files are."""
    from sweeps.analysis.front_rows import front_rows
    from sweeps.cli.stopping_text import stopping_lines

    plan = outcome.plan
    sweep, tree = plan.sweep, plan.tree
    results = read_results(sweep, objects)
    shared = tree.total - tree.distinct
    did = (
        f"trained {outcome.trained} stages, found {len(plan.stored)} in the storage, "
        f"shared {shared} of {tree.total}"
        if outcome.trained
        else f"nothing to train: all {tree.distinct} stages were found in the storage"
        if len(plan.stored) == tree.distinct
        else "no stage was trained"
    )
    where = f"{storage.rstrip('/')}/sweeps/{sweep.name}"
    lines = [
        "",
        f"{outcome.finished} of {tree.trials} trials finished, {len(outcome.failed)} failed; "
        + did,
        *(f"  failed: {name}: {cause}" for name, cause in outcome.failed),
        "",
        front_text(sweep, results),
        *stopping_lines(sweep, results, plan.step.decisions),
        "",
        *_standing(front_rows(sweep, summaries(results), chosen_readout(sweep, None))),
        "",
        f"results    {where}/results/{{trials,stages,evals,matrices}}/*.parquet",
        f"look       sweeps pareto {where} · sweeps orders {where} · sweeps select {where}",
        f"take out   sweeps export {where} --to export",
        "go on      add values, seeds or orders to the sweep file and run it again: "
        "only what is new is trained",
    ]
    return "\n".join(lines)


def _standing(rows: list[dict[str, Any]]) -> list[str]:
    """Where the searched method stands against the frozen backbone and the joint reference."""
    metric = "test average_accuracy"
    scored = [row for row in rows if row.get(metric) is not None]
    searched = [row for row in scored if row["role"] == "search"]
    if not searched:
        return []
    best = max(searched, key=lambda row: row["average_accuracy"])
    lines = [f"chosen on validation: {best['label']}, test accuracy {best[metric]:.1%}"]
    for row in scored:
        if row["role"] != "search":
            gap = best[metric] - row[metric]
            side = "above" if gap >= 0 else "below"
            lines.append(
                f"  {abs(gap) * 100:.1f} points {side} {row['label']} ({row[metric]:.1%})"
                + (", the joint reference" if row["role"] == "reference" else "")
            )
    return lines
