"""Where a sweep stands: what it has asked for, what it was told, what it has decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

from sweeps.definition.trials import TrialSpec
from sweeps.search.observations import Observation
from sweeps.search.proposals import Batch, Outcome


class Request(NamedTuple):
    """A run, and how many of its stages are wanted."""

    trial: TrialSpec
    stages: int

    @property
    def is_whole(self) -> bool:
        """Whether that is the whole chain."""
        return self.stages == self.trial.run.stages


Observed = Callable[[Request], Observation | None]
"""What the storage holds of a request; None if it is neither all there nor failed."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Something that was decided about a configuration."""

    by: Literal["early_stop", "racing"]
    label: str
    config_id: str
    verdict: Literal["goes on", "stops", "audit", "on", "off", "undecided", "failed"]
    because: str
    """In words."""
    tasks: int | None = None
    """Of a rung: how many tasks had been learned."""


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
    decisions: tuple[Decision, ...]
    """By the rungs in their order, then the race as it stands."""
    stopped: frozenset[str]
    """Ids of trials that go no further than they were asked for: their configuration stopped."""
    exhausted: bool
    """Whether the search ended early, because its conditions rejected too many proposals."""
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
