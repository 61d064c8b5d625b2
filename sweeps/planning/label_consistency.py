"""What the rows of a sweep mean: under a label stands one run, now and after every edit.

A row's own ids follow from its content, so it stays true whatever the file says. What an edit can
spoil is the table as a whole: rows of two different runs under one label would be averaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from clmethods.canonical import canonical_json
from clmethods.config.run import RunConfig
from sweeps.definition.derive.divergence import Difference, differences_of
from sweeps.definition.sweep import Sweep

Meaning = Mapping[str, Any]
"""A run as plain data, without what differs between the trials of one configuration."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A field that would mean something else under labels that are in use."""

    difference: Difference
    labels: tuple[str, ...]


def meaning_of(run: RunConfig | Mapping[str, Any]) -> Meaning:
    """The run, or the same as plain data, less its seed and its task order."""
    data: dict[str, Any] = json.loads(canonical_json(run))
    data.pop("seed", None)
    data["stream"].pop("task_order", None)
    return data


def meanings(sweep: Sweep) -> dict[str, Meaning]:
    """What each label of a sweep stands for."""
    return {each.label: meaning_of(each.run) for each in sweep.configurations}


def changed_meanings(
    before: Iterable[tuple[str, Meaning]], after: Mapping[str, Meaning]
) -> tuple[Changed, ...]:
    """Fields in which labels that are in both stand for another run; equal changes come once.

    A label that only one of the two has changes nothing: values, baselines and axes may come and
    go.
    """
    found: dict[str, tuple[Difference, dict[str, None]]] = {}
    for label, old in before:
        for difference in differences_of(old, after.get(label, old)):
            text = canonical_json(difference)
            found.setdefault(text, (difference, {}))[1][label] = None
    return tuple(Changed(difference=d, labels=tuple(labels)) for d, labels in found.values())
