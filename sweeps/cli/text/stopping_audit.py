"""What early stopping has spared, and what it has cost, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.analysis.runs.metric_choice import Results, chosen_readout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweeps.definition import Sweep
    from sweeps.search.step import Decision


def stopping_lines(sweep: Sweep, results: Results, decisions: Iterable[Decision]) -> list[str]:
    """A sentence on the stages spared and one on the regret; none without early stopping.

    Objectives are read from validation, under the first readout.
    """
    from sweeps.analysis.effects.stopping_audit import saving, stopping_cost, verdicts_of
    from sweeps.analysis.runs.paired_differences import configurations
    from sweeps.analysis.runs.replicates import replicates
    from sweeps.analysis.runs.summary import summarise

    rungs = verdicts_of((d.config_id, d.verdict) for d in decisions if d.by == "early_stop")
    if not rungs.stopped:
        return []
    lines = [saving(results.trials).in_words()]
    if not rungs.audited:
        return [*lines, "None of the stopped ran on for the audit: what that cost is not known."]
    split = "validation"
    summary = summarise(results.trials, results.evals, split)
    found = replicates(summary, list(sweep.objectives))
    cost = stopping_cost(
        configurations(found, chosen_readout(sweep, None), split),
        sweep.objectives,
        **rungs._asdict(),
    )
    waits = (
        f"{len(rungs.audited)} stopped configurations run on for the audit, which is not finished."
    )
    return [*lines, waits if cost is None else cost.in_words()]
