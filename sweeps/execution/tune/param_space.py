"""The trials of a sweep as Tune's search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from ray import tune

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

Spec = TypeVar("Spec")
"""What is known of a trial: a `TrialSpec`."""


def space(trials: Mapping[str, Spec], message: Callable[[Spec], dict[str, Any]]) -> dict[str, Any]:
    """A grid over the ids of the trials, with the message of each.

    Tune copies the whole grid for every trial, so that the work grows with the square of their
    number: ids are copied fast, messages are not.
    """
    return {
        "trial_id": tune.grid_search([*trials]),
        "message": tune.sample_from(_Messages(trials, message)),
    }


def trial_id(trial: Trial) -> str:
    """Our id of a Tune trial."""
    return str(trial.config["trial_id"])


@final
class _Messages(Generic[Spec]):
    """What goes to the worker of a trial, made when Tune creates the trial."""

    def __init__(
        self, trials: Mapping[str, Spec], message: Callable[[Spec], dict[str, Any]]
    ) -> None:
        self._trials, self._message = trials, message

    def __call__(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return self._message(self._trials[config["trial_id"]])

    def __deepcopy__(self, memo: object) -> _Messages[Spec]:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles all it is given, and nobody ever reads it."""
        return {}
