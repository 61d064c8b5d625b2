"""The trials of a sweep as Tune's search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar, final

from ray import tune

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

Spec = TypeVar("Spec")
"""Data of a trial: a `TrialSpec`."""
Message = TypeVar("Message")
"""Message of a trial to its worker: a `TrialMessage`."""


def space(trials: Mapping[str, Spec], message: Callable[[Spec], Message]) -> dict[str, object]:
    """Return a grid over the ids of the trials, with the message of each.

    Tune copies the whole grid for every trial, so the work grows with the square of the number of
    trials. Ids are fast to copy, messages are not.
    """
    return {
        "trial_id": tune.grid_search([*trials]),
        "message": tune.sample_from(_Messages(trials, message)),
    }


def trial_id(trial: Trial) -> str:
    """Return this package's id of a Tune trial."""
    return str(trial.config["trial_id"])


@final
class _Messages(Generic[Spec, Message]):
    """Message for the worker of each trial, created when Tune creates the trial."""

    def __init__(self, trials: Mapping[str, Spec], message: Callable[[Spec], Message]) -> None:
        self._trials, self._message = trials, message

    def __call__(self, config: Mapping[str, str]) -> Message:
        return self._message(self._trials[config["trial_id"]])

    def __deepcopy__(self, memo: object) -> _Messages[Spec, Message]:
        return self

    def __getstate__(self) -> dict[str, object]:
        """Return no state: Tune pickles the search space, but the pickle is never read."""
        return {}
