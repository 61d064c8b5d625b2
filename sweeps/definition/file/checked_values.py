"""Checks of the listed values of a sweep file, one at a time on the base run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clmethods.canonical import canonical_json
from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.configuration import label_of
from sweeps.definition.file.run_sections import (
    SECTIONS,
    CheckedRun,
    Sections,
    axis_issue,
    check_run,
    merged,
    value_at,
    with_values,
)
from sweeps.definition.space.ablation import PART, AblationPlan
from sweeps.definition.space.axes import Axis, Option, every_axis, parse_axis
from sweeps.definition.space.run_fields import takes_only_integers

MAX_ISSUES = 20
"""Number of issues after which the further values of an axis are not checked."""
_OPTION_WORDS = {"label", "search"}
"""Keys of an option other than the fields of its section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedValues:
    """Result of checking values one at a time."""

    axes: tuple[Axis, ...] = ()
    """Axes with normalized values, so that `1` and `1.0` are the same value."""
    runs: tuple[RunConfig, ...] = ()
    """Runs without issues."""
    issues: tuple[ConfigIssue, ...] = ()
    contexts: tuple[CheckedRun, ...] = ()
    """Runs that other fields must fit: the base run, or one run per method to choose from."""


def check_axes(
    search: Mapping[str, object], base: CheckedRun, algorithm: str | None
) -> CheckedValues:
    """Check every value of every axis on the base run, without repeating issues of the base.

    A field must exist in at least one of the methods to choose from, and its values must be valid
    in each method that has it.
    """
    checked = {
        section: _check_choice(section, written, base, algorithm)
        for section, written in search.items()
        if section in SECTIONS
    }
    contexts = checked["method"].contexts if "method" in checked else (base,)
    for path, written in search.items():
        section, _, field = path.partition(".")
        if path in SECTIONS:
            continue
        if section == "method" and not any(context.kind_known for context in contexts):
            continue
        place = f"search.{path}"
        checked[path] = _check_axis(path, written, place, contexts, algorithm)
        if section in checked:
            checked[path] = _joined([checked[path], _set_twice(search[section], section, field)])
    ordered = [checked[path] for path in search if path in checked]
    joined = _joined(ordered)
    return CheckedValues(
        axes=joined.axes, runs=joined.runs, issues=joined.issues, contexts=contexts
    )


def check_baselines(baselines: Sequence[Sections], base: CheckedRun) -> CheckedValues:
    """Check every baseline merged into the base run, without repeating issues of the base."""
    runs: list[RunConfig] = []
    issues: list[ConfigIssue] = []
    for i, over in enumerate(baselines):
        if "kind" not in over.get("method", {"kind": ""}) and not base.kind_known:
            continue
        checked = check_run(merged(base.valid, over))
        new = _new_issues(checked, base)
        issues.extend(issue.under(f"baselines[{i}]") for issue in new)
        runs.extend([] if new else [checked.run])
    return CheckedValues(runs=tuple(runs), issues=tuple(issues))


def check_parts(plan: AblationPlan, axes: CheckedValues, base: CheckedRun) -> CheckedValues:
    """Check every part of an ablation plan, on and off, for each method that has its fields."""
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
                    fitting, unsupported = _fitting(path, value, place, contexts or [base])
                    checked, new_issues = _check_value(path, value, place, path, fitting)
                    runs.extend(checked)
                    issues.extend(unsupported or new_issues)
            options.append(Option(label=side, sections=with_values({}, values)))
        labels = tuple(option.label for option in options)
        parts.append(
            Axis(path=f"{PART}{name}", scale="choice", values=labels, options=tuple(options))
        )
    return CheckedValues(axes=tuple(parts), runs=tuple(runs), issues=tuple(issues))


def _check_axis(
    path: str,
    written: object,
    here: str,
    contexts: Sequence[CheckedRun],
    algorithm: str | None,
) -> CheckedValues:
    """Check one axis over a field."""
    fitting, unsupported = _fitting(path, written, here, contexts)
    if unsupported:
        return CheckedValues(issues=tuple(unsupported))
    try:
        axis = parse_axis(path, written, algorithm, here)
    except InvalidConfigError as error:
        return CheckedValues(issues=error.issues)
    values: dict[str, object] = {}  # by canonical JSON
    runs: list[RunConfig] = []
    issues: list[ConfigIssue] = []
    continuous = axis.scale in {"uniform", "log"}
    for place, value in axis.probes(here):
        if len(issues) >= MAX_ISSUES:
            hint = f"The values from {place} on are not checked yet."
            issues.append(ConfigIssue(here, "...", "valid values", hint))
            break
        checked, new_issues = _check_value(path, value, place, path, fitting, continuous)
        issues.extend(new_issues)
        if new_issues:
            continue
        normal = value_at(checked[0], path) if axis.scale == "list" else value
        key = canonical_json(normal)
        if key in values:
            issues.append(ConfigIssue(place, value, "each value once"))
        values.setdefault(key, normal)
        runs.extend(checked)
    checked_axis = Axis(path=path, scale=axis.scale, values=tuple(values.values()))
    return CheckedValues(axes=(checked_axis,), runs=tuple(runs), issues=tuple(issues))


def _check_choice(
    section: str, written: object, base: CheckedRun, algorithm: str | None
) -> CheckedValues:
    """Check a choice between whole sections, with the axes of each option."""
    here = f"search.{section}"
    if not isinstance(written, list) or not written:
        constraint = (
            f"a list of choices of the section, such as [{{...}}, {{...}}], or `{section}.FIELD`"
        )
        hint = "Write out the path of each field." if isinstance(written, Mapping) else ""
        return CheckedValues(issues=(ConfigIssue(here, written, constraint, hint),))
    checked: list[CheckedValues] = []
    options: list[Option] = []
    for i, item in enumerate(written):
        place = f"{here}[{i}]"
        if not isinstance(item, Mapping):
            checked.append(
                CheckedValues(issues=(ConfigIssue(place, item, "a mapping of fields"),))
            )
            continue
        fields = {name: value for name, value in item.items() if name not in _OPTION_WORDS}
        context = check_run(merged(base.valid, {section: fields}))
        own_issues = [
            _of_section(issue, section, place, item) for issue in _new_issues(context, base)
        ]
        label, inner_axes = item.get("label"), item.get("search", {})
        if label is not None and (not isinstance(label, str) or not label):
            own_issues.append(ConfigIssue(f"{place}.label", label, "text"))
        label = label if isinstance(label, str) and label else _label(section, fields, context)
        if label in [option.label for option in options]:
            own_issues.append(
                ConfigIssue(place, label, "a choice that differs from the others", "Label it.")
            )
        if not isinstance(inner_axes, Mapping):
            own_issues.append(
                ConfigIssue(f"{place}.search", inner_axes, "axes by the name of a field")
            )
            inner_axes = {}
        inner = _joined(
            [
                _check_axis(
                    f"{section}.{name}",
                    values,
                    f"{place}.search.{name}",
                    [context],
                    algorithm,
                )
                for name, values in inner_axes.items()
                if context.kind_known or section != "method"
            ]
        )
        own_issues.extend(
            ConfigIssue(
                f"{place}.{name}",
                fields[name],
                "to be left out, as the `search` of this choice varies it",
            )
            for name in inner_axes
            if name in fields
        )
        options.append(Option(label=label, sections={section: fields}, axes=inner.axes))
        contexts = (context,) if context.kind_known else ()
        runs = () if own_issues else (context.run,)
        checked.append(CheckedValues(runs=runs, issues=tuple(own_issues), contexts=contexts))
        checked.append(CheckedValues(runs=inner.runs, issues=inner.issues))
    labels = tuple(option.label for option in options)
    axis = Axis(path=section, scale="choice", values=labels, options=tuple(options))
    joined = _joined(checked)
    return CheckedValues(
        axes=(axis,), runs=joined.runs, issues=joined.issues, contexts=joined.contexts
    )


def _set_twice(options: object, section: str, field: str) -> CheckedValues:
    """Return issues of options that set a field which also has its own axis."""
    constraint = f"to be left out, as `search.{section}.{field}` varies it"
    issues: list[ConfigIssue] = []
    for i, option in enumerate(options if isinstance(options, list) else []):
        if not isinstance(option, Mapping):
            continue
        place = f"search.{section}[{i}]"
        inner_axes = option.get("search")
        if field in option:
            issues.append(ConfigIssue(f"{place}.{field}", option[field], constraint))
        if isinstance(inner_axes, Mapping) and field in inner_axes:
            issues.append(ConfigIssue(f"{place}.search.{field}", inner_axes[field], constraint))
    return CheckedValues(issues=tuple(issues))


def _fitting(
    path: str, written: object, here: str, contexts: Sequence[CheckedRun]
) -> tuple[list[CheckedRun], list[ConfigIssue]]:
    """Return the contexts that have the field, or the issue if there is none."""
    unsupported = [axis_issue(path, written, context.run, here) for context in contexts]
    fitting = [c for c, issue in zip(contexts, unsupported, strict=True) if issue is None]
    return fitting, [] if fitting else [issue for issue in unsupported[:1] if issue is not None]


def _check_value(
    path: str,
    value: object,
    place: str,
    axis: str,
    contexts: Iterable[CheckedRun],
    continuous: bool = False,
) -> tuple[list[RunConfig], list[ConfigIssue]]:
    """Return a run with the value per context, or the issues of the first context that fails."""
    runs: list[RunConfig] = []
    for context in contexts:
        checked = check_run(with_values(context.valid, {path: value}))
        new = _new_issues(checked, context)
        if new:
            needs_integer = continuous and takes_only_integers(path, context.run.method.kind)
            return [], [_of_value(issue, place, value, axis, needs_integer) for issue in new]
        runs.append(checked.run)
    return runs, []


def _new_issues(checked: CheckedRun, base: CheckedRun) -> list[ConfigIssue]:
    return [issue for issue in checked.issues if issue not in base.issues]


def _of_value(
    issue: ConfigIssue, place: str, value: object, path: str, needs_integer: bool
) -> ConfigIssue:
    """Return an issue of a run as an issue of the value that was set in it."""
    inside = issue.path.removeprefix(path)
    if not issue.path.startswith(path) or inside[:1] not in {"", "[", "."}:
        return ConfigIssue(place, value, "a value that fits the rest of the run", str(issue))
    hint = "Use `integer` for this axis." if needs_integer else issue.hint
    return ConfigIssue(f"{place}{inside}", issue.value, issue.allowed, hint)


def _of_section(issue: ConfigIssue, section: str, place: str, option: object) -> ConfigIssue:
    """Return an issue of a run as an issue of the option that was set in it."""
    if not issue.path.startswith(f"{section}."):
        return ConfigIssue(place, option, "a choice that fits the rest of the run", str(issue))
    inside = issue.path.removeprefix(section)
    return ConfigIssue(f"{place}{inside}", issue.value, issue.allowed, issue.hint)


def _label(section: str, fields: Mapping[str, object], context: CheckedRun) -> str:
    kind = str(fields.get("kind", context.run.method.kind)) if section == "method" else ""
    return label_of(kind, {f"{section}.{name}": value for name, value in fields.items()}) or "base"


def _joined(parts: Sequence[CheckedValues]) -> CheckedValues:
    return CheckedValues(
        axes=tuple(axis for part in parts for axis in part.axes),
        runs=tuple(run for part in parts for run in part.runs),
        issues=tuple(issue for part in parts for issue in part.issues),
        contexts=tuple(context for part in parts for context in part.contexts),
    )
