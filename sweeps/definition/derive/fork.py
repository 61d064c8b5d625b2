"""Fork: a new sweep that continues a stored chain after its k-th stage.

Stages are addressed by the fields that act up to them. A fork is therefore a normal sweep file
with the run, the order and the seed of the chain, and a comment that lists the fields that can
change without losing the stored stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import final

from clmethods.canonical import plain
from clmethods.config.keys import stage_chain
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.strict_yaml import yaml_text
from sweeps.definition.file.run_sections import (
    NOT_AN_AXIS,
    SECTIONS,
    Sections,
    check_run,
    value_at,
    with_values,
)
from sweeps.definition.resources import Resources
from sweeps.definition.retries import Retries
from sweeps.definition.space.run_fields import FieldFacts, default_of, field_facts
from sweeps.definition.sweep import Sweep
from sweeps.definition.trials import TrialSpec

ALWAYS = ("backbone.name", "backbone.weights", "stream.dataset", "stream.tasks", "method.kind")
"""Fields that a fork contains even at their default, because they identify what is trained."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LateField:
    """Field that first acts after the stages that a fork shares."""

    path: str
    value: object
    acts_at: int
    """Number of the first stage, from 1, at which a different value has an effect."""


def fork_document(sweep: Sweep, trial: TrialSpec, name: str) -> dict[str, object]:
    """Return the sweep document of one trial: non-default fields of its run, order and seed."""
    document: dict[str, object] = {
        "name": name,
        **_written(trial.run),
        "readouts": [_readout(readout) for readout in trial.readouts],
        "orders": {"design": "explicit", "list": [list(trial.run.stream.order)]},
        "seeds": [trial.seed],
        "objectives": dict(sweep.objectives),
    }
    if sweep.retries != Retries():
        document["retries"] = plain(sweep.retries)
    if sweep.resources != Resources():
        document["resources"] = plain(sweep.resources)
    return document


def late_fields(trial: TrialSpec, stages: int) -> tuple[LateField, ...]:
    """Return the fields that do not affect the first `stages` stages, but a later one.

    All choices, both states of a flag, and a range of numbers around the current one are tried.
    """
    run, written = trial.run, _written(trial.run)
    keys = [stage.key for stage in trial.chain]
    facts = field_facts([run.method.kind])
    late: list[LateField] = []
    for path in facts:
        if path in NOT_AN_AXIS:
            continue
        divergences = {
            _divergence(run, keys, other) for other in _others(run, written, path, facts)
        }
        acting = [position for position in divergences if position < len(keys)]
        if acting and min(acting) >= stages:
            late.append(LateField(path=path, value=value_at(run, path), acts_at=min(acting) + 1))
    return tuple(late)


def fork_text(sweep: Sweep, trial: TrialSpec, stages: int, name: str) -> str:
    """Return the sweep file, with a comment on the shared stages and the changeable fields."""
    first_tasks = [*trial.run.stream.order][:stages]
    changeable = late_fields(trial, stages)
    lines = [
        f"Forked from the sweep {sweep.name}, after stage {stages} of {len(trial.chain)} of trial",
        f"{trial.trial_id} ({trial.name}).",
        "",
        f"The first {stages} stages of that trial are reused from its storage if orders begin",
        f"with the tasks {first_tasks}, the seed is {trial.seed}, and the run changes only in",
        "fields that act later, here or under `search`:",
        *(
            f"  {field.path}  (now {field.value!r}; acts from stage {field.acts_at})"
            for field in changeable
        ),
        *([] if changeable else ["  no field"]),
        "`sweeps plan` reports how many stages are reused and how many must be trained.",
    ]
    head = "\n".join(f"# {line}".rstrip() for line in lines)
    body = yaml_text(fork_document(sweep, trial, name), width=95)
    return f"{head}\n\n{body}"


def _written(run: RunConfig) -> dict[str, dict[str, object]]:
    """Return the sections without default values and without derived fields."""
    kind = run.method.kind
    sections: dict[str, dict[str, object]] = {}
    for name in SECTIONS:
        section = {field.name: f"{name}.{field.name}" for field in fields(getattr(run, name))}
        sections[name] = {
            field: value_at(run, path)
            for field, path in sorted(section.items(), key=lambda item: item[1] not in ALWAYS)
            if path in ALWAYS
            or (path not in NOT_AN_AXIS and value_at(run, path) != default_of(path, kind))
        }
    return {name: section for name, section in sections.items() if section}


def _readout(readout: ReadoutConfig) -> dict[str, object]:
    defaults = plain(type(readout)())
    chosen = {name: value for name, value in plain(readout).items() if value != defaults[name]}
    return {"routing": readout.routing, **chosen}


def _others(
    run: RunConfig, written: Sections, path: str, facts: dict[str, FieldFacts]
) -> Iterator[RunConfig]:
    """Yield valid runs that differ in one field."""
    current = value_at(run, path)
    for value in _candidates(current, facts[path]):
        checked = check_run(with_values(written, {path: value}))
        if value != current and not checked.issues:
            yield checked.run


def _candidates(current: object, facts: FieldFacts) -> list[object]:
    candidates: list[object] = []
    if "text" in facts.kinds:
        candidates += sorted(facts.choices)
    if "list" in facts.kinds:
        candidates += [[choice] for choice in sorted(facts.choices)]
    if "flag" in facts.kinds:
        candidates += [False, True]
    if "null" in facts.kinds:
        candidates.append(None)
    if "number" in facts.kinds:
        candidates += [0, 1, 2, 3, 0.05, 0.1, 0.2, 0.5, 0.9]
        if isinstance(current, int | float):
            candidates += [current + 1, 2 * current, current / 2]
    return candidates


def _divergence(run: RunConfig, keys: list[str], other: RunConfig) -> int:
    """Return the number of stages that another run shares, with the same order and seed."""
    if other.stream.tasks != run.stream.tasks:
        return 0
    stream = replace(other.stream, task_order=run.stream.task_order)
    chain = stage_chain(replace(other, stream=stream, seed=run.seed))
    same = [key == stage.key for key, stage in zip(keys, chain, strict=False)]
    return [*same, False].index(False)
