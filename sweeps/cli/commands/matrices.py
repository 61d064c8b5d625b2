"""`sweeps matrices`: importance, freezing and drift of the weight matrices."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.presentation.numbers import percent_interval, verdict
from sweeps.presentation.text_tables import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from sweeps.analysis.matrices.freezing_effect import FreezingPair
    from sweeps.analysis.matrices.matrix_history import MatrixRuns

SHADES = " ░▒▓█"
"""Characters for the values of a map, from the lowest to the highest."""
MAPS = 2
"""Number of configurations whose maps are drawn if none is requested."""
WIDE = 140
"""Assumed number of columns if the output is no terminal."""


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--configuration",
    metavar="LABEL|ID",
    help="Configuration whose maps are drawn. Default: the first that freezes matrices.",
)
@exit_on_user_error
def matrices(directory: str, configuration: str | None) -> None:
    """Show importance, freezing and drift of every weight matrix.

    A matrix is a (block, site) pair, such as (3, "q").
    """
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.results import read_table
    from sweeps.search.requested_results import read_results

    stored = open_stored_sweep(directory)
    results = read_results(stored.sweep, stored.objects)
    read = read_table(stored.objects, stored.sweep.name, "matrices")
    note_left_out((*results.left_out, *read.damaged))
    for warning in dict.fromkeys((*results.warnings, *read.warnings)):
        click.echo(warning, err=True)
    click.echo(matrices_text(results.trials, read.table, configuration, all_orders(stored.sweep)))


def matrices_text(
    trials: pa.Table, table: pa.Table, configuration: str | None, fixed_orders: bool
) -> str:
    """Return the maps of the chosen configurations, then the effects of freezing, pair by pair."""
    from sweeps.analysis.matrices.freezing_effect import freezing_pairs
    from sweeps.analysis.matrices.matrix_history import matrix_runs

    runs = matrix_runs(trials, table)
    if not runs:
        return "no finished trial yet that reports its matrices"
    pairs = freezing_pairs(trials, runs)
    chosen = _chosen(runs, pairs, configuration)
    parts = [_maps(one, fixed_orders) for one in chosen]
    parts.append(_effect(pairs, fixed_orders))
    parts.append(_association(runs, fixed_orders))
    parts.append(
        "drift: mean of ||E_t - E_j|| / ||E_j|| over the earlier tasks j, at the end of the run\n"
        "importance: share of the matrices with a lower score, over the tasks after which all "
        "were scored\nfrozen from: mean number of the first stage trained with the matrix frozen, "
        "where it froze\n± half of the 95 % interval over orders and seeds; differences are "
        "paired: same order, same seed"
    )
    return "\n\n".join(part for part in parts if part)


def _chosen(
    runs: Sequence[MatrixRuns], pairs: Sequence[FreezingPair], asked: str | None
) -> list[MatrixRuns]:
    if asked is None:
        freezing = [pair.frozen for pair in pairs] or [one for one in runs if one.frozen.any()]
        return (freezing or list(runs))[:MAPS]
    found = [one for one in runs if asked in {one.label, one.config_id}]
    if not found:
        labels = [one.label for one in runs]
        raise InvalidConfigError(
            [ConfigIssue("--configuration", asked, f"one of {labels}", nearest(asked, labels))]
        )
    return found


def _maps(one: MatrixRuns, fixed_orders: bool) -> str:
    from sweeps.analysis.matrices.matrix_history import matrix_table

    rows = matrix_table([one], fixed_orders=fixed_orders).to_pylist()
    sites = list(dict.fromkeys(site.site for site in one.sites))
    at = {(row["block"], row["site"]): row for row in rows}
    maps: list[tuple[str, str, Callable[[float], str]]] = [
        ("importance", "importance %", lambda v: f"{100 * v:.0f}"),
        ("frozen_from", "frozen from stage", lambda v: f"{v:.1f}"),
        ("drift", "drift %", lambda v: f"{100 * v:.1f}"),
    ]
    drawn = [_map(at, sites, name, heading, shown) for name, heading, shown in maps]
    lines = [f"{one.label}, {len(one.cells)} runs of {one.frozen.shape[1]} tasks"]
    beside = ["   ".join(parts).rstrip() for parts in zip(*drawn, strict=True)]
    if max(map(len, beside)) <= get_terminal_size((WIDE, 0)).columns:
        return "\n".join(lines + beside)
    return "\n".join(lines + [line.rstrip() for drawing in drawn for line in drawing])


def _map(
    at: dict[tuple[int, str], dict[str, Any]],
    sites: Sequence[str],
    name: str,
    heading: str,
    shown: Callable[[float], str],
) -> list[str]:
    """Return one map as lines of equal length: a row per block, a column per site."""
    values = [row[name] for row in at.values() if row[name] is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    blocks = sorted({block for block, _ in at})
    lines = [heading, "block" + "".join(f"{site:>5} " for site in sites)]
    for block in blocks:
        cells = [at.get((block, site), {}).get(name) for site in sites]
        lines.append(f"{block:>5}" + "".join(_cell(v, low, high, shown) for v in cells))
    width = max(len(line) for line in lines)
    return [line.ljust(width) for line in lines]


def _cell(value: float | None, low: float, high: float, shown: Callable[[float], str]) -> str:
    if value is None:
        return f"{NOTHING:>5} "
    share = (value - low) / (high - low) if high > low else 0.0
    shade = SHADES[min(int(share * len(SHADES)), len(SHADES) - 1)]
    return f"{shown(value):>5}{shade}"


def _effect(pairs: Sequence[FreezingPair], fixed_orders: bool) -> str:
    from sweeps.analysis.matrices.freezing_effect import drift_differences
    from sweeps.analysis.trials.paired_differences import significant_of_list
    from sweeps.presentation.text_tables import render_table

    heading = "What does freezing do to the drift? (percent and percentage points)"
    differences = [
        found for pair in pairs for found in drift_differences(pair, fixed_orders=fixed_orders)
    ]
    shown = significant_of_list([found.difference for found in differences])
    rows = [
        {
            "configuration": found.pair.frozen.label,
            "matrices": found.group,
            "number": f"{found.matrices:.1f}",
            "with": percent_interval(found.with_freezing, 1),
            "without": percent_interval(found.without, 1),
            "difference": percent_interval(found.difference, 1, "+"),
            "shown": verdict(significant),
        }
        for found, significant in zip(differences, shown, strict=True)
    ]
    if not rows:
        return (
            f"{heading}\nnot known: no configuration that freezes ran beside the same one with "
            "method.importance_threshold: 0"
        )
    return "\n".join([heading, render_table(rows)])


def _association(runs: Sequence[MatrixRuns], fixed_orders: bool) -> str:
    """Return the association of importance and drift for configurations without freezing.

    With freezing, the important matrices are forced to stop.
    """
    from sweeps.analysis.matrices.freezing_effect import importance_and_drift

    lines = []
    for one in runs:
        found = None if one.frozen.any() else importance_and_drift(one, fixed_orders=fixed_orders)
        if found is not None:
            spread = "no interval"
            if found.low is not None and found.high is not None:
                spread = f"95 % {max(found.low, -1.0):+.2f} to {min(found.high, 1.0):+.2f}"
            lines.append(f"  {one.label}: {found.mean:+.2f}, {spread}")
    if not lines:
        return ""
    return "\n".join(
        [
            "Do important matrices move more, without freezing? (Spearman's rank correlation)",
            *lines,
        ]
    )
