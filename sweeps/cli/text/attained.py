"""What a sweep reaches run by run: attainment curves over two objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clmethods.errors import refuse, require
from sweeps.analysis.runs.metric_choice import Results, chosen_readout

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SHARES = (0.25, 0.5, 0.75, 1.0)


def attained_text(sweep: Sweep, results: Results, readout: str | None, split: str) -> str:
    """The corners that the fronts of a share of the (order, seed) cells reach.

    Raises `InvalidConfigError` unless the sweep has two objectives.
    """
    from sweeps.analysis.front.membership_probability import attainment
    from sweeps.analysis.runs.paired_differences import configurations
    from sweeps.analysis.runs.replicates import replicates
    from sweeps.analysis.runs.summary import summarise
    from sweeps.presentation.selection_card import shown
    from sweeps.presentation.text_tables import render_table

    objectives = sweep.objectives
    constraint = "a sweep with two objectives"
    refuse([require(len(objectives) == 2, "--attained", list(objectives), constraint)])
    name = chosen_readout(sweep, readout)
    found = replicates(summarise(results.trials, results.evals, split), list(objectives))
    found = [one for one in configurations(found, name, split) if one.role == "search"]
    cells = {cell for one in found for cell in one.cells}
    rows: list[dict[str, Any]] = [
        {"share of runs": f"{share:.0%}"}
        | {metric: shown(metric, v) for metric, v in zip(objectives, corner, strict=True)}
        for share in SHARES
        for corner in attainment(found, objectives, share).tolist()
    ]
    if not rows:
        return "no run has both objectives yet"
    return "\n".join(
        [
            f"What is reached, {split} images, by the best of {len(found)} configurations in each "
            f"of {len(cells)} (order, seed) cells",
            render_table(rows),
            "a share of the cells has a configuration at least as good as each of its corners; "
            "50% is the median front,\n100% holds in every order with every seed",
        ]
    )
