"""Sweeps that depend on their results, and results made up from ids, for pure replays."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sweeps.definition import Sweep
from sweeps.search.controller import next_step
from sweeps.search.observations import Observation
from sweeps.search.search_state import Request, Step
from tests.sweeps.stages.small import small_sweep

SEARCH: dict[str, Any] = {
    "method.importance_threshold": {"uniform": [0, 0.5]},
    "train.lr": {"log": [1e-4, 1]},
    "method.rank": [1, 2, 4],
}
ORDERS = {"design": "random", "count": 2}
TWO = {"average_accuracy": "max", "forgetting": "min"}
Done = set[tuple[str, int]]
"""(trial_id, stages) of what is there."""


def learning_sweep(kind: str = "tpe", trials: int = 12, batch: int = 4, **fields: Any) -> Sweep:
    """A small sweep by a model, over three axes, two orders and two seeds."""
    given: dict[str, Any] = {"search": SEARCH, "orders": ORDERS, "seeds": [0, 1], **fields}
    return small_sweep(algorithm={"kind": kind, "trials": trials, "batch": batch}, **given)


def made_up(request: Request, failing: float = 0.0) -> Observation:
    """Observation of a run, derived from its ids; a share `failing` of configurations fails."""
    trial = request.trial
    noise, quality = random.Random(trial.trial_id), random.Random(trial.config_id).random()
    values = []
    for position in range(trial.run.stages):
        accuracy = quality - 0.1 * position + 0.02 * noise.random()
        lost = 0.3 * (1 - quality) + 0.02 * noise.random() if position else None
        values.append({"average_accuracy": accuracy, "forgetting": lost})
    if random.Random(trial.config_id + "fails").random() < failing:
        return Observation(values=tuple(values[:1]), failed=request.stages > 1)
    return Observation(values=tuple(values[: request.stages]))


def observed(done: Done, failing: float = 0.0) -> Callable[[Request], Observation | None]:
    """Observations of what is there, and of nothing else."""

    def look(request: Request) -> Observation | None:
        there = (request.trial.trial_id, request.stages) in done
        return made_up(request, failing) if there else None

    return look


def finish(request: Request, done: Done) -> None:
    """A run has got as far as it was asked to."""
    done.update((request.trial.trial_id, stages) for stages in range(1, request.stages + 1))


def to_the_end(sweep: Sweep, done: Done | None = None, failing: float = 0.0) -> Step:
    """The last step, each step having been finished in its own sequence."""
    done = set() if done is None else done
    while not (step := next_step(sweep, observed(done, failing))).finished:
        for request in step.requests:
            finish(request, done)
    return step
