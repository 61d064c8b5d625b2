"""What a sweep trains: the points of its search and the baselines, as configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from sweeps.definition.file.run_sections import (
    CheckedRun,
    Sections,
    check_run,
    differences,
    merged,
)
from sweeps.definition.orders import OrderDesign, task_names
from sweeps.definition.resources import Resources
from sweeps.definition.space.ablation import PART, AblationPlan
from sweeps.definition.space.axes import Axis
from sweeps.definition.space.candidates import Candidates
from sweeps.definition.space.conditions import Condition
from sweeps.definition.space.points import Space
from sweeps.definition.space.sampling import Algorithm, Point, points
from sweeps.definition.sweep import Configuration, Merge, Role, label_of


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the search of a sweep file comes to."""

    configurations: tuple[Configuration, ...]
    merges: tuple[Merge, ...]
    rejected: int
    """Settings that `where` removed."""
    candidates: Candidates
    runs: tuple[RunConfig, ...]
    """A run of every configuration; of some that may be proposed where none is known yet."""


def run_faults(
    runs: Sequence[RunConfig], orders: OrderDesign, resources: Resources
) -> list[ConfigIssue]:
    """What the rest of the sweep does not give the runs: orders for their T, a GPU."""
    issues: list[ConfigIssue] = []
    ordered = [run.stream for run in runs if not run.method.ORDER_FREE]
    for num_tasks, names in sorted({(s.tasks, task_names(s)) for s in ordered}):
        try:
            orders.check(num_tasks, names)
        except InvalidConfigError as error:
            issues.extend(error.issues)
    on_gpu = any(run.train.device == "cuda" for run in runs)
    if resources.gpu == "auto" and runs and not on_gpu:
        constraint = "a number, as train.device is cpu"
        hint = "`auto` measures GPU memory, and these runs use none."
        issues.append(ConfigIssue("resources.gpu", resources.gpu, constraint, hint))
    if resources.gpu == 0 and on_gpu:
        constraint = "greater than 0, as train.device is cuda"
        hint = "A trial sees only the GPUs that it asks for."
        issues.append(ConfigIssue("resources.gpu", resources.gpu, constraint, hint))
    return issues


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
    `InvalidConfigError`: each broken law once, with the first point that breaks it. Points of an
    algorithm that learns are not known yet: as many random draws are checked in their place.
    """
    candidates = Candidates(Space(base, axes, parts), axes, plan, conditions)
    space = candidates.space
    if algorithm.learns:
        refuse(_unlearnable(axes, algorithm))
        settings, _ = _settings(candidates, replace(algorithm, kind="random", batch=None))
    else:
        settings, rejected = _settings(candidates, algorithm)
    issues: dict[str, ConfigIssue] = {}
    groups: dict[str, dict[str, Point]] = {}
    for setting in settings:
        point = space.existing(setting)
        for issue in space.checked(point).issues:
            where = "search" if axes else "ablation"
            constraint = "values that fit together"
            issues.setdefault(str(issue), ConfigIssue(where, point, constraint, str(issue)))
        effect = space.effect(point)
        if effect is not None:
            groups.setdefault(effect, {}).setdefault(json.dumps(point, sort_keys=True), point)
    refuse(issues.values())
    refuse(_without_effect(space, parts, settings))
    if algorithm.learns:
        runs = tuple(space.checked(space.existing(setting)).run for setting in settings)
        return Search(configurations=(), merges=(), rejected=0, candidates=candidates, runs=runs)
    configurations: list[Configuration] = []
    merges: list[Merge] = []
    for group in groups.values():
        first, *others = group.values()
        found, idle = candidates.configuration(first)
        configurations.append(found)
        if others:
            merges.append(Merge(label=found.label, idle=idle, settings=(first, *others)))
    return Search(
        configurations=tuple(configurations),
        merges=tuple(merges),
        rejected=rejected,
        candidates=candidates,
        runs=tuple(configuration.run for configuration in configurations),
    )


def baseline_configurations(
    baselines: Sequence[tuple[str | None, Sections]],
    base: CheckedRun,
    search: Sequence[Configuration],
) -> tuple[Configuration, ...]:
    """The baselines by label and sections. Raises `InvalidConfigError` if a label is taken."""
    found: list[Configuration] = []
    issues: list[ConfigIssue] = []
    taken = {configuration.label: configuration.run for configuration in search}
    for i, (given, over) in enumerate(baselines):
        run = check_run(merged(base.sound, over)).run
        factors = differences(run, base.run)
        label = given or label_of(run.method.kind, factors)
        role: Role = "reference" if run.method.REFERENCE else "baseline"
        found.append(Configuration(label=label, role=role, factors=factors, run=run))
        if taken.setdefault(label, run) != run:
            constraint = "a label that no other configuration has"
            hint = "" if given else "Give this baseline a label."
            issues.append(ConfigIssue(f"baselines[{i}].label", label, constraint, hint))
    refuse(issues)
    return tuple(found)


def _settings(candidates: Candidates, algorithm: Algorithm) -> tuple[list[Point], int]:
    """(points that meet the conditions, number of those that do not)."""
    accepted = candidates.accepted
    drawn, looked = points(candidates.axes, algorithm, lambda draw: bool(accepted(draw)))
    refuse(candidates.odd.values())
    texts = [condition.text for condition in candidates.conditions]
    if not drawn:
        constraint = "conditions that some setting meets"
        broken = candidates.broken.items()
        told = ", ".join(f"{place} rejects {count}" for place, count in broken if count)
        raise InvalidConfigError(
            [ConfigIssue("where", texts, constraint, f"Of {looked} settings {told}.")]
        )
    if len(drawn) < (algorithm.trials or 0):
        constraint = f"conditions that reject at most {algorithm.max_rejected:.0%} of the draws"
        hint = f"{len(drawn)} of {looked} draws meet them, and {algorithm.trials} are wanted: "
        hint += "loosen them, or raise algorithm.max_rejected."
        raise InvalidConfigError([ConfigIssue("where", texts, constraint, hint)])
    settings = [point for draw in drawn for point in accepted(draw)]
    return settings, looked * len(candidates.states) - len(settings)


def _unlearnable(axes: Sequence[Axis], algorithm: Algorithm) -> list[ConfigIssue]:
    """What the algorithm cannot learn from."""
    if not axes:
        constraint = "one or more axes"
        return [
            ConfigIssue(
                "search", {}, constraint, f"`{algorithm.kind}` has nothing to learn about."
            )
        ]
    below = [axis.path for axis in axes if any(option.axes for option in axis.options)]
    if algorithm.kind != "gp" or not below:
        return []
    constraint = "tpe or nsga2"
    hint = f"A Gaussian process knows no axes of one choice only, as `search.{below[0]}` has them."
    return [ConfigIssue("algorithm.kind", algorithm.kind, constraint, hint)]


def _without_effect(
    space: Space, parts: Sequence[Axis], settings: Sequence[Point]
) -> list[ConfigIssue]:
    """Parts that train the same whether they are on or off, in every setting."""
    constraint = "a part whose `on` and `off` train different things"
    hint = "Switched, it changes no setting of the sweep."
    return [
        ConfigIssue(f"ablation.parts.{part.path.removeprefix(PART)}", "on = off", constraint, hint)
        for part in parts
        if all(
            space.effect({**point, part.path: "on"}) == space.effect({**point, part.path: "off"})
            for point in settings
        )
    ]
