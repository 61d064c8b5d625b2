"""`sweeps path`: paths between two configurations, one factor per step, through trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clmethods.config.readout import readout_notes
from clmethods.errors import refuse
from sweeps.cli.commands.effects import difference_columns
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import new_sweep_file_faults, open_stored_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeps.analysis.effects.axis_effects import Point
    from sweeps.analysis.effects.paths import PathGap, PathStep
    from sweeps.analysis.trials.replicates import Replicates
    from sweeps.definition import Sweep

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
@exit_on_user_error
def path(
    directory: str,
    first: str,
    second: str,
    metric: str | None,
    readout: str | None,
    output: Path | None,
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
    from sweeps.presentation.numbers import ADJUSTMENT
    from sweeps.search.requested_results import read_results

    if output is not None:
        refuse(new_sweep_file_faults(output))
    stored = open_stored_sweep(directory)
    sweep = stored.sweep
    results = read_results(sweep, stored.objects)
    note_left_out(results.left_out)
    for warning in results.warnings:
        click.echo(warning, err=True)
    name, objective = chosen_readout(sweep, readout), metric or next(iter(sweep.objectives))
    found = {}
    for split in ("validation", "test"):
        every = replicates(summarize(results.trials, results.evals, split), [objective])
        every = [one for one in configurations(every, name, split) if one.role == "search"]
        found[split] = {one.config_id: one for one in every if one.metrics[objective]}
    decided = list(found["validation"].values())
    if not decided:
        click.echo("no finished trial of the search yet")
        return
    ends = [find_configuration(text, decided, n) for text, n in ((first, "A"), (second, "B"))]
    points = {k: v for k, v in searched_points(results.trials).items() if k in found["validation"]}
    order = signed_means(decided, objective, direction_of(objective))
    paths = shortest_paths(points, ends[0], ends[1], order, PATHS)
    for one in paths:
        click.echo(_path_text(sweep, one, points, found, objective))
    if ends[0] == ends[1]:
        return
    lacking = smallest_gap(points, ends[0], ends[1])
    if not paths or len(paths[0]) > len(lacking.points):
        click.echo(_gap_text(lacking))
        _offer(sweep, lacking, directory, output)
    elif output is not None:
        click.echo(f"nothing is missing, {output} was not written")
    click.echo(
        f"readout `{name}`, {objective}; each difference is to the step before, paired: same "
        f"order, same seed\n{ADJUSTMENT}; shown: adj. p below 0.05"
    )
    for note in readout_notes(name):
        click.echo(f"`{name}`: {note}")


def _path_text(
    sweep: Sweep,
    path: Sequence[str],
    points: Mapping[str, Point],
    found: Mapping[str, Mapping[str, Replicates]],
    metric: str,
) -> str:
    from sweeps.analysis.effects.paths import path_steps
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.presentation.text_tables import render_table

    fixed = all_orders(sweep)
    steps = {
        split: path_steps(path, points, found[split], metric, fixed_orders=fixed)
        for split in found
    }
    rows = []
    for step, test in zip(steps["validation"], steps["test"], strict=True):
        tested = difference_columns(test.comparison)
        rows.append(
            {
                "step": "start" if step.change is None else str(step.change),
                "val.": _value(step, metric),
                **difference_columns(step.comparison),
                "test": _value(test, metric),
                "test diff.": tested["difference"],
                "test 95 %": tested["95 %"],
            }
        )
    for row in rows:
        row.pop("can show")
    return f"{len(path) - 1} steps\n{render_table(rows)}"


def _value(step: PathStep, metric: str) -> str:
    from sweeps.presentation.selection_card import metric_text

    held = step.interval
    return metric_text(metric, None if held is None else held.mean)


def _gap_text(lacking: PathGap) -> str:
    total = len(lacking.changes)
    lines = [f"no path of {total} steps was run; one lacks {len(lacking.missing)} configurations:"]
    for setting in lacking.missing:
        lines.append("  " + ", ".join(f"{path}={value}" for path, value in setting.items()))
    return "\n".join(lines)


def _offer(sweep: Sweep, lacking: PathGap, directory: str, output: Path | None) -> None:
    """Write the sweep that completes the path, or print the command that writes it."""
    from clmethods.strict_yaml import yaml_text
    from sweeps.definition import expand, measured_sweep, sweep_from_dict
    from sweeps.definition.derive.path_sweep import path_document
    from sweeps.results.export import write_complete

    if output is None:
        click.echo("`-o missing.yaml` writes a sweep file that trains them")
        return
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
    count = len({trial.config_id for trial in planned})
    click.echo(
        f"wrote {output}: {len(planned)} trials of {count} configurations, those of the path; "
        f"what is there is not trained again\nnext  sweeps run {output} --storage {storage}\n"
        f"then  sweeps path {storage}/sweeps/{document['name']} A B"
    )
