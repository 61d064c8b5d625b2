"""`sweeps compare`: paired comparison of two sweeps, or of two versions of the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from clmethods.config.readout import readout_notes
from clmethods.errors import refuse, require
from sweeps.analysis.trials.metric_choice import Results, chosen_readout, direction_of
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import json_option, print_document, split_option
from sweeps.presentation.numbers import count
from sweeps.search.requested_results import read_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.analysis.trials.replicates import Cell, Replicates
    from sweeps.analysis.trials.sweep_comparison import MatchComparison, SweepMatching
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block, Document, Row

NAMED = 5
"""Maximum number of runs and fields named in one line; the others are counted."""


class _Side(NamedTuple):
    """One of the two sweeps."""

    directory: str
    sweep: Sweep
    results: Results


@click.command()
@click.argument("first", metavar="DIR1")
@click.argument("second", metavar="DIR2")
@click.option("--metric", metavar="NAME", multiple=True, help="Default: every objective of DIR1.")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of DIR1.")
@split_option
@json_option
@exit_on_user_error
def compare(
    first: str,
    second: str,
    metric: tuple[str, ...],
    readout: str | None,
    split: str,
    as_json: bool,
) -> None:
    """Compare two sweeps, paired by configuration, order and seed.

    DIR1 and DIR2 hold two sweeps, or one sweep that two versions of the code ran on two storages.
    Configurations are matched by their settings, otherwise by their label. Unmatched ones are
    listed.
    """
    sides = [_read(directory) for directory in (first, second)]
    for side in sides:
        note_left_out(f"{side.directory}: {key}" for key in side.results.left_out)
        for warning in () if as_json else side.results.warnings:
            click.echo(warning, err=True)
    name = chosen_readout(sides[0].sweep, readout)
    theirs = [r.readout_id for r in sides[1].sweep.readouts]
    refuse([require(name in theirs, "--readout", name, f"one of {theirs}, which DIR2 has")])
    metrics = list(metric or sides[0].sweep.objectives)
    print_document(_document(sides, metrics, name, split), as_json)


def _read(directory: str) -> _Side:
    stored = open_stored_sweep(directory)
    return _Side(directory, stored.sweep, read_results(stored.sweep, stored.objects))


def _document(
    sides: Sequence[_Side], metrics: Sequence[str], readout: str, split: str
) -> Document:
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.analysis.trials.sweep_comparison import (
        compare_match,
        match_configurations,
        runs_by_configuration,
    )
    from sweeps.presentation.documents import Block, Document
    from sweeps.presentation.numbers import ADJUSTMENT

    found = [
        configurations(
            replicates(summarize(side.results.trials, side.results.evals, split), metrics),
            readout,
            split,
        )
        for side in sides
    ]
    empty = [side.directory for side, those in zip(sides, found, strict=True) if not those]
    blocks = [_sweeps_block(sides, [f"{name} has no finished trial yet" for name in empty])]
    notes: list[str] = []
    if not empty:
        runs = [runs_by_configuration(side.results.trials) for side in sides]
        matching = match_configurations(found[0], found[1], runs[0], runs[1])
        fixed = all(all_orders(side.sweep) for side in sides)
        for metric in metrics:
            compared = [compare_match(one, metric, fixed_orders=fixed) for one in matching.matches]
            blocks.append(_metric_block(metric, compared, matching, fixed))
        unmatched = {
            f"only_{number}": [one.label for one in those]
            for number, those in ((1, matching.only_first), (2, matching.only_second))
        }
        blocks.append(Block(key="unmatched", notes=_partnerless(matching), facts=unmatched))
        notes = [
            f"readout `{readout}`, {split} images; difference: 2 less 1, paired: same order, same "
            "seed",
            f"{ADJUSTMENT}; that of `mean of all` is not adjusted; shown: adj. p below 0.05",
            *(f"`{readout}`: {note}" for note in readout_notes(readout)),
        ]
    return Document(
        command="compare",
        facts={"readout": readout, "split": split, "metrics": list(metrics)},
        blocks=blocks,
        notes=notes,
        warnings=[warning for side in sides for warning in side.results.warnings],
    )


def _sweeps_block(sides: Sequence[_Side], notes: Sequence[str]) -> Block:
    from sweeps.analysis.trials.sweep_comparison import code_versions
    from sweeps.presentation.documents import Block, Cell, Column

    rows: list[Row] = []
    for number, side in enumerate(sides, 1):
        versions = code_versions(side.results.trials)
        code = ", ".join(f"{version} ({count(n, 'trial')})" for version, n in versions.items())
        rows.append(
            {
                "number": number,
                "directory": side.directory,
                "sweep": side.sweep.name,
                "code": Cell(dict(versions), code or "unknown"),
            }
        )
    columns = [Column("number", "#", number=True)]
    columns += [Column(key, key) for key in ("directory", "sweep", "code")]
    return Block(key="sweeps", columns=columns, rows=rows, notes=notes)


def _metric_block(
    metric: str, compared: Sequence[MatchComparison], matching: SweepMatching, fixed: bool
) -> Block:
    from sweeps.analysis.trials.paired_differences import adjusted
    from sweeps.analysis.trials.sweep_comparison import compare_all
    from sweeps.presentation.difference_columns import difference_cells, difference_columns
    from sweeps.presentation.documents import Block, Cell, Column, value_cell

    direction = direction_of(metric)
    heading = f"{metric} ({'higher' if direction == 'max' else 'lower'} is better)"
    if not compared:
        return Block(key=metric, title=heading, notes=["no configuration has a partner"])
    corrected = adjusted([one.comparison for one in compared])
    rows: list[Row] = [
        {
            "config_id": one.match.first.config_id,
            "label": Cell(
                one.match.first.label,
                one.match.first.label + (" *" if one.match.differences else ""),
            ),
            "first": value_cell(metric, _mean(one.match.first, metric)),
            "second": value_cell(metric, _mean(one.match.second, metric)),
            "pairs": 0 if comparison is None else comparison.interval.n,
            **difference_cells(comparison),
        }
        for one, comparison in zip(compared, corrected, strict=True)
    ]
    every = compare_all(matching.matches, metric, fixed_orders=fixed)
    if every is not None:
        blank = Cell(None, "")
        rows.append(
            {
                "config_id": None,
                "label": "mean of all",
                "first": blank,
                "second": blank,
                "pairs": every.interval.n,
                **difference_cells(every),
            }
        )
    return Block(
        key=metric,
        title=heading,
        columns=[
            Column("label", "configuration"),
            Column("first", "1", number=True),
            Column("second", "2", number=True),
            Column("pairs", "pairs", number=True),
            *difference_columns(),
        ],
        rows=rows,
        notes=[
            f"only in {number}: {one.match.first.label}, {_cells(cells)}"
            for one in compared
            for number, cells in ((1, one.only_first), (2, one.only_second))
            if cells
        ],
    )


def _mean(one: Replicates, metric: str) -> float | None:
    from sweeps.analysis.trials.replicates import sample

    values = sample(one, metric).values
    return float(values.mean()) if len(values) else None


def _partnerless(matching: SweepMatching) -> list[str]:
    lines = []
    for one in matching.matches:
        if one.differences:
            differences = "; ".join(map(str, one.differences[:NAMED]))
            more = len(one.differences) - NAMED
            lines.append(
                f"* {one.first.label} is matched by its label, its runs differ in {differences}"
                + (f" and {more} more" if more > 0 else "")
            )
    for number, those in ((1, matching.only_first), (2, matching.only_second)):
        if those:
            lines.append(f"only in {number}: {', '.join(one.label for one in those)}")
    return lines


def _cells(cells: Sequence[Cell]) -> str:
    names = [f"order {order} seed {_seed(seed)}" for order, seed in cells[:NAMED]]
    more = len(cells) - NAMED
    return "; ".join(names) + (f" and {more} more runs" if more > 0 else "")


def _seed(seed: object) -> str:
    return str(seed[0]) if isinstance(seed, tuple) else str(seed)
