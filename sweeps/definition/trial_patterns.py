"""`--only`: which trials a person means."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from clmethods.errors import ConfigIssue, nearest, refuse
from sweeps.definition.trials import TrialSpec

SHORTEST_ID = 6
"""Fewer digits of a trial's id would too easily be those of another one."""


def chosen_trials(
    trials: Sequence[TrialSpec], patterns: Sequence[str], option: str = "--only"
) -> frozenset[str]:
    """Ids of the trials that some pattern means; of all of them if there is no pattern.

    A pattern is a configuration's label, a glob over labels or over whole names (`LABEL, order O,
    seed S`), or the first digits of a trial's or a configuration's id. Raises
    `InvalidConfigError` for every pattern that means none.
    """
    if not patterns:
        return frozenset(trial.trial_id for trial in trials)
    labels = [*dict.fromkeys(trial.label for trial in trials)]
    found = {pattern: [t.trial_id for t in trials if _means(pattern, t)] for pattern in patterns}
    constraint = (
        "a label, a glob over labels or `LABEL, order O, seed S`, or the beginning of an id"
    )
    refuse(
        ConfigIssue(
            option, pattern, constraint, nearest(pattern, labels) or f"Labels are {labels[:6]}."
        )
        for pattern, ids in found.items()
        if not ids
    )
    return frozenset(trial_id for ids in found.values() for trial_id in ids)


def _means(pattern: str, trial: TrialSpec) -> bool:
    """Labels may hold brackets, so equal text comes before a glob."""
    if pattern in {trial.label, trial.name}:
        return True
    if len(pattern) >= SHORTEST_ID and any(
        identity.startswith(pattern) for identity in (trial.trial_id, trial.config_id)
    ):
        return True
    return fnmatchcase(trial.label, pattern) or fnmatchcase(trial.name, pattern)
