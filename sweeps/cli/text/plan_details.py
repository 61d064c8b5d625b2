"""Text output of `sweeps plan` on cost, budget, power, memory and freezing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, final

from sweeps.cli.text.plan_overview import plan_counts, plan_text
from sweeps.cli.text.replicate_lines import detectable, power_line, recommendation_lines
from sweeps.presentation.numbers import count

if TYPE_CHECKING:
    from clmethods.canonical import JsonValue
    from clmethods.config import ConfigIssue
    from sweeps.analysis.trials.power import VarianceEstimate
    from sweeps.execution.resources.gpu_sizing import MemoryRecord
    from sweeps.planning.cost_forecast import CostForecast
    from sweeps.planning.plan import Plan
    from sweeps.planning.size_forecast import Footprint
    from sweeps.planning.spending import Spending
    from sweeps.presentation.documents import Document
    from sweeps.storage import ObjectStore

SHOWN = 6
"""Maximum number of different forecasts of freezing shown."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDetails:
    """Everything about a plan beyond its counts, for text and JSON."""

    plan: Plan
    cost: CostForecast
    spending: Spending
    spread: VarianceEstimate | None
    """Spread of paired differences in the stored results."""
    missing: Sequence[ConfigIssue]
    """Data and weights that a run needs and that are not here."""
    taken: Footprint
    measured: MemoryRecord | None = None
    """Stored measurement of GPU memory."""


def plan_document(details: PlanDetails, data: Sequence[str]) -> Document:
    """Return a plan with its cost and problems; `data`: lines on the user's own data."""
    from sweeps.presentation.documents import Block, Document

    plan, cost, taken = details.plan, details.cost, details.taken
    problems = "would break: `sweeps run` is refused until this is here"
    blocks = [
        Block(key="counts", lead=[*data, plan_text(plan)], facts=asdict(plan_counts(plan))),
        Block(
            key="cost",
            lead=[f"  {cost_line(plan, cost)}"],
            facts=asdict(cost) | {"gpus_per_trial": plan.sweep.resources.gpus},
        ),
        Block(
            key="budget",
            lead=[f"  {line}" for line in budget_lines(plan, cost, details.spending)],
            facts={"limits": limits(plan, cost, details.spending)},
        ),
        Block(
            key="power",
            lead=[
                f"  {line}"
                for line in (
                    power_line(plan.sweep, details.spread),
                    *recommendation_lines(plan.sweep),
                )
            ],
            facts={
                "detectable": None
                if details.spread is None
                else detectable(plan.sweep, details.spread)
            },
        ),
        Block(
            key="size",
            lead=[
                f"  {line}"
                for line in (
                    *freezing_lines(plan),
                    *memory_lines(plan, taken),
                    *gpu_lines(plan, details.measured),
                )
            ],
            facts=asdict(taken) | {"fits": taken.fits},
        ),
        Block(
            key="missing",
            lead=[f"  {problems}", *(f"    {issue}" for issue in details.missing)]
            if details.missing
            else [],
            facts={"issues": [str(issue) for issue in details.missing]},
        ),
    ]
    return Document(
        command="plan",
        facts={"sweep": plan.sweep.name, "data": list(data)},
        blocks=blocks,
        warnings=plan.warnings,
        separator="\n",
    )


def cost_line(plan: Plan, cost: CostForecast) -> str:
    """Return the stage hours and GPU hours that are left, with shared stages counted once."""
    if cost.stages == 0:
        return "cost: nothing is left to train"
    if cost.unknown == cost.stages:
        return "cost: unknown, no stage of these kinds was measured; `--probe` measures it"
    hours = cost.seconds / 3600
    gpus = plan.sweep.resources.gpus
    text = f"cost: {_duration(cost.seconds)} of stages"
    text += f", {hours * gpus:.2g} GPU hours" if gpus else ""
    text += " (GPU hours are known once `auto` is decided)" if gpus is None else ""
    text += f" for {cost.stages - cost.unknown} stages, from {cost.measured} measured ones"
    text += "; wall time is that over the stages that run at once, and Ray's start"
    return text + (
        f"; {cost.unknown} more are of unknown cost, `--probe` measures it" if cost.unknown else ""
    )


def budget_lines(plan: Plan, cost: CostForecast, spending: Spending) -> list[str]:
    """Return one line per limit of the budget that compares it with the remaining work."""
    used, left = spending.used(), budget_left(plan, cost)
    gpus = plan.sweep.resources.gpus
    lines = []
    for name, most in plan.sweep.budget.limits().items():
        total = used[name] + left[name]
        guess = name in {"gpu_hours", "hours"} and cost.unknown > 0
        undecided = name == "gpu_hours" and gpus is None
        verdict = "fits" if total <= most else "does not fit"
        verdict = "cannot be judged, as costs are unknown" if guess and total <= most else verdict
        verdict = "cannot be judged, as resources.gpu is auto" if undecided else verdict
        lines.append(
            f"budget: {name} {most:g}: {used[name]:.3g} used, {left[name]:.3g} left to do: "
            + verdict
        )
    return lines


def budget_left(plan: Plan, cost: CostForecast) -> dict[str, float]:
    """Return the forecast of what is left to spend, by the names of `Budget`."""
    more = cost.seconds / 3600
    return {
        "gpu_hours": more * (plan.sweep.resources.gpus or 0.0),
        "hours": more,
        "stages": cost.stages,
        "trials": sum(not plan.is_recorded(trial) for trial in plan.trials),
    }


def limits(plan: Plan, cost: CostForecast, spending: Spending) -> dict[str, JsonValue]:
    """Return each limit of the budget with the spent amount and the forecast of the rest."""
    used, left = spending.used(), budget_left(plan, cost)
    return {
        name: {"limit": most, "used": used[name], "left": left[name]}
        for name, most in plan.sweep.budget.limits().items()
    }


def stored_variance(plan: Plan, objects: ObjectStore) -> VarianceEstimate | None:
    """Return the spread of paired differences of the first objective in the stored results."""
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.analysis.trials.typical_variance import typical_variance
    from sweeps.results import latest_trials, read_tables

    metric = next(iter(plan.sweep.objectives))
    if not plan.attempts or metric == "trainable_parameters":
        return None
    reads = read_tables(objects, plan.sweep.name, ["trials", "evals"])
    trials, evals = reads["trials"].table, reads["evals"].table
    readout = plan.sweep.readouts[0].readout_id
    known = {trial.config_id for trial in plan.trials}
    found = [
        one
        for one in replicates(summarize(latest_trials(trials), evals, "validation"), [metric])
        if one.role == "search" and one.readout_id == readout and one.config_id in known
    ]
    return typical_variance(found, metric)


def freezing_lines(plan: Plan) -> list[str]:
    """Return the frozen matrices during each task, once per different forecast."""
    from clmethods.config import LoracIpcConfig

    found: dict[str, str] = {}
    for run in {trial.config_id: trial.run for trial in plan.trials}.values():
        method, context = run.method, run.context
        if isinstance(method, LoracIpcConfig) and method.importance_threshold > 0:
            frozen = " ".join(map(str, method.forecast(context)))
            total = method.matrices(context.blocks)
            found.setdefault(f"frozen of {total} matrices, task by task: {frozen}", method.kind)
    lines = list(found)
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"and {more} more forecasts like these"] if more > 0 else [])


def memory_lines(plan: Plan, taken: Footprint) -> list[str]:
    """Return the memory of a trial, and the size in the storage next to the free disk space."""
    first = (
        f"memory: at most {_bytes(taken.state)} of adapters, head and module weights after the "
        f"last task and {_bytes(taken.statistics)} of statistics for readouts, beside the "
        f"network's {_bytes(taken.network)}"
    )
    if not plan.tree.nodes:
        return [first]
    free = "" if taken.free is None else f"; the disk has {_bytes(taken.free)} free"
    verdict = "" if taken.fits else ": not enough"
    return [
        first,
        f"storage: at most {_bytes(taken.stage)} a stage, {_bytes(taken.stages)} for "
        f"{plan.tree.distinct} stages, {_bytes(taken.left)} of it to come{free}{verdict}",
    ]


def stored_measurement(plan: Plan, objects: ObjectStore) -> MemoryRecord | None:
    """Return the stored `resources.gpu: auto` measurement of the most demanding trial."""
    from sweeps.execution.resources.gpu_sizing import find_record, most_demanding

    if plan.sweep.resources.gpu != "auto" or not plan.trials:
        return None
    return find_record(objects, most_demanding(plan.trials), plan.sweep.resources.gpu_types)


def gpu_lines(plan: Plan, measured: MemoryRecord | None) -> list[str]:
    """Return the number of trials per GPU; `measured`: stored measurement of a trial, if any."""
    from sweeps.definition.resources import trials_per_device
    from sweeps.execution.resources.gpu_sizing import decide

    resources = plan.sweep.resources
    gpus, types = resources.gpus, " or else ".join(resources.gpu_types)
    if gpus == 0:
        return []
    if gpus is None and measured is None:
        text = "auto: the run measures one stage first, then it decides how many trials share one"
    elif gpus is None and measured is not None:
        threads = min(trial.run.train.threads for trial in plan.trials)
        share = decide(measured, [], [], threads)
        text = f"{share.decision}, as measured before"
    elif gpus is not None and gpus <= 1:
        trials = count(trials_per_device(gpus), "trial")
        text = f"{gpus:g} for each trial: {trials} at once on one GPU"
    else:
        text = f"{gpus:g} for each trial"
    return [f"GPU: {text}" + (f"; type {types}" if types else "")]


def _bytes(count: int) -> str:
    """Return bytes in decimal units, the units in which disks are sold."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
