"""Text output on the stages saved by early stopping, and on its regret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.analysis.trials.metric_choice import Results, chosen_readout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweeps.definition import Sweep
    from sweeps.search.search_state import Decision


def stopping_lines(sweep: Sweep, results: Results, decisions: Iterable[Decision]) -> list[str]:
    """Return a sentence on the saved stages and one on the regret; empty if none was stopped.

    Objectives are those on validation images with the first readout.
    """
    from sweeps.analysis.effects.stopping_audit import rung_verdicts, saved_stages, stopping_cost
    from sweeps.analysis.trials.paired_differences import configurations
    from sweeps.analysis.trials.replicates import replicates
    from sweeps.analysis.trials.summary import summarize

    rungs = rung_verdicts((d.config_id, d.verdict) for d in decisions if d.by == "early_stop")
    if not rungs.stopped:
        return []
    lines = [saved_stages(results.trials).in_words()]
    if not rungs.audited:
        return [
            *lines,
            "The cost of early stopping is not known: no stopped configuration was audited.",
        ]
    split = "validation"
    summary = summarize(results.trials, results.evals, split)
    every = replicates(summary, list(sweep.objectives))
    cost = stopping_cost(
        configurations(every, chosen_readout(sweep, None), split),
        sweep.objectives,
        **rungs._asdict(),
    )
    unfinished = (
        f"{len(rungs.audited)} stopped configurations continue for the audit, which is not "
        "finished."
    )
    return [*lines, unfinished if cost is None else cost.in_words()]
