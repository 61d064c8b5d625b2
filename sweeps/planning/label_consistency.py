"""Consistency of labels: a label means one run, before and after every edit of a sweep.

The ids of a row follow from its content, so a row stays correct whatever the file contains. An
edit can invalidate the table as a whole: rows of two different runs under one label would be
averaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

from clmethods.canonical import canonical_json
from clmethods.config.run import RunConfig
from clmethods.config.stream import NOT_IDENTITY
from sweeps.definition.derive.divergence import Difference, differences_of
from sweeps.definition.sweep import Sweep

Meaning = Mapping[str, object]
"""Run as plain data, without the fields that differ between the trials of one configuration."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Field that would have a different meaning under labels that are in use."""

    difference: Difference
    labels: tuple[str, ...]


def meaning_of(run: RunConfig | Mapping[str, object]) -> Meaning:
    """Return the run as plain data, without its seed and its task order.

    Fields that rows of earlier versions lack, and that have no effect, are left out. The content
    of the user's files is compared with the storage by `refuse_other_content`.
    """
    data: dict[str, dict[str, object]] = json.loads(canonical_json(run))
    data.pop("seed", None)
    stream = data["stream"]
    stream.pop("task_order", None)
    if stream.get("fingerprint") == "size":
        del stream["fingerprint"]
    record = stream.get("record")
    if isinstance(record, dict):
        stream["record"] = {k: v for k, v in record.items() if k not in NOT_IDENTITY}
    return data


def meanings(sweep: Sweep) -> dict[str, Meaning]:
    """Return the run that each label of a sweep means."""
    return {each.label: meaning_of(each.run) for each in sweep.configurations}


def changed_meanings(
    before: Iterable[tuple[str, Meaning]], after: Mapping[str, Meaning]
) -> tuple[Changed, ...]:
    """Return the fields in which labels of both sweeps mean different runs, equal changes once.

    A label that only one of the two has is not a change: values, baselines and axes may be added
    and removed.
    """
    found: dict[str, tuple[Difference, dict[str, None]]] = {}
    for label, old in before:
        for difference in differences_of(old, after.get(label, old)):
            text = canonical_json(difference)
            found.setdefault(text, (difference, {}))[1][label] = None
    return tuple(Changed(difference=d, labels=tuple(labels)) for d, labels in found.values())
