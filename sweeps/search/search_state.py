"""State of a sweep: requests, outcomes reported to the model, and decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

from sweeps.definition.trials import TrialSpec
from sweeps.search.observations import Observation
from sweeps.search.proposals import Batch, Outcome


class Request(NamedTuple):
    """Run with the number of its stages that are requested."""

    trial: TrialSpec
    stages: int

    @property
    def is_whole(self) -> bool:
        """True if the whole chain is requested."""
        return self.stages == self.trial.run.stages


Observed = Callable[[Request], Observation | None]
"""Function that returns the stored observation of a request; None if it is not available yet."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision about a configuration."""

    by: Literal["early_stop", "racing"]
    label: str
    config_id: str
    verdict: Literal["goes on", "stops", "audit", "on", "off", "undecided", "failed"]
    because: str
    """Reason for the decision, as text."""
    tasks: int | None = None
    """Number of tasks learned at the rung; None for a race."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """State of a sweep at an open step, or at the last one."""

    number: int
    """Number of the step, counted from 1."""
    title: str
    """Description of the step, such as `batch 2 of 8`."""
    requests: tuple[Request, ...]
    """All requests so far, one per trial."""
    open: frozenset[str]
    """Ids of the trials that the step waits for."""
    batches: tuple[Batch, ...]
    """Proposals of the model; empty without a model."""
    outcomes: Mapping[str, Outcome]
    """Outcomes of the configurations of closed batches by `config_id`, as reported to the
    model."""
    decisions: tuple[Decision, ...]
    """Decisions of the rungs in their order, then the current decisions of the race."""
    stopped: frozenset[str]
    """Ids of trials that end at the requested stage because their configuration was stopped."""
    exhausted: bool
    """True if the search ended early because the conditions rejected too many proposals."""
    finished: bool
    """True if no requests will follow."""

    @property
    def trials(self) -> tuple[TrialSpec, ...]:
        """Requested trials."""
        return tuple(request.trial for request in self.requests)

    @property
    def lengths(self) -> dict[str, int]:
        """Number of requested stages of each trial, by trial_id."""
        return {request.trial.trial_id: request.stages for request in self.requests}
