"""Report section on the ablation path from the baseline configuration to the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clmethods.errors import InvalidConfigError
from sweeps.analysis.effects.axis_effects import AnalyzedAxis, Point, searched_points, varied_axes
from sweeps.analysis.effects.paths import (
    PathGap,
    PathStep,
    path_steps,
    shortest_paths,
    signed_means,
    smallest_gap,
)
from sweeps.analysis.trials.metric_choice import direction_of
from sweeps.analysis.trials.paired_differences import Comparison, compare, configurations
from sweeps.analysis.trials.replicates import Replicates
from sweeps.presentation.numbers import ADJUSTMENT, count, signed_points
from sweeps.report.differences import (
    comparison_plot,
    difference_texts,
    difference_unit,
    unit_scale,
)
from sweeps.report.formatting import axis_title, metric_name, shown, unit
from sweeps.report.page_model import Column, Figure, Section, Table, table
from sweeps.report.report_inputs import ReportInputs

BySplit = Mapping[str, Mapping[str, Replicates]]
"""Searched configurations that have runs, by split and config_id."""


def path_section(inputs: ReportInputs) -> Section:
    """Return the section with the best of the shortest paths, or with the missing runs."""
    by_split = _by_split(inputs)
    run = by_split["validation"]
    requested = searched_points(inputs.trials)
    points_run = {c: point for c, point in requested.items() if c in run}
    if len(points_run) < 2:
        return _section("No path: fewer than two configurations of the search have finished.")
    start, start_name = path_start(points_run, varied_axes(requested))
    end, end_name = path_end(inputs, points_run)
    lead = f"From {start_name}, {run[start].label}, to {end_name}, {run[end].label}"
    if start == end:
        return _section(f"No path: {start_name} is {end_name}, {run[end].label}.")
    first = next(iter(inputs.sweep.objectives))
    order = signed_means(list(run.values()), first, direction_of(first))
    paths = shortest_paths(points_run, start, end, order, 1)
    notes: list[str] = []
    tables: list[tuple[str, Table]] = []
    try:
        lacking = smallest_gap(points_run, start, end)
    except InvalidConfigError as error:
        notes += [f"The missing runs of the path are not known: {f}." for f in error.issues]
    else:
        if lacking.missing and (not paths or len(paths[0]) > len(lacking.points)):
            tables.append(("Missing configurations of the path", _missing(lacking)))
            notes.append(
                f"`sweeps path DIR {start[:8]} {end[:8]} -o missing.yaml` writes a sweep file "
                "with only the missing configurations."
            )
    if not paths:
        steps = f"{count(len(lacking.changes), 'step')}, " if tables else ""
        return _section(f"{lead}: {steps}not all of them were run.", tables=tables, notes=notes)
    figures = [
        _figure(inputs, paths[0], points_run, by_split, metric, start, end)
        for metric in inputs.sweep.objectives
    ]
    lead += f", in {count(len(paths[0]) - 1, 'step')}, all of which were run."
    whole = _whole(inputs, run, first, start, end)
    if whole is not None:
        lead += f" In total {_difference(whole)} in {metric_name(first)}."
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


def _by_split(inputs: ReportInputs) -> BySplit:
    """Return the searched configurations that have every objective, by split."""
    names = list(inputs.sweep.objectives)
    by_split = {}
    for split, every in inputs.by_split.items():
        by_split[split] = {
            config.config_id: config
            for config in configurations(every, inputs.readout, split)
            if config.role == "search" and all(config.metrics[name] for name in names)
        }
    return by_split


def path_start(run: Mapping[str, Point], axes: Sequence[AnalyzedAxis]) -> tuple[str, str]:
    """Return (config_id, description) of the configuration with most axes at their baseline.

    Of several, the first is returned. A factor without effect counts as being at its baseline.
    """

    def at_baseline(config_id: str) -> int:
        point = run[config_id]
        return sum(axis.path not in point or point[axis.path] == axis.baseline for axis in axes)

    best = max(run, key=at_baseline)
    if at_baseline(best) == len(axes):
        return best, "the baseline of every axis"
    return best, (
        f"the configuration closest to the baseline (equal on {at_baseline(best)} of "
        f"{len(axes)} axes)"
    )


def path_end(inputs: ReportInputs, run: Mapping[str, Point]) -> tuple[str, str]:
    """Return (config_id, description) of the choice, or of the best searched configuration.

    The choice is that of `sweeps select`; it is used if it belongs to the search.
    """
    chosen = inputs.choice.chosen
    if chosen is not None and chosen.replicates.config_id in run:
        return chosen.replicates.config_id, "the choice"
    listed = [row.config_id for row in inputs.fronts[inputs.readout]]
    return next(c for c in listed if c in run), "the best searched configuration"


def _whole(
    inputs: ReportInputs, run: Mapping[str, Replicates], metric: str, start: str, end: str
) -> Comparison | None:
    return compare(run[end], run[start], metric, fixed_orders=inputs.fixed_orders)


def _difference(comparison: Comparison) -> str:
    """Return a difference with its interval, in words."""
    interval = comparison.interval
    if unit(comparison.metric) != "%":
        return f"{interval.mean:+,.0f}"
    mean = f"{signed_points(interval.mean)} points"
    if interval.low is None or interval.high is None:
        return f"{mean} (no interval)"
    return f"{mean} ({signed_points(interval.low)} to {signed_points(interval.high)})"


def _figure(
    inputs: ReportInputs,
    path: Sequence[str],
    run: Mapping[str, Point],
    by_split: BySplit,
    metric: str,
    start: str,
    end: str,
) -> Figure:
    steps = {
        split: path_steps(path, run, by_split[split], metric, fixed_orders=inputs.fixed_orders)
        for split in by_split
    }
    whole = {
        split: _whole(inputs, runs, metric, start, end) if {start, end} <= runs.keys() else None
        for split, runs in by_split.items()
    }
    changes = [str(step.change) for step in steps["validation"][1:]]
    labels = [*changes, "total"]
    compared = [*(step.comparison for step in steps["validation"][1:]), whole["validation"]]
    pairs = sorted({difference.interval.n for difference in compared if difference is not None})
    better = "higher is better" if direction_of(metric) == "max" else "lower is better"
    return Figure(
        id=f"path-{metric}",
        title=f"Effect of each step on {metric_name(metric)}",
        caption=(
            f"Each configuration of the path minus the previous one, {difference_unit(metric)} of "
            f"validation {metric_name(metric)} ({better}), with 95 % intervals; n = "
            f"{'/'.join(map(str, pairs)) or 0} pairs of runs with the same order and seed. The "
            "effect of a step depends on its position: another sequence of the same steps divides "
            "the total differently."
        ),
        spec=comparison_plot(metric, labels, compared),
        table=_table(metric, labels, steps, compared, whole["test"]),
        terms=("ablation path", "95 % interval", metric_name(metric)),
    )


def _table(
    metric: str,
    labels: Sequence[str],
    steps: Mapping[str, Sequence[PathStep]],
    compared: Sequence[Comparison | None],
    test_whole: Comparison | None,
) -> Table:
    decided, tested = steps["validation"], steps["test"]
    test_differences = [*(step.comparison for step in tested[1:]), test_whole]
    rows: list[list[object]] = [
        ["start", _value(metric, decided[0]), *[None] * 6, _value(metric, tested[0]), None]
    ]
    for label, difference, test, at, test_at in zip(
        labels, compared, test_differences, [*decided[1:], None], [*tested[1:], None], strict=True
    ):
        rows.append(
            [
                label,
                _value(metric, at),
                0 if difference is None else difference.interval.n,
                *difference_texts(difference),
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
            "#adj. p",
            "significant",
            "#detectable",
            Column(title=f"test: {axis_title(metric)}", number=True, term="test"),
            "#test difference",
        ],
        rows,
        note="detectable: difference that these replicates detect with a power of about 80 %; "
        f"{ADJUSTMENT}; that of the total is not adjusted",
    )


def _value(metric: str, step: PathStep | None) -> str | None:
    """Return the mean of a configuration with its interval."""
    interval = None if step is None else step.interval
    return None if interval is None else shown(metric, interval.mean, interval.low, interval.high)


def _with_ends(metric: str, comparison: Comparison | None) -> str | None:
    """Return a difference with its interval, as one cell."""
    if comparison is None:
        return None
    scale, interval = unit_scale(metric), comparison.interval
    mean = f"{scale * interval.mean:+.1f}"
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} ({scale * interval.low:+.1f} to {scale * interval.high:+.1f})"


def _missing(lacking: PathGap) -> Table:
    """Return a table of the settings that no run has, and of the step before each."""
    steps = list(zip([None, *lacking.changes], lacking.points, strict=True))
    return table(
        ["after", "setting that was not run"],
        [
            [str(change), ", ".join(f"{path}={value}" for path, value in setting.items())]
            for change, setting in steps
            if setting in lacking.missing
        ],
        note=f"shortest path: {count(len(lacking.changes), 'step')}; of several, the one with the "
        "fewest missing configurations is shown",
    )
