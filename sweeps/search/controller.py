"""What a sweep wants next: a pure function of the sweep and of what has been observed.

A sweep goes in steps. A step asks for runs, each up to some stage; decisions are taken when all of
them are there. Nothing else is remembered: at every start the steps are replayed, and a decision
sees only what had been asked for by then, whatever else the storage holds. So a sweep that was
killed anywhere goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, final

from sweeps.search.observations import Cell, Observation, mean_objectives
from sweeps.search.proposals import Batch, Outcome, Proposer
from sweeps.spec.sweep import Configuration, Sweep
from sweeps.spec.trials import TrialSpec, expand, trials_of


class Request(NamedTuple):
    """A run, and how many of its stages are wanted."""

    trial: TrialSpec
    stages: int

    @property
    def cell(self) -> Cell:
        """Under which its observation is known."""
        return Cell(self.trial.config_id, self.trial.order_id, self.trial.seed)

    @property
    def is_whole(self) -> bool:
        """Whether that is the whole chain."""
        return self.stages == self.trial.run.stages


Observed = Callable[[Request], Observation | None]
"""What the storage holds of a request; None if it is neither all there nor failed."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a sweep stands."""

    number: int
    """Of the step that is open, or of the last one, counted from 1."""
    title: str
    """What it is about: `batch 2 of 8`."""
    requests: tuple[Request, ...]
    """All that was asked for until now, each trial once."""
    open: frozenset[str]
    """Ids of the trials that the step waits for."""
    batches: tuple[Batch, ...]
    """What the model has proposed; none if there is no model."""
    outcomes: Mapping[str, Outcome]
    """Of the configurations of closed batches, by `config_id`: what the model was told."""
    decisions: tuple[str, ...]
    """What was decided, a sentence each."""
    stopped: frozenset[str]
    """Ids of trials that go no further than they were asked for: their configuration stopped."""
    finished: bool
    """Whether nothing will be asked for beyond `requests`."""

    @property
    def trials(self) -> tuple[TrialSpec, ...]:
        """The trials that are known."""
        return tuple(request.trial for request in self.requests)

    @property
    def lengths(self) -> dict[str, int]:
        """How many stages of each trial are wanted, by its id."""
        return {request.trial.trial_id: request.stages for request in self.requests}


def is_sequential(sweep: Sweep) -> bool:
    """Whether what a sweep trains depends on what came of it."""
    return sweep.algorithm.learns


def next_step(sweep: Sweep, observed: Observed) -> Step:
    """The first step of which something is missing, or the last one if nothing is.

    A sweep that is not sequential has one step, which asks for everything.
    """
    known = _Known(sweep)
    if not is_sequential(sweep):
        known.ask(Request(trial, trial.run.stages) for trial in expand(sweep))
        return known.step("all configurations", frozenset(), finished=True)
    for title, asked in _steps(known):
        known.number += 1
        known.ask(asked)
        found = {request: observed(request) for request in asked}
        missing = frozenset(r.trial.trial_id for r, seen in found.items() if seen is None)
        if missing:
            return known.step(title, missing, finished=False)
        for request, seen in found.items():
            if seen is not None:
                known.observations[request.cell] = seen
        known.title = title
    return known.step(known.title, frozenset(), finished=True)


@dataclass(slots=True)
class _Known:
    """What the steps so far have asked, seen and decided."""

    sweep: Sweep
    number: int = 0
    title: str = "nothing"
    requests: dict[str, Request] = field(default_factory=dict)
    observations: dict[Cell, Observation] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)

    def ask(self, requests: Iterable[Request]) -> None:
        """Remember requests; of two for one trial the longer one counts."""
        for request in requests:
            before = self.requests.get(request.trial.trial_id)
            if before is None or before.stages < request.stages:
                self.requests[request.trial.trial_id] = request

    def step(self, title: str, missing: frozenset[str], finished: bool) -> Step:
        """All of it, as it is now."""
        return Step(
            number=self.number,
            title=title,
            requests=tuple(self.requests.values()),
            open=missing,
            batches=tuple(self.batches),
            outcomes=dict(self.outcomes),
            decisions=tuple(self.decisions),
            stopped=frozenset(
                trial for trial in self.stopped if not self.requests[trial].is_whole
            ),
            finished=finished,
        )


Steps = Iterator[tuple[str, list[Request]]]
"""What each step is about and what it asks for; it goes on when all of that is known."""


def _steps(known: _Known) -> Steps:
    """The steps of a sequential sweep."""
    sweep = known.sweep
    # Baselines are trained to their end whatever happens, and no decision reads them.
    known.ask(Request(trial, trial.run.stages) for trial in expand(sweep))
    proposer = Proposer(sweep)
    size = sweep.algorithm.batch_size
    total = -(-(sweep.algorithm.trials or 0) // size)
    while (batch := proposer.ask()) is not None:
        known.batches.append(batch)
        yield from _trained(known, batch.new, f"batch {batch.number + 1} of {total}")
        told = {c.run.config_id: _outcome(known, c) for c in batch.new}
        proposer.tell(told)
        known.outcomes.update(told)
    if proposer.exhausted:
        asked = sum(len(batch.proposals) for batch in known.batches)
        known.decisions.append(
            f"the search ended after {asked} of {sweep.algorithm.trials} proposals: the "
            "conditions reject too many (algorithm.max_rejected)"
        )


def _trained(known: _Known, configurations: Iterable[Configuration], title: str) -> Steps:
    """Everything that is wanted of some configurations."""
    trials = trials_of(known.sweep, configurations)
    yield title, [Request(trial, trial.run.stages) for trial in trials]


def _outcome(known: _Known, configuration: Configuration) -> Outcome:
    """One aggregate over all runs of a configuration."""
    trials = trials_of(known.sweep, [configuration])
    seen = [known.observations[Request(trial, 0).cell] for trial in trials]
    stages = configuration.run.stages
    return Outcome(values=mean_objectives(seen, stages, list(known.sweep.objectives)))
