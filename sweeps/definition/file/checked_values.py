"""Trying what a sweep file lists, one by one, on the base run, before anything is combined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clmethods.canonical import canonical_json
from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.file.run_sections import (
    SECTIONS,
    CheckedRun,
    Sections,
    axis_fault,
    check_run,
    merged,
    value_at,
    with_values,
)
from sweeps.definition.space.ablation import PART, AblationPlan
from sweeps.definition.space.axes import Axis, Option, every_axis, parse_axis
from sweeps.definition.sweep import label_of

_OPTION_WORDS = {"label", "search"}
"""What an option of a choice may say beside the fields of its section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedValues:
    """The outcome of trying values one by one."""

    axes: tuple[Axis, ...] = ()
    """With values in normal form, so that `1` and `1.0` are one value."""
    runs: tuple[RunConfig, ...] = ()
    """Runs without an issue of their own."""
    issues: tuple[ConfigIssue, ...] = ()
    contexts: tuple[CheckedRun, ...] = ()
    """The base run, or one run for each method to choose from: what other fields must fit."""


def try_axes(search: Mapping[str, Any], base: CheckedRun, algorithm: str | None) -> CheckedValues:
    """Every value of every axis by itself on the base run; issues of the base are not repeated.

    A field must exist in one of the methods to choose from, and fit each one that has it.
    """
    tried = {
        section: _try_choice(section, written, base, algorithm)
        for section, written in search.items()
        if section in SECTIONS
    }
    contexts = tried["method"].contexts if "method" in tried else (base,)
    for path, written in search.items():
        section, _, field = path.partition(".")
        if path in SECTIONS:
            continue
        if section == "method" and not any(context.kind_known for context in contexts):
            continue
        here = f"search.{path}"
        tried[path] = _try_axis(path, written, here, contexts, algorithm)
        if section in tried:
            tried[path] = _joined([tried[path], _set_twice(search[section], section, field)])
    ordered = [tried[path] for path in search if path in tried]
    found = _joined(ordered)
    return CheckedValues(axes=found.axes, runs=found.runs, issues=found.issues, contexts=contexts)


def try_baselines(baselines: Sequence[Sections], base: CheckedRun) -> CheckedValues:
    """Every baseline merged over the base run; issues of the base are not repeated."""
    runs: list[RunConfig] = []
    issues: list[ConfigIssue] = []
    for i, over in enumerate(baselines):
        if "kind" not in over.get("method", {"kind": ""}) and not base.kind_known:
            continue
        checked = check_run(merged(base.sound, over))
        new = _new_faults(checked, base)
        issues.extend(issue.under(f"baselines[{i}]") for issue in new)
        runs.extend([] if new else [checked.run])
    return CheckedValues(runs=tuple(runs), issues=tuple(issues))


def try_parts(plan: AblationPlan, axes: CheckedValues, base: CheckedRun) -> CheckedValues:
    """Every part of an ablation plan, on and off, by itself on each method that has its fields."""
    varied = {axis.path for axis in every_axis(axes.axes)}
    contexts = [context for context in axes.contexts if context.kind_known]
    owner: dict[str, str] = {}
    parts: list[Axis] = []
    runs: list[RunConfig] = []
    issues: list[ConfigIssue] = []
    for name, part in plan.parts.items():
        options: list[Option] = []
        for side, values in (("on", part.on), ("off", part.off)):
            here = f"ablation.parts.{name}.{side}"
            for path, value in values.items():
                place = f"{here}.{path}"
                if path in varied:
                    constraint = "a field that `search` does not vary"
                    issues.append(ConfigIssue(place, value, constraint))
                elif owner.setdefault(path, name) != name:
                    constraint = "a field that no other part sets"
                    issues.append(
                        ConfigIssue(place, value, constraint, f"{owner[path]!r} sets it too.")
                    )
                elif contexts or not path.startswith("method."):
                    fitting, odd = _fitting(path, value, place, contexts or [base])
                    checked, bad = _try_value(path, value, place, path, fitting)
                    runs.extend(checked)
                    issues.extend(odd or bad)
            options.append(Option(label=side, sections=with_values({}, values)))
        labels = tuple(option.label for option in options)
        parts.append(
            Axis(path=f"{PART}{name}", scale="choice", values=labels, options=tuple(options))
        )
    return CheckedValues(axes=tuple(parts), runs=tuple(runs), issues=tuple(issues))


def _try_axis(
    path: str,
    written: Any,
    here: str,
    contexts: Sequence[CheckedRun],
    algorithm: str | None,
) -> CheckedValues:
    """One axis over a field."""
    fitting, odd = _fitting(path, written, here, contexts)
    if odd:
        return CheckedValues(issues=tuple(odd))
    try:
        axis = parse_axis(path, written, algorithm, here)
    except InvalidConfigError as error:
        return CheckedValues(issues=error.issues)
    values: list[Any] = []
    runs: list[RunConfig] = []
    issues: list[ConfigIssue] = []
    whole = axis.scale in {"uniform", "log"}
    for place, value in axis.probes(here):
        checked, bad = _try_value(path, value, place, path, fitting, whole)
        issues.extend(bad)
        if bad:
            continue
        normal = value_at(checked[0], path) if axis.scale == "list" else value
        if canonical_json(normal) in map(canonical_json, values):
            issues.append(ConfigIssue(place, value, "each value once"))
        values.append(normal)
        runs.extend(checked)
    found = Axis(path=path, scale=axis.scale, values=tuple(values))
    return CheckedValues(axes=(found,), runs=tuple(runs), issues=tuple(issues))


def _try_choice(
    section: str, written: Any, base: CheckedRun, algorithm: str | None
) -> CheckedValues:
    """A choice between whole sections, with the axes that each option brings along."""
    here = f"search.{section}"
    if not isinstance(written, list) or not written:
        constraint = (
            f"a list of choices of the section, such as [{{...}}, {{...}}], or `{section}.FIELD`"
        )
        hint = "Write out the path of each field." if isinstance(written, Mapping) else ""
        return CheckedValues(issues=(ConfigIssue(here, written, constraint, hint),))
    tried: list[CheckedValues] = []
    options: list[Option] = []
    for i, item in enumerate(written):
        place = f"{here}[{i}]"
        if not isinstance(item, Mapping):
            tried.append(CheckedValues(issues=(ConfigIssue(place, item, "a mapping of fields"),)))
            continue
        fields = {name: value for name, value in item.items() if name not in _OPTION_WORDS}
        context = check_run(merged(base.sound, {section: fields}))
        bad = [_of_section(issue, section, place, item) for issue in _new_faults(context, base)]
        label, below = item.get("label"), item.get("search", {})
        if label is not None and (not isinstance(label, str) or not label):
            bad.append(ConfigIssue(f"{place}.label", label, "text"))
        label = label if isinstance(label, str) and label else _label(section, fields, context)
        if label in [option.label for option in options]:
            bad.append(
                ConfigIssue(place, label, "a choice that differs from the others", "Label it.")
            )
        if not isinstance(below, Mapping):
            bad.append(ConfigIssue(f"{place}.search", below, "axes by the name of a field"))
            below = {}
        inner = _joined(
            [
                _try_axis(
                    f"{section}.{name}",
                    values,
                    f"{place}.search.{name}",
                    [context],
                    algorithm,
                )
                for name, values in below.items()
                if context.kind_known or section != "method"
            ]
        )
        bad.extend(
            ConfigIssue(
                f"{place}.{name}", fields[name], "to be left out: `search` beside it varies it"
            )
            for name in below
            if name in fields
        )
        options.append(Option(label=label, sections={section: fields}, axes=inner.axes))
        sound = (context,) if context.kind_known else ()
        runs = () if bad else (context.run,)
        tried.append(CheckedValues(runs=runs, issues=tuple(bad), contexts=sound))
        tried.append(CheckedValues(runs=inner.runs, issues=inner.issues))
    labels = tuple(option.label for option in options)
    axis = Axis(path=section, scale="choice", values=labels, options=tuple(options))
    found = _joined(tried)
    return CheckedValues(
        axes=(axis,), runs=found.runs, issues=found.issues, contexts=found.contexts
    )


def _set_twice(options: Any, section: str, field: str) -> CheckedValues:
    """Faults of the options of a section that set a field which has an axis of its own."""
    constraint = f"to be left out, as `search.{section}.{field}` varies it"
    issues: list[ConfigIssue] = []
    for i, option in enumerate(options if isinstance(options, list) else []):
        if not isinstance(option, Mapping):
            continue
        place = f"search.{section}[{i}]"
        below = option.get("search")
        if field in option:
            issues.append(ConfigIssue(f"{place}.{field}", option[field], constraint))
        if isinstance(below, Mapping) and field in below:
            issues.append(ConfigIssue(f"{place}.search.{field}", below[field], constraint))
    return CheckedValues(issues=tuple(issues))


def _fitting(
    path: str, written: Any, here: str, contexts: Sequence[CheckedRun]
) -> tuple[list[CheckedRun], list[ConfigIssue]]:
    """(the contexts that have the field, why there is none)."""
    odd = [axis_fault(path, written, context.run, here) for context in contexts]
    fitting = [c for c, issue in zip(contexts, odd, strict=True) if issue is None]
    return fitting, [] if fitting else [issue for issue in odd[:1] if issue is not None]


def _try_value(
    path: str,
    value: Any,
    place: str,
    axis: str,
    contexts: Iterable[CheckedRun],
    whole: bool = False,
) -> tuple[list[RunConfig], list[ConfigIssue]]:
    """(a run with the value per context, the issues of the first context that refuses it)."""
    runs: list[RunConfig] = []
    for context in contexts:
        checked = check_run(with_values(context.sound, {path: value}))
        new = _new_faults(checked, context)
        if new:
            return [], [_of_value(issue, place, value, axis, whole) for issue in new]
        runs.append(checked.run)
    return runs, []


def _new_faults(checked: CheckedRun, base: CheckedRun) -> list[ConfigIssue]:
    return [issue for issue in checked.issues if issue not in base.issues]


def _of_value(issue: ConfigIssue, place: str, value: Any, path: str, whole: bool) -> ConfigIssue:
    """An issue of the run that has the value, told as an issue of the value."""
    inside = issue.path.removeprefix(path)
    if not issue.path.startswith(path) or inside[:1] not in {"", "[", "."}:
        return ConfigIssue(place, value, "a value that fits the rest of the run", str(issue))
    hint = issue.hint
    if whole and issue.allowed.startswith("a whole number"):
        hint = "Use `integer` for this axis."
    return ConfigIssue(f"{place}{inside}", issue.value, issue.allowed, hint)


def _of_section(issue: ConfigIssue, section: str, place: str, option: Any) -> ConfigIssue:
    """An issue of the run that has the option, told as an issue of the option."""
    if not issue.path.startswith(f"{section}."):
        return ConfigIssue(place, option, "a choice that fits the rest of the run", str(issue))
    inside = issue.path.removeprefix(section)
    return ConfigIssue(f"{place}{inside}", issue.value, issue.allowed, issue.hint)


def _label(section: str, fields: Mapping[str, Any], context: CheckedRun) -> str:
    kind = str(fields.get("kind", context.run.method.kind)) if section == "method" else ""
    return label_of(kind, {f"{section}.{name}": value for name, value in fields.items()}) or "base"


def _joined(tried: Sequence[CheckedValues]) -> CheckedValues:
    return CheckedValues(
        axes=tuple(axis for one in tried for axis in one.axes),
        runs=tuple(run for one in tried for run in one.runs),
        issues=tuple(issue for one in tried for issue in one.issues),
        contexts=tuple(context for one in tried for context in one.contexts),
    )
