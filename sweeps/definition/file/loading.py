"""The sweep file: YAML or a dict to a `Sweep`, strict, with all issues reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse, require
from sweeps.definition.budget import Budget
from sweeps.definition.file.checked_values import CheckedValues, try_axes, try_baselines, try_parts
from sweeps.definition.file.extends import Layer, extended, with_origin
from sweeps.definition.file.messages import validated
from sweeps.definition.file.plain_data import plain, read_yaml
from sweeps.definition.file.run_sections import SECTIONS, CheckedRun, check_run
from sweeps.definition.logging import Logging, secret_issues
from sweeps.definition.orders import OrderDesign
from sweeps.definition.orders.task_similarity_measurement import measured_design
from sweeps.definition.resources import Resources
from sweeps.definition.retries import Retries
from sweeps.definition.space.ablation import AblationPlan
from sweeps.definition.space.candidates import REPLICATED
from sweeps.definition.space.conditions import Condition, parse_condition
from sweeps.definition.space.configurations import (
    baseline_configurations,
    run_faults,
    searched,
)
from sweeps.definition.space.run_fields import FieldFacts, field_facts
from sweeps.definition.space.sampling import Algorithm
from sweeps.definition.stopping import EarlyStop, Racing, rule_faults
from sweeps.definition.sweep import (
    DEFAULT_OBJECTIVES,
    METRICS,
    Direction,
    Sweep,
)
from sweeps.storage.options import StorageOptions, hidden_faults


class RunSections(BaseModel):
    """The sections of a run, as far as they are written; `clmethods.config` gives their fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: dict[str, Any] = Field(default_factory=dict)
    stream: dict[str, Any] = Field(default_factory=dict)
    method: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    def sections(self) -> dict[str, dict[str, Any]]:
        """The sections that were written."""
        return {name: getattr(self, name) for name in SECTIONS if name in self.model_fields_set}


class BaselineFile(RunSections):
    """One entry under `baselines`: what differs from the base run."""

    label: str | None = None
    """How it is called in tables; None derives it from what differs."""


class SweepFile(RunSections):
    """What a person types. Types are checked here, laws across fields by `sweep_from_dict`."""

    name: str = ""
    """Name of the sweep's folder: letters, digits, - and _."""
    extends: str | None = None
    """A shipped study or a path, relative to the file: this file says how it differs from that."""
    merged_from: tuple[Layer, ...] = ()
    """Written, not typed: the files that `extends` led to, farthest first."""
    search: dict[str, Any] = Field(default_factory=dict)
    """Axes by dotted path: a list of values, or {uniform | log | integer: [low, high]}.

    By the name of a section: a list of choices, each with its fields and, if need be, a `label`
    and a `search` of its own.
    """
    where: tuple[str, ...] = ()
    """Conditions that every searched setting must meet."""
    ablation: AblationPlan = AblationPlan()
    baselines: tuple[BaselineFile, ...] = ()
    readouts: tuple[ReadoutConfig, ...] = (ReadoutConfig(),)
    orders: OrderDesign = OrderDesign()
    seeds: tuple[int, ...] = (0,)
    algorithm: Algorithm = Algorithm()
    objectives: dict[str, Direction] = Field(default_factory=lambda: dict(DEFAULT_OBJECTIVES))
    early_stop: EarlyStop | None = None
    racing: Racing | None = None
    resources: Resources = Resources()
    retries: Retries = Retries()
    logging: Logging = Logging()
    budget: Budget = Budget()
    storage: StorageOptions = StorageOptions()
    """How the storage is reached; no part of what is trained or of the sweep's identity."""


def load_sweep(path: Path) -> Sweep:
    """The sweep that a YAML file specifies. Raises `InvalidConfigError` with every issue."""
    data, issues = read_yaml(path)
    return _build(data, issues, path.parent)


def sweep_from_dict(data: Mapping[str, Any]) -> Sweep:
    """The sweep that a dict specifies; values may be the dataclasses themselves.

    A path under `extends` starts at the working directory.
    """
    return _build(data, [], Path())


def _build(written: Any, issues: list[ConfigIssue], folder: Path) -> Sweep:
    """Check every field by itself, then what they make together."""
    odd: list[ConfigIssue] = []
    document = plain(written, "", odd)
    if not isinstance(document, dict):
        raise InvalidConfigError([ConfigIssue("sweep", written, "a mapping of fields")])
    document = extended(document, folder, issues)
    odd += [*hidden_faults(document.get("storage")), *secret_issues(document.get("logging"))]
    checked = validated(SweepFile, document)
    file = checked.value
    unsettled = {_head(issue.path) for issue in checked.issues}
    base = check_run(file.sections())
    baselines = [(baseline.label, baseline.sections()) for baseline in file.baselines]
    axes = try_axes(file.search, base, None if "algorithm" in unsettled else file.algorithm.kind)
    parts = try_parts(file.ablation, axes, base)
    others = try_baselines([over for _, over in baselines], base)
    conditions, odd_conditions = _conditions(file, axes, parts)
    telling = _telling(file, base, [*axes.runs, *parts.runs, *others.runs])
    own = [
        *_list_faults(file),
        *_readout_faults(file, axes.contexts),
        *run_faults(telling, file.orders, file.resources),
        *_rule_faults(file, _telling(file, base, [*axes.runs, *parts.runs])),
        *odd_conditions,
    ]
    found = [
        *(*issues, *odd, *checked.issues),
        *(issue for issue in own if _head(issue.path) not in unsettled),
        *(*base.issues, *axes.issues, *parts.issues, *others.issues),
    ]
    # what is odd was read as null, or may be a secret, and may be refused twice
    null = {issue.path for issue in odd}
    found = [issue for issue in found if issue.path not in null or issue in odd]
    refuse(with_origin(found, file.merged_from))

    search = searched(base, axes.axes, parts.axes, file.ablation, file.algorithm, conditions)
    baseline = baseline_configurations(baselines, base, search.configurations)
    runs = [*search.runs, *(configuration.run for configuration in baseline)]
    refuse(run_faults(runs, file.orders, file.resources))
    refuse(_rule_faults(file, [run for run in search.runs if not run.method.REFERENCE]))
    refuse(_undecidable(file, search.runs))
    refuse(_idle_readouts(file, runs))
    orders = measured_design(file.orders, base.run, runs)
    if orders.measured:
        document |= {"orders": {**document["orders"], "measured": plain(orders.measured, "", [])}}
    return Sweep(
        name=file.name,
        base=base.run,
        axes=axes.axes,
        configurations=(*search.configurations, *baseline),
        merges=search.merges,
        rejected=search.rejected,
        candidates=search.candidates,
        readouts=file.readouts,
        orders=orders,
        seeds=file.seeds,
        algorithm=file.algorithm,
        objectives=file.objectives,
        early_stop=file.early_stop,
        racing=file.racing,
        resources=file.resources,
        retries=file.retries,
        logging=file.logging,
        budget=file.budget,
        storage=file.storage,
        document=document,
    )


def _rule_faults(file: SweepFile, runs: Sequence[RunConfig]) -> list[ConfigIssue]:
    return rule_faults(
        file.early_stop, file.racing, runs, file.orders, file.seeds, file.objectives
    )


def _head(path: str) -> str:
    return re.split(r"[.\[]", path)[0]


def _telling(file: SweepFile, base: CheckedRun, tried: Sequence[RunConfig]) -> list[RunConfig]:
    """The runs that tell which orders and devices are needed; none if the base leaves it open."""
    cuts = ("dataset", "tasks", "classes_per_task", "init_classes", "increment", "manifest")
    decisive = {"train.device", *(f"stream.{name}" for name in cuts)}
    if decisive & {issue.path for issue in base.issues}:
        return []
    parts = [*file.ablation.parts.values()]
    varied = {*file.search, *(path for part in parts for path in {**part.on, **part.off})}
    return [*tried] if (decisive | {"stream", "train"}) & varied else [base.run, *tried]


def _conditions(
    file: SweepFile, axes: CheckedValues, parts: CheckedValues
) -> tuple[list[Condition], list[ConfigIssue]]:
    """(the sound conditions, what is wrong with the others)."""
    kinds = {context.run.method.kind for context in axes.contexts if context.kind_known}
    if not kinds:
        return [], []
    labels = {axis.path: axis.values for axis in [*axes.axes, *parts.axes] if axis.options}
    text = frozenset({"text"})
    fields = field_facts(kinds) | {
        path: FieldFacts(kinds=text, choices=frozenset(values)) for path, values in labels.items()
    }
    found: list[Condition] = []
    issues: list[ConfigIssue] = []
    for i, condition in enumerate(file.where):
        try:
            found.append(parse_condition(condition, f"where[{i}]", fields))
        except InvalidConfigError as error:
            issues.extend(error.issues)
    return found, issues


def _list_faults(file: SweepFile) -> list[ConfigIssue]:
    """Laws of the name, the lists and the mappings of the file itself."""
    seeds, objectives = file.seeds, file.objectives
    readouts = [readout.readout_id for readout in file.readouts]
    found = [
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", file.name) is not None,
            "name",
            file.name,
            "letters, digits, - and _, beginning with a letter or digit",
            "It names the folder of the results.",
        ),
        *(issue and issue.under("ablation") for issue in file.ablation.issues()),
        require(
            file.budget.gpu_hours is None or file.resources.gpu != 0,
            "budget.gpu_hours",
            file.budget.gpu_hours,
            "to be left out unless resources.gpu is greater than 0",
            "A trial takes no GPU, so none are ever used: use `hours`.",
        ),
        require(len(seeds) > 0, "seeds", [], "one or more whole numbers"),
        require(len(readouts) > 0, "readouts", [], "one or more readouts"),
        require(len(objectives) > 0, "objectives", {}, f"one or more of {list(METRICS)}"),
        *(
            require(seed not in seeds[:i], f"seeds[{i}]", seed, "each seed once")
            for i, seed in enumerate(seeds)
        ),
        *(
            require(name not in readouts[:i], f"readouts[{i}]", name, "each readout once")
            for i, name in enumerate(readouts)
        ),
        *(
            require(
                metric in METRICS,
                f"objectives.{metric}",
                direction,
                f"one of {list(METRICS)}",
                nearest(metric, METRICS),
            )
            for metric, direction in objectives.items()
        ),
    ]
    return [issue for issue in found if issue is not None]


def _readout_faults(file: SweepFile, contexts: Sequence[CheckedRun]) -> list[ConfigIssue]:
    """Objectives come from the first readout, so every searched method must support it."""
    if not file.readouts:
        return []
    hint = "Objectives are read from the first readout."
    known = [c.run for c in contexts if c.kind_known and not c.run.method.REFERENCE]
    issues = [issue for run in known for issue in file.readouts[0].faults_in(run)]
    return [
        replace(issue, hint=f"{issue.hint} {hint}".strip()).under("readouts[0]")
        for i, issue in enumerate(issues)
        if issue.path not in [earlier.path for earlier in issues[:i]]
    ]


def _undecidable(file: SweepFile, runs: Sequence[RunConfig]) -> list[ConfigIssue]:
    """Decisions are about configurations, by validation accuracy: there must be images for it."""
    decides = file.algorithm.learns or file.early_stop is not None or file.racing is not None
    replicated = [path for path in REPLICATED if path in file.search]
    if decides and replicated:
        constraint = "no axis of a sweep that decides what it trains"
        hint = "Class orders and splits make replicates, as seeds do: set one in the section."
        return [
            ConfigIssue(f"search.{replicated[0]}", file.search[replicated[0]], constraint, hint)
        ]
    bare = [
        run.stream.validation_fraction == 0 and not run.stream.facts.given_validation
        for run in runs
    ]
    if not decides or not any(bare):
        return []
    constraint = "greater than 0, as the sweep decides by validation accuracy what it trains"
    return [ConfigIssue("stream.validation_fraction", 0, constraint)]


def _idle_readouts(file: SweepFile, runs: Sequence[RunConfig]) -> list[ConfigIssue]:
    """Faults of readouts that no configuration supports; others leave out those that do not."""
    found: list[ConfigIssue] = []
    for index, readout in enumerate(file.readouts):
        issues = [readout.faults_in(run) for run in runs]
        if all(issues):
            found += [issue.under(f"readouts[{index}]") for issue in issues[0]]
    return found
