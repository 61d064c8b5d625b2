"""What early stopping has spared, and what it has cost, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeps.analysis.asking import Results, chosen_readout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweeps.search.step import Decision
    from sweeps.spec import Sweep


def stopping_lines(sweep: Sweep, results: Results, decisions: Iterable[Decision]) -> list[str]:
    """A sentence on the stages spared and one on the regret; none without early stopping.

    Objectives are read from validation, under the first readout.
    """
    from sweeps.analysis.paired import configurations
    from sweeps.analysis.replicates import replicates
    from sweeps.analysis.stopping import saving, stopping_cost
    from sweeps.analysis.summary import summarise

    last = {d.config_id: d.verdict for d in decisions if d.by == "early_stop"}
    audited = {config_id for config_id, verdict in last.items() if verdict == "audit"}
    stopped = audited | {config_id for config_id, verdict in last.items() if verdict == "stops"}
    if not stopped:
        return []
    lines = [saving(results.trials).in_words()]
    if not audited:
        return [*lines, "None of the stopped ran on for the audit: what that cost is not known."]
    split = "validation"
    summary = summarise(results.trials, results.evals, split)
    found = replicates(summary, list(sweep.objectives))
    cost = stopping_cost(
        configurations(found, chosen_readout(sweep, None), split),
        sweep.objectives,
        kept=last.keys() - stopped,
        stopped=stopped,
        audited=audited,
    )
    waits = f"{len(audited)} stopped configurations run on for the audit, which is not finished."
    return [*lines, waits if cost is None else cost.in_words()]
