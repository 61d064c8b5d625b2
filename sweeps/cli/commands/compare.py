"""`sweeps compare`: paired comparison of two sweeps, or of two versions of the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from clmethods.config.readout import readout_notes
from clmethods.errors import refuse, require
from sweeps.analysis.trials.metric_choice import Results, chosen_readout, direction_of
from sweeps.cli.commands.effects import difference_columns
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.shared_options import split_option
from sweeps.search.requested_results import read_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeps.analysis.trials.replicates import Cell, Replicates
    from sweeps.analysis.trials.sweep_comparison import MatchComparison, SweepMatching
    from sweeps.definition import Sweep

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
@exit_on_user_error
def compare(
    first: str, second: str, metric: tuple[str, ...], readout: str | None, split: str
) -> None:
    """Compare two sweeps, paired by configuration, order and seed.

    DIR1 and DIR2 hold two sweeps, or one sweep that two versions of the code ran on two storages.
    Configurations are matched by their settings, otherwise by their label. Unmatched ones are
    listed.
    """
    sides = [_read(directory) for directory in (first, second)]
    for side in sides:
        note_left_out(f"{side.directory}: {key}" for key in side.results.left_out)
        for warning in side.results.warnings:
            click.echo(warning, err=True)
    name = chosen_readout(sides[0].sweep, readout)
    theirs = [r.readout_id for r in sides[1].sweep.readouts]
    refuse([require(name in theirs, "--readout", name, f"one of {theirs}, which DIR2 has")])
    click.echo(_text(sides, list(metric or sides[0].sweep.objectives), name, split))


def _read(directory: str) -> _Side:
    stored = open_stored_sweep(directory)
    return _Side(directory, stored.sweep, read_results(stored.sweep, stored.objects))


def _text(sides: Sequence[_Side], metrics: Sequence[str], readout: str, split: str) -> str:
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.analysis.trials.sweep_comparison import (
        code_versions,
        compare_match,
        match_configurations,
        runs_by_configuration,
    )
    from sweeps.presentation.numbers import ADJUSTMENT

    found = [
        configurations(
            replicates(summarize(side.results.trials, side.results.evals, split), metrics),
            readout,
            split,
        )
        for side in sides
    ]
    lines = []
    for number, (side, those) in enumerate(zip(sides, found, strict=True), 1):
        versions = code_versions(side.results.trials)
        code = ", ".join(f"{version} ({n} trials)" for version, n in versions.items())
        lines.append(f"{number}  {side.directory}: {side.sweep.name}, code {code or 'unknown'}")
        if not those:
            return "\n".join([*lines, f"{side.directory} has no finished trial yet"])
    runs = [runs_by_configuration(side.results.trials) for side in sides]
    matching = match_configurations(found[0], found[1], runs[0], runs[1])
    fixed = all(all_orders(side.sweep) for side in sides)
    for metric in metrics:
        compared = [compare_match(one, metric, fixed_orders=fixed) for one in matching.matches]
        lines += ["", *_metric_lines(metric, compared, matching, fixed)]
    lines += ["", *_partnerless(matching)]
    lines.append(
        f"readout `{readout}`, {split} images; difference: 2 less 1, paired: same order, same seed"
    )
    lines.append(f"{ADJUSTMENT}; that of `mean of all` is not adjusted; shown: adj. p below 0.05")
    lines += [f"`{readout}`: {note}" for note in readout_notes(readout)]
    return "\n".join(lines)


def _metric_lines(
    metric: str, compared: Sequence[MatchComparison], matching: SweepMatching, fixed: bool
) -> list[str]:
    from sweeps.analysis.trials.paired_differences import adjusted
    from sweeps.analysis.trials.sweep_comparison import compare_all
    from sweeps.presentation.text_tables import render_table

    direction = direction_of(metric)
    heading = f"{metric} ({'higher' if direction == 'max' else 'lower'} is better)"
    if not compared:
        return [heading, "no configuration has a partner"]
    corrected = adjusted([one.comparison for one in compared])
    rows = []
    for one, comparison in zip(compared, corrected, strict=True):
        rows.append(
            {
                "configuration": one.match.first.label + (" *" if one.match.differences else ""),
                "1": _mean(one.match.first, metric),
                "2": _mean(one.match.second, metric),
                "pairs": 0 if comparison is None else comparison.interval.n,
                **difference_columns(comparison),
            }
        )
    every = compare_all(matching.matches, metric, fixed_orders=fixed)
    if every is not None:
        blank = {"1": "", "2": ""}
        rows.append(
            {"configuration": "mean of all", **blank, "pairs": every.interval.n}
            | difference_columns(every)
        )
    lines = [heading, render_table(rows)]
    for one in compared:
        for number, cells in ((1, one.only_first), (2, one.only_second)):
            if cells:
                lines.append(f"only in {number}: {one.match.first.label}, {_cells(cells)}")
    return lines


def _mean(one: Replicates, metric: str) -> str:
    from sweeps.analysis.trials.replicates import sample
    from sweeps.presentation.selection_card import metric_text

    values = sample(one, metric).values
    return metric_text(metric, float(values.mean()) if len(values) else None)


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
