"""Configurations of a sweep: the points of its search, and the baselines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse
from sweeps.definition.configuration import Configuration, Merge, Role, label_of
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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Result of the search section of a sweep file."""

    configurations: tuple[Configuration, ...]
    merges: tuple[Merge, ...]
    rejected: int
    """Number of settings that `where` rejected."""
    candidates: Candidates
    runs: tuple[RunConfig, ...]
    """Run of each configuration; with a model, runs of random draws in their place."""


def run_issues(
    runs: Sequence[RunConfig], orders: OrderDesign, resources: Resources
) -> list[ConfigIssue]:
    """Return issues of runs without suitable orders or without a GPU."""
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
        hint = "A trial can use only the GPUs that it reserves."
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
    """Return the points of the search in all states of the ablation, with equal ones merged.

    Values that are valid separately can violate a constraint together, unless `where` rejects the
    combination. Points of an algorithm with a model are not known yet: the same number of random
    draws is checked instead.

    Raises:
        InvalidConfigError: With each violated constraint once, for the first point that violates
            it.
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
        configuration, idle = candidates.configuration(first)
        configurations.append(configuration)
        if others:
            merges.append(Merge(label=configuration.label, idle=idle, settings=(first, *others)))
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
    """Return the baselines, given by label and sections.

    Raises:
        InvalidConfigError: If another configuration has the same label.
    """
    configurations: list[Configuration] = []
    issues: list[ConfigIssue] = []
    taken = {configuration.label: configuration.run for configuration in search}
    for i, (written_label, over) in enumerate(baselines):
        run = check_run(merged(base.valid, over)).run
        factors = differences(run, base.run)
        label = written_label or label_of(run.method.kind, factors)
        role: Role = "reference" if run.method.REFERENCE else "baseline"
        configurations.append(Configuration(label=label, role=role, factors=factors, run=run))
        if taken.setdefault(label, run) != run:
            constraint = "a label that no other configuration has"
            hint = "" if written_label else "Give this baseline a label."
            issues.append(ConfigIssue(f"baselines[{i}].label", label, constraint, hint))
    refuse(issues)
    return tuple(configurations)


def _settings(candidates: Candidates, algorithm: Algorithm) -> tuple[list[Point], int]:
    """Return the points that meet the conditions, and the number of those that do not."""
    accepted = candidates.accepted
    drawn, num_draws = points(candidates.axes, algorithm, lambda draw: bool(accepted(draw)))
    refuse(candidates.undecidable.values())
    texts = [condition.text for condition in candidates.conditions]
    if not drawn:
        constraint = "conditions that at least one setting meets"
        rejections = candidates.rejections.items()
        counts = ", ".join(f"{place} rejects {count}" for place, count in rejections if count)
        raise InvalidConfigError(
            [ConfigIssue("where", texts, constraint, f"Of {num_draws} settings {counts}.")]
        )
    if len(drawn) < (algorithm.trials or 0):
        constraint = f"conditions that reject at most {algorithm.max_rejected:.0%} of the draws"
        hint = (
            f"{len(drawn)} of {num_draws} draws meet them, and {algorithm.trials} are required: "
        )
        hint += "relax them, or increase algorithm.max_rejected."
        raise InvalidConfigError([ConfigIssue("where", texts, constraint, hint)])
    settings = [point for draw in drawn for point in accepted(draw)]
    return settings, num_draws * len(candidates.states) - len(settings)


def _unlearnable(axes: Sequence[Axis], algorithm: Algorithm) -> list[ConfigIssue]:
    """Return issues of search spaces that the algorithm does not support."""
    if not axes:
        constraint = "one or more axes"
        return [
            ConfigIssue("search", {}, constraint, f"`{algorithm.kind}` has nothing to optimize.")
        ]
    inner_axes = [axis.path for axis in axes if any(option.axes for option in axis.options)]
    if algorithm.kind != "gp" or not inner_axes:
        return []
    constraint = "tpe or nsga2"
    hint = (
        f"A Gaussian process does not support axes of a single choice: `search.{inner_axes[0]}`."
    )
    return [ConfigIssue("algorithm.kind", algorithm.kind, constraint, hint)]


def _without_effect(
    space: Space, parts: Sequence[Axis], settings: Sequence[Point]
) -> list[ConfigIssue]:
    """Return issues of parts that have no effect in any setting."""
    constraint = "a part whose `on` and `off` train different things"
    hint = "Switching it changes no setting of the sweep."
    return [
        ConfigIssue(f"ablation.parts.{part.path.removeprefix(PART)}", "on = off", constraint, hint)
        for part in parts
        if all(
            space.effect({**point, part.path: "on"}) == space.effect({**point, part.path: "off"})
            for point in settings
        )
    ]
