"""Fork: a new sweep that begins where a finished chain stood after its k-th stage.

Stages are addressed by what acts up to them, so a fork is a sweep file like any other: the run of
the chain, its order and its seed, and a note of which fields can change without losing the stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, final

import yaml

from clmethods.canonical import plain
from clmethods.config.keys import stage_chain
from clmethods.config.run import RunConfig
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
"""Fields that a file says even where they are the default: they are what it is about."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LateField:
    """A field that first acts after the stages that a fork shares."""

    path: str
    value: Any
    acts_at: int
    """Number of the first stage, from 1, at which another value was seen to act."""


def fork_document(sweep: Sweep, trial: TrialSpec, name: str) -> dict[str, Any]:
    """The sweep of the one trial: its run as far as it is not the default, its order, its seed."""
    document = {
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
    """Fields of which no value that was tried changes the first `stages` stages, but a later one.

    Tried are all choices, both states of a flag, and a spread of numbers around the present one.
    """
    run, written = trial.run, _written(trial.run)
    keys = [stage.key for stage in trial.chain]
    facts = field_facts([run.method.kind])
    found: list[LateField] = []
    for path in facts:
        if path in NOT_AN_AXIS:
            continue
        divergences = {
            _divergence(run, keys, other) for other in _others(run, written, path, facts)
        }
        acting = [position for position in divergences if position < len(keys)]
        if acting and min(acting) >= stages:
            found.append(LateField(path=path, value=value_at(run, path), acts_at=min(acting) + 1))
    return tuple(found)


def fork_text(sweep: Sweep, trial: TrialSpec, stages: int, name: str) -> str:
    """The sweep file, with what it shares and what may change written above it."""
    front = [*trial.run.stream.order][:stages]
    late = late_fields(trial, stages)
    lines = [
        f"Forked from the sweep {sweep.name}, after stage {stages} of {len(trial.chain)} of trial",
        f"{trial.trial_id} ({trial.name}).",
        "",
        "What that trial trained by then is found on its storage as long as orders begin with the",
        f"tasks {front}, the seed stays {trial.seed}, and of the run only fields change, here or",
        "under `search`, that act later:",
        *(f"  {each.path}  (now {each.value!r}; acts from stage {each.acts_at})" for each in late),
        *([] if late else ["  none does"]),
        "`sweeps plan` says how many stages are found and how many are left to train.",
    ]
    head = "\n".join(f"# {line}".rstrip() for line in lines)
    body = yaml.safe_dump(
        fork_document(sweep, trial, name), sort_keys=False, allow_unicode=True, width=95
    )
    return f"{head}\n\n{body}"


def _written(run: RunConfig) -> dict[str, dict[str, Any]]:
    """The sections as a person would write them: without defaults and without what is derived."""
    kind = run.method.kind
    sections: dict[str, dict[str, Any]] = {}
    for name in SECTIONS:
        section = {field.name: f"{name}.{field.name}" for field in fields(getattr(run, name))}
        sections[name] = {
            field: value_at(run, path)
            for field, path in sorted(section.items(), key=lambda item: item[1] not in ALWAYS)
            if path in ALWAYS
            or (path not in NOT_AN_AXIS and value_at(run, path) != default_of(path, kind))
        }
    return {name: section for name, section in sections.items() if section}


def _readout(readout: Any) -> dict[str, Any]:
    usual = plain(type(readout)())
    chosen = {name: value for name, value in plain(readout).items() if value != usual[name]}
    return {"routing": readout.routing, **chosen}


def _others(
    run: RunConfig, written: Sections, path: str, facts: dict[str, FieldFacts]
) -> Iterator[RunConfig]:
    """Sound runs that differ in one field."""
    current = value_at(run, path)
    for value in _candidates(current, facts[path]):
        checked = check_run(with_values(written, {path: value}))
        if value != current and not checked.issues:
            yield checked.run


def _candidates(current: Any, facts: FieldFacts) -> list[Any]:
    found: list[Any] = []
    if "text" in facts.kinds:
        found += sorted(facts.choices)
    if "list" in facts.kinds:
        found += [[choice] for choice in sorted(facts.choices)]
    if "flag" in facts.kinds:
        found += [False, True]
    if "null" in facts.kinds:
        found.append(None)
    if "number" in facts.kinds:
        found += [0, 1, 2, 3, 0.05, 0.1, 0.2, 0.5, 0.9]
        if isinstance(current, int | float):
            found += [current + 1, 2 * current, current / 2]
    return found


def _divergence(run: RunConfig, keys: list[str], other: RunConfig) -> int:
    """How many stages the other run shares, in the same order and with the same seed."""
    if other.stream.tasks != run.stream.tasks:
        return 0
    stream = replace(other.stream, task_order=run.stream.task_order)
    chain = stage_chain(replace(other, stream=stream, seed=run.seed))
    same = [key == stage.key for key, stage in zip(keys, chain, strict=False)]
    return [*same, False].index(False)
