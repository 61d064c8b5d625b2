"""`sweeps effects`: effects of each axis on each objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clmethods.config.readout import readout_notes
from clmethods.errors import refuse, require
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import split_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeps.analysis.effects.axis_effects import (
        AnalyzedAxis,
        Point,
        ValueEffect,
        ValueInteraction,
    )
    from sweeps.analysis.trials.paired_differences import Comparison
    from sweeps.analysis.trials.replicates import Replicates

SHOWN = 10
"""Maximum number of interactions shown, the largest first."""


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--metric", metavar="NAME", multiple=True, help="Default: every objective.")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of the sweep.")
@click.option(
    "--baseline",
    metavar="PATH=VALUE",
    multiple=True,
    help="Value to compare the others of an axis with. Default: the lowest number or first value.",
)
@split_option
@exit_on_user_error
def effects(
    directory: str,
    metric: tuple[str, ...],
    readout: str | None,
    baseline: tuple[str, ...],
    split: str,
) -> None:
    """Show the effects, interactions and importance of all axes."""
    from sweeps.analysis.effects.search_effects import varied_search
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.analysis.trials.replicates import without_runs
    from sweeps.cli.text.front_table import left_out_text
    from sweeps.presentation.numbers import ADJUSTMENT
    from sweeps.search.requested_results import read_results

    stored = open_stored_sweep(directory)
    sweep = stored.sweep
    results = read_results(sweep, stored.objects)
    note_left_out(results.left_out)
    baselines = dict(_pair(text) for text in baseline)
    found, points, axes, name, metrics = varied_search(
        sweep, results, metric, readout, split, baselines
    )
    for warning in results.warnings:
        click.echo(warning, err=True)
    if not found:
        click.echo("no finished trial of the search yet")
        return
    if not axes:
        click.echo("no axis of the search takes more than one value: there is no effect to see")
        return
    for objective in metrics:
        click.echo(_text(found, points, axes, objective, all_orders(sweep)))
    click.echo(
        f"\nreadout `{name}`, {split} images, percentage points where a metric is a fraction; "
        "each difference is paired:\nsame order, same seed, all other axes equal\n"
        f"{ADJUSTMENT}; shown: adj. p below 0.05"
    )
    for note in [
        *left_out_text(without_runs(found, metrics)),
        *(f"`{name}`: {note}" for note in readout_notes(name)),
    ]:
        click.echo(note)


def _pair(text: str) -> tuple[str, str]:
    path, _, value = text.partition("=")
    refuse([require(bool(path and value), "--baseline", text, "PATH=VALUE, as method.rank=4")])
    return path, value


def _text(
    found: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
    fixed: bool,
) -> str:
    from sweeps.analysis.effects.axis_effects import axes_to_compare, axis_effects, interactions
    from sweeps.analysis.effects.axis_importance import axis_importance
    from sweeps.analysis.trials.metric_choice import direction_of
    from sweeps.presentation.text_tables import render_table

    asked, many = axes_to_compare(axes)
    singles = axis_effects(found, points, asked, metric, fixed_orders=fixed)
    doubles = interactions(found, points, asked, metric, fixed_orders=fixed)
    known = [one for one in doubles if one.comparison is not None]
    known.sort(key=lambda one: -abs(one.comparison.interval.mean if one.comparison else 0.0))
    direction = direction_of(metric)
    lines = [
        "",
        f"{metric} ({'higher' if direction == 'max' else 'lower'} is better)",
        *([render_table([_single(one) for one in singles])] if singles else []),
        *(
            f"{axis.path}: not compared value by value, it has {len(axis.values):,}"
            for axis in axes
            if axis.path in many
        ),
    ]
    missing = [one for one in singles if one.pairs == 0]
    if missing:
        lines.append(
            f"{len(missing)} of {len(singles)} values have no matched pair: no two configurations "
            "differ in them alone; a grid has them all"
        )
    if known:
        shown = known[:SHOWN]
        lines.append(f"Interactions, the {len(shown)} largest of {len(known)}")
        lines.append(render_table([_double(one) for one in shown]))
    shares = axis_importance(found, points, axes, metric, direction)
    if isinstance(shares, str):
        lines.append(f"Importance: not estimated, {shares}")
    else:
        rows = [
            {"axis": axis.path}
            | {name: f"{share.get(axis.path, 0.0):.0%}" for name, share in shares.items()}
            for axis in axes
        ]
        of = sum(one.config_id in points and bool(one.metrics[metric]) for one in found)
        title = f"Importance over the search, n = {of:,} configurations (no intervals)"
        lines += [title, render_table(rows)]
    return "\n".join(lines)


def _single(one: ValueEffect) -> dict[str, str | int]:
    return {
        "axis": one.path,
        "value": str(one.value),
        "against": str(one.baseline),
        "pairs": one.pairs,
        **difference_columns(one.comparison),
    }


def _double(one: ValueInteraction) -> dict[str, str]:
    first, second = one.first, one.second
    return {
        "effect of": f"{first.path} {first.value}",
        "changes with": f"{second.path} {second.value}",
        "by": difference_columns(one.comparison)["difference"],
        "95 %": difference_columns(one.comparison)["95 %"],
        "adj. p": difference_columns(one.comparison)["adj. p"],
        "shown": difference_columns(one.comparison)["shown"],
    }


def difference_columns(found: Comparison | None) -> dict[str, str]:
    """Return a paired difference as columns: mean, interval, p value and verdict, or dashes."""
    from sweeps.presentation.numbers import p_value
    from sweeps.presentation.text_tables import FRACTIONS, NOTHING

    if found is None:
        return dict.fromkeys(["difference", "95 %", "adj. p", "shown", "can show"], NOTHING)
    scale = 100.0 if found.metric in FRACTIONS else 1.0
    low, high = found.interval.low, found.interval.high
    ends = "no interval"
    if low is not None and high is not None:
        ends = f"{scale * low:+.1f} to {scale * high:+.1f}"
    can = found.detectable_difference
    return {
        "difference": f"{scale * found.interval.mean:+.1f}",
        "95 %": ends,
        "adj. p": p_value(found.p_value if found.adjusted is None else found.adjusted),
        "shown": "yes" if found.significant else "no",
        "can show": NOTHING if can is None else f"{scale * can:.1f}",
    }
