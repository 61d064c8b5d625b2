"""What a sweep wants next: a pure function of the sweep and of what has been observed.

A sweep goes in steps. A step asks for runs, each up to some stage; decisions are taken when all of
them are there. Nothing else is remembered: at every start the steps are replayed, and a decision
sees only what had been asked for by then, whatever else the storage holds. So a sweep that was
killed anywhere goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sweeps.definition.stopping import EarlyStop, Racing, replicate_sequence
from sweeps.definition.sweep import Configuration, Sweep
from sweeps.definition.trials import TrialSpec, expand, trials_of
from sweeps.search.observations import Observation, mean_objectives
from sweeps.search.proposals import Batch, Outcome, Proposer
from sweeps.search.racing import RaceDecision, decide_race
from sweeps.search.rungs import decide_rung
from sweeps.search.scores import Cell, Run
from sweeps.search.step import Decision, Observed, Request, Step


def is_sequential(sweep: Sweep) -> bool:
    """Whether what a sweep trains depends on what came of it."""
    rules = sweep.early_stop is not None or sweep.racing is not None
    return sweep.algorithm.learns or rules


def next_step(sweep: Sweep, observed: Observed) -> Step:
    """The first step of which something is missing, or the last one if nothing is.

    A sweep that is not sequential has one step, which asks for everything.
    """
    known = _Known(sweep)
    if not is_sequential(sweep):
        known.ask(Request(trial, trial.run.stages) for trial in expand(sweep))
        return known.step("all configurations", finished=True)
    title = "all configurations"
    for title, asked in _steps(known):
        known.number += 1
        known.ask(asked)
        found = {request.trial.trial_id: observed(request) for request in asked}
        missing = frozenset(trial for trial, seen in found.items() if seen is None)
        if missing:
            return known.step(title, finished=False, missing=missing)
        known.observations.update((t, seen) for t, seen in found.items() if seen is not None)
    return known.step(title, finished=True)


@dataclass(slots=True)
class _Known:
    """What the steps so far have asked, seen and decided."""

    sweep: Sweep
    number: int = 0
    requests: dict[str, Request] = field(default_factory=dict)
    observations: dict[str, Observation] = field(default_factory=dict)
    """By trial_id."""
    batches: list[Batch] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rungs: dict[int, dict[str, dict[Cell, Run]]] = field(default_factory=dict)
    """What stood at each rung, in earlier batches too, by the number of tasks."""
    racers: dict[str, Configuration] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    race: RaceDecision | None = None
    stopped: set[str] = field(default_factory=set)
    exhausted: bool = False
    runs: dict[str, dict[Cell, TrialSpec]] = field(default_factory=dict)

    def ask(self, requests: Iterable[Request]) -> None:
        """Remember requests; of two for one trial the longer one counts."""
        for request in requests:
            before = self.requests.get(request.trial.trial_id)
            if before is None or before.stages < request.stages:
                self.requests[request.trial.trial_id] = request

    def step(self, title: str, finished: bool, missing: frozenset[str] = frozenset()) -> Step:
        """All of it, as it is now."""
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
        """The runs of a configuration by (order_id, seed)."""
        identity = configuration.run.config_id
        if identity not in self.runs:
            trials = trials_of(self.sweep, [configuration])
            self.runs[identity] = {(trial.order_id, trial.seed): trial for trial in trials}
        return self.runs[identity]

    def seen(self, configuration: Configuration) -> dict[Cell, Observation]:
        """What was observed of the runs of a configuration."""
        return {
            cell: self.observations[trial.trial_id]
            for cell, trial in self.trials(configuration).items()
            if trial.trial_id in self.observations
        }

    def scores(self, configuration: Configuration, stages: int) -> dict[Cell, Run]:
        """Its runs after so many stages, as the rules take them."""
        return {
            cell: found.values[stages - 1] if len(found.values) >= stages else {}
            for cell, found in self.seen(configuration).items()
        }

    def _places(self) -> Iterator[Decision]:
        """What the race has decided by now."""
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
"""What each step is about and what it asks for; it goes on when all of that is known."""


def _steps(known: _Known) -> Steps:
    """The steps of a sequential sweep."""
    sweep = known.sweep
    searched = [c for c in sweep.configurations if c.role == "search"]
    others = [c for c in sweep.configurations if c.role != "search"]
    # They are trained to their end whatever happens, and no decision reads them.
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
        told = {c.run.config_id: _outcome(known, c) for c in batch.new}
        proposer.tell(told)
        known.outcomes.update(told)
    known.exhausted = proposer.exhausted


def _trained(known: _Known, configurations: Sequence[Configuration], title: str) -> Steps:
    """All that is wanted of some configurations: rungs first, then the end, then the race.

    Runs that see all tasks at once have neither rungs nor rivals.
    """
    stop, racing = known.sweep.early_stop, known.sweep.racing
    free = [c for c in configurations if c.run.method.ORDER_FREE]
    going = [c for c in configurations if not c.run.method.ORDER_FREE]
    whole = [Request(t, t.run.stages) for c in free for t in known.trials(c).values()]
    if not going:
        yield title or "all configurations", whole
        return
    sequence = _sequence(known, going[0])
    first = sequence[: racing.start] if racing else sequence
    tasks = going[0].run.stages
    audited: list[Configuration] = []
    for rung in stop.rungs(tasks) if stop else ():
        asked = [Request(known.trials(c)[cell], rung) for c in going for cell in first]
        yield _title(title, f"the first {rung} of {tasks} tasks"), asked
        going, running_on = _rung(known, stop, going, rung) if stop else (going, [])
        audited += running_on
    for configuration in (*going, *audited):
        trials = known.trials(configuration)
        whole += [Request(trials[cell], configuration.run.stages) for cell in first]
    if whole:
        yield _title(title, "to the last task" if stop else ""), whole
    if racing:
        known.racers.update((c.run.config_id, c) for c in going)
        yield from _raced(known, racing, sequence, tasks, title)


def _rung(
    known: _Known, stop: EarlyStop, standing: Sequence[Configuration], tasks: int
) -> tuple[list[Configuration], list[Configuration]]:
    """(who goes on, who was stopped and runs on for the audit)."""
    there = known.rungs.setdefault(tasks, {})
    decided = frozenset(there)
    there.update((c.run.config_id, known.scores(c, tasks)) for c in standing)
    found = decide_rung(there, stop, known.sweep.objectives, tasks, decided=decided)
    for c in standing:
        identity = c.run.config_id
        stops = identity in found.stopped
        audited = identity in found.audited
        known.decisions.append(
            Decision(
                by="early_stop",
                label=c.label,
                config_id=identity,
                verdict="audit" if audited else "stops" if stops else "goes on",
                because=found.because[identity],
                tasks=tasks,
            )
        )
        if stops and not audited:
            asked = known.trials(c).values()
            known.stopped.update(t.trial_id for t in asked if t.trial_id in known.observations)
            known.outcomes[identity] = _when_stopped(known, c, tasks)
    going = [c for c in standing if c.run.config_id in found.kept]
    return going, [c for c in standing if c.run.config_id in found.audited]


def _raced(
    known: _Known, racing: Racing, sequence: Sequence[Cell], tasks: int, title: str
) -> Steps:
    """Further replicates, round by round, until the front is decided or all have been spent."""
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
        asked = [
            Request(known.trials(known.racers[config_id])[cell], tasks)
            for config_id, cells in known.race.requested.items()
            for cell in cells
        ]
        if not asked:
            return
        rounds += 1
        yield _title(title, f"round {rounds} of the race"), asked


def _sequence(known: _Known, configuration: Configuration) -> tuple[Cell, ...]:
    """All replicates in the sequence in which a race adds them."""
    orders = list(dict.fromkeys(order for order, _ in known.trials(configuration)))
    return replicate_sequence(orders, known.sweep.seeds)


def _outcome(known: _Known, configuration: Configuration) -> Outcome:
    """One aggregate over all runs that a configuration was given."""
    stopped = known.outcomes.get(configuration.run.config_id)
    if stopped is not None:
        return stopped
    seen = list(known.seen(configuration).values())
    stages = configuration.run.stages
    return Outcome(values=mean_objectives(seen, stages, list(known.sweep.objectives)))


def _when_stopped(known: _Known, configuration: Configuration, tasks: int) -> Outcome:
    """What is known of a configuration that is stopped."""
    seen = [found.until(tasks) for found in known.seen(configuration).values()]
    value = mean_objectives(seen, tasks, [next(iter(known.sweep.objectives))])
    return Outcome(stopped_after=tasks, value_when_stopped=value[0] if value else None)


def _title(*parts: str) -> str:
    return ", ".join(filter(None, parts)) or "all configurations"
