"""Report section on the cost of the sweep, and on the time saved by shared stages."""

from __future__ import annotations

from collections import Counter

from sweeps.presentation.numbers import count, seconds
from sweeps.presentation.short_answers import stage_sharing
from sweeps.presentation.text_tables import NOTHING
from sweeps.report import plots
from sweeps.report.page_model import Column, Figure, Section, table
from sweeps.report.report_inputs import ReportInputs
from sweeps.report.stopping import declares_rules
from sweeps.results.rows import StageRow, TrialRow

SHOWN = 24
"""Maximum number of configurations in the plot; the table has up to `LISTED`."""
LISTED = 60


def cost_section(inputs: ReportInputs) -> Section:
    """Return stages and seconds, with and without sharing, by position and by configuration."""
    stages: list[StageRow] = inputs.stages.to_pylist()
    ended: list[TrialRow] = inputs.trials.to_pylist()
    sharing = stage_sharing(ended, stages)
    if sharing is None:
        lead = "No run has finished, so there is no cost to show."
        return Section(id="cost", title="Cost and reuse", short="Cost", lead=lead)
    costs = {row["stage_key"]: row for row in stages}
    trials = [row for row in ended if row["status"] == "finished"]
    steps = Counter(key for trial in trials for key in trial["stage_keys"])
    known = {key: costs[key] for key in steps if key in costs}
    return Section(
        id="cost",
        title="Cost and reuse",
        short="Cost",
        lead=sharing.text,
        figures=(_by_position(known, steps), _by_configuration(inputs, known, trials)),
        notes=()
        if declares_rules(inputs)
        else (
            "No configuration was stopped early and no run was left out: the sweep file has "
            "neither `early_stop` nor `racing`, so every configuration is trained on all tasks, "
            "in all orders with all seeds.",
        ),
    )


def _by_position(known: dict[str, StageRow], steps: Counter[str]) -> Figure:
    positions = sorted({row["position"] for row in known.values()})
    rows = []
    for position in positions:
        here = {key: row for key, row in known.items() if row["position"] == position}
        rows.append(
            (
                position + 1,
                sum(steps[key] for key in here),
                len(here),
                sum(row["cpu_s"] for row in here.values()),
                sum(row["cpu_s"] * steps[key] for key, row in here.items()),
                max(row["peak_rss_bytes"] for row in here.values()),
            )
        )
    data: list[plots.PlotPart] = [
        {
            "type": "bar",
            "name": name,
            "x": [str(row[0]) for row in rows],
            "y": [row[k] for row in rows],
            "marker": {"color": color},
            "hovertemplate": "stage %{x}: %{y:,}<extra>%{fullData.name}</extra>",
        }
        for name, k, color in (("steps of all runs", 1, "@faint"), ("stages trained", 2, "@1"))
    ]
    look = plots.layout(
        "position in the order",
        "number",
        height=300,
        barmode="overlay",
        bargap=0.35,
        xaxis={"type": "category", "showgrid": False},
        yaxis={"rangemode": "tozero"},
    )
    return Figure(
        id="cost-reuse",
        title="Steps and stages",
        caption=(
            "Runs with the same settings and tasks at the start share their first stages. The "
            "gray part of a bar above the colored one was not trained again. "
            f"n = {count(sum(row[1] for row in rows), 'step')} of finished runs."
        ),
        spec=plots.plot_spec(data, look),
        table=table(
            [
                "task",
                "#steps",
                Column(title="stages", number=True, term="stage"),
                Column(title="CPU time", number=True, term="CPU seconds"),
                "#without sharing",
                Column(title="peak memory / MB", number=True, term="peak memory"),
            ],
            [
                [p, f"{a:,}", f"{b:,}", seconds(c), seconds(d), f"{m / 1e6:,.0f}"]
                for p, a, b, c, d, m in rows
            ],
        ),
        terms=("stage", "CPU seconds"),
    )


def _by_configuration(
    inputs: ReportInputs, known: dict[str, StageRow], trials: list[TrialRow]
) -> Figure:
    of: dict[str, list[TrialRow]] = {}
    for trial in trials:
        of.setdefault(trial["config_id"], []).append(trial)
    listed = [row.config_id for row in inputs.fronts[inputs.readout]]
    rows = []
    for config_id in dict.fromkeys([*listed, *of]):
        runs = of.get(config_id, [])
        chains = [[known[k] for k in run["stage_keys"] if k in known] for run in runs]
        if not any(chains):
            continue
        cpu = sum(row["cpu_s"] for chain in chains for row in chain) / len(runs)
        wall = sum(row["wall_s"] for chain in chains for row in chain) / len(runs)
        peak = max(row["peak_rss_bytes"] for chain in chains for row in chain)
        rows.append((runs[0], len(runs), cpu, wall, peak))
    drawn = rows[:SHOWN]
    labels = [run["label"] for run, *_ in drawn]
    data: list[plots.PlotPart] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": list(range(len(labels))),
            "x": [round(row[2], 3) for row in drawn],
            "marker": {"color": "@1"},
            "hovertemplate": "%{x:.1f} s<extra></extra>",
        }
    ]
    look = plots.dot_rows(labels, "CPU time of one run / s", bargap=0.4)
    cut = f"the first {LISTED} of {len(rows):,}" if len(rows) > LISTED else ""
    return Figure(
        id="cost-configurations",
        title="Training time of one run",
        caption=(
            "Processor time of a run without shared stages, mean over the runs of the "
            f"configuration, in the order of the front; n = {count(len(trials), 'run')}. These "
            "are measurements: they depend on the machine."
        ),
        spec=plots.plot_spec(data, look),
        table=table(
            [
                "configuration",
                "#n",
                Column(title="CPU time", number=True, term="CPU seconds"),
                Column(title="wall time", number=True, term="wall seconds"),
                Column(title="peak memory / MB", number=True, term="peak memory"),
                Column(title="parameters", number=True, term="trainable parameters"),
                Column(title="stored / kB", number=True, term="stored bytes"),
            ],
            [
                [
                    run["label"],
                    n,
                    seconds(cpu),
                    seconds(wall),
                    f"{peak / 1e6:,.0f}",
                    _whole(run["trainable_parameters"]),
                    _whole(run["stored_bytes"], 1000),
                ]
                for run, n, cpu, wall, peak in rows[:LISTED]
            ],
            note=cut,
        ),
        terms=("CPU seconds", "wall seconds"),
    )


def _whole(value: int | None, over: int = 1) -> str:
    return NOTHING if value is None else f"{value / over:,.0f}"
