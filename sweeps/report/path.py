"""One factor at a time: from the baseline configuration to the choice, as it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clmethods.errors import InvalidConfigError
from sweeps.analysis.effects.axis_effects import Axis, Point, axes_of, points_of
from sweeps.analysis.effects.paths import Gap, Step, gap, path_steps, ranks, shortest_paths
from sweeps.analysis.runs.metric_choice import direction_of
from sweeps.analysis.runs.paired_differences import Comparison, compare, configurations
from sweeps.analysis.runs.replicates import Replicates
from sweeps.report.differences import forest, in_unit, interval_of, numbers, scale_of
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import axis_title, count, metric_name, points, shown, unit
from sweeps.report.model import Column, Figure, Section, Table, table

Found = Mapping[str, Mapping[str, Replicates]]
"""Searched configurations that have runs, by split and config_id."""


def path_section(evidence: Evidence) -> Section:
    """The shortest path that climbs fastest, or what is missing for one."""
    found = _found(evidence)
    run = found["validation"]
    asked = points_of(evidence.trials)
    points_run = {c: point for c, point in asked.items() if c in run}
    if len(points_run) < 2:
        return _section("No path: fewer than two configurations of the search have finished.")
    start, what = start_of(points_run, axes_of(asked))
    end, whose = end_of(evidence, points_run)
    lead = f"From {what}, {run[start].label}, to {whose}, {run[end].label}"
    if start == end:
        return _section(f"No path: {what} is itself {whose}, {run[end].label}.")
    first = next(iter(evidence.sweep.objectives))
    order = ranks(list(run.values()), first, direction_of(first))
    paths = shortest_paths(points_run, start, end, order, 1)
    notes: list[str] = []
    tables: list[tuple[str, Table]] = []
    try:
        lacking = gap(points_run, start, end)
    except InvalidConfigError as error:
        notes += [f"What a path would take is not worked out: {f}." for f in error.issues]
    else:
        if lacking.missing and (not paths or len(paths[0]) > len(lacking.points)):
            tables.append(("Missing on the way", _missing(lacking)))
            notes.append(
                f"`sweeps path DIR {start[:8]} {end[:8]} -o missing.yaml` writes the sweep file "
                "that trains what is missing, and nothing else."
            )
    if not paths:
        steps = f"{count(len(lacking.changes), 'step')}, " if tables else ""
        return _section(f"{lead}: {steps}not all of them were run.", tables=tables, notes=notes)
    figures = [
        _figure(evidence, paths[0], points_run, found, metric, start, end)
        for metric in evidence.sweep.objectives
    ]
    lead += f", in {count(len(paths[0]) - 1, 'step')}, every one of them run."
    whole = _whole(evidence, run, first, start, end)
    if whole is not None:
        lead += f" All together {_told(whole)} in {metric_name(first)}."
    return _section(lead, figures, tables, notes)


def _section(
    lead: str,
    figures: Sequence[Figure] = (),
    tables: Sequence[tuple[str, Table]] = (),
    notes: Sequence[str] = (),
) -> Section:
    return Section(
        id="path",
        title="From the baseline to the choice",
        short="Path",
        lead=lead,
        figures=tuple(figures),
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _found(evidence: Evidence) -> Found:
    """By split: those that have every objective."""
    names = list(evidence.sweep.objectives)
    found = {}
    for split, every in evidence.by_split.items():
        of_split = configurations(every, evidence.readout, split)
        found[split] = {
            one.config_id: one
            for one in of_split
            if one.role == "search" and all(one.metrics[name] for name in names)
        }
    return found


def start_of(run: Mapping[str, Point], axes: Sequence[Axis]) -> tuple[str, str]:
    """The configuration with the baseline value on most axes, of equal ones the first; in words.

    A factor that does not act in it is at its baseline.
    """

    def at_baseline(config_id: str) -> int:
        point = run[config_id]
        return sum(axis.path not in point or point[axis.path] == axis.baseline for axis in axes)

    best = max(run, key=at_baseline)
    if at_baseline(best) == len(axes):
        return best, "the baseline of every axis"
    return best, f"the nearest to the baseline (that of {at_baseline(best)} of {len(axes)} axes)"


def end_of(evidence: Evidence, run: Mapping[str, Point]) -> tuple[str, str]:
    """The choice of `sweeps select` if it was searched, else the best searched one; in words."""
    chosen = evidence.choice.chosen
    if chosen is not None and chosen.replicates.config_id in run:
        return chosen.replicates.config_id, "the choice"
    listed = [row["config_id"] for row in evidence.fronts[evidence.readout]]
    return next(c for c in listed if c in run), "the best searched configuration"


def _whole(
    evidence: Evidence, run: Mapping[str, Replicates], metric: str, start: str, end: str
) -> Comparison | None:
    return compare(run[end], run[start], metric, fixed_orders=evidence.fixed_orders)


def _told(found: Comparison) -> str:
    """A difference with its interval, in words."""
    held = found.interval
    if unit(found.metric) != "%":
        return f"{held.mean:+,.0f}"
    told = f"{points(held.mean)} points"
    if held.low is None or held.high is None:
        return f"{told} (no interval)"
    return f"{told} ({points(held.low)} to {points(held.high)})"


def _figure(
    evidence: Evidence,
    path: Sequence[str],
    run: Mapping[str, Point],
    found: Found,
    metric: str,
    start: str,
    end: str,
) -> Figure:
    steps = {
        split: path_steps(path, run, found[split], metric, fixed_orders=evidence.fixed_orders)
        for split in found
    }
    whole = {
        split: _whole(evidence, held, metric, start, end) if {start, end} <= held.keys() else None
        for split, held in found.items()
    }
    changes = [str(step.change) for step in steps["validation"][1:]]
    labels = [*changes, "all together"]
    compared = [*(step.comparison for step in steps["validation"][1:]), whole["validation"]]
    runs = sorted({one.interval.n for one in compared if one is not None})
    better = "higher is better" if direction_of(metric) == "max" else "lower is better"
    return Figure(
        id=f"path-{metric}",
        title=f"What each step did to {metric_name(metric)}",
        caption=(
            f"Each configuration of the path less the one before, {in_unit(metric)} of validation "
            f"{metric_name(metric)} ({better}), with 95 % intervals; n = "
            f"{'/'.join(map(str, runs)) or 0} pairs of runs, same order and same seed. What a "
            "step is worth depends on where it is made: another sequence divides the same total "
            "otherwise."
        ),
        spec=forest(metric, labels, [interval_of(one) for one in compared]),
        table=_table(metric, labels, steps, compared, whole["test"]),
        terms=("ablation path", "95 % interval", metric_name(metric)),
    )


def _table(
    metric: str,
    labels: Sequence[str],
    steps: Mapping[str, Sequence[Step]],
    compared: Sequence[Comparison | None],
    test_whole: Comparison | None,
) -> Table:
    decided, beside = steps["validation"], steps["test"]
    tested = [*(step.comparison for step in beside[1:]), test_whole]
    rows: list[list[object]] = [
        ["start", _value(metric, decided[0]), *[None] * 5, _value(metric, beside[0]), None]
    ]
    for label, one, test, at, test_at in zip(
        labels, compared, tested, [*decided[1:], None], [*beside[1:], None], strict=True
    ):
        rows.append(
            [
                label,
                _value(metric, at),
                0 if one is None else one.interval.n,
                *numbers(one),
                _value(metric, test_at),
                _with_ends(metric, test),
            ]
        )
    return table(
        [
            "step",
            Column(title=f"validation: {axis_title(metric)}", number=True, term="validation"),
            "#pairs of runs",
            Column(title="difference", number=True, term="matched difference"),
            "#95 %",
            "shown",
            "#can show",
            Column(title=f"test: {axis_title(metric)}", number=True, term="test"),
            "#test difference",
        ],
        rows,
        note="can show: the difference that these replicates show in about 80 % of cases",
    )


def _value(metric: str, step: Step | None) -> str | None:
    """The mean of a configuration with half of its interval."""
    held = None if step is None else step.interval
    return None if held is None else shown(metric, held.mean, held.low, held.high)


def _with_ends(metric: str, found: Comparison | None) -> str | None:
    """A difference with its interval, in one cell."""
    if found is None:
        return None
    scale, held = scale_of(metric), found.interval
    told = f"{scale * held.mean:+.1f}"
    if held.low is None or held.high is None:
        return told
    return f"{told} ({scale * held.low:+.1f} to {scale * held.high:+.1f})"


def _missing(lacking: Gap) -> Table:
    """The settings that no run has, and the step that leads to each."""
    place: list[tuple[Any, dict[str, Any]]] = list(
        zip([None, *lacking.changes], lacking.points, strict=True)
    )
    return table(
        ["after", "setting that was not run"],
        [
            [str(change), ", ".join(f"{path}={value}" for path, value in setting.items())]
            for change, setting in place
            if setting in lacking.missing
        ],
        note=f"the shortest way has {count(len(lacking.changes), 'step')}; the one that lacks "
        "least is named",
    )
