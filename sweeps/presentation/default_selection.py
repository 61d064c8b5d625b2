"""Selection without options, which `run`, `select` and the report show for the same results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sweeps.analysis.selection.selection import Selection, select
from sweeps.analysis.trials.metric_choice import all_orders
from sweeps.analysis.trials.replicates import Replicates, replicates
from sweeps.presentation.selection_card import (
    SelectionQuestion,
    TestRuns,
    card_entries,
    selection_card_text,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.definition import Sweep
    from sweeps.presentation.selection_card import CardEntry


@final
@dataclass(frozen=True, slots=True)
class DefaultSelection:
    """Choice of `sweeps select` without options, with what its card needs."""

    question: SelectionQuestion
    choice: Selection
    test: TestRuns
    """Replicates on test images, by (config_id, readout_id)."""

    @property
    def text(self) -> str:
        """Return the whole card, as `sweeps select` prints it."""
        return selection_card_text(self.question, self.choice, self.test)

    @property
    def entries(self) -> list[CardEntry]:
        """Return the entries of the card; the first names the choice."""
        return card_entries(self.question, self.choice, self.test)


def default_question(sweep: Sweep) -> SelectionQuestion:
    """Return the criteria without options: the best first objective, without limits."""
    return SelectionQuestion(
        objectives=dict(sweep.objectives),
        limits=(),
        prefer=next(iter(sweep.objectives)),
        basis="bound",
        fixed_orders=all_orders(sweep),
        order="-".join(map(str, sweep.task_orders[0])),
        chosen_on=None,
    )


def default_selection(sweep: Sweep, by_split: Mapping[str, list[Replicates]]) -> DefaultSelection:
    """Return the selection among all fair configurations with every readout.

    `by_split`: replicates of the objectives on validation and on test images.
    """
    question = default_question(sweep)
    choice = select(
        by_split["validation"],
        question.objectives,
        question.limits,
        question.prefer,
        basis=question.basis,
        fixed_orders=question.fixed_orders,
    )
    test = {(runs.config_id, runs.readout_id): runs for runs in by_split["test"]}
    return DefaultSelection(question, choice, test)


def objective_replicates(
    sweep: Sweep, summaries: Mapping[str, pa.Table]
) -> dict[str, list[Replicates]]:
    """Return the replicates of the objectives with every readout, by split."""
    names = list(sweep.objectives)
    return {split: replicates(summary, names) for split, summary in summaries.items()}
