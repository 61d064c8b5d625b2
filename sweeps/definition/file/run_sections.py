"""Sections of a run as written in a sweep file: merging, access by dotted path, checks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

from clmethods.canonical import plain
from clmethods.config.backbone import BackboneConfig
from clmethods.config.methods import METHOD_CONFIGS, MethodConfig
from clmethods.config.resolve import MissingWeightsError, resolve
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.config.train import TrainConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest
from sweeps.definition.file.data_records import data_records
from sweeps.definition.file.validation import Validated, validated

T = TypeVar("T")
Sections = Mapping[str, Mapping[str, Any]]
"""Written fields of `backbone`, `stream`, `method` and `train`."""

SECTIONS = ("backbone", "stream", "method", "train")
DEFAULT_KIND = "lorac_ipc"

NOT_AN_AXIS = {
    "stream.task_order": "Task orders come from `orders`.",
    "method.kind": "Search over whole methods with `method: [{kind: ...}, ...]`, or list them "
    "under `baselines`.",
    "backbone.weights_sha256": "It follows from `backbone.weights`.",
    "stream.record": "It follows from the data.",
    "stream.split_version": "It follows from `stream.split_file`.",
}
"""Fields that cannot be axes, with the place where they are defined instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRun:
    """Run with the issues of the sections that it was created from."""

    run: RunConfig
    """Resolved run if there are no issues; otherwise the run of the valid fields."""
    valid: Sections
    """Sections without invalid fields, for further checks."""
    issues: tuple[ConfigIssue, ...]
    kind_known: bool
    """False if the method is unknown, so that its fields cannot be checked."""


_missing_weights: ContextVar[dict[str, ConfigIssue] | None] = ContextVar("missing", default=None)


@contextmanager
def tolerated_weights() -> Iterator[dict[str, ConfigIssue]]:
    """Collect missing weights of runs checked in this block, by text, instead of reporting them.

    This is for planning only: the stages of such runs are counted correctly, but have different
    keys.
    """
    missing_weights: dict[str, ConfigIssue] = {}
    token = _missing_weights.set(missing_weights)
    try:
        yield missing_weights
    finally:
        _missing_weights.reset(token)


Resolve = Callable[[RunConfig], RunConfig]
"""`resolve`, or a function that caches its results."""


def remembering_resolve() -> Resolve:
    """Return a version of `resolve` that resolves each backbone and stream once."""
    resolved_runs: dict[tuple[BackboneConfig, StreamConfig], RunConfig] = {}

    def resolve_once(run: RunConfig) -> RunConfig:
        key = run.backbone, run.stream
        if key not in resolved_runs:
            resolved_runs[key] = resolve(run)
        return run.unchecked(resolved_runs[key].backbone, resolved_runs[key].stream, run.seed)

    return resolve_once


def check_run(sections: Sections, resolved: Resolve = resolve) -> CheckedRun:
    """Validate all sections and resolve the run; all issues are reported, independently."""
    issues: list[ConfigIssue] = []
    kind = sections.get("method", {}).get("kind", DEFAULT_KIND)
    known = isinstance(kind, str) and kind in METHOD_CONFIGS
    if not known:
        choices = sorted(METHOD_CONFIGS)
        hint = nearest(str(kind), choices)
        issues.append(ConfigIssue("method.kind", kind, f"one of {choices}", hint))
    records = data_records()
    section = sections.get("stream", {})
    written = records.applied(section)
    order = written.pop("task_order", None)
    backbone = _validated(BackboneConfig, sections.get("backbone", {}))
    stream = _validated(StreamConfig, written)
    method: Validated[Any] = _validated(
        METHOD_CONFIGS[kind if known else DEFAULT_KIND],
        sections.get("method", {}) if known else {},
    )
    train = _validated(TrainConfig, sections.get("train", {}))
    parts: dict[str, Validated[Any]] = {
        "backbone": backbone,
        "stream": stream,
        "method": method,
        "train": train,
    }
    for name, part in parts.items():
        issues.extend(issue.under(name) for issue in part.issues)
    if order is not None:
        constraint = "to be left out of a sweep"
        issues.append(
            ConfigIssue("stream.task_order", order, constraint, NOT_AN_AXIS["stream.task_order"])
        )
    run, violations = _run({name: part.value for name, part in parts.items()})
    issues.extend(violations)
    if not violations and not {"name", "weights", "weights_sha256"} & {
        issue.path for issue in backbone.issues
    }:
        try:
            run = resolved(run)
        except MissingWeightsError as error:
            tolerated = _missing_weights.get()
            if tolerated is None:
                issues.extend(error.issues)
            else:
                tolerated.update((str(issue), issue) for issue in error.issues)
                run = resolve(run, without_weights=True)
        except InvalidConfigError as error:
            issues.extend(error.issues)
        records.note(section, run.stream)
    valid = {name: part.valid for name, part in parts.items()}
    valid["stream"] = {n: v for n, v in section.items() if n in valid["stream"]}
    return CheckedRun(run=run, valid=valid, issues=tuple(issues), kind_known=known)


def _run(sections: Mapping[str, Any]) -> tuple[RunConfig, Sequence[ConfigIssue]]:
    """Return the run of valid sections, and the constraints between sections that it violates."""
    try:
        return RunConfig(**sections), ()
    except InvalidConfigError as error:
        # Further checks need the fields, even if they violate constraints, so the run is kept.
        run = object.__new__(RunConfig)
        for f in fields(RunConfig):
            object.__setattr__(run, f.name, sections.get(f.name, f.default))
        return run, error.issues


def _validated(kind: type[T], section: Mapping[str, Any]) -> Validated[T]:
    key: Any = kind  # mypy does not see that classes are hashable
    result: Validated[T] = _section(key, json.dumps(section))
    return result


@lru_cache(maxsize=4096)  # the points of a search share most of their sections
def _section(kind: type[Any], text: str) -> Validated[Any]:
    return validated(kind, json.loads(text))


def merged(base: Sections, over: Sections) -> Sections:
    """Return `base` updated with `over`; a method of another kind replaces the whole section."""
    result = dict(base)
    for name, section in over.items():
        below = base.get(name, {})
        kind = below.get("kind", DEFAULT_KIND)
        replaces = name == "method" and section.get("kind", kind) != kind
        result[name] = dict(section) if replaces else {**below, **section}
    return result


def with_values(base: Sections, values: Mapping[str, Any]) -> Sections:
    """Return `base` with the fields at the given dotted paths set, in this order."""
    result = base
    for path, value in values.items():
        section, field = path.split(".", 1)
        result = merged(result, {section: {field: value}})
    return result


def value_at(run: RunConfig, path: str) -> Any:
    """Return the field at a dotted path as plain data."""
    section, field = path.split(".", 1)
    return plain(getattr(getattr(run, section), field))


def field_paths(run: RunConfig) -> list[str]:
    """Return the dotted paths of all fields of the run that a sweep can vary."""
    sections: dict[str, Any] = {name: getattr(run, name) for name in SECTIONS}
    paths = [f"{name}.{f.name}" for name, part in sections.items() for f in fields(part)]
    return [path for path in paths if path not in NOT_AN_AXIS]


def axis_issue(path: str, written: Any, run: RunConfig, where: str) -> ConfigIssue | None:
    """Return the issue if the field at `path` cannot be varied over `run`; otherwise None."""
    paths = field_paths(run)
    if path in paths:
        return None
    if path in NOT_AN_AXIS:
        return ConfigIssue(where, written, "a field that a sweep may vary", NOT_AN_AXIS[path])
    if re.fullmatch(r"(.*\.)?seeds?", path):
        return ConfigIssue(where, written, "a field of a run", "Seeds come from `seeds`.")
    section, _, field = path.partition(".")
    same = [known for known in paths if known.split(".")[1] == path.rpartition(".")[2]]
    constraint = "a dotted path of a field, such as `method.rank`"
    if section in SECTIONS and field:
        constraint = (
            f"one of the fields {[p.split('.')[1] for p in paths if p.startswith(section)]}"
        )
    elif section in SECTIONS:
        return ConfigIssue(where, written, constraint, "Write out the path of each field.")
    bare = path if "." in path else f"method.{path}"
    hint = f"Did you mean {same[0]!r}?" if same else nearest(bare, paths)
    return ConfigIssue(where, written, constraint, hint)


def differences(run: RunConfig, base: RunConfig) -> dict[str, Any]:
    """Return the fields of `run` that differ from `base`, by dotted path; `method.kind` is first.

    A field that the method of the base lacks differs if it is not at its default.
    """
    different: dict[str, Any] = {}
    if run.method.kind != base.method.kind:
        different["method.kind"] = run.method.kind
    default_method = _default_method(run.method.kind)
    for path in field_paths(run):
        section, field = path.split(".")
        base_section: Any = getattr(base, section)
        if section == "method" and not hasattr(base_section, field):
            base_section = default_method
        value = value_at(run, path)
        if value != plain(getattr(base_section, field)):
            different[path] = value
    return different


def _default_method(kind: str) -> MethodConfig:
    return METHOD_CONFIGS[kind]()
