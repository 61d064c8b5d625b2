"""Report section on the Pareto front: one figure and table per readout, with baselines."""

from __future__ import annotations

from collections.abc import Sequence

from clmethods.config.readout import readout_notes
from sweeps.analysis.front.pareto_row import FrontRow
from sweeps.analysis.front.pareto_table import front_volume
from sweeps.analysis.trials.metric_choice import SPLITS, replicate_warning
from sweeps.presentation.numbers import count, probability_text
from sweeps.report.attained import attained_figures
from sweeps.report.formatting import axis_title, metric_name, shown
from sweeps.report.front_plots import label_with_role, objectives_plot, ranking_plot
from sweeps.report.page_model import Column, Figure, Section, Table
from sweeps.report.report_inputs import ReportInputs

TABLE_ROWS = 60
"""Maximum number of rows of the table; the list of configurations shows all."""


def front_section(inputs: ReportInputs) -> Section:
    """Return the section on the front, with one figure per readout.

    Batch-wise and instance-wise results are never in the same plot.
    """
    figures = tuple(
        _figure(inputs, readout, index)
        for index, readout in enumerate(inputs.readouts)
        if inputs.fronts[readout]
    )
    names = " and ".join(metric_name(name) for name in inputs.sweep.objectives)
    lead = (
        f"A searched configuration is on the Pareto front of {names} if no other one dominates "
        "it. The front uses validation images; results on test images are reported alongside."
    )
    few = replicate_warning(inputs.trials)
    notes = [few] if few else []
    attained = tuple(attained_figures(inputs, notes))
    return Section(
        id="front",
        title="The front",
        short="Front",
        lead=lead,
        figures=figures + attained,
        notes=tuple(notes),
    )


def _figure(inputs: ReportInputs, readout: str, index: int) -> Figure:
    rows = inputs.fronts[readout]
    objectives = list(inputs.sweep.objectives)
    runs = sum(row.n_replicates for row in rows)
    caption = (
        f"Readout {readout}. Means over orders and seeds with 95 % intervals, "
        f"{count(len(rows), 'configuration')}, n = {count(runs, 'run')}. "
    )
    volume = front_volume(inputs.sweep, rows)
    if volume is not None:
        corner = ", ".join(f"{metric_name(n)} {v:.3g}" for n, v in volume.corner.items())
        caption += f"Hypervolume {volume.value:.4g} relative to the worst means ({corner}). "
    caption += " ".join(f"{note[0].upper()}{note[1:]}." for note in readout_notes(readout))
    searched = [row for row in rows if row.role == "search"]
    best = sum(row.on_front for row in searched)
    title = " and ".join(metric_name(name) for name in objectives[:2])
    chosen = inputs.choice.chosen
    choice = None
    if chosen is not None and chosen.replicates.readout_id == readout:
        choice = chosen.replicates.config_id
    return Figure(
        id=f"front-{index}",
        title=f"{title}, readout {readout}: {best} of "
        f"{count(len(searched), 'searched configuration')} on the front",
        caption=caption.strip(),
        spec=objectives_plot(rows, objectives, choice)
        if len(objectives) > 1
        else ranking_plot(rows, objectives),
        table=front_table(rows, objectives),
        terms=("front", "95 % interval", "P(front)", "knee", *map(metric_name, objectives)),
        readout=readout,
    )


def front_table(rows: Sequence[FrontRow], objectives: Sequence[str]) -> Table:
    """Return the table of the first rows, with validation and test results."""
    columns = [
        Column(title="configuration", term="configuration"),
        Column(title="front", term="front"),
        Column(title="P(front)", number=True, term="P(front)"),
        Column(title="n", number=True, term="run"),
        *(
            Column(title=f"{split}: {axis_title(name)}", number=True, term=metric_name(name))
            for split in SPLITS
            for name in objectives
        ),
    ]
    printed = rows[:TABLE_ROWS]
    cells = [
        [
            label_with_role(row),
            ("knee" if row.knee else "yes") if row.on_front else "",
            probability_text(row.p_front),
            str(row.n_replicates),
            *(shown(name, *row.estimate(name, split)) for split in SPLITS for name in objectives),
        ]
        for row in printed
    ]
    notes = ["mean, in parentheses the 95 % interval over orders and seeds"]
    if len(rows) > len(printed):
        notes.append(f"the first {len(printed)} of {len(rows):,}; the list below has all")
    notes += [
        f"{row.label}: {row.validation.n_missing} of its runs have no metrics"
        for row in printed
        if row.validation.n_missing
    ]
    return Table(
        columns=tuple(columns),
        rows=cells,
        note="; ".join(notes),
        config_ids=[row.config_id for row in printed],
    )
