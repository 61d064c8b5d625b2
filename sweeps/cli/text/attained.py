"""Text output of `sweeps pareto --attained`: attainment curves of single runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clmethods.errors import refuse, require
from sweeps.analysis.trials.metric_choice import Results, chosen_readout

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the (order, seed) cells for which corners are printed."""


def attained_text(sweep: Sweep, results: Results, readout: str | None, split: str) -> str:
    """Return the corners of the attainment curves for each of `SHARES`.

    Raises `InvalidConfigError` unless the sweep has two objectives.
    """
    from sweeps.analysis.front.attainment import attainment
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize
    from sweeps.presentation.selection_card import metric_text
    from sweeps.presentation.text_tables import render_table

    objectives = sweep.objectives
    constraint = "a sweep with two objectives"
    refuse([require(len(objectives) == 2, "--attained", list(objectives), constraint)])
    name = chosen_readout(sweep, readout)
    every = replicates(summarize(results.trials, results.evals, split), list(objectives))
    searched = [c for c in configurations(every, name, split) if c.role == "search"]
    cells = {cell for config in searched for cell in config.cells}
    rows: list[dict[str, str]] = [
        {"share of runs": f"{share:.0%}"}
        | {metric: metric_text(metric, v) for metric, v in zip(objectives, corner, strict=True)}
        for share in SHARES
        for corner in attainment(searched, objectives, share).tolist()
    ]
    if not rows:
        return "no run has both objectives yet"
    return "\n".join(
        [
            f"Attainment on {split} images of the best of {len(searched)} configurations in each "
            f"of {len(cells)} (order, seed) cells",
            render_table(rows),
            "in the given share of the cells, a configuration is at least as good as each corner; "
            "50% is the median front,\n100% holds for every order with every seed",
        ]
    )
