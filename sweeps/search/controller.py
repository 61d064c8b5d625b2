"""Controller of a sequential sweep: a pure function from a sweep and its observations to a step.

A sweep proceeds in steps. A step requests runs, each up to a given stage; decisions are made when
all requested runs are available. There is no other state: at every start the steps are replayed,
and a decision uses only what was requested before it, whatever else the storage contains. A sweep
that was killed at any point therefore continues as if it had not been interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sweeps.definition.configuration import Configuration
from sweeps.definition.replicate_design import replicate_sequence
from sweeps.definition.stopping import EarlyStop, Racing
from sweeps.definition.sweep import Sweep
from sweeps.definition.trials import TrialSpec, expand, trials_of
from sweeps.search.observations import Observation, mean_objectives
from sweeps.search.proposals import Batch, Outcome, Proposer
from sweeps.search.racing import RaceDecision, decide_race
from sweeps.search.rungs import decide_rung
from sweeps.search.scores import Cell, Run
from sweeps.search.search_state import Decision, Observed, Request, Step


def is_sequential(sweep: Sweep) -> bool:
    """Return True if the runs that a sweep trains depend on earlier results."""
    rules = sweep.early_stop is not None or sweep.racing is not None
    return sweep.algorithm.learns or rules


def next_step(sweep: Sweep, observed: Observed) -> Step:
    """Return the first step with missing observations, or the last step if none are missing.

    A sweep that is not sequential has one step, which requests all runs.
    """
    known = _Known(sweep)
    if not is_sequential(sweep):
        known.ask(Request(trial, trial.run.stages) for trial in expand(sweep))
        return known.step("all configurations", finished=True)
    title = "all configurations"
    for title, requests in _steps(known):
        known.number += 1
        known.ask(requests)
        observations = {request.trial.trial_id: observed(request) for request in requests}
        missing_trials = frozenset(trial for trial, seen in observations.items() if seen is None)
        if missing_trials:
            return known.step(title, finished=False, missing=missing_trials)
        known.observations.update(
            (t, seen) for t, seen in observations.items() if seen is not None
        )
    return known.step(title, finished=True)


@dataclass(slots=True)
class _Known:
    """Requests, observations and decisions of the steps that were replayed so far."""

    sweep: Sweep
    number: int = 0
    requests: dict[str, Request] = field(default_factory=dict)
    observations: dict[str, Observation] = field(default_factory=dict)
    """Observations by trial_id."""
    batches: list[Batch] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rungs: dict[int, dict[str, dict[Cell, Run]]] = field(default_factory=dict)
    """Scores of the configurations that reached each rung, by number of tasks, of all batches."""
    racers: dict[str, Configuration] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    race: RaceDecision | None = None
    stopped: set[str] = field(default_factory=set)
    exhausted: bool = False
    runs: dict[str, dict[Cell, TrialSpec]] = field(default_factory=dict)

    def ask(self, requests: Iterable[Request]) -> None:
        """Add requests; of two requests for one trial, the one with more stages counts."""
        for request in requests:
            before = self.requests.get(request.trial.trial_id)
            if before is None or before.stages < request.stages:
                self.requests[request.trial.trial_id] = request

    def step(self, title: str, finished: bool, missing: frozenset[str] = frozenset()) -> Step:
        """Return the current state as a step."""
        short = (trial for trial in self.stopped if not self.requests[trial].is_whole)
        return Step(
            number=self.number,
            title=title,
            requests=tuple(self.requests.values()),
            open=missing,
            batches=tuple(self.batches),
            outcomes=dict(self.outcomes),
            decisions=(*self.decisions, *self._places()),
            stopped=frozenset(short),
            exhausted=self.exhausted,
            finished=finished,
        )

    def trials(self, configuration: Configuration) -> dict[Cell, TrialSpec]:
        """Return the trials of a configuration by (order_id, seed)."""
        identity = configuration.run.config_id
        if identity not in self.runs:
            trials = trials_of(self.sweep, [configuration])
            self.runs[identity] = {(trial.order_id, trial.seed): trial for trial in trials}
        return self.runs[identity]

    def seen(self, configuration: Configuration) -> dict[Cell, Observation]:
        """Return the observations of a configuration by cell."""
        return {
            cell: self.observations[trial.trial_id]
            for cell, trial in self.trials(configuration).items()
            if trial.trial_id in self.observations
        }

    def scores(self, configuration: Configuration, stages: int) -> dict[Cell, Run]:
        """Return the metrics of its runs after `stages` stages; empty for a run that has none."""
        return {
            cell: observation.values[stages - 1] if len(observation.values) >= stages else {}
            for cell, observation in self.seen(configuration).items()
        }

    def _places(self) -> Iterator[Decision]:
        """Return the decisions of the race so far."""
        if self.race is None:
            return
        verdicts: dict[Literal["on", "off", "undecided", "failed"], tuple[str, ...]] = {
            "on": self.race.decided_on,
            "off": self.race.decided_off,
            "undecided": self.race.undecided,
            "failed": self.race.failed,
        }
        for verdict, ids in verdicts.items():
            for config_id in ids:
                yield Decision(
                    by="racing",
                    label=self.racers[config_id].label,
                    config_id=config_id,
                    verdict=verdict,
                    because=self.race.because[config_id],
                )


Steps = Iterator[tuple[str, list[Request]]]
"""Pairs of a title and requests; the iterator continues when all requests are observed."""


def _steps(known: _Known) -> Steps:
    """Yield the steps of a sequential sweep."""
    sweep = known.sweep
    searched = [c for c in sweep.configurations if c.role == "search"]
    others = [c for c in sweep.configurations if c.role != "search"]
    # These are always trained to the end, and no decision depends on them.
    known.ask(Request(trial, trial.run.stages) for trial in trials_of(sweep, others))
    if not sweep.algorithm.learns:
        yield from _trained(known, searched, "")
        known.outcomes.update((c.run.config_id, _outcome(known, c)) for c in searched)
        return
    proposer = Proposer(sweep)
    total = -(-(sweep.algorithm.trials or 0) // sweep.algorithm.batch_size)
    while (batch := proposer.ask()) is not None:
        known.batches.append(batch)
        yield from _trained(known, batch.new, f"batch {batch.number + 1} of {total}")
        new_outcomes = {c.run.config_id: _outcome(known, c) for c in batch.new}
        proposer.tell(new_outcomes)
        known.outcomes.update(new_outcomes)
    known.exhausted = proposer.exhausted


def _trained(known: _Known, configurations: Sequence[Configuration], title: str) -> Steps:
    """Yield the steps for some configurations: rungs, then the complete runs, then the race.

    Runs that see all tasks at once are not part of rungs and races.
    """
    stop, racing = known.sweep.early_stop, known.sweep.racing
    order_free = [c for c in configurations if c.run.method.ORDER_FREE]
    continuing = [c for c in configurations if not c.run.method.ORDER_FREE]
    final_requests = [
        Request(t, t.run.stages) for c in order_free for t in known.trials(c).values()
    ]
    if not continuing:
        yield title or "all configurations", final_requests
        return
    sequence = _sequence(known, continuing[0])
    first = sequence[: racing.start] if racing else sequence
    tasks = continuing[0].run.stages
    audited: list[Configuration] = []
    for rung in stop.rungs(tasks) if stop else ():
        requests = [Request(known.trials(c)[cell], rung) for c in continuing for cell in first]
        yield _title(title, f"the first {rung} of {tasks} tasks"), requests
        continuing, rung_audited = (
            _rung(known, stop, continuing, rung) if stop else (continuing, [])
        )
        audited += rung_audited
    for configuration in (*continuing, *audited):
        trials = known.trials(configuration)
        final_requests += [Request(trials[cell], configuration.run.stages) for cell in first]
    if final_requests:
        yield _title(title, "to the last task" if stop else ""), final_requests
    if racing:
        known.racers.update((c.run.config_id, c) for c in continuing)
        yield from _raced(known, racing, sequence, tasks, title)


def _rung(
    known: _Known, stop: EarlyStop, standing: Sequence[Configuration], tasks: int
) -> tuple[list[Configuration], list[Configuration]]:
    """Return the configurations that continue, and the stopped ones selected for the audit."""
    scores = known.rungs.setdefault(tasks, {})
    decided = frozenset(scores)
    scores.update((c.run.config_id, known.scores(c, tasks)) for c in standing)
    decision = decide_rung(scores, stop, known.sweep.objectives, tasks, decided=decided)
    for c in standing:
        identity = c.run.config_id
        stops = identity in decision.stopped
        audited = identity in decision.audited
        known.decisions.append(
            Decision(
                by="early_stop",
                label=c.label,
                config_id=identity,
                verdict="audit" if audited else "stops" if stops else "goes on",
                because=decision.because[identity],
                tasks=tasks,
            )
        )
        if stops and not audited:
            trials = known.trials(c).values()
            known.stopped.update(t.trial_id for t in trials if t.trial_id in known.observations)
            known.outcomes[identity] = _when_stopped(known, c, tasks)
    continuing = [c for c in standing if c.run.config_id in decision.kept]
    return continuing, [c for c in standing if c.run.config_id in decision.audited]


def _raced(
    known: _Known, racing: Racing, sequence: Sequence[Cell], tasks: int, title: str
) -> Steps:
    """Yield rounds with more replicates until the front is decided or no replicate is left."""
    sweep = known.sweep
    states = len(sweep.candidates.states)
    among = (sweep.algorithm.trials or 0) * states if sweep.algorithm.learns else None
    names = {config_id: c.label for config_id, c in known.racers.items()}
    rounds = 0
    while known.racers:
        scores = {config_id: known.scores(c, tasks) for config_id, c in known.racers.items()}
        known.race = decide_race(
            scores, racing, sweep.objectives, sequence, among=among, names=names
        )
        requests = [
            Request(known.trials(known.racers[config_id])[cell], tasks)
            for config_id, cells in known.race.requested.items()
            for cell in cells
        ]
        if not requests:
            return
        rounds += 1
        yield _title(title, f"round {rounds} of the race"), requests


def _sequence(known: _Known, configuration: Configuration) -> tuple[Cell, ...]:
    """Return all replicates in the sequence in which a race adds them."""
    cells = tuple(known.trials(configuration))
    if known.sweep.replicates.kind == "spread":
        return cells  # trials of a spread design have this sequence
    orders = list(dict.fromkeys(order for order, _ in cells))
    return replicate_sequence(orders, known.sweep.seeds)


def _outcome(known: _Known, configuration: Configuration) -> Outcome:
    """Return the outcome of a configuration: the mean over all of its runs, or its stop."""
    stopped = known.outcomes.get(configuration.run.config_id)
    if stopped is not None:
        return stopped
    seen = list(known.seen(configuration).values())
    stages = configuration.run.stages
    return Outcome(values=mean_objectives(seen, stages, list(known.sweep.objectives)))


def _when_stopped(known: _Known, configuration: Configuration, tasks: int) -> Outcome:
    """Return the outcome of a configuration that is stopped after `tasks` tasks."""
    seen = [observation.until(tasks) for observation in known.seen(configuration).values()]
    value = mean_objectives(seen, tasks, [next(iter(known.sweep.objectives))])
    return Outcome(stopped_after=tasks, value_when_stopped=value[0] if value else None)


def _title(*parts: str) -> str:
    return ", ".join(filter(None, parts)) or "all configurations"
