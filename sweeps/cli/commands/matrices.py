"""`sweeps matrices`: importance, freezing and drift of the weight matrices."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.errors import nearest
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import json_option, print_document
from sweeps.presentation.numbers import correlation_range, count, percent_interval, verdict
from sweeps.presentation.text_tables import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from sweeps.analysis.matrices.freezing_effect import FreezingPair
    from sweeps.analysis.matrices.matrix_history import MatrixRuns
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block, Cell, Document, Row
    from sweeps.statistics.intervals import Interval

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
@json_option
@exit_on_user_error
def matrices(directory: str, configuration: str | None, as_json: bool) -> None:
    """Show importance, freezing and drift of every weight matrix.

    A matrix is a (block, site) pair, such as (3, "q").
    """
    from sweeps.results import read_table
    from sweeps.search.requested_results import read_results

    stored = open_stored_sweep(directory)
    results = read_results(stored.sweep, stored.objects)
    read = read_table(stored.objects, stored.sweep.name, "matrices")
    note_left_out((*results.left_out, *read.damaged))
    warnings = tuple(dict.fromkeys((*results.warnings, *read.warnings)))
    for warning in () if as_json else warnings:
        click.echo(warning, err=True)
    document = matrices_document(stored.sweep, results.trials, read.table, configuration, warnings)
    print_document(document, as_json)


def matrices_document(
    sweep: Sweep,
    trials: pa.Table,
    table: pa.Table,
    configuration: str | None,
    warnings: Sequence[str] = (),
) -> Document:
    """Return the maps of the chosen configurations, then the effects of freezing, pair by pair."""
    from sweeps.analysis.matrices.freezing_effect import freezing_pairs
    from sweeps.analysis.matrices.matrix_history import matrix_runs
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.presentation.documents import Document

    fixed = all_orders(sweep)
    runs = matrix_runs(trials, table)
    blocks: list[Block] = []
    notes = ["no finished trial yet that reports its matrices"]
    if runs:
        pairs = freezing_pairs(trials, runs)
        chosen = _chosen(runs, pairs, configuration)
        blocks = [_maps(one, number, fixed) for number, one in enumerate(chosen, 1)]
        blocks += [_effect(pairs, fixed), _association(runs, fixed)]
        notes = [
            "drift: mean of ||E_t - E_j|| / ||E_j|| over the earlier tasks j, at the end of the "
            "run",
            "importance: share of the matrices with a lower score, over the tasks after which all "
            "were scored",
            "frozen from: mean number of the first stage trained with the matrix frozen, where it "
            "froze",
            "± half of the 95 % interval over orders and seeds; differences are paired: same "
            "order, same seed",
        ]
    facts = {"sweep": sweep.name}
    return Document(command="matrices", facts=facts, blocks=blocks, notes=notes, warnings=warnings)


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


def _maps(one: MatrixRuns, number: int, fixed_orders: bool) -> Block:
    from sweeps.analysis.matrices.matrix_history import matrix_table
    from sweeps.presentation.documents import Block

    rows = matrix_table([one], fixed_orders=fixed_orders).to_pylist()
    sites = list(dict.fromkeys(site.site for site in one.sites))
    at = {(row["block"], row["site"]): row for row in rows}
    maps: list[tuple[str, str, Callable[[float], str]]] = [
        ("importance", "importance %", lambda v: f"{100 * v:.0f}"),
        ("frozen_from", "frozen from stage", lambda v: f"{v:.1f}"),
        ("drift", "drift %", lambda v: f"{100 * v:.1f}"),
    ]
    drawn = [_map(at, sites, name, heading, shown) for name, heading, shown in maps]
    beside = ["   ".join(parts).rstrip() for parts in zip(*drawn, strict=True)]
    if max(map(len, beside)) > get_terminal_size((WIDE, 0)).columns:
        beside = [line.rstrip() for drawing in drawn for line in drawing]
    of = f"{count(len(one.cells), 'run')} of {count(one.frozen.shape[1], 'task')}"
    return Block(
        key=f"map_{number}",
        title=f"{one.label}, {of}",
        facts={"config_id": one.config_id, "label": one.label, "runs": len(one.cells)},
        rows=rows,
        drawn="\n".join(beside),
    )


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


def _effect(pairs: Sequence[FreezingPair], fixed_orders: bool) -> Block:
    from sweeps.analysis.matrices.freezing_effect import drift_differences
    from sweeps.analysis.trials.paired_differences import significant_of_list
    from sweeps.presentation.documents import Block, Cell, Column

    heading = "What does freezing do to the drift? (percent and percentage points)"
    differences = [
        found for pair in pairs for found in drift_differences(pair, fixed_orders=fixed_orders)
    ]
    if not differences:
        reason = (
            "not known: no configuration that freezes ran beside the same one with "
            "method.importance_threshold: 0"
        )
        return Block(key="freezing", title=heading, notes=[reason])
    shown = significant_of_list([found.difference for found in differences])
    return Block(
        key="freezing",
        title=heading,
        columns=[
            Column("label", "configuration"),
            Column("group", "matrices"),
            *(
                Column(key, key, number=True)
                for key in ("number", "with", "without", "difference")
            ),
            Column("significant", "shown"),
        ],
        rows=[
            {
                "config_id": found.pair.frozen.config_id,
                "label": found.pair.frozen.label,
                "group": found.group,
                "number": Cell(found.matrices, f"{found.matrices:,.1f}".removesuffix(".0")),
                "with": interval_cell(found.with_freezing),
                "without": interval_cell(found.without),
                "difference": interval_cell(found.difference, "+"),
                "significant": Cell(significant, verdict(significant)),
            }
            for found, significant in zip(differences, shown, strict=True)
        ],
    )


def interval_cell(interval: Interval | None, sign: str = "") -> Cell:
    """Return a mean in percent with the half-width of its interval; `sign` is a format flag."""
    from sweeps.presentation.documents import Cell

    text = percent_interval(interval, 1, sign)
    if interval is None:
        return Cell(None, text)
    return Cell({"mean": interval.mean, "low": interval.low, "high": interval.high}, text)


def _association(runs: Sequence[MatrixRuns], fixed_orders: bool) -> Block:
    """Return the association of importance and drift for configurations without freezing.

    With freezing, the important matrices are forced to stop.
    """
    from sweeps.analysis.matrices.freezing_effect import importance_and_drift
    from sweeps.presentation.documents import Block, Cell, Column

    rows: list[Row] = []
    for one in runs:
        found = None if one.frozen.any() else importance_and_drift(one, fixed_orders=fixed_orders)
        if found is not None:
            spread = "no interval"
            if found.low is not None and found.high is not None:
                spread = correlation_range(found.low, found.high)
            rows.append(
                {
                    "label": one.label,
                    "correlation": Cell(found.mean, f"{found.mean:+.2f}"),
                    "range": Cell({"low": found.low, "high": found.high}, spread),
                }
            )
    return Block(
        key="association",
        title="Do important matrices move more, without freezing? (Spearman's rank correlation)"
        if rows
        else "",
        columns=[
            Column("label", "configuration"),
            Column("correlation", "correlation", number=True),
            Column("range", "95 %", number=True),
        ],
        rows=rows,
    )
