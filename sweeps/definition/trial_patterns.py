"""Selection of trials by patterns, for `--only` and similar options."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from clmethods.errors import ConfigIssue, nearest, refuse
from sweeps.definition.trials import TrialSpec

SHORTEST_ID = 6
"""Minimum length of an id prefix, so that it is unlikely to match another id."""


def chosen_trials(
    trials: Sequence[TrialSpec], patterns: Sequence[str], option: str = "--only"
) -> frozenset[str]:
    """Return the ids of the trials that match at least one pattern; all ids without patterns.

    A pattern is the label of a configuration, a glob over labels or over names (`LABEL, order O,
    seed S`), or a prefix of the id of a trial or of a configuration.

    Raises:
        InvalidConfigError: With each pattern that matches no trial.
    """
    if not patterns:
        return frozenset(trial.trial_id for trial in trials)
    labels = [*dict.fromkeys(trial.label for trial in trials)]
    matches = {
        pattern: [t.trial_id for t in trials if _matches(pattern, t)] for pattern in patterns
    }
    constraint = "a label, a glob over labels or `LABEL, order O, seed S`, or the prefix of an id"
    refuse(
        ConfigIssue(
            option, pattern, constraint, nearest(pattern, labels) or f"Labels are {labels[:6]}."
        )
        for pattern, ids in matches.items()
        if not ids
    )
    return frozenset(trial_id for ids in matches.values() for trial_id in ids)


def _matches(pattern: str, trial: TrialSpec) -> bool:
    """Return True if a trial matches; equal text is checked first, as labels can have brackets."""
    if pattern in {trial.label, trial.name}:
        return True
    if len(pattern) >= SHORTEST_ID and any(
        identity.startswith(pattern) for identity in (trial.trial_id, trial.config_id)
    ):
        return True
    return fnmatchcase(trial.label, pattern) or fnmatchcase(trial.name, pattern)
