"""What a sweep trains: the points of its search and the baselines, as configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from clmethods.config.faults import Fault, InvalidConfigError, refuse
from clmethods.config.run import RunConfig
from sweeps.spec.ablation import PART, AblationPlan
from sweeps.spec.axes import Axis
from sweeps.spec.conditions import Condition
from sweeps.spec.orders import OrderDesign, task_names
from sweeps.spec.runs import SECTIONS, CheckedRun, Sections, check_run, differences, merged
from sweeps.spec.settings import Space, factor_of
from sweeps.spec.space import Algorithm, Point, points
from sweeps.spec.sweep import Configuration, Merge, Resources, Role, label_of

REPLICATED = ("stream.class_order_seed", "stream.split_seed")
"""Fields that may be axes but make replicates, not configurations, as seeds do: `config_id` leaves
them out, and they have columns of their own in the table `trials`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the search of a sweep file comes to."""

    configurations: tuple[Configuration, ...]
    merges: tuple[Merge, ...]
    rejected: int
    """Settings that `where` removed."""


def run_faults(
    runs: Sequence[RunConfig], orders: OrderDesign, resources: Resources
) -> list[Fault]:
    """What the rest of the sweep does not give the runs: orders for their T, a GPU."""
    faults: list[Fault] = []
    ordered = [run.stream for run in runs if not run.method.ORDER_FREE]
    for num_tasks, names in sorted({(s.tasks, task_names(s)) for s in ordered}):
        try:
            orders.check(num_tasks, names)
        except InvalidConfigError as error:
            faults.extend(error.faults)
    if resources.gpu == 0 and any(run.train.device == "cuda" for run in runs):
        law = "greater than 0, as train.device is cuda"
        mend = "A trial sees only the GPUs that it asks for."
        faults.append(Fault("resources.gpu", resources.gpu, law, mend))
    return faults


def searched(
    base: CheckedRun,
    axes: Sequence[Axis],
    parts: Sequence[Axis],
    plan: AblationPlan,
    algorithm: Algorithm,
    conditions: Sequence[Condition],
) -> Search:
    """The points of the search in every state of the ablation, equal ones merged.

    Values that are sound alone may break a law together, unless `where` removes them. Raises
    `InvalidConfigError`: each broken law once, with the first point that breaks it.
    """
    space = Space(base, axes, parts)
    settings, rejected = _settings(space, axes, plan, algorithm, conditions)
    faults: dict[str, Fault] = {}
    groups: dict[str, dict[str, Point]] = {}
    for setting in settings:
        point = space.existing(setting)
        for fault in space.checked(point).faults:
            where = "search" if axes else "ablation"
            law = "values that fit together"
            faults.setdefault(str(fault), Fault(where, point, law, str(fault)))
        effect = space.effect(point)
        if effect is not None:
            groups.setdefault(effect, {}).setdefault(json.dumps(point, sort_keys=True), point)
    refuse(faults.values())
    refuse(_without_effect(space, parts, settings))
    configurations: list[Configuration] = []
    merges: list[Merge] = []
    for group in groups.values():
        first, *others = group.values()
        idle = space.idle(first)
        kept = {path: value for path, value in first.items() if path not in idle}
        run = space.checked(kept).run
        found = _configuration(space, plan, kept, run)
        configurations.append(found)
        if others:
            merges.append(Merge(label=found.label, idle=tuple(idle), settings=(first, *others)))
    return Search(configurations=tuple(configurations), merges=tuple(merges), rejected=rejected)


def baseline_configurations(
    baselines: Sequence[tuple[str | None, Sections]],
    base: CheckedRun,
    search: Sequence[Configuration],
) -> tuple[Configuration, ...]:
    """The baselines by label and sections. Raises `InvalidConfigError` if a label is taken."""
    found: list[Configuration] = []
    faults: list[Fault] = []
    taken = {configuration.label: configuration.run for configuration in search}
    for i, (given, over) in enumerate(baselines):
        run = check_run(merged(base.sound, over)).run
        factors = differences(run, base.run)
        label = given or label_of(run.method.kind, factors)
        role: Role = "reference" if run.method.REFERENCE else "baseline"
        found.append(Configuration(label=label, role=role, factors=factors, run=run))
        if taken.setdefault(label, run) != run:
            law = "a label that no other configuration has"
            mend = "" if given else "Give this baseline a label."
            faults.append(Fault(f"baselines[{i}].label", label, law, mend))
    refuse(faults)
    return tuple(found)


def _settings(
    space: Space,
    axes: Sequence[Axis],
    plan: AblationPlan,
    algorithm: Algorithm,
    conditions: Sequence[Condition],
) -> tuple[list[Point], int]:
    """(points that meet the conditions, number of those that do not)."""
    states = plan.states()
    odd: dict[str, Fault] = {}
    broken = dict.fromkeys((condition.place for condition in conditions), 0)
    judged: dict[str, list[Point]] = {}

    def meets(point: Point, condition: Condition) -> bool:
        try:
            met = condition.holds(lambda path: space.value(point, path))
        except InvalidConfigError as error:
            odd.update((str(fault), fault) for fault in error.faults)
            return False
        broken[condition.place] += not met
        return met

    def accepted(draw: Point) -> list[Point]:
        key = json.dumps(draw)
        if key not in judged:
            settings = [{**draw, **state} for state in states]
            met = [[meets(point, c) for c in conditions] for point in settings]
            judged[key] = [p for p, all_met in zip(settings, met, strict=True) if all(all_met)]
        return judged[key]

    drawn, looked = points(axes, algorithm, lambda draw: bool(accepted(draw)))
    refuse(odd.values())
    texts = [condition.text for condition in conditions]
    if not drawn:
        law = "conditions that some setting meets"
        told = ", ".join(f"{place} rejects {count}" for place, count in broken.items() if count)
        raise InvalidConfigError([Fault("where", texts, law, f"Of {looked} settings {told}.")])
    if len(drawn) < (algorithm.trials or 0):
        law = f"conditions that reject at most {algorithm.max_rejected:.0%} of the draws"
        mend = f"{len(drawn)} of {looked} draws meet them, and {algorithm.trials} are wanted: "
        mend += "loosen them, or raise algorithm.max_rejected."
        raise InvalidConfigError([Fault("where", texts, law, mend)])
    settings = [point for draw in drawn for point in accepted(draw)]
    return settings, looked * len(states) - len(settings)


def _without_effect(space: Space, parts: Sequence[Axis], settings: Sequence[Point]) -> list[Fault]:
    """Parts that train the same whether they are on or off, in every setting."""
    law = "a part whose `on` and `off` train different things"
    mend = "Switched, it changes no setting of the sweep."
    return [
        Fault(f"ablation.parts.{part.path.removeprefix(PART)}", "on = off", law, mend)
        for part in parts
        if all(
            space.effect({**point, part.path: "on"}) == space.effect({**point, part.path: "off"})
            for point in settings
        )
    ]


def _configuration(
    space: Space, plan: AblationPlan, point: Point, run: RunConfig
) -> Configuration:
    """The configuration of a point in which everything acts."""
    point = {path: value for path, value in point.items() if path not in REPLICATED}
    parts = {path: str(value) for path, value in point.items() if path.startswith(PART)}
    shown = {path: v for path, v in point.items() if path in space.varying and path not in parts}
    kind = str(shown.pop("method", run.method.kind))
    chosen = [str(shown[path]) for path in shown if path in SECTIONS]
    fields = {path: factor_of(run, path, v) for path, v in shown.items() if path not in SECTIONS}
    label = " ".join(filter(None, [label_of(kind, fields), *chosen, plan.label(parts)]))
    role: Role = "reference" if run.method.REFERENCE else "search"
    factors = {path: factor_of(run, path, value) for path, value in point.items()}
    named = {path.removeprefix(PART): side for path, side in parts.items()}
    return Configuration(label=label, role=role, factors=factors, parts=named, run=run)
