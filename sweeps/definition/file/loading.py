"""Loading of sweep files: YAML or a dict to a `Sweep`, strict, with all issues together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clmethods.config.backbone import BackboneConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import table_id
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse, require
from sweeps.definition.file.checked_values import (
    CheckedValues,
    check_axes,
    check_baselines,
    check_parts,
)
from sweeps.definition.file.data_records import DataRecords, using_records
from sweeps.definition.file.extends import extended, with_origin
from sweeps.definition.file.field_examples import example_of
from sweeps.definition.file.file_fields import SweepFile
from sweeps.definition.file.plain_data import plain, read_yaml
from sweeps.definition.file.run_sections import CheckedRun, check_run
from sweeps.definition.file.size_limits import size_issues, trial_issues
from sweeps.definition.file.validation import validated
from sweeps.definition.logging import secret_issues
from sweeps.definition.orders import OrderDesign
from sweeps.definition.replicate_design import replicate_issues
from sweeps.definition.space.candidates import REPLICATED
from sweeps.definition.space.conditions import Condition, parse_condition
from sweeps.definition.space.configurations import (
    baseline_configurations,
    run_issues,
    searched,
)
from sweeps.definition.space.run_fields import FieldFacts, field_facts
from sweeps.definition.stopping import rule_issues
from sweeps.definition.sweep import (
    METRICS,
    Sweep,
)
from sweeps.storage.options import hidden_value_issues


def load_sweep(path: Path) -> Sweep:
    """Return the sweep that a YAML file defines. Nothing is measured; see `measured_sweep`.

    Raises:
        InvalidConfigError: With all issues of the file.
    """
    data, issues = read_yaml(path)
    return _build(data, issues, path.parent)


def sweep_from_dict(data: Mapping[str, object]) -> Sweep:
    """Return the sweep that a dict defines; values can be the dataclasses themselves.

    Paths under `extends` are relative to the working directory.

    Raises:
        InvalidConfigError: With all issues of the document.
    """
    return _build(data, [], Path())


def _build(written: object, issues: list[ConfigIssue], folder: Path) -> Sweep:
    """Check all fields separately, and then their combination."""
    value_issues: list[ConfigIssue] = []
    reader_issues = tuple(issues)
    document = plain(written, "", value_issues)
    if not isinstance(document, dict):
        raise InvalidConfigError([ConfigIssue("sweep", written, "a mapping of fields")])
    document = extended(document, folder, issues)
    refuse(size_issues(document))
    value_issues += hidden_value_issues(document.get("storage"))
    value_issues += secret_issues(document.get("logging"))
    checked = validated(SweepFile, document)
    parsing_issues = [*issues, *value_issues, *checked.issues]
    # Invalid values were read as null or are secrets; an issue about the null is redundant.
    null_issues = [*reader_issues, *value_issues]
    with using_records(DataRecords.of(checked.value.data_records)) as records:
        unparsed = {_head(issue.path) for issue in checked.issues}
        sweep = _checked_sweep(checked.value, document, unparsed, parsing_issues, null_issues)
    if not records.used:
        return sweep
    found = plain(tuple(records.used.values()), "", [])
    return replace(sweep, document={**sweep.document, "data_records": found})


def _checked_sweep(
    file: SweepFile,
    document: dict[str, Any],
    unparsed: set[str],
    parsing_issues: Sequence[ConfigIssue],
    null_issues: Sequence[ConfigIssue],
) -> Sweep:
    """Return the sweep of a file whose fields have the right types, except those of `unparsed`."""
    base = check_run(file.sections())
    baselines = [(baseline.label, baseline.sections()) for baseline in file.baselines]
    axes = check_axes(file.search, base, None if "algorithm" in unparsed else file.algorithm.kind)
    parts = check_parts(file.ablation, axes, base)
    others = check_baselines([over for _, over in baselines], base)
    conditions, condition_issues = _conditions(file, axes, parts)
    deciding_runs = _deciding_runs(file, base, [*axes.runs, *parts.runs, *others.runs])
    file_issues = [
        *_list_issues(file),
        *_readout_issues(file, axes.contexts),
        *run_issues(deciding_runs, file.orders, file.resources),
        *_rule_issues(file, _deciding_runs(file, base, [*axes.runs, *parts.runs])),
        *condition_issues,
    ]
    all_issues = [
        *parsing_issues,
        *(issue for issue in file_issues if _head(issue.path) not in unparsed),
        *(*base.issues, *axes.issues, *parts.issues, *others.issues),
    ]
    null_paths = {issue.path for issue in null_issues}
    all_issues = [
        issue for issue in all_issues if issue.path not in null_paths or issue in null_issues
    ]
    refuse(with_origin(all_issues, file.merged_from))

    search = searched(base, axes.axes, parts.axes, file.ablation, file.algorithm, conditions)
    baseline = baseline_configurations(baselines, base, search.configurations)
    runs = [*search.runs, *(configuration.run for configuration in baseline)]
    refuse(run_issues(runs, file.orders, file.resources))
    refuse(_rule_issues(file, [run for run in search.runs if not run.method.REFERENCE]))
    refuse(_decision_issues(file, search.runs))
    refuse(_unsupported_readouts(file, runs))
    table_streams = _table_streams(file.orders, base.run.backbone, runs)
    given_tables = {table.of: table for table in file.orders.measured}
    tables = tuple(given_tables[i] for i in table_streams if i in given_tables)
    if tables:
        document |= {"orders": {**document["orders"], "measured": plain(tables, "", [])}}
    sweep = Sweep(
        name=file.name,
        base=base.run,
        axes=axes.axes,
        configurations=(*search.configurations, *baseline),
        merges=search.merges,
        rejected=search.rejected,
        candidates=search.candidates,
        runs=tuple(runs),
        readouts=file.readouts,
        orders=replace(file.orders, measured=tables),
        table_streams=tuple(table_streams.values()),
        seeds=file.seeds,
        replicates=file.replicates,
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
    refuse(trial_issues(sweep))
    return sweep


def _table_streams(
    orders: OrderDesign, backbone: BackboneConfig, runs: Sequence[RunConfig]
) -> dict[str, StreamConfig]:
    """Return a stream for each task table that the orders need, by the id of the table.

    All tables use the backbone of the base, so that all configurations have the same orders.
    """
    if not orders.needs_table:
        return {}
    streams = [run.stream for run in runs if not run.method.ORDER_FREE]
    return {table_id(backbone, stream): stream for stream in streams}


def _rule_issues(file: SweepFile, runs: Sequence[RunConfig]) -> list[ConfigIssue]:
    return [
        *replicate_issues(file.replicates, runs, file.orders, file.seeds),
        *rule_issues(
            file.early_stop,
            file.racing,
            runs,
            file.orders,
            file.seeds,
            file.replicates,
            file.objectives,
        ),
    ]


def _head(path: str) -> str:
    return re.split(r"[.\[]", path)[0]


def _deciding_runs(
    file: SweepFile, base: CheckedRun, tried: Sequence[RunConfig]
) -> list[RunConfig]:
    """Return the runs that determine orders and devices; empty if the base is invalid there."""
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
    """Return the valid conditions, and the issues of the others."""
    kinds = {context.run.method.kind for context in axes.contexts if context.kind_known}
    if not kinds:
        return [], []
    labels = {axis.path: axis.values for axis in [*axes.axes, *parts.axes] if axis.options}
    text = frozenset({"text"})
    fields = field_facts(kinds) | {
        path: FieldFacts(kinds=text, choices=frozenset(map(str, values)))
        for path, values in labels.items()
    }
    conditions: list[Condition] = []
    issues: list[ConfigIssue] = []
    for i, condition in enumerate(file.where):
        try:
            conditions.append(parse_condition(condition, f"where[{i}]", fields))
        except InvalidConfigError as error:
            issues.extend(error.issues)
    return conditions, issues


def _list_issues(file: SweepFile) -> list[ConfigIssue]:
    """Return issues of the name, the lists and the mappings of the file."""
    seeds, objectives = file.seeds, file.objectives
    readouts = [readout.readout_id for readout in file.readouts]
    first_seeds = {seed: i for i, seed in reversed([*enumerate(seeds)])}
    issues = [
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", file.name) is not None,
            "name",
            file.name,
            "letters, digits, - and _, beginning with a letter or digit",
            "The name is used for the folder of the results.",
        ),
        *(issue and issue.under("ablation") for issue in file.ablation.issues()),
        require(
            file.budget.gpu_hours is None or file.resources.gpu != 0,
            "budget.gpu_hours",
            file.budget.gpu_hours,
            "to be left out unless resources.gpu is greater than 0",
            "Trials reserve no GPU, so no GPU hours are counted: use `hours`.",
        ),
        require(len(seeds) > 0, "seeds", [], "one or more whole numbers", example_of("seeds")),
        require(len(readouts) > 0, "readouts", [], "one or more readouts"),
        require(len(objectives) > 0, "objectives", {}, f"one or more of {list(METRICS)}"),
        *(
            require(first_seeds[seed] == i, f"seeds[{i}]", seed, "each seed once")
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
    return [issue for issue in issues if issue is not None]


def _readout_issues(file: SweepFile, contexts: Sequence[CheckedRun]) -> list[ConfigIssue]:
    """Return issues of the first readout, which every searched method must support."""
    if not file.readouts:
        return []
    hint = "Objectives are read from the first readout."
    known = [c.run for c in contexts if c.kind_known and not c.run.method.REFERENCE]
    issues = [issue for run in known for issue in file.readouts[0].issues_in(run)]
    return [
        replace(issue, hint=f"{issue.hint} {hint}".strip()).under("readouts[0]")
        for i, issue in enumerate(issues)
        if issue.path not in [earlier.path for earlier in issues[:i]]
    ]


def _decision_issues(file: SweepFile, runs: Sequence[RunConfig]) -> list[ConfigIssue]:
    """Return issues of sweeps that make decisions without validation images for them."""
    decides = file.algorithm.learns or file.early_stop is not None or file.racing is not None
    replicated = [path for path in REPLICATED if path in file.search]
    if decides and replicated:
        constraint = "no axis of a sweep that makes decisions about configurations"
        hint = "Class orders and splits are replicates, like seeds: set one value in the section."
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
    constraint = "greater than 0, as the sweep makes decisions by validation accuracy"
    return [ConfigIssue("stream.validation_fraction", 0, constraint)]


def _unsupported_readouts(file: SweepFile, runs: Sequence[RunConfig]) -> list[ConfigIssue]:
    """Return issues of readouts that no configuration supports."""
    unsupported: list[ConfigIssue] = []
    for index, readout in enumerate(file.readouts):
        issues = [readout.issues_in(run) for run in runs]
        if all(issues):
            unsupported += [issue.under(f"readouts[{index}]") for issue in issues[0]]
    return unsupported
