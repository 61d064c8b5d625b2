"""Text output of `sweeps pareto --attained`: attainment curves of single runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clmethods.errors import refuse, require
from sweeps.analysis.trials.metric_choice import Results, chosen_readout
from sweeps.presentation.numbers import count

if TYPE_CHECKING:
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the (order, seed) cells for which corners are printed."""


def attained_block(sweep: Sweep, results: Results, readout: str | None, split: str) -> Block:
    """Return the corners of the attainment curves for each of `SHARES`.

    Raises `InvalidConfigError` unless the sweep has two objectives.
    """
    from sweeps.analysis.front.attainment import attainment
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.presentation.documents import Block, Cell, Column, value_cell

    objectives = sweep.objectives
    constraint = "a sweep with two objectives"
    refuse([require(len(objectives) == 2, "--attained", list(objectives), constraint)])
    name = chosen_readout(sweep, readout)
    every = replicates(summarize(results.trials, results.evals, split), list(objectives))
    searched = [c for c in configurations(every, name, split) if c.role == "search"]
    cells = {cell for config in searched for cell in config.cells}
    rows = [
        {"share": Cell(share, f"{share:.0%}")}
        | {metric: value_cell(metric, v) for metric, v in zip(objectives, corner, strict=True)}
        for share in SHARES
        for corner in attainment(searched, objectives, share).tolist()
    ]
    if not rows:
        return Block(key="attained", notes=["no run has both objectives yet"])
    return Block(
        key="attained",
        title=f"Attainment on {split} images of the best of "
        f"{count(len(searched), 'configuration')} of the search in each of "
        f"{count(len(cells), '(order, seed) cell')}",
        columns=[
            Column("share", "share of runs", number=True),
            *(Column(metric, metric, number=True) for metric in objectives),
        ],
        rows=rows,
        notes=[
            "in the given share of the cells, a configuration is at least as good as each corner; "
            "50% is the median front, 100% holds for every order with every seed"
        ],
    )
