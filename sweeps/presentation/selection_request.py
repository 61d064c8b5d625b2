"""Selection of a configuration of one sweep: `sweeps run`, `select`, the report and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require
from sweeps.analysis.selection.selection import Selection, select
from sweeps.analysis.selection.selection_candidates import COSTS, DecisionBasis, MetricLimit
from sweeps.analysis.trials.metric_choice import Results, all_orders, direction_of, summaries
from sweeps.analysis.trials.replicates import (
    ANY_ORDER,
    Cell,
    Replicates,
    check_names,
    measures,
    replicates,
)
from sweeps.presentation.production_file import parse_order
from sweeps.presentation.selection_card import (
    brief_card_entries,
    card_entries,
    selection_card_text,
)
from sweeps.presentation.selection_card_numbers import SelectionQuestion
from sweeps.presentation.text_tables import FRACTIONS

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.definition import Sweep
    from sweeps.presentation.selection_card import CardEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRequest:
    """Criteria of a selection as a user gives them; the defaults are those of `sweeps select`."""

    limits: tuple[MetricLimit, ...] = ()
    prefer: str | None = None
    """Metric to optimize; None for the first objective."""
    knee: bool = False
    """Select the knee of the Pareto front instead of the best value of `prefer`."""
    basis: DecisionBasis = "bound"
    within: float | None = None
    """Indifference margin as a fraction; None for no margin."""
    readout: str | None = None
    """Only this readout; None for all that do not receive the task ID."""
    searched: bool = False
    """Exclude baselines."""
    choose_on: tuple[str, ...] = ()
    """Runs to decide on: `orders=…` and `seeds=…`, with values separated by commas."""
    order: str | None = None
    """Task order of the production run, such as `0-1-2`; None for the first of the sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionAnswer:
    """Selection with the criteria that were resolved for a sweep."""

    question: SelectionQuestion
    choice: Selection
    test: Mapping[tuple[str, str], Replicates]
    """Replicates on test images, by (config_id, readout_id)."""
    order: str
    """Task order of the production run."""

    @property
    def text(self) -> str:
        """The whole card, as `sweeps select` prints it."""
        return selection_card_text(self.question, self.choice, self.test)

    @property
    def entries(self) -> list[CardEntry]:
        """Entries of the card; the first names the choice."""
        return card_entries(self.question, self.choice, self.test)

    @property
    def brief_entries(self) -> list[CardEntry]:
        """Entries of the card that the end of `sweeps run` shows."""
        return brief_card_entries(self.question, self.choice, self.test)


def select_configuration(
    sweep: Sweep, results: Results, request: SelectionRequest
) -> SelectionAnswer:
    """Return the choice among the stored configurations of a sweep.

    Raises:
        InvalidConfigError: If a criterion does not fit the sweep, or contradicts another one.
    """
    return select_from_summaries(sweep, summaries(results), request)


def select_from_summaries(
    sweep: Sweep, by_split: Mapping[str, pa.Table], request: SelectionRequest
) -> SelectionAnswer:
    """Return the choice of `select_configuration`, given the summaries of both splits."""
    knee, prefer, within = request.knee, request.prefer, request.within
    refuse(
        [
            require(not (knee and prefer), "--knee", prefer, "either --knee or --prefer"),
            require(
                not (knee and within is not None), "--knee", within, "either --knee or --within"
            ),
        ]
    )
    objectives = dict(sweep.objectives)
    names = [limit.metric for limit in request.limits] + ([prefer] if prefer else [])
    check_names(names, measures(by_split["test"]))
    if prefer is not None:
        objectives.setdefault(prefer, direction_of(prefer))
    elif not knee:
        prefer = next(iter(objectives))
    refuse(
        [
            require(
                within is None or prefer in FRACTIONS,
                "--within",
                prefer,
                "a preferred metric in percent, such as average_accuracy",
            )
        ]
    )
    metrics = list(dict.fromkeys([*objectives, *names, *COSTS]))
    found = {split: replicates(summary, metrics) for split, summary in by_split.items()}
    declared = [readout.readout_id for readout in sweep.readouts]
    candidates = _with_readout(request.readout, found["validation"], declared)
    candidates = [one for one in candidates if one.role == "search" or not request.searched]
    cells = _cells(request.choose_on, candidates)
    if request.order is not None:
        parse_order(request.order, sweep.base)
    order = request.order or "-".join(map(str, sweep.task_orders[0]))
    question = SelectionQuestion(
        objectives=objectives,
        limits=request.limits,
        prefer=prefer,
        basis=request.basis,
        fixed_orders=all_orders(sweep),
        order=order,
        chosen_on=cells,
        within=within,
    )
    choice = select(
        candidates,
        objectives,
        question.limits,
        prefer,
        basis=question.basis,
        cells=cells,
        fixed_orders=question.fixed_orders,
        within=question.within,
    )
    test = {(one.config_id, one.readout_id): one for one in found["test"]}
    return SelectionAnswer(question=question, choice=choice, test=test, order=order)


def _with_readout(
    readout: str | None, found: Sequence[Replicates], declared: Sequence[str]
) -> list[Replicates]:
    """Return the replicates of the requested readout, or all replicates."""
    names = list(dict.fromkeys([*declared, *(one.readout_id for one in found)]))
    refuse([require(readout is None or readout in names, "--readout", readout, f"one of {names}")])
    return [one for one in found if readout is None or one.readout_id == readout]


def _cells(written: Sequence[str], found: Sequence[Replicates]) -> tuple[Cell, ...] | None:
    """Return the (order, seed) cells used for the selection; None for all cells.

    Runs of methods that do not depend on the order have the seeds alone in common with others.
    """
    if not written:
        return None
    cells = list(dict.fromkeys(cell for one in found for cell in one.cells))
    orders = list(dict.fromkeys(order for order, _ in cells if order != ANY_ORDER))
    seeds = list(dict.fromkeys(_root(seed) for _, seed in cells))
    for text in written:
        what, _, listed = text.partition("=")
        values = [value.strip() for value in listed.split(",") if value.strip()]
        known = {"orders": orders, "seeds": seeds}.get(what)
        if known is None:
            constraint = "orders=… or seeds=…, with values of the sweep"
            raise InvalidConfigError([ConfigIssue("--choose-on", text, constraint)])
        refuse(
            require(value in known, f"--choose-on {what}", value, f"one of {known}")
            for value in values or [""]
        )
        if what == "orders":
            cells = [cell for cell in cells if cell[0] in (*values, ANY_ORDER)]
        else:
            cells = [cell for cell in cells if _root(cell[1]) in values]
    return tuple(cells)


def _root(seed: object) -> str:
    """Return the seed of the run, without the other values that vary with it."""
    return str(seed[0]) if isinstance(seed, tuple) else str(seed)
