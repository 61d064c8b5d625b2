"""What a sweep trains: axes and baselines tried on the base run, then all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clmethods.config.canonical import canonical_json
from clmethods.config.faults import Fault, InvalidConfigError, refuse
from clmethods.config.run import RunConfig
from sweeps.spec.orders import OrderDesign
from sweeps.spec.runs import (
    CheckedRun,
    Sections,
    axis_fault,
    check_run,
    differences,
    merged,
    value_at,
    with_values,
)
from sweeps.spec.space import Algorithm, Axis, parse_axis, points
from sweeps.spec.sweep import Configuration, Resources, Role, label_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The outcome of trying values one by one."""

    axes: tuple[Axis, ...] = ()
    """With values in normal form, so that `1` and `1.0` are one value."""
    runs: tuple[RunConfig, ...] = ()
    """Runs without a fault of their own."""
    faults: tuple[Fault, ...] = ()


def try_axes(search: Mapping[str, Any], base: CheckedRun, algorithm: str | None) -> Tried:
    """Every value of every axis by itself on the base run; faults of the base are not repeated."""
    axes: list[Axis] = []
    runs: list[RunConfig] = []
    faults: list[Fault] = []
    for path, written in search.items():
        if path.startswith("method.") and not base.kind_known:
            continue
        fault = axis_fault(path, written, base.run)
        if fault is not None:
            faults.append(fault)
            continue
        try:
            axis = parse_axis(path, written, algorithm)
        except InvalidConfigError as error:
            faults.extend(error.faults)
            continue
        values: list[Any] = []
        for where, value in axis.probes():
            checked = check_run(with_values(base.sound, {path: value}))
            new = [fault for fault in checked.faults if fault not in base.faults]
            faults.extend(_of_value(fault, where, value, axis) for fault in new)
            if new:
                continue
            normal = value_at(checked.run, path) if axis.scale == "list" else value
            if canonical_json(normal) in map(canonical_json, values):
                faults.append(Fault(where, value, "each value once"))
            values.append(normal)
            runs.append(checked.run)
        axes.append(Axis(path=path, scale=axis.scale, values=tuple(values)))
    return Tried(axes=tuple(axes), runs=tuple(runs), faults=tuple(faults))


def try_baselines(baselines: Sequence[Sections], base: CheckedRun) -> Tried:
    """Every baseline merged over the base run; faults of the base are not repeated."""
    runs: list[RunConfig] = []
    faults: list[Fault] = []
    for i, over in enumerate(baselines):
        if "kind" not in over.get("method", {"kind": ""}) and not base.kind_known:
            continue
        checked = check_run(merged(base.sound, over))
        new = [fault for fault in checked.faults if fault not in base.faults]
        faults.extend(fault.under(f"baselines[{i}]") for fault in new)
        runs.extend([] if new else [checked.run])
    return Tried(runs=tuple(runs), faults=tuple(faults))


def run_faults(
    runs: Sequence[RunConfig], orders: OrderDesign, resources: Resources
) -> list[Fault]:
    """What the rest of the sweep does not give the runs: orders for their T, a GPU."""
    faults: list[Fault] = []
    for num_tasks in sorted({run.stream.tasks for run in runs if not run.method.ORDER_FREE}):
        try:
            orders.orders(num_tasks)
        except InvalidConfigError as error:
            faults.extend(error.faults)
    if resources.gpu == 0 and any(run.train.device == "cuda" for run in runs):
        law = "greater than 0, as train.device is cuda"
        mend = "A trial sees only the GPUs that it asks for."
        faults.append(Fault("resources.gpu", resources.gpu, law, mend))
    return faults


def searched(
    axes: Sequence[Axis], algorithm: Algorithm, base: CheckedRun
) -> tuple[Configuration, ...]:
    """The points of the search. Values that are sound alone may break a law together.

    Raises `InvalidConfigError`: each broken law once, with the first point that breaks it.
    """
    found: dict[str, Configuration] = {}
    faults: dict[str, Fault] = {}
    varying = {axis.path for axis in axes if axis.varies}
    for point in points(axes, algorithm):
        checked = check_run(with_values(base.sound, point))
        for fault in checked.faults:
            faults.setdefault(
                str(fault), Fault("search", point, "values that fit together", str(fault))
            )
        run = checked.run
        factors = {path: value_at(run, path) for path in point}
        shown = {path: value for path, value in factors.items() if path in varying}
        label = label_of(run.method.kind, shown)
        role: Role = "reference" if run.method.REFERENCE else "search"
        found.setdefault(
            run.trial_id, Configuration(label=label, role=role, factors=factors, run=run)
        )
    refuse(faults.values())
    return tuple(found.values())


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


def _of_value(fault: Fault, where: str, value: Any, axis: Axis) -> Fault:
    """A fault of the run that has the value, told as a fault of the value."""
    inside = fault.path.removeprefix(axis.path)
    if not fault.path.startswith(axis.path) or inside[:1] not in {"", "[", "."}:
        return Fault(where, value, "a value that fits the rest of the run", str(fault))
    mend = fault.mend
    if axis.scale in {"uniform", "log"} and fault.allowed.startswith("a whole number"):
        mend = "Use `integer` for this axis."
    return Fault(f"{where}{inside}", fault.value, fault.allowed, mend)
