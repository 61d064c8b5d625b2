"""`sweeps path`: paths between two configurations, one factor per step, through trained ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clmethods.config.readout import readout_notes
from clmethods.errors import refuse
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import new_sweep_file_faults, open_stored_sweep
from sweeps.cli.shared_options import json_option, print_document
from sweeps.presentation.numbers import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeps.analysis.effects.axis_effects import Point
    from sweeps.analysis.effects.paths import PathGap, PathStep
    from sweeps.analysis.trials.replicates import Replicates
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block, Cell, Row

PATHS = 2
"""Maximum number of shortest paths shown."""


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--metric", metavar="NAME", help="Default: the first objective.")
@click.option("--readout", metavar="ID", help="Such as `last`. Default: the first of the sweep.")
@click.option(
    "-o",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a sweep file that trains the missing steps, if any.",
)
@json_option
@exit_on_user_error
def path(
    directory: str,
    first: str,
    second: str,
    metric: str | None,
    readout: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show paths between two configurations, one factor per step.

    A and B are labels, ids, or beginnings of ids. The paths are the shortest ones whose
    configurations were all trained. Each step shows the metric on validation and test images, and
    the paired difference to the previous step.
    """
    from sweeps.analysis.effects.axis_effects import searched_points
    from sweeps.analysis.effects.paths import (
        find_configuration,
        shortest_paths,
        signed_means,
        smallest_gap,
    )
    from sweeps.analysis.trials.metric_choice import chosen_readout, direction_of
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.presentation.documents import Block, Document
    from sweeps.presentation.numbers import ADJUSTMENT
    from sweeps.search.requested_results import read_results

    if output is not None:
        refuse(new_sweep_file_faults(output))
    stored = open_stored_sweep(directory)
    sweep = stored.sweep
    results = read_results(sweep, stored.objects)
    note_left_out(results.left_out)
    for warning in () if as_json else results.warnings:
        click.echo(warning, err=True)
    name, objective = chosen_readout(sweep, readout), metric or next(iter(sweep.objectives))
    document = Document(
        command="path",
        facts={"sweep": sweep.name, "readout": name, "metric": objective},
        warnings=results.warnings,
    )
    found = {}
    for split in ("validation", "test"):
        every = replicates(summarize(results.trials, results.evals, split), [objective])
        every = [one for one in configurations(every, name, split) if one.role == "search"]
        found[split] = {one.config_id: one for one in every if one.metrics[objective]}
    decided = list(found["validation"].values())
    if not decided:
        empty = replace(document, notes=["no finished trial of the search yet"])
        print_document(empty, as_json)
        return
    ends = [find_configuration(text, decided, n) for text, n in ((first, "A"), (second, "B"))]
    points = {k: v for k, v in searched_points(results.trials).items() if k in found["validation"]}
    order = signed_means(decided, objective, direction_of(objective))
    paths = shortest_paths(points, ends[0], ends[1], order, PATHS)
    blocks = [
        _path_block(sweep, number, one, points, found, objective)
        for number, one in enumerate(paths, 1)
    ]
    lacking = None if ends[0] == ends[1] else smallest_gap(points, ends[0], ends[1])
    incomplete = lacking is not None and (not paths or len(paths[0]) > len(lacking.points))
    if lacking is not None and incomplete:
        blocks.append(_gap_block(lacking, _offer(sweep, lacking, directory, output)))
    elif lacking is not None and output is not None:
        blocks.append(
            Block(key="missing", notes=[f"nothing is missing, {output} was not written"])
        )
    notes = [
        f"readout `{name}`, {objective}; each difference is to the step before, paired: same "
        "order, same seed",
        f"{ADJUSTMENT}; shown: adj. p below 0.05",
        *(f"`{name}`: {note}" for note in readout_notes(name)),
    ]
    print_document(
        replace(document, blocks=blocks, notes=[] if lacking is None else notes), as_json
    )


def _path_block(
    sweep: Sweep,
    number: int,
    path: Sequence[str],
    points: Mapping[str, Point],
    found: Mapping[str, Mapping[str, Replicates]],
    metric: str,
) -> Block:
    from sweeps.analysis.effects.paths import path_steps
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.presentation.difference_columns import difference_cells, difference_columns
    from sweeps.presentation.documents import Block, Column

    fixed = all_orders(sweep)
    steps = {
        split: path_steps(path, points, found[split], metric, fixed_orders=fixed)
        for split in found
    }
    rows: list[Row] = []
    for step, test in zip(steps["validation"], steps["test"], strict=True):
        tested = difference_cells(test.comparison)
        rows.append(
            {
                "config_id": step.config_id,
                "step": "start" if step.change is None else str(step.change),
                "validation": _value(step, metric),
                **difference_cells(step.comparison),
                "test": _value(test, metric),
                "test_difference": tested["difference"],
                "test_range": tested["range"],
            }
        )
    return Block(
        key=f"path_{number}",
        title=count(len(path) - 1, "step"),
        columns=[
            Column("step", "step"),
            Column("validation", "val.", number=True),
            *difference_columns(detectable=False),
            Column("test", "test", number=True),
            Column("test_difference", "test diff.", number=True),
            Column("test_range", "test 95 %", number=True),
        ],
        rows=rows,
    )


def _value(step: PathStep, metric: str) -> Cell:
    from sweeps.presentation.documents import value_cell

    held = step.interval
    return value_cell(metric, None if held is None else held.mean)


def _gap_block(lacking: PathGap, notes: Sequence[str]) -> Block:
    from sweeps.presentation.documents import Block

    missing = count(len(lacking.missing), "configuration")
    return Block(
        key="missing",
        title=f"no path of {count(len(lacking.changes), 'step')} was run; one lacks {missing}:",
        lead=[
            "  " + ", ".join(f"{path}={value}" for path, value in setting.items())
            for setting in lacking.missing
        ],
        facts={"configurations": [dict(setting) for setting in lacking.missing]},
        notes=notes,
    )


def _offer(sweep: Sweep, lacking: PathGap, directory: str, output: Path | None) -> list[str]:
    """Write the sweep that completes the path, or return the command that writes it."""
    from clmethods.strict_yaml import yaml_text
    from sweeps.definition import expand, measured_sweep, sweep_from_dict
    from sweeps.definition.derive.path_sweep import path_document
    from sweeps.results.export import write_complete

    if output is None:
        return ["`-o missing.yaml` writes a sweep file that trains them"]
    document: dict[str, Any] = path_document(
        sweep,
        f"{sweep.name}-path",
        lacking.points,
        [(change.path, change.before, change.after) for change in lacking.changes],
    )
    planned = expand(measured_sweep(sweep_from_dict(document)))
    text = yaml_text(document)
    write_complete(output, lambda place: place.write_bytes(text.encode()))
    storage = directory.rstrip("/").split("/sweeps/")[0]
    configurations = count(len({trial.config_id for trial in planned}), "configuration")
    return [
        f"wrote {output}: {count(len(planned), 'trial')} of {configurations}, those of the path; "
        "what is there is not trained again",
        f"next  sweeps run {output} --storage {storage}",
        f"then  sweeps path {storage}/sweeps/{document['name']} A B",
    ]
